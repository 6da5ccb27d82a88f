"""What a moved bias does to a model on data: rankings that are defined where the paper's is not, at a zero start.

The paper's score compares a bias with where it started, and is 1 for any move away from zero. Here a move is compared
with what attention puts out, or with the loss, so a bias-free model ranks as any other. Both need data and a model
that holds deltas (after ``probe``, ``fine_tune`` or ``install``); both leave it as it was.

What neither says: whether tuning that term *alone* will do well. The terms were trained together, and each made up for
what the others did; a large effect may be a harmful one; and how far a term moves depends on learning rate and length
of the run. Whether they predict performance is a question to measure, not an assumption.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from . import biases
from .architectures import family_of, layers_of, output_of
from .classifying import encode
from .errors import ScoreError, UnknownName
from .models import load_tokenizer
from .tasks import Task

Batches = Iterable[Mapping[str, Tensor]]


def output_change(model: nn.Module, batches: Batches) -> dict[str, Tensor]:
    """How much of what attention puts out each term's move makes, by layer: ``{term: (L,)}``, in shares of its size.

        |o(b + delta) - o(b)| / |o(b)|,   o the output projection's output, norms over all tokens that are not padding

    Each layer gets the input that it had before any move, so its number is its own. 0 exactly for a b_k that softmax
    cancels (to float32 rounding, 1e-7), which no score of vectors can know. Only terms that have deltas are there.
    """
    terms = _terms(model)
    outputs = [output_of(layer, family_of(model)) for layer in layers_of(model)]
    sums = {term: torch.zeros(len(outputs), dtype=torch.float64) for term in (*terms, "all")}
    with _evaluating(model):
        for batch in (_on(model, batch) for batch in batches):
            with only(model, ()):
                before = _outputs(model, outputs, batch)
            sums["all"] += torch.stack([_squares(b, batch) for b in before])
            for term in terms:
                with only(model, (term,)):
                    after = _outputs(model, outputs, batch, before)
                sums[term] += torch.stack([_squares(a - b, batch) for a, b in zip(after, before, strict=True)])
    if not bool(sums["all"].all()):
        raise ScoreError("Attention puts out zero everywhere, or there were no batches: no change has a size.")
    changes = {term: (sums[term] / sums["all"]).sqrt() for term in terms}
    if not all(bool(torch.isfinite(change).all()) for change in changes.values()):
        raise ScoreError("Attention puts out NaN or infinity: the run has diverged, or a number format overflows.")
    return changes


def loss_without(model: nn.Module, batches: Batches) -> dict[str, float]:
    """How much the loss rises when one term's deltas alone are taken out: ``{term: nats}`` (batches with labels).

    Positive: the term carries a part of what was learnt; near zero: the model does as well without it.
    """
    batches, terms = [_on(model, batch) for batch in batches], _terms(model)
    with _evaluating(model):
        whole = _loss(model, batches)
        losses = {}
        for term in terms:
            with only(model, tuple(other for other in terms if other != term)):
                losses[term] = _loss(model, batches) - whole
    return losses


def task_batches(
    model: nn.Module, task: Task, n: int = 64, batch_size: int = 16, part: str = "validation"
) -> list[dict[str, Tensor]]:
    """The first ``n`` examples of a task's ``part`` ("train" or "validation"), as the two functions above take them."""
    if part not in ("train", "validation"):
        raise UnknownName("part", part, ("train", "validation"))
    examples = getattr(task, part)
    examples = examples.select(range(min(n, len(examples))))
    tokenizer = load_tokenizer(model)
    encoded: Any = encode(task, examples, tokenizer)
    return list(DataLoader(encoded, batch_size=batch_size, collate_fn=DataCollatorWithPadding(tokenizer)))


@contextmanager
def only(model: nn.Module, terms: Iterable[str]) -> Iterator[nn.Module]:
    """Within the block, the deltas of these terms act and all others are zero; undone afterwards."""
    others = [delta.delta for delta in biases.all_deltas(model) if delta.term not in set(terms)]
    kept = [delta.detach().clone() for delta in others]
    try:
        with torch.no_grad():
            for delta in others:
                delta.zero_()
        yield model
    finally:
        with torch.no_grad():
            for delta, value in zip(others, kept, strict=True):
                delta.copy_(value)


def _outputs(
    model: nn.Module, outputs: list[nn.Module], batch: Mapping[str, Tensor], instead: list[Tensor] | None = None
) -> list[Tensor]:
    """What each output projection puts out; ``instead`` is what the model goes on with in its place."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: Any, out: Tensor) -> Tensor | None:
        seen[module] = out
        return None if instead is None else instead[outputs.index(module)]

    hooks = [output.register_forward_hook(keep) for output in outputs]
    try:
        model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[output] for output in outputs]


def _squares(values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Sum of squares over the tokens that are not padding: values (B, T, d) -> ()."""
    mask = batch.get("attention_mask")
    if mask is not None and mask.shape == values.shape[:2]:
        values = values[mask.bool()]
    return values.double().square().sum().cpu()


def _loss(model: nn.Module, batches: list[dict[str, Tensor]]) -> float:
    sizes = [len(batch["labels"]) for batch in batches]
    losses = [model(**batch).loss.item() * size for batch, size in zip(batches, sizes, strict=True)]
    return sum(losses) / sum(sizes)


def _terms(model: nn.Module) -> tuple[str, ...]:
    found = {delta.term for delta in biases.all_deltas(model)}
    if not found:
        raise ScoreError("The model holds no deltas, so nothing moved: call it after probe, fine_tune or install.")
    return tuple(term for term in biases.TERMS if term in found)


def _on(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    device = cast(Tensor, next(model.parameters())).device
    return {name: value.to(device) for name, value in batch.items()}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
