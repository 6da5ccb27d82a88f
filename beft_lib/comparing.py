"""What the rows of a results file say: rulers against performance, methods against each other, over tasks and seeds.

Nothing is run here. A *cell* is one task with one seed on one model: the measured performance of the query, key and
value bias tuned alone, each at the learning rate chosen for it, and what every ruler said about the three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from .architectures import TERMS
from .errors import DataError
from .metrics import interval
from .results import scored, source_names
from .rulers import RULERS

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
NEEDED = ("model", "task", "source", "n_train", "changes", "seed", "method", "metric", "score")  # of a row, to count
TIED = 1e-9  # performances closer than this are equal
ALWAYS = "always "  # the ruler that does not look: "always value"


@dataclass(frozen=True)
class Cell:
    """One task and seed: ``scores`` of each method on validation, ``rulers`` as ``beft_lib/rulers.py`` writes them.

    ``task`` names its data as well where the model was measured on several: "cola (real)"; ``base`` never does, and is
    what a task is where tasks are counted. ``rates``: the learning rate of each method (None: not told).
    """

    model: str
    task: str
    base: str
    seed: int
    metric: str
    scores: Mapping[str, float]
    rulers: Mapping[str, Mapping[str, Any]] = field(repr=False)
    facts: Row = field(repr=False)
    rates: Mapping[str, float | None] = field(default_factory=dict, repr=False)

    @property
    def terms(self) -> dict[str, float]:
        return {term: self.scores[term] for term in TERMS}

    @property
    def best(self) -> set[str]:
        """The terms of the highest performance; several where they are equal."""
        top = max(self.terms.values())
        return {term for term, score in self.terms.items() if top - score < TIED}

    def loss(self, term: str) -> float:
        """How much performance is given away by choosing this term."""
        return max(self.terms.values()) - self.scores[term]


def cells(rows: Iterable[Row]) -> list[Cell]:
    """The whole cells among rows, in their order. Raises DataError when there is none, and says what is missing."""
    rows = list(rows)
    whole = _whole(rows)
    if not whole:
        raise DataError(
            f"No task and seed has all of {', '.join(_METHODS)} with every ruler: nothing to compare.{_left_out(rows)} "
            "`python -m beft_lib rulers --model M --tasks T --out FILE` measures them."
        )
    labels = _labels(runs["all_biases"] for runs in whole)
    return [_cell(runs, labels) for runs in whole]


_METHODS = sorted({"head", "all_biases", *TERMS})  # what a whole cell has


def results(rows: Iterable[Row]) -> list[Row]:
    """The rows that are a run with a score on validation: no tries for a learning rate, nothing of another kind."""
    return [row for row in scored(rows) if all(row.get(name) is not None for name in NEEDED)]


def _left_out(rows: Iterable[Row]) -> str:
    """How many rows are no run, and what they lack, as a sentence; "" where all are."""
    lacking = [[name for name in NEEDED if name not in row] for row in rows]
    few = [names for names in lacking if names]
    missing = [name for name in NEEDED if any(name in names for names in few)]
    return f" Left out: {len(few)} of {len(lacking)} rows, which lack {', '.join(missing)}." if few else ""


def _whole(rows: Iterable[Row]) -> list[dict[str, Row]]:
    """The runs of each whole cell, by method; the latest of a method counts."""
    groups: dict[tuple, dict[str, Row]] = {}
    for row in results(rows):
        recipe = {name: value for name, value in row["changes"].items() if name != "learning_rate"}
        key = (*_data(row), str(sorted(recipe.items())), row["seed"])
        groups.setdefault(key, {})[row["method"]] = row
    return [runs for runs in groups.values() if {*_METHODS} <= set(runs) and "rulers" in runs["all_biases"]]


def _data(row: Row) -> tuple[str, str, str, int]:
    return row["model"], row["task"], row["source"], row["n_train"]


def _labels(every: Iterable[Row]) -> dict[tuple[str, str, str, int], str]:
    """``{(model, task, source, n_train): label}``. Two data sets of one name are two tasks: no mean is of both."""
    kinds: dict[tuple[str, str], dict[tuple[str, int], None]] = {}
    for model, task, source, n in map(_data, every):
        kinds.setdefault((model, task), {})[source, n] = None
    return {(*key, *kind): _label(key[1], kind, list(seen)) for key, seen in kinds.items() for kind in seen}


def _label(task: str, kind: tuple[str, int], seen: Sequence[tuple[str, int]]) -> str:
    """cola; cola (real); cola (real, 300 examples): as much of the kind as tells it from the others ``seen``."""
    source, n = kind
    named = source_names(task, (one for one, _ in seen))[source]
    told = [named] if named else []
    told += [f"{n} examples"] if sum(one == source for one, _ in seen) > 1 else []
    return f"{task} ({', '.join(told)})" if told else task


def _cell(runs: Mapping[str, Row], labels: Mapping[tuple[str, str, str, int], str]) -> Cell:
    row = runs["all_biases"]
    rulers = {**runs["head"].get("rulers", {}), **row["rulers"]}
    scores = {method: run["score"] for method, run in runs.items()}
    rates = {method: run.get("learning_rate", run["changes"].get("learning_rate")) for method, run in runs.items()}
    label = labels[_data(row)]
    return Cell(row["model"], label, row["task"], row["seed"], row["metric"], scores, rulers, row, rates)


def split(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of models that have these biases, and those of models that were given some of zero: from there a term
    has no importance, so the two kinds make two tables.
    """
    rows = list(rows)
    bare = {cell.model for cell in cells(rows) if "importance" not in cell.rulers}
    rows = results(rows)
    return [row for row in rows if row["model"] not in bare], [row for row in rows if row["model"] in bare]


def agreement(rows: Iterable[Row]) -> pd.DataFrame:
    """The table that matters, one line a ruler (and a line for each rule that does not look at all).

    Columns: ``picks`` which term how often; ``right`` share of cells where the pick performs best, with a 95 % Wilson
    interval (of cells, which share models and tasks: read it as a lower bound of the doubt); ``right on average`` where
    it is the term that is best for the task over all seeds; ``lost`` mean performance given away, in the metric's unit,
    and ``lost when wrong`` (a mean of unlike things where tasks have several metrics); ``share lost`` the same as part
    of what head only leaves to gain (``rooms``), one scale for all; ``cost`` seconds relative to one full fine-tuning;
    ``tau`` Kendall's rank correlation between the ruler's three scores and the three performances, mean over cells ±
    half its 95 % interval.
    """
    import pandas as pd

    rows = list(rows)
    found = cells(rows)
    full = full_seconds(rows)
    names = [name for name in RULERS if all(name in cell.rulers for cell in found)]
    lines = [_line(name, found, [_pick(cell, name) for cell in found], full) for name in names]
    lines += [_line(f"{ALWAYS}{term}", found, [term] * len(found), full) for term in TERMS]
    lines.append(_at_random(found))
    return pd.DataFrame(lines)


def _line(name: str, found: Sequence[Cell], picks: Sequence[str], full: Mapping[tuple, float]) -> dict[str, Any]:
    right = sum(pick in cell.best for cell, pick in zip(found, picks, strict=True))
    low, high = stats.binomtest(right, len(found)).proportion_ci(0.95, "wilson")
    average = best_on_average(found)
    lost = np.array([cell.loss(pick) for cell, pick in zip(found, picks, strict=True)])
    wrong = lost[lost >= TIED]
    votes = Counter(picks)
    line: dict[str, Any] = {
        "ruler": name,
        "picks": " ".join(f"{term[0]}{votes[term]}" for term in TERMS),
        "right": right / len(found), "low": low, "high": high,
        "right on average": np.mean([pick in average[c.model, c.task] for c, pick in zip(found, picks, strict=True)]),
        "lost": lost.mean(), "lost when wrong": wrong.mean() if len(wrong) else 0.0,
        "share lost": _mean_share(lost, found),
    }  # fmt: skip
    if name.startswith(ALWAYS):
        return {**line, "cost": 0.0, "tau": np.nan, "±": np.nan}
    taus = np.array([kendall(cell.rulers[name]["scores"], cell.terms) for cell in found])
    taus = taus[~np.isnan(taus)]
    costs = [
        cell.rulers[name]["seconds"] / full[cell.model, cell.task] for cell in found if (cell.model, cell.task) in full
    ]
    return {
        **line, "cost": float(np.mean(costs)) if costs else np.nan,
        "tau": taus.mean() if len(taus) else np.nan, "±": interval(taus),
    }  # fmt: skip


def _at_random(found: Sequence[Cell]) -> dict[str, Any]:
    """What a blind draw among the three terms is right and loses on average: computed, not drawn."""
    average = best_on_average(found)
    wrong = [cell.loss(term) for cell in found for term in TERMS if term not in cell.best]
    lost = np.array([np.mean([cell.loss(term) for term in TERMS]) for cell in found])
    return {
        "ruler": "at random", "picks": "", "right": np.mean([len(cell.best) / len(TERMS) for cell in found]),
        "low": np.nan, "high": np.nan,
        "right on average": np.mean([len(average[c.model, c.task]) / len(TERMS) for c in found]),
        "lost": lost.mean(), "lost when wrong": np.mean(wrong) if wrong else 0.0,
        "share lost": _mean_share(lost, found), "cost": 0.0, "tau": np.nan, "±": np.nan,
    }  # fmt: skip


def rooms(found: Iterable[Cell]) -> dict[tuple[str, str], float]:
    """``{(model, task): 1 - mean score of head only}``: what head only leaves to gain. NaN where that is nothing.

    Every metric is highest at 1 (``metrics.py``). A gain or loss in shares of this room stays the same when a metric is
    stretched towards 1 (Matthews' is 2 · accuracy - 1 where labels and mistakes are balanced). So tasks with unlike
    metrics can be averaged and ranked by it. Where little room is left it is rough: a share of little.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for cell in found:
        groups.setdefault((cell.model, cell.task), []).append(1 - cell.scores["head"])
    return {key: room if (room := float(np.mean(of))) > TIED else np.nan for key, of in groups.items()}


def _mean_share(lost: np.ndarray, found: Sequence[Cell]) -> float:
    """Mean over cells (C,) of what is lost, in shares of the room; cells without room do not count."""
    room = rooms(found)
    shares = lost / np.array([room[cell.model, cell.task] for cell in found])
    return float(np.nanmean(shares)) if not np.isnan(shares).all() else np.nan


def _pick(cell: Cell, ruler: str) -> str:
    scores = cell.rulers[ruler]["scores"]
    return max(TERMS, key=scores.__getitem__)


def best_on_average(found: Iterable[Cell]) -> dict[tuple[str, str], set[str]]:
    """``{(model, task): terms}`` of the highest mean performance over the seeds."""
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for cell in found:
        groups.setdefault((cell.model, cell.task), []).append(cell.terms)
    means = {key: {term: np.mean([of[term] for of in every]) for term in TERMS} for key, every in groups.items()}
    return {key: {term for term in TERMS if max(of.values()) - of[term] < TIED} for key, of in means.items()}


def full_seconds(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """``{(model, task): mean seconds of one full fine-tuning}``, where one was run on a cell's data; tasks as there."""
    rows = list(rows)
    labels = _labels(runs["all_biases"] for runs in _whole(rows))
    every: dict[tuple[str, str], list[float]] = {}
    for row in results(rows):
        if row["method"] == "full" and "seconds" in row and _data(row) in labels:
            every.setdefault((row["model"], labels[_data(row)]), []).append(row["seconds"])
    return {key: float(np.mean(seconds)) for key, seconds in every.items()}


def kendall(scores: Mapping[str, float], performance: Mapping[str, float]) -> float:
    """Kendall's tau-b between a ruler's scores and performance, over the same terms: 1 same order, -1 reversed.

    NaN where all scores, or all performances, are equal: then there is no order to agree with.
    """
    terms = list(performance)
    tau: Any = stats.kendalltau([scores[t] for t in terms], [performance[t] for t in terms])
    return float(tau.statistic)


def paired(a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Paired t-test over seeds: mean of a - b, half its 95 % interval, two-sided p, and how many pairs.

    Where all differences are equal, zero or not, there is no spread to divide by. That is no certainty: two seeds with
    one equal gain are two seeds. So ± and p are NaN then, as for a single pair.
    """
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    n, mean = len(difference), float(difference.mean())
    if n < 2 or np.ptp(difference) < TIED:
        return {"difference": mean, "±": np.nan, "p": np.nan, "n": n}
    return {
        "difference": mean, "±": interval(difference), "p": float(stats.ttest_rel(a, b).pvalue), "n": n,
    }  # fmt: skip


def holm(ps: Iterable[float]) -> list[float]:
    """p of several tests, corrected for their number (Holm 1979): the smallest times n, the next times n - 1, ..., none
    below the one before it. NaN, a test that could not be made, counts as one of them and stays NaN.
    """
    ps = np.asarray(list(ps), dtype=float)
    order = np.argsort(ps)  # NaN last
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(np.maximum.accumulate(ps[order] * np.arange(len(ps), 0, -1)), 1.0)
    return corrected.tolist()


def performance(rows: Iterable[Row], versus: tuple[str, str] = ("value", "query")) -> pd.DataFrame:
    """Mean performance ± half its 95 % interval of every method, a line a task, and the paired test of two of them."""
    import pandas as pd

    lines = []
    for (model, task), every in _by_task(cells(rows)):
        line: dict[str, Any] = {"model": model, "task": task, "metric": every[0].metric, "seeds": len(every)}
        for method in ("head", *TERMS, "all_biases"):
            scores = np.array([cell.scores[method] for cell in every])
            line[method], line[f"± {method}"] = scores.mean(), interval(scores)
        test = paired(*([cell.scores[method] for cell in every] for method in versus))
        lines.append({**line, f"{versus[0]} - {versus[1]}": test["difference"], "p": test["p"]})
    return pd.DataFrame(lines)


def _by_task(found: Iterable[Cell]) -> Iterator[tuple[tuple[str, str], list[Cell]]]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in found:
        groups.setdefault((cell.model, cell.task), []).append(cell)
    yield from groups.items()
