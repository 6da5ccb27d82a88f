"""How near a pretrained model is to the best that the world allows, token by token; and every figure of its card."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from ..files import sha256
from ..models import quiet
from ..runtime import machine, user_folder
from . import headroom
from .chooser import Chooser
from .entropy import best_masked_accuracy, masked_posteriors
from .texts import KINDS, write_text
from .tokenizer import encode, vocabulary


def causal_loss(folder: Path, style: str, n: int = 300, seed: str = "entropy") -> dict[str, dict[str, float]]:
    """Nats a token on n fresh texts of every kind, end of text included, beside their derivations' information.

    The choice of the kind is part of a derivation: nobody tells the model of what kind a text is.
    """
    model = _load(AutoModelForCausalLM, folder)
    ids = vocabulary(style)
    first, last = (ids["</s>"], ids["</s>"]) if style == "opt" else (ids["<s>"], ids["</s>"])
    table = {}
    for kind in KINDS:
        written = [Chooser(f"{seed}/{i}") for i in range(n)]
        texts = [[first, *encode(write_text(c, kind), ids), last] for c in written]
        tokens = sum(len(text) - 1 for text in texts)
        loss = sum(_nats(model, batch, ids["<pad>"]) for batch in _batches(texts, 64)) / tokens
        nats = sum(-c.logp - math.log(KINDS[kind][1]) for c in written)
        table[kind] = {"loss": loss, "entropy": nats / tokens, "tokens": tokens / n}
    return table


def overall(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """The rows of ``causal_loss`` averaged as the corpus mixes its kinds."""
    weight = {kind: KINDS[kind][1] * row["tokens"] for kind, row in table.items()}
    total = sum(weight.values())
    return {name: sum(weight[kind] * row[name] for kind, row in table.items()) / total for name in ("loss", "entropy")}


def _load(kind: Any, folder: Path) -> torch.nn.Module:
    with quiet():
        return kind.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def _nats(model: torch.nn.Module, texts: list[list[int]], pad: int) -> float:
    inputs, mask = _padded(texts, pad)
    labels = inputs.masked_fill(~mask, -100)[:, 1:]
    logits = model(input_ids=inputs, attention_mask=mask.long()).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum").item()


def masked_accuracy(folder: Path, style: str, n: int = 100, seed: str = "masked") -> dict[str, float]:
    """Accuracy and nats with one token at a time hidden, over every token of n fresh texts, and the best possible."""
    model = _load(AutoModelForMaskedLM, folder)
    ids = vocabulary(style)
    seeds = [f"{seed}/{i}" for i in range(n)]
    hits = nats = count = 0.0
    newlines = "\n" in ids
    for name in seeds:
        tokens, _ = masked_posteriors(name, newlines=newlines)
        row = _framed(tokens, ids, style)
        inputs = torch.tensor([row] * len(tokens))
        at = torch.arange(len(tokens))
        inputs[at, at + 1] = ids["[MASK]" if style == "bert" else "<mask>"]
        with torch.no_grad():
            logits = model(input_ids=inputs).logits[at, at + 1].float()
        truth = torch.tensor(row[1:-1])
        hits += (logits.argmax(-1) == truth).sum().item()
        nats += torch.nn.functional.cross_entropy(logits, truth, reduction="sum").item()
        count += len(tokens)
    best, floor = best_masked_accuracy(seeds, newlines=newlines)
    return {"accuracy": hits / count, "best accuracy": best, "nats": nats / count, "least nats": floor}


def _framed(tokens: Sequence[str], ids: dict[str, int], style: str) -> list[int]:
    first, last = ("[CLS]", "[SEP]") if style == "bert" else ("<s>", "</s>")
    return [ids[first], *(ids[token] for token in tokens), ids[last]]


def _batches(texts: list[list[int]], size: int) -> list[list[list[int]]]:
    texts = sorted(texts, key=len)
    return [texts[i : i + size] for i in range(0, len(texts), size)]


def _padded(texts: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, texts))
    inputs = torch.tensor([[*text, *[pad] * (longest - len(text))] for text in texts])
    lengths = torch.tensor([len(text) for text in texts])
    return inputs, torch.arange(longest) < lengths[:, None]


# --- all of it --------------------------------------------------------------------------------------------------------


def sheet_of(folder: Path) -> Path:
    """Where the rows measured so far of a model with these very weights are kept."""
    fingerprint = sha256(folder / "model.safetensors")
    return user_folder("pocket", "measured") / f"{folder.name}-{fingerprint[:12]}.json"


def figures_of(folder: Path, style: str, log: Callable[[str], None]) -> dict[str, Any]:
    """Every figure of a model's card. What an interrupted call had finished is not done again."""
    sheet = headroom.Sheet(sheet_of(folder))
    figures: dict[str, Any] = {"weights": sha256(folder / "model.safetensors"), "machine": machine()}
    if style in ("bert", "roberta"):
        figures["masked"] = sheet.once(lambda: masked_accuracy(folder, style), kind="masked")
    else:
        table = sheet.once(lambda: {"by kind": causal_loss(folder, style)}, kind="language")["by kind"]
        figures["language"] = {"all": overall(table), **table}
        figures["asked"] = headroom.asked(folder, sheet)
    log(f"{folder.name}: {figures.get('masked') or figures['language']['all']}")
    if folder.name in headroom.TUNED_ON:
        figures["tuned"] = headroom.tuned(folder, style, sheet)
        figures["rates"] = [row for row in sheet.rows if row["kind"] == "rate"]
    figures["speed"] = headroom.speed(folder)
    return figures
