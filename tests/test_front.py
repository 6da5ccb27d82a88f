"""The README's front page: its numbers are the files', its code and commands exist, its picture says what it shows."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import beft_lib
from beft_lib import frontpage, six_tasks, tables
from beft_lib.__main__ import VERBS
from beft_lib.architectures import FAMILIES
from beft_lib.errors import BeftError
from beft_lib.plots import LOOKS
from beft_lib.task_table import TASKS

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="runs from an installed wheel")


@pytest.fixture
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_numbers_and_picture_are_those_of_the_results(readme: str) -> None:
    assert frontpage.with_block(readme) == readme, f"the results are newer: run `{frontpage.COMMAND}`"
    assert (ROOT / frontpage.PICTURE).read_text(encoding="utf-8") == frontpage.picture()


def test_a_new_result_changes_it(readme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: one score higher by a point is another README."""
    rows = [{**row, "score": row["score"] + 0.01} for row in tables.shipped(frontpage.REAL)]
    monkeypatch.setattr(tables, "shipped", lambda *names: rows)
    assert frontpage.with_block(readme) != readme


def test_six_tasks_join_once_they_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"prompted": True, "model": "pocket-opt", "task": task, "method": method, "seed": seed,
         "score": 0.5 + seed / 100, "scored_on": "validation", "parameters_method": 1, "seconds": 1.0,
         "scoring_seconds": 1.0, "n_validation": 100, "file_bytes": 100}
        for task in six_tasks.PROMPTS for method in ("value", "zero_shot") for seed in range(3)
    ]  # fmt: skip
    monkeypatch.setattr(six_tasks, "measured", lambda *path: rows)
    told = frontpage.block()
    assert "| value bias, b_v (BEFT) | 51.0 ± 2.5 (88.6) |" in told and "(56.7)" in told


def test_what_stands_around_the_numbers_stays(readme: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    old = re.sub(rf"{re.escape(frontpage.BEGIN)}.*?{re.escape(frontpage.END)}",
                 f"{frontpage.BEGIN}\nold\n{frontpage.END}", readme, flags=re.DOTALL)  # fmt: skip
    (tmp_path / "README.md").write_text(old, encoding="utf-8")
    assert [path.name for path in frontpage.write(tmp_path)] == ["README.md", "front.svg"]
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == readme
    assert frontpage.write(tmp_path) == []


@pytest.mark.parametrize("text", ["", f"{frontpage.BEGIN}\n{frontpage.END}", "![](data/front.svg)"])
def test_a_readme_without_a_place_for_them_is_named(text: str) -> None:
    with pytest.raises(BeftError, match="needs, once each"):
        frontpage.with_block(text)


def test_the_picture_is_drawn_to_scale_and_says_so_in_words() -> None:
    moved, one, whole = frontpage._numbers()
    root = ET.fromstring(frontpage.picture())
    spaced = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{spaced}title") == frontpage.alt()
    written = " ".join(text.text or "" for text in root.iter(f"{spaced}text"))
    bars = [float(rect.get("width", 0)) for rect in root.iter(f"{spaced}rect") if rect.get("height") == "16"]
    values = [value for terms in moved.values() for value in terms.values()]
    assert len(bars) == len(values) == 6
    for bar, value in zip(bars, values, strict=True):
        assert f"{value:.2f}" in written and f"{value:.2f}" in frontpage.alt()
        assert bar / max(bars) == pytest.approx(value / max(values), abs=0.01)
    assert f"{one:,} of {whole:,}" in written and not set("[]") & set(frontpage.alt())
    width, height = map(float, root.get("viewBox", "").split()[2:])
    assert all(0 < float(text.get("y", 0)) < height for text in root.iter(f"{spaced}text"))
    for text in root.iter(f"{spaced}text"):  # in a wide common font: no word leaves its half of the picture
        x, wide = float(text.get("x", 0)), _width(text.text or "", text.get("font-weight", "normal"))
        assert x + wide < (width if x >= 440 else 430), text.text


def _width(text: str, weight: str) -> float:
    """Pixels that a text takes in DejaVu Sans at the picture's size, which is wider than most."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=15, prop=FontProperties("DejaVu Sans", weight=weight)).get_extents().x1)


def test_its_colours_are_those_of_the_course() -> None:
    assert all(LOOKS[term].color == colour for term, colour in frontpage._COLOURS.items())


def test_its_code_runs_in_ten_lines_and_uses_what_is_there(readme: str) -> None:
    code = re.search(r"^    from beft_lib import .*?(?=^\S)", readme, re.DOTALL | re.MULTILINE)
    assert code is not None
    lines = [line[4:] for line in code[0].splitlines() if line.strip()]
    assert len(lines) <= 10
    imported = {alias.name for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.ImportFrom)
                for alias in node.names}  # fmt: skip
    assert imported and imported <= set(beft_lib.__all__)


def test_its_commands_files_and_counts_exist(readme: str) -> None:
    assert set(re.findall(r"python -m beft_lib (\w+)", readme)) <= set(VERBS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake (course|test|lab|book|slides)\b", readme):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    named = re.findall(r"`([\w/]+\.(?:md|cff|lock|yml|txt)|LICENSE)`", readme)
    assert len(named) > 5 and all((ROOT / path).is_file() for path in named), named
    assert [int(n) for n in re.findall(r"(\d+) families", readme)] == [len(FAMILIES)] * readme.count(" families,")
    assert set(re.findall(r"--tasks? (\w+)", readme)) <= set(TASKS)
