"""Bias terms as things one can hold: find them, add a trainable delta, snapshot, reset, merge, remove.

The mechanism everything rests on: a bias is used as **pretrained value + delta**, where the delta is a real
``nn.Parameter`` in fp32 that belongs to one term alone, installed with ``torch.nn.utils.parametrize``.
Installing changes no output; of a fused projection it moves one part and leaves the others bit-identical; a
16-bit base keeps a 32-bit delta; starting over is ``delta.zero_()``; and the delta is the adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .architectures import TERMS, Part, parts_of, width_of
from .errors import ModelError, UnknownName


class BiasDelta(nn.Module):
    """The parametrization ``bias -> bias + delta`` of one term; ``index`` says where in a fused bias it goes."""

    def __init__(self, term: str, bias: Tensor, index: Tensor | None):
        super().__init__()
        self.term = term
        width = bias.numel() if index is None else index.numel()
        self.delta = nn.Parameter(torch.zeros(width, dtype=torch.float32, device=bias.device))  # (d,)
        # The index follows from the architecture: it moves with the module but is not stored.
        self.register_buffer("index", None if index is None else index.to(bias.device), persistent=False)

    def forward(self, bias: Tensor) -> Tensor:
        if self.index is None:
            return (bias + self.delta).to(bias.dtype)
        return bias.index_add(0, cast(Tensor, self.index), self.delta.to(bias.dtype))


@dataclass(frozen=True)
class BiasTerm:
    """One term of one model: L parts, a layer each. What ``find_biases`` returns."""

    term: str
    parts: tuple[Part, ...]

    def values(self) -> Tensor:
        """The bias as the model uses it now, delta included: (L, d), a float64 copy on the CPU."""
        return torch.stack([term_in(part) for part in self.parts])

    def deltas(self) -> list[nn.Parameter]:
        """The trainable deltas, L × (d,); empty when none is installed."""
        return [delta.delta for part in self.parts if (delta := _installed(part)) is not None]

    def __len__(self) -> int:
        return len(self.parts)

    def __repr__(self) -> str:
        first = self.parts[0]
        bias: Any = first.module.bias
        width = bias.numel() if first.index is None else first.index.numel()
        return f"{self.term}: {len(self)} layers × ({width},) in {first.name.split(' ', 2)[2]}"


def find_biases(model: nn.Module, terms: Iterable[str] = TERMS) -> dict[str, BiasTerm]:
    """The bias terms of a model: ``{"query": BiasTerm, "key": …, "value": …}``.

    Raises UnknownName for a term that is none of q, k, v, and ModelError where a projection has no bias.
    """
    found = {}
    for term in terms:
        if term not in TERMS:
            raise UnknownName("bias term", term, TERMS)
        found[term] = BiasTerm(term, tuple(parts_of(model, term)))
    for term in found.values():
        bare = [part.name for part in term.parts if getattr(part.module, "bias", None) is None]
        if bare:
            raise ModelError(
                f"{type(model).__name__} has no {term.term} bias in {len(bare)} of {len(term)} layers "
                f"(first: {bare[0]}). Call add_biases(model) first: it adds a bias of zero, which changes no output."
            )
    return found


def add_biases(model: nn.Module, terms: Iterable[str] = TERMS) -> list[str]:
    """Give projections of these terms that lack a bias a frozen one of zero. Returns the names of those changed."""
    added = []
    for part in (part for term in terms for part in parts_of(model, term)):
        if getattr(part.module, "bias", None) is None:
            weight = cast(Tensor, part.module.weight)
            zero = torch.zeros(width_of(part.module), dtype=weight.dtype, device=weight.device)
            part.module.bias = nn.Parameter(zero, requires_grad=False)
            added.append(part.name)
    return added


def install(model: nn.Module, terms: Iterable[str] = TERMS, layers: Iterable[int] | None = None) -> dict[str, BiasTerm]:
    """Add a trainable delta of zero to these terms, in these layers (None: all). No output changes.

    Parts that have a delta keep it.
    """
    biases = find_biases(model, terms)
    chosen = None if layers is None else set(layers)
    for part in (part for term in biases.values() for part in term.parts):
        if _installed(part) is None and (chosen is None or part.layer in chosen):
            _original(part.module).requires_grad_(False)  # the delta is trained in its place
            delta = BiasDelta(part.term, _original(part.module), part.index)
            parametrize.register_parametrization(part.module, "bias", delta, unsafe=True)
    return biases


def remove(model: nn.Module, merge: bool = False) -> None:
    """Take every delta out again: the pretrained biases come back, or with ``merge=True`` stay moved.

    Either way the model is stock afterwards: plain modules, plain keys.
    """
    for module in [m for m in model.modules() if _deltas_of(m)]:
        moved = cast(Tensor, module.bias).detach().clone()
        parametrize.remove_parametrizations(module, "bias", leave_parametrized=False)
        if merge:
            with torch.no_grad():
                cast(Tensor, module.bias).copy_(moved)


def reset(model: nn.Module) -> None:
    """Back to the pretrained biases, deltas still installed: every delta becomes zero, its gradient is dropped."""
    with torch.no_grad():
        for delta in all_deltas(model):
            delta.delta.zero_()
            delta.delta.grad = None


def all_deltas(model: nn.Module) -> list[BiasDelta]:
    """Every installed delta, in the order of the model's modules."""
    return [delta for module in model.modules() for delta in _deltas_of(module)]


def snapshot(biases: dict[str, BiasTerm]) -> dict[str, Tensor]:
    """All terms as they are now: ``{"query": (L, d), …}``, float64 copies on the CPU."""
    return {term: bias.values() for term, bias in biases.items()}


@contextmanager
def shifted(model: nn.Module, term: str, by: Tensor) -> Iterator[nn.Module]:
    """Within the block, one term is moved by ``by``, (L, d) or anything that broadcasts to it; undone afterwards."""
    (bias,) = find_biases(model, [term]).values()
    before = [_original(part.module).detach().clone() for part in bias.parts]
    try:
        with torch.no_grad():
            for part, move in zip(bias.parts, by.expand(bias.values().shape), strict=True):
                original = _original(part.module)
                index = torch.arange(original.numel()) if part.index is None else part.index
                original.index_add_(0, index.to(original.device), move.to(original))
        yield model
    finally:
        with torch.no_grad():
            for part, value in zip(bias.parts, before, strict=True):
                _original(part.module).copy_(value)


def _original(module: nn.Module) -> Tensor:
    """The stored bias, without deltas."""
    if parametrize.is_parametrized(module, "bias"):
        return cast(Tensor, module.parametrizations.bias.original)  # type: ignore[union-attr]
    return cast(Tensor, module.bias)


def _deltas_of(module: nn.Module) -> list[BiasDelta]:
    if not parametrize.is_parametrized(module, "bias"):
        return []
    return [p for p in module.parametrizations.bias if isinstance(p, BiasDelta)]  # type: ignore[union-attr]


def _installed(part: Part) -> BiasDelta | None:
    return next((delta for delta in _deltas_of(part.module) if delta.term == part.term), None)


def term_in(part: Part) -> Tensor:
    """A term's own part of one bias as used now, zeros where there is none: (d,), float64 on the CPU (a 16-bit base
    must not round a 32-bit delta away).
    """
    if getattr(part.module, "bias", None) is None:
        return torch.zeros(width_of(part.module) if part.index is None else len(part.index), dtype=torch.float64)
    bias = _original(part.module).detach().to("cpu", torch.float64)
    own = bias if part.index is None else bias[part.index]
    delta = _installed(part)
    return own.clone() if delta is None else own + delta.delta.detach().to("cpu", torch.float64)
