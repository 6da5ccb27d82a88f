"""Every way to tune, one row each, and ``fine_tune``: from a pretrained model and a task to a measured run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import biases
from .architectures import TERMS, head_parameters
from .errors import TrainingError, UnknownName
from .models import fresh_head, load_tokenizer
from .tasks import Task
from .training import Recipe, Training, evaluate_model, train

FULL_LEARNING_RATE = 1e-5  # the paper's, for all parameters


@dataclass(frozen=True)
class Method:
    """One way to tune.

    Attributes:
        terms: bias terms that get a trainable delta.
        also: which of the model's own parameters are trained besides delta and head (by name).
        learning_rate: None for the task's, as for every bias method in the paper.
        shots: demonstrations, for the ways that train nothing and only ask a language model.
    """

    name: str
    title: str
    terms: tuple[str, ...] = ()
    also: Callable[[str], bool] = field(default=lambda name: False, repr=False)
    learning_rate: float | None = None
    shots: int | None = None


_ROWS = (
    Method("head", "head only"),
    Method("value", "value bias (BEFT's usual choice)", ("value",)),
    Method("query", "query bias", ("query",)),
    Method("key", "key bias", ("key",)),
    Method("qkv", "query, key and value bias together", TERMS),
    Method("all_biases", "all biases (BitFit)", TERMS, also=lambda name: name.endswith("bias")),
    Method("full", "all parameters", also=lambda name: True, learning_rate=FULL_LEARNING_RATE),
)

METHODS: dict[str, Method] = {row.name: row for row in _ROWS}
# What a language model does as it is, on prompted tasks: nothing is tuned.
ASKING: dict[str, Method] = {
    row.name: row
    for row in (Method("zero_shot", "zero-shot", shots=0), Method("in_context", "in-context learning", shots=32))
}


@dataclass(frozen=True)
class Counts:
    """Parameters: trained by the method itself, trained in the head, and in the whole model."""

    method: int
    head: int
    model: int

    def __str__(self) -> str:
        share = self.method / self.model
        return f"{self.method:,} by the method ({share:.4%} of {self.model:,}) + {self.head:,} in the head"


@dataclass(frozen=True)
class Run:
    """A finished run. ``metrics`` on the validation examples; ``seconds`` of training; ``peak_memory`` in bytes.

    ``source`` names the model, ``data`` where the task's examples came from. ``model`` is the live model: it holds this
    run only until it is prepared for another one, which ``current`` tells.
    """

    method: str
    task: str
    seed: int
    metric: str
    metrics: Mapping[str, float]
    counts: Counts
    steps: int
    seconds: float
    peak_memory: int
    recipe: Recipe
    source: str
    data: str
    n_train: int
    labels: tuple[str, ...]
    losses: np.ndarray = field(repr=False)
    model: nn.Module = field(repr=False)
    token: object = field(repr=False, default=None)

    @property
    def score(self) -> float:
        """The metric that decides."""
        return self.metrics[self.metric]

    @property
    def current(self) -> bool:
        """Whether the model still holds what this run trained."""
        return getattr(self.model, "beft_token", None) is self.token

    def row(self) -> dict[str, Any]:
        """One row of a results table: plain numbers and strings."""
        return {
            "task": self.task,
            "method": self.method,
            "seed": self.seed,
            "metric": self.metric,
            "score": self.score,
            **{f"metric_{name}": value for name, value in self.metrics.items()},
            **{f"parameters_{name}": value for name, value in asdict(self.counts).items()},
            "steps": self.steps,
            "seconds": self.seconds,
            "peak_memory": self.peak_memory,
            "learning_rate": self.recipe.learning_rate,
            "model": self.source,
            "source": self.data,
            "n_train": self.n_train,
        }

    def __str__(self) -> str:
        others = "".join(f", {name} {value:.3f}" for name, value in self.metrics.items() if name != self.metric)
        return (
            f"{self.method} on {self.task}: {self.metric} {self.score:.3f}{others}\n"
            f"trained {self.counts}\n{self.steps} steps in {self.seconds:.1f} s, seed {self.seed}"
        )


def fine_tune(
    model: nn.Module,
    task: Task,
    method: str | Method = "value",
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **changes: Any,
) -> Run:
    """Tune a model on a task by one method, starting from the pretrained weights, whatever was done to it before.

    Args:
        model: from ``load_model``; tuned in place. The next ``fine_tune`` or ``probe`` starts over from pretrained.
        method: a key of ``METHODS``; on a prompted task also of ``ASKING``, where nothing is trained.
        seed: of the head, the batches and the dropout.
        recipe: None for the paper's for this task and method; ``changes`` replace single fields (``epochs=2``).
        folder: keeps checkpoints there, so that an interrupted run goes on where it was (see ``training.train``).
    """
    method = method_row(method)
    recipe = recipe_for(task, method, recipe, **changes)
    if method.shots is not None:
        return _only_asked(model, task, method, seed, recipe)
    counts = prepare(model, method, seed)
    label = f"{method.name} on {task.name}: {counts.method:,} + {counts.head:,} parameters"
    tokenizer = load_tokenizer(model)
    done = train(model, task, recipe, tokenizer, seed=seed, folder=folder, label=label, progress=progress)
    return evaluated(model, task, method.name, seed, counts, recipe, done)


def _only_asked(model: nn.Module, task: Task, method: Method, seed: int, recipe: Recipe) -> Run:
    """The pretrained model, asked: no training, no seconds of it."""
    if task.prompt is None:
        raise TrainingError(
            f"{method.name} asks a language model in words, and {task.name} was loaded for a classifier: use "
            f"load_task({task.name!r}, prompted=True) and a decoder, or the method 'head'."
        )
    restore(model)
    model.beft_token = object()  # type: ignore[assignment]
    counts = Counts(0, 0, sum(p.numel() for p in model.parameters()))
    done = Training(0, 0.0, 0, np.zeros(0))
    return evaluated(model, task, method.name, seed, counts, recipe, done, method.shots or 0)


def evaluated(
    model: nn.Module,
    task: Task,
    method: str,
    seed: int,
    counts: Counts,
    recipe: Recipe,
    done: Training,
    shots: int = 0,
) -> Run:
    """A finished training as a Run: the model as it is now, scored on the validation examples."""
    options = {"shots": shots, "seed": seed} if shots else {}
    metrics = evaluate_model(model, task, load_tokenizer(model), recipe.max_length, **options)
    source = getattr(getattr(model, "beft_source", None), "name", "")
    return Run(
        method, task.name, seed, task.metric, metrics, counts, done.steps, done.seconds, done.peak_memory, recipe,
        source, task.source, len(task.train), task.label_names, done.losses, model, getattr(model, "beft_token", None),
    )  # fmt: skip


def method_row(method: str | Method) -> Method:
    """The row of a method. Raises UnknownName."""
    if isinstance(method, Method):
        return method
    rows = {**METHODS, **ASKING}
    if method not in rows:
        raise UnknownName("method", method, rows)
    return rows[method]


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
    model.beft_token = object()  # type: ignore[assignment]  whatever ran before no longer owns the model
    fresh_head(model, seed)
    head = head_parameters(model)
    with_delta = {id(part.module.bias) for t in biases.find_biases(model, method.terms).values() for part in t.parts}
    own = {
        name: p
        for name, p in model.named_parameters()
        if method.also(name) and name not in head and id(p) not in with_delta
    }
    head_biases = sum(p.numel() for name, p in head.items() if method.also(name))
    _remember(model, {**head, **own})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head or name in own)
    whole = sum(p.numel() for p in model.parameters())
    deltas = [d for term in biases.install(model, method.terms).values() for d in term.deltas()] if method.terms else []
    trained = sum(d.numel() for d in deltas) + sum(p.numel() for p in own.values()) + head_biases
    if trained + len(head) == 0:
        raise TrainingError(
            f"{method.name} trains nothing on {type(model).__name__}: it has no task head to train. On a prompted task "
            "this is the method 'zero_shot'."
        )
    return Counts(trained, sum(p.numel() for p in head.values()) - head_biases, whole)


def restore(model: nn.Module) -> None:
    """Back to the pretrained model: deltas out, every parameter that a run trained as it was before. No reload."""
    biases.remove(model)
    pristine: dict[str, Tensor] = getattr(model, "beft_pristine", {})
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in pristine.items():
            parameters[name].copy_(value)


def _remember(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    """Keep what is about to be trained, once, so that ``restore`` can bring it back."""
    pristine: dict[str, Tensor] = getattr(model, "beft_pristine", {})
    for name, parameter in parameters.items():
        if name not in pristine:
            pristine[name] = parameter.detach().cpu().clone()
    model.beft_pristine = pristine  # type: ignore[assignment]
