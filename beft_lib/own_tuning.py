"""From a file of one's own to an adapter in one call: a probe chooses, the choice is tuned, compared and saved."""

from __future__ import annotations

import inspect
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from torch import nn

from .adapter_folder import check_replaceable
from .adapters import fits_adapter, save_adapter
from .answers import ANSWER_METRICS
from .errors import AdapterError, DataWarning, UnknownName
from .methods import Method, method_row, recipe_for
from .metrics import METRICS
from .models import load_model
from .own_data import own_task
from .predicting import outputs
from .probing import ProbeResult, probe
from .recipe import Recipe
from .runs import Run
from .tasks import Task
from .tuning import fine_tune

RESAMPLES = 500  # of the validation examples, for an interval
_DATA = set(inspect.signature(own_task).parameters) - {"source", "seed"}

Score = Callable[[np.ndarray], float]  # of some of the validation examples, by their places


@dataclass(frozen=True)
class OwnRun:
    """A file's adapter, and what speaks for it.

    Attributes:
        run: the choice, tuned; ``plain`` what it has to beat: head only, or a language model asked without tuning.
        constant: what is right most often, in words, and the score of saying nothing else.
        interval: 95 % of ``run.score``; ``gain`` the difference to ``plain`` with its 95 % interval. Both are over the
            validation examples: what other examples would have said, not other seeds. NaN where they cannot tell.
        notes: what was warned of.
    """

    task: Task
    run: Run
    plain: Run
    probe: ProbeResult | None
    constant: tuple[str, float]
    interval: tuple[float, float]
    gain: tuple[float, float, float]
    saved: Path | None = None
    notes: tuple[str, ...] = field(repr=False, default=())

    @property
    def verdict(self) -> str:
        """Whether the tuned bias did anything that the examples can show."""
        if self.run.method == self.plain.method:
            return "nothing to compare: this is the baseline"
        _, low, high = self.gain
        n = len(self.task.validation)
        if low > 0:
            return f"better than {self.plain.method} on these {n} examples, by more than their number leaves to chance"
        return f"{'worse than' if high < 0 else 'not shown to be better than'} {self.plain.method} on {n} examples"

    def row(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON; NaN as None."""
        told = {
            **self.run.row(), "interval": self.interval, "choice": self.run.method, "baseline": self.plain.method,
            "baseline_score": self.plain.score, "gain": self.gain, "constant": self.constant, "verdict": self.verdict,
            "importance": dict(self.probe.ranking()) if self.probe else None, "n_validation": len(self.task.validation),
            "saved": None if self.saved is None else str(self.saved), "notes": self.notes,
        }  # fmt: skip
        return {name: _finite(value) for name, value in told.items()}

    def __str__(self) -> str:
        shown = f"{self.gain[0]:+.3f} {_between(*self.gain[1:])}"
        scores = [
            (self.run.method, f"{self.run.score:.3f} {_between(*self.interval)}"),
            (self.plain.method, f"{self.plain.score:.3f}"),
            (self.constant[0], f"{self.constant[1]:.3f}"),
        ]
        cost = f"{self.plain.seconds:.1f} s for {self.plain.method}"
        cost += f", {self.probe.seconds:.1f} s for the probe" if self.probe else ""
        width = max(len(name) for name, _ in scores)
        lines = [
            str(self.task), str(self.probe) if self.probe else f"{self.run.method}, as asked for: no probe",
            f"{self.run.metric} on {len(self.task.validation)} validation examples, with its 95 % interval over them:",
            *(f"  {name:<{width}}  {told}" for name, told in scores),
            f"{self.run.method} - {self.plain.method}: {shown}: {self.verdict}",
            f"trained {self.run.counts}, in {self.run.source}",
            f"{self.run.steps} steps in {self.run.seconds:.1f} s; {cost}",
        ]  # fmt: skip
        return "\n".join([*lines, *([f"saved in {self.saved}"] if self.saved else [])])


def tune_own(
    data: Task | str | Path,
    model: str | Path | nn.Module = "bert",
    *,
    method: str | None = None,
    save: str | Path | None = None,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> OwnRun:
    """Choose a bias term by a probe, tune it, compare it with head only and with a constant answer, and save it.

    Args:
        data: a file, a folder, or a task from ``own_task``.
        model: as for ``load_model``; or a model loaded for this task.
        method: tune this (a key of ``METHODS``, "query+value" …) instead of what a probe chooses.
        save: the folder of the adapter; ``predict(folder, texts)`` uses it.
        options: those of ``own_task`` (``text=``, ``label=``, ``kind=``, ``validation=`` …) for a file, and the fields
            of ``Recipe`` (``epochs=``, ``max_length=``, ``learning_rate=`` …).

    What is warned of on the way is in the result's ``notes`` as well.
    """
    if unknown := set(options) - _DATA - set(Recipe.__dataclass_fields__):
        raise UnknownName("option", min(unknown), [*sorted(_DATA), *Recipe.__dataclass_fields__])
    if save is not None and method is not None:
        _check_savable(method_row(method))
    with _noting() as notes:
        about = {name: options.pop(name) for name in _DATA & set(options)}
        task = data if isinstance(data, Task) else own_task(data, seed=seed, **about)
        baseline = "zero_shot" if task.prompt else "head"
        recipe_for(task, method_row(method or baseline), **options)  # a mistake is told before anything is loaded
        if save is not None:
            check_replaceable(Path(save))
        on = model if isinstance(model, nn.Module) else load_model(model, task, seed=seed)
        asked: dict[str, Any] = {"seed": seed, "progress": progress, **options}
        plain = fine_tune(on, task, baseline, **asked)
        before = _scorer(task, outputs(on, task, task.validation, plain.recipe.max_length))
        seen = None if method else probe(on, task, stop="stable", **asked)
        if seen and seen.stopped == "interrupted":
            raise KeyboardInterrupt  # a probe gives back what it saw; here more would follow
        chosen = seen.best if seen else method or baseline
        run = plain if chosen == baseline else fine_tune(on, task, chosen, **asked)
        after = _scorer(task, outputs(on, task, task.validation, run.recipe.max_length))
        saved = None if save is None else save_adapter(run, save)
    within, gain = _intervals(task, after, before, seed)
    return OwnRun(task, run, plain, seen, _constant(task), within, gain, saved, tuple(notes))


def _check_savable(method: Method) -> None:
    """AdapterError, before anything is trained, where ``save_adapter`` would refuse the run."""
    if not fits_adapter(method):
        raise AdapterError(
            f"save= keeps an adapter, which holds biases and the head; {method.name!r} ({method.title}) moves more. "
            "Leave save= out, or choose value, query, key or all_biases."
        )


@contextmanager
def _noting() -> Iterator[list[str]]:
    """Collects every DataWarning inside, and shows each once, however often a text is read."""
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        show = warnings.showwarning

        def note(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, DataWarning):
                if str(message) in notes:
                    return
                notes.append(str(message))
            show(message, category, *where, **more)

        warnings.showwarning = note
        yield notes


def _scorer(task: Task, said: list[Any]) -> Score:
    """The deciding metric as a function of places among the validation examples."""
    right = task.validation["label"][:]
    if task.row.answers:
        each = np.array([ANSWER_METRICS[task.metric](one, golds) for one, golds in zip(said, right, strict=True)])
        return lambda at: float(each[at].mean())
    labels, found = np.array(right), np.array(said)
    return lambda at: float(METRICS[task.metric](labels[at], found[at]))


def _intervals(
    task: Task, after: Score, before: Score, seed: int
) -> tuple[tuple[float, float], tuple[float, float, float]]:
    """95 % of the score (accuracy: Wilson's; else a bootstrap's), and the paired difference with its own."""
    n = len(task.validation)
    every = np.arange(n)

    def gain(at: np.ndarray) -> float:
        return after(at) - before(at)

    if task.metric == "accuracy":
        right = stats.binomtest(round(after(every) * n), n).proportion_ci(0.95, "wilson")
        within = (float(right.low), float(right.high))
    else:
        within = _resampled(after, n, seed)
    return within, (gain(every), *_resampled(gain, n, seed))


def _resampled(score: Score, n: int, seed: int) -> tuple[float, float]:
    """95 % of a score over resamples of ``n`` examples. NaN where every resample says the same: that is no certainty,
    but too little to see a spread.
    """
    if n < 2:
        return math.nan, math.nan
    drawn: Any = {"random_state": np.random.default_rng(seed)}  # `rng` from scipy 1.15 on, which takes both
    found: Any = stats.bootstrap(
        (np.arange(n),), score, n_resamples=RESAMPLES, vectorized=False, method="percentile", **drawn
    )
    if np.ptp(found.bootstrap_distribution) == 0:
        return math.nan, math.nan
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _constant(task: Task) -> tuple[str, float]:
    """The one answer that does best without reading, by the training labels, and its score."""
    labels, n = task.train["label"][:], len(task.validation)
    if task.row.regression:
        return f"always {np.mean(labels):.3g}", _scorer(task, [float(np.mean(labels))] * n)(np.arange(n))
    common = Counter(label[0] if task.row.answers else label for label in labels).most_common(1)[0][0]
    word = common if task.row.answers else task.row.labels[common]
    return f"always {word!r}", _scorer(task, [common] * n)(np.arange(n))


def _between(low: float, high: float) -> str:
    return f"({low:.3f} to {high:.3f})" if low == low else "(no interval: every resample says the same)"


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
