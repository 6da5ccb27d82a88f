"""Where things are: what ships, is fetched, is written; and whether the hub answers. Standard library only."""

from __future__ import annotations

import functools
import getpass
import os
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_YES = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its own switches


def checkout() -> Path | None:
    """The repository's folder when the library runs from one (editable install), else None (installed wheel)."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "data").is_dir() else None


def data_folder() -> Path:
    """What ships: task data, small models, the paper's numbers, results. In the checkout, or inside the wheel."""
    root = checkout()
    return root / "data" if root else _PACKAGE / "_data"


def lessons_folder() -> Path:
    """The lessons as they ship. In the checkout, or inside the wheel."""
    root = checkout()
    return root / "notebooks" if root else _PACKAGE / "_notebooks"


def lesson_files(folder: Path, suffix: str) -> list[Path]:
    """The lessons in a folder, in their order: NN_name, then appendix_name."""
    return [path for pattern in ("[0-9][0-9]_*", "appendix_*") for path in sorted(folder.glob(pattern + suffix))]


def lesson_number(path: Path) -> str:
    """ "03" of 03_training_a_probe.py; "appendix" of appendix_pocket_world.ipynb."""
    return path.name.split("_")[0]


def lesson_prefix(number: str) -> str:
    """What the names of a lesson's cells and exercises begin with: "l03"; "a" for the appendix."""
    return f"l{number}" if number.isdigit() else number[0]


def home() -> Path:
    """``BEFT_HOME`` (may be read-only, shared by a class), or this user's cache folder. Not created."""
    named = os.environ.get("BEFT_HOME")
    return Path(named).expanduser() if named else _user_cache()


def user_folder(*parts: str) -> Path:
    """A folder that can be written to, created: in ``home()``, else in the user's cache, else a temporary one."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run us as a number without a name
        user = "user"
    for root in (home(), _user_cache(), Path(tempfile.gettempdir()) / f"beft-{user}"):
        folder = root.joinpath(*parts)
        if writable(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix="beft-"))


def writable(folder: Path) -> bool:
    """Whether a file can be made there. Tried, because permission bits do not tell it on Windows or network drives."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def hub_caches() -> tuple[Path, ...]:
    """Where fetched models may lie, in order: ``home()/hub``, then the hub's own cache."""
    own = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return (home() / "hub", Path(own).expanduser() if own else _hf_home() / "hub")


def hub_cache() -> Path | None:
    """The ``cache_dir`` for a download: in ``BEFT_HOME`` if set and writable, else None (the hub's own cache)."""
    return _in_home("hub")


def datasets_cache() -> Path | None:
    """The ``cache_dir`` for ``datasets``: in ``BEFT_HOME``; the user's own folder if that is read-only; else None."""
    if not os.environ.get("BEFT_HOME"):
        return None
    return _in_home("datasets") or user_folder("datasets")


def offline() -> bool:
    """True when the user has told the hub's libraries not to ask."""
    return any(os.environ.get(name, "").upper() in _YES for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def hub_answers(timeout: float = 2.0) -> bool:
    """Whether the hub answers within ``timeout`` seconds; asked once a process, never when offline is switched on."""
    if offline():
        return False
    return _ask((os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/"), timeout)


@functools.cache
def _ask(endpoint: str, timeout: float) -> bool:
    answer: list[bool] = []

    def ask() -> None:
        # a page that only the hub has: the log-in page of a hotel's network says 200 to everything, but in HTML
        request = urllib.request.Request(f"{endpoint}/api/models/sentence-transformers/all-MiniLM-L6-v2", method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                answer.append(reply.status == 200 and "json" in reply.headers.get("Content-Type", ""))
        except Exception:  # no route, no name, refused, a proxy's error page: all the same to us
            answer.append(False)

    # A thread, because urllib's limit covers neither the look-up of the name nor the sum of the steps.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return bool(answer and answer[0])


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "beft"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "beft"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beft"


def _hf_home() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HF_HOME") or cache / "huggingface").expanduser()


def _in_home(name: str) -> Path | None:
    if not os.environ.get("BEFT_HOME"):
        return None
    folder = home() / name
    return folder if writable(folder) else None
