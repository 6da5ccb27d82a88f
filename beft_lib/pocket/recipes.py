"""How long each pocket model is trained, on which texts, in which order, and what is hidden from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .corpus import EVERY, Stage

# How often a word is hidden, as a multiple of a round's mask: words that hold a sentence together less often than the
# others, words that answer more often.
FRAME = (
    "a an the is was are of in and with that so does this mean do have has not can we infer suppose or by near "
    'title context question answer passage word same meaning these two sentences other words how many . , : ? " \n'
).split(" ")
VERDICT = "great terrible true false yes no maybe right wrong".split(" ")
HIDDEN: dict[str, float] = {**dict.fromkeys(FRAME, 1 / 3), **dict.fromkeys(VERDICT, 2.0)}
HIDDEN_LATER: dict[str, float] = {**dict.fromkeys(FRAME, 1 / 3), **dict.fromkeys([*VERDICT, *"012345"], 4.0)}


@dataclass(frozen=True)
class Recipe:
    """One pocket model: its family, and how long and how it is trained.

    Attributes:
        first: kinds of text that come first, and how many of each. What is rare in the mixture is then learned soon (to
            look things up; which words praise and which blame), and used later.
        texts: how many texts of every kind follow; each is seen once.
        later: stages of a second round, of the same shape as ``first`` (``EVERY`` is a text of every kind): what is
            compared is learned once things can be looked up. A round has its own schedule.
        later_share: peak rates of the rounds after the first, as a share of the first's.
        last: stages of a third round, batch and rates as in the second: what was learned in short forms is asked in the
            longer ones.
        batch: rows a step, in the first round and in the second.
        learning_rate: peak of a schedule with 5 % warm-up and linear decay to zero, for embeddings, norms and biases
            (AdamW).
        matrix_rate: the same for the matrices of the layers (Muon).
        mask: share of the words that is hidden in the first round (masked models); ``HIDDEN`` says of which words more.
    """

    name: str
    style: str
    texts: int
    batch: int
    learning_rate: float
    first: tuple[tuple[str, int], ...] = ()
    mask: float = 0.0
    matrix_rate: float = 5e-3
    seed: int = 0
    validation_texts: int = 300
    later: tuple[Stage, ...] = ()
    later_batch: int = 64
    later_share: float = 1.0
    last: tuple[Stage, ...] = ()
    later_mask: float = 0.15  # what is compared has to be seen

    @property
    def rounds(self) -> list[Round]:
        every = ((EVERY, self.texts),)
        stages = (self.first, every) if self.first else (every,)
        rounds = [Round(stages, f"train/{self.seed}", self.batch, self.mask, HIDDEN)]
        shape = (self.later_batch, self.later_mask if self.mask else 0.0, HIDDEN_LATER, self.later_share)
        for name, more in (("later", self.later), ("last", self.last)):
            if more:
                rounds.append(Round(more, f"train/{self.seed}/{name}", *shape))
        return rounds


@dataclass(frozen=True)
class Round:
    """One run of the Trainer: what is read in which order, the seed of the texts, rows a step, what is hidden, and the
    peak rates as a share of the recipe's.
    """

    stages: tuple[Stage, ...]
    seed: str
    batch: int
    mask: float
    hidden: Mapping[str, float]
    share: float = 1.0


MASKED_FIRST = (("recap", 40_000), ("review", 20_000))
MASKED_LATER = (
    (("pairs", 60_000), ("checked", 60_000), (EVERY, 12_000)),
    (("compared", 20_000), ("cued", 20_000), ("checked", 25_000), ("pairs", 15_000), (EVERY, 15_000)),
    ((EVERY, 50_000), ("compared", 4_000), ("cued", 4_000), ("checked", 8_000)),
)
CAUSAL_FIRST = (("recap", 40_000), ("asked", 20_000), ("checked", 20_000), ("worked", 10_000))
CAUSAL_LATER = (
    (("asked", 45_000), ("checked", 40_000), ("worked", 25_000), (EVERY, 15_000)),
    ((EVERY, 60_000), ("asked", 8_000), ("checked", 8_000), ("worked", 6_000)),
)
CAUSAL_LAST = (
    (("asked_claims", 22_000), ("claims", 15_000), ("checked", 10_000), ("asked", 15_000), ("questions", 6_000),
     (EVERY, 15_000)),
)  # fmt: skip
RECIPES: dict[str, Recipe] = {
    row.name: row
    for row in (
        Recipe("pocket-bert", "bert", 170_000, 32, 1e-3, MASKED_FIRST, 0.3, 2.5e-3, later=MASKED_LATER),
        Recipe("pocket-roberta", "roberta", 170_000, 32, 1e-3, MASKED_FIRST, 0.3, 2.5e-3, later=MASKED_LATER),
        Recipe(
            "pocket-opt",
            "opt",
            340_000,
            32,
            2e-3,
            (("recap", 60_000),),
            later=CAUSAL_LATER,
            later_share=0.5,
            last=CAUSAL_LAST,
        ),
        Recipe("pocket-llama", "llama", 120_000, 32, 2e-3, CAUSAL_FIRST),
    )
}
