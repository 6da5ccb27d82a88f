"""The gradient of every single example at every bias, in one batched backward pass.

A bias b is added to each token's vector, so the gradient of example n's loss is the sum over its tokens of the gradient
at the layer's output: g_n = sum_t dL_n/dy_nt. Backward of the *sum* of the losses gives dL_n/dy_nt for every n at once,
because no example's loss depends on another's outputs. Padding needs no care: nothing real attends to it, so its
gradient is zero. No weight gradient is computed.

Letters: ``L`` layers, ``d`` width of the bias, ``B`` batch, ``T`` tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import biases
from .architectures import Part
from .errors import ModelError


def per_example_gradients(model: nn.Module, batch: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """Gradient of each example's negative log-likelihood at every bias: ``{term: (B, L, d)}``, one backward pass.

    ``labels`` (B,): class numbers, or floats for regression. Equal to one example at a time, to rounding.
    """
    with captured(model) as caught:
        loss = negative_log_likelihood(logits_of(model, batch), labels).sum()
        return caught.gradients(loss)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) from logits (B, classes) and class numbers, or from (B, 1) and floats: Gaussian, variance 1, less its
    constant."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if labels.is_floating_point():
        return 0.5 * (logits[:, 0] - labels) ** 2
    return functional.cross_entropy(logits, labels, reduction="none")


def logits_of(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """(B, classes). Raises ModelError for a model without a head."""
    logits = getattr(model(**batch), "logits", None)
    if logits is None or logits.ndim != 2:
        raise ModelError(
            f"{type(model).__name__} has no classification head, so it gives labels no likelihood. "
            "Load it with load_model(name, task)."
        )
    return logits


class Captured:
    """Sums over tokens of the gradients at the projections' outputs, of the forward pass made in its block."""

    def __init__(self, terms: Mapping[str, biases.BiasTerm]):
        self.terms = terms
        self.modules: list[nn.Module] = list(dict.fromkeys(p.module for t in terms.values() for p in t.parts))
        self.outputs: dict[nn.Module, Tensor] = {}

    def keep(self, module: nn.Module, _: Any, output: Tensor) -> None:
        if module in self.outputs:
            raise ModelError(
                f"{type(module).__name__} is used twice in one forward pass (as relative attention does), so its "
                "bias's gradient is not one sum over tokens. Measure this model with importance or magnitude."
            )
        # With everything frozen, the first layer's outputs begin the graph.
        self.outputs[module] = output if output.requires_grad else output.requires_grad_()

    def gradients(self, loss: Tensor, others: Sequence[Tensor] = (), keep_graph: bool = False) -> Any:
        """``{term: (B, L, d)}``; with ``others``, also the list of their gradients."""
        sums: dict[nn.Module, Tensor] = {}

        def add_up(module: nn.Module, gradient: Tensor) -> None:  # (B, T, d) -> (B, d), at once: it may be large
            sums[module] = gradient.sum(1, dtype=torch.promote_types(gradient.dtype, torch.float32))

        hooks = [out.register_hook(lambda g, m=module: add_up(m, g)) for module, out in self.outputs.items()]
        # Only what leads to these is computed: the outputs where the graph begins, and any others asked for.
        begins = [self.outputs[part.module] for term in self.terms.values() for part in term.parts[:1]]
        asked = [*dict.fromkeys(begins), *others]
        try:
            given = torch.autograd.grad(loss, asked, retain_graph=keep_graph, allow_unused=True)
        finally:
            for hook in hooks:
                hook.remove()
        found = {term: torch.stack([_own(sums[p.module], p) for p in of.parts], 1) for term, of in self.terms.items()}
        return (found, list(given[len(asked) - len(others) :])) if others else found


@contextmanager
def captured(model: nn.Module) -> Iterator[Captured]:
    """Within the block, the model's next forward pass can be asked for every example's bias gradients."""
    caught = Captured(biases.find_biases(model))
    hooks = [module.register_forward_hook(caught.keep) for module in caught.modules]
    try:
        with torch.enable_grad():
            yield caught
    finally:
        for hook in hooks:
            hook.remove()


def _own(sums: Tensor, part: Part) -> Tensor:
    """A term's elements, (B, d), of a module's (B, width)."""
    return sums if part.index is None else sums[:, part.index.to(sums.device)]
