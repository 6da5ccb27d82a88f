"""Fetch once all that a profile needs, so that a class can work from it with no connection.

Into ``BEFT_HOME/hub``, in the layout of huggingface_hub's own cache; ``runtime`` reads it there, and needs no leave to
write. Safetensors only; a repository that has none gives its ``pytorch_model*.bin``, which transformers reads with
torch's weights-only unpickler.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from . import runtime
from .errors import BeftError, UnknownName
from .places import home
from .task_table import REVISIONS

_TEXTS = ("*.json", "*.txt", "*.model")  # configuration and tokenizer
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # the first kind that is there


@dataclass(frozen=True)
class Wanted:
    """Files of one repository, at one revision: ``files`` maps each path to its size in bytes."""

    what: str
    kind: str
    hub: str
    revision: str | None
    files: dict[str, int]

    @property
    def size(self) -> int:
        return sum(self.files.values())

    def __str__(self) -> str:
        return f"{self.what:<28} {self.size / 1e6:>9,.1f} MB   {self.hub}"


def plan(profile: runtime.Profile, with_data: bool = False) -> list[Wanted]:
    """What of a profile is not on this machine yet, with sizes.

    ``with_data``: the public data sets too, where the profile's own ship. BeftError when the hub does not answer.
    """
    wanted = []
    for name in (*profile.encoders, profile.decoder):
        row = runtime.MODELS[name]
        if not row.hub or _is_here(name):
            continue
        files = _model_files(_ask("model_info", row.hub, revision=row.revision))
        wanted.append(Wanted(name, "model", row.hub, row.revision, files))
    if profile.data == "hub" or with_data:
        from .tasks import TASKS

        for task in TASKS.values():
            if not runtime.hub_data(task.hub, task.subset):
                wanted.append(_data_files(task.name, task.hub, task.subset))
    return wanted


def fetch(wanted: Sequence[Wanted], report: Callable[[str], object] = print) -> None:
    """Download into ``home()/hub``, each file with a bar. Interrupted: call again; nothing whole is fetched twice."""
    target = home() / "hub"
    check_room(target, sum(one.size for one in wanted))
    from huggingface_hub import snapshot_download

    for number, one in enumerate(wanted, start=1):
        report(f"[{number}/{len(wanted)}] {one}")
        try:
            snapshot_download(
                one.hub, repo_type=one.kind, revision=one.revision, allow_patterns=list(one.files), cache_dir=target
            )
        except Exception as error:
            raise _broken_off(one.hub, error) from error
        if one.kind == "model" and not _is_here(one.what):
            runtime.find_model(one.what)  # raises what is wrong with it, its fingerprint for one
            raise BeftError(f"{one.hub} was fetched into {target}, but is no whole model; delete it there, try again.")


def check_room(target: Path, size: int) -> None:
    """BeftError when ``target`` cannot be written to, or its disk has no room for ``size`` bytes."""
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BeftError(f"{target} cannot be made ({error}). Set BEFT_HOME to a folder you may write to.") from error
    free = shutil.disk_usage(target).free
    if free < size * 1.05:  # a little more, for what the file system itself needs
        raise BeftError(
            f"{target} has {free / 1e9:.1f} GB free, and {size / 1e9:.1f} GB are to come. "
            "Make room, or set BEFT_HOME to a folder on another disk."
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    known = ", ".join(runtime.PROFILES)
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help=f"{known} (default: this machine's)")
    parser.add_argument("--data", action="store_true", help="also the public data sets, where the profile's own ship")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched, and how much it is")


def run(args: argparse.Namespace) -> int:
    if args.profile and args.profile not in runtime.PROFILES:
        raise UnknownName("profile", args.profile, runtime.PROFILES)
    profile = runtime.PROFILES[args.profile] if args.profile else runtime.choose_profile().profile
    wanted = plan(profile, args.data)
    for one in wanted:
        print(one)
    total = sum(one.size for one in wanted) / 1e6
    print(f"{'to fetch for ' + profile.name:<28} {total:>9,.1f} MB   into {home() / 'hub'}")
    if wanted and not args.dry_run:
        fetch(wanted, lambda line: print(line, flush=True))
    if not args.dry_run:
        print(f"All there. For a class: BEFT_HOME={home()} (may be read-only).")
    return 0


def _is_here(name: str) -> bool:
    try:
        return runtime.find_model(name).channel != "hub"
    except BeftError:
        return False


def _model_files(info: Any) -> dict[str, int]:
    """Configuration, tokenizer and one kind of weights, from the top folder only (below it are ONNX and the like)."""
    sizes = {file.rfilename: file.size or 0 for file in info.siblings if "/" not in file.rfilename}
    kinds = ({name for name in sizes if fnmatch(name, pattern)} for pattern in _WEIGHTS)
    weights = next((kind for kind in kinds if kind), set())
    chosen = {name for name in sizes if any(fnmatch(name, pattern) for pattern in _TEXTS)} | weights
    return {name: sizes[name] for name in sorted(chosen)}


def _data_files(name: str, hub: str, subset: str) -> Wanted:
    """The parquet files of a subset: on main, or where the hub keeps the ones it made from other formats."""
    for revision in REVISIONS:
        info = _ask("dataset_info", hub, revision=revision)
        files = {
            file.rfilename: file.size or 0
            for file in info.siblings
            if file.rfilename.startswith(f"{subset}/") and file.rfilename.endswith(".parquet")
        }
        if files:
            return Wanted(name, "dataset", hub, revision, files)
    raise BeftError(f"{hub} has no parquet files for {subset!r}, on main or converted; {name} cannot be fetched.")


def _ask(what: str, hub: str, **options: Any) -> Any:
    from huggingface_hub import HfApi

    try:
        return getattr(HfApi(), what)(hub, files_metadata=True, **options)
    except Exception as error:
        raise _broken_off(hub, error) from error


def _broken_off(hub: str, error: Exception) -> BeftError:
    """Every way in which a connection fails (the hub's, httpx's, the system's own errors) as one message."""
    first = (str(error).splitlines() or [""])[0]
    return BeftError(
        f"The hub does not give {hub} ({type(error).__name__}: {first}). Check the connection (HF_HUB_OFFLINE must not "
        "be set) and run it again: what has been fetched is kept."
    )
