"""Seeded choices that know their own probability: what makes the entropy of the pocket world computable.

Everything the grammar decides goes through one ``Chooser``. It adds up log p of every choice, so that after a text is
written, ``-chooser.logp`` is the information in its derivation, in nats. It also keeps the derivation (which option
was taken at each choice), so that a text can be written again with one choice changed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chooser:
    """Choices from a seed, or from a script (the indices of an earlier derivation).

    Only ``random.Random.random`` is used: it is the one generator that Python promises never to change, so the same
    seed writes the same bytes everywhere.

    Attributes:
        nats: -log p of every choice made; ``logp``: the sum of log p.
        taken: index of the option taken, choice by choice; ``sizes``: how many options there were.
    """

    def __init__(self, seed: str | int = 0, script: Sequence[int] | None = None, goes_on: bool = False):
        self._random = random.Random(str(seed)).random
        self._script = script
        self._goes_on = goes_on  # after the script, by the seed
        self.nats: list[float] = []
        self.taken: list[int] = []
        self.sizes: list[int] = []

    @property
    def logp(self) -> float:
        """Log-probability of all choices so far."""
        return -sum(self.nats)

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One option, uniformly or by weight (weights sum to 1). A single option is no choice and is not recorded."""
        n = len(options)
        if n == 1:
            return options[0]
        index = self._index(n, weights)
        self.nats.append(-math.log(weights[index]) if weights else math.log(n))
        self.taken.append(index)
        self.sizes.append(n)
        return options[index]

    def flip(self, p: float) -> bool:
        """True with probability p."""
        return self.pick((True, False), (p, 1.0 - p))

    def draw(self, options: Sequence[T], k: int) -> list[T]:
        """k different options, in the order drawn. Recorded as places in ``options``, so that one can be exchanged."""
        left = list(range(len(options)))
        drawn = []
        for _ in range(k):
            if len(left) > 1:
                index = self._index(len(options), None, left)
                self.nats.append(math.log(len(left)))
                self.taken.append(index)
                self.sizes.append(len(options))
            else:
                index = left[0]
            left.remove(index)
            drawn.append(options[index])
        return drawn

    def _index(self, n: int, weights: Sequence[float] | None, left: Sequence[int] | None = None) -> int:
        if self._script is not None and not (self._goes_on and len(self.taken) >= len(self._script)):
            return self._scripted(n, left)
        u = self._random()
        if left is not None:
            return left[int(u * len(left))]
        if weights is None:
            return int(u * n)
        for index, weight in enumerate(weights[:-1]):
            u -= weight
            if u < 0:
                return index
        return n - 1

    def _scripted(self, n: int, left: Sequence[int] | None) -> int:
        assert self._script is not None
        if len(self.taken) >= len(self._script):
            raise ScriptMismatchError("the script is shorter than this derivation")
        index = self._script[len(self.taken)]
        if index >= n or (left is not None and index not in left):
            raise ScriptMismatchError(f"the script takes option {index} of {n}, which is not there")
        return index


class ScriptMismatchError(Exception):
    """A script that this grammar cannot follow: the changed choice led to a derivation of another shape."""
