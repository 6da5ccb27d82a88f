"""What holds for every lesson: run top to bottom, clean, readable, and in step with its source."""

from __future__ import annotations

import re
import statistics
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")

from beft_lib import authoring, checks, lesson_table  # noqa: E402
from beft_lib.lesson import first_cell  # noqa: E402
from beft_lib.places import lesson_files, lesson_number, lesson_prefix  # noqa: E402
from beft_lib.quizzes import SHOWS_QUIZ, quiz  # noqa: E402

SOURCES = authoring.sources()
if not SOURCES:
    pytest.skip("no lessons here", allow_module_level=True)
LESSONS = [(source, version) for source in SOURCES.values() for version in authoring.VERSIONS]
every_notebook = pytest.mark.parametrize(
    ("source", "version"), LESSONS, ids=[f"{source.stem}-{version}" for source, version in LESSONS]
)
every_lesson = pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))
CHECKED = {"00": 3}  # all others: at least 5 cells


def read(source: Path, version: str = "student") -> Any:
    return nbformat.read(authoring.target(source, version), as_version=4)


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in cells(notebook, "code") for output in cell.outputs]


def test_every_notebook_has_a_source() -> None:
    folder = next(iter(SOURCES.values())).parent.parent
    built = {path.stem for path in lesson_files(folder, ".ipynb")}
    solved = {path.stem for path in lesson_files(folder / "solutions", ".ipynb")}
    assert built == solved == {source.stem for source in SOURCES.values()}


@every_notebook
def test_it_is_what_its_source_says(source: Path, version: str) -> None:
    pytest.importorskip("jupytext")
    built, there = authoring.build(source, version), read(source, version)
    expected = [(c.id, c.cell_type, c.source, c.metadata) for c in built.cells]
    assert [(c.id, c.cell_type, c.source, c.metadata) for c in there.cells] == expected, "run `author` again"
    assert there.metadata == built.metadata


@every_notebook
def test_it_was_run_top_to_bottom_and_cleaned(source: Path, version: str) -> None:
    notebook = read(source, version)
    nbformat.validate(notebook)
    code = cells(notebook, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "widgets" not in notebook.metadata
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    for output in outputs(notebook):
        assert output.output_type != "error" and output.get("name") != "stderr"
        assert authoring.WIDGET_VIEW not in output.get("data", {})
        assert "\r" not in output.get("text", "")
    assert authoring.target(source, version).stat().st_size < 1_500_000


@every_lesson
def test_both_versions_say_the_same(source: Path) -> None:
    student, solutions = read(source), read(source, "solutions")
    said, again = (
        [c.source for c in cells(notebook, "markdown") if not c.id.endswith("-header")]  # its links start elsewhere
        for notebook in (student, solutions)
    )
    assert said == again
    stubs, solved = (
        [c.metadata.tags for c in cells(notebook, "code") if tag in c.metadata.get("tags", [])]
        for notebook, tag in ((student, "stub"), (solutions, "solution"))
    )
    assert len(stubs) == len(solved), "every stub has its solution"


@every_notebook
def test_its_first_cell_is_everyones(source: Path, version: str) -> None:
    notebook = read(source, version)
    assert cells(notebook, "code")[0].source == first_cell(lesson_number(source))
    kernel = notebook.metadata.kernelspec
    assert kernel.name == "python3"


@every_lesson
def test_prose_and_code_keep_their_measure(source: Path) -> None:
    notebook = read(source)
    prose, code = cells(notebook, "markdown"), cells(notebook, "code")
    lines = [sum(1 for line in cell.source.splitlines() if line.strip()) for cell in code]
    low, high = lesson_table.WORDS
    assert low <= lesson_table.count(authoring.target(source, "student")).words <= high
    assert len(prose) > len(code)
    assert statistics.median(lines) <= 8 and max(lines) <= 25
    text = "\n".join(cell.source for cell in prose)
    assert len(re.findall(r"\*\*Predict", text, re.IGNORECASE)) >= 2
    for part in ("you can", "**Time:**", "minutes", "**You need:**", "## Recap", "## Where next", "### Exercise"):
        assert part in text, part
    assert "!" not in re.sub(r"`[^`]*`|!=|!\[", "", text), "no exclamation marks"
    recap = text.split("## Recap")[1].split("\n#")[0]
    assert 2 <= len(re.findall(r"^- ", recap, re.MULTILINE)) <= 5


@every_lesson
def test_enough_claims_are_compared(source: Path) -> None:
    tagged = [c for c in cells(read(source), "code") if "nbval-check-output" in c.metadata.get("tags", [])]
    assert len(tagged) >= CHECKED.get(lesson_number(source), 5)
    for cell in tagged:
        assert cell.outputs, f"nothing to compare: {cell.source[:60]!r}"
        assert not any("image/png" in output.get("data", {}) for output in cell.outputs)


@every_notebook
def test_pictures_are_described_and_have_their_numbers(source: Path, version: str) -> None:
    for cell in cells(read(source, version), "code"):
        pictures = [o for o in cell.outputs if "image/png" in o.get("data", {})]
        for picture in pictures:
            assert len(picture.metadata["image/png"]["alt"]) > 40
        twins = [o for o in cell.outputs if "<table" in o.get("data", {}).get("text/html", "")]
        assert len(twins) >= len(pictures)
    prose = "\n".join(cell.source for cell in cells(read(source, version), "markdown"))
    assert not re.search(r"!\[\s*\]\(", prose)


@every_lesson
def test_headings_are_in_order(source: Path) -> None:
    levels = []
    for cell in cells(read(source), "markdown"):
        text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
        levels += [len(found) for found in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(now <= before + 1 for before, now in pairwise(levels))


@every_notebook
def test_quick_questions_come_before_the_recap(source: Path, version: str) -> None:
    """The questions themselves are rows of ``quiz_table.py`` and have tests of their own."""
    number, notebook = lesson_number(source), read(source, version)
    shown = [i for i, cell in enumerate(notebook.cells) if cell.source == f'{SHOWS_QUIZ}"{number}")']
    assert len(shown) == 1, f'end the lesson with beft_lib.quiz("{number}"); its questions are a row of quiz_table.py'
    before, cell, after = notebook.cells[shown[0] - 1 : shown[0] + 2]
    assert before.source.startswith("## Quick questions") and after.source.startswith("## Recap")
    (output,) = cell.outputs
    assert output.data["text/html"] == quiz(number).html(), "run `author --execute` again: the questions are new"


@every_lesson
def test_its_html_is_closed(source: Path) -> None:
    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("br", "img", "hr"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open and self.open.pop() == tag

    for cell in cells(read(source), "markdown"):
        balance = Balance()
        balance.feed(re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", cell.source, flags=re.DOTALL))
        assert not balance.open


@every_notebook
def test_its_exercises_were_checked(source: Path, version: str) -> None:
    """Stubs are met by "Not yet" and stop nothing; solutions are right; every exercise of the lesson is used."""
    number, used = lesson_number(source), []
    for cell in cells(read(source, version), "code"):
        names = re.findall(r"\bcheck\.((?:l\d\d|a)_\w+)\(", cell.source)
        used += names
        if names:
            said = "".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs)
            assert said.startswith("Right." if version == "solutions" else "Not yet."), said
    assert sorted(used) == sorted(name for name in checks.exercises() if name.startswith(f"{lesson_prefix(number)}_"))
    assert number == "00" or len(used) >= 2


@every_lesson
def test_source_lines_say_no_more_than_the_lesson_needs(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert not re.search(r"BEFT_PROFILE|choose_profile", text), "a cell never asks which profile it is in"
    assert not re.search(r"[\U0001F300-\U0001FAFF]", text), "no emoji"
