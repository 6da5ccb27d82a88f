"""From one source, ``notebooks/source/NN_name.py`` (jupytext percent), the student's notebook and the solutions.

A cell tagged ``solution`` goes to the solutions only, one tagged ``stub`` to the student only; all others to both, so
the two never drift. The first code cell is the same in every lesson and comes from ``lesson.py``; what stands above it
(``header``) leads to the glossary, and to Colab. Notebooks are executed top to bottom and cleaned, so that a diff shows
what changed in the lesson and not when or where it ran.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BeftError, UnknownName
from .files import write_text_whole
from .places import lesson_files, lesson_number, lesson_prefix, lessons_folder

ONLY_IN = {"stub": "student", "solution": "solutions"}  # a cell's tag: the one version that has it
VERSIONS = ("student", "solutions")
COLAB = "https://colab.research.google.com"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Built:
    """What ``author`` did with one notebook. ``notes`` are for the author: stderr that was taken out, stale outputs."""

    path: Path
    executed: bool
    seconds: float
    notes: tuple[str, ...]

    def __str__(self) -> str:
        what = f"executed in {self.seconds:.0f} s" if self.executed else "built"
        return f"{self.path.parent.name}/{self.path.name}: {what}" + "".join(f"\n    {note}" for note in self.notes)


def sources(folder: Path | None = None) -> dict[str, Path]:
    """Every lesson's source by number: ``{"00": …/source/00_start_here.py, …, "appendix": …}``."""
    return {lesson_number(path): path for path in lesson_files((folder or lessons_folder()) / "source", ".py")}


def target(source: Path, version: str) -> Path:
    """Where a version of a lesson is written."""
    notebooks = source.parent.parent
    return (notebooks if version == "student" else notebooks / "solutions") / f"{source.stem}.ipynb"


def build(source: Path, version: str) -> Any:
    """The cells of one version as a notebook node, without outputs; the same source gives the same notebook."""
    import jupytext
    from nbformat.v4 import new_markdown_cell, new_notebook

    from .lesson import first_cell

    number, seen = lesson_number(source), dict[str, int]()
    cells: list[Any] = []
    for cell in jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent").cells:
        tags = cell.metadata.get("tags", [])
        if any(ONLY_IN.get(tag, version) != version for tag in tags):
            continue
        if cell.cell_type == "code" and not any(c.cell_type == "code" for c in cells):
            cell.source = first_cell(number)
            cells.append(new_markdown_cell(header(source, version), id=f"{lesson_prefix(number)}-header"))
        if not cell.source.strip():
            continue
        cell.metadata = {"tags": list(tags)} if tags else {}
        # An id that follows from what the cell says: moving a cell keeps it, and no rebuild invents a new one.
        digest = hashlib.sha256(cell.source.encode("utf-8")).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = f"{lesson_prefix(number)}-{digest}" + (f"-{seen[digest]}" if seen[digest] > 1 else "")
        cells.append(cell)
    return new_notebook(cells=cells, metadata=_METADATA)


def header(source: Path, version: str) -> str:
    """What stands above a lesson's first code cell: the badge, once ``badges`` was told where, and the glossary."""
    from .lesson import REPOSITORY

    notebook = target(source, version)
    folder = notebook.relative_to(source.parent.parent).parent
    glossary = f"[glossary]({'../' * len(folder.parts)}GLOSSARY.md)"
    if REPOSITORY:
        glossary += f" ([online](https://github.com/{REPOSITORY}/blob/HEAD/notebooks/GLOSSARY.md))"
    line = f"A word that you do not know? The {glossary} explains the terms of the course."
    if not REPOSITORY:
        return line
    path = (Path("notebooks") / folder / notebook.name).as_posix()
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{REPOSITORY}/blob/main/{path})\n\n{line}"


def author(source: Path, version: str, execute: bool, timeout: int = 1200) -> Built:
    """Build one version, execute it if asked, write it whole.

    Without ``execute``, outputs are kept as long as no code changed; where code changed they go, and the note says so.
    Raises BeftError when a cell fails, with the cell and its error; the old notebook then stays as it was.
    """
    import nbformat

    notebook, path = build(source, version), target(source, version)
    started, notes = time.perf_counter(), []
    if execute:
        _execute(notebook, path, timeout)
        notes = clean(notebook)
    elif not _keep_outputs(notebook, path):
        notes = ["without outputs, since its code is new: run `python -m beft_lib author --execute`"]
    seconds = time.perf_counter() - started
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_whole(path, nbformat.writes(notebook) + "\n")
    return Built(path, execute, seconds, tuple(notes))


def clean(notebook: Any) -> list[str]:
    """Take out of an executed notebook what is not the lesson's; returns notes on what the author should mend."""
    notes = []
    notebook.metadata.clear()
    notebook.metadata.update(_METADATA)
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        kept: list[Any] = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                notes.append(f"code cell {number}: taken out of stderr: {output.text.strip()[:200]!r}")
                continue
            if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
                continue
            was_live = "data" in output and output.data.pop(WIDGET_VIEW, None) is not None
            if was_live and set(output.data) <= {"text/plain"}:
                continue  # a live widget and nothing that could be read without it
            kept.append(output)
        for output in kept:
            if output.output_type == "stream":
                output.text = settled(output.text)
        cell.outputs = [o for o in kept if o.output_type != "stream" or o.text]
    return notes


def settled(text: str) -> str:
    """What is left on the screen of a text with carriage returns: a progress bar that cleared itself leaves nothing."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        if "\r" not in line or shown.strip():
            lines.append(shown if "\r" not in line else shown.rstrip())
    return "\n".join(lines)


def _execute(notebook: Any, path: Path, timeout: int) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    path.parent.mkdir(parents=True, exist_ok=True)  # cells run where the learner runs them
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    # The kernel imports this very library, whatever else is installed.
    root = str(Path(__file__).resolve().parent.parent)
    python_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        client.execute(env={**os.environ, "PYTHONPATH": python_path})
    except CellExecutionError as error:
        raise BeftError(f"{path.name}: a cell failed, so nothing was written.\n{error}") from error


def _keep_outputs(notebook: Any, path: Path) -> bool:
    """Take over the outputs of the notebook that is there. False when its code is another.

    The first cell is not compared: it is everyone's, and what it installs in Colab does not change what it says.
    """
    import nbformat

    if not path.is_file():
        return False
    old = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    new = [c for c in notebook.cells if c.cell_type == "code"]
    if len(old) != len(new) or [c.source for c in old[1:]] != [c.source for c in new[1:]]:
        return False
    for cell, before in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    return True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers of lessons (01), or appendix (none: all)")
    parser.add_argument("--execute", action="store_true", help="run them top to bottom and keep the outputs")
    parser.add_argument("--only", choices=VERSIONS, help="one version instead of both")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds a cell may take (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    for source in _chosen(args.lessons):
        for version in [args.only] if args.only else VERSIONS:
            print(author(source, version, args.execute, args.timeout), flush=True)
    return 0


def _chosen(numbers: list[str]) -> Iterator[Path]:
    known = sources()
    for number in numbers or known:
        if number not in known:
            raise UnknownName("lesson", number, known)
        yield known[number]
