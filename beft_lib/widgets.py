"""Things to touch. Each shows itself live where widgets run, and as a static picture with a table where they do not."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .display import _png, _publish, describe, live_view, table_html
from .scores import importance, magnitude

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Not the colours of query, key and value, which belong to those everywhere; lines differ in their dashes as well.
BLACK, PURPLE, GREY = "#000000", "#AA4499", "#555555"
_X, _Y = (
    (-3.3, 3.3),
    (-2.2, 3.3),
)  # the part of the plane that is shown: no slider leaves it, and its diamonds are whole
_PIXELS = 66  # for one unit of length
_LEGEND_LINE = 20  # pixels for each of its lines, below the plane
_HEAD = 0.2  # length of an arrow's head
_LABEL = 'text-anchor="middle" font-weight="bold" paint-order="stroke" stroke="#fff" stroke-width="4"'
_TICK = 'text-anchor="middle" font-size="11" fill="#555"'
PRE = (1.0, 0.0)


@dataclass(frozen=True)
class Line:
    """One thing drawn: ``points`` (n, 2); ``dash`` in pixels, () for a solid line. With ``label_at``, (2,), it is an
    arrow and carries its label there; without, the label is in the legend.
    """

    points: np.ndarray
    colour: str
    label: str
    dash: tuple[float, ...] = ()
    width: float = 2.0
    label_at: np.ndarray | None = None


def iso_importance(score: float, points: int = 181) -> np.ndarray:
    """Every place to which pre = (1, 0) can move with the same importance: a closed curve, (2 * points, 2).

    With c = 1 - score, the equation cos(t) * min(r, 1/r) = c has two branches: inside the unit circle the straight line
    x = c, outside of it an arc of the circle through the origin with diameter 1/c. Right angles (c = 0) give the
    line x = 0; past them the curve is mirrored.
    """
    c = 1.0 - score
    if abs(c) < 1e-9:
        return np.stack([np.zeros(2 * points), np.linspace(-10, 10, 2 * points)], axis=-1)
    t = np.linspace(-1, 1, points) * math.acos(min(abs(c), 1.0))  # (points,) the angle
    inner, outer = abs(c) / np.cos(t), np.cos(t) / abs(c)  # (points,) lengths up to 1, and from 1 on
    angle, length = np.concatenate([t, t[::-1]]), np.concatenate([inner, outer[::-1]])
    return np.stack([np.sign(c) * length * np.cos(angle), length * np.sin(angle)], axis=-1)


def numbers(angle: float, ratio: float) -> dict[str, float]:
    """The scores of a move of pre = (1, 0) by an angle in degrees and a ratio of lengths; NaN where not defined."""
    pre = torch.tensor([PRE], dtype=torch.float64)
    post = torch.tensor(_post(angle, ratio)[None], dtype=torch.float64)
    return {
        "angle in degrees": angle,
        "length ratio r": ratio,
        "cosine": math.cos(math.radians(angle)) if ratio > 0 else math.nan,
        "min(r, 1/r)": min(ratio, 1 / ratio) if ratio > 0 else 0.0,
        "importance (BEFT)": importance(pre, post),
        "magnitude (mean |change|)": magnitude(pre, post),
    }


def in_words(angle: float, ratio: float) -> str:
    """The picture in words, for those who do not see it."""
    scores = numbers(angle, ratio)
    return (
        f"Two arrows from the origin: pre of length 1 along the horizontal axis, and post of length {ratio:g}, turned "
        f"by {angle:g} degrees. Importance {scores['importance (BEFT)']:.3f}, magnitude "
        f"{scores['magnitude (mean |change|)']:.3f}. A solid curve through the tip of post shows every place of the "
        "same importance, a dashed diamond around the tip of pre every place of the same magnitude."
    )


class Touchable:
    """What every widget shares: live where widgets run, and a picture with its numbers where they do not."""

    hint = ""

    def words(self) -> str:
        """The starting position in words."""
        raise NotImplementedError

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        raise NotImplementedError

    def table(self) -> pd.DataFrame:
        """The starting position in numbers."""
        raise NotImplementedError

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{self.words()} {self.hint}"

    def _ipython_display_(self) -> None:
        """The widget with the picture as its fallback, in one output: a front end without widgets shows the picture,
        and so does the committed lesson, from which the view (not the picture) is taken out.
        """
        axes = self.plot()
        png, width, height = _png(axes.get_figure(root=True))  # type: ignore[arg-type]
        picture = {"alt": self.words(), "width": width, "height": height}
        _publish({**live_view(self.live), "image/png": png, "text/plain": repr(self)}, {"image/png": picture})
        twin = f"<details><summary>The picture in numbers</summary>{table_html(self.table())}</details>"
        _publish({"text/html": twin, "text/plain": "The picture in numbers"})


class VectorExplorer(Touchable):
    """Two vectors in the plane: pre stays, post follows two sliders; every number and curve follows at once."""

    hint = "Move it with the sliders, in a notebook."

    def __init__(self, angle: float = 60.0, ratio: float = 1.5):
        self.angle, self.ratio = float(angle), float(ratio)

    def words(self) -> str:
        return in_words(self.angle, self.ratio)

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        return describe(drawn(_scene(self.angle, self.ratio)), in_words(self.angle, self.ratio), self.table())

    def table(self) -> pd.DataFrame:
        """The numbers of the starting position."""
        import pandas as pd

        values = numbers(self.angle, self.ratio)
        return pd.DataFrame({"value": [_shown(*pair) for pair in values.items()]}, index=pd.Index(list(values)))

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        layout = ipywidgets.Layout(width="100%", max_width="560px")
        style = {"description_width": "190px"}
        angle = ipywidgets.FloatSlider(
            value=self.angle, min=0, max=180, step=1, readout_format=".0f", layout=layout, style=style,
            description="Angle to pre (degrees)",
        )  # fmt: skip
        ratio = ipywidgets.FloatSlider(
            value=self.ratio, min=0, max=3, step=0.05, readout_format=".2f", layout=layout, style=style,
            description="Length of post / of pre",
        )  # fmt: skip
        picture, table = ipywidgets.HTML(), ipywidgets.HTML()

        def update(_: Any = None) -> None:
            picture.value = svg(_scene(angle.value, ratio.value), in_words(angle.value, ratio.value))
            table.value = number_table(numbers(angle.value, ratio.value))

        for slider in (angle, ratio):
            slider.observe(update, names="value")
        update()
        flow = ipywidgets.Layout(display="flex", flex_flow="row wrap", align_items="center", grid_gap="16px")
        return ipywidgets.VBox([angle, ratio, ipywidgets.Box([picture, table], layout=flow)])


def vector_explorer(angle: float = 60.0, ratio: float = 1.5) -> VectorExplorer:
    """Lesson 01's widget: drag angle and length of a vector, and watch importance and magnitude.

    Args:
        angle: between pre and post, in degrees, 0 to 180.
        ratio: length of post over length of pre, 0 to 3.
    """
    return VectorExplorer(angle, ratio)


def _post(angle: float, ratio: float) -> np.ndarray:
    """(2,): pre = (1, 0) turned and stretched."""
    return ratio * np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])


def _scene(angle: float, ratio: float) -> list[Line]:
    """What is drawn, once for both the live and the static picture."""
    post = _post(angle, ratio)
    t = np.linspace(0, 2 * math.pi, 121)
    size = float(np.abs(post - PRE).sum())
    diamond = np.array(PRE) + size * np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]])
    origin = np.zeros(2)
    score = numbers(angle, ratio)["importance (BEFT)"]
    return [
        Line(np.stack([np.cos(t), np.sin(t)], axis=-1), GREY, "as long as pre", (2, 3), 1.2),
        Line(diamond, GREY, "same magnitude as this move", (8, 5), 2.5),
        Line(iso_importance(score), PURPLE, "same importance as this move", (), 2.5),
        Line(np.stack([origin, np.array(PRE)]), BLACK, "pre", (), 3.0, np.array([0.9, -0.2])),
        Line(np.stack([origin, post]), PURPLE, "post", (), 3.0, post + 0.27 * _post(angle, 1.0)),
    ]


def drawn(lines: Iterable[Line]) -> Axes:
    """A scene as a static picture: arrows with their labels, curves with a legend below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 6.0), layout="constrained")
    axes = figure.subplots()
    for line in lines:
        arrow = line.label_at is not None
        x, y = (_shaft(line.points) if arrow else line.points).T
        style = (0, tuple(d / line.width for d in line.dash)) if line.dash else "-"
        (curve,) = axes.plot(x, y, color=line.colour, linewidth=line.width, linestyle=style, solid_capstyle="butt")
        curve.set_label("_" if arrow else line.label)
        if line.label_at is not None:
            axes.fill(*_head(line.points).T, color=line.colour)
            x, y = map(float, line.label_at)
            box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
            axes.text(x, y, line.label, weight="bold", ha="center", va="center", bbox=box)
    axes.set(xlim=_X, ylim=_Y, aspect="equal", xlabel="first number", ylabel="second number")
    figure.legend(loc="outside lower center", frameon=False, borderaxespad=1.2)
    return axes


def _head(points: np.ndarray) -> np.ndarray:
    """(3, 2): the triangle at the tip of an arrow; as short as a short arrow needs."""
    tip, along = points[-1], points[-1] - points[0]
    length = float(np.hypot(*along))
    along = along / length if length else np.zeros(2)
    size = min(_HEAD, 0.6 * length)
    across = np.array([-along[1], along[0]])
    return np.stack([tip, tip - size * along + 0.45 * size * across, tip - size * along - 0.45 * size * across])


def _shaft(points: np.ndarray) -> np.ndarray:
    """(2, 2): an arrow's line, which ends inside its head."""
    length = float(np.hypot(*(points[-1] - points[0])))
    keep = 1 - 0.5 * min(_HEAD, 0.6 * length) / length if length else 1.0
    return np.stack([points[0], points[0] + keep * (points[-1] - points[0])])


def svg(lines: Sequence[Line], words: str) -> str:
    """A scene as SVG: a millisecond to make, sharp at any zoom. ``words`` say the same to those who do not see it."""
    width, height = (_X[1] - _X[0]) * _PIXELS, (_Y[1] - _Y[0]) * _PIXELS
    legend_height = _LEGEND_LINE * sum(line.label_at is None for line in lines) + 8

    def path(points: np.ndarray) -> str:
        x, y = (points[:, 0] - _X[0]) * _PIXELS, (_Y[1] - points[:, 1]) * _PIXELS
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    parts = [f'<polyline points="{path(np.array(axis))}" stroke="#bbb" fill="none"/>' for axis in _axes_lines()]
    for x in (-3, -2, -1, 1, 2, 3):
        parts.append(f'<text x="{(x - _X[0]) * _PIXELS:.0f}" y="{_Y[1] * _PIXELS + 18:.0f}" {_TICK}>{x}</text>')
    legend = [f'<rect x="0" y="{height:.0f}" width="{width:.0f}" height="{legend_height}" fill="#fff"/>']
    for line in lines:
        dash = f' stroke-dasharray="{" ".join(map(str, line.dash))}"' if line.dash else ""
        stroke = f'stroke="{line.colour}" stroke-width="{line.width}"{dash}'
        if line.label_at is not None:
            x, y = path(line.label_at[None]).split(",")
            parts.append(f'<polyline points="{path(_shaft(line.points))}" {stroke} fill="none"/>')
            parts.append(f'<polygon points="{path(_head(line.points))}" fill="{line.colour}"/>')
            parts.append(f'<text x="{x}" y="{y}" dy="5" {_LABEL}>{line.label}</text>')
        else:
            y = height + 10 + _LEGEND_LINE / 2 * len(legend)
            parts.append(f'<polyline points="{path(line.points)}" {stroke} fill="none"/>')
            legend.append(f'<line x1="8" x2="48" y1="{y - 5:.0f}" y2="{y - 5:.0f}" {stroke}/>')
            legend.append(f'<text x="56" y="{y:.0f}">{html.escape(line.label)}</text>')
    return (
        f'<svg role="img" aria-label="{html.escape(words)}" viewBox="0 0 {width:.0f} {height + legend_height:.0f}" '
        f'width="{width:.0f}" style="max-width: 100%; background: #fff; border: 1px solid #ccc" '
        f'font-family="sans-serif" font-size="14" fill="#111">{"".join(parts + legend)}</svg>'
    )


def _axes_lines() -> list[list[tuple[float, float]]]:
    """The two axes, with a tick at every whole number."""
    ticks_x = [[(float(i), -0.06), (float(i), 0.06)] for i in range(math.ceil(_X[0]), math.floor(_X[1]) + 1)]
    ticks_y = [[(-0.06, float(i)), (0.06, float(i))] for i in range(math.ceil(_Y[0]), math.floor(_Y[1]) + 1)]
    return [[(_X[0], 0.0), (_X[1], 0.0)], [(0.0, _Y[0]), (0.0, _Y[1])], *ticks_x, *ticks_y]


def number_table(values: dict[str, float]) -> str:
    """Numbers by name as an HTML table that a screen reader says anew when it changes."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left">{html.escape(name)}</th>'
        f'<td style="text-align: right">{_shown(name, value)}</td></tr>'
        for name, value in values.items()
    )
    return f'<table aria-live="polite">{rows}</table>'


def _shown(name: str, value: float) -> str:
    """A number of the explorer as it is written, in its table as in that of the still picture."""
    if math.isnan(value):
        return "not defined"
    return f"{value:g}" if name in ("angle in degrees", "length ratio r") else f"{value:.3f}"
