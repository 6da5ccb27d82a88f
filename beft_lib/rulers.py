"""What every ruler says about the terms of one model on one task with one seed, taken from runs that are made anyway.

A head-only run leaves a warm head: two Fishers there, then those at the untrained head. A run of all biases is the
paper's own probe: importance, magnitude, the early-stopped probe (read off its record) and the Fisher after training.
"""

from __future__ import annotations

import time
from typing import Any

from torch import nn

from .architectures import family_of
from .effects import Batches, loss_without, output_change, task_batches
from .fisher import FisherResult, fisher_information
from .probing import ProbeResult
from .runs import Run
from .scores import magnitude_per_layer
from .tasks import Task

RULERS: dict[str, str] = {
    "importance": "BEFT's: angle and length of the move, all biases trained by the grid's whole training, at the rate "
    "chosen for their performance",
    "importance, early stop": "the same probe, stopped when its ranking has settled",
    "magnitude": "mean |change| of an element in the same probe",
    "Fisher, warm head": "empirical, per example, after the head alone was trained",
    "true Fisher, warm head": "labels drawn from the model, after the head alone was trained",
    "Fisher, untrained head": "empirical, per example, at the pretrained weights and a fresh head",
    "true Fisher, untrained head": "labels drawn from the model, at a fresh head",
    "clipped batch Fisher": "the research code's: square of the clipped batch mean, at a fresh head",
    "Fisher, trained": "empirical, per example, after the probe",
    "output change": "after the probe, on training examples: share of attention's output that each term's move makes",
    "loss without": "after the probe, on training examples: how much the loss rises without each term's move",
}
EXAMPLES = 64  # of train, on which a move's effect is measured
MEASURED_AFTER = ("head", "all_biases")  # the methods whose runs give rulers

_AFTER_HEAD = (
    ("Fisher, warm head", "empirical", "warm"),
    ("true Fisher, warm head", "true", "warm"),
    ("Fisher, untrained head", "empirical", "pretrained"),
    ("true Fisher, untrained head", "true", "pretrained"),
    ("clipped batch Fisher", "clipped_batch", "pretrained"),
)


def after_head(model: nn.Module, task: Task, run: Run) -> dict[str, Any]:
    """``{ruler: {"scores": {term: float}, "seconds": s, "steps": n}}`` while the model holds a head-only run.

    The seconds of a warm one include the head's training. The model does not hold the run afterwards.
    """
    found = {}
    for name, kind, where in _AFTER_HEAD:  # the warm ones first: the others draw a fresh head
        at = "trained" if where == "warm" else where  # the head was trained by this very run
        seen = fisher_information(model, task, kind, where=at, seed=run.seed, recipe=run.recipe, progress=False)
        warm = where == "warm"
        found[name] = _entry(seen, run.seconds if warm else 0.0, run.steps if warm else 0)
    return found


def after_probe(model: nn.Module, task: Task, seen: ProbeResult) -> dict[str, Any]:
    """The same, while the model holds a whole probe. Without importance where a term starts at zero: it has none.

    The seconds are the probe's and those of what is measured after it (in rows of before December 2026, "output change"
    and "loss without" have the probe's only).
    """
    steps = int(seen.steps[-1])
    whole = {"seconds": seen.seconds, "steps": steps}
    fisher = fisher_information(model, task, where="trained", seed=seen.seed, recipe=seen.recipe, progress=False)
    found = {
        "magnitude": {"scores": dict(seen.ranking(score=magnitude_per_layer)), **whole},
        "Fisher, trained": _entry(fisher, seen.seconds, steps),
    }
    if task.prompt is None:  # these two are defined where a term starts at zero as well
        for name, effect in (("output change", _mean_change), ("loss without", loss_without)):
            started = time.perf_counter()
            scores = effect(model, task_batches(model, task, n=EXAMPLES, part="train"))
            took = time.perf_counter() - started
            found[name] = {"scores": scores, "seconds": seen.seconds + took, "steps": steps}
    if all(vectors.any() for vectors in seen.pre.values()):
        ended = seen.settled() or steps
        at = int((seen.steps == ended).nonzero()[0][0])
        early = {"seconds": seen.seconds * ended / steps, "steps": ended}
        found["importance"] = {"scores": dict(seen.ranking()), **whole}
        found["importance, early stop"] = {"scores": dict(seen.ranking(at)), **early}
    return found


def _mean_change(model: nn.Module, batches: Batches) -> dict[str, float]:
    return {term: change.mean().item() for term, change in output_change(model, batches).items()}


def facts(model: nn.Module) -> dict[str, Any]:
    """What an agreement table has to know of the model: its family, and whether its key bias can do anything."""
    family = family_of(model)
    return {"family": family.model_type, "positions": family.positions, "key_is_dead": family.key_is_dead}


def _entry(seen: FisherResult, seconds: float, steps: int) -> dict[str, Any]:
    return {"scores": dict(seen.ranking()), "seconds": seconds + seen.seconds, "steps": steps}
