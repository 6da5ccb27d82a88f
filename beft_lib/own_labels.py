"""The labels of a file of one's own as a task holds them: numbers of classes, amounts, right options, answers."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DataError, DataWarning

CLASSES = 10  # whole numbers with more values than this may be classes or amounts: not certain
LARGE = 20.0  # labels of a regression beyond this: a head that starts at zero takes long to get there
SHOWN = 5  # lines named in a message
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class Record:
    """One row of a file: its line, its texts under our names for the columns, its label."""

    path: Path
    line: int
    cells: dict[str, str]
    label: Any

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for texts that differ in capitals and blanks alone."""
        return tuple(" ".join(text.casefold().split()) for text in self.cells.values())

    def refuse(self, why: str) -> DataError:
        return DataError(f"{self.path}, line {self.line}: {why}")


def lines_of(lines: Iterable[int]) -> str:
    """``"lines 3, 8, 12 and 40 more"``."""
    every = sorted(lines)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return f"line{'s' if len(every) > 1 else ''} {', '.join(map(str, every[:SHOWN]))}{more}"


def label_word(value: Any) -> str:
    """One spelling for each label: 1, 1.0 and "1.0" are "1", True and "TRUE" are "true"."""
    word = str(value).strip()
    if word.lower() in ("true", "false"):
        return word.lower()
    return word.split(".")[0] if re.fullmatch(r"[+-]?\d+\.0+", word) else word


def kind_by_labels(train: Sequence[Record], kind: str, column: str) -> str:
    """Of texts and pairs: classes, or a regression where the labels are numbers with fractions. Raises DataError where
    both could be meant.
    """
    numbers = [_number(record.label) for record in train]
    different = sorted(set(numbers))
    if kind not in ("single", "pair") or not all(map(math.isfinite, numbers)):
        return kind
    if any(number % 1 for number in different):
        return "regression"
    where = f"{train[0].path}: column {column!r} holds {len(different)} different whole numbers, "
    if len(different) > CLASSES:
        raise DataError(
            f"{where}from {different[0]:g} to {different[-1]:g}: amounts (kind='regression', --kind regression) or "
            f"classes (kind={kind!r})? Say which."
        )
    if len(different) > 2:
        told = f"{where}taken as classes. If a larger number means more of something: kind='regression'."
        warnings.warn(told, DataWarning, stacklevel=4)
    return kind


def set_labels(parts: Sequence[list[Record]], kind: str, column: str) -> tuple[str, ...]:
    """Turn every label into what a Task holds, in place. Returns the names of the classes; () where there are none.

    The classes are those of the training examples, ``parts[0]``. Raises DataError with line and value.
    """
    every = [record for part in parts for record in part]
    if kind == "choice":
        return _set_options(every, column)
    if kind in ("single", "pair"):
        return _set_classes(parts)
    for record in every:
        record.label = _amount(record) if kind == "regression" else _right_answers(record)
    if kind == "regression":
        _check_amounts(parts[0])
    return ()


def _number(value: Any) -> float:
    """NaN for what is no number."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _set_classes(parts: Sequence[list[Record]]) -> tuple[str, ...]:
    labels = _class_names(parts[0])
    numbers = {label: number for number, label in enumerate(labels)}
    for record in (record for part in parts for record in part):
        word = label_word(record.label)
        if word not in numbers:
            raise record.refuse(
                f"label {record.label!r} is in validation only; the training examples ({parts[0][0].path.name}) have "
                f"{', '.join(labels)}. Add examples of it there, or mend the label."
            )
        record.label = numbers[word]
    return labels


def _class_names(train: Sequence[Record]) -> tuple[str, ...]:
    """Numbers by size, words by the alphabet. Raises DataError for one class alone, two spellings, or one example."""
    path, lines = train[0].path, {}
    for record in train:
        lines.setdefault(label_word(record.label), []).append(record.line)
    labels = sorted(lines, key=lambda word: (_number(word) if math.isfinite(_number(word)) else math.inf, word))
    if len(labels) == 1:
        raise DataError(f"{path}: every one of {len(train)} examples has the label {labels[0]!r}: nothing to learn.")
    spelt: dict[str, str] = {}
    for word in labels:
        if (other := spelt.setdefault(word.casefold(), word)) != word:
            raise DataError(
                f"{path}: the labels {other!r} (line {lines[other][0]}) and {word!r} (line {lines[word][0]}) differ in "
                "capitals alone. Write one of them."
            )
    if once := [word for word in labels if len(lines[word]) == 1]:
        told = ", ".join(f"{word[:40]!r} (line {lines[word][0]})" for word in once[:SHOWN])
        raise DataError(
            f"{path}: {len(once)} of {len(labels)} labels stand at one example only: {told}. Give each two at least, "
            "to train on and to be scored on. Free texts are kind='answer', amounts kind='regression'."
        )
    return tuple(labels)


def _amount(record: Record) -> float:
    number = _number(record.label)
    if not math.isfinite(number):
        raise record.refuse(f"label {record.label!r} is no number, which a regression needs.")
    return number


def _check_amounts(train: Sequence[Record]) -> None:
    low, high = (of(record.label for record in train) for of in (min, max))
    if low == high:
        raise DataError(f"{train[0].path}: every label is {low:g}: nothing to learn.")
    if max(-low, high) > LARGE:
        told = (
            f"{train[0].path.name}: labels run from {low:g} to {high:g}. A head starts at zero, and may not get there "
        )
        warnings.warn(told + "in time: divide them, so that they are about 1 to 5.", DataWarning, stacklevel=4)


def _right_answers(record: Record) -> list[str]:
    """One answer, or in jsonl and parquet a list of right ones; a line each, since a line's end ends an answer."""
    found = record.label if isinstance(record.label, list) else [record.label]
    texts = [str(one).strip() for one in found]
    if not all(texts) or not texts or any("\n" in text for text in texts):
        raise record.refuse(
            f"the answer {str(record.label)[:60]!r} should be a text on one line: what a model says is read up to the "
            "end of its line. Replace line breaks by blanks."
        )
    return texts


def _set_options(every: Sequence[Record], column: str) -> tuple[str, ...]:
    """The right option: by its text, its letter, or its number from 0 or from 1, whichever fits all examples."""
    options = [[text.strip() for text in list(record.cells.values())[1:]] for record in every]
    size = len(options[0])
    for record, texts in zip(every, options, strict=True):
        if len(set(texts)) < size:
            raise record.refuse("two of the options are the same, so that no score can tell them apart.")
    words = [label_word(record.label) for record in every]
    numbers = [int(word) if re.fullmatch(r"\d{1,3}", word) else -1 for word in words]
    ways = {
        "the option's text": [_place(texts, str(r.label).strip()) for r, texts in zip(every, options, strict=True)],
        "its letter": [_place(LETTERS[:size], word.upper()) for word in words],
        "its number from 0": [number if number < size else -1 for number in numbers],
        "its number from 1": [number - 1 if 1 <= number <= size else -1 for number in numbers],
    }
    fits = [places for places in ways.values() if min(places) >= 0]
    first = next(iter(fits), None)
    if first is None or (first is ways["its number from 0"] and len(fits) > 1):
        raise _unclear_option(every, column, ways)
    for record, place in zip(every, first, strict=True):
        record.label = place
    return tuple(LETTERS[:size])


def _place(options: Sequence[str], value: str) -> int:
    return options.index(value) if value in list(options) else -1


def _unclear_option(every: Sequence[Record], column: str, ways: dict[str, list[int]]) -> DataError:
    how = max(ways, key=lambda way: sum(place >= 0 for place in ways[way]))
    if min(ways[how]) >= 0:
        told = f"the numbers in {column!r} fit a count from 0 and one from 1"
        return DataError(f"{every[0].path}: {told}. Write letters (A, B …) or the right option's text.")
    wrong = every[ways[how].index(-1)]
    return wrong.refuse(f"{column!r} is {wrong.label!r}, and elsewhere mostly {how}: which option is right?")
