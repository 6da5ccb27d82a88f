"""Reading task files: the same rows from every kind of file, and every mistake named with file, line and way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beft_lib.errors import DataError
from beft_lib.reading import SUFFIXES, find_split, read_rows

SEPARATOR = "\u2028"  # a line separator to Unicode (and to str.splitlines), an ordinary character to csv and json
ROWS = [
    {"sentence": "fine", "label": "1"},
    {"sentence": 'a "b", c', "label": "0"},
    {"sentence": f"x{SEPARATOR}y", "label": "1"},
]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITE: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    ".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet,
}  # fmt: skip


def message(path: Path) -> str:
    """What read_rows says against a file: always a DataError with the file in it."""
    with pytest.raises(DataError) as error:
        read_rows(path)
    assert path.name in str(error.value)
    return str(error.value)


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# What is read


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_file_gives_the_same_rows(suffix, tmp_path):
    path = tmp_path / f"train{suffix}"
    WRITE[suffix](path, ROWS)
    found = read_rows(path)
    assert [cells for _, cells in found] == ROWS
    assert [line for line, _ in found] == ([2, 3, 4] if suffix == ".csv" else [1, 2, 3])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_and_windows_line_ends(mark, end, tmp_path):
    for name, lines in (
        ("t.csv", ["sentence,label", "fine,1", ""]),
        ("t.jsonl", ['{"sentence": "fine", "label": "1"}', ""]),
    ):
        (row,) = read_rows(put(tmp_path, name, mark + end.join(lines)))
        assert row[1] == {"sentence": "fine", "label": "1"}


@pytest.mark.parametrize(
    "name, content, line",
    [("t.csv", "\n\ns,label\n\na,1\n\n\n", 5), ("t.jsonl", '\n  \n{"s": "a", "label": "1"}\n\n', 3)],
)
def test_blank_lines_are_no_rows_but_are_counted(name, content, line, tmp_path):
    assert read_rows(put(tmp_path, name, content)) == [(line, {"s": "a", "label": "1"})]


def test_the_line_of_a_row_is_the_one_it_begins_on(tmp_path):
    path = put(tmp_path, "t.csv", 's,label\n"one\ntwo\nthree",1\nnext,0\n')
    assert [(line, cells["s"]) for line, cells in read_rows(path)] == [(2, "one\ntwo\nthree"), (5, "next")]


def test_a_last_line_without_an_end(tmp_path):
    assert len(read_rows(put(tmp_path, "t.csv", "s,label\na,1\nb,0"))) == 2


# What is refused


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("content", ["", "\ufeff", "\n\n", " \n" * 2])
def test_nothing_in_it(suffix, content, tmp_path):
    told = message(put(tmp_path, f"t{suffix}", content))
    assert "is empty" in told or "no examples" in told
    assert ("header" if suffix == ".csv" else "JSON object") in told  # what was expected


def test_a_header_and_no_more(tmp_path):
    assert "no examples; it should hold one a line, below a header" in message(
        put(tmp_path, "t.csv", "sentence,label\n")
    )


def test_a_parquet_file_without_rows(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"sentence": pa.array([], pa.string())}), path)
    assert "no examples" in message(path)


BROKEN = {
    "too few cells": (
        "t.csv",
        "s,label\na,1\nb\n",
        r"line 3: 1 cells where the header has 2 \(s, label\).*double quotes",
    ),
    "a comma without quotes": (
        "t.csv",
        "s,label\na, b,1\n",
        r"line 2: 3 cells where the header has 2 .*comma.*double quotes",
    ),
    "after a long text": ("t.csv", 's,label\n"a\nb",1\nc\n', r"line 4: 1 cells"),
    "an open quote": ("t.csv", 's,label\na,1\n"b,0\nc,1\nd,0\n', r"line 3: broken csv .*quote left open"),
    "an open quote closed by the next": (
        "t.csv",
        's,label\na,1\n"b,0\n"c",1\n',
        r"line 3: broken csv .*quote left open",
    ),
    "an open quote in the header": ("t.csv", '"s,label\na,1\n', r"line 1: broken csv"),
    "a column twice": ("t.csv", "s,label,s\na,1,b\n", r"line 1: the header has 's' more than once; keep one"),
    "half an object": ("t.jsonl", '{"s": "a"}\n{"s": \n', r"line 2: not JSON \(.+ at character \d+\)"),
    "no object": ("t.jsonl", '{"s": "a"}\n["b"]\n', r"line 2: expected an object \{…\}, found list"),
    "an array of all": ("t.jsonl", '[{"s": "a"}]', r"line 1: expected an object \{…\}, found list"),
    "Latin-1": ("t.csv", b"s,label\na,1\ncaf\xe9,0\n", r"line 3: not UTF-8 \(byte 0xe9\).*Save the file as UTF-8"),
    "Latin-1 in jsonl": ("t.jsonl", b'{"s": "caf\xe9"}\n', r"line 1: not UTF-8 \(byte 0xe9\)"),
    "UTF-16": ("t.csv", "s,label\na,1\n".encode("utf-16"), r"line 1: not UTF-8"),
    "not parquet": ("t.parquet", b"PAR1 no", r"not a readable parquet file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_its_line(case, tmp_path):
    import re

    name, content, expected = BROKEN[case]
    assert re.search(expected, message(put(tmp_path, name, content)), re.DOTALL)


def test_half_a_parquet_file(tmp_path):
    path = tmp_path / "t.parquet"
    write_parquet(path, ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a readable parquet file" in message(path)


def test_another_kind_of_file(tmp_path):
    assert "'.tsv'; use .csv, .jsonl, .parquet" in message(put(tmp_path, "t.tsv", "s\tlabel\n"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([".csv", ".jsonl"]),
    st.one_of(st.binary(max_size=60), st.text('s,"\n\r{}[]: 1\ufeff\x00', max_size=40)),
)
@example(".csv", b"\xef\xbb\xbf")
@example(".csv", b"\r")
@example(".jsonl", b"\xef\xbb\xbf\n")
def test_any_bytes_give_rows_or_an_error_of_ours(tmp_path, suffix, content):
    path = put(tmp_path, f"fuzz{suffix}", content)
    try:
        rows = read_rows(path)
    except DataError as error:
        assert path.name in str(error)
    else:
        assert rows and all(line >= 1 and isinstance(cells, dict) for line, cells in rows)


# Finding the file of a split


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_split_is_found_whatever_its_kind(suffix, tmp_path):
    path = put(tmp_path, f"train{suffix}", "x")
    put(tmp_path, "notes.txt", "x")
    assert find_split(tmp_path, "train") == path


def test_two_files_for_one_split(tmp_path):
    put(tmp_path, "train.csv", "x")
    put(tmp_path, "train.jsonl", "x")
    with pytest.raises(DataError, match=r"train.csv and train.jsonl: keep one file for the split 'train'") as error:
        find_split(tmp_path, "train")
    assert str(tmp_path) in str(error.value)


def test_a_split_that_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"'validation' in .*expected validation.csv, .*it holds nothing"):
        find_split(tmp_path, "validation")
    put(tmp_path, "dev.csv", "x")
    with pytest.raises(DataError, match=r"it holds dev.csv"):
        find_split(tmp_path, "validation")
    with pytest.raises(DataError, match=r"the folder does not exist"):
        find_split(tmp_path / "none", "validation")
