"""A task from a file of one's own: csv, jsonl or parquet in, an ordinary ``Task`` out, every mistake named by line.

Nothing is guessed: columns, kind and labels are found where a file can be read one way, and asked for elsewhere.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from .errors import DataError, DataWarning
from .own_columns import Columns, find_columns, spread_options
from .own_labels import Record, kind_by_labels, label_word, lines_of, set_labels
from .prompts import Prompt
from .reading import SUFFIXES, find_split, read_rows
from .tasks import Task, TaskRow

SHARE = 0.2  # of one file is held out for validation
TRAIN, HELD = 16, 4  # examples at least: a batch of the recipe's, and of one file a fifth beside it
FEW = 100  # validation examples below which a warning says how wide the interval is
UNEVEN = 2.0  # the most frequent label more than this many times as frequent as the rarest: macro F1 decides
STEPS = 600  # of training, about as many as the paper's on 300 examples of RTE; at least 3 epochs, at most 60


def own_task(
    source: str | Path,
    validation: str | Path | None = None,
    *,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    encoding: str | None = None,
    drop_missing: bool = False,
    prompted: bool = False,
    seed: int = 0,
) -> Task:
    """A task from a file of one's own, ready for ``load_model``, ``probe``, ``fine_tune`` and the rest.

    Args:
        source: a csv, jsonl or parquet file, or a folder with train and, if there is one, validation.
        validation: a second file; without one a fifth of ``source`` is held out, drawn by ``seed``, by label.
        text: the column to read; two for a pair; for a choice the question and then its options. None: found by name.
        label: the column to learn: words, numbers, true and false; the right option; the answer. None: found by name.
        kind: "single" or "pair" (classes), "regression" (numbers), "choice" (options that belong to the question) or
            "answer" (free text). None: by the columns and the labels, where they leave no doubt.
        encoding: of csv and jsonl; None is UTF-8.
        drop_missing: leave rows with an empty cell out, instead of refusing the file.
        prompted: put classes to a language model in words; a choice and an answer always are.

    Texts that validation holds are dropped from the training examples: a score on them would measure memory. What can
    be used but has to be known (few examples, uneven classes, repetitions) is a ``DataWarning``. Raises DataError with
    file and lines, and the way out.
    """
    paths = _paths(source, validation)
    rows = [[(line, spread_options(cells)) for line, cells in read_rows(path, encoding)] for path in paths]
    header = list(dict.fromkeys(name for _, cells in rows[0] for name in cells))
    columns = find_columns(paths[0], header, text, label, kind)
    parts = [_records(path, of, columns, drop_missing) for path, of in zip(paths, rows, strict=True)]
    name = name or _name(paths[0])
    parts[0] = _without_repetitions(parts, name)
    _check_sizes(parts)
    kind = kind or kind_by_labels(parts[0], columns.kind, columns.label)
    labels = set_labels(parts, kind, columns.label)
    train, held = parts if len(parts) == 2 else _split(parts[0], bool(labels), seed)
    row = _row(name, columns, kind, labels, train)
    _tell(row, kind, train, held)
    told = "all of it" if len(parts) == 2 else f"{SHARE:.0%} of the file held out"
    prompt = _prompt(row, kind, train, prompted)
    return Task(row, _dataset(train), _dataset(held), str(paths[0]), told, seed, prompt)


def _paths(source: str | Path, validation: str | Path | None) -> list[Path]:
    """The file to train on, then that of validation, if there is one."""
    paths = [Path(source).expanduser()]
    if paths[0].is_dir():
        folder = paths[0]
        paths = [find_split(folder, "train")]
        if validation is None and any((folder / f"validation{suffix}").is_file() for suffix in SUFFIXES):
            paths.append(find_split(folder, "validation"))
    if validation is not None:
        paths.append(Path(validation).expanduser())
    for path in paths:
        if not path.is_file():
            raise DataError(f"No file {path}. Give a {', '.join(SUFFIXES)} file, or a folder with train.csv in it.")
    return paths


def _name(path: Path) -> str:
    """Of the task: the file's, or its folder's where the file is called train."""
    stem = path.absolute().parent.name if path.stem.lower() == "train" else path.stem
    return re.sub(r"\W+", "-", stem).strip("-") or "own"


def _records(
    path: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], columns: Columns, drop_missing: bool
) -> list[Record]:
    """The rows whose cells are all filled. Raises DataError naming the lines of the others, unless to be dropped."""
    needed = (*columns.read, columns.label)
    absent = [column for column in needed if all(column not in cells for _, cells in rows)]
    if absent:
        has = ", ".join(rows[0][1])
        raise DataError(
            f"{path}: no column {', '.join(map(repr, absent))}; it has {has}, and needs {', '.join(needed)}."
        )
    empty = {line: [column for column in needed if _is_missing(cells.get(column))] for line, cells in rows}
    empty = {line: which for line, which in empty.items() if which}
    names = ", ".join(column for column in needed if any(column in which for which in empty.values()))
    told = f"{len(empty)} of {len(rows)} rows have nothing in {names}"
    if empty and not drop_missing:
        raise DataError(
            f"{path}: {told} ({lines_of(empty)}). Fill them, or leave them out with drop_missing=True (--drop-missing)."
        )
    if empty:
        warnings.warn(f"{path.name}: {told} ({lines_of(empty)}); they were left out.", DataWarning, stacklevel=3)
    return [_record(path, line, cells, columns) for line, cells in rows if line not in empty]


def _record(path: Path, line: int, cells: Mapping[str, Any], columns: Columns) -> Record:
    texts = dict(zip(columns.ours, (cells[column] for column in columns.read), strict=True))
    record = Record(path, line, {name: str(value) for name, value in texts.items()}, cells[columns.label])
    for column in columns.read:
        if isinstance(cells[column], (list, dict, bytes)):
            raise record.refuse(f"column {column!r} should hold a text, found {str(cells[column])[:60]!r}.")
    return record


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def _without_repetitions(parts: Sequence[list[Record]], name: str) -> list[Record]:
    """The training examples without the texts of validation; of one file, with every text once."""
    before = {record.key: record for part in parts[1:] for record in part}
    kept: list[Record] = []
    out: list[Record] = []
    for record in parts[0]:
        (out if record.key in before else kept).append(record)
        if len(parts) == 1:
            before.setdefault(record.key, record)
    unlike = [record.line for record in out if label_word(record.label) != label_word(before[record.key].label)]
    if out:
        lines = lines_of(record.line for record in out)
        where = f"are in {parts[1][0].path.name} as well" if len(parts) == 2 else "stand there before"
        warnings.warn(
            f"{name}: {len(out)} of {len(parts[0])} examples left out ({lines}), since their texts {where}"
            + (f", {len(unlike)} of them with another label ({lines_of(unlike)})" if unlike else "")
            + ". The same text in training and in validation would make the score measure memory.",
            DataWarning, stacklevel=3,
        )  # fmt: skip
    return kept


def _check_sizes(parts: Sequence[list[Record]]) -> None:
    sizes = [len(part) for part in parts]
    if sizes[0] >= (TRAIN if len(parts) == 2 else TRAIN + HELD) and sizes[-1] >= HELD:
        return
    there = f"{sizes[0]} different examples" + (
        f" to train on and {sizes[1]} for validation" if len(parts) == 2 else ""
    )
    raise DataError(
        f"{there} in {' and '.join(sorted({str(r.path) for part in parts for r in part})) or 'the file'}; at least "
        f"{TRAIN} to train on (one batch) and {HELD} for validation are needed, {TRAIN + HELD} in one file. "
        "With fewer, ask a language model without tuning it (zero_shot)."
    )


def _split(records: list[Record], by_label: bool, seed: int) -> tuple[list[Record], list[Record]]:
    """A fifth held out at random; of classes as near as can be a fifth of each."""
    from sklearn.model_selection import train_test_split

    labels = [record.label for record in records] if by_label else None
    if labels and min(Counter(labels).values()) < 2:  # an option that is right once
        labels = None
    held = max(HELD, round(SHARE * len(records)), len(set(labels or ())))
    parts: Any = train_test_split(records, test_size=held, random_state=seed, stratify=labels)
    return parts[0], parts[1]


def _row(name: str, columns: Columns, kind: str, labels: tuple[str, ...], train: list[Record]) -> TaskRow:
    counts = Counter(record.label for record in train) if labels else Counter([0])
    even = (
        ("macro_f1", "accuracy") if max(counts.values()) > UNEVEN * min(counts.values()) else ("accuracy", "macro_f1")
    )
    others = {"regression": ("spearman", "pearson"), "choice": ("accuracy",), "answer": ("squad_f1", "squad_exact")}
    low, high = (of(r.label for r in train) for of in (min, max)) if kind == "regression" else (0.0, 0.0)
    texts = tuple(f"{{{column}}}" for column in columns.ours)
    return TaskRow(
        name, (" ".join(texts),) if kind == "choice" else texts, labels, others.get(kind, even), "", "",
        {"low": len(train)}, 1e-3, _epochs(len(train), 16), label_range=(low, high),
        answers="answer" if kind == "answer" else "",
    )  # fmt: skip


def _epochs(examples: int, batch: int) -> int:
    return max(3, min(60, round(STEPS * batch / examples)))


def _prompt(row: TaskRow, kind: str, train: list[Record], prompted: bool) -> Prompt | None:
    if prompted and kind == "regression":
        raise DataError(f"{row.name} is a regression, and a language model is asked for words: leave prompted out.")
    if kind not in ("choice", "answer") and not prompted:
        return None
    first, options = (row.columns[:1], row.columns[1:]) if kind == "choice" else (row.columns, ())
    words = [label.replace("{", "{{").replace("}", "}}") for label in row.labels]
    answers = tuple(f" {{{option}}}" for option in options) or tuple(f" {word}" for word in words)
    template = "\n".join(f"{{{column}}}" for column in first) + "\nAnswer:"
    longest = max(len(record.label[0].encode()) for record in train) if kind == "answer" else 0
    # Of most tokenizers a token is three bytes or more: room for the longest answer, and half as much again.
    return Prompt(template, answers, row.metrics, epochs=_epochs(len(train), 8), max_new=max(50, longest // 2))


def _dataset(records: list[Record]) -> Dataset:
    return Dataset.from_list([{**record.cells, "label": record.label} for record in records])


def _tell(row: TaskRow, kind: str, train: list[Record], held: list[Record]) -> None:
    """Warn of what will limit the score."""
    if len(held) < FEW:
        told = (
            f"{row.name}: {len(held)} validation examples only, each {1 / len(held):.1%} of the score: its interval is "
        )
        warnings.warn(f"{told}wide, and a difference within it is none.", DataWarning, stacklevel=3)
    if kind in ("single", "pair") and row.metrics[0] == "macro_f1":
        counts = Counter(row.labels[record.label] for record in train).most_common()
        told = f"{row.name}: uneven classes ({', '.join(f'{count} {label}' for label, count in counts)}), the most "
        told += f"frequent more than {UNEVEN:g} times the rarest: macro F1, where each class counts the same, decides."
        warnings.warn(told, DataWarning, stacklevel=3)
