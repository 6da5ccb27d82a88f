"""A results file: which run a row is, the rows of one file or of many, what a row says of where it comes from.

It is JSON, ``{"rows": [...]}``, each row a run with its scores, cost, versions, machine and commit. It is written whole
after every run, so a kill loses the run in progress and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from . import runtime
from .errors import DataError
from .files import fingerprint, write_text_whole
from .metrics import interval
from .shards import Shard, files_of
from .tasks import Task

if TYPE_CHECKING:
    import pandas as pd

KEY = ("model", "task", "source", "n_train", "method", "seed", "changes", "scored_on", "prompted")  # of one run
MISSING = {"scored_on": "validation"}  # of files written before there was a choice


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a results file, [] for none. Raises DataError for another file, which stays as it is."""
    path = Path(path)
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise TypeError("its rows are not a list of objects")
        return rows
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a results file ({type(error).__name__}: {error}). One is JSON with a list of 'rows', as "
            "`python -m beft_lib measure --out FILE` and `rulers --out FILE` write it."
        ) from None


def _rows_to_go_on(path: Path) -> list[dict[str, Any]]:
    """``read_rows`` of the file that a grid is about to write: what cannot be read is set aside, never overwritten."""
    try:
        return read_rows(path)
    except DataError as error:
        names = (path.with_name(f"{path.stem}.unreadable-{number}{path.suffix}") for number in count(1))
        aside = next(name for name in names if not name.exists())
        path.rename(aside)
        raise DataError(
            f"{error} It was kept as {aside.name}; nothing was overwritten. Mend it and rename it back, or run again "
            "to start a new one."
        ) from None


def read_shards(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a results file and of the files of its shards, none twice."""
    return list({key_of(row): row for file in files_of(path) for row in read_rows(file)}.values())


def shipped_rows(*names: str) -> list[dict[str, Any]]:
    """The rows of the course's results files of these names, which may hold a ``*``; [] where nothing is measured."""
    folder = runtime.data_folder() / "results"
    return [row for name in names for path in sorted(folder.glob(name)) for row in read_rows(path)]


def scored(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The rows scored on validation: not the tries for a learning rate, which are no results."""
    return (row for row in rows if row.get("scored_on", MISSING["scored_on"]) == "validation")


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a tidy table, one run a line."""
    import pandas as pd

    return pd.DataFrame(list(rows))


def summary(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Mean score and cost over the seeds of each task and method, with the half-width of the 95 % interval of the mean.

    Runs that differ in more than the seed (model, source, size, recipe) are never averaged; what differs within a task
    gets a column of its own.
    """
    import pandas as pd

    frame = table(rows)
    if "scored_on" in frame:  # tries for a learning rate are no results
        frame = frame.loc[frame["scored_on"].fillna("validation") == "validation"]
    kind = frame[[name for name in KEY if name in frame and name not in ("seed", "scored_on")]].map(str)
    variants = kind.groupby("task").nunique().max()
    differs = [name for name in kind if name not in ("task", "method") and variants[name] > 1]
    records = []
    for _, runs in frame.groupby([kind[name] for name in kind], sort=False):
        records.append({
            **runs.iloc[0][["task", "method", *differs, "metric"]].to_dict(), "score": runs["score"].mean(),
            "±": interval(runs["score"].to_numpy()), "seeds": len(runs), "seconds": runs["seconds"].mean(),
            "trained": runs["parameters_method"].iloc[0], "head": runs["parameters_head"].iloc[0],
        })  # fmt: skip
    return pd.DataFrame(records)


class Sheet:
    """A results file (or a shard's): its rows, and which run each of them is; the runs of the other files as well."""

    def __init__(self, path: Path, shard: Shard | None, elsewhere: Iterable[Mapping[str, Any]] = ()):
        self.path = path if shard is None else shard.path(path)
        self.rows = _rows_to_go_on(self.path)
        self.known = {key_of(row): row for row in [*read_shards(path), *self.rows]}
        self.elsewhere = {key_of(row): row for row in elsewhere}

    def find(self, fixed: Mapping[str, Any], rulers: bool) -> dict[str, Any] | None:
        """The row of this run; None where there is none, or it lacks the rulers, or was made on other examples."""
        key = key_of(fixed)
        if key not in self.known and _same_data(self.elsewhere.get(key), fixed):
            self.add({name: value for name, value in self.elsewhere[key].items() if name != "rulers"})
        row = self.known.get(key)
        return row if _same_data(row, fixed) and not (rulers and "rulers" not in row) else None

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; one of the same run on other examples (the data have changed since) goes."""
        key = key_of(row)
        if not _same_data(self.known.get(key, row), row):
            self.rows = [one for one in self.rows if key_of(one) != key]
        self.rows.append(row)
        self.known[key] = row
        write_text_whole(self.path, json.dumps({"rows": self.rows}, indent=1) + "\n")


def _same_data(row: Mapping[str, Any] | None, other: Mapping[str, Any]) -> TypeGuard[dict[str, Any]]:
    """Whether there is a row, and it was made on the other one's examples; a row of before they were noted counts."""
    return row is not None and (row.get("data") in (None, other.get("data")) or other.get("data") is None)


def data_print(task: Task) -> str:
    """A fingerprint of the examples, 12 hex digits: a file of the same name may hold others tomorrow."""
    return fingerprint([split.to_list() for split in (task.train, task.validation)])[:12]


def key_of(row: Mapping[str, Any]) -> str:
    """One text for the same run, whether its epochs were given as 2 (in a notebook) or as 2.0 (at the command line)."""
    text = json.dumps([row.get(name, MISSING.get(name)) for name in KEY], sort_keys=True)
    return json.dumps(json.loads(text, parse_int=float))


def portable(source: str) -> str:
    """A source without the folders of this machine: results files travel."""
    return "/".join(Path(source).parts[-2:]) if Path(source).is_absolute() or source.startswith("..") else source


def source_names(task: str, sources: Iterable[str]) -> dict[str, str]:
    """What is told of each source beside the task's name: "mini", "real"; all of it where the short ones are not
    different; "" where there is only one.
    """
    short = {one: one.removesuffix(f"/{task}").removesuffix(" (shipped)") for one in sources}
    if len(short) == 1:
        return dict.fromkeys(short, "")
    return short if len({*short.values()}) == len(short) else {one: one for one in short}


def circumstances() -> dict[str, Any]:
    """What every row of a results file says of where it comes from: machine and versions, commit, time (UTC)."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"machine": runtime.machine(), "commit": _commit(), "finished": now}


def _commit() -> str:
    """The repository's commit, with + where code has been changed since; "" outside a repository."""
    root = runtime.checkout()
    if root is None:
        return ""

    def git(*command: str) -> str:
        whole = ["git", "-C", str(root), *command]
        return subprocess.run(whole, capture_output=True, text=True, timeout=10, check=True, encoding="utf-8").stdout

    try:  # not of data/: a results file changes while it is written
        changed = git("status", "--porcelain", "--", "beft_lib", "pyproject.toml", "requirements.lock").strip()
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""
