"""The probe: train all three bias terms at once, watch how far each moves, and choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from . import biases
from .architectures import TERMS
from .errors import ScoreError, UnknownName
from .methods import METHODS, Method, prepare, recipe_for
from .models import check_pair, load_tokenizer
from .rankings import Tabled, check_classes, layer_table
from .recipe import Recipe, check_seed, check_seeds
from .runs import Counts
from .scores import Score, importance_per_layer, magnitude_per_layer, rank_terms, score_terms
from .settling import is_settled, patience_for, record_every, warm_up
from .tasks import Task
from .training import train

if TYPE_CHECKING:
    import pandas as pd

RECORDED = 200  # snapshots a longer probe keeps, and less than twice as many: a smooth curve in a few MB
STOPS = ("stable",)


@dataclass(frozen=True)
class ProbeResult(Tabled):
    """What a probe saw.

    Attributes:
        pre: ``{term: (L, d)}`` before training, float64.
        steps: (S,) the steps recorded; the first is 0.
        trajectory: ``{term: (S, L, d)}`` the deltas at those steps, float32.
        losses: (steps,) every step's loss.
        stopped: why the probe ended early, or ""; ``steps_planned`` how many there would have been.
    """

    model: str
    task: str
    seed: int
    pre: Mapping[str, Tensor] = field(repr=False)
    steps: np.ndarray = field(repr=False)
    trajectory: Mapping[str, Tensor] = field(repr=False)
    losses: np.ndarray = field(repr=False)
    counts: Counts
    recipe: Recipe
    seconds: float
    peak_memory: int = 0
    stopped: str = ""
    steps_planned: int = 0

    def post(self, at: int = -1) -> dict[str, Tensor]:
        """Every term after the ``at``-th recorded step: ``{term: (L, d)}``, float64."""
        return {term: self.pre[term] + self.trajectory[term][at].double() for term in self.pre}

    def scores(self, at: int = -1, score: Score = importance_per_layer) -> dict[str, Tensor]:
        """``{term: (L,)}`` one score per layer after the ``at``-th recorded step."""
        return score_terms(self.pre, self.post(at), score)

    def curve(self, score: Score = importance_per_layer) -> dict[str, np.ndarray]:
        """``{term: (S, L)}``: the score of every layer at every recorded step."""
        every = [self.scores(at, score) for at in range(len(self.steps))]
        return {term: np.stack([s[term].numpy() for s in every]) for term in self.pre}

    def ranking(self, at: int = -1, score: Score = importance_per_layer) -> list[tuple[str, float]]:
        """Terms and mean scores, the highest first."""
        return rank_terms(self.pre, self.post(at), score)

    @property
    def best(self) -> str:
        """The term BEFT chooses: the highest importance at the end."""
        return self.ranking()[0][0]

    def settled(self, patience: int | None = None) -> int | None:
        """The step at which ``stop="stable"`` ends, or would have ended, this probe; None: it does not settle."""
        means = np.stack([of.mean(1) for of in self.curve().values()], 1)  # (S, terms)
        patience = patience_for(self.planned, patience)
        for at in range(1, len(self.steps) + 1):
            if is_settled(self.steps[:at], means[:at], patience, warm_up(self.recipe.betas[0])):
                return int(self.steps[at - 1])
        return None

    @property
    def planned(self) -> int:
        """Steps of the whole recipe, whether or not the probe stopped before them."""
        return self.steps_planned or int(self.steps[-1])

    def table(self, score: Score = importance_per_layer) -> pd.DataFrame:
        """Scores by layer (rows, and their mean) and term (columns)."""
        return layer_table(self.scores(score=score), f"{self.task}, step {self.steps[-1]}")

    def __str__(self) -> str:
        early = f" (stopped early: {self.stopped})" if self.stopped else ""
        steps = f"{self.steps[-1]} step{'s' if self.steps[-1] != 1 else ''}"
        where = f"on {self.task} after {steps}{early}"
        try:
            return f"importance {where}: {_listed(self.ranking())} -> {self.best}"
        except ScoreError as error:
            return _without_importance(self, where, error)


@dataclass(frozen=True)
class Probes(Tabled):
    """One probe for each of several seeds: what is chosen, and how much that is chance."""

    results: tuple[ProbeResult, ...]

    def ranking(self, score: Score = importance_per_layer) -> list[tuple[str, float, float]]:
        """Terms with mean and standard deviation of their score over the seeds, the highest mean first.

        Raises ScoreError, as a single result's, for importance where a term starts all zero.
        """
        every = [dict(result.ranking(score=score)) for result in self.results]
        spread = {term: np.array([means[term] for means in every]) for term in self.results[0].pre}  # (seeds,) each
        rows = [(t, float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else float("nan")) for t, v in spread.items()]
        return sorted(rows, key=lambda row: -row[1])

    @property
    def choices(self) -> dict[int, str]:
        """``{seed: term}``."""
        return {result.seed: result.best for result in self.results}

    @property
    def best(self) -> str:
        """The term that most seeds choose; among equals the one of the higher mean score."""
        votes = Counter(self.choices.values())
        return max(self.ranking(), key=lambda row: (votes[row[0]], row[1]))[0]

    def table(self, score: Score = importance_per_layer) -> pd.DataFrame:
        """Mean score over layers by seed (rows, and their mean) and term (columns)."""
        import pandas as pd

        rows = {
            f"seed {r.seed}": {t: of.mean().item() for t, of in r.scores(score=score).items()} for r in self.results
        }
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"{self.results[0].task}, one probe per seed")
        frame.loc["mean"] = frame.mean()
        return frame

    def __str__(self) -> str:
        where = f"on {self.results[0].task} over {len(self.results)} seeds"
        try:
            votes = Counter(self.choices.values())
            chosen = f"{self.best}, chosen by {votes[self.best]} of {len(self.results)}"
            return f"importance {where}: {_listed(self.ranking())} -> {chosen}"
        except ScoreError as error:
            return _without_importance(self, where, error)


def _listed(ranked: Sequence[tuple]) -> str:
    """query 0.1234, …; over several seeds with their spread: query 0.1234 (sd 0.0100), …"""
    spread = [f" (sd {row[2]:.4f})" if len(row) > 2 else "" for row in ranked]
    return ", ".join(f"{row[0]} {row[1]:.4f}{sd}" for row, sd in zip(ranked, spread, strict=True))


def _without_importance(result: ProbeResult | Probes, where: str, error: ScoreError) -> str:
    """What is printed where importance ranks nothing: magnitude, and why; printing itself must not fail."""
    try:
        return f"magnitude {where}: {_listed(result.ranking(score=magnitude_per_layer))}. No importance: {error}"
    except ScoreError:  # not finite: there is nothing to rank at all
        return f"no scores {where}: {error}"


@overload
def probe(model: nn.Module, task: Task, *, seeds: None = None, seed: int = 0, **options: Any) -> ProbeResult: ...
@overload
def probe(model: nn.Module, task: Task, *, seeds: Sequence[int], **options: Any) -> Probes: ...
def probe(
    model: nn.Module,
    task: Task,
    *,
    seeds: Sequence[int] | None = None,
    seed: int = 0,
    every: int | None = None,
    recipe: Recipe | None = None,
    all_biases: bool = False,
    stop: str | None = None,
    patience: int | None = None,
    progress: bool | None = None,
    **changes: Any,
) -> ProbeResult | Probes:
    """Train the query, key and value bias together from the pretrained model, and record how they move.

    Args:
        seeds: one probe each (head, batches, dropout), returned together as ``Probes``.
        every: record each ``every``-th step (None: about 200 over the run; with ``stop`` at least three in its
            patience). Step 0 and the last are always there.
        all_biases: train every other bias as well, as in the paper's own probe.
        stop: "stable" ends it as soon as the ranking has settled: see ``beft_lib/settling.py``.
        patience: of that stop, in steps (None: 4 % of the recipe's, at least 10); at least twice ``every``.
        recipe, changes: as in ``fine_tune``; None is the paper's recipe for the task.

    Interrupting it (Ctrl-C, the ■ button) ends it early and returns what was seen so far.
    Afterwards the model still holds the probe's deltas; the next ``fine_tune`` starts from pretrained again.
    """
    if stop is not None and stop not in STOPS:
        raise UnknownName("stop", stop, STOPS, "None trains the whole recipe.")
    check_pair(model, task)
    check_classes(task)
    method = METHODS["all_biases" if all_biases else "qkv"]
    recipe = recipe_for(task, method, recipe, **changes)
    options: dict[str, Any] = {"every": every, "stop": stop, "patience": patience, "progress": progress}
    if seeds is None:
        check_seed(seed)
        return _probe(model, task, method, recipe, seed, **options)
    results = []
    for number in check_seeds(seeds):
        results.append(_probe(model, task, method, recipe, number, **options))
        if results[-1].stopped == "interrupted":
            break
    return Probes(tuple(results))


def _probe(
    model: nn.Module, task: Task, method: Method, recipe: Recipe, seed: int, *, every: int | None, stop: str | None,
    patience: int | None, progress: bool | None,
) -> ProbeResult:  # fmt: skip
    counts = prepare(model, method, seed)
    terms = biases.find_biases(model)
    pre = biases.snapshot(terms)
    if stop:
        rank_terms(pre, pre)  # a term that cannot be ranked is said now, not after the training; so is a bad patience
        patience_for(0, patience)
    record = _Record(terms, every, (lambda steps: patience_for(steps, patience)) if stop else None)
    callbacks = [record, _Settle(record, pre, patience, recipe)] if stop else [record]
    tokenizer = load_tokenizer(model)
    label = f"probe on {task.name}: {counts.method:,} + {counts.head:,} parameters"
    done = train(
        model, task, recipe, tokenizer, seed=seed, callbacks=callbacks, label=label, progress=progress, stoppable=True
    )
    record.finish()
    source = getattr(getattr(model, "beft_source", None), "name", type(model).__name__)
    trajectory = {term: torch.stack(record.seen[term]) for term in TERMS}
    return ProbeResult(
        source, task.name, seed, pre, np.array(record.steps), trajectory, done.losses, counts, recipe,
        done.seconds, done.peak_memory, done.stopped or record.stopped, record.planned,
    )  # fmt: skip


class _Record(TrainerCallback):
    """Keeps the deltas of chosen steps: a few kilobytes copied, no arithmetic while training."""

    def __init__(
        self, terms: Mapping[str, biases.BiasTerm], every: int | None, patience: Callable[[int], int] | None = None
    ):
        """``patience``: planned steps to those of a stop that reads the record; None for no stop."""
        self.deltas = {term: bias.deltas() for term, bias in terms.items()}
        self.every, self.patience = every, patience
        self.steps: list[int] = []
        self.seen: dict[str, list[Tensor]] = {term: [] for term in terms}
        self.last = self.planned = 0
        self.stopped = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.planned = state.max_steps
        patience = None if self.patience is None else self.patience(state.max_steps)
        self.every = record_every(state.max_steps, RECORDED, self.every, patience)
        self._keep(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self.every is not None
        self.last = state.global_step
        if state.global_step % self.every == 0:
            self._keep(state.global_step)

    def finish(self) -> None:
        """The state at the end belongs to the record wherever the run stopped."""
        if not self.steps or self.steps[-1] != self.last:
            self._keep(self.last)

    def _keep(self, step: int) -> None:
        self.steps.append(step)
        for term, deltas in self.deltas.items():
            self.seen[term].append(torch.stack([delta.detach() for delta in deltas]).float().cpu())


class _Settle(TrainerCallback):
    """Ends the training when the ranking has settled; looks at each new record once."""

    def __init__(self, record: _Record, pre: Mapping[str, Tensor], patience: int | None, recipe: Recipe):
        self.record, self.pre, self.after = record, pre, warm_up(recipe.betas[0])
        self.patience = patience
        self.means: list[list[float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if len(self.record.steps) == len(self.means):
            return
        patience = patience_for(state.max_steps, self.patience)
        for at in range(len(self.means), len(self.record.steps)):
            post = {term: self.pre[term] + self.record.seen[term][at].double() for term in self.pre}
            self.means.append([of.mean().item() for of in score_terms(self.pre, post).values()])
        if is_settled(np.array(self.record.steps), np.array(self.means), patience, self.after):
            self.record.stopped = f"the ranking stood for {patience} steps, its gap above its noise"
            control.should_training_stop = True
