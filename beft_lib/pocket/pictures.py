"""Pictures of the pocket world: how a loss comes down to the entropy, and what each token of a text costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ..display import describe
from ..plots import LOOKS, styled

_WORLD, _MODEL = LOOKS["query"].color, LOOKS["value"].color


@styled
def learning_curve(
    log: Sequence[Mapping[str, Any]], floor: float, name: str, vocabulary: int, ax: Axes | None = None
) -> Axes:
    """Loss over steps, in training and on validation, from the ``log`` in pretraining.json; lines at the entropy and at
    what a model pays to which every token is as likely as any other. The axis of the loss is logarithmic.
    """
    import matplotlib.pyplot as plt

    ax = ax or plt.figure(figsize=(7.6, 4.0)).add_subplot()
    train = np.array([(entry["step"], entry["loss"]) for entry in log if "loss" in entry])
    held = np.array([(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry])
    ax.plot(*train.T, color=_WORLD, linewidth=0.8, alpha=0.7, label="training")
    ax.plot(*held.T, color=_MODEL, marker="^", linestyle="-.", label="validation")
    ax.axhline(floor, color="black", linestyle="--", label=f"the world's entropy, {floor:.3f}")
    ax.axhline(
        np.log(vocabulary),
        color="grey",
        linestyle=":",
        label=f"all {vocabulary} tokens alike, {np.log(vocabulary):.2f}",
    )
    ax.set_yscale("log")
    ticks = [
        t
        for t in (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 10)
        if 0.8 * floor < t < 1.2 * max(held[:, 1].max(), np.log(vocabulary))
    ]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("training steps")
    ax.set_ylabel("loss, nats per token (log scale)")
    ax.set_title(f"{name}: from the first step to the last", loc="left")
    ax.legend()
    table = pd.DataFrame(held, columns=["step", "validation loss"]).astype({"step": int}).set_index("step")
    table["over the entropy"] = table["validation loss"] / floor
    thinned = table.iloc[np.unique(np.linspace(0, len(table) - 1, min(12, len(table))).astype(int))]
    alt = (
        f"Line chart of the loss of {name} over {held[-1, 0]:,.0f} steps: validation falls from {held[0, 1]:.2f} to "
        f"{held[-1, 1]:.3f} nats per token; the world's entropy is a dashed line at {floor:.3f}."
    )
    return describe(ax, alt, thinned)


@styled
def costs(tokens: Sequence[str], world: Sequence[float], model: Sequence[float], ax: Axes | None = None) -> Axes:
    """Nats of each token: what the world's choices make it cost, and what a model pays for it."""
    import matplotlib.pyplot as plt

    ax = ax or plt.figure(figsize=(11.0, 3.8)).add_subplot()
    at = np.arange(len(tokens))
    ax.bar(at - 0.2, world, 0.4, color=_WORLD, hatch="//", edgecolor="white", label="the world: choices that show here")
    ax.bar(at + 0.2, model, 0.4, color=_MODEL, label="the model: -log p of this token")
    ax.set_xticks(at, [token.replace("\n", "line") for token in tokens], rotation=90)
    ax.set_ylabel("nats")
    ax.grid(False, axis="x")
    ax.legend()
    table = pd.DataFrame({"token": tokens, "world": world, "model": model})
    dearest = ", ".join(f"{tokens[i]} {world[i]:.1f}" for i in np.argsort(world)[::-1][:3])
    alt = (
        f"Bar chart over the {len(tokens)} tokens of a text: the world charges {sum(world):.1f} nats in all, the model "
        f"pays {sum(model):.1f}. {sum(nats == 0 for nats in world)} tokens are free; the dearest are {dearest}."
    )
    return describe(ax, alt, table)
