"""The first cell, and what it says and silences."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beft_lib import hardware, lesson
from beft_lib.places import lesson_files, lesson_number, lessons_folder

LESSONS = [path for folder in ("", "solutions") for path in lesson_files(lessons_folder() / folder, ".ipynb")]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_lesson_begins_with_the_same_cell(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert "".join(first["source"]) == lesson.first_cell(lesson_number(path))


def test_the_first_cell_is_short_plain_python_and_replaces_nothing() -> None:
    cell = lesson.first_cell("01")
    ast.parse(cell)  # no magic: it is the same in every notebook program
    assert len(cell.splitlines()) <= 3 and max(map(len, cell.splitlines())) <= 120 + len(lesson.REPOSITORY)
    assert "--no-deps" in cell and lesson.COURSE_WHEEL in cell and 'start("01")' in cell


@pytest.mark.parametrize("there", [True, False])
def test_it_installs_only_where_the_course_is_missing(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    asked: list[tuple[str, ...]] = []

    class Shell:
        def run_line_magic(self, *command: str) -> None:
            asked.append(command)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    exec(lesson.first_cell("01"), {"get_ipython": Shell})
    assert [command[0] for command in asked] == ([] if there else ["pip"])


def test_start_says_profile_reason_device_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_PROFILE", "pocket")
    monkeypatch.setattr(lesson, "loaded_against_installed", list)
    told = repr(lesson.start("03"))
    assert 2 <= len(told.splitlines()) <= 3
    for part in ("Lesson 03", "pocket", "BEFT_PROFILE=pocket", hardware.device_name(), "torch 2", "thread"):
        assert part in told


def test_a_package_installed_after_it_was_loaded_asks_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    monkeypatch.setattr(numpy, "__version__", "1.0.0")
    assert ("numpy", "1.0.0") in [(name, used) for name, _, used in hardware.loaded_against_installed()]
    told = repr(lesson.start("03")).splitlines()
    assert "Restart the kernel" in told[-1] and "numpy" in told[-1] and len(told) == 4


def test_a_build_s_local_version_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "__version__", f"{torch.__version__.split('+')[0]}+elsewhere")
    assert "torch" not in [name for name, _, _ in hardware.loaded_against_installed()]


def test_a_lesson_is_quiet(tmp_path: Path) -> None:
    """Nothing reaches stderr: there, a notebook shows a red box, and nbval an error."""
    code = (
        "import beft_lib; beft_lib.start('01')\n"
        "import warnings, datasets, transformers\n"
        "from transformers.utils import logging\n"
        "logging.get_logger('transformers.x').warning('a load report')\n"
        "warnings.warn_explicit('old', FutureWarning, 'x.py', 1, module='transformers.trainer')\n"
        "ds = datasets.Dataset.from_dict({'a': list(range(10))}).map(lambda row: {'b': row['a']})\n"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(lesson.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=here,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
