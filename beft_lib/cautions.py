"""What has to be said beside the tables of rulers: what each model's key can do, and where no term is shown to help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .architectures import TERMS
from .comparing import Cell, Row, _by_task, cells, holm, paired


def notes(rows: Iterable[Row]) -> list[str]:
    """What has to be said beside the tables, a sentence of each model's key, and one of its tasks where no term is
    shown to beat head only. That is three paired tests, and the best term is known from the same seeds: p is by Holm.
    """
    found = cells(rows)
    models = list(dict.fromkeys(cell.model for cell in found))
    told = [_key_note(model, [cell for cell in found if cell.model == model]) for model in models]
    open_on = _not_shown(found)
    told += [
        f"{model}: no term is shown to beat head only (p by Holm, of three terms), and a hit may be luck, on "
        f"{', '.join(open_on[model])}."
        for model in models
        if model in open_on
    ]
    return told


def _not_shown(found: Sequence[Cell]) -> dict[str, list[str]]:
    """``{model: its tasks where no term is shown to beat head only}``, each with what the best one gains."""
    told: dict[str, list[str]] = {}
    for (model, task), every in _by_task(found):
        head = [cell.scores["head"] for cell in every]
        tests = {term: paired([cell.scores[term] for cell in every], head) for term in TERMS}
        ps = dict(zip(TERMS, holm(test["p"] for test in tests.values()), strict=True))
        best = max(TERMS, key=lambda term: tests[term]["difference"])
        if not any(ps[term] < 0.05 and tests[term]["difference"] > 0 for term in TERMS):
            p = f"p {ps[best]:.2f}" if not np.isnan(ps[best]) else "no spread for a p"
            seeds = f"{len(every)} seed{'s' if len(every) > 1 else ''}"
            gain = f"{tests[best]['difference']:+.3f}"
            told.setdefault(model, []).append(f"{task} (the best is {best}, {gain}, {p}, {seeds})")
    return told


def _key_note(model: str, every: Sequence[Cell]) -> str:
    facts = every[0].facts
    kind = f"{facts.get('family', 'this family')}, {facts.get('positions', 'unknown')} positions"
    same = [cell for cell in every if cell.rates.get("key") == cell.rates.get("head")]
    apart = max((abs(cell.scores["key"] - cell.scores["head"]) for cell in same), default=0.0)
    seen = _beside(apart, len(same), len(every))
    if facts.get("key_is_dead"):
        told = "softmax cancels the key bias, so tuning it is tuning the head alone"
        why = " The gap is rounding in long runs (lesson 02)." if apart >= 0.0005 else ""
        return f"{model} ({kind}): {told}; measured, {seen}{why}"
    return f"{model} ({kind}): the key bias is alive here; as to key and head only, {seen}"


def _beside(apart: float, same: int, of: int) -> str:
    """How far key and head only are apart where both had one learning rate; where not, two recipes are compared."""
    others = f"their learning rates, each chosen on held-out data, differ in {_cells(of - same)}: two recipes"
    if not same:
        return f"{others}, so the two cannot be compared."
    largest = f"at most {apart:.3f} apart" if apart >= 0.0005 else "equal to three decimals" if apart else "equal"
    return f"the two are {largest} in {_cells(same)}{f' ({others}, not counted)' if same < of else ''}."


def _cells(count: int) -> str:
    return f"{count} cell{'s' if count != 1 else ''}"
