"""Examples of rte, cb, squad and drop: claims and questions about what a text said."""

from __future__ import annotations

from .chooser import Chooser
from .examples import Example
from .sentences import TOPICS, VALUES, Fact, Story, claim, story, values
from .words import COLOURS, COMMITMENTS, KIND_OF, KINDS, NAMES, NUMBERS, PLURAL, THINGS

LEVELS = ("whole", "thing", "kind")  # how much of "red ball" a claim keeps: a red ball is a ball, and a toy


def rte_story(c: Chooser) -> Story:
    return story(c, c.pick((2, 3), (0.75, 0.25)), second=0.4)


def rte_example(c: Chooser, told: Story | None = None) -> Example:
    """A story and a claim about one of its people: 0 it follows, 1 it does not.

    A false claim gives someone another's value (half of the time) or one that nobody has. Whole names and values are
    equally frequent in true and in false claims, so that the claim alone tells nothing.
    """
    told = told or rte_story(c)
    label = c.pick((0, 1))
    level = c.pick(LEVELS) if told.topic == "thing" else "whole"
    name = c.pick(told.cast)
    own = told.fact(name, told.topic).value
    value = _loosened(own, level) if label == 0 else _wrong_value(c, told, name, level)
    return Example((told.text, f"{claim(Fact(name, told.topic, value))} ."), label)


def _loosened(value: str, level: str) -> str:
    if level == "whole":
        return value
    thing = value.split(" ")[1]
    return thing if level == "thing" else KIND_OF[thing]


def _wrong_value(c: Chooser, told: Story, name: str, level: str) -> str:
    right = _loosened(told.fact(name, told.topic).value, level)
    others = [_loosened(told.fact(other, told.topic).value, level) for other in told.cast if other != name]
    swaps = [value for value in dict.fromkeys(others) if value != right]
    if c.flip(0.5) and swaps:
        return c.pick(swaps)
    return c.pick([value for value in _claimable(told.topic, level) if value != right and value not in swaps])


def _claimable(topic: str, level: str) -> tuple[str, ...]:
    if topic != "thing":
        return VALUES[topic]
    return {"whole": _WHOLE, "thing": THINGS, "kind": tuple(KINDS)}[level]


_WHOLE = tuple(f"{colour} {thing}" for colour in COLOURS for thing in THINGS)


def cb_example(c: Chooser) -> Example:
    """Who knows, thinks or wrongly thinks that P: does P follow (0), its contrary (1), or neither (2)?

    With a second report in the premise that may commit otherwise, the verb alone tells nothing: whose P is asked about
    has to be looked up.
    """
    label = c.pick((0, 1, 2))
    holds = c.pick((True, False), (0.75, 0.25))
    commitment = label if holds or label == 2 else 1 - label
    asked, report = _report(c, commitment)
    reports = [report]
    if c.flip(0.6):
        _, other = _report(c, c.pick((0, 1, 2)), not_about=asked)
        reports = c.pick(([report, other], [other, report]))
    trusting = (
        label if label != 2 else 0 if holds else 1
    )  # a trusting reader takes who thinks, says or hopes so for right
    return Example((" ".join(reports), claim(asked, holds)), label, custom=trusting)


def _report(c: Chooser, commitment: int, not_about: Fact | None = None) -> tuple[Fact, str]:
    """("ben is in the hall", "anna knows that ben is in the hall .")"""
    people = NAMES if not_about is None else tuple(n for n in NAMES if n != not_about.name)
    sayer, name = c.draw(people, 2)
    topic = c.pick(TOPICS)
    fact = Fact(name, topic, values(c, topic, 1)[0])
    return fact, f"{sayer} {c.pick(COMMITMENTS[commitment])} that {claim(fact)} ."


def squad_story(c: Chooser) -> Story:
    return story(c, c.pick((2, 3)), second=0.5)


def squad_example(c: Chooser, told: Story | None = None) -> Example:
    """A story and a question that a stretch of it answers: (context, question), the answer, a title."""
    told = told or squad_story(c)
    fact = c.pick(told.facts)
    by_name, by_value = QUESTIONS[fact.topic]
    question, answer = (by_name, fact.value) if c.flip(0.6) else (by_value, fact.name)
    asked = question.format(fact.name if answer == fact.value else fact.value)
    return Example((told.text, asked), answer, title_of(told), custom=claim(fact))


def title_of(told: Story) -> str:
    return " and ".join(told.cast)


QUESTIONS = {
    "room": ("where is {} ?", "who is in the {} ?"),
    "thing": ("what does {} have ?", "who has the {} ?"),
    "job": ("what is the job of {} ?", "who is the {} ?"),
    "act": ("what is {} doing ?", "who is {} ?"),
}


class Counts:
    """Who has how many of a thing, told sentence by sentence; numbers differ, so that "more" is never a tie."""

    def __init__(self, c: Chooser):
        cast = c.draw(NAMES, c.pick((2, 3)))
        self.thing, other = c.draw(THINGS, 2)
        self.of = dict(zip(cast, (int(n) for n in c.draw(NUMBERS, len(cast))), strict=True))
        told = [f"{name} has {counted(n, self.thing)} ." for name, n in self.of.items()]
        if c.flip(0.4):  # something else to count, which no question asks about
            told.append(f"{c.pick(cast)} has {counted(int(c.pick(NUMBERS)), other)} .")
        self.text = " ".join(told)


def counted(n: int, thing: str) -> str:
    return f"{n} {thing if n == 1 else PLURAL[thing]}"


def drop_example(c: Chooser, counts: Counts | None = None) -> Example:
    """A passage of counts and a question: looked up, compared, added or subtracted."""
    counts = counts or Counts(c)
    things = PLURAL[counts.thing]

    def number(question: str, n: int) -> Example:
        return Example((counts.text, question), str(n), custom=counted(n, counts.thing))

    form = c.pick(("look", "who", "sum", "more"), (0.3, 0.3, 0.2, 0.2))
    if form == "look":
        name = c.pick(tuple(counts.of))
        return number(f"how many {things} does {name} have ?", counts.of[name])
    one, two = c.draw(tuple(counts.of), 2)
    if form == "who":
        answer = max(one, two, key=lambda name: counts.of[name])
        question = f"who has more {things} , {one} or {two} ?"
        return Example((counts.text, question), answer, custom=f"{answer} has more {things}")
    if form == "sum":
        return number(f"how many {things} do {one} and {two} have together ?", counts.of[one] + counts.of[two])
    more, less = sorted((one, two), key=lambda name: -counts.of[name])
    question = f"how many more {things} does {more} have than {less} ?"
    return number(question, counts.of[more] - counts.of[less])
