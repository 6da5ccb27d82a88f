"""Folders on every system, and asking the hub."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from beft_lib import places


def test_the_checkout_finds_its_own_folders() -> None:
    root = places.checkout()
    if root is None:
        pytest.skip("runs from an installed wheel")
    assert places.data_folder() == root / "data" and places.lessons_folder() == root / "notebooks"


def test_a_wheel_finds_what_it_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "beft_lib"
    monkeypatch.setattr(places, "_PACKAGE", package)
    assert places.checkout() is None
    assert places.data_folder() == package / "_data" and places.lessons_folder() == package / "_notebooks"


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", ("beft",)),
        ("win32", "LOCALAPPDATA", ("beft",)),
        ("darwin", "HOME", ("Library", "Caches", "beft")),
    ],
)
def test_home_is_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.delenv("BEFT_HOME")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv(variable, str(tmp_path))
    assert places.home() == tmp_path.joinpath(*expected)


def test_outputs_go_home_or_to_the_user_if_home_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_user_cache", lambda: tmp_path / "own")
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    assert places.user_folder("a", "b") == tmp_path / "home" / "a" / "b"
    assert places.hub_cache() == tmp_path / "home" / "hub"
    _forbid(monkeypatch, tmp_path / "home")
    assert places.user_folder("a", "b") == tmp_path / "own" / "a" / "b"
    assert (tmp_path / "own" / "a" / "b").is_dir()
    assert places.hub_cache() is None, "nothing may be downloaded into a shared, read-only folder"
    assert places.datasets_cache() == tmp_path / "own" / "datasets"
    assert places.hub_caches()[0] == tmp_path / "home" / "hub", "but it is read from"


def test_outputs_go_to_a_temporary_folder_when_nothing_else_is_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_user_cache", lambda: tmp_path / "own")
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    _forbid(monkeypatch, tmp_path / "home", tmp_path / "own")
    assert places.user_folder("runs").is_relative_to(tmp_path / "tmp")


def test_a_user_without_a_name_gets_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found: 12345")

    monkeypatch.setattr(places.getpass, "getuser", nameless)
    monkeypatch.setenv("BEFT_HOME", str(tmp_path))
    assert places.user_folder("x") == tmp_path / "x"


def _forbid(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Read-only folders, for root too, whom permission bits do not stop."""
    writable = places.writable
    monkeypatch.setattr(
        places, "writable", lambda folder: not any(folder.is_relative_to(f) for f in folders) and writable(folder)
    )


class _Hub(BaseHTTPRequestHandler):
    kind, wait = "application/json", 0.0

    def do_HEAD(self) -> None:
        time.sleep(self.wait)
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    server = HTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/")
    places._ask.cache_clear()
    yield server.RequestHandlerClass  # type: ignore[misc]
    places._ask.cache_clear()
    server.shutdown()
    server.server_close()


def test_the_hub_answers(hub: type[_Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.hub_answers()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not places.hub_answers(), "never asked when the user has said offline"


def test_a_log_in_page_is_no_hub(hub: type[_Hub]) -> None:
    hub.kind = "text/html"
    assert not places.hub_answers()


def test_a_slow_hub_costs_no_more_than_the_limit_and_is_asked_once(hub: type[_Hub]) -> None:
    hub.wait = 3.0
    begun = time.monotonic()
    assert not places.hub_answers(timeout=0.3)
    assert not places.hub_answers(timeout=0.3)
    assert time.monotonic() - begun < 1.0
