"""The verbs course, test, lab and lessons."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from .errors import BeftError, UnknownName
from .places import checkout, lesson_number, lessons_folder, writable
from .runtime import choose_profile, find_model
from .setup_env import child_environment


def add_course(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lessons", nargs="*", metavar="NN", help="only these, by number: 01 03 appendix (default: all)")
    parser.add_argument("--to", type=Path, help="where the copies go (default: build/course, else ~/beft-course)")
    parser.add_argument("--record", action="store_true", help="keep each lesson's seconds in data/results (leave the "
                        "machine alone meanwhile)")  # fmt: skip


def run_course(args: argparse.Namespace) -> int:
    from . import lesson_table
    from .course import lessons, run_lessons

    if args.record:
        lesson_table.must_be_checkout()
    paths = lessons()
    known = [lesson_number(path) for path in paths]
    for number in args.lessons:
        if number not in known:
            raise UnknownName("lesson", number, known)
    paths = [path for path in paths if not args.lessons or lesson_number(path) in args.lessons]
    root = checkout() or Path.cwd()
    target = (args.to or _own(root / "build" / "course", "beft-course")).resolve()
    os.environ.update(_defaults())
    print(_where_we_are(), flush=True)
    begun = time.monotonic()
    runs = run_lessons(paths, target, report=lambda line: print(line, flush=True))
    failed = sum(bool(run.problem) for run in runs)
    print(f"{len(runs) - failed} of {len(runs)} lessons ran, in {time.monotonic() - begun:.0f} s.")
    if args.record:
        import torch

        recorded = lesson_table.record(runs, choose_profile().profile.name, torch.get_num_threads())
        print(f"Recorded:  {recorded}")
    print(f"Read them: {target / 'index.html'}")
    lab = "make lab" if checkout() and os.name != "nt" else "python -m beft_lib lab"
    print(f"Do them:   {lab}  (opens JupyterLab)")
    return 1 if failed else 0


def add_test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="-- OPTIONS", help="passed on to pytest")


def run_test(args: argparse.Namespace) -> int:
    """Tests and lessons in one pytest, so that the last line it prints sums up everything."""
    root = checkout()
    if root is None:
        raise BeftError("The tests are in the repository, not in the installed package: clone it and run `make test`.")
    options = args.options[1:] if args.options[:1] == ["--"] else args.options
    names_files = any(not option.startswith("-") and Path(option.split("::")[0]).exists() for option in options)
    folders = [] if names_files else [str(path) for path in (root / "notebooks", root / "tests") if path.is_dir()]
    # A cell may differ in what it prints unless it is tagged nbval-check-output; the kernel is this very Python.
    # The solutions differ from the lessons in the exercises' cells alone, which tests/test_checks.py takes from the
    # notebooks and runs, with stand-ins for what the other cells train, in seconds.
    solutions = Path("notebooks", "solutions")
    nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600", f"--ignore={solutions}"]
    # One worker a core, a file to a worker (the cells of a lesson need each other), the long lessons first.
    workers = min(4, os.cpu_count() or 1)
    many = workers > 1 and not names_files
    spread = ["-n", str(workers), "--dist=loadfile", "--no-loadscope-reorder"] if many else []
    command = [sys.executable, "-m", "pytest", *nbval, *spread]
    os.environ.setdefault("BEFT_PROFILE", "pocket")  # the quickest; `course` runs the lessons in this machine's own
    environment = {**child_environment(), **_defaults("1" if spread else "2"), "HF_HUB_OFFLINE": "1"}
    print(_where_we_are(), flush=True)
    return subprocess.run([*command, *folders, *options], cwd=root, env=environment, check=False).returncode


def add_lab(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="-- OPTIONS", help="passed on to JupyterLab")


def run_lab(args: argparse.Namespace) -> int:
    """JupyterLab on localhost, its token on. Lessons that cannot be written to (a wheel's, a hub's) are copied out."""
    from .course import copy_lessons, lessons

    folder = lessons_folder()
    if checkout() is None or not writable(folder):
        folder = _own(Path.cwd() / "beft-lessons", "beft-lessons")
        copy_lessons(folder)
    options = args.options[1:] if args.options[:1] == ["--"] else args.options
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", str(lessons(folder)[0]), *options]
    return subprocess.run(command, env={**child_environment(), **_defaults()}, check=False).returncode


def add_lessons(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", type=Path, metavar="DIR", help="copy them to this folder, made if missing, instead")
    parser.add_argument(
        "--counts", action="store_true", help="what their authors count: words, cells, minutes by profile"
    )


def run_lessons(args: argparse.Namespace) -> int:
    """The table of lessons, or a copy of them."""
    from .course import copy_lessons
    from .lesson_table import overview, table

    if args.to is None:
        print(table() if args.counts else overview())
        return 0
    copied = copy_lessons(args.to)
    print(f"{len(copied)} files copied to {args.to}; what was there already is as it was.")
    return 0


def _defaults(threads: str = "2") -> dict[str, str]:
    """Two threads where nobody said otherwise: what times are measured with, and kind to a shared machine."""
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads), "JUPYTER_PREFER_ENV_PATH": "1"}


def _own(folder: Path, name: str) -> Path:
    """The folder, or, where it cannot be written to, one of that name in the learner's home."""
    return folder if writable(folder) else Path.home() / name


def _where_we_are() -> str:
    choice = choose_profile()
    told = f"profile {choice.profile.name}: {choice.reason}"
    try:
        find_model("bert")
    except BeftError as error:
        told += f"\nwarning: {error}"
    return told
