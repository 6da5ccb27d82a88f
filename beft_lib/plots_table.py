"""Pictures of the table of methods: score beside cost, and score by the number of examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .display import describe
from .plots import LOOKS, OTHER, Look, _axes, styled

DASHED = {"color": "black", "linestyle": "--", "linewidth": 1}


def look_of(method: str) -> Look:
    """A method in some layers only looks like the method."""
    return LOOKS.get(method.partition("@")[0], OTHER)


@styled
def by_field(compared: pd.DataFrame, versus: str = "head") -> Axes:
    """``tables.compare``'s lines: a panel a field (model, task, examples, recipe), a row a method, means with 95 %
    intervals; dashed: the mean of ``versus``.
    """
    by = ["model", "task", "n_train", "recipe"]
    panels: list[tuple[Any, pd.DataFrame]] = list(compared.groupby(by, sort=False))
    methods = list(dict.fromkeys(compared["method"]))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    size = (1.4 + 2.05 * columns, lines * (0.3 * len(methods) + 1.0))
    grid = plt.subplots(lines, columns, figsize=size, squeeze=False, sharey=True, layout="constrained")[1]
    several = compared.groupby(by[:-1])["recipe"].nunique().max() > 1
    for axes, ((model, task, n, recipe), of) in zip(grid.flat, panels, strict=False):
        for method, score, half in of[["method", "score", "±"]].to_numpy():
            look, at = look_of(method), methods.index(method)
            bar = None if np.isnan(half) else half
            axes.errorbar(
                score,
                at,
                xerr=bar,
                fmt=look.marker,
                color=look.color,
                capsize=3,
                markersize=7,
            )
        for score in of.loc[of["method"] == versus, "score"]:
            axes.axvline(score, **DASHED)
        axes.set_title(f"{task}, {n:,} examples\n{recipe if several and recipe else model}", loc="left", fontsize=10)
        axes.set_xlabel(str(of["metric"].iloc[0]))
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    grid[0, 0].set_yticks(range(len(methods)), methods)
    grid[0, 0].invert_yaxis()
    told = "; ".join(
        f"{model} on {task}: " + ", ".join(f"{m} {s:.3f}" for m, s in zip(of["method"], of["score"], strict=True))
        for (model, task, *_), of in panels
    )
    table = compared[["model", "task", "n_train", "method", "score", "±", "seeds"]]
    return describe(grid[0, 0], f"Mean score of every method, with intervals. {told}.", table.set_index("method"))


@styled
def by_cost(compared: pd.DataFrame, cost: str = "bytes", ax: Axes | None = None) -> Axes:
    """Score against what is to be stored (or another column), on a logarithmic axis: one field's lines."""
    ax = _axes(7.2, 3.8, ax)
    for _, row in compared.iterrows():
        look, half = look_of(str(row["method"])), row["±"]
        bar = None if np.isnan(half) else half
        ax.errorbar(row[cost], row["score"], yerr=bar, fmt=look.marker, color=look.color, capsize=3, markersize=9,
                    label=str(row["method"]))  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlabel(f"{cost} (logarithmic)")
    ax.set_ylabel(str(compared["metric"].iloc[0]))
    ax.set_title(f"{compared['model'].iloc[0]} on {compared['task'].iloc[0]}: score and {cost}", loc="left")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    told = ", ".join(f"{r['method']} {r['score']:.3f} at {r[cost]:,.0f}" for _, r in compared.iterrows())
    table = compared[["method", "score", "±", cost]].set_index("method")
    return describe(ax, f"Points of score against {cost}: {told}.", table)


@styled
def by_size(compared: pd.DataFrame, methods: Sequence[str] = ("head", "value", "full"), ax: Axes | None = None) -> Axes:
    """Score over the number of training examples: a line a method, with intervals. One model and task."""
    ax = _axes(7.2, 3.6, ax)
    table = pd.DataFrame()
    for method in methods:
        of, look = compared.loc[compared["method"] == method].sort_values("n_train"), look_of(method)
        ax.errorbar(of["n_train"], of["score"], yerr=of["±"].fillna(0), fmt=look.marker, linestyle=look.line,
                    color=look.color, capsize=3, markersize=8, label=method)  # fmt: skip
        table[method] = of.set_index("n_train")["score"]
    ax.set_xscale("log")
    ax.set_xticks(list(table.index), [f"{n:,}" for n in table.index])
    ax.minorticks_off()
    ax.set_xlabel("training examples (logarithmic)")
    ax.set_ylabel(str(compared["metric"].iloc[0]))
    ax.set_title(f"{compared['model'].iloc[0]} on {compared['task'].iloc[0]}: more examples", loc="left")
    ax.legend()
    told = "; ".join(f"{m}: " + ", ".join(f"{s:.3f} at {n:,}" for n, s in table[m].items()) for m in table)
    return describe(ax, f"Lines of score over training examples. {told}.", table)
