"""Running lessons, reading copies of them, and copying them out; on a small course made here."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from beft_lib import commands_course, course
from beft_lib.errors import BeftError, UnknownName
from beft_lib.files import write_text_whole


def lesson(folder: Path, name: str, *cells: str) -> Path:
    """A notebook: cells that start with # are prose."""
    made = [new_markdown_cell(c) if c.startswith("# ") else new_code_cell(c) for c in cells]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return write_text_whole(folder / f"{name}.ipynb", nbformat.writes(new_notebook(cells=made, metadata=kernel)))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[course.LessonRun], list[str]]:
    folder, target = tmp_path_factory.mktemp("lessons"), tmp_path_factory.mktemp("out")
    prose = "# First things\n\nIt costs \\$5, and $\\cos t = \\frac{a}{b}$, and `$x$` is code:\n\n"
    prose += "$$\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}$$"
    lesson(folder, "00_first", prose, "import sys\nprint(sys.executable)")
    lesson(folder, "01_broken", "# Broken", "1 + 1", "undefined_name", "print('never')")
    lesson(folder, "02_last", "# Last", "from pathlib import Path\nPath('made.txt').touch()")
    write_text_whole(folder / "images" / "a.svg", "<svg/>")
    told: list[str] = []
    return target, course.run_lessons(course.lessons(folder), target, report=told.append), told


def test_a_lesson_that_fails_is_told_and_does_not_stop_the_others(
    ran: tuple[Path, list[course.LessonRun], list[str]],
) -> None:
    _, runs, told = ran
    assert [run.name for run in runs] == ["00_first", "01_broken", "02_last"]
    assert [run.problem for run in runs][::2] == ["", ""]
    assert runs[1].problem.startswith("at cell 2: NameError: name 'undefined_name'")
    assert len(told) == 3 and "OK" in told[0] and "FAILED at cell 2" in told[1]


def test_lessons_run_in_this_very_python_and_in_the_target_folder(
    ran: tuple[Path, list[course.LessonRun], list[str]],
) -> None:
    target, _, _ = ran
    notebook = nbformat.read(target / "00_first.ipynb", as_version=4)
    assert Path(notebook.cells[1].outputs[0].text.strip()) == Path(sys.executable)
    assert (target / "made.txt").is_file() and (target / "images" / "a.svg").is_file()


def test_the_readable_copy_needs_no_connection(ran: tuple[Path, list[course.LessonRun], list[str]]) -> None:
    target, _, _ = ran
    page = (target / "00_first.html").read_text(encoding="utf-8")
    for loads in ('src="http', "src='http", "@import", 'src=""'):
        assert loads not in page, loads
    assert page.count("<math ") == 2, "the two formulas, and neither the price nor the code"
    assert "<mfrac>" in page and "<mtable" in page
    assert "$5" in page and "$x$" in page
    assert "NameError" in (target / "01_broken.html").read_text(encoding="utf-8")


def test_the_index_links_every_lesson_with_its_result(ran: tuple[Path, list[course.LessonRun], list[str]]) -> None:
    target, runs, _ = ran
    page = (target / "index.html").read_text(encoding="utf-8")
    for run in runs:
        assert f'href="{run.name}.html"' in page and (target / f"{run.name}.html").is_file()
    assert "First things" in page and "NameError: name &#x27;undefined_name&#x27;" in page


def test_no_lessons_is_said(tmp_path: Path) -> None:
    with pytest.raises(BeftError, match="No lessons in"):
        course.lessons(tmp_path)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site-packages" / "_notebooks"
    lesson(folder, "00_first", "# First")
    lesson(folder / "solutions", "00_first", "# First, solved")
    write_text_whole(folder / "source" / "00_first.py", "what the lessons are made from")
    write_text_whole(folder / ".ipynb_checkpoints" / "00_first.ipynb", "old")
    (folder / "00_first.ipynb").chmod(0o444)
    monkeypatch.setattr(course, "lessons_folder", lambda: folder)
    return folder


def test_copying_out_keeps_a_learner_s_work(shipped: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    copied = course.copy_lessons(target)
    assert copied == [target / "00_first.ipynb", target / "solutions" / "00_first.ipynb"]
    write_text_whole(target / "00_first.ipynb", "my work")
    assert course.copy_lessons(target) == []
    assert (target / "00_first.ipynb").read_text(encoding="utf-8") == "my work"
    assert (target / "solutions" / "00_first.ipynb").stat().st_mode & 0o200, "writable, whatever it was where it ships"


def test_an_unknown_lesson_is_named(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"lesson '07'.*00"):
        commands_course.run_course(argparse.Namespace(lessons=["07"], to=tmp_path / "out", record=False))


def test_the_verb_course_says_where_to_read_and_fails_with_a_lesson(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for problem, status in (("", 0), ("at cell 1: NameError", 1)):
        run = course.LessonRun("00_first", "First", 1.0, problem)
        monkeypatch.setattr(course, "run_lessons", lambda *args, run=run, **options: [run])
        assert commands_course.run_course(argparse.Namespace(lessons=[], to=tmp_path / "out", record=False)) == status
        assert str(tmp_path / "out" / "index.html") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "expected"), [([], True), (["--", "-k", "name"], True), (["--", "tests/test_course.py"], False)]
)
def test_the_verb_test_runs_tests_and_lessons_unless_told_which(
    options: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **settings: object) -> argparse.Namespace:
        asked.append(command)
        assert settings["env"]["HF_HUB_OFFLINE"] == "1"  # type: ignore[index]
        return argparse.Namespace(returncode=3)

    monkeypatch.setattr(commands_course.subprocess, "run", run)
    if commands_course.checkout() is None:
        pytest.skip("runs from an installed wheel")
    assert commands_course.run_test(argparse.Namespace(options=options)) == 3
    assert asked[0][:3] == [sys.executable, "-m", "pytest"] and "--nbval-lax" in asked[0]
    assert any(part.endswith("tests") for part in asked[0]) == expected
    assert asked[0][-len(options[1:]) :] == options[1:] or not options


def test_the_lab_listens_here_only_and_keeps_its_token(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(command: list[str], **settings: object) -> argparse.Namespace:
        asked.extend(command)
        return argparse.Namespace(returncode=0)

    monkeypatch.setattr(commands_course, "lessons_folder", lambda: shipped)
    monkeypatch.setattr(commands_course.subprocess, "run", run)
    assert commands_course.run_lab(argparse.Namespace(options=[])) == 0
    assert "--ip=127.0.0.1" in asked and any(part.endswith("00_first.ipynb") for part in asked)
    assert not any("token" in part.lower() or "password" in part.lower() for part in asked)


def test_where_the_course_is_read_only_copies_and_lessons_are_the_learner_s_own(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hub's checkout; that it cannot be written to is said by us, since no permission stops root."""
    home, course_folder = tmp_path / "home", shipped.parent
    monkeypatch.chdir(course_folder)
    monkeypatch.setattr(commands_course, "checkout", lambda: course_folder)
    monkeypatch.setattr(commands_course, "lessons_folder", lambda: shipped)
    monkeypatch.setattr(commands_course, "writable", lambda folder: not folder.is_relative_to(course_folder))
    monkeypatch.setattr(Path, "home", lambda: home)
    seen: list[Path] = []
    monkeypatch.setattr(course, "run_lessons", lambda paths, target, **options: seen.append(target) or [])
    commands_course.run_course(argparse.Namespace(lessons=[], to=None, record=False))
    asked: list[list[str]] = []
    done = argparse.Namespace(returncode=0)
    monkeypatch.setattr(commands_course.subprocess, "run", lambda command, **settings: asked.append(command) or done)
    commands_course.run_lab(argparse.Namespace(options=[]))
    assert seen == [(home / "beft-course").resolve()]
    assert str(home / "beft-lessons" / "00_first.ipynb") in asked[0]
    assert (home / "beft-lessons" / "00_first.ipynb").stat().st_mode & 0o200


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_stops_the_course_and_not_one_lesson_only(tmp_path: Path) -> None:
    waits = "import os, time\nopen('pid', 'w', encoding='utf-8').write(str(os.getpid()))\ntime.sleep(60)"
    for name in ("00_waits", "01_waits"):
        lesson(tmp_path / "lessons", name, waits)
    code = (
        # a shell's background job is started with Ctrl-C ignored, and so would be what we start
        "import signal, sys; from pathlib import Path; from beft_lib import course\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "course.run_lessons(course.lessons(Path('lessons')), Path('out'))"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(course.__file__).parent.parent)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=here, stderr=subprocess.PIPE)
    pid = tmp_path / "out" / "pid"
    try:
        assert _wait_for(lambda: pid.is_file() and pid.read_text(encoding="utf-8") != "")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode != 0 and told.rstrip().endswith(b"KeyboardInterrupt")
    assert not (tmp_path / "out" / "index.html").exists()
    assert _wait_for(lambda: not _alive(int(pid.read_text(encoding="utf-8")))), "the kernel went on without us"


def _wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.2)
    return condition()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_reader_sees_the_picture_of_a_widget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("PYTHONPATH", str(Path(course.__file__).parent.parent))
    cell = "from beft_lib.widgets import vector_explorer\nvector_explorer()"
    lesson(tmp_path / "lessons", "00_touch", "# Touch", cell)
    (run,) = course.run_lessons(course.lessons(tmp_path / "lessons"), tmp_path / "out", report=lambda line: None)
    page = (tmp_path / "out" / "00_touch.html").read_text(encoding="utf-8")
    assert not run.problem and "data:image/png" in page and 'alt="Two arrows from the origin' in page
    assert "widget-view+json" not in page and "unpkg.com" not in page
