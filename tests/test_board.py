"""The class board: what goes in comes out, what is broken is named and left alone, and the picture says it all."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from beft_lib import __main__ as command_line
from beft_lib import board
from beft_lib.display import descriptions
from beft_lib.errors import DataError

ADA = board.Entry("Ada", "reviews", "value", 0.74, 0.71, 100, when=1.0)
BEN = board.Entry("Ben $1", "Wetter", "query", 0.9, 0.6, 50, when=2.0)
CYD = board.Entry("Cyd", "stars", "value@top-half", 0.4, None, None, "pearson", when=3.0)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_what_is_pinned_is_gathered_in_order_of_gain(tmp_path: Path) -> None:
    for entry in (ADA, BEN, CYD):
        board.pin(entry, folder=tmp_path / entry.who.split()[0])  # a folder each, as they were handed in
    assert board.gather(tmp_path) == ([BEN, ADA, CYD], {})


def test_pinned_again_it_is_replaced_and_of_two_the_later_one_counts(tmp_path: Path) -> None:
    later = board.Entry("ada ", "reviews", "head", 0.8, 0.8, when=9.0)
    first = board.pin(ADA, folder=tmp_path)
    assert board.pin(later, folder=tmp_path) == first and board.gather(tmp_path) == ([later], {})
    board.pin(ADA, folder=tmp_path / "older")
    entries, aside = board.gather(tmp_path)
    assert entries == [later] and list(aside) == ["older/beft-board-ada-reviews.json"]


GOOD = {"who": "Eve", "task": "x", "choice": "value", "score": 0.5}
BROKEN = {
    "cut": ('{"who": "Ev', "not JSON"),
    "empty": ("", "not JSON"),
    "bytes": (b"\xff\xfe\x00broken", "not JSON"),
    "deep": ("[" * 9000, "not JSON|large"),
    "list": ("[1, 2]", "a list where"),
    "missing": ('{"who": "Eve"}', "lacks task, choice, score"),
    "unknown": (json.dumps(GOOD | {"colour": "red"}), "'colour'"),
    "percent": (json.dumps(GOOD | {"score": 85}), r"0\.85, not 85"),
    "nan": (json.dumps(GOOD | {"score": float("nan")}), "score is nan"),
    "text": (json.dumps(GOOD | {"score": "good"}), "score is 'good'"),
    "true": (json.dumps(GOOD | {"head": True}), "head is True"),
    "nobody": (json.dumps(GOOD | {"who": " "}), "who is"),
    "long": (json.dumps(GOOD | {"who": "x" * 5000}), "who is"),
    "half": (json.dumps(GOOD | {"examples": 1.5}), "examples is"),
    "when": (json.dumps(GOOD | {"when": "today"}), "when is"),
    "large": (json.dumps(GOOD) + " " * 30_000, "too large"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_and_set_aside(name: str, tmp_path: Path) -> None:
    content, reason = BROKEN[name]
    board.pin(ADA, folder=tmp_path)
    path = tmp_path / f"beft-board-{name}.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    entries, aside = board.gather(tmp_path)
    assert entries == [ADA] and list(aside) == [path.name] and path.is_file()
    with pytest.raises(DataError, match=reason):
        board.read_entry(path)


def test_a_folder_without_files_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="board add"):
        board.gather(tmp_path)


def test_the_picture_has_every_learner_and_is_told() -> None:
    entries = [BEN, ADA, CYD]
    axes = board.board_plot(entries)
    (told,) = descriptions(axes)
    assert "3 results" in told.alt and "Ben" in told.alt and len(told.table) == 3
    assert [text.get_text() for text in axes.texts] == ["query", "value", "value@top-half"]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [list(np.asarray(line.get_xdata())) for line in hollow] == [[0.6], [0.71]]
    assert told.table.loc["Ada", "±"] == pytest.approx(1.96 * (0.74 * 0.26 / 100) ** 0.5)
    assert told.table.loc["Cyd", ["head only", "gain", "±"]].isna().all()


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: object) -> int:
        return command_line.main(["board", *map(str, arguments)])

    own = tmp_path / "own.json"  # as `own --json` prints it
    told = {"task": "reviews", "choice": "value", "score": 0.74, "baseline_score": 0.71, "n_validation": 100}
    own.write_text(json.dumps(told | {"metric": "accuracy", "seconds": 3.0}), encoding="utf-8")
    assert call("add", "--who", "<b>Ada</b>", "--from", own, "--to", tmp_path / "in") == 0
    numbers = ("--task", "x", "--choice", "head", "--score", 0.5)
    assert call("add", "--who", "Ben", *numbers, "--to", tmp_path / "in") == 0
    (tmp_path / "in" / "beft-board-z.json").write_text("{", encoding="utf-8")
    assert call("show", tmp_path / "in", "--to", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "set aside: beft-board-z.json" in said and "0.71" in said and "Ben" in said
    page = (tmp_path / "out" / "board.html").read_text(encoding="utf-8")
    assert "<b>Ada" not in page and "&lt;b&gt;Ada" in page and 'alt="The class board, 2 results' in page

    assert call("add", "--who", "Ben", "--task", "x", "--choice", "head", "--score", 85) == 2
    assert call("add", "--who", "Ben", "--from", tmp_path / "missing.json") == 2
    assert call("add", "--who", "Ben") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_result_of_tune_own_can_be_pinned(tmp_path: Path) -> None:
    class Result:
        def row(self) -> dict[str, object]:
            told = {"task": "t" * 99, "choice": "value", "metric": "f1", "score": 0.7, "baseline_score": 0.6}
            return told | {"n_validation": 40, "gain": [0.1, 0.0, 0.2]}

    path = board.pin(Result(), who="Ada", folder=tmp_path)  # type: ignore[arg-type]
    entry = board.read_entry(path)
    assert (entry.who, entry.choice, entry.head, entry.examples, entry.metric) == ("Ada", "value", 0.6, 40, "f1")
    assert entry.when > 1e9 and entry.task == "t" * board.LONGEST
