"""Lesson 02's widget: one small attention head whose three biases can be moved.

On the left the attention map; on the right, in the plane, the output of every token, hollow where it is without biases
and filled where it is with them. All numbers follow at once.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .display import describe
from .plots import _ink
from .widgets import Touchable, number_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TOKENS = ("the", "cat", "sat", "down")
QUERIES = np.array([[-0.6, 0.8], [1.8, -0.6], [0.4, 1.9], [-1.0, -1.0]])  # (T, d)
KEYS = np.array([[-1.3, 0.6], [1.9, 0.3], [0.2, 1.8], [-0.7, -1.6]])  # (T, d)
VALUES = np.array([[-2.6, 0.4], [2.4, 1.2], [0.4, 2.6], [-0.6, -2.8]])  # (T, d)
TURN = 1.0  # radian a position, where positions are rotary
TERMS = ("query", "key", "value")
COLOUR = "#AA4499"  # of the outputs: none of the three terms'
_ASIDE = ((9, -10), (9, -10), (9, 8), (-9, 8))  # where a token's name stands, in pixels from its filled point
_CELL, _PIXELS, _TOP, _LEFT = 58, 33, 46, 62  # of the live picture, in pixels
_REACH = 4.6  # of the plane shown, to every side
_AXIS = 'text-anchor="middle" font-size="12" fill="#333"'


class Biases(NamedTuple):
    """The three biases of the head, two numbers each, and whether positions are rotary."""

    query: tuple[float, float] = (0.0, 0.0)
    key: tuple[float, float] = (0.0, 0.0)
    value: tuple[float, float] = (0.0, 0.0)
    rotary: bool = False


def head(b: Biases) -> tuple[np.ndarray, np.ndarray]:
    """The head with these biases: attention (T, T), its rows summing to 1, and outputs (T, d)."""
    q, k, v = QUERIES + b.query, KEYS + b.key, VALUES + b.value  # (T, d) each
    if b.rotary:
        q, k = _rotated(q), _rotated(k)
    logits = q @ k.T / math.sqrt(q.shape[1])  # (T, T)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights, weights @ v


def _rotated(rows: np.ndarray) -> np.ndarray:
    """(T, 2) -> (T, 2): row i turned by i times TURN."""
    angle = TURN * np.arange(len(rows))
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * rows[:, 0] - s * rows[:, 1], s * rows[:, 0] + c * rows[:, 1]], axis=-1)


def numbers(b: Biases) -> dict[str, float]:
    """What the biases change, against the same head without any."""
    (weights, outputs), (plain, before) = head(b), head(Biases(rotary=b.rotary))
    moves = outputs - before  # (T, d)
    return {
        "largest change of an attention weight": float(np.abs(weights - plain).max()),
        "longest move of an output": float(np.hypot(*moves.T).max()),
        "how far the moves differ between tokens": float(np.hypot(*(moves - moves.mean(0)).T).max()),
    }


def in_words(b: Biases) -> str:
    """The picture in words, for those who do not see it."""
    weights, outputs = head(b)
    looks = ", ".join(f"{t!r} mostly at {TOKENS[int(w.argmax())]!r} ({w.max():.0%})" for t, w in zip(TOKENS, weights))  # noqa: B905
    places = ", ".join(f"{t!r} at ({x:.2f}, {y:.2f})" for t, (x, y) in zip(TOKENS, outputs, strict=True))
    terms = ", ".join(f"b_{t[0]} ({getattr(b, t)[0]:g}, {getattr(b, t)[1]:g})" for t in TERMS)
    kind = "with rotary positions" if b.rotary else "without rotary positions"
    return f"A head {kind}; {terms}. Left, the attention map: {looks}. Right, the outputs: {places}."


class AttentionExplorer(Touchable):
    """A head of four tokens and two dimensions; six sliders for the biases, a tick box for rotary positions."""

    hint = "Move its biases with the sliders, in a notebook."

    def __init__(self, biases: Biases):
        self.biases = biases

    def words(self) -> str:
        return in_words(self.biases)

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        from matplotlib.figure import Figure

        from .plots_attention import draw_map

        weights, outputs = head(self.biases)
        left, right = Figure(figsize=(7.8, 3.7), layout="constrained").subplots(1, 2)
        draw_map(left, weights, TOKENS, "percent (change by the biases)", head(Biases(rotary=self.biases.rotary))[0])
        left.set_ylabel("this token looks …")
        for token, now, before, (x, y) in zip(TOKENS, outputs, _before(self.biases), _ASIDE, strict=True):
            right.plot(*zip(before, now, strict=True), ":", color="#999999")
            right.plot(*before, "o", color="#555555", markerfacecolor="none", markersize=9)
            right.plot(*now, "o", color=COLOUR, markersize=7)
            place = {"ha": "left" if x > 0 else "right", "va": "center", "textcoords": "offset points"}
            right.annotate(token, (float(now[0]), float(now[1])), xytext=(0.7 * x, 0.7 * y), **place)
        right.set(
            xlim=(-_REACH, _REACH),
            ylim=(-_REACH, _REACH),
            aspect="equal",
            xlabel="first number",
            ylabel="second number",
        )
        right.set_title("outputs (hollow: no biases)", loc="left")
        right.grid(color="#dddddd")
        return describe(right, in_words(self.biases), self.table())

    def table(self) -> pd.DataFrame:
        import pandas as pd

        values = numbers(self.biases)
        return pd.DataFrame({"value": list(values.values())}, index=pd.Index(list(values)))

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        layout, style = ipywidgets.Layout(width="340px"), {"description_width": "150px"}
        sliders = [
            ipywidgets.FloatSlider(
                value=getattr(self.biases, term)[i], min=-2, max=2, step=0.1, readout_format=".1f", layout=layout,
                style=style, description=f"b_{term[0]}, {('first', 'second')[i]} number",
            )
            for term in TERMS for i in (0, 1)
        ]  # fmt: skip
        rotary = ipywidgets.Checkbox(value=self.biases.rotary, description="rotary positions", indent=False)
        zero = ipywidgets.Button(description="All biases to zero")
        picture, table = ipywidgets.HTML(), ipywidgets.HTML()

        def update(_: Any = None) -> None:
            at = [slider.value for slider in sliders]
            biases = Biases((at[0], at[1]), (at[2], at[3]), (at[4], at[5]), rotary.value)
            picture.value, table.value = _svg(biases), number_table(numbers(biases))

        def to_zero(_: Any) -> None:
            for slider in sliders:
                slider.value = 0.0

        for control in (*sliders, rotary):
            control.observe(update, names="value")
        zero.on_click(to_zero)
        update()
        wrap = ipywidgets.Layout(display="flex", flex_flow="row wrap", align_items="center", grid_gap="4px 16px")
        return ipywidgets.VBox([ipywidgets.Box([*sliders, rotary, zero], layout=wrap), picture, table])


def attention_explorer(
    query: Sequence[float] = (0, 0), key: Sequence[float] = (0, 0), value: Sequence[float] = (0, 0),
    rotary: bool = False,
) -> AttentionExplorer:  # fmt: skip
    """Move the biases of one small attention head, and watch its map and its outputs.

    Args:
        query, key, value: the biases to begin with, two numbers each, -2 to 2.
        rotary: whether queries and keys are turned by their position.
    """
    pairs = [(float(x), float(y)) for x, y in (query, key, value)]
    return AttentionExplorer(Biases(*pairs, rotary=rotary))


def _before(b: Biases) -> np.ndarray:
    """(T, d): the outputs of the same head without biases."""
    return head(Biases(rotary=b.rotary))[1]


def _svg(b: Biases) -> str:
    """Both pictures as SVG: a millisecond to make, sharp at any zoom."""
    weights, outputs = head(b)
    side = 2 * _REACH * _PIXELS
    wide, tall = _LEFT + len(TOKENS) * _CELL + 40 + side, _TOP + side + 10
    parts = [
        *_map(weights, head(Biases(rotary=b.rotary))[0]),
        *_plane(outputs, _before(b), _LEFT + len(TOKENS) * _CELL + 40, side),
    ]
    return (
        f'<svg role="img" aria-label="{html.escape(in_words(b))}" viewBox="0 0 {wide:.0f} {tall:.0f}" '
        f'width="{wide:.0f}" style="max-width: 100%; background: #fff; border: 1px solid #ccc" '
        f'font-family="sans-serif" font-size="14" fill="#111">{"".join(parts)}</svg>'
    )


def _map(weights: np.ndarray, before: np.ndarray) -> list[str]:
    from matplotlib import colormaps

    from .plots_attention import changed

    parts = [f'<text x="{_LEFT}" y="18" font-size="12">a row looks at a column: percent (change)</text>']
    for i, token in enumerate(TOKENS):
        parts.append(f'<text x="{_LEFT - 6}" y="{_TOP + (i + 0.6) * _CELL:.0f}" text-anchor="end">{token}</text>')
        parts.append(f'<text x="{_LEFT + (i + 0.5) * _CELL:.0f}" y="{_TOP - 8}" text-anchor="middle">{token}</text>')
    for (i, j), weight in np.ndenumerate(weights):
        x, y, paper = _LEFT + j * _CELL, _TOP + i * _CELL, colormaps["cividis"](float(weight))
        colour = "#" + "".join(f"{round(255 * c):02x}" for c in paper[:3])
        parts.append(f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="{colour}"/>')
        for down, size, text in (
            (0, 14, f"{100 * weight:.0f}"),
            (16, 11, f"({changed(100 * weight, 100 * float(before[i, j]))})"),
        ):
            parts.append(
                f'<text x="{x + _CELL / 2}" y="{y + _CELL / 2 + down:.0f}" font-size="{size}" text-anchor="middle" '
                f'fill="{_ink(paper)}">{text}</text>'
            )
    return parts


def _plane(outputs: np.ndarray, before: np.ndarray, left: float, side: float) -> list[str]:
    def at(point: np.ndarray) -> tuple[float, float]:
        inside = np.clip(point, -_REACH, _REACH)
        return left + (inside[0] + _REACH) * _PIXELS, _TOP + (_REACH - inside[1]) * _PIXELS

    x, y = at(np.zeros(2))
    parts = [
        f'<text x="{left}" y="18" font-size="12">outputs in the plane; hollow: no biases</text>',
        f'<path d="M{left} {y}H{left + side}M{x} {_TOP}V{_TOP + side}" stroke="#bbb"/>',
    ]
    for tick in (-4, -2, 2, 4):
        parts.append(f'<text x="{x + tick * _PIXELS:.0f}" y="{y + 16:.0f}" {_AXIS}>{tick}</text>')
        parts.append(f'<text x="{x - 12:.0f}" y="{y - tick * _PIXELS + 4:.0f}" {_AXIS}>{tick}</text>')
    for token, now, old, (dx, dy) in zip(TOKENS, outputs, before, _ASIDE, strict=True):
        (x, y), (x0, y0) = at(now), at(old)
        parts.append(f'<path d="M{x0:.1f} {y0:.1f}L{x:.1f} {y:.1f}" stroke="#999" stroke-dasharray="3 3"/>')
        parts.append(f'<circle cx="{x0:.1f}" cy="{y0:.1f}" r="6" fill="none" stroke="#555" stroke-width="1.5"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{COLOUR}"/>')
        anchor = "start" if dx > 0 else "end"
        parts.append(f'<text x="{x + dx:.1f}" y="{y - dy + 5:.1f}" text-anchor="{anchor}">{token}</text>')
    return parts
