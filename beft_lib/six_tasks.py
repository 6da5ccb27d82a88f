"""The six-task table: what a language model does when tuned, shown or only asked, beside the paper's numbers.

Nothing is run here; ``COMMAND`` writes the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import runtime
from .comparing import paired
from .metrics import interval
from .prompts import PROMPTS
from .results import read_shards, scored

if TYPE_CHECKING:
    import pandas as pd

RESULTS = "pocket_opt.json"  # in data/results
METHODS = ("value", "query", "key", "lora", "prefix", "full", "in_context", "in_context@2", "zero_shot")
COMMAND = (
    f"python -m beft_lib measure --prompted --model pocket-opt --data pocket --tasks {' '.join(PROMPTS)} "
    f"--methods {' '.join(METHODS)} --seeds 0 1 2 3 4 --n-train 300 --epochs 5 --rates 1e-3 3e-3 1e-2 "
    f"--full-rates 3e-4 1e-3 --out data/results/{RESULTS}"
)
SIGNS = {1: "as in the paper on", -1: "the other way round on", 0: "too close to tell on"}
PAIRS = (("value", "zero_shot"), ("value", "lora"), ("value", "prefix"), ("in_context", "zero_shot"))
COST = ("parameters", "train s", "answer s", "kB")


def measured(path: str | Path | None = None) -> list[dict[str, Any]]:
    """The rows that ship (None), or of another results file and its shards; [] where there are none."""
    return read_shards(runtime.data_folder() / "results" / RESULTS if path is None else path)


def paper() -> pd.DataFrame:
    """The paper's scores on OPT in percent, a line a method, a column a task."""
    import pandas as pd

    found = pd.read_csv(runtime.data_folder() / "paper" / "opt_six_tasks.csv", encoding="utf-8")
    return _in_order(found.pivot(index="method", columns="task", values="score"))


def scores(rows: Iterable[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean score in percent by method and task, and half its 95 % interval over the seeds (NaN for one seed)."""
    runs: Any = _runs(rows)
    if runs.empty:
        return runs, runs
    groups = (100 * runs["score"]).groupby([runs["method"], runs["task"]])
    means, halves = groups.mean().unstack(), groups.agg(lambda s: interval(s.to_numpy())).unstack()
    return _in_order(means), _in_order(halves)


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A line a method: the score of each task in percent ± half its 95 % interval, then what it costs.

    Costs are means over the runs: parameters trained, seconds of training, seconds to answer 100 validation questions
    and kilobytes of the saved file. What was not measured is a dash.
    """
    import pandas as pd

    rows = list(rows)
    runs: Any = _runs(rows)
    means, halves = scores(rows)
    if runs.empty:
        return pd.DataFrame("–", index=pd.Index(METHODS, name="method"), columns=[*PROMPTS, *COST])
    shown = pd.DataFrame(
        {task: [_cell(m, h) for m, h in zip(means[task], halves[task], strict=True)] for task in means},
        index=means.index,
    )
    by_method = runs.groupby("method")
    costs = {
        "parameters": by_method["parameters_method"].first().map("{:,}".format),
        "train s": by_method["seconds"].mean().map("{:.1f}".format),
        "answer s": by_method["answer_100"].mean().map("{:.2f}".format),
        "kB": (by_method["file_bytes"].mean() / 1e3).map("{:,.1f}".format),
    }
    return shown.assign(**{name: column.reindex(shown.index) for name, column in costs.items()})


def gaps(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """How far one way is ahead of another, in points, by task: ours beside the paper's."""
    import pandas as pd

    found: dict[str, Any] = {"ours": scores(rows)[0], "paper": paper()}
    columns = {}
    for one, other in PAIRS:
        for where, means in found.items():
            if one in means.index and other in means.index:
                columns[f"{one} − {other}, {where}"] = means.loc[one] - means.loc[other]
    return pd.DataFrame(columns).reindex(list(PROMPTS))


def told(rows: Iterable[Mapping[str, Any]]) -> str:
    """Where the rows come from, or the command that makes them; and on which tasks two ways are in the paper's order.

    A difference counts where its 95 % interval over the seeds, paired, leaves out zero.
    """
    rows = list(rows)
    if not rows:
        return f"Nothing measured ships with this version. This makes it, and goes on where it was stopped:\n{COMMAND}"
    runs: Any = _runs(rows)
    theirs: Any = paper()
    seeds = runs.groupby(["task", "method"])["seed"].nunique()
    each = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    lines = [f"{len(runs)} runs of {', '.join(sorted(set(runs['model'])))}, seeds of each: {each}"]
    for one, other in PAIRS:
        ahead = _ahead(runs, one, other)
        signs = {t: int(sign * np.sign(theirs.loc[one, t] - theirs.loc[other, t])) for t, sign in ahead.items()}
        grouped = {word: [task for task in signs if signs[task] == sign] for sign, word in SIGNS.items()}
        if said := "; ".join(f"{word} {', '.join(tasks)}" for word, tasks in grouped.items() if tasks):
            lines.append(f"{one} against {other}: {said}")
    return "\n".join(lines)


def _ahead(runs: Any, one: str, other: str) -> dict[str, float]:
    """By task: 1 where ``one`` is ahead over the seeds that both have, -1 where behind, 0 where it may be chance."""
    found = {}
    for task, of_task in runs.groupby("task"):
        seeds = of_task.pivot_table(index="seed", columns="method", values="score")
        scores = seeds.reindex(columns=[one, other]).dropna()
        if len(scores):
            test = paired(scores[one].to_numpy(), scores[other].to_numpy())
            found[task] = float(np.sign(test["difference"])) if abs(test["difference"]) > test["±"] else 0.0
    return {task: found[task] for task in PROMPTS if task in found}


def _runs(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One line a run that ends in a score: of the six tasks, asked in words, on validation."""
    import pandas as pd

    kept = [
        {**row, "answer_100": 100 * row.get("scoring_seconds", np.nan) / row.get("n_validation", np.nan)}
        for row in scored(rows)
        if row["task"] in PROMPTS and row.get("prompted")
    ]  # fmt: skip
    return pd.DataFrame(kept)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Methods and tasks in the course's order, those that are there; methods of one's own come last."""
    lines = [*(m for m in METHODS if m in frame.index), *(m for m in frame.index if m not in METHODS)]
    return frame.reindex(index=lines, columns=[task for task in PROMPTS if task in frame.columns])


def _cell(mean: float, half: float) -> str:
    return "–" if np.isnan(mean) else f"{mean:.1f}" + ("" if np.isnan(half) else f" ± {half:.1f}")
