"""Pictures of rulers beside each other, and beside measured performance."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from .architectures import TERMS
from .comparing import TIED
from .display import describe
from .plots import LOOKS, heat, short, styled
from .rulers import RULERS

FLOOR = 1e-6  # of a logarithmic axis of scores: rounding noise of a dead bias is below it


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
    intervals both ways. Heights are shares of what head only leaves to gain, as the tasks' metrics differ. Returns the
    axes of the first panel.
    """
    names = list(points["ruler"].unique())
    size = (2.3 * len(names) + 1.0, 3.6)
    every = plt.subplots(1, len(names), figsize=size, sharey=True, sharex=True, squeeze=False)[1][0]
    words = []
    for ax, name in zip(every, names, strict=True):
        of = points[points["ruler"] == name]
        for term in TERMS:
            look, mine = LOOKS[term], of[of["term"] == term]
            ax.errorbar(mine["share"], mine["gained"], mine["± gained"], mine["± share"], look.marker, color=look.color,
                        markersize=6, elinewidth=0.7, alpha=0.8, label=term)  # fmt: skip
        ax.axhline(0, color="black", linewidth=1, linestyle="--")
        ax.set_title(name, loc="left", fontsize=11)
        means = of.groupby("term")[["share", "gained"]].mean()
        told = ", ".join(f"{t} share {short(means.loc[t, 'share'])}, gain {means.loc[t, 'gained']:+.2f}" for t in TERMS)
        words.append(f"{name}: mean of {told}")
    every[0].set(ylabel="gain over head only,\nof what that leaves to gain", xlim=(-0.06, 1.06), xticks=(0, 0.5, 1))
    every[len(names) // 2].set_xlabel("the term's share of the ruler's three scores")
    handles, labels = every[0].get_legend_handles_labels()
    every[0].get_figure(root=True).legend(handles, labels, loc="outside upper right", ncols=len(TERMS))
    cases = len(points) // (len(names) * len(TERMS))
    alt = f"Points with intervals, {cases} of each term in every panel; dashed: head only. {'; '.join(words)}."
    return describe(every[0], alt, points.set_index(["ruler", "model", "task", "term"]))


@styled
def lost_heatmap(table: pd.DataFrame) -> Axes:
    """What the pick of each ruler gives away, model and task by ruler, a row in its task's own metric.

    ``table``: from ``verdicts.lost``.
    """
    ax = plt.subplots(figsize=(min(8.0, 0.72 * len(table.columns) + 2.3), 0.36 * len(table) + 2.7))[1]
    values = table.to_numpy(dtype=float)
    image = heat(ax, values, table.columns, table.index, max(values.max(), 1e-12), lambda v: f"{v:.3f}".lstrip("0"))
    ax.set_xticks(range(len(table.columns)), list(table.columns), rotation=40, ha="right")
    plt.colorbar(image, ax=ax, label="performance lost, in each task's metric", pad=0.02)
    ax.set_title("What a ruler's pick gives away (0: the best term)", loc="left", fontsize=11)
    none = ", ".join(f"{name} {count}" for name, count in (table <= TIED).sum().items())
    row, column = divmod(int(values.argmax()), values.shape[1])
    alt = (
        f"Heat map of performance lost, {len(table)} rows of model and task by {len(table.columns)} rulers. Rows where "
        f"nothing is lost: {none}. Most: {table.columns[column]} on {table.index[row]} with {short(values.max())}."
    )
    return describe(ax, alt, table)


@styled
def settings_dots(table: pd.DataFrame) -> Axes:
    """The scores of the three terms under each setting, a line a setting, on a logarithmic axis.

    ``table``: settings by term. The term chosen stands behind the setting's name; scores below ``FLOOR`` stand at it.
    """
    table = table.loc[:, list(TERMS)].astype(float)
    left = max(FLOOR, table.to_numpy().min())  # of the markers
    drawn, places, chosen = table.clip(lower=left), range(len(table)), table.idxmax(axis=1)
    ax = plt.subplots(figsize=(7.6, 0.32 * len(table) + 1.3))[1]
    ax.hlines(places, drawn.min(axis=1), drawn.max(axis=1), color="#bbbbbb", linewidth=1)
    for term in TERMS:
        look = LOOKS[term]
        ax.plot(drawn[term], places, look.marker, color=look.color, markersize=8, label=term)
    ax.plot(drawn.max(axis=1), places, "o", color="black", markerfacecolor="none", markersize=14, label="chosen")
    ax.set_xscale("log")
    ax.set_xlim(left / 2, 2 * max(table.to_numpy().max(), 10 * left))
    ax.set_yticks(places, [f"{name} → {term}" for name, term in chosen.items()])
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlabel("importance, log scale" + (f" (at the left: {FLOOR:g} or less)" if left == FLOOR else ""))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(TERMS) + 1)
    told = "; ".join(f"{name}: {term}, " + ", ".join(f"{t} {short(table.at[name, t])}" for t in TERMS)
                     for name, term in chosen.items())  # fmt: skip
    alt = f"Markers of the importance of three terms under {len(table)} settings. The choice and the scores: {told}."
    return describe(ax, alt, table.assign(choice=chosen))


@styled
def relation_forest(table: pd.DataFrame) -> Axes:
    """Kendall's tau between scores and performance, a panel a question, a line a ruler, with 95 % intervals over tasks.

    ``table``: from ``relating.relation``. The open marker is the order that looks at nothing. Returns the first axes.
    """
    rulers, questions = list(table["ruler"].unique()), list(table["question"].unique())
    size = (8.0, 0.36 * len(rulers) + 1.5)
    every = plt.subplots(1, len(questions), figsize=size, sharey=True, sharex=True, squeeze=False)[1][0]
    words = []
    for ax, question in zip(every, questions, strict=True):
        of = table[table["question"] == question].set_index("ruler").reindex(rulers)
        ax.axvline(0, color="black", linewidth=1, linestyle="--")
        for place, (ruler, row) in enumerate(of.iterrows()):
            face = "white" if ruler not in RULERS else LOOKS["query"].color
            ax.plot([row["low"], row["high"]], [place, place], color=LOOKS["query"].color)
            ax.plot(row["tau"], place, "o", color=LOOKS["query"].color, markerfacecolor=face, markersize=8)
        ax.set_title(question, loc="left", fontsize=11)
        told = ", ".join(f"{ruler} {tau:+.2f}" for ruler, tau in of["tau"].dropna().items())
        words.append(f"{question}: {told or 'nothing to compare'}")
    every[0].set_yticks(range(len(rulers)), rulers)
    every[0].set(xlim=(-1.08, 1.08), ylim=(len(rulers) - 0.4, -0.6))
    every[len(every) // 2].set_xlabel("Kendall's tau between score and performance")
    alt = f"Points with 95 % intervals over tasks; dashed: no relation. {'; '.join(words)}."
    return describe(every[0], alt, table.set_index(["ruler", "question"]))
