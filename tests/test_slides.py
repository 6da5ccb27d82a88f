"""Slides and handout, on a small lesson made here: what is shown, what is said, nothing from elsewhere."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")
v4 = nbformat.v4

from beft_lib import authoring, course, handout, slides  # noqa: E402
from beft_lib.errors import BeftError, UnknownName  # noqa: E402
from beft_lib.files import write_text_whole  # noqa: E402

TITLE = "# 07 · Geese\n\n**The one idea:** geese.\n\n**Time:** 5 minutes.\n\nSome prose."
SECTION = "## 1. They fly\n\nFirst words.\n\nMore words, said only.\n\n**Predict:** how far?\n\n$$ x^2 $$"
EXERCISE = "### Exercise 1: count\n\nHow many?\n\nAll shown.\n\n<details><summary>Hint</summary>\n\nTwo.\n\n</details>"
CELLS = (
    v4.new_markdown_cell(TITLE),
    v4.new_markdown_cell("words: [glossary](GLOSSARY.md)", id="l07-header"),
    v4.new_code_cell("start()", outputs=[v4.new_output("stream", text="where we are\n")]),
    v4.new_code_cell("import math\nfrom a import b"),
    v4.new_markdown_cell(SECTION),
    v4.new_code_cell("6 * 7", execution_count=1, outputs=[v4.new_output("stream", text="forty-two\n")]),
    v4.new_markdown_cell("After the result, said only."),
    v4.new_markdown_cell(EXERCISE),
)


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("")], metadata=authoring._METADATA)
    notebook.cells = [nbformat.from_dict(cell) for cell in CELLS]
    folder = tmp_path / "notebooks"
    path = write_text_whole(folder / "07_geese.ipynb", nbformat.writes(notebook))
    write_text_whole(folder / "GLOSSARY.md", "# Glossary\n")
    for module in (slides, handout):
        monkeypatch.setattr(module, "lessons", lambda: [path])
    monkeypatch.setattr(handout, "lessons_folder", lambda: folder)
    return nbformat.read(path, as_version=4)


def test_headings_predictions_and_results_are_slides_and_prose_is_said(lesson: Any) -> None:
    told = [(cell.metadata.slideshow.slide_type, cell.source) for cell in slides.deck(lesson).cells]
    assert [kind for kind, _ in told] == [
        *("slide", "notes", "notes"),  # the title; its minutes and its prose
        *("slide", "notes", "subslide"),  # the section and its first words; the others; the prediction
        *("subslide", "notes"),  # the result, and what is said of it
        "subslide",  # the exercise, whole
    ]
    said = [text for kind, text in told if kind == "notes"]
    assert said == ["**Time:** 5 minutes.", "Some prose.", "More words, said only.", "After the result, said only."]
    assert told[3][1] == "## 1. They fly\n\nFirst words."
    assert told[5][1].startswith("**Predict") and "x^2" in told[5][1] and told[-1][1] == EXERCISE


def test_every_lesson_can_be_cut_up_and_loses_no_word() -> None:
    for path in course.lessons():
        notebook = nbformat.read(path, as_version=4)
        prose = [c.source for c in notebook.cells if c.cell_type == "markdown" and not c.id.endswith("-header")]
        deck = slides.deck(notebook)
        again = "\n\n".join(c.source for c in deck.cells if c.cell_type == "markdown")
        assert re.findall(r"\w+", again) == re.findall(r"\w+", "\n\n".join(prose)), path.name
        kinds = [c.metadata.slideshow.slide_type for c in deck.cells]
        assert kinds[0] == "slide" and kinds.count("slide") >= 5 and kinds.count("subslide") >= 10


def test_without_reveal_it_says_what_to_install(lesson: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "find_spec", lambda name: None)
    with pytest.raises(BeftError, match=r"sphinx-revealjs.*\[book\]"):
        slides.build_slides(tmp_path / "slides")
    with pytest.raises(UnknownName, match="'99'"):
        slides.build_slides(tmp_path / "slides", ["99"])


def test_a_deck_needs_only_what_lies_beside_it(lesson: Any) -> None:
    pytest.importorskip("latex2mathml")
    page = slides.to_slides(slides.deck(lesson), "Geese")
    wanted = set(re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', page))
    assert wanted and all(address.startswith("reveal/") for address in wanted)
    assert "import mermaid" not in page and "MathJax" not in page and "<math " in page
    assert page.count("<aside") == 4 and "forty-two" in page and "where we are" not in page


def test_slides_with_reveal(lesson: Any, tmp_path: Path) -> None:
    pytest.importorskip("sphinx_revealjs", reason="the extra `book` is not installed here")
    index = slides.build_slides(tmp_path / "slides")
    assert 'href="07_geese.html"' in index.read_text(encoding="utf-8")
    page = (index.parent / "07_geese.html").read_text(encoding="utf-8")
    for address in re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', page):
        assert (index.parent / address).is_file(), address
    for sheet in (index.parent / "reveal" / "dist").rglob("*.css"):
        if "white.css" in sheet.name:
            assert "//fonts." not in sheet.read_text(encoding="utf-8")


def test_the_handout_has_every_lesson_and_no_output(lesson: Any, tmp_path: Path) -> None:
    pytest.importorskip("latex2mathml")
    page, packed = handout.build_handout(tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert "They fly" in text and "<math " in text and "forty-two" not in text
    with zipfile.ZipFile(packed) as archive:
        inside = {name.split("/")[1] for name in archive.namelist()}
        assert inside == {"07_geese.ipynb", "GLOSSARY.md", "handout.html"}
        notebook = nbformat.reads(archive.read("beft-lessons/07_geese.ipynb").decode("utf-8"), as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [c.source for c in code] == ["start()", "import math\nfrom a import b", "6 * 7"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    before = packed.read_bytes()
    assert handout.build_handout(tmp_path / "out")[1].read_bytes() == before
