"""What works here and what does not: one line each, OK or FAIL with the fix. Runs in a bare Python as well.

In a notebook, ``from beft_lib.doctor import diagnose; diagnose()`` sees that kernel: packages that were installed
after they were imported, and so need a restart.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import hardware, runtime
from .errors import BeftError, ModelError

_LOW_MEMORY = 1.5e9  # bytes free: MiniLM with its optimizer and a batch of 16 needs about one
_NEEDED_FROM = {"bert": "00", "roberta": "05", "opt": "06"}  # the first lesson that loads such a model
_LOADED = ("torch", "transformers", "datasets", "accelerate", "evaluate", "sklearn", "matplotlib")


@dataclass(frozen=True)
class Finding:
    """One line. ``fix`` is "" when all is well."""

    what: str
    told: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{'FAIL' if self.fix else 'OK':<5} {self.what:<22} {self.told}"
        return f"{line}\n{'':<28} fix: {self.fix}" if self.fix else line


class Report(list[Finding]):
    """All lines; shown one below the other."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self))

    @property
    def well(self) -> bool:
        return not any(finding.fix for finding in self)


def diagnose(report: Callable[[Finding], object] = lambda finding: None) -> Report:
    """Look at everything, in the order in which one thing needs the other; ``report`` gets each line as it comes."""
    found = Report()
    for look in (_python, _packages, _machine, _profile, _models, _data, _folders, _hub):
        for finding in look():
            found.append(finding)
            report(finding)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(args: argparse.Namespace) -> int:
    del args
    return 0 if diagnose(lambda finding: print(finding, flush=True)).well else 1


def _python() -> Iterator[Finding]:
    version = sys.version.split()[0]
    told = f"{version} at {sys.executable}"
    if sys.maxsize < 2**32:
        yield Finding("Python", f"{told}, 32 bit", "install a 64-bit Python: torch has no other")
    elif not (3, 10) <= sys.version_info[:2] <= (3, 13):
        yield Finding("Python", told, "use Python 3.10 to 3.13: for others the lock has no versions")
    else:
        yield Finding("Python", told)


def _packages() -> Iterator[Finding]:
    """Installed against what the package asks for, then against what is loaded in this process."""
    try:
        asked = importlib.metadata.requires("beft-lib") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "beft-lib is not installed in this Python", "python -m beft_lib course (makes .venv)")
        return
    problems, newest = [], []
    for line in asked:
        wanted = re.match(r"(?P<name>[\w.-]+)>=(?P<version>[\d.]+)(?!.*extra == .(?:test|dev|book))", line)
        if not wanted:
            continue
        name, least = wanted["name"], wanted["version"]
        try:
            there = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{name} is missing")
            newest.append(f"'{name}>={least}'")
            continue
        if _numbers(there) < _numbers(least):
            problems.append(f"{name} {there} is older than {least}")
            newest.append(f"'{name}>={least}'")
    if problems:
        yield Finding("packages", "; ".join(problems), f"pip install {' '.join(newest)}")
    else:
        yield Finding("packages", f"{len(asked)} requirements met")
    yield from _loaded()


def _loaded() -> Iterator[Finding]:
    for name in _LOADED:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken binary raises whatever it likes
            told = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            yield Finding(f"import {name}", told, f"pip install --force-reinstall --no-deps {name}, then restart")
    differing = hardware.loaded_against_installed()
    stale = [f"{name} {there} is installed, {used} is loaded" for name, there, used in differing]
    if stale:
        yield Finding("loaded packages", "; ".join(stale), "restart the kernel (Kernel > Restart)")
    elif "torch" in sys.modules and "transformers" in sys.modules:
        versions = (f"{name} {sys.modules[name].__version__}" for name in ("torch", "transformers"))
        yield Finding("loaded packages", f"{', '.join(versions)}: as installed")


def _machine() -> Iterator[Finding]:
    try:
        cores = f"{hardware.threads()} core{'s' if hardware.threads() > 1 else ''}"
        yield Finding("device", f"{hardware.device_name()}, {cores} to use")
        base, why = hardware.base_dtype()  # as load_model does
        named = str(base).removeprefix("torch.")
        yield Finding("dtype", f"{named} for a language model's frozen base ({why}); float32 for all else")
    except ImportError:
        yield Finding("device", "not known without torch", "python -m beft_lib course (makes .venv)")
    except BeftError as error:
        yield Finding("device", str(error), "unset BEFT_DEVICE")
    facts = hardware.memory()
    free, total = facts["ram_free"], facts["ram_total"]
    if free is None or total is None:
        yield Finding("memory", "not known (psutil is missing)")
    else:
        told = f"{_size(free)} free of {_size(total)}"
        if facts["gpu_total"]:
            told += f"; GPU: {_size(facts['gpu_free'] or 0)} free of {_size(facts['gpu_total'])}"
        yield Finding("memory", told, "" if free > _LOW_MEMORY else "close other programs, or set BEFT_PROFILE=pocket")


def _profile() -> Iterator[Finding]:
    try:
        choice = runtime.choose_profile()
    except BeftError as error:
        yield Finding("profile", str(error), f"unset BEFT_PROFILE, or set it to one of {', '.join(runtime.PROFILES)}")
        return
    yield Finding("profile", f"{choice.profile.name}: {choice.reason}; a lesson takes {choice.profile.lesson_takes}")


def _models() -> Iterator[Finding]:
    latest = max((path.name[:2] for path in runtime.lessons_folder().glob("[0-9][0-9]_*.ipynb")), default="99")
    for role, lesson in _NEEDED_FROM.items():
        try:
            source = runtime.find_model(role)
        except ModelError as error:
            said, _, fix = str(error).partition(". ")
            if latest < lesson:
                yield Finding(f"model {role!r}", f"{said}; needed from lesson {lesson} on, which is not here yet")
            else:
                yield Finding(f"model {role!r}", said, fix or "python -m beft_lib prefetch")
        except BeftError:
            return  # the profile itself is unknown, which has been said
        else:
            yield Finding(f"model {role!r}", f"{source.name}: {source.note}")


def _data() -> Iterator[Finding]:
    try:
        kind = runtime.choose_profile().profile.data
    except BeftError:
        return
    if kind != "hub":
        folder = runtime.data_folder() / kind
        names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        fix = "" if names else "the course's data folder is not whole: install or clone it again"
        yield Finding(f"data ({kind})", f"{', '.join(names) or 'nothing'} in {folder}", fix)
        return
    from .tasks import TASKS

    for row in TASKS.values():
        told = "fetched before" if runtime.hub_data(row.hub, row.subset) else f"the hub ({row.hub}, {row.subset})"
        lost = told.startswith("the hub") and not runtime.hub_answers()
        yield Finding(f"data {row.name}", told, "python -m beft_lib prefetch, with a connection" if lost else "")


def _folders() -> Iterator[Finding]:
    """Where results go."""
    folder, home = runtime.user_folder(), runtime.home()
    told = str(folder) if folder == home else f"{folder} (BEFT_HOME {home} is read-only, and only read)"
    yield Finding("writable folder", told)


def _hub() -> Iterator[Finding]:
    if runtime.hub_answers():
        yield Finding("hub", "answers")
        return
    try:
        needed = runtime.choose_profile().profile.data == "hub"
    except BeftError:
        needed = False
    told = "does not answer" if needed else "does not answer; nothing here needs it"
    yield Finding("hub", told, "check the connection, or unset HF_HUB_OFFLINE" if needed else "")


def _numbers(version: str) -> tuple[int, ...]:
    """The release as numbers: 2.13.0+cpu is (2, 13, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
