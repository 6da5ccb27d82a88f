"""Files written whole, and their fingerprints. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_bytes_whole(path: str | Path, data: bytes) -> Path:
    """Write ``data`` so that ``path`` holds either all of it or what it held before, whatever interrupts us.

    The bytes go to a temporary file in the same folder (made if missing), which then takes the name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # without it a power cut can leave the name on an empty file
        Path(temporary).chmod(_mode(path))  # mkstemp's 0600 would hide a shared file from a class
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def write_text_whole(path: str | Path, text: str) -> Path:
    """``write_bytes_whole`` for text: UTF-8, and the line ends as they are in ``text`` on every system."""
    return write_bytes_whole(path, text.encode("utf-8"))


def sha256(path: str | Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(found: Any) -> str:
    """SHA-256 of what JSON can hold, 64 hexadecimal digits; of anything else in it, what it says of itself."""
    return hashlib.sha256(json.dumps(found, default=str).encode("ascii")).hexdigest()


def _mode(path: Path) -> int:
    """The permissions ``path`` has, or those that a new file would get."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
