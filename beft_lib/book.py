"""The course as a site: the lessons as they were executed, the glossary and the teachers' notes, with search.

Sphinx and MyST-NB build it. Nothing is executed, and no page loads anything from elsewhere: formulas are MathML. A link
that leads nowhere stops the build.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from . import __version__
from .course import lessons, to_mathml, with_alt
from .errors import BeftError
from .files import write_text_whole
from .places import checkout, lessons_folder

PAGES = {"GLOSSARY.md": "Words", "INSTRUCTORS.md": "For teachers"}  # beside the lessons: file to caption
INDEX = """\
# BEFT, hands on

A course in notebooks on **Bias-Efficient Fine-Tuning**: choose the one attention bias that matters, and fine-tune only
that. These pages show the lessons as they were run. To change something and run it yourself, open them in JupyterLab:
`python -m beft_lib lab`.

New here? Begin with [Start here]({first}). A word is explained in the [glossary](GLOSSARY.md).
"""
CSS = """\
.bd-article img { max-width: 100%; height: auto; }
.bd-article math[display="block"] { overflow-x: auto; overflow-y: hidden; margin: .5rem 0 1rem; padding: .3rem 0; }
.bd-article pre { font-size: .8rem; }
.bd-article .cell_output { overflow-x: auto; }
.bd-article table { width: auto; }
.bd-article .cell_output :is(td, th) { padding: .15rem .5rem; }
"""
SETTINGS: dict[str, Any] = {
    "project": "BEFT, hands on",
    "author": "the beft-lib authors",
    "copyright": "the beft-lib authors. Lessons: CC BY 4.0, code: MIT",
    "release": __version__,
    "language": "en",
    "extensions": ["myst_nb", "beft_lib.book"],
    "html_theme": "sphinx_book_theme",
    "html_title": "BEFT, hands on",
    "html_static_path": ["_static"],
    "html_css_files": ["book.css"],
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_math_renderer": "mathml",
    "html_theme_options": {"use_download_button": False, "show_toc_level": 2, "navbar_persistent": []},
    "html_context": {"default_mode": "auto"},
    "exclude_patterns": [],
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 3,
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", type=Path, help="where the site goes (default: build/book)")
    parser.add_argument("--solutions", action="store_true", help="with the solved lessons as an appendix")


def run(args: argparse.Namespace) -> int:
    target = (args.to or (checkout() or Path.cwd()) / "build" / "book").resolve()
    print(f"Read it: {build_book(target, args.solutions)}")
    return 0


def build_book(target: Path, solutions: bool = False) -> Path:
    """Build the site into ``target`` (which is emptied) and return its first page.

    Raises BeftError where Sphinx is missing, and with Sphinx's own words for a link that leads nowhere, a heading out
    of order and the like.
    """
    try:
        for name in ("myst_nb", "sphinx_book_theme"):
            import_module(name)
        from sphinx.application import Sphinx  # pyright: ignore[reportMissingImports] - not in .venv
        from sphinx.util.console import nocolor  # pyright: ignore[reportMissingImports]
        from sphinx.util.docutils import docutils_namespace  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise BeftError(f"The site needs {error.name}, which is not part of the course: {how('book')}") from error
    with tempfile.TemporaryDirectory(prefix="beft-book-") as folder:
        source = Path(folder, "source")
        stage(source, solutions)
        shutil.rmtree(target, ignore_errors=True)
        said = io.StringIO()
        nocolor()
        with docutils_namespace(), contextlib.redirect_stdout(io.StringIO()):  # MyST-NB prints what it does
            app = Sphinx(
                source,
                None,
                target,
                Path(folder, "trees"),
                "html",
                SETTINGS,
                status=None,
                warning=said,
                keep_going=True,
            )
            app.build(force_all=True)
    if said.getvalue().strip():
        raise BeftError(f"The site has something to mend:\n{said.getvalue().strip()}")
    return target / "index.html"


def how(extra: str) -> str:
    """How to install what an extra brings, in the words of this installation."""
    return f".venv/bin/python -m pip install -e '.[{extra}]'" if checkout() else f"pip install 'beft-lib[{extra}]'"


def stage(source: Path, solutions: bool) -> None:
    """Write what Sphinx reads: pictures with their alt text, pages for the words, and the table of contents."""
    import nbformat

    folder = lessons_folder()
    chapters = {"Lessons": [path.stem for path in lessons(folder)]}
    for name, caption in PAGES.items():
        if (folder / name).is_file():
            write_text_whole(source / name, (folder / name).read_text(encoding="utf-8"))
            chapters[caption] = [Path(name).stem]
    if solutions:
        chapters["Solutions"] = [f"solutions/{path.stem}" for path in lessons(folder / "solutions")]
    for name in (*chapters["Lessons"], *chapters.get("Solutions", [])):
        notebook = with_alt(nbformat.read(folder / f"{name}.ipynb", as_version=4))
        if "/" in name:
            title = notebook.cells[0].source.split("\n", 1)
            notebook.cells[0].source = "\n".join([f"{title[0]} (solved)", *title[1:]])
        write_text_whole(source / f"{name}.ipynb", nbformat.writes(notebook))
    tree = "\n```{{toctree}}\n:caption: {}\n:maxdepth: 1\n\n{}\n```\n"
    trees = "".join(tree.format(caption, "\n".join(pages)) for caption, pages in chapters.items())
    write_text_whole(source / "index.md", INDEX.format(first=f"{chapters['Lessons'][0]}.ipynb") + trees)
    write_text_whole(source / "_static" / "book.css", CSS)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this: formulas become MathML when the page is written."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _formula(writer: Any, node: Any) -> None:
    from docutils.nodes import SkipNode, math_block  # pyright: ignore[reportMissingModuleSource]

    writer.body.append(to_mathml(node.astext(), block=isinstance(node, math_block)))
    raise SkipNode
