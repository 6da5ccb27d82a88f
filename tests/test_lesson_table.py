"""The table of lessons: what it counts is there, what the headers promise was measured, and a record is kept whole."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from beft_lib import commands_course, course, lesson_table
from beft_lib.__main__ import main
from beft_lib.checks import exercises
from beft_lib.errors import BeftError
from beft_lib.lesson_table import Counted, count
from beft_lib.places import lesson_files, lesson_prefix, lessons_folder
from beft_lib.quiz_table import QUIZZES
from beft_lib.runtime import PROFILES

LESSONS = {one.lesson: one for one in map(count, lesson_files(lessons_folder(), ".ipynb"))}
every_lesson = pytest.mark.parametrize("one", LESSONS.values(), ids=list(LESSONS))
PROMISED = [(number, profile) for number, one in LESSONS.items() for profile in one.stated]
CORES = 2  # what the headers speak of

PAGE = """# 01 · A lesson

**Time:** about 9 minutes with the exercises. The code itself runs for at most 2 minutes in the profile `laptop`, and
1 minute in `pocket`, on two CPU cores.

**You need:** 3 minutes in `colab`."""


def run(name: str, seconds: float, problem: str = "") -> course.LessonRun:
    return course.LessonRun(name, "A lesson", seconds, problem)


@pytest.fixture
def made(tmp_path: Path) -> Counted:
    cells = [
        {"cell_type": "markdown", "id": "l01-header", "source": ["glossary"]},
        {"cell_type": "markdown", "id": "l01-1", "source": PAGE.splitlines(keepends=True)},
        {"cell_type": "code", "id": "l01-2", "source": ["check.l01_score(f)"], "metadata": {"tags": ["stub"]}},
        {"cell_type": "markdown", "id": "l01-3", "source": ["### Exercise 1: a ", "score"]},
        {"cell_type": "code", "id": "l01-4", "source": ["1"], "metadata": {"tags": ["nbval-check-output"]}},
    ]
    path = tmp_path / "01_made.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return count(path)


def test_it_counts_what_is_there(made: Counted) -> None:
    assert (made.lesson, made.prose, made.code, made.exercises, made.answered, made.compared) == ("01", 2, 2, 1, 1, 1)
    assert made.words == 42 and made.questions == len(QUIZZES["01"])
    assert made.stated == {"laptop": 2, "pocket": 1}, "only what the line of times says"


@every_lesson
def test_every_exercise_is_answered_and_has_its_heading(one: Counted) -> None:
    checks = [name for name in exercises() if name.startswith(f"{lesson_prefix(one.lesson)}_")]
    assert one.exercises == one.answered == len(checks)
    assert one.compared and (one.questions >= 2 or one.lesson == "appendix")


@every_lesson
def test_it_states_minutes_of_a_profile(one: Counted) -> None:
    assert set(one.stated) <= set(PROFILES)
    assert "laptop" in one.stated or one.lesson == "appendix", 'say "at most N minutes in the profile `laptop`"'


@pytest.mark.parametrize(("number", "profile"), PROMISED, ids=["-".join(pair) for pair in PROMISED])
def test_stated_minutes_were_measured(number: str, profile: str) -> None:
    rows = [row for row in lesson_table.measured() if (row["lesson"], row["profile"]) == (number, profile)]
    if not rows or rows[0]["threads"] != CORES:
        pytest.skip(f"not measured on {CORES} cores: BEFT_PROFILE={profile} {lesson_table.COMMAND}")
    assert rows[0]["seconds"] <= 60 * LESSONS[number].stated[profile], "mend the lesson, or the line of its times"


def test_a_record_replaces_its_own_rows_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "minutes.json"
    assert lesson_table.measured(path) == []
    lesson_table.record([run("00_first", 61.27), run("01_second", 5.0, "at cell 1: NameError")], "laptop", 2, path)
    lesson_table.record([run("00_first", 20.0)], "pocket", 2, path)
    lesson_table.record([run("00_first", 70.0), run("appendix_last", 3.0)], "laptop", 1, path)
    rows = lesson_table.measured(path)
    told = [(row["profile"], row["lesson"], row["seconds"], row["threads"]) for row in rows]
    assert told == [("laptop", "00", 70.0, 1), ("laptop", "appendix", 3.0, 1), ("pocket", "00", 20.0, 2)]
    assert all({"torch", "device"} <= set(row["machine"]) and "commit" in row and row["finished"] for row in rows)


def test_the_table_marks_what_is_outside(made: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {
        "threads": 2,
        "commit": "abc",
        "machine": {"device": "cpu", "python": "3", "torch": "2", "transformers": "5"},
    }
    rows: list[dict[str, Any]] = [{"profile": "laptop", "lesson": "01", "seconds": 121.0, **about}]
    head, line, *_, last = lesson_table.table([made], rows).splitlines()
    assert head.endswith("min, laptop  min, pocket") and last.startswith("laptop: 2 threads, cpu")
    assert "42 *" in line and "2 / 2 *" in line and "2.0 (2) *" in line and "– (1)" in line
    rows[0]["seconds"] = 100.0
    assert "1.7 (2)" in lesson_table.table([made], rows) and "(2) *" not in lesson_table.table([made], rows)
    assert lesson_table.table([made], []).endswith(lesson_table.NOT_YET)


def test_the_command_prints_every_lesson(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_lib.setup_env.use", lambda *args, **options: None)
    for asked, words in ((["lessons", "--counts"], ["words", "prose"]), (["lessons"], ["title", "minutes,"])):
        assert main(asked) == 0
        told = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert [line[0] for line in told[1 : len(LESSONS) + 1]] == list(LESSONS) and told[0][1:3] == words
    assert " ".join(told[6]).startswith("05 BEFT on BERT 60 ") and told[6][-1] == "4"


def test_the_course_records_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, runs = tmp_path / "minutes.json", [run("00_start_here", 30.0)]
    monkeypatch.setattr(course, "run_lessons", lambda *args, **options: runs)
    monkeypatch.setattr(lesson_table, "minutes_file", lambda: path)
    monkeypatch.setattr(lesson_table, "checkout", lambda: tmp_path)
    for asked in (False, True):
        args = argparse.Namespace(lessons=["00"], to=tmp_path / "out", record=asked)
        assert commands_course.run_course(args) == 0 and path.is_file() == asked
    (row,) = lesson_table.measured(path)
    assert row["lesson"] == "00" and row["profile"] in PROFILES and row["threads"] >= 1
    monkeypatch.setattr(lesson_table, "checkout", lambda: None)
    with pytest.raises(BeftError, match="installed package"):
        commands_course.run_course(args)
