"""The class board: every learner's choice and score as one small JSON file, a class's files as one picture and table.

Nothing is sent anywhere: learners hand in their file, or write it into a shared folder. A nickname will do.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DataError
from .files import write_text_whole
from .places import checkout

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from .own_tuning import OwnRun

NAME = "beft-board-{}.json"
LARGEST = 20_000  # bytes: an entry has a few hundred
LONGEST = 40  # letters of a name, a task, a choice


@dataclass(frozen=True)
class Entry:
    """One learner's result: ``score`` of ``choice`` and of the head alone, in the metric's unit, on ``examples``."""

    who: str
    task: str
    choice: str
    score: float
    head: float | None = None
    examples: int | None = None
    metric: str = "accuracy"
    when: float = 0.0  # seconds since 1970: of two files by one learner on one task, the later one counts

    def __post_init__(self) -> None:
        for name in ("who", "task", "choice", "metric"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or not value.isprintable():
                raise DataError(f"{name} is {value!r:.60}, not a text of 1 to {LONGEST} letters.")
        for name, value in (("score", self.score), ("head", self.head)):
            if not (value is None and name == "head") and not _number(value, -1, 1):
                raise DataError(f"{name} is {value!r:.60}, not a number from -1 to 1: give 0.85, not 85.")
        if self.examples is not None and not (isinstance(self.examples, int) and _number(self.examples, 1, 1e9)):
            raise DataError(f"examples is {self.examples!r:.60}, not how many were scored.")
        if not _number(self.when, 0, 1e12):
            raise DataError(f"when is {self.when!r:.60}, not a time.")


def pin(result: OwnRun | Entry, who: str = "", folder: str | Path = ".") -> Path:
    """Write a learner's result for the board into ``folder``; again, and it is replaced. Returns the file.

    Raises DataError for a name or number that the board cannot take.
    """
    entry = result if isinstance(result, Entry) else _entry(result.row(), who)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{entry.who} {entry.task}".lower()).strip("-") or "entry"
    return write_text_whole(Path(folder) / NAME.format(slug), json.dumps(asdict(entry), indent=1) + "\n")


def gather(folder: str | Path) -> tuple[list[Entry], dict[str, str]]:
    """All entries of a folder, the largest gain over the head first; and what was set aside: file name to reason.

    Files are read only, never moved. Raises DataError where the folder has no file of a board.
    """
    found: dict[tuple[str, str], tuple[Entry, str]] = {}
    aside: dict[str, str] = {}
    paths = sorted(Path(folder).rglob(NAME.format("*")))
    if not paths:
        raise DataError(f"No {NAME.format('*')} in {folder}. `python -m beft_lib board add` writes one.")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            entry = read_entry(path)
        except DataError as error:
            aside[name] = str(error)
            continue
        key = (entry.who.strip().lower(), entry.task.strip().lower())
        if key in found and found[key][0].when > entry.when:
            aside[name] = f"{entry.who} has a later one: {found[key][1]}"
            continue
        if key in found:
            aside[found[key][1]] = f"{entry.who} has a later one: {name}"
        found[key] = entry, name
    return sorted((e for e, _ in found.values()), key=lambda e: (-_gain(e), e.who.lower())), aside


def read_entry(path: Path) -> Entry:
    """One file as an entry. DataError says what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path.stat().st_size} bytes: too large for an entry.")
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"not JSON that can be read ({error})."[:200]) from error
    if not isinstance(told, dict):
        raise DataError(f"a {type(told).__name__} where an entry has names and values.")
    known = {field.name for field in fields(Entry)}
    if unknown := sorted(set(told) - known):
        raise DataError(f"it has {', '.join(map(repr, unknown))}; an entry has {', '.join(sorted(known))}."[:200])
    if missing := [name for name in ("who", "task", "choice", "score") if name not in told]:
        raise DataError(f"it lacks {', '.join(missing)}.")
    return Entry(**told)


def board_table(entries: list[Entry]) -> pd.DataFrame:
    """A line a learner: task, choice, score, the head's, the gain, and the 95 % half-width of the score."""
    import pandas as pd

    rows = [
        {"who": e.who, "task": e.task, "choice": e.choice, "score": e.score, "head only": _or_nan(e.head),
         "gain": _gain(e) if e.head is not None else math.nan, "±": _half(e), "metric": e.metric,
         "examples": "–" if e.examples is None else str(e.examples)}
        for e in entries
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("who")


def board_plot(entries: list[Entry]) -> Axes:
    """A line a learner: the head alone hollow, the choice filled with its interval over examples, and its name."""
    import matplotlib.pyplot as plt

    from .display import describe
    from .plots import LOOKS, OTHER, styled

    @styled
    def draw() -> Axes:
        _, ax = plt.subplots(figsize=(8, 1.2 + 0.4 * len(entries)), layout="constrained")
        for at, e in enumerate(entries):
            look = LOOKS.get(e.choice.split("@")[0], OTHER)
            if e.head is not None:
                ax.plot([e.head, e.score], [at, at], color="#999999", linewidth=1)
                ax.plot(e.head, at, "o", markeredgecolor="black", markerfacecolor="white", markersize=7)
            half = 0.0 if math.isnan(_half(e)) else _half(e)
            ax.errorbar(e.score, at, xerr=half, fmt=look.marker, color=look.color, capsize=3, markersize=8)
            ax.annotate(_plain(e.choice), (e.score, at), (0, 7), textcoords="offset points", ha="center", fontsize=9)
        ax.set_yticks(range(len(entries)), [_plain(f"{e.who}: {e.task}") for e in entries])
        ax.set_ylim(len(entries) - 0.4, -0.8)
        ax.set_xlabel("score (hollow: head only; bars: 95 % over examples)")
        best = max(entries, key=_gain)
        alt = f"The class board, {len(entries)} results, a line each, ordered by gain over head only."
        return describe(ax, f"{alt} First: {best.who}, {best.choice}, {best.score:.3f}.", board_table(entries))

    return draw()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True)
    add = verbs.add_parser("add", help="write one learner's file")
    add.add_argument("--who", required=True, help="a name or a nickname")
    add.add_argument("--from", dest="source", type=Path, metavar="JSON", help="what `own --json` printed; or give all:")
    for name in ("task", "choice", "metric"):
        add.add_argument(f"--{name}")
    add.add_argument("--score", type=float, help="from 0 to 1")
    add.add_argument("--head", type=float, help="what the head alone scores")
    add.add_argument("--examples", type=int, help="how many were scored")
    add.add_argument("--to", type=Path, default=Path(), help="the folder (default: here)")
    show = verbs.add_parser("show", help="gather a folder's files into one picture and table")
    show.add_argument("folder", type=Path)
    show.add_argument("--to", type=Path, help="where the page goes (default: build/board)")


def run(args: argparse.Namespace) -> int:
    if args.what == "add":
        told = _json(args.source) if args.source else {}
        given = {name: getattr(args, name) for name in ("task", "choice", "metric", "score", "head", "examples")}
        given = {name: value for name, value in given.items() if value is not None}
        print(pin(_entry(told | given, args.who), folder=args.to))
        return 0
    entries, aside = gather(args.folder)
    from .display import table_text

    for name, reason in aside.items():
        print(f"set aside: {name}: {reason}")
    if not entries:
        return 1
    print(table_text(board_table(entries)))
    print(f"See it: {write_page(entries, (args.to or (checkout() or Path.cwd()) / 'build' / 'board').resolve())}")
    return 0


def write_page(entries: list[Entry], target: Path) -> Path:
    """The picture and its table as one page, ``target/board.html``."""
    from html import escape

    from .display import _figure, _png, descriptions, table_html

    axes = board_plot(entries)
    (told,) = descriptions(axes)
    picture, width, height = _png(_figure(axes))
    style = "body { font: 1.1rem/1.5 system-ui, sans-serif; margin: 2rem; } img { max-width: 100%; height: auto; } "
    style += "td, th { padding: .2rem .8rem; }"
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>The class board</title><style>{style}</style></head><body><h1>The class board</h1>
<img alt="{escape(told.alt)}" width="{width}" height="{height}" src="data:image/png;base64,{picture}">
<div style="overflow-x: auto">{table_html(told.table)}</div></body></html>
"""
    return write_text_whole(target / "board.html", page)


def _entry(told: Mapping[str, Any], who: str) -> Entry:
    """An entry from what ``OwnRun.row`` or the command line says."""
    names = {"head": "baseline_score", "examples": "n_validation"}
    values = {f.name: told.get(f.name, told.get(names.get(f.name, ""))) for f in fields(Entry)}
    values["task"] = values["task"] and str(values["task"])[:LONGEST]
    values |= {"who": who, "when": time.time(), "metric": values["metric"] or "accuracy"}
    return Entry(**values)


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON that can be read ({error}).") from error
    if not isinstance(told, dict):
        raise DataError(f"{path}: not what `own --json` prints.")
    return told


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _gain(entry: Entry) -> float:
    return -math.inf if entry.head is None else entry.score - entry.head


def _half(entry: Entry) -> float:
    """Half of the 95 % interval of an accuracy over examples; NaN for other metrics, or without their number."""
    if entry.metric != "accuracy" or not entry.examples or not 0 <= entry.score <= 1:
        return math.nan
    return 1.96 * math.sqrt(entry.score * (1 - entry.score) / entry.examples)


def _plain(text: str) -> str:
    """For matplotlib, to which a $ begins a formula."""
    return text.replace("$", r"\$")


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
