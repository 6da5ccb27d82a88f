"""Which columns of a file are read and which is learnt: by their names, where these leave no doubt."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DataError, DataWarning, UnknownName

# The names that columns are known by; one row a kind of text, one group of columns each way to call them.
SINGLE = tuple((name,) for name in "text sentence review comment message tweet content body document".split())
PAIR = (
    ("text1", "text2"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"),
    ("text_a", "text_b"), ("query", "passage"), ("question", "sentence"),
)  # fmt: skip
ASKED = (("question",), ("prompt",), ("context",))
ANSWERED = (
    ("prompt", "answer"), ("question", "answer"), ("prompt", "completion"), ("prompt", "response"),
    ("instruction", "response"), ("instruction", "output"), ("input", "output"),
)  # fmt: skip
LABELS = "label labels class category target sentiment score rating stars".split()
RIGHT = [*LABELS, "answer", "correct", "right"]  # of a choice
OPTION = re.compile(r"(?:option|choice)[ _]?(?:\d+|[a-z])", re.IGNORECASE)
IGNORED = re.compile(r"(?:id|idx|index|row|number|unnamed: 0|)", re.IGNORECASE)  # numbers of rows

KINDS = {
    "single": "one text, one of several classes",
    "pair": "two texts, one of several classes",
    "regression": "one text or two, a number",
    "choice": "a question with options of its own, one of them right",
    "answer": "a prompt and the text that answers it",
}


@dataclass(frozen=True)
class Columns:
    """``read`` and ``label`` as the file calls them, ``ours`` as the task does; ``kind`` by the columns alone."""

    kind: str
    read: tuple[str, ...]
    label: str

    @property
    def ours(self) -> tuple[str, ...]:
        """The same for every file of a kind, so that templates can be written once."""
        options = tuple(f"option{number}" for number in range(1, len(self.read)))
        names = {"choice": ("question", *options), "answer": ("prompt",), "pair": ("text1", "text2")}
        return names.get(self.kind, ("text",))


def spread_options(cells: dict[str, Any]) -> dict[str, Any]:
    """A list of options (jsonl and parquet) as columns option1, option2 …"""
    name = next((name for name in ("options", "choices") if isinstance(cells.get(name), list)), None)
    if name is None:
        return cells
    options = {f"option{number}": value for number, value in enumerate(cells[name], start=1)}
    return {**{column: value for column, value in cells.items() if column != name}, **options}


def find_columns(
    path: Path, header: Sequence[str], text: str | Sequence[str] | None, label: str | None, kind: str | None
) -> Columns:
    """What was said, and for the rest what the names say. Raises DataError, with the call to write, in doubt."""
    if kind is not None and kind not in KINDS:
        raise UnknownName(
            "kind of task", kind, KINDS, "; ".join(f"{name}: {told}" for name, told in KINDS.items()) + "."
        )
    said = () if text is None else (text,) if isinstance(text, str) else tuple(text)
    for column in (*said, *([label] if label else [])):
        if column not in header:
            raise UnknownName("column", column, header, f"These are the columns of {path}.")
    left = [column for column in header if column not in said and not IGNORED.fullmatch(column.strip())]
    options = sorted((c for c in left if OPTION.fullmatch(c.strip())), key=_in_order)
    choice = kind == "choice" or (kind is None and (len(options) > 1 or len(said) > 2))
    learnt = label or _label(left, kind, choice)
    read: tuple[str, ...] = said or _texts([column for column in left if column != learnt], kind, choice)
    if choice and len(read) == 1:
        read = (*read, *options)
    if learnt is None and not said and kind is None and tuple(map(_plain, read)) in ANSWERED:
        read, learnt, kind = read[:1], read[-1], "answer"
    rest = [column for column in left if column not in (*read, learnt)]
    if learnt is None and read and len(rest) == 1:
        learnt, rest = rest[0], []
    by_columns = "choice" if choice else "answer" if kind == "answer" else "pair" if len(read) == 2 else "single"
    fits = len(read) > 2 if choice else len(read) == (2 if by_columns == "pair" else 1)
    if learnt is None or not fits or kind not in (None, "regression", by_columns):
        raise _doubt(path, header, read, learnt, kind)
    if rest and (text is None or label is None):
        warnings.warn(
            f"{path.name}: reads {', '.join(read)}; learns {learnt}; does not look at {', '.join(rest)}. text= and "
            "label= (--text, --label) choose otherwise.", DataWarning, 4,
        )  # fmt: skip
    return Columns(by_columns, read, learnt)


def _plain(column: str) -> str:
    return column.strip().lower()


def _in_order(option: str) -> tuple[int, str]:
    """option2 before option10."""
    return len(option.strip()), option.lower()


def _label(left: Sequence[str], kind: str | None, choice: bool) -> str | None:
    """The one column with a name that labels have."""
    known = [pair[1] for pair in ANSWERED] if kind == "answer" else RIGHT if choice else LABELS
    found = [column for column in left if _plain(column) in known]
    return found[0] if len(found) == 1 else None


def _texts(left: Sequence[str], kind: str | None, choice: bool) -> tuple[str, ...]:
    """The one group of known names that the file has, or the one column that there is; () where there is no one way."""
    here = {_plain(column): column for column in left}
    groups = ASKED if choice else SINGLE + ASKED if kind == "answer" else ()
    for known in (groups,) if groups else (PAIR, ANSWERED, SINGLE):
        found = [tuple(here[name] for name in group) for group in known if all(name in here for name in group)]
        if len(found) == 1:
            return found[0]
        if found:
            return ()
    return (left[0],) if len(left) == 1 else ()


def _doubt(path: Path, header: Sequence[str], read: Sequence[str], label: str | None, kind: str | None) -> DataError:
    told = "the right answers" if kind in ("choice", "answer") else "the labels"
    unclear = [*([] if read else ["the texts"]), *([] if label else [told])]
    what = f"which column holds {' and which '.join(unclear)}" if unclear else f"how {', '.join(read)} is a {kind}"
    return DataError(
        f"{path}: it is not certain {what}. Its columns are {', '.join(header)}. Say which: text='COLUMN' (two for "
        "a pair; for a choice the question and every option) and label='COLUMN'; at the command line "
        f"--text COLUMN --label COLUMN. Where the kind is unclear too, kind= (--kind) is one of {', '.join(KINDS)}."
    )
