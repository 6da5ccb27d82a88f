"""Figures of the shipped mini data: sizes, variety, near-duplicates, and what shortcuts alone achieve.

``python -m beft_lib mini`` prints them; ``tests/test_mini.py`` holds the data to the limits.
A shortcut is a classifier that sees less than the task needs: the hypothesis without its premise, the number of words.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from . import runtime
from .files import write_text_whole
from .reading import find_split, read_rows
from .tasks import TASKS, Task, TaskRow, check_rows

FOLDS, SHUFFLES = 5, 5

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
        "shortcuts": {},
    }
    groups = np.array([e["word"] for e in examples]) if "word" in examples[0] else None
    for name, view in shortcuts(task.row).items():
        found["shortcuts"][name] = _achieved(
            [view(e) for e in examples], labels, cut, TfidfVectorizer(ngram_range=(1, 2)), task, groups
        )
    lengths = np.array([[len(part.split()) for part in t] for t in texts])
    found["shortcuts"]["length only"] = _achieved(lengths, labels, cut, FunctionTransformer(), task, groups)
    return found


def distinct_ngrams(texts: Iterable[Sequence[str]], n: int = 4) -> float:
    """Distinct n-grams over all n-grams of tokenised texts: 1 when nothing is ever said twice in the same words."""
    grams = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
    return len(set(grams)) / max(1, len(grams))


def max_jaccard(texts: Sequence[str]) -> float:
    """The largest overlap of two texts' sets of words: shared over all; 1 for the same words."""
    sets = [frozenset(text.lower().split()) for text in texts]
    return max(len(a & b) / len(a | b) for a, b in combinations(sets, 2))


def _achieved(
    inputs: Any, labels: np.ndarray, cut: int, features: Any, task: Task, groups: np.ndarray | None
) -> dict[str, float]:
    """Train to validation, and the mean over shuffled folds of everything (200 validation examples alone are noisy)."""
    items = np.array(inputs, dtype=object) if isinstance(inputs, list) else inputs

    def score(fit: np.ndarray, test: np.ndarray) -> float:
        model = make_pipeline(features, Ridge() if task.row.regression else LogisticRegression(max_iter=1000))
        predicted = model.fit(items[fit], labels[fit]).predict(items[test])
        if task.row.regression:
            order: Any = spearmanr(predicted, labels[test])
            return 0.0 if np.ptp(predicted) == 0 else float(order.statistic)
        return float(accuracy_score(labels[test], predicted))

    everything = np.arange(len(labels))
    folds = [score(fit, test) for fit, test in _folds(labels, groups, task.row.regression)]
    return {"validation": score(everything[:cut], everything[cut:]), "folds": float(np.mean(folds))}


def _folds(labels: np.ndarray, groups: np.ndarray | None, regression: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds that keep a group (wic: a target word) together, balanced by label otherwise."""
    if groups is not None:
        return list(GroupKFold(FOLDS).split(labels, groups=groups))
    kind = KFold if regression else StratifiedKFold
    return [f for seed in range(SHUFFLES) for f in kind(FOLDS, shuffle=True, random_state=seed).split(labels, labels)]


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


def run(args: argparse.Namespace) -> int:
    """Print the figures of the mini data."""
    table = {name: figures(whole(name)) for name in args.tasks or shipped()}
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
    if args.out is not None:
        write_text_whole(args.out, json.dumps(table, indent=1) + "\n")
    return 0
