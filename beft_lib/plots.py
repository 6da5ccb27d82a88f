"""Pictures of what a probe and a run saw. Functions take data and return ``Axes``; ``display.show`` shows them.

One look everywhere: query, key and value have a fixed colour (Okabe–Ito), marker, line and hatch each, so that none is
told by colour alone. Every picture carries alt text and its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .architectures import TERMS
from .display import describe
from .errors import TrainingError
from .metrics import interval
from .scores import Score, importance_per_layer, magnitude_per_layer

if TYPE_CHECKING:
    from .probing import ProbeResult
    from .runs import Run

P = ParamSpec("P")


@dataclass(frozen=True)
class Look:
    """How one thing is drawn, in every picture."""

    color: str
    marker: str
    line: str
    hatch: str


LOOKS: dict[str, Look] = {
    "query": Look("#0072B2", "o", "-", "//"),
    "key": Look("#009E73", "s", "--", ".."),
    "value": Look("#D55E00", "^", "-.", "\\\\"),
    "head": Look("#666666", "D", ":", ""),
    "qkv": Look("#56B4E9", "P", "-", "++"),
    "all_biases": Look("#CC79A7", "X", "--", "xx"),
    "full": Look("#000000", "*", "-", "--"),
    "random_uniform": Look("#E69F00", "v", ":", "oo"),
    "lora": Look("#5E3C99", "h", "--", "\\|"),
    "prefix": Look("#1B7837", "<", "-.", "/o"),
    "in_context": Look("#882255", ">", "--", "|"),
    "zero_shot": Look("#888888", "p", ":", "-"),
}
OTHER = Look("#666666", "o", "-", "")

UNITS: dict[Score, str] = {
    importance_per_layer: "importance (0: did not move)",
    magnitude_per_layer: "magnitude (mean |change| of an element)",
}

_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "hatch.linewidth": 0.7,
}


def styled(plot: Callable[P, Axes]) -> Callable[P, Axes]:
    """Draw in our style, and leave matplotlib's own settings as they were."""

    @wraps(plot)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Axes:
        with mpl.rc_context(_STYLE):
            return plot(*args, **kwargs)

    return drawn


@styled
def scores_heatmap(table: pd.DataFrame, label: str = "importance", title: str = "", ax: Axes | None = None) -> Axes:
    """Layer by term, every value written in its cell, one colour scale from 0.

    Args:
        table: from ``ProbeResult.table()``: layers (and their mean, last) by term. Its index name is the title
            if there is none.
        label: what the numbers are; for the colour bar.
    """
    table = table.loc[:, [term for term in TERMS if term in table]]
    values = table.to_numpy(dtype=float)  # (L + 1, terms)
    ax = _axes(6.4, 0.42 * len(values) + 1.5, ax)
    image = heat(ax, values, [f"{term} bias" for term in table.columns], table.index, max(values.max(), 1e-12))
    if table.index[-1] == "mean":
        ax.axhline(len(table) - 1.5, color="white", linewidth=4)
    plt.colorbar(image, ax=ax, label=label, pad=0.02)
    ax.set_title(title or ": ".join(filter(None, (label, str(table.index.name or "")))), loc="left")
    return describe(ax, _told_heatmap(table, label), table)


def heat(
    ax: Axes, values: np.ndarray, columns: Iterable[Any], rows: Iterable[Any], top: float,
    write: Callable[[float], str] | None = None,
) -> Any:  # fmt: skip
    """A table (rows, columns) as colours from 0 to ``top``, each value in its cell; returns the image, for a bar."""
    image = ax.imshow(values, cmap="cividis", vmin=0, vmax=top, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = _ink(tuple(image.to_rgba(value)))
        ax.text(column, row, (write or short)(value), ha="center", va="center", color=ink)
    ax.set_xticks(range(values.shape[1]), [str(name) for name in columns])
    ax.set_yticks(range(values.shape[0]), [str(name) for name in rows])
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


@styled
def trajectory(
    result: ProbeResult, score: Score = importance_per_layer, log: bool = False, title: str = "", ax: Axes | None = None
) -> Axes:
    """The score over the steps: a thick line for each term, the mean over layers, and a thin one for each layer.

    ``log`` makes both axes logarithmic: it spreads out the first steps, shows small scores beside large ones, and
    equal factors as equal distances. (Step 0, where every score is 0, is left out then.) The legend stands above the
    lines, never among them, where its samples would be read as data.
    """
    _begun(len(result.steps) - 1)
    ax = _axes(7.6, 4.2, ax)
    from_step = 1 if log else 0
    steps = result.steps[from_step:]
    means = {}
    for term, every in result.curve(score).items():
        look, layers = LOOKS[term], every[from_step:]  # (S, L)
        means[term] = layers.mean(1)
        ax.plot(steps, layers, color=look.color, linewidth=0.7, alpha=0.4)
        _line(ax, steps, means[term], look, term)
    if log:
        ax.set_xscale("log")
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    scale = ", log scale" if log else ""
    ax.set_xlabel(f"training steps{scale} (thick: mean over the layers; thin: single layers)")
    ax.set_ylabel(f"{_unit(score)}{scale}")
    ax.set_title(title or f"{result.model} on {result.task}: how far each term has moved", loc="left", pad=28)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=len(means), borderaxespad=0)
    table = pd.DataFrame(means, index=pd.Index(steps, name="step"))
    ends = ", ".join(f"{term} {short(means[term][-1])}" for term in table)
    where = f"over {steps[-1]} training steps on {result.task}"
    alt = f"Line chart of {_unit(score)} {where}. At the end, mean over layers: {ends}."
    return describe(ax, alt, _thinned(table))


@styled
def layers(result: ProbeResult, score: Score = importance_per_layer, title: str = "", ax: Axes | None = None) -> Axes:
    """The score of every layer at the end, as a group of bars a layer: where in the model a term moves."""
    table = result.table(score).drop(index="mean")
    ax = _axes(7.6, 3.8, ax)
    width = 0.8 / len(table.columns)
    for number, term in enumerate(table.columns):
        at = np.arange(len(table)) + (number - (len(table.columns) - 1) / 2) * width
        look = LOOKS[term]
        ax.bar(at, table[term], width, label=term, color=look.color, hatch=look.hatch, edgecolor="white")
    ax.set_xticks(range(len(table)), [str(name).removeprefix("layer ") for name in table.index])
    ax.set_xlabel("layer (0 is next to the words)")
    ax.set_ylabel(_unit(score))
    ax.grid(axis="x", visible=False)
    ax.set_title(title or f"{result.model} on {result.task}, step {result.steps[-1]}: layer by layer", loc="left")
    ax.legend(loc="upper left", ncols=len(table.columns))
    ax.set_ylim(top=1.2 * max(table.to_numpy().max(), 1e-12))  # room for the legend
    return describe(ax, _told_heatmap(table, _unit(score), "Bars"), table)


@styled
def losses(
    seen: Run | ProbeResult | Mapping[str, Any], window: int = 10, title: str = "", ax: Axes | None = None
) -> Axes:
    """The training loss: every step as a dot, and the mean of the last ``window`` steps as a line.

    ``seen`` is a run or a probe, or several by name: ``{"value": run, "head": other}``.
    """
    named = seen if isinstance(seen, Mapping) else {getattr(seen, "method", "probe"): seen}
    ax = _axes(7.6, 3.8, ax)
    smooth = {}
    for name, run in named.items():
        look, values = LOOKS.get(name, OTHER), np.asarray(run.losses)
        _begun(len(values))
        steps = np.arange(1, len(values) + 1)
        smooth[name] = pd.Series(values, index=steps).rolling(window, min_periods=1).mean()
        ax.plot(steps, values, ".", color=look.color, alpha=0.3, markersize=4)
        _line(ax, steps, smooth[name].to_numpy(), look if len(named) > 1 else replace(look, marker=""), name)
    ax.set_xlabel("training steps")
    ax.set_ylabel("training loss")
    ax.set_title(title or f"Loss: each step (dots), mean of the last {window} (line)", loc="left")
    if len(named) > 1:
        ax.legend()
    table = pd.DataFrame(smooth).rename_axis("step")
    told = "; ".join(f"{name} from {values.iloc[0]:.3f} to {values.iloc[-1]:.3f}" for name, values in smooth.items())
    alt = f"Line chart of the training loss over {len(table)} steps, mean of {window} steps: {told}."
    return describe(ax, alt, _thinned(table))


@styled
def runs(table: pd.DataFrame | Sequence[Run], chance: float | None = None, title: str = "") -> Axes:
    """Performance of each method: a point for each seed, the mean with its 95 % interval, and the seconds beside it.

    One seed has no such interval. Where it is known on how many examples an accuracy was measured (``n_validation``),
    a thin bar shows its standard error instead: two points alone look further apart than they can be told to be.

    Args:
        table: runs of one task, as a tidy table (``results.table``) or as a list of ``Run``.
        chance: what guessing scores; drawn as a dashed line.

    Returns the axes of the performance; those of the seconds are in the same figure.
    """
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame([run.row() for run in table])
    told, metric = _by_method(frame), str(frame["metric"].iloc[0])
    size = (7.6, 0.5 * len(told) + 1.6)
    left, right = plt.subplots(1, 2, sharey=True, figsize=size, width_ratios=(3, 2))[1]
    for at, method in enumerate(told.index):
        look, row = LOOKS.get(str(method), OTHER), told.loc[method]
        scores = frame.loc[frame["method"] == method, "score"].to_numpy()
        same = {"color": look.color, "markersize": 8}
        left.plot(scores, np.full(len(scores), at), look.marker, markerfacecolor="none", **same)
        if len(scores) > 1:
            left.errorbar(row["score"], at, xerr=row["± 95 %"], fmt=look.marker, capsize=4, **same)
        elif row["standard error"] > 0:
            left.errorbar(row["score"], at, xerr=row["standard error"], fmt="none", ecolor=look.color, elinewidth=1)
        right.barh(at, row["seconds"], color=look.color, hatch=look.hatch, edgecolor="white", height=0.6)
    left.set_yticks(range(len(told)), told.index)
    left.invert_yaxis()
    left.set_xlabel(f"{metric.replace('squad_f1', 'F1').replace('drop_f1', 'F1')} on validation")
    left.locator_params(axis="x", nbins=6)  # more of them run into each other
    right.set_xlabel("seconds of training")
    if chance is not None:
        left.axvline(chance, color="black", linestyle="--", linewidth=1)
        left.annotate("guessing", (chance, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), fontsize=9,
                      textcoords="offset points", ha="center", va="bottom")  # fmt: skip
    several, errors = (told["seeds"] > 1).any(), (told["standard error"] > 0).any()
    seeds = "open = one seed, filled = mean with 95 % interval" if several else "one seed each"
    if errors and not several:
        seeds += ", ± one standard error"
    left.set_title(title or f"{frame['task'].iloc[0]}: {seeds}", loc="left", pad=6 if chance is None else 18)
    every = ", ".join(
        f"{method} {row['score']:.3f}" + (f" ± {row['standard error']:.3f}" if row["standard error"] > 0 else "")
        for method, row in told.iterrows()
    )
    alt = f"Points: mean {metric} by method: {every}. Bars: seconds of training."
    return describe(left, alt, told if errors else told.drop(columns="standard error"))


def _by_method(frame: pd.DataFrame) -> pd.DataFrame:
    """One line for each method: mean score over seeds, half its 95 % interval, seeds, seconds, parameters."""
    rows = {}
    for method, of in frame.groupby("method", sort=False):
        scores = of["score"].to_numpy()
        rows[method] = {
            "score": scores.mean(), "± 95 %": interval(scores), "standard error": _of_examples(of),
            "seeds": len(scores),
            "seconds": of["seconds"].mean(), "parameters": of["parameters_method"].iloc[0],
        }  # fmt: skip
    counted = {"seeds": int, "parameters": int}
    return pd.DataFrame.from_dict(rows, orient="index").astype(counted).rename_axis("method")


def _of_examples(runs: pd.DataFrame) -> float:
    """The standard error of one accuracy, by the examples it was measured on; NaN for several, or of another metric."""
    known = len(runs) == 1 and runs["metric"].iloc[0] == "accuracy" and "n_validation" in runs
    p = float(runs["score"].iloc[0])
    return float(np.sqrt(p * (1 - p) / runs["n_validation"].iloc[0])) if known else float("nan")


def short(value: float) -> str:
    """A score as it is written into a cell: three decimals, or the power of ten where those would all be 0."""
    return "0" if value == 0 else f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.0e}"


def _begun(steps: int) -> None:
    """Refuse to draw a run that was stopped before its first step."""
    if steps < 1:
        raise TrainingError("This run was stopped before its first step, so there is nothing to draw. Run it again.")


def _axes(width: float, height: float, given: Axes | None) -> Axes:
    """The axes given, or those of a new figure of this size in inches."""
    return plt.subplots(figsize=(width, height))[1] if given is None else given


def _line(ax: Axes, steps: np.ndarray, values: np.ndarray, look: Look, label: str) -> None:
    every = max(1, len(steps) // 8)  # markers enough to tell the lines apart
    ax.plot(steps, values, look.line, color=look.color, linewidth=2.2, marker=look.marker, markevery=every, label=label)


def _ink(paper: Sequence[float]) -> str:
    """Black or white, whichever reads better on a colour: WCAG's relative luminance, where both have contrast 4.6."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in paper[:3]]
    return "black" if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.179 else "white"


def _unit(score: Score) -> str:
    return UNITS.get(score, getattr(score, "__name__", "score"))


def _told_heatmap(table: pd.DataFrame, label: str, kind: str = "Heat map") -> str:
    by_layer = table.drop(index="mean", errors="ignore")
    row, column = np.unravel_index(by_layer.to_numpy().argmax(), by_layer.shape)
    means = ", ".join(f"{term} {short(by_layer[term].mean())}" for term in by_layer)
    return (
        f"{kind} of {label} by layer and term. Mean over layers: {means}. "
        f"Highest: {by_layer.columns[column]} in {by_layer.index[row]} with {short(by_layer.iat[row, column])}."
    )


def _thinned(table: pd.DataFrame, rows: int = 12) -> pd.DataFrame:
    """At most ``rows`` lines of a long table, first and last among them."""
    if len(table) <= rows:
        return table
    return table.iloc[np.unique(np.linspace(0, len(table) - 1, rows).round().astype(int))]
