"""Pictures of attention: who looks at whom, in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .display import describe
from .plots import _ink, styled


@styled
def attention_maps(maps: Mapping[str, Any], tokens: Sequence[str]) -> Axes:
    """Attention maps of the same tokens side by side, one colour scale, every percentage written in its cell.

    Args:
        maps: title to attention weights (T, T): row i says how token i spreads its attention over all tokens.
        tokens: the T tokens.

    Returns the axes of the first map; the others are in the same figure.
    """
    names = 0.1 * max(map(len, tokens))  # inches for the words at the side, and below
    side = min(0.4 * len(tokens) + 0.4, (6.4 - names) / len(maps))  # of one map
    size = (1.6 + names + side * len(maps), 0.9 + side + (names if len(tokens) > 5 else 0.2))
    every = plt.subplots(1, len(maps), figsize=size, sharey=True, squeeze=False)[1][0]
    for ax, (name, weights) in zip(every, maps.items(), strict=True):
        image = draw_map(ax, weights, tokens, name)
    every[0].set_ylabel("this token looks …")
    plt.colorbar(image, ax=list(every), label="percent of a row", pad=0.02, shrink=0.8)
    return every[0]


def draw_map(ax: Axes, weights: Any, tokens: Sequence[str], title: str, before: Any = None) -> Any:
    """One map into given axes, described; returns the image, for a colour bar.

    ``before``: another map (T, T); by how much each cell differs from it is then written below the cell's percentage.
    """
    percent = 100 * np.asarray(weights, dtype=float)  # (T, T)
    image = ax.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="equal")
    for (row, column), value in np.ndenumerate(percent):
        ink = _ink(tuple(image.to_rgba(value)))
        change = "" if before is None else f"\n({changed(value, 100 * before[row, column])})"
        ax.text(column, row, f"{value:.0f}{change}", ha="center", va="center", color=ink, fontsize=9)
    ax.set_xticks(range(len(tokens)), list(tokens), rotation=90 if len(tokens) > 5 else 0)
    ax.set_yticks(range(len(tokens)), list(tokens))
    ax.set_xlabel("… at this token")
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title, loc="left")
    named = title.replace("$", "")  # a formula is for the eye
    describe(ax, in_words(percent, tokens, named), map_table(percent, tokens, named))
    return image


def changed(now: float, before: float) -> str:
    """A change of percentages as it is written: the difference of the rounded ones, so that the sums on show agree."""
    difference = round(now) - round(before)
    return f"{difference:+d}".replace("-", "−") if difference else "±0"


def in_words(percent: np.ndarray, tokens: Sequence[str], title: str) -> str:
    """The map in a sentence: the column that gets most, and the fullest cell. ``percent`` is (T, T)."""
    column = int(percent.mean(0).argmax())
    row, at = divmod(int(percent.argmax()), len(tokens))
    return (
        f"Attention map, {title}: {len(tokens)} tokens by {len(tokens)}, each row sums to 100 percent. Most goes to "
        f"{tokens[column]!r}, {percent[:, column].mean():.0f} percent of a row on average. "
        f"Fullest cell: {tokens[row]!r} looks at {tokens[at]!r} with {percent[row, at]:.0f} percent."
    )


def map_table(percent: np.ndarray, tokens: Sequence[str], title: str) -> pd.DataFrame:
    """The same numbers, rounded, as a table; tokens that occur twice get their place."""
    names = [f"{t} ({i})" if list(tokens).count(t) > 1 else t for i, t in enumerate(tokens, start=1)]
    return pd.DataFrame(percent.round().astype(int), index=pd.Index(names, name=title), columns=names)
