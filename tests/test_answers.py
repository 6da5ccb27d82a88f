"""Exact match and F1 of free answers, by hand from the definitions that SQuAD and DROP published."""

from __future__ import annotations

import pytest

from beft_lib.answers import (
    ANSWER_METRICS,
    drop_exact,
    drop_f1,
    measure_answers,
    normalise_drop,
    normalise_squad,
    squad_exact,
    squad_f1,
)
from beft_lib.errors import DataError, UnknownName

# prediction, right answers, exact match, F1
SQUAD = [
    ("The  Cat!", ["cat"], 1, 1),
    ("cat cat", ["cat"], 0, 2 / 3),  # words count as often as they occur
    ("in the hall today", ["the hall"], 0, 1 / 2),
    ("red ball", ["a ball", "the red ball."], 1, 1),  # the best of several
    ("ball", ["red ball", "blue ball"], 0, 2 / 3),
    ("1,000", ["1000"], 1, 1),
    ("U.S.A", ["usa"], 1, 1),
    ("rock-n-roll", ["rock n roll"], 0, 0),  # punctuation goes without leaving a blank
    ("Naïve CAFÉ", ["naïve café."], 1, 1),
    ("“cat”", ["cat"], 0, 0),  # ASCII punctuation only
    ("another", ["an other"], 0, 0),  # articles are whole words
    ("", ["cat"], 0, 0),
    ("the", ["a"], 1, 0),  # nothing is left of either: the same, but no word in common
    ("cat", ["dog"], 0, 0),
]
DROP = [
    ("78-yard", ["78 yard"], 1, 1),
    ("5", ["5.0"], 1, 1),
    ("$5", ["5"], 1, 1),
    ("1,000", ["1000"], 1, 1),
    ("five", ["5"], 0, 0),
    ("5 yards", ["5"], 0, 0.67),
    ("5 yards", ["6 yards"], 0, 0),  # the number decides
    ("yards", ["the yards"], 1, 1),
    ("6 yards", ["yards"], 0, 0.67),  # a number that was not asked for costs precision alone
    ("3.2%", ["3.2"], 0, 0),  # as published: "3.2%" is no number, and loses its point
    ("red red ball", ["red ball"], 0, 1),  # sets of words
    ("", ["cat"], 0, 0),
    ("cat", [""], 0, 0),
    ("cat", ["", "cat"], 1, 1),
    (("Anna", "Ben"), [("ben", "anna")], 1, 1),
    ("Anna", [("Anna", "Ben")], 0, 0.5),
    (("Anna", "Ben"), ["Anna"], 0, 0.5),
    (("78", "56", "28"), [("78-yard", "56", "28")], 0, 0.89),
    (("red ball", "ball"), [("ball", "red ball")], 1, 1),  # paired so that the sum is largest
    ("dog", ["cat", "dog"], 1, 1),
    ("Émile 走", ["émile 走"], 1, 1),
]


@pytest.mark.parametrize("said, right, exact, f1", SQUAD)
def test_squad(said, right, exact, f1):
    assert squad_exact(said, right) == exact
    assert squad_f1(said, right) == pytest.approx(f1, abs=1e-12)


@pytest.mark.parametrize("said, right, exact, f1", DROP)
def test_drop(said, right, exact, f1):
    assert drop_exact(said, right) == exact
    assert drop_f1(said, right) == f1


@pytest.mark.parametrize("text", ["The 3-yard run", "A  dog's 1.50, or 7!", "", "走 Émile"])
def test_normalising_twice_is_normalising_once(text):
    assert normalise_squad(normalise_squad(text)) == normalise_squad(text)
    assert normalise_drop(normalise_drop(text)) == normalise_drop(text)


@pytest.mark.parametrize("name", ANSWER_METRICS)
def test_a_right_answer_scores_one_and_a_wrong_one_nothing(name):
    assert measure_answers([name], ["red ball", "7"], [["red ball"], ["7", "8"]]) == {name: 1.0}
    assert measure_answers([name], ["cat", "9"], [["red ball"], ["7", "8"]]) == {name: 0.0}
    assert measure_answers([name], ["red ball", "9"], [["red ball"], ["7", "8"]]) == {name: 0.5}


def test_what_cannot_be_measured():
    with pytest.raises(UnknownName, match="squad_f1"):
        measure_answers(["squad"], ["a"], [["a"]])
    for said, right in (([], []), (["a"], []), (["a"], [["a"], ["b"]])):
        with pytest.raises(DataError, match=f"{len(said)} answers for {len(right)} questions"):
            measure_answers(["squad_f1"], said, right)
