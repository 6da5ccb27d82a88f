"""A Colab session, made here: a fresh Python with the packages that Colab has, the wheel, and one notebook.

By itself it takes this very Python and, of the packages here, those that Colab has too: nothing is fetched. To try
Colab's own Python and versions (github.com/googlecolab/backend-info lists them), make such an environment and name it:

    BEFT_COLAB_PYTHON=/that/venv/bin/python BEFT_COLAB_LESSONS="00 01 02 03 04 05" BEFT_COLAB_PROFILE=pocket \\
        python -m pytest tests/test_colab.py
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from stand_ins import fill

from beft_lib.places import lesson_files, lesson_number

nbclient = pytest.importorskip("nbclient")
pytest.importorskip("setuptools")

ROOT = Path(__file__).resolve().parent.parent
LESSONS = os.environ.get("BEFT_COLAB_LESSONS", "00 01").split()
PROFILE = os.environ.get("BEFT_COLAB_PROFILE", "")  # "": Colab's, with small stand-ins where the hub's models would be
# What Colab has of what the course uses, with all that they need; neither evaluate nor the course.
THERE = ("accelerate datasets dill ipykernel ipywidgets matplotlib multiprocess numpy pandas peft requests safetensors "
         "scikit-learn scipy sentencepiece torch tqdm transformers xxhash").split()  # fmt: skip
BROUGHT = ("beft-lib", "evaluate")  # by the first cell of a lesson
AT_LEAST = {"peft": "0.20"}  # where Colab's is older, the first cell brings a newer one: it is the first with BEFT

# Colab's kernel is a class of its own, by which libraries (huggingface_hub) know where they are and ask for secrets.
STUB = {
    "__init__.py": "from . import userdata",
    "userdata.py": "class SecretNotFoundError(Exception): pass\nclass NotebookAccessError(Exception): pass\n"
    "def get(key): raise SecretNotFoundError(key)",
    "errors.py": "class Error(Exception): pass",
    "_shell.py": "from ipykernel.zmqshell import ZMQInteractiveShell\nclass Shell(ZMQInteractiveShell): pass",
    "_kernel.py": "from ipykernel.ipkernel import IPythonKernel\nfrom traitlets import Type\n"
    "from ._shell import Shell\nclass Kernel(IPythonKernel): shell_class = Type(Shell)",
}

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Colab is Linux"),
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="runs from an installed wheel"),
]


def needed(names: Iterable[str]) -> set[str]:
    """These distributions and all that they need, of those that are installed here."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if name in found:
            continue
        found.add(name)
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return found


def link(names: set[str], folder: Path) -> None:
    """A folder for sys.path that shows these installed distributions and no others."""
    folder.mkdir(parents=True)
    for name in names:
        distribution = importlib.metadata.distribution(name)
        tops = {Path(str(file)).parts[0] for file in distribution.files or []}
        for top in tops - {"..", "__pycache__"}:
            there = Path(str(distribution.locate_file(top)))
            if there.exists() and not (folder / top).exists():
                (folder / top).symlink_to(there)


def repack(name: str, folder: Path) -> None:
    """An installed distribution as a wheel again, as an index would have it."""
    distribution = importlib.metadata.distribution(name)
    with zipfile.ZipFile(folder / f"{name}-{distribution.version}-py3-none-any.whl", "w") as archive:
        for file in distribution.files or []:
            if file.parts[0] != ".." and file.suffix != ".pyc":
                archive.write(str(file.locate()), file.as_posix())


def build_wheel(folder: Path, scratch: Path) -> None:
    """The course's own, built from a copy so that nothing is left in the checkout."""
    unwanted = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("beft_lib", "notebooks", "data"):
        shutil.copytree(ROOT / name, scratch / name, ignore=unwanted)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, scratch / name)
    code = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=scratch, check=True, capture_output=True)
    [wheel] = folder.glob("beft_lib-*.whl")
    assert wheel.stat().st_size < 30e6, f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB"


class Session:
    """The machine that Colab lends: its Python, a folder of wheels where PyPI would be, an empty home."""

    def __init__(self, base: Path):
        self.base, self.python = base, base / "python" / "bin" / "python"
        named = os.environ.get("BEFT_COLAB_PYTHON")
        subprocess.run([named or sys.executable, "-m", "venv", str(base / "python")], check=True)
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(self.tell(ask))
        if named:
            done = subprocess.run([named, "-c", ask], check=True, capture_output=True, text=True, encoding="utf-8")
            packages = [done.stdout.strip()]
        else:
            packages = [str(base / "packages" / "site-packages")]  # the name by which dill knows what is installed
            link(needed(THERE), Path(packages[0]))
        for name, text in STUB.items():
            file = base / "colab" / "google" / "colab" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n", encoding="utf-8")
        (site / "colab.pth").write_text("\n".join([*packages, str(base / "colab")]) + "\n", encoding="utf-8")
        for name in ("wheels", "home", "content", "kernels/colab"):
            (base / name).mkdir(parents=True)
        build_wheel(base / "wheels", base / "source")
        for name in ("evaluate", *AT_LEAST):
            repack(name, base / "wheels")
        shutil.rmtree(base / "source")
        argv = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv += ["--IPKernelApp.kernel_class=google.colab._kernel.Kernel"]
        spec = {"argv": [str(self.python), *argv], "display_name": "Colab", "language": "python"}
        (base / "kernels" / "colab" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        if not PROFILE:
            fill(base / "home" / ".cache" / "huggingface" / "hub", "sst2", "cola")

    def environment(self) -> dict[str, str]:
        names = ("PATH", "LANG", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.base / "wheels"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        colab = {"HOME": str(self.base / "home"), "COLAB_RELEASE_TAG": "release-colab-external", "HF_HUB_OFFLINE": "1"}
        return {**kept, **pip, **colab, "BEFT_PROFILE": PROFILE or "colab"}

    def tell(self, code: str) -> str:
        done = subprocess.run(
            [str(self.python), "-c", code], cwd=self.base, env=self.environment(), capture_output=True, text=True,
            encoding="utf-8", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def packages(self) -> dict[str, str]:
        """What an import would find: of two versions the one that comes first."""
        code = "from importlib.metadata import distributions as every; print([(d.name, d.version) for d in every()])"
        found: list[tuple[str, str]] = ast.literal_eval(self.tell(code))
        return {str(canonicalize_name(name)): version for name, version in reversed(found)}

    def run(self, lesson: Path) -> Any:
        """The notebook alone, in ``/content``; the executed copy. Raises what stops it."""
        import nbformat

        content = self.base / "content" / lesson.stem
        content.mkdir()
        shutil.copyfile(lesson, content / lesson.name)
        notebook = nbformat.read(content / lesson.name, as_version=4)
        resources = {"metadata": {"path": str(content)}}
        nbclient.NotebookClient(notebook, timeout=1200, kernel_name="colab", resources=resources).execute(
            env=self.environment()
        )
        return notebook


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(tmp_path_factory.mktemp("colab"))


@pytest.fixture(scope="module")
def before(session: Session) -> dict[str, str]:
    return session.packages()


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_runs_from_its_notebook_alone(
    number: str, session: Session, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "torch" in before and not set(BROUGHT) & set(before), "as Colab is: without the course, without evaluate"
    monkeypatch.setenv("JUPYTER_PATH", str(session.base))
    (lesson,) = (path for path in lesson_files(ROOT / "notebooks", ".ipynb") if lesson_number(path) == number)
    notebook = session.run(lesson)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    noise = [o.text for o in outputs if o.get("name") == "stderr" and "\r" not in o.text]
    assert not noise, "a learner would see a red box"
    told = session.tell("import beft_lib, google.colab; print(beft_lib.__file__)")
    assert Path(told).is_relative_to(session.base / "python"), "the wheel, and not the repository"


def test_nothing_that_colab_has_was_replaced(session: Session, before: dict[str, str]) -> None:
    after = session.packages()
    if not set(BROUGHT) <= set(after):
        pytest.skip("no lesson ran")
    changed = {name for name in after if after[name] != before.get(name)}
    old = {name for name, least in AT_LEAST.items() if _version(before[name]) < _version(least)}
    assert changed == {*BROUGHT, *old}
    assert all(_version(after[name]) >= _version(least) for name, least in AT_LEAST.items())


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
