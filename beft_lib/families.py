"""``python -m beft_lib families``: every family of the table, and what was checked of it just now."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

from . import verify
from .architectures import FAMILIES, POSITIONS, live_key
from .errors import ModelError
from .folding import fold


@dataclass(frozen=True)
class Verified:
    """One family: what its row says, and which of ``verify.CHECKS`` failed on a random model (none: all hold)."""

    model_type: str
    layout: str
    biased: str
    positions: str
    key: str
    grouped: bool
    folds: str
    adapter: str
    model: str
    failed: dict[str, str]

    def cells(self) -> tuple[str, ...]:
        held = f"{len(verify.CHECKS) - len(self.failed)}/{len(verify.CHECKS)}"
        told = (self.model_type, self.layout, self.biased or "none", self.positions, self.key)
        return (*told, "yes" if self.grouped else "no", self.folds, self.adapter, held)


TITLES = ("family", "q, k, v", "biases", "positions", "b_k", "grouped", "b_v folds", "adapter", "checks")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", help="model types (none: all of them)")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each family")


def run(args: argparse.Namespace) -> int:
    """Check each family on a tiny random model (seconds, no network), print a row each; 1 if anything failed."""
    from .errors import UnknownName

    for name in args.names:
        if name not in FAMILIES:
            raise UnknownName("family", name, FAMILIES)
    rows = [verified(name) for name in args.names or FAMILIES]
    if args.json:
        print("\n".join(json.dumps(row.__dict__) for row in rows))
    else:
        _print(rows)
    return int(any(row.failed for row in rows))


def verified(model_type: str) -> Verified:
    """Run every check of ``verify`` on a tiny random model of a family, float64."""
    family, failed = FAMILIES[model_type], {}
    for name, check in verify.CHECKS.items():
        model = verify.tiny_model(model_type)
        try:
            check(model, verify.example(model))
        except ModelError as error:
            failed[name] = str(error)
    model: Any = verify.tiny_model(model_type, zero="qk")
    live, (heads, kv_heads, _) = live_key(model), family.counts(model.config)
    key = "alive" if bool(live.all()) else "part alive" if bool(live.any()) else "dead"
    layout = type(family.layout).__name__.lower().replace("perhead", "per head")
    return Verified(
        model_type, layout, family.biased, family.positions, key, heads != kv_heads, folds(model, family.switch),
        "ours" if family.fused else "PEFT's", family.model, failed,
    )  # fmt: skip


def folds(model: Any, switch: str) -> str:
    """Whether b_v folds into a model that stock code holds: "yes", "yes (with switch)", "no"."""
    before = verify.logits_of(model, verify.example(model))
    had = bool(getattr(model.config, switch, False)) if switch else True
    try:
        fold(model)
    except ModelError:
        return "no"
    moved = (verify.logits_of(model, verify.example(model)) - before).abs().max().item()
    if moved > verify.STILL:
        return f"NOT EXACT ({moved:.0e})"
    return "yes" if had or not getattr(model.config, switch) else f"with {switch}"


def _print(rows: list[Verified]) -> None:
    table = [TITLES, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    print("\nbiases: which of q, k, v and the output projection have one in stock code; adapter: whose format.")
    print("Checked just now on random models in float64:")
    for name, check in verify.CHECKS.items():
        print(f"  {name:<20}{' '.join((check.__doc__ or '').split())}")
    print("What becomes of b_k:")
    for kind in dict.fromkeys(row.positions for row in rows):
        print(f"  {kind:<28}{POSITIONS[kind].why}")
    for row in rows:
        for name, error in row.failed.items():
            print(f"FAILED {row.model_type}, {name}: {error}")
