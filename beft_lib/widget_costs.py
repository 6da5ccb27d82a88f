"""Lesson 05's widget: what every way to tune would cost, for a model, a batch and a length of one's choice.

One bar a method: the memory of a training step by part. Below them the numbers of the method that is chosen.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, NamedTuple

from .costs import MODELS, Cost, cost, methods_for
from .display import describe
from .errors import UnknownName
from .widgets import Touchable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BATCHES = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (16, 32, 64, 128, 256, 512)


class Setting(NamedTuple):
    """What the calculator is asked."""

    model: str = "bert-base-cased"
    method: str = "value"
    batch: int = 16
    length: int = 128


class Part(NamedTuple):
    """A piece of a bar: the parts of the estimate in it, and how it is drawn."""

    of: tuple[str, ...]
    colour: str
    hatch: str


# Not the colours of query, key and value; told apart by order, pattern and legend as well.
PARTS: dict[str, Part] = {
    "weights": Part(("weights", "trained"), "#BBBBBB", ""),
    "gradients and optimizer": Part(("gradients", "optimizer"), "#AA4499", "//"),
    "kept for the backward pass": Part(("activations",), "#44AA99", ".."),
    "working space": Part(("working space", "logits"), "#FFFFFF", ""),
}
_ROW, _LEFT, _BAR, _RIGHT, _TOP = 30, 132, 430, 90, 12  # of the live picture, in pixels


def costs(at: Setting) -> dict[str, Cost]:
    """Every method's cost, cheapest first."""
    return {method: cost(at.model, method, at.batch, at.length) for method in methods_for(at.model)}


def pieces(of: Cost) -> dict[str, int]:
    """Bytes of each piece of a bar."""
    return {name: sum(of.memory.get(part, 0) for part in row.of) for name, row in PARTS.items()}


def facts(at: Setting) -> dict[str, str]:
    """The numbers of the chosen method, in words."""
    every = costs(at)
    chosen = every[at.method]
    return {
        "trained by the method": f"{chosen.trained:,} parameters ({chosen.trained / chosen.model:.4%} of the model)",
        "trained in the head": f"{chosen.head:,} parameters",
        "optimizer memory": size(chosen.optimizer),
        "file to share": size(chosen.file) + (" (the whole model)" if at.method == "full" else ""),
        "files for 100 tasks": size(100 * chosen.file),
        "memory of a step, estimated": size(chosen.total),
        "… of full fine-tuning": f"{chosen.total / every['full'].total:.0%}",
    }


def size(count: int) -> str:
    """Bytes for people, three digits: 9.2 kB, 433 MB (powers of 1,000)."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}"


def in_words(at: Setting) -> str:
    """The picture in words, for those who do not see it."""
    bars = ", ".join(f"{method} {size(of.total)}" for method, of in costs(at).items())
    return (
        f"Bars of the memory of a step of {at.model}, batch {at.batch}, {at.length} tokens, by method: {bars}. "
        f"Chosen: {at.method}, which trains {facts(at)['trained by the method']}."
    )


class CostCalculator(Touchable):
    """Two lists and two sliders: model, method, batch, length."""

    hint = "Choose with the lists and sliders, in a notebook."

    def __init__(self, at: Setting):
        if at.model not in MODELS:
            raise UnknownName("model", at.model, MODELS)
        if at.method not in methods_for(at.model):
            raise UnknownName(f"method for {at.model}", at.method, methods_for(at.model))
        for name, value, known in (("batch", at.batch, BATCHES), ("length", at.length, LENGTHS)):
            if value not in known:
                raise UnknownName(name, value, map(str, known))
        self.at = at

    def words(self) -> str:
        return in_words(self.at)

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        from matplotlib.figure import Figure

        every = costs(self.at)
        axes = Figure(figsize=(7.6, 0.36 * len(every) + 1.7), layout="constrained").subplots()
        start = dict.fromkeys(every, 0.0)
        for name, row in PARTS.items():
            wide = {method: pieces(of)[name] / 1e9 for method, of in every.items()}
            axes.barh(list(wide), list(wide.values()), left=list(start.values()), color=row.colour, hatch=row.hatch,
                      edgecolor="#444444", linewidth=0.6, height=0.7, label=name)  # fmt: skip
            start = {method: start[method] + wide[method] for method in wide}
        for at, (method, of) in enumerate(every.items()):
            bold = "bold" if method == self.at.method else "normal"
            axes.text(start[method], at, f" {size(of.total)}", va="center", weight=bold)
            axes.get_yticklabels()[at].set_fontweight(bold)
        axes.set_xlim(right=1.15 * max(start.values()))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("memory of one training step in GB, estimated")
        axes.set_title(f"{self.at.model}, batch {self.at.batch}, {self.at.length} tokens", loc="left")
        axes.figure.legend(loc="outside lower center", ncols=len(PARTS), frameon=False, fontsize=9)
        return describe(axes, in_words(self.at), self.table())

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = {
            method: {
                "trained": of.trained, "in the head": of.head, "optimizer": size(of.optimizer), "file": size(of.file),
                "memory of a step": size(of.total),
            }
            for method, of in costs(self.at).items()
        }  # fmt: skip
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        look = {"layout": ipywidgets.Layout(width="340px"), "style": {"description_width": "130px"}}
        model = ipywidgets.Dropdown(options=list(MODELS), value=self.at.model, description="Model", **look)
        known = list(methods_for(self.at.model))
        method = ipywidgets.Dropdown(options=known, value=self.at.method, description="Method", **look)
        batch, length = (
            ipywidgets.SelectionSlider(options=options, value=value, description=name, **look)
            for name, options, value in (
                ("Examples a step", BATCHES, self.at.batch), ("Tokens of each", LENGTHS, self.at.length),
            )
        )  # fmt: skip
        picture, table = ipywidgets.HTML(), ipywidgets.HTML()

        def update(_: Any = None) -> None:
            at = Setting(str(model.value), str(method.value), int(batch.value), int(length.value))
            picture.value, table.value = _svg(at), _table(facts(at))

        def other_model(_: Any) -> None:
            now, there = method.value, methods_for(str(model.value))
            if tuple(method.options) != there:
                method.unobserve(update, names="value")  # for a moment the two lists would not fit each other
                method.options, method.value = there, now if now in there else "value"
                method.observe(update, names="value")
            update()

        model.observe(other_model, names="value")
        for control in (method, batch, length):
            control.observe(update, names="value")
        update()
        wrap = ipywidgets.Layout(display="flex", flex_flow="row wrap", grid_gap="4px 16px")
        controls = ipywidgets.Box([model, method, batch, length], layout=wrap)
        return ipywidgets.VBox([controls, picture, table])


def cost_calculator(
    model: str = "bert-base-cased", method: str = "value", batch: int = 16, length: int = 128
) -> CostCalculator:
    """What each way to tune would cost in parameters, optimizer, file and memory. All of it is estimated, not run.

    Args:
        model: a key of ``costs.MODELS``; method: one of its methods.
        batch: examples a step, one of ``BATCHES``; length: tokens of each, one of ``LENGTHS``.
    """
    return CostCalculator(Setting(model, method, batch, length))


def _svg(at: Setting) -> str:
    """The bars as SVG: a millisecond to make, sharp at any zoom."""
    every = costs(at)
    scale = _BAR / max(of.total for of in every.values())
    wide, legend = _LEFT + _BAR + _RIGHT, _TOP + _ROW * len(every) + 8
    parts = [_patterns()]
    for line, (method, of) in enumerate(every.items()):
        y, x = _TOP + line * _ROW, float(_LEFT)
        bold = ' font-weight="bold"' if method == at.method else ""
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 17}" text-anchor="end"{bold}>{html.escape(method)}</text>')
        for number, amount in enumerate(pieces(of).values()):
            parts.append(_box(x, y, amount * scale, number))
            x += amount * scale
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 17}"{bold}>{size(of.total)}</text>')
    x = 8.0
    for number, name in enumerate(PARTS):
        parts.append(_box(x, legend, 22, number))
        parts.append(f'<text x="{x + 28:.0f}" y="{legend + 16}" font-size="12">{html.escape(name)}</text>')
        x += 46 + 6.7 * len(name)
    return (
        f'<svg role="img" aria-label="{html.escape(in_words(at))}" viewBox="0 0 {wide} {legend + 32}" width="{wide}" '
        f'style="max-width: 100%; background: #fff; border: 1px solid #ccc" font-family="sans-serif" font-size="14" '
        f'fill="#111">{"".join(parts)}</svg>'
    )


def _patterns() -> str:
    """White lines and dots on the colours of the parts that have a hatch."""
    marks = {"//": '<path d="M-2 2L2 -2M0 8L8 0M6 10L10 6" stroke="#fff" stroke-width="1.5"/>',
             "..": '<circle cx="4" cy="4" r="1.4" fill="#fff"/>', "": ""}  # fmt: skip
    return (
        "<defs>"
        + "".join(
            f'<pattern id="cost{number}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f'<rect width="8" height="8" fill="{row.colour}"/>{marks[row.hatch]}</pattern>'
            for number, row in enumerate(PARTS.values())
        )
        + "</defs>"
    )


def _box(x: float, y: float, wide: float, number: int) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="22" fill="url(#cost{number})" stroke="#444"/>'


def _table(told: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left">{html.escape(name)}</th>'
        f'<td style="text-align: left">{html.escape(value)}</td></tr>'
        for name, value in told.items()
    )
    return f'<table aria-live="polite">{rows}</table>'
