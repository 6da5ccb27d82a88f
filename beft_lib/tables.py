"""The table of methods: what its rows say. Lesson 05 shows it; ``table_parts.py`` has what is measured for it.

A *field* is one model on one task with so many examples and one recipe: there methods are compared, seed by seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import runtime
from .comparing import paired
from .errors import UnknownName
from .experiments import best_rate
from .methods import method_row
from .metrics import interval
from .results import scored, shipped_rows, source_names

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
FILE = "bert_table.json"  # in data/results
COMMAND = "python -m beft_lib table"
NOT_YET = f"This part of the course's own table is not measured yet. This makes it: {COMMAND}"
FIELD = ("model", "task", "source", "n_train")


def shipped(*names: str) -> list[dict[str, Any]]:
    """The rows of results files of the course (none named: of ``FILE``); [] where they have not been measured."""
    return shipped_rows(*names or (FILE,))


def fewest(rows: Iterable[Row]) -> list[Row]:
    """Of each model, task and source the rows with the fewest training examples: ``by_size`` is about the others."""
    every = [(tuple(row[name] for name in FIELD[:-1]), row) for row in scored(rows)]
    least: dict[tuple[Any, ...], int] = {}
    for kind, row in every:
        least[kind] = min(row["n_train"], least.get(kind, row["n_train"]))
    return [row for kind, row in every if row["n_train"] == least[kind]]


def fields(rows: Iterable[Row]) -> dict[tuple[Any, ...], dict[str, dict[int, Row]]]:
    """``{field: {method: {seed: row}}}`` of the runs that were scored on validation."""
    found: dict[tuple[Any, ...], dict[str, dict[int, Row]]] = {}
    for row in scored(rows):
        key = (*(row[name] for name in FIELD), _recipe(row))
        found.setdefault(key, {}).setdefault(row["method"], {})[row["seed"]] = row
    return found


def compare(rows: Iterable[Row], versus: str = "head") -> pd.DataFrame:
    """One line a field and method: mean score and half its 95 % interval, the paired difference to ``versus`` over the
    seeds that both have (half its interval, two-sided p), seconds relative to full, and what was trained and stored.
    Where a model was tuned on a task from several sources, the task's name says which: "rte (real)".

    ``p`` is of one comparison: among twenty, one is below 0.05 by chance. Raises UnknownName for a ``versus`` that is
    no method.
    """
    import pandas as pd

    method_row(versus)
    found, lines = fields(rows), []
    names = _names(found)
    for key, methods in found.items():
        for method, runs in methods.items():
            first = next(iter(runs.values()))
            scores = np.array([row["score"] for row in runs.values()])
            test = _versus(runs, methods.get(versus, {})) if method != versus else {}
            lines.append({
                **dict(zip((*FIELD, "recipe"), key, strict=True)), "task": names[key[:3]],
                "method": method, "metric": first["metric"],
                "score": scores.mean(), "±": interval(scores), "seeds": len(scores),
                f"- {versus}": test.get("difference", np.nan), "± of it": test.get("±", np.nan),
                "p": test.get("p", np.nan), "seconds / full": _time_beside(runs, methods.get("full", {})),
                "trained": first["parameters_method"], "head": first["parameters_head"],
                "bytes": first.get("file_bytes", 0),
            })  # fmt: skip
    return pd.DataFrame(lines)


def _time_beside(runs: Mapping[int, Row], full: Mapping[int, Row]) -> float:
    """Mean over seeds of a run's seconds divided by full's, where both were run on one machine on one day; else NaN."""
    ratios = [
        row["seconds"] / full[seed]["seconds"]
        for seed, row in runs.items()
        if seed in full and full[seed]["seconds"] and _circumstances(row) == _circumstances(full[seed])
    ]
    return float(np.mean(ratios)) if ratios else float("nan")


def _circumstances(row: Row) -> tuple[Any, str]:
    """Where and on which day a row was measured; a run that is in no file yet has neither."""
    return row.get("machine"), str(row.get("finished", ""))[:10]


def _names(found: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str, str], str]:
    """``{(model, task, source): name of the task}``: with its source where the model has the task from several."""
    sources: dict[tuple[str, str], dict[str, None]] = {}
    for model, task, source, *_ in found:
        sources.setdefault((model, task), {})[source] = None
    return {
        (model, task, source): f"{task} ({name})" if name else task
        for (model, task), of in sources.items()
        for source, name in source_names(task, of).items()
    }


def wide(compared: pd.DataFrame) -> pd.DataFrame:
    """``compare``'s lines as methods × fields, "0.612 ± 0.021" in each cell; "–" where there is no run."""
    frame = compared.assign(
        told=[_told(*pair) for pair in zip(compared["score"], compared["±"], strict=True)],
        field=[
            f"{task}: {model}, {n} examples{recipe and ', ' + recipe}"
            for model, task, n, recipe in compared[["model", "task", "n_train", "recipe"]].to_numpy()
        ],
    )
    every = [list(dict.fromkeys(frame[name])) for name in ("method", "field")]
    table = frame.pivot_table("told", "method", "field", aggfunc=" / ".join).reindex(every[0], columns=every[1])
    return table.fillna("–").rename_axis(columns=None)


def beside_paper(rows: Iterable[Row], model: str = "minilm") -> pd.DataFrame:
    """RTE with 300 examples: BERT-base in the paper (mean and standard deviation of accuracy) and one of ours on the
    real data, a line a method: "ours" by the paper's recipe, "own rates" with a learning rate chosen for each method
    (other changes of the recipe allowed). Cost in seconds relative to full fine-tuning, each on its own machine.
    """
    import pandas as pd

    paper = pd.read_csv(runtime.data_folder() / "paper" / "rte_bert.csv", encoding="utf-8").set_index("method")
    told = pd.DataFrame({
        "paper": paper["accuracy"], "paper's std": paper["accuracy_std"],
        "paper, time / full": paper["seconds"] / paper.loc["full", "seconds"],
    })  # fmt: skip
    real = [row for row in rows if row["model"] == model and not str(row["source"]).endswith("(shipped)")]
    rte = [row for row in real if row["task"] == "rte" and row["n_train"] == 300]
    own = [row for row in rte if "learning_rate" in row.get("changes", {})]
    ours = pd.concat([
        _percent([row for row in rte if not _recipe(row)], "ours", "±", "seeds", "ours, time / full"),
        _percent(own, "own rates", "± of own", "seeds of own", "own, time / full"),
    ], axis=1)  # fmt: skip
    every = [*told.index, *(method for method in ours.index if method not in told.index)]
    return told.join(ours, how="outer").reindex(every).rename_axis("method")


def _percent(rows: list[Row], score: str, doubt: str, seeds: str, time: str) -> pd.DataFrame:
    """``compare``'s mean in percent, half its interval, the seeds and the time by method, under these names."""
    import pandas as pd

    names = {"score": score, "±": doubt, "seeds": seeds, "seconds / full": time}
    found = compare(rows).set_index("method") if rows else pd.DataFrame(columns=list(names))
    found = found.reindex(columns=list(names)).astype(float)
    found[["score", "±"]] *= 100
    return found.rename(columns=names)


def by_size(rows: Iterable[Row], methods: tuple[str, str] = ("value", "full")) -> pd.DataFrame:
    """One line a model, task and number of examples where both methods were run: means, and the paired difference."""
    import pandas as pd

    first, second = methods
    every, lines = fields(rows), []
    names = _names(every)
    for key, found in every.items():
        if first in found and second in found:
            test = _versus(found[second], found[first])
            lines.append({
                **dict(zip((*FIELD, "recipe"), key, strict=True)), "task": names[key[:3]],
                **{name: _mean(found[name], "score") for name in methods},
                f"{second} - {first}": test["difference"], "±": test["±"], "p": test["p"], "seeds": test["n"],
            })  # fmt: skip
    frame = pd.DataFrame(lines)
    return frame.sort_values(["model", "task", "n_train"], ignore_index=True) if lines else frame


def overtaking(sized: pd.DataFrame) -> list[str]:
    """``by_size`` in sentences, one a model and task with more than one size: where the second method is ahead, with
    its whole interval above zero.
    """
    told = []
    same = ["model", "task", "source", "recipe"]
    groups: Any = sized.groupby(same, sort=False) if len(sized) else ()
    for (model, task, *_), lines in groups:
        if len(lines) > 1:
            column = next(name for name in lines if " - " in str(name))
            second, first = str(column).split(" - ")
            ahead = lines[column] - lines["±"] > 0
            where = _where(lines.loc[ahead, "n_train"], lines["n_train"])
            told.append(f"{model} on {task}: {second} is ahead of {first} {where}.")
    return told


def chosen_rates(rows: Iterable[Row]) -> pd.DataFrame:
    """Which learning rate each method took, and whether the grid ended there: one line a model, task, size and method
    for which rates were tried on a held-out part of train. ``edge``: "lowest" or "highest" of those tried, or "".
    ``n_train`` is what was left to train on.
    """
    import pandas as pd

    tries: dict[tuple[Any, ...], dict[float, float]] = {}
    for row in rows:
        if row.get("scored_on", "validation") != "validation":
            score = -np.inf if row["score"] is None else row["score"]
            key = (*(row[name] for name in (*FIELD, "method")), _recipe(row))
            tries.setdefault(key, {})[row["learning_rate"]] = score
    lines = []
    for key, scores in tries.items():
        tried, best = sorted(scores), best_rate(scores)
        edge = "lowest" if best == tried[0] else "highest" if best == tried[-1] else ""
        of = dict(zip((*FIELD, "method", "recipe"), key, strict=True))
        lines.append({**of, "rate": best, "edge": edge, "tried": tried})
    return pd.DataFrame(lines)


def tries(rows: Iterable[Row], model: str, task: str) -> pd.DataFrame:
    """What each learning rate gave on the part of train that was held out, with the fewest examples: methods × rates,
    "–" where one was not tried. Raises UnknownName where the model has no tries on the task.
    """
    import pandas as pd

    tried = [row for row in rows if row["scored_on"] != "validation" and row["score"] is not None]
    of = [row for row in tried if (row["model"], row["task"]) == (model, task)]
    if not of:
        known = sorted({f"{row['model']} on {row['task']}" for row in tried})
        raise UnknownName("tries", f"{model} on {task}", known)
    least = min(row["n_train"] for row in of)
    cells: dict[str, dict[float, str]] = {}
    for row in (row for row in of if row["n_train"] == least):
        cells.setdefault(row["method"], {})[row["learning_rate"]] = f"{row['score']:.2f}"
    frame = pd.DataFrame.from_dict(cells, orient="index").sort_index(axis=1).fillna("–").rename_axis("method")
    return frame.rename(columns=lambda rate: f"{rate:g}")


def at_the_edge(rows: Iterable[Row]) -> str:
    """A sentence on the rates that were the smallest or largest tried, or "": beyond them may be better ones."""
    chosen = chosen_rates(rows)
    if not len(chosen) or not (chosen["edge"] != "").any():
        return ""
    low, high = ((chosen["edge"] == end).sum() for end in ("lowest", "highest"))
    return (
        f"In {low + high} of {len(chosen)} cases the learning rate chosen is the lowest ({low}) or the highest "
        f"({high}) that was tried: a wider grid may do better."
    )


def _where(ahead: pd.Series, sizes: pd.Series) -> str:
    """At which of the sizes, in words."""
    if not len(ahead):
        return "at no size that was measured"
    if len(ahead) == (sizes >= ahead.min()).sum():
        return f"from {ahead.min():,} examples on"
    other = sorted(set(sizes[sizes > ahead.min()]) - set(ahead))
    return "at " + " and ".join(f"{n:,}" for n in ahead) + " examples, not at " + " and ".join(f"{n:,}" for n in other)


def _recipe(row: Row) -> str:
    """What a run changed of the paper's recipe, in words; a learning rate that was chosen is each method's own."""
    changes = row.get("changes", {})
    numbers = {name: f"{value:g}" if isinstance(value, int | float) else value for name, value in changes.items()}
    return ", ".join("own rates" if name == "learning_rate" else f"{name} {numbers[name]}" for name in sorted(numbers))


def _versus(runs: Mapping[int, Row], others: Mapping[int, Row]) -> dict[str, float]:
    """The paired test over the seeds that both have; {} where there are none."""
    seeds = sorted(runs.keys() & others.keys())
    return paired(*([of[seed]["score"] for seed in seeds] for of in (runs, others))) if seeds else {
        "difference": np.nan, "±": np.nan, "p": np.nan, "n": 0
    }  # fmt: skip


def _mean(runs: Mapping[int, Row], what: str) -> float:
    return float(np.mean([row[what] for row in runs.values()])) if runs else np.nan


def _told(score: float, half: float) -> str:
    return f"{score:.3f}" if np.isnan(half) else f"{score:.3f} ± {half:.3f}"
