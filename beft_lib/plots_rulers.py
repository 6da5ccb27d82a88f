"""Pictures of rulers beside each other, and beside measured performance."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from .architectures import TERMS
from .display import describe
from .plots import LOOKS, heat, short, styled


@styled
def rulers_heatmap(tables: Mapping[str, pd.DataFrame], title: str = "") -> Axes:
    """Layer by term, a map for each ruler, each in shares of its own largest value: rulers have no common unit.

    ``tables``: ruler to table, layers (and their mean, last) by term, as ``.table()`` of a probe or a Fisher result
    gives it. Returns the axes of the first map; the numbers in the rulers' own units are the picture's table.
    """
    rows = len(next(iter(tables.values())))
    size = (1.5 + 2.1 * len(tables), 0.4 * rows + 1.3)
    every = plt.subplots(1, len(tables), figsize=size, sharey=True, squeeze=False)[1][0]
    words, numbers = [], {}
    for ax, (name, given) in zip(every, tables.items(), strict=True):
        table = given.loc[:, list(TERMS)]
        values = table.to_numpy(dtype=float)  # (L + 1, 3)
        image = heat(ax, values / max(values.max(), 1e-300), TERMS, table.index, 1.0, "{:.2f}".format)
        if table.index[-1] == "mean":
            ax.axhline(rows - 1.5, color="white", linewidth=4)
        ax.set_title(name, loc="left")
        means = ", ".join(f"{term} {short(value)}" for term, value in table.iloc[-1].items())
        words.append(f"{name}: {means}")
        numbers |= {(name, term): table[term] for term in TERMS}
    plt.colorbar(image, ax=list(every), label="share of the ruler's largest value", pad=0.02)
    if title:
        every[0].get_figure(root=True).suptitle(title, x=0.02, ha="left")
    alt = f"Heat maps by layer and term, one a ruler. Mean over layers: {'; '.join(words)}."
    return describe(every[0], alt, pd.DataFrame(numbers))


@styled
def score_against_performance(points: pd.DataFrame) -> Axes:
    """A panel a ruler: the share of a term in its scores, against what that term, tuned alone, gains over head only.

    ``points``: from ``verdicts.points``. A marker is one term on one task with one model: its mean over seeds, 95 %
    intervals both ways. Returns the axes of the first panel.
    """
    names = list(points["ruler"].unique())
    size = (2.3 * len(names) + 1.0, 3.6)
    every = plt.subplots(1, len(names), figsize=size, sharey=True, sharex=True, squeeze=False)[1][0]
    words = []
    for ax, name in zip(every, names, strict=True):
        of = points[points["ruler"] == name]
        for term in TERMS:
            look, mine = LOOKS[term], of[of["term"] == term]
            ax.errorbar(mine["share"], mine["gain"], mine["± gain"], mine["± share"], look.marker, color=look.color,
                        markersize=6, elinewidth=0.7, alpha=0.8, label=term)  # fmt: skip
        ax.axhline(0, color="black", linewidth=1, linestyle="--")
        ax.set_title(name, loc="left", fontsize=11)
        means = of.groupby("term")[["share", "gain"]].mean()
        told = ", ".join(f"{t} share {short(means.loc[t, 'share'])}, gain {means.loc[t, 'gain']:+.3f}" for t in TERMS)
        words.append(f"{name}: mean of {told}")
    every[0].set(ylabel="performance above head only", xlim=(-0.06, 1.06))
    every[len(names) // 2].set_xlabel("the term's share of the ruler's three scores")
    handles, labels = every[0].get_legend_handles_labels()
    every[0].get_figure(root=True).legend(handles, labels, loc="outside upper right", ncols=len(TERMS))
    cases = len(points) // (len(names) * len(TERMS))
    alt = f"Points with intervals, {cases} of each term in every panel; dashed: head only. {'; '.join(words)}."
    return describe(every[0], alt, points.set_index(["ruler", "model", "task", "term"]))


@styled
def lost_heatmap(table: pd.DataFrame) -> Axes:
    """What the pick of each ruler gives away, model and task by ruler. ``table``: from ``verdicts.lost``."""
    ax = plt.subplots(figsize=(0.52 * len(table.columns) + 2.1, 0.36 * len(table) + 2.7))[1]
    values = table.to_numpy(dtype=float)
    image = heat(ax, values, table.columns, table.index, max(values.max(), 1e-12), lambda v: f"{v:.3f}".lstrip("0"))
    ax.set_xticks(range(len(table.columns)), list(table.columns), rotation=40, ha="right")
    plt.colorbar(image, ax=ax, label="performance lost", pad=0.02)
    ax.set_title("What a ruler's pick gives away (0: the best term)", loc="left", fontsize=11)
    means = ", ".join(f"{name} {short(value)}" for name, value in table.mean().items())
    row, column = divmod(int(values.argmax()), values.shape[1])
    alt = (
        f"Heat map of performance lost, {len(table)} rows of model and task by {len(table.columns)} rulers. Mean over "
        f"rows: {means}. Most: {table.columns[column]} on {table.index[row]} with {short(values.max())}."
    )
    return describe(ax, alt, table)
