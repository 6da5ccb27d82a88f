"""The lessons in one table: words, cells, exercises, and the minutes that their code was measured to take.

Standard library only, but for ``record``: the table is printed by a bare Python as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BeftError
from .files import write_text_whole
from .places import checkout, data_folder, lesson_files, lesson_number, lessons_folder
from .quiz_table import QUIZZES

if TYPE_CHECKING:
    from .course import LessonRun

WORDS = (1500, 3000)  # of prose in a lesson: from, to
COMMAND = "python -m beft_lib course --record"
NOT_YET = f"No minutes are measured yet: `{COMMAND}` does it, in the profile that it finds here."
_CHECK = re.compile(r"\bcheck\.(?:l\d\d|a)_\w+\(")
_STATED = re.compile(r"(\d+) minutes? in (?:the profile )?`(\w+)`")
_HEAD = ("lesson", "words", "prose / code", "exercises", "answered", "compared", "questions")


@dataclass(frozen=True)
class Counted:
    """What one lesson has.

    ``words`` of prose; cells of ``prose`` and ``code``; ``exercises``, and the cells that are ``answered`` by a check;
    cells whose output is ``compared`` by a test; ``questions`` of the quiz; ``stated`` minutes by profile, at most.
    """

    lesson: str
    words: int
    prose: int
    code: int
    exercises: int
    answered: int
    compared: int
    questions: int
    stated: Mapping[str, int]
    title: str = ""
    about: str = ""  # minutes with reading and exercises, as it says


def minutes_file() -> Path:
    """Where ``record`` keeps what it measured."""
    return data_folder() / "results" / "lesson_minutes.json"


def count(path: Path) -> Counted:
    """Count one notebook. What is the same above every lesson (badge, glossary) is none of its words."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown" and not c["id"].endswith("-header")]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    number, text = lesson_number(path), "\n".join(prose)
    return Counted(
        lesson=number,
        words=len(re.findall(r"\w+", text)),
        prose=len(prose),
        code=len(code),
        exercises=len(re.findall(r"^### Exercise", text, re.MULTILINE)),
        answered=sum(bool(_CHECK.search("".join(cell["source"]))) for cell in code),
        compared=sum("nbval-check-output" in cell["metadata"].get("tags", []) for cell in code),
        questions=len(QUIZZES.get(number, [])),
        stated={profile: int(minutes) for minutes, profile in _STATED.findall(_time_line(text))},
        title=_found(r"^# (?:\w+ · )?(.+)$", text),
        about=_found(r"about (\d+) minutes", _time_line(text)),
    )


def measured(path: Path | None = None) -> list[dict[str, Any]]:
    """The rows of ``record``'s file; [] where nothing was measured."""
    path = path or minutes_file()
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []


def record(runs: Iterable[LessonRun], profile: str, threads: int, path: Path | None = None) -> Path:
    """Keep the seconds of the lessons that ran to their end: a row a lesson and profile, in place of an older one."""
    from .results import circumstances

    path, about = path or minutes_file(), circumstances()
    rows = {(row["profile"], row["lesson"]): row for row in measured(path)}
    for run in runs:
        if not run.problem:
            key = (profile, lesson_number(Path(run.name)))
            told = {"profile": key[0], "lesson": key[1], "seconds": round(run.seconds, 1), "threads": threads}
            rows[key] = {**told, **about}
    return write_text_whole(path, json.dumps({"rows": [rows[key] for key in sorted(rows)]}, indent=1) + "\n")


def must_be_checkout() -> None:
    """BeftError in an installed wheel: results are kept in the repository."""
    if checkout() is None:
        raise BeftError("Minutes are recorded in the repository; this is an installed package. Leave out --record.")


def overview(counted: Sequence[Counted] | None = None, rows: Sequence[Mapping[str, Any]] | None = None) -> str:
    """What a learner or teacher asks: each lesson's title, its minutes, those of its code, and its exercises."""
    counted = [count(path) for path in lesson_files(lessons_folder(), ".ipynb")] if counted is None else counted
    rows = measured() if rows is None else rows
    seconds = {row["lesson"]: row["seconds"] for row in rows if row["profile"] == "laptop"}
    lines = [["lesson", "title", "minutes, about", "of code, on a laptop", "exercises"]]
    for one in counted:
        code = f"{seconds[one.lesson] / 60:.1f}" if one.lesson in seconds else "–"
        lines.append([one.lesson, one.title, one.about or "–", code, str(one.exercises)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(w) if at > 1 else cell.ljust(w) for at, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([*aligned, "", "Open them: python -m beft_lib lab. What else was counted: lessons --counts."])


def table(counted: Sequence[Counted] | None = None, rows: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Every lesson on a line, and below what the marks mean and what the minutes were measured with."""
    counted = [count(path) for path in lesson_files(lessons_folder(), ".ipynb")] if counted is None else counted
    rows = measured() if rows is None else rows
    seconds = {(row["profile"], row["lesson"]): row["seconds"] for row in rows}
    profiles = sorted({row["profile"] for row in rows} | {profile for lesson in counted for profile in lesson.stated})
    lines = [[*_HEAD, *(f"min, {profile}" for profile in profiles)]]
    for one in counted:
        lines.append([
            one.lesson, _marked(f"{one.words:,}", WORDS[0] <= one.words <= WORDS[1]),
            _marked(f"{one.prose} / {one.code}", one.prose > one.code), str(one.exercises), str(one.answered),
            str(one.compared), str(one.questions),
            *(_minutes(seconds.get((profile, one.lesson)), one.stated.get(profile)) for profile in profiles),
        ])  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
    return "\n".join([*aligned, "", *_notes(rows)])


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    told = [
        "words: of prose; exercises, and cells that a check has answered; cells whose output a test has compared;",
        "min: what the code was measured to take, and in parentheses what the lesson says that it takes at most.",
        f"* not {WORDS[0]:,} to {WORDS[1]:,} words; not more cells of prose than of code; longer than the lesson says.",
    ]
    ways = dict.fromkeys(
        f"{row['profile']}: {row['threads']} thread{'s' if row['threads'] > 1 else ''}, {row['machine']['device']}, "
        f"python {row['machine']['python']}, "
        f"torch {row['machine']['torch']}, transformers {row['machine']['transformers']}, commit {row['commit']}"
        for row in rows
    )
    return [*told, *(ways or [NOT_YET])]


def _minutes(seconds: float | None, stated: int | None) -> str:
    """ "1.7 (2)"; "–" for what was not measured, or is not stated."""
    told = "–" if seconds is None else f"{seconds / 60:.1f}"
    limit = "" if stated is None else f" ({stated})"
    return _marked(f"{told}{limit}", seconds is None or stated is None or seconds <= 60 * stated)


def _marked(text: str, inside: bool) -> str:
    return text if inside else f"{text} *"


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def _time_line(text: str) -> str:
    found = re.search(r"^\*\*Time:\*\*.*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""
