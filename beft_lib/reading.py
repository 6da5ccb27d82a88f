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

from .errors import DataError, UnknownName

SUFFIXES = (".csv", ".jsonl", ".parquet")
_BELOW = {".csv": ", below a header with the names of the columns", ".jsonl": ", each as a JSON object", ".parquet": ""}

_MARKS = {",": "comma", ";": "semicolon", "\t": "tab"}

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


def read_rows(path: Path, encoding: str | None = None) -> list[Row]:
    """Every row of a file with its line (csv, jsonl) or row number (parquet). Raises DataError, never half a file.

    ``encoding`` is that of a csv or jsonl file, None for UTF-8. Cells of a csv stand between commas, or between
    semicolons or tabs where its header has those and no comma.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{path.name}: unknown kind of file {path.suffix!r}; use {', '.join(SUFFIXES)}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; it should hold one example a line{_BELOW[path.suffix]}.")
    rows = list(readers[path.suffix](path, encoding))
    if not rows:
        raise DataError(f"{path} has no examples; it should hold one a line{_BELOW[path.suffix]}.")
    return rows


def _text(path: Path, encoding: str | None) -> str:
    data = path.read_bytes()
    try:
        return data.decode(encoding or "utf-8-sig")  # Excel writes a byte order mark
    except LookupError:
        raise UnknownName("encoding", encoding, ("utf-8", "cp1252", "latin-1", "utf-16")) from None
    except UnicodeError as error:
        start = min(getattr(error, "start", 0), len(data) - 1)
        line, likely = data[:start].count(b"\n") + 1, _likely(data)
        raise DataError(
            f"{path}, line {line}: not {encoding or 'UTF-8'} (byte {data[start]:#04x}) at place {start + 1:,} "
            f"of the file. It looks like {likely}. Save the file as UTF-8; in Excel: 'CSV UTF-8'. Or, from Python: "
            f"Path(f).write_text(Path(f).read_text({likely!r}), 'utf-8'). Or pass "
            f"encoding={likely!r} (own_task, tune_own; the verb own has --encoding)."
        ) from None


def _likely(data: bytes) -> str:
    """The encoding of bytes that are not UTF-8: UTF-16 by its mark or its zeros, else what Western Windows writes.

    A guess: any of the one-byte encodings could be meant, and only a reader can tell which of them makes words.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if data.count(0) > len(data) // 4:
        return "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        data.decode("cp1252")
        return "cp1252"
    except UnicodeDecodeError:
        return "latin-1"


def _delimiter(text: str) -> str:
    """Of a csv: a comma; or ; or tab (Excel, where a comma is in numbers) when that is what its header has."""
    header = next((line for line in text.split("\n") if line.strip()), "")
    return next((mark for mark in ",;\t" if mark in header), ",")


def _read_csv(path: Path, encoding: str | None) -> Iterator[Row]:
    text = _text(path, encoding)
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
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
                    f"({', '.join(header)}). A text with a {_MARKS[delimiter]} in it must stand in double quotes."
                )
            else:
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: broken csv ({error}). Is a double quote left open in this row?"
        ) from None


def _read_jsonl(path: Path, encoding: str | None) -> Iterator[Row]:
    for number, line in enumerate(_text(path, encoding).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg} at character {error.pos}).") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object {{…}}, found {type(row).__name__}.")
        yield number, row


def _read_parquet(path: Path, encoding: str | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file ({error}).") from None
    yield from enumerate(rows, start=1)
