"""A grid shared among the jobs of an array: which runs are whose, and whose file is which."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError


@dataclass(frozen=True)
class Shard:
    """The part of a grid that one job runs: every ``of``-th run, beginning with ``number`` (1 is the first)."""

    number: int
    of: int

    def path(self, path: str | Path) -> Path:
        """The part's own file, beside the grid's: no two jobs write the same one."""
        path = Path(path)
        return path.with_name(f"{path.stem}.{self.number}-of-{self.of}{path.suffix}")

    def holds(self, run: int) -> bool:
        """Whether the grid's run of this number (0 is first) is in the part."""
        return run % self.of == self.number - 1


def shard_of(text: str) -> Shard:
    """1/8, 2/8 … as a Shard. Raises DataError."""
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return Shard(int(number), int(of))
    raise DataError(f"shard is {text!r}; expected I/N with I from 1 to N, such as 1/8.")


def files_of(path: str | Path) -> list[Path]:
    """A results file and those of its shards, whether they are there or not."""
    path = Path(path)
    return [path, *sorted(path.parent.glob(f"{glob.escape(path.stem)}.*-of-*{path.suffix}"))]
