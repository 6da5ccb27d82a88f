"""What the world itself cannot predict: the target that pretraining is measured against.

**For language models.** A text is written by a derivation: a list of choices, each of known probability. The text
follows from the derivation, so H(text) <= H(derivation), and the mean of -log p over derivations bounds the entropy of
the text from above. The bound is nearly tight, because nearly every choice can be read off the text.

**For masked models.** Hide one token. What else could stand there, with everything else as it is? Exactly the tokens
that some derivation would put there. Following the text's own derivation again with one choice exchanged finds nearly
all of them, each with its probability; the best guess is the likeliest. Alternatives that take two exchanges are
missed, so the accuracy found is an upper bound on the best possible.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from .chooser import Chooser, ScriptMismatchError
from .texts import KINDS, write_text

LN2 = math.log(2.0)


@dataclass(frozen=True)
class Information:
    """What a corpus holds: ``nats`` in ``tokens`` tokens (one end-of-text token each included) of ``texts`` texts."""

    texts: int
    tokens: int
    nats: float

    @property
    def per_token(self) -> float:
        """Nats a token: what no model can predict, or a little more. The target of a loss."""
        return self.nats / self.tokens


def information(seed: str = "entropy", n: int = 2000, kind: str | None = None) -> Information:
    """The information in n texts, of one kind or of all."""
    tokens, nats = 0, 0.0
    for i in range(n):
        c = Chooser(f"{seed}/{i}")
        tokens += len(write_text(c, kind).split(" ")) + 1
        nats -= c.logp
    return Information(n, tokens, nats)


@dataclass(frozen=True)
class Masked:
    """One token hidden in a text: its place (dropped newlines not counted) and the posterior over tokens."""

    place: int
    posterior: dict[str, float]

    @property
    def best(self) -> float:
        """The chance that the likeliest token is right: no model can do better here."""
        return max(self.posterior.values())


def masked_posteriors(seed: str, kind: str | None = None, newlines: bool = False) -> tuple[list[str], list[Masked]]:
    """One text and, for every token of it, what could stand there given all the others.

    Args:
        seed: of the text (as ``Chooser`` takes it).
        newlines: whether newlines are tokens (not so for BERT).
    """
    c = Chooser(seed)
    tokens = _tokens(write_text(c, kind), newlines)
    options: list[dict[str, float]] = [defaultdict(float, {token: 1.0}) for token in tokens]
    for other, logp in _neighbours(c, kind):
        changed = _tokens(other, newlines)
        if len(changed) != len(tokens):
            continue
        places = [i for i, (a, b) in enumerate(zip(tokens, changed, strict=True)) if a != b]
        weight = math.exp(logp - c.logp)  # relative to the derivation at hand
        if len(places) == 1:
            options[places[0]][changed[places[0]]] += weight
        elif not places:  # another derivation of the same text: it speaks for every token of it
            for place, token in enumerate(tokens):
                options[place][token] += weight
    return tokens, [Masked(i, _normalised(weights)) for i, weights in enumerate(options)]


def best_masked_accuracy(seeds: list[str], newlines: bool = False) -> tuple[float, float]:
    """(accuracy, nats a token) that no model can beat when one token at a time is hidden in the texts of ``seeds``."""
    hits = nats = 0.0
    count = 0
    for seed in seeds:
        tokens, masks = masked_posteriors(seed, newlines=newlines)
        hits += sum(mask.best for mask in masks)
        nats -= sum(math.log(mask.posterior[token]) for token, mask in zip(tokens, masks, strict=True))
        count += len(tokens)
    return hits / count, nats / count


def _neighbours(c: Chooser, kind: str | None, choice: int | None = None) -> Iterator[tuple[str, float]]:
    """Every text whose derivation differs from ``c``'s in one choice (a given one), with its log-probability."""
    first = 0 if kind is not None else 1  # the first choice is the kind: another kind is another text
    for at in range(first, len(c.taken)) if choice is None else [choice]:
        for option in range(c.sizes[at]):
            if option == c.taken[at]:
                continue
            again = Chooser(script=[*c.taken[:at], option, *c.taken[at + 1 :]])
            try:
                text = write_text(again, kind)
            except ScriptMismatchError:
                continue
            if len(again.taken) == len(c.taken):  # a derivation that stopped early left choices over
                yield text, again.logp


def charged(seed: str | int, kind: str | None = None) -> tuple[list[str], list[float]]:
    """A text and, for every token and the end of the text, the nats of the choices that first show there.

    A choice is charged to the first token that would have been another, had it gone another way and all others stayed;
    where no such text exists (another frame, another number of sentences), to the first token that it leaves open. The
    sum is the information in the derivation.
    """
    c = Chooser(seed)
    tokens = write_text(c, kind).split(" ")
    nats = [0.0] * (len(tokens) + 1)
    for at, information in enumerate(c.nats):
        shown = [_parting(tokens, other.split(" ")) for other, _ in _neighbours(c, kind, at)]
        shown = shown or [_parting(tokens, other) for other in _others(c, kind, at)]
        nats[min(shown, default=len(tokens))] += information
    return tokens, nats


def _others(c: Chooser, kind: str | None, at: int, n: int = 8) -> Iterator[list[str]]:
    """Texts that make the same choices before ``at``, and from there on n times others."""
    for number in range(n):
        yield write_text(Chooser(number, c.taken[:at], goes_on=True), kind).split(" ")


def _parting(one: list[str], two: list[str]) -> int:
    """The first place where two texts differ."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(two)))


def _tokens(text: str, newlines: bool) -> list[str]:
    return [token for token in text.split(" ") if newlines or token != "\n"]


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {token: weight / total for token, weight in weights.items()}


def table(n: int = 500) -> dict[str, float]:
    """Nats a token by kind of text."""
    return {kind: information(n=n, kind=kind).per_token for kind in KINDS}
