"""Single parameters drawn at random over the layers, trained as pretrained value + delta; nothing else moves.

The paper's random baseline: as many parameters as a bias term has, with nothing in common but their number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .architectures import layers_of


class ScatterDelta(nn.Module):
    """The parametrization ``weight -> weight + delta`` at n elements of a weight; ``index`` (n,) counts it flat.

    Exact without a mask: the elements that were not drawn have no delta that could move.
    """

    def __init__(self, weight: Tensor, index: np.ndarray):
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(len(index), dtype=torch.float32, device=weight.device))  # (n,)
        self.register_buffer("index", torch.from_numpy(index).to(weight.device), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        flat, index = weight.flatten(), cast(Tensor, self.index)
        return flat.index_copy(0, index, (flat[index] + self.delta).to(flat.dtype)).view_as(weight)


def install(model: nn.Module, count: int, seed: int, layers: Iterable[int] | None = None) -> list[ScatterDelta]:
    """Draw ``count`` parameters uniformly, without repetition, from the Transformer layers (all, or these) and give
    each a trainable delta of zero. No output changes; the same seed draws the same ones on every machine.
    """
    every = layers_of(model)
    chosen = every if layers is None else [every[number] for number in layers]
    places = [
        (module, name, parameter)
        for layer in chosen
        for module in list(layer.modules())
        # sorted, because a parametrization that was there and went leaves its parameter last
        for name, parameter in sorted(module.named_parameters(recurse=False))
    ]
    starts = np.cumsum([0, *(parameter.numel() for *_, parameter in places)])
    drawn = np.sort(np.random.default_rng(seed).choice(starts[-1], count, replace=False))
    deltas = []
    for (module, name, parameter), start, end in zip(places, starts, starts[1:], strict=False):
        index = drawn[(start <= drawn) & (drawn < end)] - start
        if len(index):
            parameter.requires_grad_(False)  # the delta is trained in its place
            delta = ScatterDelta(parameter, index)
            parametrize.register_parametrization(module, name, delta, unsafe=True)
            deltas.append(delta)
    return deltas


def installed(model: nn.Module) -> list[ScatterDelta]:
    """Every delta of this kind, in the order of the model's modules."""
    return [module for module in model.modules() if isinstance(module, ScatterDelta)]


def remove(model: nn.Module, merge: bool = False) -> None:
    """Take the deltas out again: the pretrained values come back, or with ``merge=True`` stay moved."""
    if not any(isinstance(module, ScatterDelta) for module in model.modules()):  # switching adapters asks every time
        return
    for module in [m for m in model.modules() if parametrize.is_parametrized(m)]:
        for name, held in list(cast(nn.ModuleDict, module.parametrizations).items()):
            if any(isinstance(delta, ScatterDelta) for delta in held):  # type: ignore[union-attr]
                moved = cast(Tensor, getattr(module, name)).detach().clone()
                parametrize.remove_parametrizations(module, name, leave_parametrized=False)
                if merge:
                    with torch.no_grad():
                        cast(Tensor, getattr(module, name)).copy_(moved)
