"""An adapter's folder: written whole, read with every check that needs no model.

The folder is ours (``beft.json``) and, where PEFT can hold the method, PEFT's as well (``adapter_config.json``).
safetensors and JSON only: a pickle is never read, no path found in a file is followed, nothing goes to the network.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from .errors import AdapterError
from .files import write_bytes_whole

FORMAT = 3  # 2 knew a base without its head's own weights; 1 by fewer weights still, and had no digest
READ = (2, 3)
WEIGHTS, CONFIG, OWN, CARD = "adapter_model.safetensors", "adapter_config.json", "beft.json", "README.md"
PICKLE = "adapter_model.bin"
JSON_LIMIT = 4 << 20  # bytes; ours are a few kB

# What beft.json must say, and as what.
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "method": str, "terms": list, "task": str, "labels": list, "seed": int, "metrics": dict, "base": dict,
    "modules_to_save": list, "file": dict, "tensors": dict, "versions": dict, "digest": str,
}  # fmt: skip
_BASE_FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str, "hub": str, "family": str, "layers": int, "width": int, "sample": list,
}  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """What a folder holds: ``own`` is beft.json ({} if PEFT wrote it), ``config`` PEFT's ({} if PEFT cannot)."""

    folder: Path
    tensors: Mapping[str, Tensor]
    own: Mapping[str, Any]
    config: Mapping[str, Any]


def read_folder(folder: str | Path) -> Contents:
    """Read and check a folder. Raises AdapterError: no adapter, links, pickle, truncated, altered, not finite."""
    folder = _present(Path(folder))
    own, config = _read_json(folder / OWN), _read_json(folder / CONFIG)
    if not own and not config:
        raise AdapterError(
            f"{folder} is no adapter: it holds neither {OWN} nor {CONFIG}. save_adapter(run, folder) makes one."
        )
    if config:
        _check_names(config, folder / CONFIG)
    if config and config.get("peft_type") != "BEFT":
        raise AdapterError(
            f"{folder / CONFIG}: peft_type is {config.get('peft_type')!r}; expected 'BEFT'. "
            "Load adapters of other kinds with peft.PeftModel.from_pretrained."
        )
    if config and not own and config.get("target_modules") is None:
        raise AdapterError(
            f"{folder / CONFIG}: target_modules is null; expected a list of modules' names, or a pattern, as PEFT's "
            "save_pretrained writes it."
        )
    if own:
        _check_own(own, folder / OWN)
    data = _read_weights(folder)
    if own and hashlib.sha256(data).hexdigest() != own["file"].get("sha256"):
        raise AdapterError(
            f"{folder / WEIGHTS}: {len(data):,} bytes that are not those saved ({own['file'].get('bytes')} bytes; the "
            f"SHA-256 in {OWN} differs). The file was truncated or altered: fetch it again."
        )
    return Contents(folder, _tensors(data, folder / WEIGHTS), own, config)


def write_folder(folder: str | Path, files: Mapping[str, bytes]) -> Path:
    """Write an adapter's files so that ``folder`` is, at every moment, the old adapter or the new one.

    Only an adapter (or an empty folder) is replaced; AdapterError for anything else.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 – Path.resolve would follow a link at the end
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        for name, data in files.items():
            write_bytes_whole(new / name, data)
        mask = os.umask(0)
        os.umask(mask)
        new.chmod(0o777 & ~mask)  # mkdtemp's 0700 would hide a shared adapter from a class
        _take_place(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _take_place(new: Path, folder: Path) -> None:
    """Put ``new`` where ``folder`` is: in one step where the system can, else by a name that ``_present`` knows."""
    if not folder.exists():
        new.rename(folder)
        shutil.rmtree(_aside(folder), ignore_errors=True)
    elif not _exchange(new, folder):  # after an exchange, ``new`` holds the old adapter, which the caller removes
        shutil.rmtree(_aside(folder), ignore_errors=True)
        folder.rename(_aside(folder))
        try:
            new.rename(folder)
        except OSError:
            _aside(folder).rename(folder)
            raise
        shutil.rmtree(_aside(folder), ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step (Linux, macOS). False where the system or the file system has no such call."""
    swap, here = 2, -100 if sys.platform == "linux" else -2  # RENAME_EXCHANGE, RENAME_SWAP; AT_FDCWD
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform)
    if name is None:
        return False
    with contextlib.suppress(OSError, AttributeError):
        call = getattr(ctypes.CDLL(None), name)
        return call(here, os.fsencode(one), here, os.fsencode(other), ctypes.c_uint(swap)) == 0
    return False


def _aside(folder: Path) -> Path:
    """Where the old adapter waits for a moment, on systems that cannot exchange two folders."""
    return folder.with_name(f".{folder.name}.old")


def _present(folder: Path) -> Path:
    """The folder; or the old adapter put aside, when a kill fell between the two renames."""
    if folder.is_dir():
        return folder
    if folder.exists():
        raise AdapterError(
            f"{folder} is a file; expected the folder that save_adapter (or PEFT's save_pretrained) wrote."
        )
    if _aside(folder).is_dir():
        return _aside(folder)
    raise AdapterError(
        f"No folder {folder}. save_adapter(run, folder) makes one; an adapter on the hub has to be downloaded first."
    )


def check_replaceable(folder: Path) -> None:
    """Whether an adapter may be written there. Raises AdapterError, best asked before hours of training."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise AdapterError(
            f"{folder} is {'a link' if folder.is_symlink() else 'a file'}; expected a folder to write or replace."
        )
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    others = sorted(held - {WEIGHTS, CONFIG, OWN, CARD})
    if others or (held and not held & {CONFIG, OWN}):
        raise AdapterError(
            f"{folder} holds {', '.join(others[:5]) or ', '.join(sorted(held))}, which saving would delete; only a "
            "folder that is an adapter and nothing else is replaced. Choose another folder, or empty this one."
        )


def _sweep(folder: Path) -> None:
    """Remove what killed saves of this folder left behind, if it is older than an hour: another save may be running."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left, ignore_errors=True)


def _no_link(path: Path) -> None:
    if path.is_symlink():
        raise AdapterError(
            f"{path} is a link to {path.readlink()}; expected a plain file, so that nothing outside the adapter is "
            "read. Copy the folder with its links resolved (cp -rL), or download it with huggingface_hub's local_dir=."
        )


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} when there is no such file."""
    _no_link(path)
    if not path.exists():
        return {}
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise ValueError(f"{path.stat().st_size:,} bytes, more than {JSON_LIMIT:,}")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} cannot be read as JSON ({error}). Fetch the adapter again.") from error
    if not isinstance(found, dict) or not found:
        raise AdapterError(
            f"{path} holds {type(found).__name__} {str(found)[:40]!r}; expected a JSON object with fields."
        )
    return found


def _check_own(own: Mapping[str, Any], path: Path) -> None:
    """beft.json has a format we know, its fields, and no path where a name should be."""
    if own.get("format") not in READ:
        raise AdapterError(
            f"{path}: format {own.get('format')!r}; this beft_lib reads {READ[0]} to {READ[-1]}. Update it (pip "
            "install -U beft-lib); an older adapter has to be saved anew."
        )
    base = own["base"] if isinstance(own.get("base"), dict) else {}
    of_base = _BASE_FIELDS if own["format"] < 3 else {**_BASE_FIELDS, "head": dict}
    for place, fields in ((own, _FIELDS), (base, of_base)):
        for name, kind in fields.items():
            if not isinstance(place.get(name), kind) or isinstance(place.get(name), bool):
                raise AdapterError(
                    f"{path}: {name!r} is {place.get(name)!r}; expected {kind}. The file was altered: fetch it again."
                )
    labels = own["labels"]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise AdapterError(f"{path}: labels are {labels!r}; expected names, none twice. Fetch it again.")
    _check_names(own, path)
    named = own["file"].get("name")
    if named != WEIGHTS:
        raise AdapterError(f"{path}: the weights are said to be in {named!r}; expected {WEIGHTS!r} and no other path.")
    for name in ("name", "hub"):
        if is_path(base[name]):
            raise AdapterError(
                f"{path}: base {name} is {base[name]!r}; expected a name or a hub id owner/name, not a path."
            )
    if own["digest"] != digest(own):
        raise AdapterError(f"{path} is not as it was saved (its digest differs): it was altered. Fetch it again.")


def digest(own: Mapping[str, Any]) -> str:
    """SHA-256 of what beft.json says, but for this. It tells of accidents; who forges a file can forge it as well."""
    told = {name: value for name, value in own.items() if name != "digest"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8")).hexdigest()


def _check_names(found: Mapping[str, Any], path: Path) -> None:
    """Modules are named by lists of dotted names (PEFT's targets by a pattern, too), never by paths."""
    for field in ("modules_to_save", "target_modules"):
        names = found.get(field)
        if names is None or (isinstance(names, str) and field == "target_modules"):
            continue
        if not isinstance(names, list):
            raise AdapterError(f"{path}: {field} is {names!r}; expected a list of modules' names.")
        for name in names:
            if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)*", name):
                raise AdapterError(
                    f"{path}: {name!r} in {field} is not a module's name; expected one like 'classifier'."
                )


def is_path(name: str) -> bool:
    """Whether a name could lead somewhere: absolute, with .. or \\, from a home, or deeper than owner/name."""
    parts = name.split("/")
    return bool(re.search(r"\\|^[~/]|^[A-Za-z]:", name)) or ".." in parts or "." in parts or len(parts) > 2


def _read_weights(folder: Path) -> bytes:
    path = folder / WEIGHTS
    if (folder / PICKLE).exists() or (folder / PICKLE).is_symlink():
        raise AdapterError(
            f"{folder / PICKLE} is a pickle, which can run any code when read; it was not opened. Ask for "
            f"{WEIGHTS}, or write it with PEFT where you trust it: save_pretrained(folder, safe_serialization=True)."
        )
    _no_link(path)
    if not path.is_file():
        raise AdapterError(f"{folder} has no {WEIGHTS}: the adapter is not whole. Fetch it again.")
    return path.read_bytes()  # read once: what is checked is what is used


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        # Sorted: safetensors gives them in an order of its own, drawn anew each time.
        tensors = dict(sorted(load(data).items()))
    except (SafetensorError, ValueError, KeyError) as error:
        raise AdapterError(
            f"{path}: {len(data):,} bytes that are no whole safetensors file ({error}). It was truncated or "
            "altered: fetch it again."
        ) from error
    for key, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise AdapterError(f"{path}: {key} holds {tensor.dtype}; expected floating point numbers.")
        if not bool(torch.isfinite(tensor.float()).all()):
            raise AdapterError(
                f"{path}: {key} holds NaN or infinity; expected finite numbers. The run diverged, or the file is "
                "damaged: tune again, or fetch it again."
            )
    return tensors
