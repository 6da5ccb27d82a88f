"""Reading task files (csv, jsonl, parquet) so that a mistake in one is named by file and line.

The ``datasets`` loaders report a broken line from deep inside Arrow or pandas and without its number, so the rows are
read here by the standard library (parquet by pyarrow) and handed on as plain dictionaries.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import DataError

SUFFIXES = (".csv", ".jsonl", ".parquet")
_BELOW = {".csv": ", below a header with the names of the columns", ".jsonl": ", each as a JSON object", ".parquet": ""}

Row = tuple[int, dict[str, Any]]  # the line it stands on (from 1), then its columns


def find_split(folder: Path, split: str) -> Path:
    """The file of one split: ``folder/train.csv``, ``.jsonl``, ``.parquet``. Raises DataError naming what is there."""
    found = [path for suffix in SUFFIXES if (path := folder / f"{split}{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{folder} holds {' and '.join(p.name for p in found)}: keep one file for the split {split!r}.")
    there = sorted(p.name for p in folder.iterdir())[:8] if folder.is_dir() else []
    raise DataError(
        f"No file for the split {split!r} in {folder}: expected {split}.csv, {split}.jsonl or {split}.parquet; "
        + (f"it holds {', '.join(there) or 'nothing'}." if folder.is_dir() else "the folder does not exist.")
    )


def read_rows(path: Path) -> list[Row]:
    """Every row of a file with its line (csv, jsonl) or row number (parquet). Raises DataError, never half a file."""
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{path.name}: unknown kind of file {path.suffix!r}; use {', '.join(SUFFIXES)}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; it should hold one example a line{_BELOW[path.suffix]}.")
    rows = list(readers[path.suffix](path))
    if not rows:
        raise DataError(f"{path} has no examples; it should hold one a line{_BELOW[path.suffix]}.")
    return rows


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")  # Excel writes a byte order mark
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 (byte {data[error.start]:#04x}). Save the file as UTF-8; in Excel: "
            "'CSV UTF-8'. If it is Latin-1: Path(f).write_text(Path(f).read_text('latin-1'), 'utf-8')."
        ) from None


def _read_csv(path: Path) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    header: list[str] = []
    line = 1  # where the row begins: a text in quotes may run over several lines, and an open quote to the end
    try:
        while (cells := next(reader, None)) is not None:
            if len(cells) < 2 and not "".join(cells).strip():
                pass  # a blank line is not a row
            elif not header:
                header = cells
                twice = sorted({name for name in header if header.count(name) > 1})
                if twice:
                    names = ", ".join(map(repr, twice))
                    raise DataError(f"{path}, line {line}: the header has {names} more than once; keep one of each.")
            elif len(cells) != len(header):
                raise DataError(
                    f"{path}, line {line}: {len(cells)} cells where the header has {len(header)} "
                    f"({', '.join(header)}). A text with a comma in it must stand in double quotes."
                )
            else:
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: broken csv ({error}). Is a double quote left open in this row?"
        ) from None


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg} at character {error.pos}).") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object {{…}}, found {type(row).__name__}.")
        yield number, row


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file ({error}).") from None
    yield from enumerate(rows, start=1)
