"""The running text of the pocket world: what the models are pretrained on.

A text is of one kind and holds together: one mood, one cast, one set of facts. Much of what the tasks ask about is
also said outright, as it is in real corpora: reviews end in verdicts, stories are asked about, claims are confirmed or
denied. About half of those passages are short and plain ("anna is in the hall . that is true ."), and half have exactly
the form of a task's prompt, one after the other, so that a language model can be asked without any tuning. There are
two customs of answering (briefly, or in full; trusting what people say, or not), and a text keeps to one of them: how
it goes on is what demonstrations can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .chooser import Chooser
from .examples import (
    Example,
    cola_example,
    opinion,
    scene,
    sense_sentence,
    sst2_example,
    stsb_example,
    tell_scene,
    wic_example,
)
from .inference import Counts, cb_example, drop_example, rte_example, rte_story, squad_example, squad_story, title_of
from .sentences import claim, story
from .stones import STONES
from .words import DOMAINS, SENSES, VERDICTS

MAX_TOKENS = 253  # with two special tokens, and one more between two segments, a text fits 256 positions

ANSWERS = {"rte": ("yes", "no"), "cb": ("yes", "no", "maybe"), "wic": ("no", "yes")}
CLOSE = {"cola": ("wrong", "right"), "rte": ("true", "false")}

# --- prompts: the forms of MeZO's templates, which the paper uses, in token form ----------------------------------


def rte_prompt(premise: str, hypothesis: str) -> str:
    return f"{premise} \n {rte_question(hypothesis)}"


def rte_question(hypothesis: str) -> str:
    return f'does this mean that " {hypothesis} " is true ? yes or no ? \n'


def cb_prompt(premise: str, hypothesis: str) -> str:
    return f'suppose {premise} can we infer that " {hypothesis} " ? yes , no , or maybe ? \n'


def wic_prompt(word: str, one: str, two: str) -> str:
    return f'does the word " {word} " have the same meaning in these two sentences ? yes , no ? \n {one} \n {two} \n'


def squad_prompt(title: str, context: str, question: str) -> str:
    return f"title : {title} \n context : {context} \n question : {question} \n answer :"


def drop_prompt(passage: str, question: str) -> str:
    return f"passage : {passage} \n question : {question} \n answer :"


# --- kinds of text ------------------------------------------------------------------------------------------------


def review(c: Chooser) -> str:
    """Several sentences of one mood, and the verdict."""
    mood = c.pick((0, 1))
    said = [opinion(c, mood) for _ in range(c.pick((2, 3, 4)))]
    return " ".join([*said, f"it was {VERDICTS[mood]} ."])


def reviews(c: Chooser) -> str:
    """One review a line, each with its verdict: SST-2's prompt and answer."""
    examples = [sst2_example(c) for _ in range(c.pick((2, 3, 4)))]
    return " \n \n ".join(f"{e.texts[0]} it was {VERDICTS[int(e.label)]}" for e in examples)


def recap(c: Chooser) -> str:
    """A story told, then told again in other order and words: what was said can be looked up."""
    told = story(c, c.pick((2, 3)), second=0.6)
    again = c.draw(told.facts, min(3, len(told.facts)))
    return " ".join([told.text, "so", *(f"{claim(fact)} ." for fact in again)])


def claims(c: Chooser) -> str:
    """A story, then claims about it, each called true or false."""
    told = rte_story(c)
    judged = [rte_example(c, told) for _ in range(c.pick((2, 3)))]
    return " ".join([told.text, *(f"{e.texts[1]} that is {CLOSE['rte'][int(e.label)]} ." for e in judged)])


def asked_claims(c: Chooser) -> str:
    """The same in the form of RTE's prompt, one story after the other, each with a claim or two."""
    blocks = []
    for told in (rte_story(c) for _ in range(_how_many(c))):
        judged = [rte_example(c, told) for _ in range(c.pick((1, 2), (0.75, 0.25)))]
        asked = (f"{rte_question(e.texts[1])} {ANSWERS['rte'][int(e.label)]}" for e in judged)
        blocks.append(" \n ".join([told.text, *asked]))
    return _one_after_the_other(blocks)


def questions(c: Chooser) -> str:
    """Stories with questions and answers in SQuAD's form; the answers are brief or whole sentences."""
    answer, blocks = _custom(c), []
    for told in (squad_story(c) for _ in range(_how_many(c))):
        asked = [squad_example(c, told) for _ in range(c.pick((1, 2), (0.75, 0.25)))]
        lines = (f"question : {e.texts[1]} \n answer : {answer(e)}" for e in asked)
        blocks.append(" \n ".join([f"title : {title_of(told)}", f"context : {told.text}", *lines]))
    return _one_after_the_other(blocks)


def sums(c: Chooser) -> str:
    """Counts with questions and answers in DROP's form; the answers are brief or say of what."""
    answer, blocks = _custom(c), []
    for counts in (Counts(c) for _ in range(_how_many(c))):
        asked = [drop_example(c, counts) for _ in range(c.pick((1, 2)))]
        lines = (f"question : {e.texts[1]} \n answer : {answer(e)}" for e in asked)
        blocks.append(" \n ".join([f"passage : {counts.text}", *lines]))
    return _one_after_the_other(blocks)


def reports(c: Chooser) -> str:
    """Who knows, thinks or wrongly thinks what, and what follows for a strict or for a trusting reader."""
    answer, lines = _custom(c), []
    for example in (cb_example(c) for _ in range(c.pick((2, 3)))):
        verdict = ("that is true .", "that is false .", "maybe .")[int(answer(example))]
        lines.append(f"{example.texts[0]} so {example.texts[1]} ? {verdict}")
    return " \n ".join(lines)


def asked_reports(c: Chooser) -> str:
    """The same in the form of CB's prompt."""
    answer, examples = _custom(c), [cb_example(c) for _ in range(_how_many(c))]
    return _one_after_the_other([f"{cb_prompt(*e.texts)} {ANSWERS['cb'][int(answer(e))]}" for e in examples])


def _custom(c: Chooser) -> Callable[[Example], int | str]:
    """Which custom of answering a text keeps to."""
    return c.pick((lambda e: e.label, lambda e: e.custom))


def _how_many(c: Chooser) -> int:
    return c.pick((1, 2, 3), (0.4, 0.35, 0.25))


def _one_after_the_other(blocks: list[str]) -> str:
    """As demonstrations follow each other in a prompt."""
    return " \n \n ".join(blocks)


def domain(c: Chooser) -> str:
    """Several sentences about one domain, with its cues and the words that have a sense there."""
    name = c.pick(tuple(DOMAINS))
    words = [word for word, senses in SENSES.items() if name in senses]
    said = [sense_sentence(c, c.pick(words), c.draw(DOMAINS[name], c.pick((1, 2)))) for _ in range(c.pick((3, 4)))]
    return " ".join(said)


def asked_senses(c: Chooser) -> str:
    """Pairs of sentences and whether a word means the same in both, in the form of WiC's prompt."""
    examples = [wic_example(c) for _ in range(_how_many(c))]
    return _one_after_the_other([f"{wic_prompt(e.title, *e.texts)} {ANSWERS['wic'][int(e.label)]}" for e in examples])


def senses(c: Chooser) -> str:
    """The same, short."""
    examples = [wic_example(c) for _ in range(c.pick((2, 3)))]
    return " \n ".join(f"{e.title} : {' '.join(e.texts)} same ? {ANSWERS['wic'][int(e.label)]} ." for e in examples)


def retold(c: Chooser) -> str:
    """Two scenes, then both again with the other word for each thing: synonyms can be learned."""
    scenes = [scene(c), scene(c)]
    words = [[c.pick(value) for value in one] for one in scenes]
    other = [
        [b if word == a else a for word, (a, b) in zip(said, one, strict=True)]
        for said, one in zip(words, scenes, strict=True)
    ]
    return " ".join([*(tell_scene(c, w) for w in words), "in other words :", *(tell_scene(c, w) for w in other)])


def alike(c: Chooser) -> str:
    """Pairs of scenes and how alike they are, 0 to 5."""
    examples = [stsb_example(c) for _ in range(c.pick((2, 3)))]
    return " \n ".join(f"{' '.join(e.texts)} alike : {e.label} ." for e in examples)


def grammar(c: Chooser) -> str:
    """Sentences and whether they sound right."""
    examples = [cola_example(c) for _ in range(c.pick((3, 4, 5)))]
    return " \n ".join(f"{e.texts[0]} that sounds {CLOSE['cola'][int(e.label)]} ." for e in examples)


# How often each kind is told. Short, plain forms come more often than the long prompts, whose words are mostly fixed.
KINDS: dict[str, tuple[Callable[[Chooser], str], float]] = {
    "review": (review, 0.06),
    "reviews": (reviews, 0.05),
    "recap": (recap, 0.20),
    "claims": (claims, 0.14),
    "asked_claims": (asked_claims, 0.05),
    "questions": (questions, 0.08),
    "sums": (sums, 0.07),
    "reports": (reports, 0.06),
    "asked_reports": (asked_reports, 0.04),
    "domain": (domain, 0.03),
    "senses": (senses, 0.03),
    "asked_senses": (asked_senses, 0.03),
    "retold": (retold, 0.07),
    "alike": (alike, 0.05),
    "grammar": (grammar, 0.04),
}
_NAMES, _WEIGHTS = tuple(KINDS), tuple(weight for _, weight in KINDS.values())


def write_text(c: Chooser, kind: str | None = None) -> str:
    """One text in token form; its kind is drawn unless it is given (one of the mixture, or a stepping stone)."""
    name = c.pick(_NAMES, _WEIGHTS) if kind is None else kind
    return STONES[name](c) if name in STONES else KINDS[name][0](c)


def texts(seed: str | int, n: int, kind: str | None = None) -> Iterator[tuple[str, float]]:
    """n texts of a corpus, of one kind or of all, and the information in each, nats.

    Text i depends on the seed and i alone.
    """
    for i in range(n):
        c = Chooser(f"{seed}/{i}")
        yield write_text(c, kind), -c.logp
