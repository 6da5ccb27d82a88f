"""Every way to tune, one row each, and how a model is brought to the start line of one. ``tuning.py`` runs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import biases, sparse, wrapping
from .architectures import TERMS, head_parameters, layers_of
from .errors import TrainingError, UnknownName
from .models import fresh_head
from .recipe import Recipe
from .runs import Counts
from .tasks import Task

FULL_LEARNING_RATE = 1e-5  # the paper's, for all parameters
LAYERS = "all, top-half, bottom-half, top-N, bottom-N, a layer's number or two with a dash (0 is the lowest)"


@dataclass(frozen=True)
class Method:
    """One way to tune. The head is trained by every one.

    Attributes:
        terms: bias terms that get a trainable delta; with ``uniform`` as many parameters as these hold are drawn at
            random over the layers instead, and ``peft`` may use them as it likes.
        layers: which layers, as numbers or in words (``LAYERS``).
        also: which of the model's own parameters in these layers (with "all": in the whole model) are trained besides
            delta and head, by name.
        learning_rate: None for the task's, as for every bias method in the paper.
        shots: demonstrations, for the ways that train nothing and only ask a language model.
        peft: makes PEFT's configuration from (model, terms, numbers of the layers).
    """

    name: str
    title: str
    terms: tuple[str, ...] = ()
    layers: str | tuple[int, ...] = "all"
    also: Callable[[str], bool] = field(default=lambda name: False, repr=False)
    learning_rate: float | None = None
    shots: int | None = None
    uniform: bool = False
    peft: Callable[[nn.Module, tuple[str, ...], tuple[int, ...]], Any] | None = field(default=None, repr=False)


_ROWS = (
    Method("head", "head only"),
    Method("value", "value bias (BEFT's usual choice)", ("value",)),
    Method("query", "query bias", ("query",)),
    Method("key", "key bias", ("key",)),
    Method("qkv", "query, key and value bias together", TERMS),
    Method("all_biases", "all biases (BitFit)", TERMS, also=lambda name: name.endswith("bias")),
    Method("random_uniform", "as many parameters as value, drawn at random", ("value",), uniform=True),
    Method("full", "all parameters", also=lambda name: True, learning_rate=FULL_LEARNING_RATE),
    Method("lora", "LoRA (r 8, alpha 16) on query and value", ("query", "value"), peft=wrapping.lora),
    Method("prefix", "prefix tuning (5 tokens)", peft=wrapping.prefix),
)

METHODS: dict[str, Method] = {row.name: row for row in _ROWS}
# What a language model does as it is, on prompted tasks: nothing is tuned.
ASKING: dict[str, Method] = {
    row.name: row
    for row in (Method("zero_shot", "zero-shot", shots=0), Method("in_context", "in-context learning", shots=32))
}


def method_row(method: str | Method) -> Method:
    """The row of a method: a key of ``METHODS``, or terms joined by +, either with ``@layers`` behind.

    "query+value" trains two terms, "value@top-half" one in the upper half of the layers, "value@0" in the lowest.
    "in_context@2" asks with two demonstrations. Raises UnknownName.
    """
    if isinstance(method, Method):
        return method
    what, _, where = method.partition("@")
    rows = {**METHODS, **ASKING}
    row = rows.get(what)
    if row is None:
        terms = tuple(term for term in TERMS if term in what.split("+"))
        if len(terms) < 2 or set(what.split("+")) != set(terms):
            fix = "Terms can be joined (query+value), and layers chosen (value@top-half)."
            raise UnknownName("method", method, rows, fix)
        name = "qkv" if terms == TERMS else "+".join(terms)
        row = METHODS.get(name) or Method(name, f"{' and '.join(terms)} bias", terms)
    if not where or where == "all":
        return row
    if row.shots and re.fullmatch(r"[1-9]\d*", where):
        return replace(row, name=f"{row.name}@{where}", title=f"{row.title}, {where} shown", shots=int(where))
    if row.name in ("prefix", *ASKING):
        raise UnknownName("layers", where, ["all"], f"{row.title} knows no layers.")
    _pick(where, 99)  # a mistake is told before anything is loaded
    return replace(row, name=f"{row.name}@{where}", title=f"{row.title}, layers {where}", layers=where)


def layers_chosen(method: Method, model: nn.Module) -> tuple[int, ...]:
    """The numbers of the layers in which a method trains, 0 next to the words. Raises UnknownName where one is not."""
    depth = len(layers_of(model))
    chosen = _pick(method.layers, depth) if isinstance(method.layers, str) else tuple(sorted(set(method.layers)))
    if not chosen or chosen[0] < 0 or chosen[-1] >= depth:
        raise UnknownName("layers", method.layers, map(str, range(depth)), f"In words: {LAYERS}.")
    return chosen


def recipe_for(task: Task, method: Method, recipe: Recipe | None = None, **changes: Any) -> Recipe:
    """The paper's recipe for a task and a method, single fields changed. Raises UnknownName for others."""
    unknown = set(changes) - set(Recipe.__dataclass_fields__)
    if unknown:
        raise UnknownName("recipe field", sorted(unknown)[0], Recipe.__dataclass_fields__)
    own = {} if method.learning_rate is None else {"learning_rate": method.learning_rate}
    return replace(recipe or Recipe(**{**task.recipe, **own}), **changes)


def prepare(model: nn.Module, method: str | Method, seed: int) -> Counts:
    """Bring a model to the start line: pretrained weights, a head drawn from ``seed``, and only what the method trains
    requiring a gradient. Says how much that is.
    """
    method = method_row(method)
    restore(model)
    layers = layers_chosen(method, model)
    model.beft_token = object()  # type: ignore[assignment]  whatever ran before no longer owns the model
    model.beft_trained = False  # type: ignore[assignment]
    fresh_head(model, seed)
    head, own = head_parameters(model), _own(model, method, layers)
    head_biases = sum(p.numel() for name, p in head.items() if method.also(name))
    _remember(model, {**head, **own})
    whole = sum(p.numel() for p in model.parameters())
    config = None if method.peft is None else method.peft(model, method.terms, layers)
    before = {id(p) for p in model.parameters()}
    if config is not None:
        wrapping.wrap(model, config, seed)
    kept = {id(p) for p in (*head.values(), *own.values())}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in kept or id(parameter) not in before)  # PEFT's own are new
    if method.uniform:
        terms = biases.find_biases(model, method.terms).values()
        wanted = sum(term.values()[list(layers)].numel() for term in terms)
        sparse.install(model, wanted, seed, layers)
    elif method.terms and config is None:
        biases.install(model, method.terms, layers)
    trained = sum(p.numel() for p in wrapping.acting(model).parameters() if p.requires_grad)
    if not trained:
        raise TrainingError(
            f"{method.name} trains nothing on {type(model).__name__}: it has no task head to train. On a prompted task "
            "this is the method 'zero_shot'."
        )
    in_head = sum(p.numel() for p in head.values()) - head_biases
    return Counts(trained - in_head, in_head, whole)


def restore(model: nn.Module) -> None:
    """Back to the pretrained model: deltas and PEFT's layers out, every parameter that a run trained as it was before.

    No reload, and nothing of ours left in it: stock modules, stock keys, the same bits.
    """
    wrapping.unwrap(model)
    sparse.remove(model)
    biases.remove(model)
    pristine: dict[str, Tensor] = getattr(model, "beft_pristine", {})
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in pristine.items():
            parameters[name].copy_(value)


def _own(model: nn.Module, method: Method, layers: tuple[int, ...]) -> dict[str, nn.Parameter]:
    """The model's own parameters that a method trains, but for the head and the biases that get a delta."""
    head = head_parameters(model)
    with_delta = () if method.uniform or method.peft else method.terms
    terms = biases.find_biases(model, with_delta).values()
    passed = {id(part.module.bias) for term in terms for part in term.parts}
    every = layers_of(model)
    within = None if method.layers == "all" else {id(p) for number in layers for p in every[number].parameters()}
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if method.also(name) and name not in head and id(parameter) not in passed
        if within is None or id(parameter) in within
    }


def _pick(words: str, depth: int) -> tuple[int, ...]:
    """Layers in words as numbers, for a model with ``depth`` of them."""
    numbers = tuple(range(depth))
    if words == "all":
        return numbers
    if found := re.fullmatch(r"(top|bottom)-(half|\d+)", words):
        count = max(1, depth // 2) if found[2] == "half" else int(found[2])
        return () if count > depth else numbers[depth - count :] if found[1] == "top" else numbers[:count]
    if found := re.fullmatch(r"(\d+)(?:-(\d+))?", words):
        return tuple(range(int(found[1]), int(found[2] or found[1]) + 1))
    raise UnknownName("layers", words, ["all", "top-half", "bottom-half", "top-2", "0-2"], f"In words: {LAYERS}.")


def _remember(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    """Keep what is about to be trained, once, so that ``restore`` can bring it back."""
    pristine: dict[str, Tensor] = getattr(model, "beft_pristine", {})
    for name, parameter in parameters.items():
        if name not in pristine:
            pristine[name] = parameter.detach().cpu().clone()
    model.beft_pristine = pristine  # type: ignore[assignment]
