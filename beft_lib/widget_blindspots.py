"""Lesson 04's widget: two moves that one ruler cannot tell apart.

Pre is (1, 0). Two sliders say where it moves; three curves through that point hold every move of the same importance,
of the same magnitude, and with a gradient of the same Fisher information. A twin walks along the curve of one ruler:
that ruler's number stays as it is, and the others change.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .display import describe, table_html
from .errors import UnknownName
from .scores import importance, magnitude
from .widgets import _X, _Y, BLACK, GREY, PRE, PURPLE, Line, Touchable, drawn, iso_importance, svg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

INDIGO, BROWN = "#332288", "#7F3B08"
RULERS = ("importance", "magnitude", "Fisher")
_SPAN = ((-3.0, 3.0), (-1.5, 3.0))  # where the sliders reach
_FINE = 2001  # points of a curve: the twin stands on one of them, so that its number is exactly the same


class Moves(NamedTuple):
    """Where pre = (1, 0) goes, the ruler that cannot tell the twin's move apart from it, and how far around the twin
    has walked, in percent.
    """

    x: float
    y: float
    ruler: str
    walk: float

    @property
    def post(self) -> np.ndarray:
        return np.array([self.x, self.y])


def numbers(post: np.ndarray) -> dict[str, float]:
    """What each ruler says of the move of pre = (1, 0) to ``post`` (2,).

    Fisher sees no move. So the move is read as one step of plain gradient descent with learning rate 1 on one example:
    then the gradient is pre - post, and its Fisher information the mean of its squares.
    """
    before, after = (torch.tensor(v, dtype=torch.float64)[None] for v in (PRE, post))  # (1, 2) each
    scores = (importance(before, after), magnitude(before, after), (after - before).square().mean().item())
    return dict(zip(RULERS, scores, strict=True))


def level_set(ruler: str, post: np.ndarray) -> np.ndarray:
    """Every place of the same number by one ruler as ``post`` (2,): a closed curve, (n, 2), on which ``post`` is."""
    if ruler == "importance":
        return iso_importance(numbers(post)[ruler], _FINE)
    move = post - PRE
    t = np.linspace(0, 2 * np.pi, 2 * _FINE)
    circle = np.stack([np.cos(t), np.sin(t)], axis=-1)  # (n, 2)
    if ruler == "Fisher":
        return PRE + np.hypot(*move) * circle
    return PRE + np.abs(move).sum() * circle / np.abs(circle).sum(-1, keepdims=True)


@lru_cache(maxsize=8)
def twin(moves: Moves) -> np.ndarray:
    """(2,): where the twin stands, ``walk`` percent of the way around the part of the curve that is on the map."""
    curve = level_set(moves.ruler, moves.post)
    (left, right), (low, high) = _SPAN
    x, y = curve.T
    curve = curve[(left <= x) & (x <= right) & (low <= y) & (y <= high)]
    nearest = int(np.hypot(*(curve - moves.post).T).argmin()) if len(curve) else 0
    curve = np.concatenate([moves.post[None], np.roll(curve, -nearest, axis=0)[1:]])  # (m, 2), begins at post
    gone = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])  # (m,) length of the way
    return curve[min(int(np.searchsorted(gone, moves.walk / 100 * gone[-1])), len(curve) - 1)]


def compared(moves: Moves) -> pd.DataFrame:
    """Both moves by every ruler, (3, 2)."""
    import pandas as pd

    return pd.DataFrame({"your move": numbers(moves.post), "its twin": numbers(twin(moves))})


def in_words(moves: Moves) -> str:
    """The picture in words, for those who do not see it."""
    frame, (x, y) = compared(moves), twin(moves)
    told = [", ".join(f"{ruler} {value:.3f}" for ruler, value in frame[name].items()) for name in frame]
    return (
        f"From the origin, pre goes to (1, 0). Your move takes it to ({moves.x:.2f}, {moves.y:.2f}): {told[0]}. Its "
        f"twin, which has the same {moves.ruler}, goes to ({x:.2f}, {y:.2f}): {told[1]}. Through the tip of post run a "
        "solid curve of the same importance, a dashed diamond around the tip of pre of the same magnitude, and a "
        "dotted circle around it of the same Fisher."
    )


class BlindSpots(Touchable):
    """A move in the plane, and a twin of it which one ruler cannot tell apart."""

    hint = "Move both with the sliders, in a notebook."

    def __init__(self, moves: Moves):
        self.moves = moves

    def words(self) -> str:
        return in_words(self.moves)

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        return describe(drawn(_scene(self.moves)), in_words(self.moves), self.table())

    def table(self) -> pd.DataFrame:
        return compared(self.moves)

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        wide = {"layout": ipywidgets.Layout(width="100%", max_width="560px"), "style": {"description_width": "190px"}}
        x, y = (
            ipywidgets.FloatSlider(
                value=value, min=low, max=high, step=0.05, readout_format=".2f", description=f"Post, {which} number",
                **wide,
            )
            for value, (low, high), which in zip(self.moves.post, _SPAN, ("first", "second"), strict=True)
        )  # fmt: skip
        # Buttons, not a list: in JupyterLab a list did not answer the arrow keys, which its notebooks use themselves.
        ruler = ipywidgets.ToggleButtons(
            options=RULERS, value=self.moves.ruler, description="The twin has the same",
            style={"description_width": "190px", "button_width": "100px"},
        )  # fmt: skip
        walk = ipywidgets.IntSlider(value=round(self.moves.walk), description="Twin, percent around", **wide)
        picture, table = ipywidgets.HTML(), ipywidgets.HTML()

        def update(_: Any = None) -> None:
            moves = Moves(x.value, y.value, str(ruler.value), walk.value)
            picture.value, table.value = svg(_scene(moves), in_words(moves)), _table(moves)

        for control in (x, y, ruler, walk):
            control.observe(update, names="value")
        update()
        flow = ipywidgets.Layout(display="flex", flex_flow="row wrap", align_items="center", grid_gap="16px")
        return ipywidgets.VBox([x, y, ruler, walk, ipywidgets.Box([picture, table], layout=flow)])


def blind_spots(x: float = 1.6, y: float = 1.2, ruler: str = "importance", walk: float = 60) -> BlindSpots:
    """Lesson 04's widget: move a vector, and walk along what a ruler cannot see.

    Args:
        x, y: where pre = (1, 0) goes; -3 to 3, and -1.5 to 3.
        ruler: "importance", "magnitude" or "Fisher": the one that cannot tell the twin apart.
        walk: where the twin begins, in percent of the way around its curve.

    Raises UnknownName for another ruler.
    """
    if ruler not in RULERS:
        raise UnknownName("ruler", ruler, RULERS)
    return BlindSpots(Moves(float(x), float(y), ruler, float(walk)))


def _scene(moves: Moves) -> list[Line]:
    """What is drawn, once for both the live and the static picture."""
    looks: dict[str, tuple[str, tuple[float, ...]]]
    looks = {"importance": (PURPLE, ()), "magnitude": (GREY, (8, 5)), "Fisher": (INDIGO, (2, 4))}
    curves = [
        Line(level_set(r, moves.post)[:: _FINE // 200], colour, f"same {r} as your move", dash, 2.5)
        for r, (colour, dash) in looks.items()
    ]
    arrows = [("pre", np.array(PRE), BLACK), ("twin", twin(moves), BROWN), ("post", moves.post, PURPLE)]
    return curves + [
        Line(np.stack([np.zeros(2), tip]), colour, name, (), 3.0, _beside(tip)) for name, tip, colour in arrows
    ]


def _beside(tip: np.ndarray) -> np.ndarray:
    """(2,): where an arrow's name stands, beyond its tip and on the map."""
    length = float(np.hypot(*tip))
    away = tip / length if length else np.array([0.0, 1.0])
    inside = [(edge[0] + 0.25, edge[1] - 0.15) for edge in (_X, _Y)]
    return np.array([np.clip(at, *edge) for at, edge in zip(tip + 0.27 * away, inside, strict=True)])


def _table(moves: Moves) -> str:
    """Both columns, in a region that a screen reader says anew when it changes."""
    frame = compared(moves)
    same = (frame["your move"] - frame["its twin"]).abs() < 1e-9
    frame = frame.map("{:.3f}".format).assign(**{"": ["the same" if equal else "" for equal in same]})
    return f'<div aria-live="polite">{table_html(frame)}</div>'
