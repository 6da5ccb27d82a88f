"""Figures of the shipped mini data: sizes, variety, near-duplicates, and what shortcuts alone achieve.

``python -m beft_lib mini`` prints them; ``tests/test_mini.py`` holds the data to the limits.
A shortcut is a classifier that sees less than the task needs: the hypothesis without its premise, the number of words.
``mini --tune`` measures three more things, into a results file that ships: what all of MiniLM, tuned, makes of the same
examples; what it makes of them in a longer training; and whether its value bias alone would gain from more of them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from . import runtime
from .experiments import Grid, run_grid
from .files import write_text_whole
from .metrics import LOWEST, interval, measure
from .reading import find_split, read_rows
from .results import scored, shipped_rows
from .tasks import TASKS, Task, TaskRow, check_rows

if TYPE_CHECKING:
    import pandas as pd

FOLDS, SHUFFLES = 5, 5
TUNED = "minilm_mini.json"  # in data/results
KNOWN = "rulers_minilm_mini.json"  # holds the value bias on all of train already
SEEDS = (0, 1, 2)
EPOCHS = 8.0  # a run takes a minute or two
RATES, FULL_RATES = (3e-3, 1e-2), (1e-4, 3e-4)  # the paper's 1e-5 is nothing for a small model
LONGER = {"epochs": 24.0, "learning_rate": 1e-4}  # whether eight epochs are too few: one seed, and all of NEAR
NEAR = ("sst2",)  # ahead of the best shortcut after eight, and not clearly
CURVED = ("sst2", "stsb")  # on the others not even all of MiniLM gets clear of chance: nothing there to climb
SIZES = (100, 200)  # of the learning curve, which ends with the task's low-data size (stsb 287) and all there are

View = Callable[[dict[str, Any]], str]


def shortcuts(row: TaskRow) -> dict[str, View]:
    """What a lazy classifier may look at, by name: all words, each text alone."""
    views: dict[str, View] = {"all words": lambda e: " ".join(t.format_map(e) for t in row.texts)}
    if len(row.texts) > 1:
        for number, text in enumerate(row.texts):
            views[f"{row.columns[-2 + number]} alone"] = lambda e, text=text: text.format_map(e)
    return views


def figures(task: Task) -> dict[str, Any]:
    """Everything the data card of one task quotes."""
    examples: list[dict[str, Any]] = [*task.train, *task.validation]  # type: ignore[misc]
    texts = [[t.format_map(e) for t in task.row.texts] for e in examples]
    words = [len(" ".join(t).split()) for t in texts]
    labels = np.array([e["label"] for e in examples])
    cut = len(task.train)
    found: dict[str, Any] = {
        "train": cut,
        "validation": len(task.validation),
        "words": [min(words), int(np.median(words)), max(words)],
        "distinct 4-grams": distinct_ngrams(" ".join(t).lower().split() for t in texts),
        "largest overlap": max_jaccard([" ".join(t) for t in texts]),
        "of two sentences": max_jaccard(*zip(*[(p, i) for i, t in enumerate(texts) for p in t], strict=True)),
        "commonest frame": commonest_frame(part for t in texts for part in t),
        "shortcuts": {},
    }
    groups = np.array([e["word"] for e in examples]) if "word" in examples[0] else None
    for name, view in shortcuts(task.row).items():
        found["shortcuts"][name] = _achieved(
            [view(e) for e in examples], labels, cut, TfidfVectorizer(ngram_range=(1, 2)), task, groups
        )
    lengths = np.array([[len(part.split()) for part in t] for t in texts])
    found["shortcuts"]["length only"] = _achieved(lengths, labels, cut, FunctionTransformer(), task, groups)
    if task.row.regression:  # of likeness: that like sentences have words in common
        overlap = np.array([[max_jaccard(t)] for t in texts])
        shared = np.hstack([overlap, lengths])
        found["shortcuts"]["word overlap, lengths"] = _achieved(
            shared, labels, cut, FunctionTransformer(), task, groups
        )
    return found


def distinct_ngrams(texts: Iterable[Sequence[str]], n: int = 4) -> float:
    """Distinct n-grams over all n-grams of tokenised texts: 1 when nothing is ever said twice in the same words."""
    grams = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
    return len(set(grams)) / max(1, len(grams))


def max_jaccard(texts: Sequence[str], groups: Sequence[int] | None = None) -> float:
    """The largest overlap of two texts' sets of words: shared over all; 1 for the same words.

    Args:
        groups: of each text the example that it is part of; texts of one example are not compared. None: all are.
    """
    of = range(len(texts)) if groups is None else groups
    sets = [(group, frozenset(text.lower().split())) for group, text in zip(of, texts, strict=True)]
    return max(len(a & b) / len(a | b) for (i, a), (j, b) in combinations(sets, 2) if i != j)


def commonest_frame(texts: Iterable[str], least: int = 7) -> int:
    """How often the commonest sentence frame occurs: the words of a text, in order, content words taken out.

    Of texts of ``least`` words and more: a shorter clause has hardly a frame but "the _ _ the _".
    """
    words = (re.findall(r"[\w']+", text.lower()) for text in texts)
    frames = (tuple(w if w in ENGLISH_STOP_WORDS else "_" for w in text) for text in words if len(text) >= least)
    return max(Counter(frames).values(), default=0)


def _achieved(
    inputs: Any, labels: np.ndarray, cut: int, features: Any, task: Task, groups: np.ndarray | None
) -> dict[str, float]:
    """Train to validation, and the mean over shuffled folds of everything (200 validation examples alone are noisy).

    Spearman for stsb, else accuracy; ``own metric``: train to validation in the task's own.
    """
    items = np.array(inputs, dtype=object) if isinstance(inputs, list) else inputs
    name = "spearman" if task.row.regression else "accuracy"

    def score(fit: np.ndarray, test: np.ndarray) -> dict[str, float]:
        model = make_pipeline(features, Ridge() if task.row.regression else LogisticRegression(max_iter=1000))
        predicted = model.fit(items[fit], labels[fit]).predict(items[test])
        return measure([name, task.metric], predicted, labels[test])

    everything = np.arange(len(labels))
    split = score(everything[:cut], everything[cut:])
    folds = [score(fit, test)[name] for fit, test in _folds(labels, groups, task.row.regression)]
    return {"validation": split[name], "folds": float(np.mean(folds)), "own metric": split[task.metric]}


def _folds(labels: np.ndarray, groups: np.ndarray | None, regression: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds that keep a group (wic: a target word) together, balanced by label otherwise."""
    if groups is not None:
        return list(GroupKFold(FOLDS).split(labels, groups=groups))
    kind = KFold if regression else StratifiedKFold
    return [f for seed in range(SHUFFLES) for f in kind(FOLDS, shuffle=True, random_state=seed).split(labels, labels)]


def tuning(names: Sequence[str]) -> list[Grid]:
    """What is measured of MiniLM on these tasks: all of it on all of train, and its value bias on more and more
    examples (where it learns anything from all of them), each rate chosen on a quarter of train that is held out; and
    all of it once more by ``LONGER``, as it is.
    """
    every = {name: len(whole(name).train) for name in names}
    curves = [(name, "value", n) for name in names if name in CURVED for n in _sizes(name, every[name])]
    chosen: dict[str, Any] = {"changes": {"epochs": EPOCHS}, "rates": RATES, "rates_of": {"full": FULL_RATES}}
    return [
        *(
            Grid("minilm", [name], (method,), SEEDS, "mini", n_train=n, **chosen)
            for name, method, n in [*((name, "full", n) for name, n in every.items()), *curves]
        ),
        *(
            Grid("minilm", [name], ("full",), SEEDS if name in NEAR else SEEDS[:1], "mini", n_train=n, changes=LONGER)
            for name, n in every.items()
        ),
    ]


def _sizes(name: str, every: int) -> list[int]:
    """How many examples the learning curve of a task has at its points."""
    return sorted({*SIZES, min(TASKS[name].sizes["low"], every), every})


def learning_curve(rows: Iterable[Mapping[str, Any]], method: str = "value") -> pd.DataFrame:
    """Mean score ± half its 95 % interval over seeds, a line a task, a column a number of training examples."""
    import pandas as pd

    found: dict[tuple[str, int], list[float]] = {}
    for r in (row for row in scored(rows) if row["method"] == method and _epochs(row) == EPOCHS):
        found.setdefault((r["task"], r["n_train"]), []).append(r["score"])
    told = {key: f"{np.mean(scores):.3f} ± {interval(np.array(scores)):.3f}" for key, scores in found.items()}
    table = pd.Series(told, dtype=str).unstack().sort_index(axis=1) if told else pd.DataFrame()
    return table.fillna("").rename_axis(index="task", columns=None)


def beside_shortcuts(found: Mapping[str, Mapping[str, Any]], rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One line a task: the best shortcut, and all of MiniLM tuned, both from train to validation, in the task's metric.

    Args:
        found: ``figures`` by task.
        rows: of ``tuning``; those on all of train count, and a task without any has no line.

    ``clearly better``: ahead by more than two standard errors of one score on so many validation examples.
    ``longer``: the same by ``LONGER``, and whether that is clearly better than the shortcut.
    """
    import pandas as pd

    runs, lines = [row for row in scored(rows) if row["method"] == "full"], []
    for name, of_task in found.items():
        of_all = [r for r in runs if (r["task"], r["n_train"]) == (name, of_task["train"])]
        scores = np.array([r["score"] for r in of_all if _epochs(r) == EPOCHS])
        longer = np.array([r["score"] for r in of_all if _epochs(r) == LONGER["epochs"]])
        best, view = max((achieved["own metric"], view) for view, achieved in of_task["shortcuts"].items())
        metric = TASKS[name].metrics[0]
        least = 2 * (1.0 if metric in LOWEST else 0.5) / np.sqrt(of_task["validation"])  # correlations: twice as wide
        if len(scores):
            lines.append({
                "task": name, "metric": metric, "best shortcut": view, "it reaches": best, "MiniLM": scores.mean(),
                "±": interval(scores), "seeds": len(scores), "ahead by": scores.mean() - best,
                "clearly better": "yes" if scores.mean() - best > least else "no",
                "longer": longer.mean() if len(longer) else np.nan, "its ±": interval(longer),
                "its seeds": len(longer),
                "longer is": "yes" if len(longer) and longer.mean() - best > least else "no",
            })  # fmt: skip
    return pd.DataFrame(lines)


def _epochs(row: Mapping[str, Any]) -> float:
    return row.get("changes", {}).get("epochs", EPOCHS)


def whole(name: str) -> Task:
    """All the shipped examples of a task, whatever the paper's sizes are."""
    row, paths = TASKS[name], [find_split(runtime.data_folder() / "mini" / name, s) for s in ("train", "validation")]
    train, validation = (check_rows(row, read_rows(path), path) for path in paths)
    return Task(row, train, validation, "mini (shipped)", "all", 0)


def shipped() -> list[str]:
    """Tasks that have mini data."""
    return [name for name in TASKS if (runtime.data_folder() / "mini" / name).is_dir()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="*", help="none: all that ship")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    parser.add_argument("--tune", action="store_true", help="tune MiniLM on these tasks, where that is not done yet")


def run(args: argparse.Namespace) -> int:
    """Print the figures of the mini data."""
    names = args.tasks or shipped()
    if args.tune:
        for grid in tuning(names):
            for _ in run_grid(grid, runtime.data_folder() / "results" / TUNED, known=shipped_rows(KNOWN)):
                pass
    table = {name: figures(whole(name)) for name in names}
    for name, found in table.items():
        plain = {key: value for key, value in found.items() if key != "shortcuts"}
        print(
            name,
            ", ".join(
                f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in plain.items()
            ),
        )
        for shortcut, achieved in found["shortcuts"].items():
            print(f"  {shortcut:<20} validation {achieved['validation']:.3f}   {FOLDS}-fold {achieved['folds']:.3f}")
    if len(tuned := beside_shortcuts(table, shipped_rows(TUNED))):
        print(f"\nMiniLM, all of it tuned, beside the best shortcut:\n{tuned.round(3).to_string(index=False)}")
        print(f"\nIts value bias alone, by training examples:\n{learning_curve(shipped_rows(TUNED)).to_string()}")
    if args.out is not None:
        write_text_whole(args.out, json.dumps(table, indent=1) + "\n")
    return 0
