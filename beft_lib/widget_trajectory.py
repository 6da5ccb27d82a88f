"""Lesson 03's widget: replay a probe. How far has each term turned, how much longer has it become, which would win?

Every term's pre is drawn as the same arrow of length 1; its post has the true angle to pre, and the true ratio of
lengths. Angle and ratio are all that importance is made of, so one plane shows vectors of any width.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .display import describe
from .errors import UnknownName
from .plots import LOOKS, _begun, short, styled
from .probing import ProbeResult
from .scores import rank_terms
from .widgets import BLACK, GREY, Touchable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ALL = "all (mean)"
_WIDE, _HIGH, _EDGE = 310, 240, 24  # pixels: the plane, and what is left free around it. Narrow, so that at 200 %
# zoom it need not shrink below what can be read
_ROW, _BAR, _LONG = 28, 104, 84  # of the bars: from row to row, where they begin, how long they get
_ASIDE = {"query": (11, 5, "start"), "key": (4, 21, "start"), "value": (-2, -12, "end")}  # a name from its tip
_DASH = {"-": "", "--": "8 4", "-.": "9 3 2 3"}  # LOOKS' lines in pixels
_SHAPES = {  # LOOKS' markers around (0, 0)
    "o": '<circle r="6"/>', "s": '<rect x="-5.5" y="-5.5" width="11" height="11"/>', "^": '<path d="M0 -7L7 6H-7Z"/>',
}  # fmt: skip
_HATCH = {"//": "M0 8L8 0", "..": "M3 4h2", "\\\\": "M0 0L8 8"}  # LOOKS' hatches in a tile of 8 pixels
_BOLD = ' font-weight="bold"'
_SECONDS, _FASTEST = 15, 80  # how long it plays if no picture is shown for less than so many milliseconds


class Moves(NamedTuple):
    """One term at every recorded step: a row a step, a column a layer, and the mean over the layers as the last."""

    angle: np.ndarray  # (S, L + 1) between pre and post, degrees
    ratio: np.ndarray  # (S, L + 1) |post| / |pre|
    length: np.ndarray  # (S, L + 1) |post - pre| / |pre|
    importance: np.ndarray  # (S, L + 1)

    def tips(self, layer: int) -> np.ndarray:
        """(S, 2): where post's tip is, with pre = (1, 0)."""
        turn, ratio = np.radians(self.angle[:, layer]), self.ratio[:, layer]
        return np.stack([ratio * np.cos(turn), ratio * np.sin(turn)], axis=-1)


def moves_of(result: ProbeResult) -> dict[str, Moves]:
    """What a probe's record says of every term. NaN where a vector of length 0 has no angle, or nothing to compare to.

    The mean is over the layers that have one. It is a mean of what is shown, layer by layer: the importance of the
    mean is the one by which BEFT chooses.
    """
    scores, told = result.curve(), {}
    for term, pre in result.pre.items():  # (L, d)
        before, rows = pre.norm(dim=-1), []
        for deltas in result.trajectory[term]:  # a step at a time: all of them in float64 might not fit
            post = pre + deltas.double()
            after = post.norm(dim=-1)
            cosine = ((pre * post).sum(-1) / (before * after)).clamp(-1, 1)
            still = (post == pre).all(-1) & (before > 0)  # rounding would turn it by a millionth of a degree
            angle = torch.where(still, 0.0, torch.rad2deg(torch.arccos(cosine)))
            away = torch.where(before > 0, (post - pre).norm(dim=-1) / before, math.nan)
            rows.append(torch.stack([angle, torch.where(before > 0, after / before, math.nan), away]).numpy())
        every = [*np.stack(rows, 1), scores[term]]  # (S, L) each
        told[term] = Moves(*(np.column_stack([of, np.nanmean(of, axis=1)]) for of in every))
    return told


class TrajectoryPlayer(Touchable):
    """The record of a probe, a step at a time: of one layer, or the mean of all.

    ``at`` counts the records from 0, ``layer`` the layers; -1 is the last record, and the mean over layers.
    """

    hint = "Play it, or move its sliders, in a notebook."

    def __init__(self, result: ProbeResult, at: int = -1, layer: int = -1):
        _begun(len(result.steps) - 1)
        rank_terms(result.pre, result.pre)  # refuses a term without any length
        self.result, self.moves = result, moves_of(result)
        self.at, self.layer = at % len(result.steps), layer

    @property
    def layers(self) -> int:
        return len(next(iter(self.result.pre.values())))

    def chosen(self, at: int) -> str:
        """The term of the highest importance, mean over layers, after record ``at``; "" before anything has moved."""
        means = {term: of.importance[at, -1] for term, of in self.moves.items()}
        return max(means, key=lambda term: means[term]) if any(means.values()) else ""

    def numbers(self, at: int, layer: int) -> pd.DataFrame:
        """What is shown of every term, (terms, 4)."""
        import pandas as pd

        rows = {
            term: {
                "angle (degrees)": of.angle[at, layer], "length ratio r": of.ratio[at, layer],
                "move / length of pre": of.length[at, layer], "importance": of.importance[at, layer],
            }
            for term, of in self.moves.items()
        }  # fmt: skip
        return pd.DataFrame.from_dict(rows, orient="index")

    def loss(self, at: int) -> str:
        """The loss before the step that was recorded, and the mean of the last ten, as ``plots.losses`` draws it."""
        step, losses = int(self.result.steps[at]), self.result.losses
        if not 1 <= step <= len(losses):
            return ""
        return f"loss {losses[step - 1]:.3f} (mean of the last 10 steps: {losses[max(0, step - 10) : step].mean():.3f})"

    def title(self, at: int, layer: int) -> str:
        where = f"mean of {self.layers} layers" if layer == -1 else f"layer {layer}"
        told = f"Step {self.result.steps[at]} of {self.result.steps[-1]}, {where}"
        return f"{told}; {self.loss(at)}" if self.loss(at) else told

    def choice(self, at: int) -> str:
        term = self.chosen(at)
        return f"BEFT would now choose {term} (mean over all layers)" if term else "Nothing has moved: no choice yet"

    def words(self) -> str:
        return self.in_words(self.at, self.layer)

    def in_words(self, at: int, layer: int) -> str:
        """The picture in words, for those who do not see it."""
        told = [
            f"{term} turned by {_plain(row.iloc[0], 1)} degrees, {_plain(row.iloc[1], 2)} times as long as before, "
            f"importance {short(row.iloc[3])}"
            for term, row in self.numbers(at, layer).iterrows()
        ]
        return (
            f"{self.title(at, layer)}. From the origin, pre is an arrow of length 1 to the right, the same for every "
            f"term; post is an arrow for each: {'; '.join(told)}. Thin lines show the way of each tip since step 0, "
            f"bars the importance; a dotted circle is as long as pre. {self.choice(at)}."
        )

    def table(self) -> pd.DataFrame:
        return self.written(self.at, self.layer)

    def written(self, at: int, layer: int) -> pd.DataFrame:
        """The numbers as they are shown, a column a term, and which would be chosen."""
        frame, chosen = self.numbers(at, layer), self.chosen(at)
        ways = [lambda v: _plain(v, 1), lambda v: _plain(v, 2), lambda v: _plain(v, 2), short]
        shown = {name: frame[name].map(way) for name, way in zip(frame, ways, strict=True)}
        return frame.assign(**shown, **{"would be chosen": ["yes" if t == chosen else "" for t in frame.index]}).T

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        return _drawn(self, self.at, self.layer)

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        steps, last = self.result.steps, len(self.result.steps) - 1
        look = {"layout": ipywidgets.Layout(width="100%", max_width="560px"), "style": {"description_width": "110px"}}
        step = ipywidgets.SelectionSlider(
            options=[(f"{s}", at) for at, s in enumerate(steps)], value=self.at, description="Step", **look
        )
        # A slider, not a list: on a closed list JupyterLab takes the arrow keys for itself.
        layers = [(ALL, -1), *((f"{number}", number) for number in range(self.layers))]
        layer = ipywidgets.SelectionSlider(options=layers, value=self.layer, description="Layer", **look)
        interval = max(_FASTEST, 1000 * _SECONDS // (last + 1))
        play = ipywidgets.Play(value=self.at, min=0, max=last, interval=interval, show_repeat=False)
        ipywidgets.jslink((play, "value"), (step, "index"))  # in the browser, so that it plays on time
        controls, playing = _play_button(ipywidgets, play)
        narrow = {"layout": ipywidgets.Layout(max_width="100%")}  # of a narrow window: neither is cut off
        picture, table = ipywidgets.HTML(**narrow), ipywidgets.HTML(**narrow)

        def update(_: Any = None) -> None:
            at, of = int(step.value), int(layer.value)
            picture.value, table.value = _svg(self, at, of), _table(self, at, of, bool(getattr(play, playing)))

        for control in (step, layer):
            control.observe(update, names="value")
        play.observe(update, names=playing)
        update()
        flow = ipywidgets.Layout(display="flex", flex_flow="row wrap", align_items="center", grid_gap="16px")
        return ipywidgets.VBox([controls, step, layer, ipywidgets.Box([picture, table], layout=flow)])


def trajectory_player(result: ProbeResult, step: int | None = None, layer: int | None = None) -> TrajectoryPlayer:
    """Lesson 03's widget: replay the record of a probe.

    Args:
        result: of one seed; it needs at least one step.
        step: where it begins, the nearest recorded step (None: the last).
        layer: the one shown first, counted from 0 (None: the mean of all).

    Raises UnknownName for a layer that there is not, TrainingError for a probe that was stopped before its first
    step, and ScoreError for a term that starts at zero: it has no direction to turn from.
    """
    layers = range(len(next(iter(result.pre.values()))))
    if layer is not None and layer not in layers:
        raise UnknownName("layer", str(layer), [str(number) for number in layers])
    at = -1 if step is None else int(np.abs(result.steps - step).argmin())
    return TrajectoryPlayer(result, at, -1 if layer is None else layer)


def _play_button(ipywidgets: Any, play: Any) -> tuple[Any, str]:
    """The button to show, and the name of the trait that says whether it plays.

    Play's own buttons are pictures without a name, which a screen reader cannot tell. So it is hidden, and a button
    with a name switches it. In ipywidgets 7 (Colab) the trait is another and does not start it: there, its own.
    """
    if "playing" not in play.trait_names():
        return play, "_playing"
    play.layout.display = "none"
    button = ipywidgets.ToggleButton(description="Play", icon="play")
    ipywidgets.jslink((button, "value"), (play, "playing"))

    def say(_: Any) -> None:
        button.description, button.icon = ("Pause", "pause") if play.playing else ("Play", "play")

    play.observe(say, names="playing")
    return ipywidgets.HBox([button, play]), "playing"


def _plain(value: float, digits: int) -> str:
    return "not defined" if math.isnan(value) else f"{value:.{digits}f}"


def _extent(player: TrajectoryPlayer, layer: int) -> tuple[float, float, float]:
    """Left, right and top of the plane: room for the whole run, so that nothing is rescaled while it plays."""
    tips = np.concatenate([of.tips(layer) for of in player.moves.values()])
    left, right, top = np.nanmin(tips[:, 0]), np.nanmax(tips[:, 0]), np.nanmax(tips[:, 1])
    return min(-0.15, 1.1 * float(left)), max(1.25, 1.15 * float(right)), max(0.6, 1.12 * float(top))


def _full(player: TrajectoryPlayer, layer: int) -> float:
    """What a bar as long as can be stands for: 1, 2 or 5 times a power of ten, above all that the run gets to."""
    most = max(float(of.importance[:, layer].max()) for of in player.moves.values())
    ten = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    return next(factor * ten for factor in (1, 2, 5, 10) if factor * ten >= most * (1 - 1e-9))


def _table(player: TrajectoryPlayer, at: int, layer: int, playing: bool) -> str:
    """Step, loss, choice and numbers. A screen reader says them anew when they change, but not while it plays."""
    frame, cell = player.written(at, layer), "line-height: 1.4; padding: 2px 5px"
    head = "".join(f'<th scope="col" style="{cell}; text-align: right">{term}</th>' for term in frame)
    rows = "".join(
        f'<tr><th scope="row" style="{cell}; text-align: left; overflow-wrap: anywhere">{html.escape(str(name))}</th>'
        + "".join(f'<td style="{cell}; text-align: right">{told}</td>' for told in row)
        + "</tr>"
        for name, row in zip(frame.index, frame.to_numpy(), strict=True)
    )
    title = f"<b>{html.escape(player.title(at, layer))}.</b> {html.escape(player.choice(at))}."
    return (
        f'<div aria-live="{"off" if playing else "polite"}"><div style="line-height: 1.4">{title}</div>'
        f"<table><tr><td></td>{head}</tr>{rows}</table></div>"
    )


def _marker(term: str) -> str:
    return f'<g fill="{LOOKS[term].color}" stroke="#fff">{_SHAPES[LOOKS[term].marker]}</g>'


def _svg(player: TrajectoryPlayer, at: int, layer: int) -> str:
    """The picture as SVG: a few milliseconds to make, sharp at any zoom."""
    left, right, top = _extent(player, layer)
    scale = min((_WIDE - 2 * _EDGE) / (right - left), (_HIGH - 2 * _EDGE) / top)  # pixels for the length of pre
    margin, floor = (_WIDE - scale * (right - left)) / 2, _EDGE + scale * top

    def place(point: np.ndarray) -> tuple[float, float]:
        return margin + (point[0] - left) * scale, floor - point[1] * scale

    (x0, y0), (x1, _) = place(np.zeros(2)), place(np.array([1.0, 0.0]))
    parts = [
        f'<path d="M{_EDGE} {y0:.1f}H{_WIDE - _EDGE}M{x0:.1f} {y0:.1f}V{_EDGE}" stroke="#bbb"/>',
        f'<path d="M{x1:.1f} {y0:.1f}A{scale:.1f} {scale:.1f} 0 0 0 {x0 - scale:.1f} {y0:.1f}" '
        f'stroke="{GREY}" stroke-dasharray="2 4" fill="none"/>',
        f'<text x="{x0:.1f}" y="{_EDGE - 6}" text-anchor="middle">90°</text>',
        f'<text x="{_WIDE - 8}" y="{_EDGE - 6}" text-anchor="end">dotted: |pre|</text>',
        f'<path d="M{x0:.1f} {y0:.1f}H{x1:.1f}" stroke="{BLACK}" stroke-width="4"/>',
        f'<text x="{(x0 + x1) / 2:.1f}" y="{y0 + 18:.1f}" text-anchor="middle" font-weight="bold">pre</text>',
    ]
    for term, of in player.moves.items():
        parts += _arrow(term, [place(tip) for tip in of.tips(layer)[: at + 1] if not np.isnan(tip).any()], (x0, y0))
    bars = [_bar(player, at, layer, term, floor + 68 + row * _ROW) for row, term in enumerate(player.moves)]
    note = f"importance; a full bar is {_full(player, layer):g}"
    tall = floor + 68 + _ROW * len(bars)
    return (
        f'<svg role="img" aria-label="{html.escape(player.in_words(at, layer))}" viewBox="0 0 {_WIDE} {tall:.0f}" '
        f'width="{_WIDE}" style="max-width: 100%; background: #fff; border: 1px solid #ccc" font-family="sans-serif" '
        f'font-size="15" fill="#111">{"".join(parts)}<text x="8" y="{floor + 46:.1f}">{note}</text>'
        f"{''.join(bars)}</svg>"
    )


def _arrow(term: str, way: list[tuple[float, float]], origin: tuple[float, float]) -> list[str]:
    """Post of one term: its shaft, its marker at the tip, and the way (x, y) that the tip has come."""
    if not way:
        return []
    look, (x, y), (aside, down, anchor) = LOOKS[term], way[-1], _ASIDE[term]
    ink = f'stroke="{look.color}" fill="none"'
    return [
        f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in way)}" {ink} stroke-width="1.2"/>',
        f'<path d="M{origin[0]:.1f} {origin[1]:.1f}L{x:.1f} {y:.1f}" {ink} stroke-width="3" '
        f'stroke-dasharray="{_DASH[look.line]}"/>',
        f'<g transform="translate({x:.1f} {y:.1f})">{_marker(term)}</g>',
        f'<text x="{x + aside:.1f}" y="{y + down:.1f}" text-anchor="{anchor}" font-weight="bold" fill="{look.color}" '
        f'paint-order="stroke" stroke="#fff" stroke-width="4">{term}</text>',
    ]


def _bar(player: TrajectoryPlayer, at: int, layer: int, term: str, y: float) -> str:
    """One term's importance: marker, line and name, a hatched bar, its number, and whether it would be chosen."""
    look, value = LOOKS[term], float(player.moves[term].importance[at, layer])
    wide = _LONG * value / _full(player, layer)
    chosen = term == player.chosen(at)
    tile = f"player-{term}"
    return (
        f'<pattern id="{tile}" width="8" height="8" patternUnits="userSpaceOnUse"><rect width="8" height="8" '
        f'fill="{look.color}"/><path d="{_HATCH[look.hatch]}" stroke="#fff" stroke-width="1.2"/></pattern>'
        f'<path d="M8 {y:.1f}h40" stroke="{look.color}" stroke-width="3" stroke-dasharray="{_DASH[look.line]}"/>'
        f'<g transform="translate(28 {y:.1f})">{_marker(term)}</g><text x="56" y="{y + 5:.1f}">{term}</text>'
        f'<rect x="{_BAR}" y="{y - 9:.1f}" width="{wide:.1f}" height="18" fill="url(#{tile})" stroke="{look.color}"/>'
        f'<text x="{_BAR + wide + 7:.1f}" y="{y + 5:.1f}"{_BOLD if chosen else ""}>'
        f"{short(value)}{' chosen' if chosen else ''}</text>"
    )


@styled
def _drawn(player: TrajectoryPlayer, at: int, layer: int) -> Axes:
    """The same by matplotlib: the plane, and the bars beside it."""
    from matplotlib.figure import Figure

    axes, bars = Figure(figsize=(7.8, 3.8), layout="constrained").subplots(1, 2, width_ratios=(3, 2))
    left, right, top = _extent(player, layer)
    turn = np.linspace(0, math.pi, 91)
    axes.plot(np.cos(turn), np.sin(turn), ":", color=GREY)
    axes.plot([0, 1], [0, 0], color=BLACK, linewidth=4)
    axes.annotate("pre", (0.5, 0), (0, -14), textcoords="offset points", ha="center", weight="bold")
    for row, (term, of) in enumerate(player.moves.items()):
        look, way = LOOKS[term], of.tips(layer)[: at + 1]
        axes.plot(*way.T, color=look.color, linewidth=0.8)
        axes.plot(*np.stack([np.zeros(2), way[-1]]).T, look.line, color=look.color, linewidth=2.2, zorder=3)
        axes.plot(*way[-1], look.marker, color=look.color, markersize=9, zorder=4, clip_on=False)
        aside, down, anchor = _ASIDE[term]
        if not np.isnan(way[-1]).any():
            axes.annotate(term, tuple(way[-1]), (aside, -down), textcoords="offset points", color=look.color,
                          ha={"start": "left", "end": "right"}[anchor], weight="bold")  # fmt: skip
        value = float(of.importance[at, layer])
        bars.barh(row, value, color=look.color, hatch=look.hatch, edgecolor="white", height=0.6)
        told = f" {short(value)}" + ("\n would be chosen" if term == player.chosen(at) else "")
        bars.text(value, row, told, va="center", weight="bold" if "\n" in told else "normal")
    axes.set(xlim=(left, right), ylim=(-0.12 * top, top), aspect="equal", xlabel="along pre, in lengths of pre")
    axes.set_ylabel("across it")
    bars.set(yticks=range(len(player.moves)), yticklabels=list(player.moves), xlim=(0, 2 * _full(player, layer)))
    bars.invert_yaxis()
    bars.set_xlabel("importance")
    bars.grid(axis="y", visible=False)
    axes.get_figure(root=True).suptitle(player.title(at, layer), x=0.01, ha="left", fontsize=12)
    return describe(axes, player.in_words(at, layer), player.written(at, layer))
