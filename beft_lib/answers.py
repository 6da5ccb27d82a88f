"""Free answers against the right ones: exact match and F1 as SQuAD's and DROP's own evaluations define them.

SQuAD (Rajpurkar et al. 2016, ``evaluate-v1.1.py``): F1 over words with their counts. DROP (Dua et al. 2019,
``drop_eval.py``): an answer is one or several spans, each a set of words; spans are paired so that their F1 adds up to
most; a span with a number in it scores nothing unless the numbers agree. Where several answers are right, the best
counts. Every value is a fraction.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from .errors import DataError, UnknownName

Gold = str | Sequence[str]  # one right answer: a text, or (DROP) several spans that belong together

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_squad(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def squad_exact(prediction: str, golds: Sequence[str]) -> float:
    """1 when a right answer is the same text after normalising."""
    return float(normalise_squad(prediction) in {normalise_squad(gold) for gold in golds})


def squad_f1(prediction: str, golds: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, each as often as it occurs."""
    return max(_word_f1(normalise_squad(prediction).split(), normalise_squad(gold).split()) for gold in golds)


def _word_f1(said: list[str], right: list[str]) -> float:
    shared = sum((Counter(said) & Counter(right)).values())
    return 2 * shared / (len(said) + len(right)) if shared else 0.0


def normalise_drop(text: str) -> str:
    """As SQuAD's, word by word (a hyphen ends a word as well); a number is written as a float and keeps its point."""
    words = []
    for word in re.split(" |-", text.lower()):
        plain = word if _is_number(word) else word.translate(_PUNCTUATION)
        words += _ARTICLES.sub(" ", str(float(plain)) if _is_number(plain) else plain).split()
    return " ".join(words)


def drop_exact(prediction: Gold, golds: Sequence[Gold]) -> float:
    """1 when the spans are those of a right answer, in any order, after normalising."""
    said = sorted(map(normalise_drop, _spans(prediction)))
    return float(any(_same_spans(said, sorted(map(normalise_drop, _spans(gold)))) for gold in _worded(golds)))


def drop_f1(prediction: Gold, golds: Sequence[Gold]) -> float:
    """Mean F1 of the best pairing of spans, an unpaired span counting 0; rounded to two places, as DROP does."""
    said = [set(normalise_drop(span).split()) for span in _spans(prediction)]
    right = [[set(normalise_drop(span).split()) for span in _spans(gold)] for gold in _worded(golds)]
    return max((_paired_f1(said, spans) for spans in right), default=0.0)


def _same_spans(said: list[str], right: list[str]) -> bool:
    """DROP compares sets and counts, so that ["a", "a", "b"] equals ["a", "b", "b"]."""
    return set(said) == set(right) and len(said) == len(right)


def _paired_f1(said: list[set[str]], right: list[set[str]]) -> float:
    scores = np.array([[_bag_f1(s, r) for s in said] for r in right])
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return round(float(scores[rows, columns].sum()) / max(len(said), len(right)), 2)


def _bag_f1(said: set[str], right: set[str]) -> float:
    numbers = set(filter(_is_number, right))
    if numbers and not numbers & said:
        return 0.0
    shared = len(said & right)
    precision, recall = shared / len(said) if said else 1.0, shared / len(right) if right else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _worded(golds: Sequence[Gold]) -> list[Gold]:
    """Without right answers that say nothing (an annotator left the field empty)."""
    return [gold for gold in golds if _spans(gold) and _spans(gold)[0].strip()]


def _spans(answer: Gold) -> Sequence[str]:
    return (answer,) if isinstance(answer, str) else answer


def _is_number(word: str) -> bool:
    try:
        float(word)
        return True
    except ValueError:
        return False


ANSWER_METRICS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "squad_f1": squad_f1,
    "squad_exact": squad_exact,
    "drop_f1": drop_f1,
    "drop_exact": drop_exact,
}


def measure_answers(
    names: Sequence[str], predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """``{name: mean}`` of N answers, each against its right ones. Raises DataError for none, or unequal numbers."""
    for name in names:
        if name not in ANSWER_METRICS:
            raise UnknownName("metric of answers", name, ANSWER_METRICS)
    if len(predictions) != len(references) or not predictions:
        raise DataError(f"{len(predictions)} answers for {len(references)} questions; at least one, as many of each.")
    pairs = list(zip(predictions, references, strict=True))
    return {name: float(np.mean([ANSWER_METRICS[name](said, golds) for said, golds in pairs])) for name in names}
