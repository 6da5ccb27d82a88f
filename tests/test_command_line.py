"""The verbs: rows that point at something, errors that are one message."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import beft_lib
from beft_lib import __main__ as command_line
from beft_lib.errors import BeftError

VERBS = command_line.VERBS


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python, whatever it is: no environment is made in tests."""
    monkeypatch.setattr(command_line.setup_env, "use", lambda *args, **options: None)


def stub(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    module = SimpleNamespace(add_arguments=lambda parser: parser.add_argument("--n", type=int, default=0), run=run)
    monkeypatch.setitem(sys.modules, "beft_lib.stub", module)
    monkeypatch.setitem(VERBS, "stub", command_line.Verb("stub", "for a test", "stub"))


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_every_verb_has_its_module_and_help(verb: command_line.Verb, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(f"beft_lib.{verb.module}")
    getattr(module, verb.add)(argparse.ArgumentParser())
    assert callable(getattr(module, verb.run))
    with pytest.raises(SystemExit, match="0"):
        command_line.main([verb.name, "--help"])
    assert verb.help in " ".join(capsys.readouterr().out.split())


def test_an_error_of_ours_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        raise BeftError(f"n is {args.n}")

    stub(monkeypatch, run)
    assert command_line.main(["stub", "--n", "7"]) == 2
    assert capsys.readouterr() == ("", "error: n is 7\n")
    monkeypatch.setenv("BEFT_DEBUG", "1")
    with pytest.raises(BeftError):
        command_line.main(["stub"])


def test_a_missing_package_is_named_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401

        return 0

    stub(monkeypatch, run)
    assert command_line.main(["stub"]) == 2
    assert "no_such_package" in capsys.readouterr().err


def test_a_mistyped_verb_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["cuorse"])
    assert "course" in capsys.readouterr().err


def test_it_runs_as_a_module_from_anywhere(tmp_path: Path) -> None:
    package = Path(beft_lib.__file__).parent.parent
    code = f"import sys; sys.path.insert(0, {str(package)!r}); sys.argv = ['beft', '--version']; " \
           "import runpy; runpy.run_module('beft_lib', run_name='__main__')"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.stdout.strip() == f"beft-lib {beft_lib.__version__}"
