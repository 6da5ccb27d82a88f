"""The site: a small course made here, and the real one. Nothing is executed, nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
v4 = nbformat.v4

from beft_lib import authoring, book  # noqa: E402
from beft_lib.errors import BeftError  # noqa: E402
from beft_lib.files import write_text_whole  # noqa: E402

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PROSE = "# 00 · First things\n\nIt is $\\frac{a}{b}$, see [words](GLOSSARY.md#delta).\n\n$$ x^2 $$\n\nA periwinkle."


def course(folder: Path, prose: str = PROSE) -> Path:
    picture = v4.new_output("display_data", data={"image/png": PIXEL}, metadata={"image/png": {"alt": "One grey dot"}})
    told = v4.new_output("stream", text="told before\n")
    cells = [v4.new_markdown_cell(prose), v4.new_code_cell("1 / 0", outputs=[told, picture], execution_count=1)]
    for name in ("00_first", "solutions/00_first"):
        text = nbformat.writes(v4.new_notebook(cells=cells, metadata=authoring._METADATA)).replace(
            "](GLOSSARY", f"]({'../' * name.count('/')}GLOSSARY"
        )
        write_text_whole(folder / f"{name}.ipynb", text)
    write_text_whole(folder / "GLOSSARY.md", "# Glossary\n\n## delta\n\nWhat is added.\n")
    return folder


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notebooks"
    monkeypatch.setattr(book, "lessons_folder", lambda: folder)
    return course(folder)


@pytest.mark.parametrize("solutions", [False, True])
def test_what_sphinx_reads_has_every_page_once(solutions: bool, small: Path, tmp_path: Path) -> None:
    book.stage(tmp_path / "source", solutions)
    index = (tmp_path / "source" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^[\w/]+$", index, re.MULTILINE)
    assert listed == ["00_first", "GLOSSARY", *(["solutions/00_first"] if solutions else [])]
    solved = tmp_path / "source" / "solutions" / "00_first.ipynb"
    assert solved.is_file() == solutions
    assert not solutions or "First things (solved)" in solved.read_text(encoding="utf-8")


def test_without_sphinx_it_says_what_to_install(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "myst_nb", None)
    with pytest.raises(BeftError, match=r"myst_nb.*\[book\]"):
        book.build_book(tmp_path / "site")


@pytest.fixture
def sphinx() -> None:
    for name in ("myst_nb", "sphinx_book_theme", "latex2mathml"):
        pytest.importorskip(name, reason="the extra `book` is not installed here")


def test_a_page_shows_what_was_run_and_needs_no_connection(sphinx: None, small: Path, tmp_path: Path) -> None:
    site = book.build_book(tmp_path / "site").parent
    page = (site / "00_first.html").read_text(encoding="utf-8")
    assert "told before" in page and "ZeroDivisionError" not in page
    assert page.count("<math ") == 2 and "<mfrac>" in page and 'alt="One grey dot"' in page
    assert 'href="GLOSSARY.html#delta"' in page
    assert not re.findall(r"""(?:src=|@import |<link[^>]+href=)["']?(?:https?:)?//""", page)
    assert "periwinkl" in (site / "searchindex.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("broken", ["[x](missing.ipynb)", "[x](GLOSSARY.md#missing)", "[x](#missing)"])
def test_a_link_that_leads_nowhere_is_told(broken: str, sphinx: None, small: Path, tmp_path: Path) -> None:
    course(small, PROSE + broken)
    with pytest.raises(BeftError, match=r"something to mend:\n[^\n]*'.*missing"):
        book.build_book(tmp_path / "site")


def test_the_course_becomes_a_site(sphinx: None, tmp_path: Path) -> None:
    site = book.build_book(tmp_path / "site", solutions=True).parent
    lessons = sorted(site.glob("[0-9][0-9]_*.html"))
    assert len(lessons) >= 8 and len(list(site.glob("solutions/[0-9]*.html"))) == len(lessons)
    for page in lessons:
        text = page.read_text(encoding="utf-8")
        assert 'href="GLOSSARY.html"' in text and not re.findall(r'src="(?:https?:)?//', text)
        assert all(alt for alt in re.findall(r'<img alt="([^"]*)" [^>]*src="data:', text))
