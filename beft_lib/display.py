"""Showing pictures and tables so that everyone can read them: alt text on every picture, and its numbers below it.

A plotting function calls ``describe`` with what is to be seen and the numbers behind it; ``show`` displays all three.
"""

from __future__ import annotations

import base64
import io
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from math import floor, isnan, log10
from numbers import Number
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS = 90  # on the page for an inch of a figure; the picture itself has twice as many, so it is sharp at 200 %
COLOURS = 256  # of a picture's palette

_NUMBER = re.compile(r"[-+−–]?[\d,.]*( ?%)?(e[-+]?\d+)?$")
_CAPTION = "caption-side: top; text-align: left; white-space: nowrap"


@dataclass(frozen=True)
class Description:
    """What a picture shows, in words and in numbers."""

    alt: str
    table: pd.DataFrame


_DESCRIPTIONS: WeakKeyDictionary[Figure, list[Description]] = WeakKeyDictionary()


def describe(axes: Axes, alt: str, table: pd.DataFrame) -> Axes:
    """Give a picture its alt text and its table twin. Axes of one figure add theirs one after another."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    _DESCRIPTIONS.setdefault(figure, []).append(Description(alt, table))
    return axes


def descriptions(picture: Axes | Figure) -> list[Description]:
    """What was said of a picture by ``describe``; empty if nothing."""
    return list(_DESCRIPTIONS.get(_figure(picture), []))


def show(picture: Axes | Figure | pd.DataFrame, caption: str = "") -> None:
    """Display a picture with its alt text and, folded away below it, its numbers; or a table.

    The figure is closed, so that a notebook does not show it a second time. Outside a notebook the words and numbers
    are printed.
    """
    import pandas as pd

    if isinstance(picture, pd.DataFrame):
        _publish({"text/html": table_html(picture, caption), "text/plain": table_text(picture, caption)})
        return
    figure = _figure(picture)
    told = descriptions(figure)
    alt = " ".join(d.alt for d in told) or "A picture without a description."
    if caption:
        alt = f"{caption.rstrip('.')}. {alt}"
    png, width, height = _png(figure)
    _publish({"image/png": png, "text/plain": alt}, {"image/png": {"alt": alt, "width": width, "height": height}})
    if told:
        tables = "".join(table_html(d.table) for d in told)
        has_numbers = any(kind.kind in "iuf" for d in told for kind in d.table.dtypes)
        said = "The same in numbers" if has_numbers else "The same as a table"
        folded = f"<details><summary>{said}</summary>{tables}</details>"
        _publish({"text/html": folded, "text/plain": "\n\n".join(table_text(d.table) for d in told)})
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)


def say(sentences: Iterable[str]) -> None:
    """Sentences as a list, which a notebook breaks between words."""
    told = [f"- {sentence}" for sentence in sentences]
    _publish({"text/markdown": "\n".join(told), "text/plain": "\n".join(told)})


def table_html(table: pd.DataFrame, caption: str = "") -> str:
    """A table as plain HTML: numbers short and right-aligned, the caption above, the index's name in the first line."""
    if table.index.nlevels == 1 and table.columns.nlevels == 1 and table.columns.name is None:
        table = table.rename_axis(columns=table.index.name, index=None)  # pandas gives it a line of its own otherwise
    words = [name for name in table.columns if _is_text(table[name])]
    formats = {**_formatters(table), **dict.fromkeys(words, _left)}
    names = {name: _left(name) if name in words else _safe(name) for name in table.columns}
    table = table.rename(columns=names)
    several = table.index.nlevels > 1
    table.index = table.index.map((lambda labels: tuple(map(_safe, labels))) if several else _safe)
    html = table.to_html(
        formatters={names[name]: form for name, form in formats.items()}, border=0, na_rep="–", justify="right",
        escape=False,
    )  # fmt: skip
    return html.replace(">\n", f'>\n<caption style="{_CAPTION}">{escape(caption)}</caption>\n', 1) if caption else html


def table_text(table: pd.DataFrame, caption: str = "") -> str:
    """The same table as text."""
    text = table.to_string(formatters=_formatters(table), na_rep="–")
    return f"{caption}\n{text}" if caption else text


def column_format(values: Iterable[float]) -> Callable[[Any], str]:
    """How to write the numbers of one column: all alike, with three significant digits of the largest of them.

    One that would be written as zero, and is not, keeps two digits of its own.
    """
    largest = max((abs(v) for v in values if not isnan(v)), default=0.0)
    decimals = max(0, 2 - floor(log10(largest))) if largest else 0
    pattern = f"{{:,.{decimals}f}}" if decimals <= 6 else "{:.1e}"

    def write(value: float) -> str:
        if isnan(value) or value == 0:
            return "–" if isnan(value) else "0"
        return f"{value:.2g}" if abs(value) < 0.5 * 10**-decimals else pattern.format(value)

    return write


def _is_text(column: pd.Series) -> bool:
    """Whether a column holds anything but numbers (as such or written) and holes."""
    return column.dtype.kind == "O" and not all(
        value is None or isinstance(value, Number) or (isinstance(value, str) and _NUMBER.match(value))
        for value in column
    )


def _left(value: Any) -> str:
    """A cell of words, which read better from the left."""
    return f'<div style="text-align: left">{_safe(str(value))}</div>'


def _safe(name: Any) -> Any:
    return escape(name, quote=False) if isinstance(name, str) else name


def _formatters(table: pd.DataFrame) -> dict[Any, Callable[[Any], str]]:
    table = table.infer_objects()  # a table turned on its side holds numbers as objects
    kinds = {name: table[name].dtype.kind for name in table.columns}
    counts: dict[Any, Callable[[Any], str]] = {name: "{:,}".format for name, kind in kinds.items() if kind in "iu"}
    return counts | {name: column_format(table[name]) for name, kind in kinds.items() if kind == "f"}


def live_view(live: Callable[[], Any]) -> dict[str, Any]:
    """What a notebook needs to show the widget that ``live`` makes; {} where ipywidgets is not installed.

    By the model's id, which ipywidgets 7 (Colab) and 8 both have; how each displays itself differs.
    """
    try:
        model = live().model_id
    except ImportError:
        return {}
    return {"application/vnd.jupyter.widget-view+json": {"version_major": 2, "version_minor": 0, "model_id": model}}


def _figure(picture: Axes | Figure) -> Figure:
    from matplotlib.axes import Axes

    figure = picture.get_figure(root=True) if isinstance(picture, Axes) else picture
    assert figure is not None
    return figure


def _png(figure: Figure) -> tuple[str, int, int]:
    """The picture as base64, and the width and height in CSS pixels at which it is to be shown."""
    from PIL import Image  # matplotlib writes its own PNGs with it

    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=2 * PIXELS, facecolor="white", metadata={"Software": None})
    # Charts have few colours: a palette makes the file a third as large, and nobody sees a difference.
    palette = {"colors": COLOURS, "method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}
    Image.open(buffer).convert("RGB").quantize(**palette).save(small, "png", optimize=True)
    width, height = (round(inches * PIXELS) for inches in figure.get_size_inches())
    return base64.b64encode(small.getvalue()).decode("ascii"), width, height


def _publish(data: dict[str, str], metadata: dict[str, Any] | None = None) -> None:
    """To the notebook where there is one; otherwise its text to standard output."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        print(data["text/plain"])
        return
    from IPython.display import display

    display(data, raw=True, metadata=metadata or {})
