"""Pictures of asking: demonstrations against scores, the six-task table, and where the memory of a step goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .display import describe
from .planning import OPT, TRAINED, Shape, estimate_memory
from .plots import LOOKS, OTHER, styled

# Parts of a step's memory as they are drawn: colour (Okabe–Ito) and hatch, and the keys of ``estimate_memory`` in each.
PARTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "frozen weights": ("#BBBBBB", "", ("weights",)),
    "what is trained, its gradients, Adam": ("#D55E00", "\\\\", ("trained", "gradients", "optimizer")),
    "activations": ("#56B4E9", "//", ("activations",)),
    "working space and logits": ("#F0E442", "..", ("working space", "logits")),
}


@styled
def shots(scores: pd.DataFrame, counts: pd.DataFrame, n: int, chance: Mapping[str, float] | None = None) -> Axes:
    """Score against the number of demonstrations, a small chart a task.

    Args:
        scores: fractions, a line for each number of demonstrations asked for, a column a task.
        counts: how many there were on average, in the same layout: hollow points are those with fewer than asked for.
        n: questions behind each point; the bars are one standard error.
        chance: what guessing scores, by task; a dashed line.

    Returns the axes of the first task; the others are in the same figure.
    """
    every = _panels(len(scores.columns), 1.9, sharey=True)
    at = np.arange(len(scores))
    for ax, task in zip(every, scores, strict=True):
        y, fewer = scores[task].to_numpy(), counts[task].to_numpy() < scores.index.to_numpy() - 1e-9
        ax.errorbar(at, y, np.sqrt(y * (1 - y) / n), color="#0072B2", capsize=3, linewidth=1.5)
        ax.plot(at, y, "o", color="#0072B2", markersize=7)
        ax.plot(at[fewer], y[fewer], "o", markeredgecolor="#0072B2", markerfacecolor="white", markersize=7)
        if chance and task in chance:
            ax.axhline(chance[task], color="black", linestyle="--", linewidth=1)
        ax.set_title(str(task), loc="left")
        ax.set_xticks(at, [str(k) for k in scores.index])
        ax.set_ylim(0, 1.05)
    _figure(every[0]).supxlabel("demonstrations (hollow: not all of them fitted)", fontsize=11)
    _figure(every[0]).supylabel("score", fontsize=11)
    ends = ", ".join(f"{task} {'–'.join(f'{v:.2f}' for v in scores[task])}" for task in scores)
    alt = f"Score by number of demonstrations ({', '.join(map(str, scores.index))}), a chart a task: {ends}."
    fitted = counts.rename(columns=lambda task: f"{task}, shown")
    return describe(every[0], alt, pd.concat([scores, fitted], axis=1).rename_axis("asked for"))


@styled
def six_tasks(paper: pd.DataFrame, ours: pd.DataFrame | None = None, halves: pd.DataFrame | None = None) -> Axes:
    """Every method on every task in percent: ours filled, with its interval; the paper's hollow. A chart a task.

    Args:
        paper: methods by tasks.
        ours, halves: the same, and half the interval of each; None where nothing was measured.

    Returns the axes of the first task; the others are in the same figure.
    """
    ours = pd.DataFrame() if ours is None else ours
    methods = list(dict.fromkeys([*ours.index, *paper.index]))
    every = _panels(len(paper.columns), 0.24 * len(methods) + 0.8, sharey=True)
    for ax, task in zip(every, paper, strict=True):
        for at, method in enumerate(methods):
            look = LOOKS.get(method.split("@")[0], OTHER)
            if method in paper.index:
                ax.plot(
                    paper.loc[method, task], at, look.marker, color=look.color, markerfacecolor="none", markersize=9
                )
            if method in ours.index and task in ours:
                half = 0.0 if halves is None else float(np.nan_to_num(halves.loc[method, task]))
                mean = float(ours.loc[method, task])  # type: ignore[arg-type]
                ax.errorbar(mean, at, xerr=half, fmt=look.marker, color=look.color, markersize=6, capsize=3)
        ax.set_title(str(task), loc="left")
        ax.set(xlim=(-4, 112), xticks=(0, 50, 100))
        ax.set_yticks(range(len(methods)), methods)
    every[0].set_ylim(len(methods) - 0.5, -0.5)
    _figure(every[0]).supxlabel("percent (hollow: the paper, on a large OPT; filled: ours)", fontsize=11)
    wide = {"paper": paper} | ({"ours": ours} if len(ours) else {})
    twin: Any = pd.concat({where: means.T for where, means in wide.items()}, axis=1).round(1)
    twin.columns = [f"{method}, {where}" for where, method in twin.columns]
    return describe(every[0], _told_six(paper, ours), twin)


@styled
def memory(
    methods: Sequence[str] = ("value", "lora", "prefix", "full"),
    models: Sequence[str] = ("facebook/opt-125m", "facebook/opt-1.3b", "facebook/opt-6.7b"),
    card: float | None = None,
    **options: Any,
) -> Axes:
    """What a training step takes at its peak, by part: a chart a model, a bar a method, gigabytes (10^9 bytes).

    Args:
        models: keys of ``planning.OPT``; each chart has a scale of its own.
        card: gigabytes of a card, drawn as a dashed line where it is on the scale.
        options: ``batch``, ``length``, ``dtype`` … as in ``planning.estimate_memory``.
    """
    every = plt.subplots(len(models), 1, figsize=(7.6, len(models) * (0.34 * len(methods) + 0.75) + 0.6))[1]
    lines = []
    for ax, model in zip(np.atleast_1d(every), models, strict=True):
        totals = [_memory_bars(ax, model, at, method, options) for at, method in enumerate(methods)]
        name = model.rsplit("/", 1)[-1]
        for at, (method, total) in enumerate(zip(methods, totals, strict=True)):
            trained = TRAINED[method](OPT[model])
            ax.text(total, at, f"  {total:.1f} GB, {trained:,} trained", va="center", fontsize=9)
            lines.append({"model": name, "method": method, "trained": trained, "GB": total})
        top = 1.55 * max(totals)  # room for the words behind a bar
        if card is not None and card < top:
            ax.axvline(card, color="black", linestyle="--", linewidth=1.2)
        ax.set(xlim=(0, top), ylim=(len(methods) - 0.5, -0.5))
        ax.set_yticks(range(len(methods)), methods)
        ax.grid(axis="y", visible=False)
        ax.set_title(name, loc="left")
    first, told = np.atleast_1d(every)[0], f" (dashed: a card of {card:g} GB)" if card else ""
    _figure(first).supxlabel(f"GB at the peak of a step{told}", fontsize=11)
    _figure(first).legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=10)
    found = pd.DataFrame(lines)
    ends = "; ".join(f"{r['model']} {r['method']} {r['GB']:.1f}" for r in lines)
    return describe(first, f"Bars: estimated gigabytes of a training step by model and method: {ends}.", found)


def _memory_bars(ax: Axes, model: str, at: int, method: str, options: Mapping[str, Any]) -> float:
    """One stacked bar; returns its length."""
    parts, left = estimate_memory(model, method, **options), 0.0
    for label, (color, hatch, keys) in PARTS.items():
        wide = sum(parts[key] for key in keys) / 1e9
        named = label if at == 0 else "_"
        ax.barh(at, wide, 0.62, left, color=color, hatch=hatch, edgecolor="white", linewidth=0.5, label=named)
        left += wide
    return left


def chance(prompts: Mapping[str, Any]) -> dict[str, float]:
    """What guessing scores on the tasks that offer a choice: ``{"sst2": 0.5, …}``."""
    return {name: 1 / len(prompt.answers) for name, prompt in prompts.items() if prompt.answers}


def shape_table(shapes: Mapping[str, Shape] | None = None) -> pd.DataFrame:
    """Layers L, width d and parameters of each OPT, and what the value bias and LoRA train there."""
    lines = {
        name.rsplit("/", 1)[-1]: {
            "L": s.layers, "d": s.width, "parameters": s.parameters, "value": TRAINED["value"](s),
            "value, percent": 100 * TRAINED["value"](s) / s.parameters, "lora": TRAINED["lora"](s),
            "prefix": TRAINED["prefix"](s),
        }
        for name, s in (shapes or OPT).items()
    }  # fmt: skip
    return pd.DataFrame.from_dict(lines, orient="index").astype({"L": int, "d": int})


def _figure(ax: Axes) -> Any:
    return ax.get_figure(root=True)


def _panels(count: int, high: float, **options: Any) -> list[Axes]:
    """``count`` axes in rows of three, ``high`` inches each."""
    rows = -(-count // 3)
    every = plt.subplots(rows, 3, figsize=(7.6, rows * high + 0.5), squeeze=False, **options)[1].flatten()
    for ax in every[count:]:
        ax.remove()
    return list(every[:count])


def _told_six(paper: pd.DataFrame, ours: pd.DataFrame) -> str:
    def said(means: pd.DataFrame) -> str:
        return "; ".join(f"{m} {', '.join(f'{t} {v:.1f}' for t, v in means.loc[m].items())}" for m in means.index)

    mine = f" Ours: {said(ours)}." if len(ours) else " Nothing of ours was measured yet."
    return f"Points: percent by method, a chart a task. The paper: {said(paper)}.{mine}"
