"""JupyterHub: the course folder read-only, two learners at once on one machine, 2 GB each; a kernel that dies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from stand_ins import fill

from beft_lib import authoring, load_model, load_task, probe
from beft_lib.errors import ModelError
from beft_lib.runtime import find_model

ROOT = Path(__file__).resolve().parent.parent
GIGABYTES = 2.0  # of memory that a hub gives a learner
LEARNERS = {"ada": 64001, "ben": 64002}  # users that no machine has, by number
# Less of lesson 00 than a learner runs: memory is that of a step, and the files are the same.
FEWER = {"max_steps=60": ("max_steps=3", 1), "epochs=8": ("epochs=8, max_steps=3", 2)}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a hub for several users runs on Linux")

# Every file that a learner's Pythons (the kernel's too) open for writing, and where each was told No.
WATCH = """
import os, sys
log = os.open(os.path.join(os.environ["HOME"], "written"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def hook(event, arguments):
    if event == "open" and arguments[2] & WRITES and not isinstance(arguments[0], int):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if not os.path.isdir(path):  # a nameless temporary file
            os.write(log, os.fsencode(path) + b"\\n")
sys.addaudithook(hook)
"""

LEARNER = """
import json, os, resource, time
from pathlib import Path
begun = time.time()
os.umask(0o077)  # the strictest: nobody may even look at what another made
from beft_lib import fine_tune, load_model, load_task, save_adapter
from beft_lib.__main__ import main
from beft_lib.experiments import Grid, run_grid
from beft_lib.places import checkout, home, user_folder
told_no = 0
for folder in (checkout(), checkout() / "notebooks", home()):
    try:
        (folder / os.environ["USER"]).touch()
    except PermissionError:
        told_no += 1
assert main(["lessons", "--to", "lessons"]) == 0
assert main(["course", "00"]) == 0
task = load_task("sst2", n_train=32)
run = fine_tune(load_model("opt", task), task, "value", max_steps=3, folder="run", progress=False)
save_adapter(run, "adapter")
list(run_grid(Grid("opt", ["sst2"], ["head"], n_train=32, changes={"max_steps": 2}), "results.json", progress=False))
peaks = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
told = dict(told_no=told_no, begun=begun, ended=time.time(), peaks=peaks, cache=str(user_folder()), uid=os.getuid())
print(json.dumps(told))
"""


def other_user(uid: int) -> list[str]:
    """Runs a command as a user who may read everything and write only what is theirs.

    Reading is granted, because the interpreter may lie in a folder of root's; it is writing that a hub does not allow.
    """
    only = "-all,+dac_read_search"
    ids = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return ["setpriv", *ids, f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]


def prefix(uid: int) -> list[str]:
    """How a learner's command begins: as another user if we are root, whom no permission stops; else as ourselves."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root, and no setpriv (util-linux) to become somebody else")
    done = subprocess.run(
        [*other_user(uid), sys.executable, "-c", ""], capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        pytest.skip(f"root, and setpriv does not work here: {done.stderr.strip()}")
    return other_user(uid)


def course_folder(folder: Path) -> Path:
    """A copy of the checkout as a hub serves it."""
    for name in ("beft_lib", "notebooks", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    lesson = folder / "notebooks" / "00_start_here.ipynb"
    text = lesson.read_text(encoding="utf-8")
    for long, (short, times) in FEWER.items():
        assert text.count(long) == times
        text = text.replace(long, short)
    lesson.write_text(text, encoding="utf-8")
    return folder


def forbid_writing(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in (folder, *folder.rglob("*"))}


@pytest.fixture(scope="module")
def hub() -> Iterator[dict[str, Any]]:
    """Two learners' work, done at once: what each told, wrote and left, and what became of the course folder."""
    try:
        find_model("bert")
    except ModelError as missing:
        pytest.skip(f"nothing to run lesson 00 with: {missing}")
    base = Path(tempfile.mkdtemp(prefix="beft-hub-"))  # not pytest's folder, which is closed to other users
    base.chmod(0o755)
    try:
        yield learn(base)
    finally:
        for folder in (base, *(path for path in base.rglob("*") if path.is_dir() and not path.is_symlink())):
            folder.chmod(0o755)
        shutil.rmtree(base)


def learn(base: Path) -> dict[str, Any]:
    course, shared, scratch = course_folder(base / "course"), base / "shared", base / "tmp"
    (base / "watch").mkdir()
    (base / "watch" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    shared.mkdir()
    scratch.mkdir()
    scratch.chmod(0o1777)
    for folder in (course, shared):
        forbid_writing(folder)
    before = state(course), state(shared)
    own = ("HOME", "USER", "LOGNAME", "XDG_", "JUPYTER", "IPYTHON", "HF_", "BEFT_HOME", "MPL", "TORCH", "PYTHONDONT")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    clean |= {"PYTHONPATH": os.pathsep.join(map(str, (base / "watch", course))), "TMPDIR": str(scratch)}
    clean |= {"HF_HUB_OFFLINE": "1", "BEFT_HOME": str(shared), "OMP_NUM_THREADS": "1"}
    started: dict[str, subprocess.Popen[str]] = {}
    homes = {name: base / "home" / name for name in LEARNERS}
    try:
        for name, uid in LEARNERS.items():
            homes[name].mkdir(parents=True)
            begins = prefix(uid)
            if begins:
                os.chown(homes[name], uid, uid)
            started[name] = subprocess.Popen(
                [*begins, sys.executable, "-c", LEARNER], cwd=homes[name], text=True, encoding="utf-8",
                env={**clean, "HOME": str(homes[name]), "USER": name}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        said = {name: process.communicate(timeout=900) for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    for name, (out, err) in said.items():
        assert started[name].returncode == 0, f"{name}: {out[-2000:]}\n{err[-3000:]}"
    told = {name: json.loads(out.splitlines()[-1]) for name, (out, _) in said.items()}
    written = {name: set((homes[name] / "written").read_text(encoding="utf-8").splitlines()) for name in LEARNERS}
    left = [path.name for path in scratch.iterdir() if not path.name.endswith(tuple(LEARNERS))]  # torchinductor_ada
    return {
        "told": told, "said": said, "homes": homes, "written": written, "left": left, "base": base,
        "unchanged": (state(course), state(shared)) == before,
    }  # fmt: skip


def test_they_work_at_the_same_time_and_as_two_users(hub: dict[str, Any]) -> None:
    told = hub["told"].values()
    assert max(one["begun"] for one in told) < min(one["ended"] for one in told)
    if os.getuid() == 0:
        assert {one["uid"] for one in told} == set(LEARNERS.values())


def test_nothing_is_written_into_the_course(hub: dict[str, Any]) -> None:
    assert all(one["told_no"] == 3 for one in hub["told"].values()), "the folders were read-only for them"
    assert hub["unchanged"]


@pytest.mark.parametrize("name", LEARNERS)
def test_what_each_makes_is_at_home(name: str, hub: dict[str, Any]) -> None:
    home, told = hub["homes"][name], hub["told"][name]
    out, _ = hub["said"][name]
    assert "1 of 1 lessons ran" in out and str(home / "beft-course" / "index.html") in out
    for made in ("beft-course/00_start_here.ipynb", "lessons/01_the_importance_formula.ipynb", "results.json",
                 "adapter/adapter_model.safetensors", "run/run.json"):  # fmt: skip
        path = home / made
        assert path.is_file() and path.stat().st_uid == told["uid"] and os.access(path, os.W_OK), made
    assert Path(told["cache"]).is_relative_to(home), "BEFT_HOME is shared and read-only"
    assert len([path for path in hub["written"][name] if path.startswith(str(home))]) > 20, "they were watched"


def test_no_two_open_the_same_file_for_writing(hub: dict[str, Any]) -> None:
    for one, other in combinations(hub["written"].values(), 2):
        both = {path for path in one & other if "__pycache__" not in path and path.startswith(str(hub["base"]))}
        assert not both, sorted(both)[:10]
    assert any(path.startswith(str(hub["base"] / "tmp")) for path in hub["written"]["ada"]), "they share that folder"
    assert not hub["left"], "nothing is left in the temporary folder that they share"


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_fits_into_two_gigabytes(name: str, hub: dict[str, Any]) -> None:
    """The kernel's peak, and that of the process that runs it: a training of its own here, far more than a server."""
    runner, kernel = hub["told"][name]["peaks"]
    print(f"{name}: kernel {kernel / 1e9:.2f} GB, runner {runner / 1e9:.2f} GB")
    assert kernel > 0.2e9, "a kernel that had torch in it"
    assert kernel + runner < GIGABYTES * 1e9


# A kernel that is killed in the middle of a step, as when a hub runs out of memory or stops an idle server.
DIES = """
import os, signal
from beft_lib.training import BiasTrainer
step = BiasTrainer.training_step
def dies(self, *arguments, **options):
    if self.state.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments, **options)
BiasTrainer.training_step = dies
"""


def test_a_lesson_whose_kernel_died_runs_again_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 03 up to its long probe: killed at its sixth step, run again by a new kernel in the same home."""
    nbclient = pytest.importorskip("nbclient")
    from nbclient.exceptions import DeadKernelError
    from nbformat.v4 import new_code_cell

    for name, value in (("BEFT_HOME", tmp_path), ("HF_HUB_CACHE", tmp_path / "hf"), ("BEFT_PROFILE", "colab")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fill(tmp_path / "hf", "sst2")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": tempfile.mkdtemp(dir=tmp_path)}

    def run(*first: str) -> str:
        notebook = authoring.build(authoring.sources()["03"], "student")
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        last = next(number for number, cell in enumerate(code) if "max_steps=150" in cell.source)
        code[last].source = code[last].source.replace("max_steps=150", "max_steps=30")
        notebook.cells = [code[0], *map(new_code_cell, first), *code[1 : last + 1]]
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
        client.execute(env=environment)
        return "".join(output.text for output in notebook.cells[-1].outputs if output.get("name") == "stdout")

    with pytest.raises(DeadKernelError):
        run(DIES)
    told = run()
    task = load_task("sst2")
    seen = probe(load_model("bert", task), task, max_steps=30, learning_rate=5 * task.row.learning_rate, every=1)
    assert seen.steps[-1] == 30 and str(seen) in told, "what the dead kernel left changes nothing"
