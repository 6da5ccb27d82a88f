"""Every exercise of every lesson: right answers pass, stubs are met kindly, typical wrong answers get their hint."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from beft_lib import checks
from beft_lib.checks import LOOK_AGAIN, NOT_YET, RIGHT, Answer, Exercise, Function, Open, same

EXERCISES = checks.exercises()
every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=list(EXERCISES))


def right_answer(exercise: Exercise) -> tuple:
    return exercise.solution if isinstance(exercise, Open) else (exercise.solution,)


@every_exercise
def test_the_solution_passes(exercise: Exercise) -> None:
    assert exercise(*right_answer(exercise)) == Answer(RIGHT, exercise.right)


@every_exercise
def test_an_untouched_stub_is_met_kindly(exercise: Exercise) -> None:
    def unwritten(*_):
        raise NotImplementedError

    stubs = [(), (None,), (...,), (NotImplemented,), ((None, None),), ([..., ...],)]
    if isinstance(exercise, Function):
        stubs += [(lambda *_: None,), (lambda *_: ...,), (unwritten,)]
    for stub in stubs:
        answer = exercise(*stub)
        assert answer.verdict == NOT_YET and not answer.ok and answer.message == exercise.task, stub


@every_exercise
def test_wrong_answers_get_the_hint_that_fits(exercise: Exercise) -> None:
    wrong = list(exercise.wrong_answers())
    assert len(wrong) >= 3
    assert len({hint for _, hint in wrong}) == len(wrong)
    for given, hint in wrong:
        assert exercise(*given) == Answer(LOOK_AGAIN, hint)


@every_exercise
def test_nothing_that_is_given_makes_a_check_raise(exercise: Exercise) -> None:
    nonsense = [3, "x", [], {}, (), object(), math.nan]
    nonsense += [lambda: 1, lambda *_: 1 / 0, lambda *_: "x", lambda *_: object()]
    nonsense += [torch.zeros(2, 3), np.zeros(0), lambda *_: torch.zeros(7, 7), lambda *_: {"query": object()}]
    for given in nonsense:
        answer = exercise(given)
        assert answer.verdict in (LOOK_AGAIN, NOT_YET), given
        assert answer._repr_html_() and repr(answer)


@every_exercise
def test_name_and_wording(exercise: Exercise) -> None:
    assert getattr(checks, exercise.name) is exercise
    for text in (exercise.task, exercise.right, *(hint for _, hint in exercise.wrong_answers())):
        assert text.strip() == text and text[-1] in ".?" and "!" not in text


def test_a_learner_is_shown_the_case_that_fails() -> None:
    answer = checks.l01_importance(lambda pre, post: (pre * post).sum(-1) * 0 + 0.123)
    assert answer.verdict == LOOK_AGAIN and "For [[1, 0]], [[2, 0]] it returns [0.123]" in answer.message


def test_other_shapes_and_rounding_are_named() -> None:
    assert "shape (1, 2)" in checks.l01_importance(lambda pre, post: pre - post).message
    rounded = checks.l01_importance(lambda pre, post: EXERCISES["l01_importance"].solution(pre, post) + 3e-8)
    assert "float64" in rounded.message


def test_inputs_are_safe_from_answers_that_work_in_place() -> None:
    exercise = EXERCISES["l01_importance"]
    exercise(lambda pre, post: pre.zero_().sum(-1))
    assert exercise(exercise.solution).ok


def test_an_unknown_exercise_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="l01_importance"):
        checks.l01_importanc  # noqa: B018


@pytest.mark.parametrize(
    ("got", "expected", "agree"),
    [
        (1, 1.0, True),
        (torch.tensor([1.0, 2.0]), [1, 2], True),
        ([1, 2], torch.tensor([[1.0, 2.0]]), False),
        (" Key ", "key", True),
        ({"a": 1.0}, {"a": torch.tensor(1.0)}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ({"a": 1.0}, 1.0, False),
        (math.nan, 0.0, False),
        ("1", 1.0, False),
        (["query", 1.0], ["query", 1.0], True),
        (3, ["query"], False),
    ],
)
def test_same(got: object, expected: object, agree: bool) -> None:
    assert same(got, expected, 1e-9) is agree
