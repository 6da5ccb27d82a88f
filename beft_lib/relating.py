"""How a ruler's score relates, in number, to performance: the question that the paper leaves open.

Nothing is run here: rows of results files in, Kendall's tau out (1: the same order, 0: no relation, -1: reversed).
``QUESTIONS`` has three of them, since one number would hide the others. The intervals are over *tasks* (a jackknife:
each task left out once, with all its cells, and Student's t for their number): what other tasks of this kind might have
given. They say nothing of other models. With fewer than three tasks there are none. A task is ``Cell.base``: whether a
model saw rte from one source or from two, it is one task, with one task's weight.

From task to task, gains are shares of what head only leaves to gain (``comparing.rooms``): the tasks' metrics differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from .architectures import TERMS
from .comparing import TIED, Cell, Row, cells, kendall, rooms
from .rulers import RULERS

if TYPE_CHECKING:
    import pandas as pd

QUESTIONS: dict[str, str] = {
    "three terms": "one task and seed: is the order of the three scores that of the three performances?",
    "query or value": "the same for these two alone: does the higher score do better?",
    "task to task": "one term of one model: does it gain more over head only on the tasks where it scores higher?",
}
UNSEEN = "always value, query, key"  # the order that needs no look at a task; a ruler has to beat it
LEAST = 3  # tasks there have to be for an interval

LIVE = ("query", "value")  # the terms that do something in every family

_ALWAYS = {"value": 3.0, "query": 2.0, "key": 1.0}


def relation(rows: Iterable[Row], rulers: Sequence[str] = (*RULERS, UNSEEN)) -> pd.DataFrame:
    """One line a ruler and question: ``tau``, 95 % from ``low`` to ``high``, how many ``tasks`` and ``cells`` it is of.

    Lines compare where they are of the same cells: give it one kind of model (``comparing.split``), as a model without
    biases has no importance. NaN where there is no order to agree with, or too few tasks. Raises DataError when no task
    was measured whole.
    """
    import pandas as pd

    found, lines = cells(rows), []
    for ruler in rulers:
        having = [cell for cell in found if ruler in (*cell.rulers, UNSEEN)]
        tasks = list(dict.fromkeys(cell.base for cell in having))
        every = np.arange(len(tasks))
        without_one = np.array([np.delete(every, place) for place in every])  # (T, T - 1)
        for question, statistic in _STATISTICS.items() if having else ():
            tau = float(statistic(having, tasks, ruler, every[None])[0])
            low, high = _interval(tau, statistic(having, tasks, ruler, without_one))
            tau = 0.0 if abs(tau) < TIED else tau  # of means, so a zero may carry rounding
            lines.append({"ruler": ruler, "question": question, "tau": tau, "low": low, "high": high,
                          "tasks": len(tasks), "cells": len(having)})  # fmt: skip
    table = pd.DataFrame(lines)
    return table.loc[(table["ruler"] != UNSEEN) | (table["question"] != "task to task")]  # one order for all tasks


def told(rows: Iterable[Row], ruler: str = "importance") -> list[str]:
    """What the table says of one ruler, in sentences that hold whatever was measured, and what it covers."""
    rows = list(rows)
    found = cells(rows)
    models = list(dict.fromkeys(cell.model for cell in found))
    dead = [model for model in models if all(c.facts.get("key_is_dead") for c in found if c.model == model)]
    having = sum(ruler in cell.rulers for cell in found)
    bare = list(dict.fromkeys(cell.model for cell in found if ruler not in cell.rulers))
    # Beside the ruler, whoever does not look has to be asked about the same cells.
    kept = [row for row in rows if row.get("model") not in bare] if having else rows
    table = relation(kept, (ruler, UNSEEN)).set_index(["ruler", "question"])
    without = f" In {len(found) - having} of them ({', '.join(bare)}) {ruler} is not defined." if bare else ""
    sentences = [f"Covered: {covered(found)}.{without}"]
    for question in QUESTIONS:
        if (ruler, question) in table.index:
            beside = (
                f"; {UNSEEN}: {_number(table.loc[(UNSEEN, question), 'tau'])}" if question != "task to task" else ""
            )
            tau, low, high = table.loc[(ruler, question), ["tau", "low", "high"]]
            sentences.append(f"{ruler}, {question}: {_number(tau)}{_verdict(tau, low, high)}{beside}.")
    if dead:
        ahead = [cell.scores[t] - cell.scores["key"] > TIED for cell in found if cell.model in dead for t in LIVE]
        sentences.append(
            f"In {', '.join(dead)} the key bias does nothing, so its performance is head only's: two of three pairs "
            f"only ask whether query and value beat the key, as they do in {sum(ahead)} of {len(ahead)} such pairs. "
            "The pair of query and value asks for more."
        )
    return sentences


def leads(table: pd.DataFrame, question: str = "task to task") -> list[str]:
    """What stands out among all lines of ``relation``, and what has to be said of that: how many lines there are.

    The ruler (or those that tie) with the tau farthest from 0 on one question; how many intervals exclude 0.
    """
    every: Any = table[table["ruler"] != UNSEEN]
    known = every.dropna(subset=["low", "high"])
    excluding = known.loc[(known["low"] > 0) | (known["high"] < 0), "question"].value_counts()
    where = ", ".join(f"{question} {count}" for question, count in excluding.items())
    where = f" ({where})" if where else ""
    many = (
        f"{excluding.sum()} of {len(known)} intervals leave out 0{where}; were there no relation anywhere, about "
        f"{0.05 * len(known):.1f} would by chance."
    )
    asked = every[every["question"] == question].dropna(subset="tau")
    farthest = asked[asked["tau"].abs() > asked["tau"].abs().max() - TIED]
    strongest = [
        f"Farthest from 0 of {len(asked)} rulers, {question}: {' = '.join(farthest['ruler'])}, {_number(line['tau'])}"
        f"{_verdict(*(float(line[name]) for name in ('tau', 'low', 'high')))}."
        for _, line in farthest[:1].iterrows()
    ]
    return [*strongest, many] if len(known) else strongest


def covered(found: Sequence[Cell]) -> str:
    """How many cells, and of what; where a task came from several sources, which."""
    models, seeds = (list(dict.fromkeys(getattr(cell, name) for cell in found)) for name in ("model", "seed"))
    tasks: dict[str, dict[str, None]] = {}
    for cell in found:
        tasks.setdefault(cell.base, {})[cell.task] = None
    twice = [label for base, labels in tasks.items() if len(labels) > 1 for label in labels if label != base]
    one_task = f". One task, whatever its source: {', '.join(twice)}" if twice else ""
    return (
        f"{len(found)} cells (a cell is one model, one task, one seed): {', '.join(models)}; {', '.join(tasks)}; "
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}{one_task}"
    )


def _within(terms: Sequence[str]) -> Callable[..., np.ndarray]:
    """Tau inside each cell, mean over a task's cells (of all models and sources), then over the tasks in each draw."""

    def statistic(found: Sequence[Cell], tasks: Sequence[str], ruler: str, draws: np.ndarray) -> np.ndarray:
        by_task = {task: [cell for cell in found if cell.base == task] for task in tasks}
        taus = [
            [kendall(_scores(cell, ruler), {term: cell.scores[term] for term in terms}) for cell in every]
            for every in by_task.values()
        ]
        means = np.array([_mean(np.array(of), 0) for of in taus])  # (T,)
        return _mean(means[draws], 1)  # (R,)

    return statistic


def _task_to_task(found: Sequence[Cell], tasks: Sequence[str], ruler: str, draws: np.ndarray) -> np.ndarray:
    """(R,) tau over the tasks of each draw between a term's mean score and gain; mean over models and live terms."""
    taus, room = [], rooms(found)
    for model in dict.fromkeys(cell.model for cell in found):
        every = [[cell for cell in found if (cell.model, cell.base) == (model, task)] for task in tasks]
        dead = all(cell.facts.get("key_is_dead") for of in every for cell in of)
        for term in LIVE if dead else TERMS:
            score, gain = np.array([_point(of, ruler, term, room) for of in every]).T  # (T,) each
            taus.append(taus_b(score, gain, draws))
    return _mean(np.array(taus), 0)


def _point(every: Sequence[Cell], ruler: str, term: str, room: Mapping[tuple[str, str], float]) -> np.ndarray:
    """(2,) a term's score and gain on one task: means over the seeds of each source, then over the sources."""
    sources: dict[str, list[tuple[float, float]]] = {}
    for cell in every:
        gain = (cell.scores[term] - cell.scores["head"]) / room[cell.model, cell.task]
        sources.setdefault(cell.task, []).append((_scores(cell, ruler)[term], gain))
    means = [np.mean(of, 0) for of in sources.values()]
    return _mean(np.array(means), 0) if means else np.full(2, np.nan)


_STATISTICS = dict(zip(QUESTIONS, (_within(TERMS), _within(LIVE), _task_to_task), strict=True))


def taus_b(x: np.ndarray, y: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of the points that each line of ``draws`` picks.

    Shapes: x, y (n,), draws (R, n) -> (R,). A point with a NaN does not count. NaN where one side does not vary.
    """
    there = ~(np.isnan(x) | np.isnan(y))
    measured: Any = [draw[there[draw]] for draw in draws]
    return np.array([stats.kendalltau(x[at], y[at])[0] if len(at) > 1 else np.nan for at in measured])


def _scores(cell: Cell, ruler: str) -> dict[str, float]:
    return _ALWAYS if ruler == UNSEEN else dict(cell.rulers[ruler]["scores"])


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Of what is not NaN; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(axis)
    return np.where(count > 0, np.where(there, values, 0.0).sum(axis) / np.maximum(count, 1), np.nan)


def _interval(tau: float, without_one: np.ndarray) -> tuple[float, float]:
    """95 % by the jackknife, from what is found with each task left out, (T,). NaN for too few tasks, and where all say
    the same, which is no certainty.
    """
    n = len(without_one)
    if n < LEAST or np.isnan(without_one).any() or np.ptp(without_one) < TIED:
        return math.nan, math.nan
    error = math.sqrt((n - 1) / n * ((without_one - without_one.mean()) ** 2).sum())
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return max(-1.0, tau - half), min(1.0, tau + half)


def _number(tau: float) -> str:
    return "no order to compare" if math.isnan(tau) else f"{tau:+.2f}"


def _verdict(tau: float, low: float, high: float) -> str:
    if math.isnan(tau):
        return ""
    if math.isnan(low):
        return " (no interval: too few tasks, or all alike)"
    way = "the same order" if low > 0 else "the reverse order" if high < 0 else "not to be told from no relation"
    return f" ({low:+.2f} to {high:+.2f}: {way})"
