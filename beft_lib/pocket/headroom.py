"""How much there is to learn on each task: asked without tuning, tuned from the pretrained and from random weights.

Everything here goes through the library that a learner uses. Validation is looked at once a row; learning rates are
chosen on a part of train that is held out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ..biases import add_biases
from ..experiments import held_out
from ..files import write_text_whole
from ..methods import ASKING
from ..models import load_model
from ..runtime import user_folder
from ..tasks import Task, load_task
from ..tuning import fine_tune
from .tokenizer import make_tokenizer
from .untrained import make_model

ENCODER_TASKS = ("sst2", "cola", "stsb", "rte", "cb", "wic")
FREE_TASKS = ("squad", "drop")  # answered in words, so a decoder's
TUNED_ON = ("pocket-bert", "pocket-opt")  # an encoder for the six, a decoder for these two; hours for more models
ASKED_TASKS = ("sst2", "rte", "cb", "wic", *FREE_TASKS)
CHANCE = {"accuracy": 1 / 2, "macro_f1": 1 / 3}  # of even labels; correlations and free answers start at 0
SHOTS = 2  # so many fit into 256 positions on every task
LARGE = 5000
# full: a small model wants more than the paper's 1e-5. head: the paper's for its biases, and more.
RATES = {"full": (3e-4, 1e-3), "head": (1e-3, 1e-2)}
LARGE_EPOCHS = 10.0
READINGS = 5000  # at the low-data size: so many epochs that about as many examples are read
BATCH = {LARGE: 32, None: 16}  # None: the low-data size
TIMED_EPOCHS = 10.0
# Where the rate of full is chosen, once for a model: tasks, examples, epochs. From random weights a few hundred teach
# nothing, so there it is more of them, on the two tasks with short texts.
CHOOSING: dict[str, tuple[tuple[str, ...], int, float]] = {
    "pretrained": (ENCODER_TASKS, 400, 5.0),
    "random": (("sst2", "cola"), 2000, 3.0),
}

Row = dict[str, Any]


class Sheet:
    """Rows that are made once: kept in a file after each, so that an interrupted measurement goes on."""

    def __init__(self, path: Path):
        self._path = path
        self.rows: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def once(self, make: Callable[[], Row], **fixed: Any) -> Row:
        """The row with these fixed cells; ``make`` gives the others where it is not there yet."""
        for row in self.rows:
            if all(row.get(name, "") == value for name, value in fixed.items()):
                return row
        self.rows.append(row := {**fixed, **make()})
        write_text_whole(self._path, json.dumps(self.rows, indent=1) + "\n")
        return row


def asked(folder: Path, sheet: Sheet, n_validation: int = 500) -> list[Row]:
    """A language model asked every prompted task as it is, with no demonstrations and with ``SHOTS``; percent."""
    rows = []
    for name in ASKED_TASKS:

        def make(name: str = name) -> Row:
            task = load_task(name, data="pocket", n_validation=n_validation, prompted=True)
            model = load_model(str(folder), task)
            alone, shown = (
                fine_tune(model, task, method, seed=0)
                for method in (ASKING["zero_shot"], replace(ASKING["in_context"], shots=SHOTS))
            )
            return {
                "metric": alone.metric, "examples": n_validation, "chance": _chance(task),
                "zero-shot": _percent(alone.score), f"{SHOTS} demonstrations": _percent(shown.score),
            }  # fmt: skip

        rows.append(sheet.once(make, kind="asked", task=name))
    return rows


def tuned(folder: Path, style: str, sheet: Sheet) -> list[Row]:
    """Full fine-tuning at both sizes, from the pretrained and from random weights, and head only at the low-data size.

    A language model has no head on top; what it says untuned stands in its place.
    """
    encoder = style in ("bert", "roberta")
    tasks = ENCODER_TASKS if encoder else FREE_TASKS
    starts = {"pretrained": folder, "random": _untrained(style)}
    rows = []
    for start, source in starts.items():
        rate = full_rate(source, start, tasks, sheet)
        rows += [_run(source, start, name, "full", size, rate, sheet) for size in (LARGE, None) for name in tasks]
    for name in tasks:
        rate = _head_rate(folder, name, sheet) if encoder else None
        rows.append(_run(folder, "pretrained", name, "head" if encoder else "zero_shot", None, rate, sheet))
    return rows


def full_rate(source: Path, start: str, tasks: tuple[str, ...], sheet: Sheet) -> float:
    """The rate with the best mean score on held-out quarters of train (``CHOOSING``), the smaller among equals."""
    names, n_train, epochs = CHOOSING[start]
    names = tuple(name for name in names if name in tasks) or tasks
    parts = [held_out(load_task(name, data="pocket", n_train=n_train)) for name in names]
    means = {
        rate: sum(_tried(source, start, part, "full", rate, epochs, sheet) for part in parts) / len(parts)
        for rate in RATES["full"]
    }
    return max(sorted(means), key=means.__getitem__)


def _head_rate(source: Path, name: str, sheet: Sheet) -> float:
    part = held_out(load_task(name, data="pocket"))
    found = {
        rate: _tried(source, "pretrained", part, "head", rate, _epochs(None, part), sheet) for rate in RATES["head"]
    }
    return max(sorted(found), key=found.__getitem__)


def _tried(source: Path, start: str, part: Task, method: str, rate: float, epochs: float, sheet: Sheet) -> float:
    """Score, percent, on the held-out part of train."""

    def make() -> Row:
        return _tune(source, part, method, learning_rate=rate, epochs=epochs)

    key = {"kind": "rate", "task": part.name, "start": start, "method": method, "learning rate": rate}
    return sheet.once(make, **key)["score"]


def _run(source: Path, start: str, name: str, method: str, size: int | None, rate: float | None, sheet: Sheet) -> Row:
    task = load_task(name, data="pocket", n_train=size)
    changes = {} if rate is None else {"learning_rate": rate, "epochs": _epochs(size, task), "batch_size": BATCH[size]}
    key = {
        "kind": "tuned", "task": name, "start": start, "method": method, "size": "low" if size is None else "large",
        "examples": len(task.train), **changes,
    }  # fmt: skip
    return sheet.once(lambda: {"chance": _chance(task), **_tune(source, task, method, **changes)}, **key)


def _tune(source: Path, task: Task, method: str, **changes: Any) -> Row:
    """One run with seed 0: from a model loaded anew, since a head fits one task."""
    run = fine_tune(load_model(str(source), task), task, method, seed=0, progress=False, **changes)
    return {"metric": run.metric, "score": _percent(run.score), "seconds": round(run.seconds, 1)}


def speed(folder: Path) -> dict[str, float]:
    """Seconds to load a model (median of five, libraries in) and to tune b_v on the low-data rte."""
    task = load_task("rte", data="pocket")
    loading = []
    for _ in range(6):
        begun = time.perf_counter()
        model = load_model(str(folder), task)
        loading.append(time.perf_counter() - begun)
    add_biases(model)  # of zero, where it has none
    run = fine_tune(model, task, "value", progress=False, epochs=TIMED_EPOCHS)
    return {
        "load, seconds": median(loading[1:]), "tune b_v on rte, seconds": run.seconds,
        "examples": len(task.train), "epochs": TIMED_EPOCHS, "threads": torch.get_num_threads(),
    }  # fmt: skip


def share(row: Mapping[str, Any], score: str = "score") -> float:
    """How much of the range from chance to perfect a score, percent, covers."""
    return (row[score] - 100 * row["chance"]) / (100 - 100 * row["chance"])


def _epochs(size: int | None, task: Task) -> float:
    return LARGE_EPOCHS if size == LARGE else float(max(1, round(READINGS / len(task.train))))


def _chance(task: Task) -> float:
    """What guessing scores, a fraction."""
    return 1 / len(task.prompt.answers) if task.prompt and task.prompt.answers else CHANCE.get(task.metric, 0.0)


def _percent(score: float) -> float:
    return round(100 * score, 1)


def _untrained(style: str) -> Path:
    """The same model before pretraining, with its tokenizer; always the same weights."""
    folder, tokenizer = user_folder("pocket", "untrained", style), make_tokenizer(style)
    torch.manual_seed(0)
    make_model(style, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
