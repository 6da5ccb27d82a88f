"""Grids of runs over one loaded model: every finished run is kept at once, none is done twice, a table comes out.

A results file is JSON: ``{"rows": [...]}``, each row a run with its scores, cost, versions, machine and commit. It is
written whole after every run, so a kill loses the run in progress and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from torch import nn

from . import runtime
from .errors import DataError, UnknownName
from .files import write_text_whole
from .methods import evaluated, fine_tune, method_row
from .models import load_model
from .probing import probe
from .scores import importance_per_layer, magnitude_per_layer
from .tasks import TASKS, load_task
from .training import Training

if TYPE_CHECKING:
    import pandas as pd

KEY = ("model", "task", "source", "n_train", "method", "seed", "changes")  # what makes a row this row


@dataclass(frozen=True)
class Grid:
    """What to run: every method on every task with every seed, all on one model."""

    model: str | Path
    tasks: Sequence[str]
    methods: Sequence[str]
    seeds: Sequence[int] = (0,)
    data: str | Path | None = None
    n_train: int | None = None
    changes: Mapping[str, Any] | None = None  # of the recipe: {"epochs": 2}

    def __len__(self) -> int:
        return len(self.tasks) * len(self.methods) * len(self.seeds)


def run_grid(grid: Grid, path: str | Path, progress: bool | None = None) -> Iterator[dict[str, Any]]:
    """Run what ``path`` does not hold yet, and yield each row as soon as it is stored there.

    Ctrl-C keeps what is finished; the next call goes on. Raises UnknownName before anything starts.
    """
    path = Path(path)
    rows = read_rows(path)
    done = {_key(row) for row in rows}
    for method in grid.methods:
        method_row(method)
    for name in grid.tasks:
        if name not in TASKS:
            raise UnknownName("task", name, TASKS)
    for name in grid.tasks:
        for seed in grid.seeds:
            task = load_task(name, grid.data, n_train=grid.n_train, seed=seed)
            model: nn.Module | None = None
            for method in grid.methods:
                fixed = {
                    "model": str(grid.model), "task": name, "source": _portable(task.source),
                    "n_train": len(task.train), "method": method, "seed": seed, "changes": dict(grid.changes or {}),
                }  # fmt: skip
                if _key(fixed) in done:
                    continue
                model = model if model is not None else load_model(grid.model, task, seed=seed)
                row = {**_measure(model, task, method, seed, grid.changes or {}, progress), **fixed, **_circumstances()}
                rows.append(row)
                done.add(_key(row))
                write_text_whole(path, json.dumps({"rows": rows}, indent=1) + "\n")
                yield row


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a results file, [] for none. One that cannot be read is set aside and named in the error."""
    path = Path(path)
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise TypeError("its rows are not a list of objects")
        return rows
    except (ValueError, KeyError, TypeError) as error:
        names = (path.with_name(f"{path.stem}.unreadable-{number}{path.suffix}") for number in count(1))
        aside = next(name for name in names if not name.exists())
        path.rename(aside)
        raise DataError(
            f"{path} is not a results file ({type(error).__name__}: {error}). It was kept as {aside.name}; nothing was "
            "overwritten. Mend it and rename it back, or run again to start a new one."
        ) from None


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a tidy table, one run a line."""
    import pandas as pd

    return pd.DataFrame(list(rows))


def summary(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Mean score and cost over the seeds of each task and method, with the half-width of the 95 % interval of the mean.

    Runs that differ in more than the seed (model, source, size, recipe) are never averaged; what differs within a task
    gets a column of its own.
    """
    import pandas as pd

    frame = table(rows)
    kind = frame[[name for name in KEY if name in frame and name != "seed"]].map(str)
    variants = kind.groupby("task").nunique().max()
    differs = [name for name in kind if name not in ("task", "method") and variants[name] > 1]
    records = []
    for _, runs in frame.groupby([kind[name] for name in kind], sort=False):
        records.append({
            **runs.iloc[0][["task", "method", *differs, "metric"]].to_dict(), "score": runs["score"].mean(),
            "±": interval(runs["score"].to_numpy()), "seeds": len(runs), "seconds": runs["seconds"].mean(),
            "trained": runs["parameters_method"].iloc[0], "head": runs["parameters_head"].iloc[0],
        })  # fmt: skip
    return pd.DataFrame(records)


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % t-interval of the mean of (N,) values; NaN for one value alone."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def _measure(
    model: nn.Module, task: Any, method: str, seed: int, changes: Mapping[str, Any], progress: bool | None
) -> dict[str, Any]:
    if method != "all_biases":
        return fine_tune(model, task, method, seed=seed, progress=progress, **changes).row()
    # All biases is also the paper's probe: one training gives both the performance and the scores.
    seen = probe(model, task, seed=seed, all_biases=True, progress=progress, **changes)
    if seen.stopped:
        raise KeyboardInterrupt  # a probe returns what it saw; a row has to be a whole run
    done = Training(int(seen.steps[-1]), seen.seconds, seen.peak_memory, seen.losses)
    run = evaluated(model, task, method, seed, seen.counts, seen.recipe, done)
    scores = {"importance": importance_per_layer, "magnitude": magnitude_per_layer}
    return {
        **run.row(),
        **{name: {t: s.mean().item() for t, s in seen.scores(score=score).items()} for name, score in scores.items()},
    }


def _key(row: Mapping[str, Any]) -> str:
    """One text for the same run, whether its epochs were given as 2 (in a notebook) or as 2.0 (at the command line)."""
    text = json.dumps([row.get(name) for name in KEY], sort_keys=True)
    return json.dumps(json.loads(text, parse_int=float))


def _portable(source: str) -> str:
    """A source without the folders of this machine: results files travel."""
    return "/".join(Path(source).parts[-2:]) if Path(source).is_absolute() or source.startswith("..") else source


def _circumstances() -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"machine": runtime.machine(), "commit": _commit(), "finished": now}


def _commit() -> str:
    """The repository's commit, with + where files have been changed since; "" outside a repository."""
    root = runtime.checkout()
    if root is None:
        return ""
    try:
        git = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        done = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True, encoding="utf-8")
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
