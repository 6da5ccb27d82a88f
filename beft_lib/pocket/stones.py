"""Stepping stones: kinds of text outside the mixture, in which a masked model learns to compare, step by step.

Whether two words mean the same, or whether a claim agrees with what was said, is two steps: find, then compare. In the
mixture both have to be found at once, and models of this size do not find them. Here half of the texts say the step in
between ("jack is running ? jack is dancing , so that is false ."), and half leave it out.
"""

from __future__ import annotations

from collections.abc import Callable

from .chooser import Chooser
from .examples import SLOTS, scene_pair, sense_sentence, tell_scene
from .inference import QUESTIONS, Counts, rte_example
from .sentences import claim, story
from .words import DOMAINS, SENSES

ANSWERS = ("no", "yes")


def pairs(c: Chooser) -> str:
    """Two words and whether they are of one meaning, or of one domain."""
    return " \n ".join(_pair(*_two_words(c)) for _ in range(c.pick((2, 3, 4))))


def _two_words(c: Chooser) -> tuple[str, str, bool]:
    same = c.flip(0.5)
    if c.flip(0.5):
        slot = c.pick(SLOTS)
        value = c.pick(slot)
        other = value if same else c.pick([v for v in slot if v != value])
        return c.pick(value), c.pick(other), same
    name = c.pick(tuple(DOMAINS))
    other_name = name if same else c.pick([d for d in DOMAINS if d != name])
    word = c.pick(DOMAINS[name])
    return word, c.pick([w for w in DOMAINS[other_name] if w != word]), same


def _pair(one: str, two: str, same: bool) -> str:
    return f"{one} {two} same ? {ANSWERS[same]} ."


def checked(c: Chooser) -> str:
    """A story of one to three people and claims about it, each with the fact that decides it, or without."""
    told = story(c, c.pick((1, 2, 3), (0.35, 0.45, 0.2)), second=c.pick((0.0, 0.4)))
    lines = [told.text]
    for _ in range(c.pick((1, 2))):
        example = rte_example(c, told)
        said, verdict = example.texts[1], ("true", "false")[int(example.label)]
        if c.flip(0.5):
            fact = told.fact(said.split(" ")[0], told.topic)
            lines.append(f"{said[:-2]} ? {claim(fact)} , so that is {verdict} .")
        else:
            lines.append(f"{said} that is {verdict} .")
    return " ".join(lines)


def compared(c: Chooser) -> str:
    """Two scenes and how alike they are, with or without the comparison of each of their things."""
    lines = []
    for _ in range(c.pick((1, 2))):
        score, shared, one, two = scene_pair(c)
        said = [[c.pick(value) for value in values] for values in (one, two)]
        steps = [_pair(a, b, i in shared) for i, (a, b) in enumerate(zip(*said, strict=True))] if c.flip(0.5) else []
        lines.append(" ".join([*(tell_scene(c, words) for words in said), *steps, f"alike : {score} ."]))
    return " \n ".join(lines)


def cued(c: Chooser) -> str:
    """A word in two sentences, each with one cue of its sense, with or without the comparison of the cues."""
    lines = []
    for _ in range(c.pick((1, 2, 3))):
        word, same = c.pick(tuple(SENSES)), c.flip(0.5)
        first = c.pick(SENSES[word])
        second = first if same else next(d for d in SENSES[word] if d != first)
        one = c.pick(DOMAINS[first])
        two = c.pick([cue for cue in DOMAINS[second] if cue != one])
        step = [_pair(one, two, same)] if c.flip(0.5) else []
        said = [sense_sentence(c, word, [cue]) for cue in (one, two)]
        lines.append(" ".join([f"{word} :", *said, *step, f"same ? {ANSWERS[same]} ."]))
    return " \n ".join(lines)


def asked(c: Chooser) -> str:
    """A story of one to three people and short questions about it, each answered by a name or a value."""
    told = story(c, c.pick((1, 2, 3), (0.2, 0.5, 0.3)), second=c.pick((0.0, 0.5)))
    lines = [told.text]
    for fact in c.draw(told.facts, min(c.pick((1, 2, 3)), len(told.facts))):
        by_name, by_value = QUESTIONS[fact.topic]
        form, known, answer = (by_name, fact.name, fact.value) if c.flip(0.5) else (by_value, fact.value, fact.name)
        lines.append(f"{form.format(known)} {answer} .")
    return " ".join(lines)


def worked(c: Chooser) -> str:
    """Counts, then sums, differences and who has more, with or without the two numbers that decide."""
    counts = Counts(c)
    lines = [counts.text]
    for _ in range(c.pick((1, 2, 3))):
        one, two = c.draw(tuple(counts.of), 2)
        form, step = c.pick(("together", "more", "who")), c.flip(0.5)
        if form == "more":
            one, two = sorted((one, two), key=lambda name: -counts.of[name])
        a, b = counts.of[one], counts.of[two]
        question, answer = {
            "together": (f"{one} and {two} have together ?", a + b),
            "more": (f"{one} has more than {two} ?", a - b),
            "who": (f"who has more , {one} or {two} ?", one if a > b else two),
        }[form]
        lines.append(f"{question} {f'{a} and {b} , ' if step else ''}{answer} .")
    return " ".join(lines)


STONES: dict[str, Callable[[Chooser], str]] = {
    "pairs": pairs,
    "checked": checked,
    "compared": compared,
    "cued": cued,
    "asked": asked,
    "worked": worked,
}
