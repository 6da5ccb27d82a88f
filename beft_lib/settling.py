"""When a probe has seen enough: the rule behind ``probe(stop="stable")``, from arrays to a decision.

Under Adam an element moves by about the learning rate at every step, whatever the size of its gradient: a term without
any signal walks at random and still scores, the more the shorter its pretrained vector. So the first 1 / (1 - beta1)
steps, while Adam's mean fills, are not looked at; after them a consistent gradient moves a bias in proportion to the
steps, a random one only to their square root. A ranking counts as settled when, over the last ``patience`` steps,

1. no term changed its place, and
2. the gap between first and second, log(first / second), was at all of them larger than its noise: the largest fall
   of that gap within them, from a high to a later low. Fell it once more by as much, the first would still be first.

The log makes it free of units and of the growth common to all scores; it needs neither many layers nor many seeds.
"""

from __future__ import annotations

import math

import numpy as np

from .errors import TrainingError

PATIENCE = 0.04  # of the recipe's steps, and at least LEAST: how long a ranking has to stand to count as settled
LEAST = 10
RECORDS = 3  # that a ranking has to stand in: two have only one gap's change between them


def is_settled(steps: np.ndarray, scores: np.ndarray, patience: int, after: int) -> bool:
    """Whether the ranking at the last record is settled, by the rule at the top.

    Shapes: steps (S,), scores (S, terms), the mean over layers. ``after``: first step that is looked at.
    """
    since = steps[-1] - patience
    window = scores[steps >= since]  # (W, terms)
    if since < after or len(window) < RECORDS:
        return False
    places = np.argsort(-window, axis=1, kind="stable")
    if (places != places[-1]).any():
        return False
    first, second = places[-1][:2]
    gap = np.log(np.maximum(window[:, first], 1e-300)) - np.log(np.maximum(window[:, second], 1e-300))  # (W,)
    fall = (np.maximum.accumulate(gap) - gap).max()
    return bool(gap.min() > fall)


def patience_for(steps: int, patience: int | None = None) -> int:
    """Steps that a ranking has to stand in a recipe of so many. Raises TrainingError below 1."""
    if patience is not None and patience < 1:
        raise TrainingError(f"patience is {patience!r} steps; it has to be at least 1.")
    return max(LEAST, math.ceil(PATIENCE * steps)) if patience is None else patience


def record_every(steps: int, most: int, every: int | None = None, patience: int | None = None) -> int:
    """Steps from one record to the next: ``every``, or what keeps ``most`` or somewhat more (less than twice as many)
    of a run of so many steps; all of a shorter one.

    A stop by ``patience`` needs ``RECORDS`` of them within it, so it may ask for more. Raises TrainingError where what
    was given leaves fewer: such a probe would never stop.
    """
    taken = every or max(1, steps // most)
    if patience is None:
        return taken
    if every is None:
        taken = min(taken, max(1, patience // RECORDS))
    if (RECORDS - 1) * taken > patience:
        raise TrainingError(
            f"patience is {patience} steps and every {taken}: the stop needs {RECORDS} records within its patience and "
            f"would never come. Take a patience of at least {(RECORDS - 1) * taken}"
            f"{f', or every at most {patience // (RECORDS - 1)}' if patience >= RECORDS - 1 else ''}."
        )
    return taken


def warm_up(beta1: float) -> int:
    """Steps that Adam's running mean takes to fill: 1 / (1 - beta1)."""
    return round(1 / (1 - beta1))
