"""The probe: train all three bias terms at once, watch how far each moves, and choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from . import biases
from .architectures import TERMS
from .methods import METHODS, Counts, prepare, recipe_for
from .models import load_tokenizer
from .scores import Score, importance_per_layer, rank_terms, score_terms
from .tasks import Task
from .training import Recipe, train

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

RECORDED = 200  # snapshots a probe keeps at most, unless told otherwise: a smooth curve in a few MB


@dataclass(frozen=True)
class ProbeResult:
    """What a probe saw.

    Attributes:
        pre: ``{term: (L, d)}`` before training, float64.
        steps: (S,) the steps recorded; the first is 0.
        trajectory: ``{term: (S, L, d)}`` the deltas at those steps, float32.
        losses: (steps,) every step's loss.
        stopped: why the probe ended early, or "".
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

    def table(self, score: Score = importance_per_layer) -> pd.DataFrame:
        """Scores by layer (rows, and their mean) and term (columns)."""
        import pandas as pd

        frame = pd.DataFrame({term: s.numpy() for term, s in self.scores(score=score).items()})
        frame.index = pd.Index([f"layer {i}" for i in frame.index], name=f"{self.task}, step {self.steps[-1]}")
        frame.loc["mean"] = frame.mean()
        return frame

    def plot(self, **options: Any) -> Axes:
        """The scores as a heat map, layer by term (see ``plots.scores_heatmap``)."""
        from .plots import scores_heatmap

        return scores_heatmap(self.table(), **options)

    def __str__(self) -> str:
        ranked = ", ".join(f"{term} {value:.4f}" for term, value in self.ranking())
        early = f" (stopped early: {self.stopped})" if self.stopped else ""
        return f"importance on {self.task} after {self.steps[-1]} steps{early}: {ranked} -> {self.best}"


def probe(
    model: nn.Module,
    task: Task,
    *,
    seed: int = 0,
    every: int | None = None,
    recipe: Recipe | None = None,
    all_biases: bool = False,
    progress: bool | None = None,
    **changes: Any,
) -> ProbeResult:
    """Train the query, key and value bias together from the pretrained model, and record how they move.

    Args:
        every: record each ``every``-th step (None: about 200 over the run). Step 0 and the last are always there.
        all_biases: train every other bias as well, as in the paper's own probe.
        recipe, changes: as in ``fine_tune``; None is the paper's recipe for the task.

    Interrupting it (Ctrl-C, the ■ button) ends it early and returns what was seen so far.
    Afterwards the model still holds the probe's deltas; the next ``fine_tune`` starts from pretrained again.
    """
    method = METHODS["all_biases" if all_biases else "qkv"]
    recipe = recipe_for(task, method, recipe, **changes)
    counts = prepare(model, method, seed)
    terms = biases.find_biases(model)
    pre = biases.snapshot(terms)
    record = _Record(terms, every)
    tokenizer = load_tokenizer(model)
    label = f"probe on {task.name}: {counts.method:,} + {counts.head:,} parameters"
    done = train(
        model, task, recipe, tokenizer, seed=seed, callbacks=[record], label=label, progress=progress, stoppable=True
    )
    record.finish()
    source = getattr(getattr(model, "beft_source", None), "name", type(model).__name__)
    trajectory = {term: torch.stack(record.seen[term]) for term in TERMS}
    return ProbeResult(
        source, task.name, seed, pre, np.array(record.steps), trajectory, done.losses, counts, recipe,
        done.seconds, done.peak_memory, done.stopped,
    )  # fmt: skip


class _Record(TrainerCallback):
    """Keeps the deltas of chosen steps: a few kilobytes copied, no arithmetic while training."""

    def __init__(self, terms: Mapping[str, biases.BiasTerm], every: int | None):
        self.deltas = {term: bias.deltas() for term, bias in terms.items()}
        self.every = every
        self.steps: list[int] = []
        self.seen: dict[str, list[Tensor]] = {term: [] for term in terms}
        self.last = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.every = self.every or max(1, state.max_steps // RECORDED)
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
