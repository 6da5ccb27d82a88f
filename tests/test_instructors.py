"""Plans that add up, sections that exist, mistakes for every lesson, commands that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from beft_lib.__main__ import VERBS
from beft_lib.places import lesson_files, lesson_number, lessons_folder

FILE = lessons_folder() / "INSTRUCTORS.md"
TEXT = FILE.read_text(encoding="utf-8")
LESSONS = {lesson_number(path): path for path in lesson_files(lessons_folder(), ".ipynb")}
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
PLANS = [name for name in SECTIONS if name.startswith("Plan for")]


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def headings(path: Path) -> set[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return {found.strip() for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_there_are_three_plans() -> None:
    assert [plan.split()[2] for plan in PLANS] == ["45", "90", "180"]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_fills_its_minutes_with_sections_that_exist(plan: str) -> None:
    table = rows(plan)
    assert sum(int(row[0]) for row in table) == int(plan.split()[2])
    for _, lesson, section, what in table:
        if what == "break":
            continue
        number, name = re.fullmatch(r"\[(\w+)\]\((\S+)\)", lesson).groups()  # type: ignore[union-attr]
        assert LESSONS[number].name == name
        assert section in headings(LESSONS[number]), f"{name} has no section {section!r}"


def test_every_lesson_has_its_mistakes_and_each_a_question() -> None:
    table = rows("What learners get wrong, and what to ask them")
    assert set(LESSONS) - {"00", "appendix"} <= {row[0] for row in table}
    assert all(len(row) == 3 and row[2].endswith("?") for row in table)


def test_the_rubric_adds_up() -> None:
    table = rows("A rubric for lesson 08")
    assert all(len(row) == 5 and all(row) for row in table)
    assert f"{3 * len(table)} in all" in SECTIONS["A rubric for lesson 08"]


def test_the_commands_are_there() -> None:
    used = set(re.findall(r"python -m beft_lib (\w+)", TEXT))
    assert {"doctor", "prefetch", "lessons", "course", "book", "slides", "handout", "board"} <= used <= set(VERBS)
