"""Files are whole or as they were."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from beft_lib.files import sha256, write_bytes_whole, write_text_whole


def test_text_is_utf8_and_keeps_its_line_ends(tmp_path: Path) -> None:
    path = write_text_whole(tmp_path / "new" / "a.txt", "é – ×\r\nb\n")
    assert path.read_bytes() == "é – ×\r\nb\n".encode()


@pytest.mark.parametrize("broken", [(Path, "replace"), (os, "fsync")])
def test_an_interrupted_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: tuple[object, str]
) -> None:
    path = write_text_whole(tmp_path / "a.txt", "old")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*broken, stop)
    with pytest.raises(KeyboardInterrupt):
        write_text_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_are_those_of_an_ordinary_new_file_or_kept(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    path = write_bytes_whole(tmp_path / "whole", b"1")
    assert path.stat().st_mode == ordinary.stat().st_mode
    path.chmod(0o640)
    assert write_bytes_whole(path, b"2").stat().st_mode & 0o777 == 0o640


def test_sha256_of_a_file_longer_than_a_block(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 17)
    assert sha256(write_bytes_whole(tmp_path / "a", data)) == hashlib.sha256(data).hexdigest()
