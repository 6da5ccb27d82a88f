"""Facts and how they are said: the part of the grammar that the running text and the tasks share.

A sentence is a string of tokens with one space between them ("anna is in the hall ."), so that it can be counted and
put together without a tokenizer; ``render`` turns it into ordinary writing ("Anna is in the hall.").
"""

from __future__ import annotations

from dataclasses import dataclass

from .chooser import Chooser
from .words import ACTS, COLOURS, JOBS, NAMES, ROOMS, THINGS, WOMEN

TOPICS = ("room", "thing", "job", "act")
VALUES = {"room": ROOMS, "job": JOBS, "act": ACTS}


@dataclass(frozen=True)
class Fact:
    """One thing that holds of one person. ``value`` is a room, a job, an activity, or "red ball"."""

    name: str
    topic: str
    value: str


def pronoun(name: str) -> str:
    return "she" if name in WOMEN else "he"


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def values(c: Chooser, topic: str, n: int) -> list[str]:
    """n different values of a topic. Different things, each with a colour of its own."""
    if topic == "thing":
        return [f"{c.pick(COLOURS)} {thing}" for thing in c.draw(THINGS, n)]
    return c.draw(VALUES[topic], n)


def say(c: Chooser, fact: Fact, subject: str) -> str:
    """A fact as the narrator tells it; there are two ways to say most of them."""
    if fact.topic == "room":
        return f"{subject} {c.pick(('is', 'stays'))} in the {fact.value} ."
    if fact.topic == "thing":
        return f"{subject} {c.pick(('has', 'holds'))} {article(fact.value)} {fact.value} ."
    if fact.topic == "job":
        return f"{subject} {c.pick(('is', 'works as'))} a {fact.value} ."
    return f"{subject} is {fact.value} ."


def claim(fact: Fact, holds: bool = True) -> str:
    """A fact, or its denial, in its plainest form and without the full stop."""
    no = "" if holds else " not"
    if fact.topic == "room":
        return f"{fact.name} is{no} in the {fact.value}"
    if fact.topic == "thing":
        verb = "has" if holds else "does not have"
        return f"{fact.name} {verb} {article(fact.value)} {fact.value}"
    if fact.topic == "job":
        return f"{fact.name} is{no} a {fact.value}"
    return f"{fact.name} is{no} {fact.value}"


@dataclass(frozen=True)
class Story:
    """A cast, what holds of each, and the telling of it."""

    cast: tuple[str, ...]
    topic: str  # the topic that every one of the cast has a fact of
    facts: tuple[Fact, ...]
    text: str

    def fact(self, name: str, topic: str) -> Fact:
        return next(f for f in self.facts if (f.name, f.topic) == (name, topic))


def story(c: Chooser, people: int, second: float = 0.5) -> Story:
    """A story: everyone has a fact of one topic, and with probability ``second`` one of another topic."""
    cast = tuple(c.draw(NAMES, people))
    first, other = c.draw(TOPICS, 2)
    known, wanted = values(c, first, people), [c.flip(second) for _ in cast]
    extra = iter(values(c, other, sum(wanted)))
    facts, told = [], []
    for name, value, more in zip(cast, known, wanted, strict=True):
        facts.append(Fact(name, first, value))
        told.append(say(c, facts[-1], name))
        if more:
            facts.append(Fact(name, other, next(extra)))
            told.append(say(c, facts[-1], c.pick((pronoun(name), name), (0.7, 0.3))))
    return Story(cast, first, tuple(facts), " ".join(told))


def render(tokens: str) -> str:
    """Token form as ordinary writing: capitals, and punctuation where it belongs. The tokenizers undo it."""
    out: list[str] = []
    opened, start, glue = False, True, True
    for token in tokens.split(" "):
        closing = token == '"' and opened
        space = not (glue or token in ".,?:\n" or closing)
        word = token.capitalize() if (start and token[0].isalpha()) or token in _CAPITAL else token
        out.append(" " + word if space else word)
        if token == '"':
            opened = not opened
        start = token in ".?\n" or (start and token == '"' and opened)
        glue = token == "\n" or (token == '"' and opened)
    return "".join(out)


_CAPITAL = frozenset(NAMES)
