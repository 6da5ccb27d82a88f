"""How to train, and by which seeds: the numbers of one or several runs, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from .errors import TrainingError


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the paper's (BERT side): eps and weight decay are explicit on purpose, since
    transformers' default eps of 1e-8 can make a dead key bias look alive.
    """

    learning_rate: float
    epochs: float
    batch_size: int = 16
    eps: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: str = "constant"
    clip: float = 1.0
    max_length: int = 128
    pad_to: int | None = None  # None: to the longest of the batch
    max_steps: int = -1  # stop earlier than the epochs say
    checkpointing: bool = False  # compute activations again in the backward pass instead of keeping them
    # Compute layers below the lowest one trained only once an example (``halfway``). True turns their dropout off; the
    # paper's recipe has it on, so "auto" does it only where the model has none and nothing but the time changes.
    reuse: bool | str = "auto"
    fsdp: bool = False  # each process holds a piece of every frozen layer (``fsdp.in_pieces``); without reuse

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "batch_size", "eps", "max_length", "weight_decay", "clip"):
            value, at_least_0 = getattr(self, name), name in ("weight_decay", "clip")
            if not isinstance(value, Real) or not (float(value) > 0 or (at_least_0 and value == 0)):
                least = "0 or more" if at_least_0 else "above 0"
                raise TrainingError(f"{name} is {value!r}; it has to be a number {least}.")


def check_seeds(seeds: Any) -> list[int]:
    """Several seeds as a list. Raises TrainingError where there is none, one twice, or something else than numbers."""
    several = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else []
    whole = all(isinstance(seed, Integral) and int(seed) >= 0 for seed in several)
    if not several or not whole or len(set(several)) < len(several):
        told = several if several else repr(seeds)
        raise TrainingError(
            f"seeds is {told}; expected whole numbers, at least one and none twice, such as range(5). One run alone "
            "takes seed=0."
        )
    return [int(seed) for seed in several]


def check_seed(seed: Any) -> None:
    """Raises TrainingError where ``seed`` is no whole number."""
    if not isinstance(seed, Integral) or int(seed) < 0:
        raise TrainingError(f"seed is {seed!r}; expected one whole number such as 0. Several runs take seeds=range(5).")
