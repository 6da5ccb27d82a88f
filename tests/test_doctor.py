"""The doctor's lines: OK, or FAIL with the fix."""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from beft_lib import doctor, hardware, runtime
from beft_lib.errors import ModelError


def found(report: doctor.Report, what: str) -> doctor.Finding:
    return next(finding for finding in report if finding.what == what)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing is wrong, whatever this one is like."""
    monkeypatch.setenv("BEFT_PROFILE", "laptop")
    source = runtime.ModelSource("minilm", "/m", None, "shipped", "ships with the course")
    monkeypatch.setattr(runtime, "find_model", lambda name: source)
    monkeypatch.setattr(hardware, "loaded_against_installed", list)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["torch>=2.6", "pytest>=8; extra == 'course'"])
    monkeypatch.setattr(hardware, "memory", lambda: {"ram_total": 8 * 10**9, "ram_free": 8 * 10**9, "gpu_total": 0})
    monkeypatch.setattr(doctor, "_python", lambda: [doctor.Finding("Python", "3.12")])


def test_all_is_well(healthy: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(argparse.Namespace()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("OK ") for line in lines)
    expected = ("Python", "packages", "device", "dtype", "memory", "profile", "model 'bert'", "data", "writable", "hub")
    for what in expected:
        assert any(line[6:].startswith(what) for line in lines), what


@pytest.mark.parametrize(
    ("requirement", "told", "fix"),
    [("no-such-package>=1.0", "no-such-package is missing", "pip install 'no-such-package>=1.0'"),
     ("numpy>=999.0", "is older than 999.0", "pip install 'numpy>=999.0'")],
)  # fmt: skip
def test_packages_missing_or_too_old(
    healthy: None, monkeypatch: pytest.MonkeyPatch, requirement: str, told: str, fix: str
) -> None:
    asked = [requirement, "no-such-test-tool>=1; extra == 'test'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: asked)
    line = found(doctor.diagnose(), "packages")
    assert told in line.told and line.fix == fix


def test_loaded_against_installed(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "loaded_against_installed", lambda: [("numpy", "2.4", "2.2")])
    line = found(doctor.diagnose(), "loaded packages")
    assert line.told == "numpy 2.4 is installed, 2.2 is loaded" and "restart the kernel" in line.fix


def test_little_memory_a_missing_model_and_a_missing_hub_have_their_fix(
    healthy: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(name: str) -> runtime.ModelSource:
        raise ModelError("No weights for bert-base-cased. Connect once.")

    monkeypatch.setenv("BEFT_PROFILE", "colab")
    monkeypatch.setattr(runtime, "find_model", nowhere)
    monkeypatch.setattr(hardware, "memory", lambda: {"ram_total": 2 * 10**9, "ram_free": 10**9, "gpu_total": None})
    report = doctor.diagnose()
    assert found(report, "model 'bert'").fix == "Connect once."
    assert found(report, "memory").told == "1.0 GB free of 2.0 GB"
    assert "BEFT_PROFILE=pocket" in found(report, "memory").fix
    assert "prefetch" in found(report, "data rte").fix and "HF_HUB_OFFLINE" in found(report, "hub").fix
    assert doctor.run(argparse.Namespace()) == 1
    assert "\n                             fix: Connect once." in capsys.readouterr().out


@pytest.mark.parametrize(("variable", "what"), [("BEFT_PROFILE", "profile"), ("BEFT_DEVICE", "device")])
def test_a_wrong_variable_is_a_line_not_a_crash(
    healthy: None, monkeypatch: pytest.MonkeyPatch, variable: str, what: str
) -> None:
    monkeypatch.setenv(variable, "nonsense")
    report = doctor.diagnose()
    assert variable in found(report, what).fix and "nonsense" in found(report, what).told
    assert found(report, "writable folder").told


@pytest.mark.parametrize(("native", "named"), [(False, "float16"), (True, "bfloat16")])
def test_the_dtype_is_the_one_that_load_model_takes(
    healthy: None, monkeypatch: pytest.MonkeyPatch, native: bool, named: str
) -> None:
    """A T4 has no bfloat16: load_model takes float16 there, and so the line says."""
    import torch

    monkeypatch.setattr(hardware, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(hardware, "device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: native)
    assert runtime.base_dtype()[0] == getattr(torch, named)
    assert found(doctor.Report(doctor._machine()), "dtype").told.startswith(f"{named} for")


def test_a_model_that_no_lesson_here_needs_is_no_failure(
    healthy: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere(name: str) -> runtime.ModelSource:
        raise ModelError(f"No weights for {name}. Fetch them.")

    monkeypatch.setattr(runtime, "find_model", nowhere)
    monkeypatch.setattr(runtime, "lessons_folder", lambda: tmp_path)
    (tmp_path / "05_beft_on_bert.ipynb").touch()
    report = doctor.diagnose()
    assert [found(report, f"model {role!r}").fix for role in ("bert", "roberta", "opt")] == [
        "Fetch them.", "Fetch them.", "",
    ]  # fmt: skip
    assert "from lesson 06 on" in found(report, "model 'opt'").told


def test_a_read_only_home_is_told(healthy: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtime, "user_folder", lambda *parts: tmp_path)
    assert "only read" in found(doctor.diagnose(), "writable folder").told


def test_a_bare_python_gets_its_lines_and_the_fix(tmp_path: Path) -> None:
    """No third-party package at all (-S leaves site-packages out): what somebody sees before the set-up."""
    package = str(Path(doctor.__file__).parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {package!r})\n"
        "from beft_lib import doctor\n"
        "report = doctor.diagnose()\n"
        "print(report); sys.exit(0 if report.well else 1)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1 and done.stderr == "", done.stderr
    assert "FAIL  packages" in done.stdout and "python -m beft_lib course" in done.stdout
