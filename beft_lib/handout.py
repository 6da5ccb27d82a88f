"""A handout: the lessons as students get them, without outputs, as one page to print and one zip to unpack."""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

from .course import lessons, to_html
from .files import write_bytes_whole, write_text_whole
from .places import checkout, lessons_folder
from .quizzes import SHOWS_QUIZ

PRINT = "<style>@media print { h1 { break-before: page; } pre, table { break-inside: avoid; } }</style></head>"
STAMP = (1980, 1, 1, 0, 0, 0)  # of every file in the zip, so that the same lessons make the same zip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", type=Path, help="where the handout goes (default: build/handout)")


def run(args: argparse.Namespace) -> int:
    target = (args.to or (checkout() or Path.cwd()) / "build" / "handout").resolve()
    for path in build_handout(target):
        print(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def build_handout(target: Path) -> tuple[Path, Path]:
    """Write ``handout.html`` and ``handout.zip`` (the notebooks, the glossary, the page) to ``target``."""
    import nbformat
    from nbformat.v4 import new_notebook

    notebooks = {path.name: blank(nbformat.read(path, as_version=4)) for path in lessons()}
    every = [cell for notebook in notebooks.values() for cell in notebook.cells]
    for number, cell in enumerate(every):
        cell["id"] = f"{number}-{cell.get('id', '')}"[:64]  # unique on the one page
    metadata = next(iter(notebooks.values())).metadata
    page = to_html(new_notebook(cells=every, metadata=metadata), "BEFT, hands on").replace("</head>", PRINT, 1)
    files = {name: nbformat.writes(notebook) + "\n" for name, notebook in notebooks.items()}
    files["GLOSSARY.md"] = (lessons_folder() / "GLOSSARY.md").read_text(encoding="utf-8")
    files["handout.html"] = page
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(f"beft-lessons/{name}", STAMP)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, text.encode("utf-8"))
    return (
        write_text_whole(target / "handout.html", page),
        write_bytes_whole(target / "handout.zip", packed.getvalue()),
    )


def blank(notebook: Any) -> Any:
    """The notebook as before anybody ran it. The quick questions stay: they are prose, whatever cell shows them."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = cell.outputs if cell.source.startswith(SHOWS_QUIZ) else []
            cell.execution_count = None
            for output in cell.outputs:
                output.execution_count = None
    return notebook
