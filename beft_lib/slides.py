"""Slides from the lessons, to be shown without a connection.

What stands on a slide follows from the headings: a section is a slide, a prediction and a cell with its output are
slides below it, and running prose becomes the speaker's notes (key S). The notebooks hold nothing about slides, so
nothing in them can drift. reveal.js comes from the package sphinx-revealjs, and is copied beside the slides.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .book import how
from .course import lessons, with_alt, with_mathml
from .errors import BeftError, UnknownName
from .files import write_text_whole
from .places import checkout, lesson_number

SHOWN = ("#", "**", "$$", "- ", "|", "<details", "```", "![", ">")  # what a paragraph begins with to be on the slide
SAID = ("**Time:", "**You need:")
ALONE = re.compile(r"\*\*(?:Predict|\d+\. )")  # these begin a slide of their own
CSS = """\
.reveal .slides { text-align: left; }
.reveal .slides section section { max-height: 720px; overflow: hidden auto; padding: 0 .5rem; box-sizing: border-box; }
.reveal :is(h1, h2, h3) { text-transform: none !important; }
.reveal .jp-RenderedHTMLCommon :is(h1, h2) { font-size: 52px; margin: 0 0 .6em; }
.reveal .jp-RenderedHTMLCommon h3 { font-size: 42px; margin: 0 0 .6em; }
.reveal .jp-RenderedHTMLCommon { font-size: 32px; line-height: 1.45; overflow: visible; }
.reveal .jp-RenderedHTMLCommon math { font-size: 1.15em; }
.reveal img { margin: 0; max-width: 100%; max-height: 540px; width: auto; height: auto; }
.reveal .jp-RenderedHTMLCommon table { margin: 0; font-size: 26px; }
.reveal .jp-Cell pre { white-space: pre-wrap; }
.jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser { display: none; }
:root { --jp-code-font-size: 21px; --jp-code-line-height: 1.4; }
"""
TEMPLATE = """\
{%% extends 'reveal/index.html.j2' %%}
{%% block html_head_js %%}{%% endblock %%}
{%% block html_head_js_mathjax %%}<style>%s</style>{%% endblock %%}
{%% block footer_js %%}
<script src="{{ reveal_url_prefix }}/dist/reveal.js"></script>
<script src="{{ reveal_url_prefix }}/plugin/notes/notes.js"></script>
<script>Reveal.initialize({width: 1280, height: 720, margin: 0.04, center: false, hash: true, slideNumber: "c/t",
  transition: "none", plugins: [RevealNotes]});</script>
{%% endblock %%}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lessons", nargs="*", metavar="NN", help="only these, by number (default: all)")
    parser.add_argument("--to", type=Path, help="where the slides go (default: build/slides)")


def run(args: argparse.Namespace) -> int:
    target = (args.to or (checkout() or Path.cwd()) / "build" / "slides").resolve()
    print(f"Show them: {build_slides(target, args.lessons)}  (arrow keys; S for notes, ESC for an overview)")
    return 0


def build_slides(target: Path, numbers: list[str] | None = None) -> Path:
    """Write a page a lesson, an index and reveal.js itself to ``target``; returns the index.

    Raises UnknownName for a lesson that is not there, BeftError where reveal.js is not to be had.
    """
    import nbformat

    paths = {lesson_number(path): path for path in lessons()}
    for number in numbers or ():
        if number not in paths:
            raise UnknownName("lesson", number, paths)
    _copy_reveal(target / "reveal")
    rows = []
    for number in numbers or paths:
        notebook = deck(nbformat.read(paths[number], as_version=4))
        title = re.sub(r"^#\s*", "", notebook.cells[0].source.split("\n")[0])
        write_text_whole(target / f"{paths[number].stem}.html", to_slides(notebook, title))
        rows.append(f'<li><a href="{paths[number].stem}.html">{html.escape(title)}</a></li>')
    head = '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Slides</title></head>'
    return write_text_whole(target / "index.html", f"{head}<body><h1>Slides</h1><ul>{''.join(rows)}</ul></body></html>")


def to_slides(notebook: Any, title: str) -> str:
    """A deck as one page, which wants ``reveal/`` beside it and nothing else."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(raw_template=TEMPLATE % CSS, reveal_url_prefix="reveal", reveal_theme="white")
    page, _ = exporter.from_notebook_node(with_alt(with_mathml(notebook)), resources={"metadata": {"name": title}})
    return page


def deck(notebook: Any) -> Any:
    """The notebook cut up into slides: every cell gets a slide type, and prose is divided into shown and said."""
    from nbformat.v4 import new_markdown_cell, new_notebook

    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cells: list[Any] = []
    for cell in notebook.cells:
        if cell is first or cell.get("id", "").endswith("-header"):
            continue
        if cell.cell_type == "code":
            if cell.outputs or not re.fullmatch(r"(?:(?:import|from) [^\n]*\n*)+", cell.source):
                cells.append(_typed(cell, "subslide"))
            continue
        for text, kind in _parts(cell.source, after_code=bool(cells) and cells[-1].cell_type == "code"):
            cells.append(_typed(new_markdown_cell(text), kind))
    return new_notebook(cells=cells, metadata=notebook.metadata)


def _parts(source: str, after_code: bool) -> Iterator[tuple[str, str]]:
    """(text, slide type) of a cell of prose, in order. Of an exercise all is shown, of a section its first words."""
    exercise, kind, shown = False, "subslide" if after_code else "-", list[str]()
    for block in _blocks(source):
        heading = re.match(r"(#+) ", block)
        if heading or ALONE.match(block):
            if shown:
                yield "\n\n".join(shown), kind
            shown, kind = [], "slide" if heading and len(heading[1]) < 3 else "subslide"
            exercise = block.startswith("### Exercise")
        first = bool(shown) and shown[-1].startswith("#") and "\n" not in shown[-1]
        begins = block.startswith(SHOWN) or re.match(r"\d+\. ", block)
        if exercise or first or block.endswith(":") or (begins and not block.startswith(SAID)):
            shown.append(block)
            continue
        if shown:
            yield "\n\n".join(shown), kind
            shown, kind = [], "-"
        yield block, "notes"
    if shown:
        yield "\n\n".join(shown), kind


def _blocks(source: str) -> list[str]:
    """Paragraphs; what is folded away stays in one piece."""
    blocks = list[str]()
    for block in re.split(r"\n\s*\n", source.strip()):
        if blocks and blocks[-1].count("<details>") > blocks[-1].count("</details>"):
            blocks[-1] += f"\n\n{block}"
        else:
            blocks.append(block)
    return blocks


def _typed(cell: Any, kind: str) -> Any:
    cell.metadata = {"slideshow": {"slide_type": kind}}
    return cell


def _copy_reveal(target: Path) -> None:
    spec = find_spec("sphinx_revealjs")
    if spec is None or not spec.origin:
        raise BeftError(f"reveal.js is not here; it comes with the package sphinx-revealjs: {how('book')}")
    source = Path(spec.origin).parent / "_static" / "revealjs"
    unwanted = shutil.ignore_patterns("*.map", "*.esm.js", "*.eot", "*.ttf")
    for part in ("dist", "plugin/notes"):
        shutil.copytree(source / part, target / part, dirs_exist_ok=True, ignore=unwanted)
    shutil.copyfile(source / "LICENSE", target / "LICENSE")
