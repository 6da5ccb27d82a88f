"""Running the lessons one after the other, and leaving what a reader wants: executed notebooks and plain HTML."""

from __future__ import annotations

import html
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import authoring
from .errors import BeftError
from .files import write_text_whole
from .places import lesson_files, lessons_folder

CELL_SECONDS = 2000  # a cell that takes longer hangs
SOURCE = "source"  # what the notebooks are made from: for authors, not for learners


@dataclass(frozen=True)
class LessonRun:
    """How one lesson went: ``problem`` is "" or where and why it stopped."""

    name: str
    title: str
    seconds: float
    problem: str

    def __str__(self) -> str:
        return f"{self.name:<28} {'OK' if not self.problem else 'FAILED ' + self.problem}  {self.seconds:.0f} s"


def lessons(folder: Path | None = None) -> list[Path]:
    """The lessons in their order (not the solutions). BeftError when there are none."""
    folder = folder or lessons_folder()
    found = lesson_files(folder, ".ipynb")
    if not found:
        raise BeftError(f"No lessons in {folder}: expected notebooks named like 00_start_here.ipynb.")
    return found


def run_lessons(
    paths: Sequence[Path], target: Path, report: Callable[[str], None] = print, kernel: str = "python3"
) -> list[LessonRun]:
    """Run each lesson in a fresh kernel of this Python, one at a time; a lesson that fails does not stop the others.

    Leaves ``target/NAME.ipynb``, ``target/NAME.html`` and ``target/index.html``; lessons work in ``target`` as their
    folder, so what they write stays there.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / "kernels.log").unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:  # pictures and the like that a lesson shows
        for extra in folder.iterdir():
            if extra.is_dir() and not extra.name.startswith((".", "_")) and extra.name not in ("solutions", SOURCE):
                shutil.copytree(extra, target / extra.name, dirs_exist_ok=True)
    runs = []
    for path in paths:
        notebook, run = _run(path, target, kernel)
        authoring.clean(notebook)  # a reader sees the picture of a widget, and no leftovers of progress bars
        import nbformat

        write_text_whole(target / path.name, nbformat.writes(notebook) + "\n")
        write_text_whole(target / f"{path.stem}.html", to_html(notebook, run.title))
        runs.append(run)
        report(str(run))
    write_text_whole(target / "index.html", _index(runs))
    return runs


def to_html(notebook: Any, title: str) -> str:
    """A notebook as one page that can be read without a connection: formulas as MathML, no scripts from elsewhere."""
    from nbconvert import HTMLExporter

    nowhere = dict.fromkeys(("require_js_url", "mathjax_url", "jquery_url", "widget_renderer_url"), "")
    exporter = HTMLExporter(template_name="lab", **nowhere)
    page, _ = exporter.from_notebook_node(with_alt(with_mathml(notebook)), resources={"metadata": {"name": title}})
    page = re.sub(r'<script src=""[^>]*></script>', "", page)
    return re.sub(r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->", "", page, flags=re.DOTALL)


def to_mathml(latex: str, block: bool) -> str:
    """A formula as MathML, which browsers show without a script. Raises what latex2mathml raises."""
    from latex2mathml.converter import convert

    return convert(latex.replace("{aligned}", "{split}"), display="block" if block else "inline")  # split: all it knows


def copy_lessons(target: Path) -> list[Path]:
    """Copy the lessons (with solutions and pictures) to ``target``. A file that is there already is never replaced."""
    copied, source = [], lessons_folder()
    lessons(source)  # says so when there are none
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_dir() or inside.parts[0] == SOURCE or any(part.startswith((".", "__")) for part in inside.parts):
            continue
        goal = target / inside
        if goal.exists():
            continue
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, goal)  # not copy2: what ships read-only in site-packages must be writable here
        copied.append(goal)
    return copied


def _run(path: Path, target: Path, kernel: str) -> tuple[Any, LessonRun]:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    at, begun = 0, time.monotonic()

    def started(cell: Any, cell_index: int) -> None:
        nonlocal at
        if cell.cell_type == "code":
            at = next(number for number, one in enumerate(code, start=1) if one is cell)
            _status(f"{path.stem}: cell {at} of {len(code)}, {time.monotonic() - begun:.0f} s")

    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=CELL_SECONDS,
        resources={"metadata": {"path": str(target)}},
        on_cell_start=started,
    )
    with (target / "kernels.log").open("ab") as log:
        error = _execute(client, log)
    _status("")
    problem = f"at cell {at}: {_in_one_line(error)}" if error else ""
    return notebook, LessonRun(path.stem, _title(notebook, path.stem), time.monotonic() - begun, problem)


def _execute(client: Any, log: Any) -> Exception | None:
    """Run a notebook; the error, if any: a cell's, a dead kernel, a cell too slow. Ctrl-C ends the course.

    In a thread, because in the main one nbclient takes SIGINT and SIGTERM for itself, ends the kernel, and reports an
    assertion of its own. What a kernel writes to the terminal goes to ``log``.
    """
    failed: list[Exception] = []

    def work() -> None:
        try:
            client.execute(stdout=log, stderr=log)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)  # with a limit, or Windows would not let Ctrl-C through
    return failed[0] if failed else None


def _in_one_line(error: Exception) -> str:
    """The kernel's own "NameError: …" for an error in a cell, else the kind and the first line of what went wrong."""
    if hasattr(error, "ename"):
        lines = (getattr(error, "evalue", "") or "").splitlines()
        return f"{getattr(error, 'ename', '')}: {lines[0] if lines else ''}"[:200]
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def _status(text: str) -> None:
    """A line that the next one overwrites; nothing where output is not a terminal."""
    if sys.stdout.isatty():
        print(f"\r{text:<78}\r" if not text else f"\r{text:<78}", end="", flush=True)


def _title(notebook: Any, name: str) -> str:
    """The first heading of the lesson."""
    for cell in notebook.cells:
        found = re.search(r"^#\s+(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if found:
            return found.group(1).strip()
    return name


def with_mathml(notebook: Any) -> Any:
    """A copy whose formulas ($…$ and $$…$$ in prose) are MathML, which browsers show by themselves."""
    import copy

    def formula(found: re.Match[str]) -> str:
        if found["code"]:
            return found["code"]
        try:
            return to_mathml(found["block"] or found["inline"], block=bool(found["block"]))
        except Exception:  # a formula it cannot read stays as it was written
            return found[0]

    # Code comes first in the pattern, so that a $ inside backticks is never the start of a formula.
    pattern = re.compile(
        r"(?P<code>```.*?```|`[^`\n]+`)"
        r"|\$\$(?P<block>.+?)\$\$"
        r"|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?![\w$])",
        re.DOTALL,
    )
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = pattern.sub(formula, cell.source)
    return notebook


def with_alt(notebook: Any) -> Any:
    """The same notebook, its pictures as HTML with their alt text, which nbconvert's template leaves out."""
    for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
        told = output.get("metadata", {}).get("image/png", {})
        if "image/png" not in output.get("data", {}) or not told.get("alt"):
            continue
        size = "".join(f' {side}="{told[side]}"' for side in ("width", "height") if side in told)
        source = f"data:image/png;base64,{output.data['image/png'].strip()}"
        output.data = type(output.data)({"text/html": f'<img alt="{html.escape(told["alt"])}"{size} src="{source}">'})
    return notebook


def _index(runs: Sequence[LessonRun]) -> str:
    rows = "\n".join(
        f'<tr><td><a href="{run.name}.html">{html.escape(run.title)}</a></td>'
        f"<td>{html.escape(run.problem and 'failed ' + run.problem) or 'OK'}</td><td>{run.seconds:.0f} s</td></tr>"
        for run in runs
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>BEFT, hands on</title>
<style>
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #1a1a1a; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #ccc; }}
a {{ color: #0b57a4; }}
</style></head><body>
<h1>BEFT, hands on</h1>
<p>The lessons as they ran on this machine. To change something and run it yourself, open them in JupyterLab:
<code>make lab</code>, or <code>python -m beft_lib lab</code>.</p>
<table><thead><tr><th>Lesson</th><th>Result</th><th>Time</th></tr></thead><tbody>
{rows}
</tbody></table>
</body></html>
"""
