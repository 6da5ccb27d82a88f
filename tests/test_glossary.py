"""The glossary: short, in order, every term in the lesson that it names, every link with an end."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

from beft_lib import authoring  # noqa: E402
from beft_lib.places import lesson_files, lesson_number, lessons_folder  # noqa: E402

FILE = lessons_folder() / "GLOSSARY.md"
PARTS = re.split(r"^## ", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
ENTRIES = {part.split("\n", 1)[0]: " ".join(part.split("\n", 1)[1].split()) for part in PARTS}
LESSONS = {lesson_number(path): path for path in lesson_files(lessons_folder(), ".ipynb")}


def prose(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown" and not c.id.endswith("-header"))
    return re.sub(r"[*`]", "", " ".join(text.split())).lower()


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    return {number: prose(path) for number, path in LESSONS.items()}


def test_terms_are_in_order_and_none_twice() -> None:
    assert len(ENTRIES) == len(PARTS) >= 60
    assert all(before.lower() < after.lower() for before, after in pairwise(ENTRIES))


@pytest.mark.parametrize("term", ENTRIES)
def test_a_term_is_told_in_a_few_sentences_and_used_in_its_lesson(term: str, said: dict[str, str]) -> None:
    text, number, name = re.fullmatch(r"(.+?) \*Lesson \[(\w+)\]\((\S+)\)\.\*", ENTRIES[term]).groups()  # type: ignore
    assert LESSONS[number].name == name
    assert re.search(rf"(?<!\w){re.escape(term.lower())}(?:s|es)?(?!\w)", said[number]), f"{number} never says {term}"
    assert 1 <= len(re.findall(r"[.?](?= |\)|$)", text)) <= 5 and 5 <= len(text.split()) <= 60
    for other in re.findall(r"\]\(#([\w-]+)\)", text):
        assert other in {name.lower().replace(" ", "-") for name in ENTRIES}, other


def test_every_lesson_leads_to_it_and_gives_it_terms() -> None:
    for version, up in (("student", ""), ("solutions", "../")):
        for source in authoring.sources().values():
            notebook = authoring.target(source, version)
            assert f"]({up}GLOSSARY.md)" in "".join(
                cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.id.endswith("-header")
            )
            assert (notebook.parent / f"{up}GLOSSARY.md").is_file()
    named = set(re.findall(r"\*Lesson \[(\w+)\]", " ".join(ENTRIES.values())))
    assert {f"{n:02}" for n in range(9)} <= named
