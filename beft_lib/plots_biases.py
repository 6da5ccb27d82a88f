"""One drawing of attention: where each of the three biases enters, and what it can do from there (lesson 02)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from .architectures import TERMS
from .display import describe
from .plots import LOOKS, OTHER, _axes, styled


class Box(NamedTuple):
    """A step of attention: its text, its middle, how wide it is, and whose colour it has ("" for none)."""

    text: str
    x: float
    y: float
    wide: float
    term: str = ""


_HIGH, _BIAS = 0.62, 0.62  # of every box: its height; the width of a bias, which is drawn at the right end of its own
_ROWS = {"query": 4.1, "key": 2.9, "value": 1.0}
BOXES = {
    "input": Box("$x$", 0.35, 2.5, 0.5),
    **{term: Box(f"$W_{term[0]}\\,x$", 2.0, y, 0.9, term) for term, y in _ROWS.items()},
    **{f"b_{t[0]}": Box(f"$+\\,b_{t[0]}$", 2.0 + (0.9 + _BIAS) / 2, y, _BIAS, t) for t, y in _ROWS.items()},
    "logits": Box("$q_i \\cdot k_j\\,/\\sqrt{d}$", 5.0, 3.5, 1.6),
    "softmax": Box("softmax of a row", 7.6, 3.5, 2.1),
    "mean": Box("weighted mean", 7.6, 1.0, 1.9),
    "output": Box("$W_o\\,z$", 9.45, 1.0, 0.8),
    "b_o": Box("$+\\,b_o$", 9.45 + (0.8 + _BIAS) / 2, 1.0, _BIAS),
}
ARROWS = {  # from, to: what is written beside it
    ("input", "query"): "", ("input", "key"): "", ("input", "value"): "", ("b_q", "logits"): "query $q$",
    ("b_k", "logits"): "key $k$", ("logits", "softmax"): "logits", ("softmax", "mean"): "weights $a$",
    ("b_v", "mean"): "value $v$", ("mean", "output"): "$z$",
}  # fmt: skip
ENTERS = {
    "query": "added to the query, before the logits",
    "key": "added to the key, before the logits",
    "value": "added to the value, which the softmax never sees",
}
DOES = {
    "query": "tilts the logits: key j gets a bonus or a penalty, whoever asks",
    "key": "does nothing: it adds one number to a whole row, and softmax cancels it",
    "value": "passes straight through: a constant, the same for every token, and b_o could hold it",
}


@styled
def attention_drawing(effects: bool = False, ax: Axes | None = None) -> Axes:
    """Attention as boxes and arrows, the three biases in the colours that they have everywhere.

    Args:
        effects: draw as well how far each bias gets, and say what it can do: for models whose positions are added to
            the words, as BERT's are (with rotary positions the key's is another story).
    """
    ax = _axes(7.9, 4.1 if effects else 3.6, ax)
    ax.set(xlim=(0, 10.6), ylim=(-0.6 if effects else 0.4, 5.1 if effects else 4.6))
    ax.axis("off")
    for (start, end), text in ARROWS.items():
        _arrow(ax, BOXES[start], BOXES[end], text)
    for box in BOXES.values():
        _draw(ax, box)
    told = pd.DataFrame({"where it enters": ENTERS}, index=pd.Index(TERMS, name="bias"))
    if effects:
        _effects(ax)
        told["what it can do"] = DOES
    ways = "; ".join(
        f"the {term} bias is {ENTERS[term]}" + (f", and {DOES[term]}" if effects else "") for term in TERMS
    )
    alt = (
        "Attention as boxes and arrows. From the input x come query, key and value, each by a matrix and a bias. Query "
        "times key gives the logits, softmax turns a row of them into weights, the weighted mean of the values goes "
        f"through the output projection. Where the biases are: {ways}."
    )
    return describe(ax, alt, told)


def _draw(ax: Axes, box: Box) -> None:
    """A box; a bias is thick, in its term's colour. The text is black: some of the colours are too light for it."""
    look, bias = LOOKS.get(box.term, OTHER), box.text.startswith("$+")
    ax.add_patch(
        FancyBboxPatch(
            (box.x - box.wide / 2, box.y - _HIGH / 2), box.wide, _HIGH, boxstyle="square,pad=0",
            edgecolor=look.color, facecolor=(look.color, 0.35) if bias and box.term else "white",
            linewidth=2.5 if bias and box.term else 1.2, zorder=3 if bias else 2,
        )
    )  # fmt: skip
    ax.text(box.x, box.y, box.text, ha="center", va="center", zorder=4, weight="bold" if bias else "normal")


def _arrow(ax: Axes, start: Box, end: Box, text: str) -> None:
    """From the right of a box to the left of another, or straight down; what flows there is written beside it."""
    down = start.x == end.x
    a = (start.x, start.y - _HIGH / 2) if down else (start.x + start.wide / 2, start.y)
    b = (end.x, end.y + _HIGH / 2) if down else (end.x - end.wide / 2, end.y)
    ax.annotate("", b, a, arrowprops={"arrowstyle": "-|>", "color": "#333333", "shrinkA": 1, "shrinkB": 1})
    x, y = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
    slope = (b[1] > a[1]) - (b[1] < a[1])
    if down or not slope:
        place: dict[str, Any] = {"ha": "left", "va": "center"} if down else {"ha": "center", "va": "bottom"}
        ax.text(x + 0.12 * down, y + 0.17 * (not down), text, fontsize=9.5, **place)
    else:  # beside a slope the text keeps off the line
        ax.text(x, y - 0.12 * slope, text, fontsize=9.5, ha="left", va="top" if slope > 0 else "bottom")


def _effects(ax: Axes) -> None:
    """How far each bias gets: the query's through the softmax, the key's up to it, the value's past it, into b_o."""
    logits, softmax, mean, after = (BOXES[name] for name in ("logits", "softmax", "mean", "b_o"))
    over, under, left = logits.y + 0.13, logits.y - 0.13, softmax.x - softmax.wide / 2
    enter, low = logits.x - logits.wide / 2, BOXES["b_v"].y - _HIGH / 2 - 0.16
    ways = {
        "query": [(3.04, _ROWS["query"] - 0.1), (enter, over), (left, over), (softmax.x - 0.3, over),
                  (softmax.x - 0.3, mean.y + _HIGH / 2 + 0.02)],
        "key": [(3.04, _ROWS["key"] + 0.1), (enter, under), (left - 0.2, under)],
        "value": [(BOXES["b_v"].x, low + 0.16), (BOXES["b_v"].x, low), (after.x, low), (after.x, after.y - _HIGH / 2)],
    }  # fmt: skip
    for term, way in ways.items():
        look = LOOKS[term]
        ax.plot(*zip(*way, strict=True), look.line, color=look.color, linewidth=2.5, zorder=1)
        if term != "key":
            ax.plot(*way[-1], "^" if term == "value" else "v", color=look.color, markersize=8, zorder=5)
    ax.plot(left - 0.2, under, "x", color=LOOKS["key"].color, markersize=11, markeredgewidth=3.5, zorder=5)
    for at, height in enumerate((0.42, 0.15, 0.62, 0.3)):  # four keys, four sizes
        ax.bar(4.62 + 0.25 * at, height, 0.19, bottom=logits.y + 0.42, color=LOOKS["query"].color)
    notes = {"query": (5.75, 4.6), "key": (4.0, 2.75), "value": (3.0, 0.05)}
    for term, (x, y) in notes.items():
        first, then = DOES[term].split(": ")
        said = f"$b_{term[0]}$ {first}:\n{then}".replace("b_o", "$b_o$").replace("key j ", "key $j$ ")
        if term == "key":  # room for it is left of the arrow only
            said = said.replace("whole row, and", "whole\nrow, and")
        ax.text(x, y, said, fontsize=9.5, va="top" if term != "query" else "center", linespacing=1.35)
