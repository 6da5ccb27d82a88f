"""``fine_tune``: from a pretrained model and a task, by one method, to a measured run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numpy as np
from torch import nn

from . import fsdp, wrapping
from .errors import TrainingError
from .methods import Method, method_row, prepare, recipe_for, restore
from .models import check_pair, load_tokenizer
from .recipe import Recipe, check_seed, check_seeds
from .runs import Counts, Run, Runs, stored_bytes
from .tasks import Task
from .training import Training, evaluate_model, train


@overload
def fine_tune(
    model: nn.Module, task: Task, method: str | Method = ..., *, seed: int = ..., seeds: None = ...,
    recipe: Recipe | None = ..., folder: str | Path | None = ..., progress: bool | None = ..., **changes: Any,
) -> Run: ...  # fmt: skip
@overload
def fine_tune(
    model: nn.Module, task: Task, method: str | Method = ..., *, seeds: Sequence[int], recipe: Recipe | None = ...,
    folder: str | Path | None = ..., progress: bool | None = ..., **changes: Any,
) -> Runs: ...  # fmt: skip
def fine_tune(
    model: nn.Module,
    task: Task,
    method: str | Method = "value",
    *,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    recipe: Recipe | None = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **changes: Any,
) -> Run | Runs:
    """Tune a model on a task by one method, starting from the pretrained weights, whatever was done to it before.

    Args:
        model: from ``load_model``; tuned in place. The next ``fine_tune`` or ``probe`` starts over from pretrained.
        method: a key of ``METHODS``, terms or layers of one's own (see ``method_row``), or a ``Method``; on a prompted
            task also of ``ASKING``, where nothing is trained.
        seed: of the head, the batches and the dropout (the examples are the task's, by its own seed).
        seeds: several, one run each: the answer is then a ``Runs``, with mean and interval.
        recipe: None for the paper's for this task and method; ``changes`` replace single fields (``epochs=2``,
            ``reuse=True``, ``fsdp=True``: see ``recipe.Recipe``).
        folder: keeps checkpoints there, so that an interrupted run goes on where it was (see ``training.train``); with
            ``seeds`` one folder in it for each.
        progress: whether to show a bar; None: in a notebook or a terminal.

    Interrupting it (Ctrl-C, the ■ button) raises KeyboardInterrupt, unlike ``probe``: half a training is no result. The
    next call starts over from pretrained, or goes on in its ``folder``. With ``seeds``, those that are finished come
    back, and ``Runs.stopped`` says so.

    Raises UnknownName for a method, ModelError for a model that was loaded for another task or lacks what the method
    trains, TrainingError for a recipe or seeds that cannot run, and Diverged where loss or gradient stop being finite.
    """
    check_pair(model, task)
    method = method_row(method)
    recipe = recipe_for(task, method, recipe, **changes)
    home = None if folder is None else Path(folder)
    if seeds is None:
        check_seed(seed)
        return _fine_tune(model, task, method, seed, recipe, home, progress)
    seeds = check_seeds(seeds)
    homes = {one: None if home is None else home / f"seed-{one}" for one in seeds}
    done: list[Run] = []
    for one in seeds:
        try:
            done.append(_fine_tune(model, task, method, one, recipe, homes[one], progress))
        except KeyboardInterrupt:
            if not done:
                raise
            return Runs(tuple(done), f"interrupted in seed {one}")
    return Runs(tuple(done))


def _fine_tune(
    model: nn.Module, task: Task, method: Method, seed: int, recipe: Recipe, folder: Path | None, progress: bool | None
) -> Run:
    """``fine_tune`` with one seed, method and recipe looked up."""
    if method.shots is not None:
        return _only_asked(model, task, method, seed, recipe)
    counts = prepare(model, method, seed)
    label = f"{method.name} on {task.name}: {counts.method:,} + {counts.head:,} parameters"
    tokenizer = load_tokenizer(model)
    with _what_computes(model, recipe) as acting:
        done = train(acting, task, recipe, tokenizer, seed=seed, folder=folder, label=label, progress=progress)
        if recipe.fsdp:
            model.beft_trained = True  # type: ignore[assignment]  the twin knows it
        return evaluated(model, task, method.name, seed, counts, recipe, done, acting=acting)


@contextmanager
def _what_computes(model: nn.Module, recipe: Recipe) -> Iterator[nn.Module]:
    """What is trained and scored: the model, PEFT's wrapper around it, or with ``fsdp`` a twin in pieces.

    Raises TrainingError for ``fsdp`` with ``reuse``.
    """
    if not recipe.fsdp:
        yield wrapping.acting(model)
        return
    if recipe.reuse is True:
        raise TrainingError(
            "fsdp=True and reuse=True exclude each other: a process that finds an example kept would skip layers that "
            "the others wait for. Leave one of them out."
        )
    with fsdp.in_pieces(model) as acting:
        yield acting


def _only_asked(model: nn.Module, task: Task, method: Method, seed: int, recipe: Recipe) -> Run:
    """The pretrained model, asked: no training, no seconds of it."""
    if task.prompt is None:
        raise TrainingError(
            f"{method.name} asks a language model in words, and {task.name} was loaded for a classifier: use "
            f"load_task({task.name!r}, prompted=True) and a decoder, or the method 'head'."
        )
    if recipe.fsdp:
        raise TrainingError(f"{method.name} trains nothing, and fsdp=True is for training. Leave it out.")
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
    acting: nn.Module | None = None,
) -> Run:
    """A finished training as a Run: the model as it is now, scored on the validation examples.

    ``acting``: what computes, where that is neither the model nor PEFT's wrapper around it.
    """
    acting = acting or wrapping.acting(model)
    options = {"shots": shots, "seed": seed} if shots else {}
    begun = time.perf_counter()
    metrics = evaluate_model(acting, task, load_tokenizer(model), recipe.max_length, **options)
    scoring = time.perf_counter() - begun
    source = getattr(getattr(model, "beft_source", None), "name", "")
    trained = {name: p for name, p in acting.named_parameters() if p.requires_grad}
    size = stored_bytes(trained) if counts.method + counts.head else 0  # 0: only asked
    return Run(
        method, task.name, seed, task.metric, metrics, counts, done.steps, done.seconds, done.peak_memory, recipe,
        source, task.source, len(task.train), task.label_names, done.losses, model, getattr(model, "beft_token", None),
        size, done.pieces, done.kept_layers, scoring, len(task.validation), task.wording,
    )  # fmt: skip
