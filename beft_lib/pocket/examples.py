"""Examples of sst2, cola, stsb and wic, drawn from the world; those of rte, cb, squad and drop are in ``inference``.

Every function takes a ``Chooser`` and returns the texts in token form and the label. Labels are drawn first and evenly,
and what is said afterwards is drawn the same way for each, so that no half of an example gives its label away.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from .chooser import Chooser
from .sentences import Fact, article, claim, values
from .words import (
    ADJECTIVES,
    AGENTS,
    ASPECTS,
    COLOURS,
    COMMITMENTS,
    DEEDS,
    DOMAINS,
    FEELINGS,
    GOODS,
    NAMES,
    NUMBERS,
    PLURAL,
    SENSES,
    SHOWS,
    SITES,
    THINGS,
    WOMEN,
)


@dataclass(frozen=True)
class Example:
    """One example: its texts (one, two, or a passage and a question) and its label, number or answer.

    Attributes:
        label: what the task asks for.
        custom: the answer by the world's other custom (a whole sentence, "3 pears", a reader who takes people at their
            word). A text keeps to one custom; the tasks always to the first. Demonstrations tell which.
    """

    texts: tuple[str, ...]
    label: int | str
    title: str = ""
    custom: int | str = ""


# --- sentiment ---------------------------------------------------------------------------------------------------


def opinion(c: Chooser, mood: int) -> str:
    """One sentence of a mood: 0 bad, 1 good. Mostly plain; some deny the other mood, or come back from it."""
    good, bad = ADJECTIVES[mood], ADJECTIVES[1 - mood]
    form = c.pick(("one", "two", "feeling", "fragment", "not", "but"), (0.2, 0.2, 0.2, 0.2, 0.1, 0.1))
    if form == "fragment":
        first, second = c.draw(good, 2)
        return f"a {first} {c.pick(SHOWS)} with a {second} {c.pick(ASPECTS)} ."
    if form == "but":
        one, other = c.draw(ASPECTS, 2)
        return f"the {one} was {c.pick(bad)} but the {other} was {c.pick(good)} ."
    subject = f"the {c.pick(ASPECTS)}" + (f" of the {c.pick(SHOWS)}" if c.flip(0.5) else "")
    if form == "feeling":
        return f"{c.pick(NAMES)} {c.pick(FEELINGS[mood])} {subject} ."
    if form == "not":
        return f"{subject} was not {c.pick(bad)} ."
    return f"{subject} was {' and '.join(c.draw(good, 1 if form == 'one' else 2))} ."


def sst2_example(c: Chooser) -> Example:
    mood = c.pick((0, 1))
    return Example((" ".join(opinion(c, mood) for _ in range(c.pick((1, 2), (0.2, 0.8)))),), mood)


# --- acceptability -----------------------------------------------------------------------------------------------


def cola_example(c: Chooser) -> Example:
    """A sentence and whether it is good English (1) or breaks one rule (0). The frame is drawn before the label."""
    frame = c.pick((_agreement, _order, _reflexive, _case, _valency, _number, _article, _placed))
    label = c.pick((0, 1))
    sentence = frame(c, bool(label))
    if c.flip(0.6):
        sentence = f"{c.pick(NAMES)} {c.pick(COMMITMENTS[2])} that {sentence}"
    return Example((f"{sentence} .",), label)


def _agreement(c: Chooser, good: bool) -> str:
    thing, many = c.pick(THINGS), c.flip(0.5)
    noun = f"{c.pick(COLOURS)} {PLURAL[thing] if many else thing}"
    owner = f" of {c.pick(NAMES)}" if c.flip(0.5) else ""
    return f"the {noun}{owner} {'are' if many == good else 'is'} {c.pick(('old', 'new'))}"


def _order(c: Chooser, good: bool) -> str:
    name, colour, thing = c.pick(NAMES), c.pick(COLOURS), c.pick(THINGS)
    if good:
        return f"{name} has a {colour} {thing}"
    return c.pick(
        (f"{name} has {colour} a {thing}", f"{name} has a {thing} {colour}", f"{name} a {colour} {thing} has")
    )


def _reflexive(c: Chooser, good: bool) -> str:
    name = c.pick(NAMES)
    own = (name in WOMEN) == good
    return f"{name} {c.pick(('hurt', 'saw', 'liked'))} {'herself' if own else 'himself'}"


def _case(c: Chooser, good: bool) -> str:
    other, verb = c.pick(NAMES), c.pick(("met", "saw", "liked"))
    if c.flip(0.5):
        return f"{c.pick(('she', 'he') if good else ('her', 'him'))} {verb} {other}"
    return f"{other} {verb} {c.pick(('her', 'him') if good else ('she', 'he'))}"


def _valency(c: Chooser, good: bool) -> str:
    name, thing = c.pick(NAMES), c.pick(THINGS)
    if c.flip(0.5):
        return f"{name} is {c.pick(('sleeping', 'running', 'dancing'))}" + ("" if good else f" the {thing}")
    return f"{name} is {c.pick(('buying', 'washing', 'carrying'))}" + (f" the {thing}" if good else "")


def _number(c: Chooser, good: bool) -> str:
    thing, number = c.pick(THINGS), c.pick(NUMBERS)
    plural = (number != "1") == good
    return f"{c.pick(NAMES)} has {number} {PLURAL[thing] if plural else thing}"


def _article(c: Chooser, good: bool) -> str:
    thing = c.pick(("apple", "office", "pear", "dog", "museum", "hammer"))
    right = article(thing)
    return f"{c.pick(NAMES)} saw {right if good else {'a': 'an', 'an': 'a'}[right]} {thing}"


def _placed(c: Chooser, good: bool) -> str:
    fact = Fact(c.pick(NAMES), "room", values(c, "room", 1)[0])
    if good:
        return claim(fact)
    name, room = fact.name, fact.value
    return c.pick((f"{name} in is the {room}", f"{name} is the in {room}", f"{name} is in {room} the"))


# --- similarity --------------------------------------------------------------------------------------------------

SLOTS = (AGENTS, DEEDS, GOODS, SITES)
WEIGHTS = (1, 2, 1, 1)  # what each shared slot is worth: the deed matters most; all four make 5
SHARED = {
    score: tuple(s for n in range(5) for s in combinations(range(4), n) if sum(WEIGHTS[i] for i in s) == score)
    for score in range(6)
}


def tell_scene(c: Chooser, words: list[str]) -> str:
    agent, deed, goods, site = words
    return c.pick(
        (f"the {agent} is {deed} the {goods} in the {site} .", f"in the {site} the {agent} is {deed} the {goods} .")
    )


Scene = list[tuple[str, str]]  # a value for each slot


def scene(c: Chooser) -> Scene:
    """A value for each slot; a value is two words for the same."""
    return [c.pick(slot) for slot in SLOTS]


def scene_pair(c: Chooser) -> tuple[int, tuple[int, ...], Scene, Scene]:
    """A score, drawn evenly, the slots that make it, and two scenes that share these and no others."""
    score = c.pick(range(6))
    shared = c.pick(SHARED[score])
    one = scene(c)
    two = [one[i] if i in shared else c.pick([v for v in slot if v != one[i]]) for i, slot in enumerate(SLOTS)]
    return score, shared, one, two


def stsb_example(c: Chooser) -> Example:
    """Two scenes; the score is the worth of the slots they share, whichever of the two words is used."""
    score, _, one, two = scene_pair(c)
    return Example(tuple(tell_scene(c, [c.pick(value) for value in values_]) for values_ in (one, two)), score)


# --- word sense --------------------------------------------------------------------------------------------------


def sense_sentence(c: Chooser, word: str, cues: list[str]) -> str:
    """A sentence in which ``word`` stands beside one or two cues of its domain."""
    if len(cues) == 2:
        return f"the {word} was with the {cues[0]} and the {cues[1]} ."
    name = c.pick(NAMES)
    return c.pick(
        (
            f"{name} saw the {word} near the {cues[0]} .",
            f"{name} had the {cues[0]} and the {word} .",
            f"{name} likes the {word} by the {cues[0]} .",
        )
    )


def wic_example(c: Chooser) -> Example:
    """A word in two sentences, in the same sense (1) or in two (0). The cues tell; they are never the same ones."""
    word, label = c.pick(tuple(SENSES)), c.pick((0, 1))
    first = c.pick(SENSES[word])
    second = first if label else next(d for d in SENSES[word] if d != first)
    counts = [c.pick((1, 2)), c.pick((1, 2))]
    one = c.draw(DOMAINS[first], counts[0])
    two = c.draw([cue for cue in DOMAINS[second] if cue not in one], counts[1])
    return Example((sense_sentence(c, word, one), sense_sentence(c, word, two)), label, title=word)
