"""Exercises that answer back: ``from beft_lib import checks as check``, then ``check.l01_importance(my_function)``.

An exercise is data: a solution, and wrong answers that people really give, each with the hint that fits it. The rows of
a lesson are the tuple ``EXERCISES`` of ``checks_lNN.py`` (the appendix: ``checks_appendix.py``, names in a_). A check
never raises, whatever it is given, so that an untouched stub does not stop Run All.
"""

from __future__ import annotations

import difflib
import html
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

RIGHT, NOT_YET, LOOK_AGAIN = "Right", "Not yet", "Look again"
_COLOURS = {RIGHT: "#009E73", NOT_YET: "#56B4E9", LOOK_AGAIN: "#D55E00"}  # Okabe-Ito; the words say the same
_UNTOUCHED = (None, Ellipsis, NotImplemented)


@dataclass(frozen=True)
class Answer:
    """What a check says. ``ok`` is whether the answer is right; in a notebook it shows itself."""

    verdict: str
    message: str

    @property
    def ok(self) -> bool:
        return self.verdict == RIGHT

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"{self.verdict}. {self.message}"

    def _repr_html_(self) -> str:
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(self.message))
        style = f"border-left: 5px solid {_COLOURS[self.verdict]}; padding: 0.3em 0.8em; max-width: 60em"
        return f'<div role="status" style="{style}"><b>{self.verdict}.</b> {text}</div>'


class Wrong(NamedTuple):
    """A wrong answer that people give, and the hint that leads on from there."""

    answer: Any
    hint: str


class Condition(NamedTuple):
    """Something an open answer has to meet: ``holds`` takes what the check was given; ``hint`` is said where it does
    not hold; ``fails`` is an answer that meets every condition before this one and not this one (for the tests).
    """

    holds: Callable[..., bool]
    hint: str
    fails: tuple[Any, ...]


@dataclass(frozen=True)
class Exercise:
    """What all kinds share: ``right`` is said to a right answer, ``task``, one line, to an untouched one."""

    name: str
    task: str
    right: str
    solution: Any
    wrong: tuple[Wrong, ...] = ()

    def wrong_answers(self) -> Iterator[tuple[tuple[Any, ...], str]]:
        """What the check is given by those who are wrong, and the hint they get."""
        return (((wrong.answer,), wrong.hint) for wrong in self.wrong)

    def __call__(self, *given: Any) -> Answer:
        answer = given[0] if len(given) == 1 else given
        if not given or _untouched(answer):
            return self.not_yet()
        try:
            return self.judge(answer)
        except NotImplementedError:
            return self.not_yet()
        except Exception as error:  # a learner's code can raise anything; the notebook goes on
            return Answer(LOOK_AGAIN, f"It stopped with {type(error).__name__}: {error}. {self.task}")

    def not_yet(self) -> Answer:
        return Answer(NOT_YET, self.task)

    def judge(self, answer: Any) -> Answer:
        raise NotImplementedError


@dataclass(frozen=True)
class Function(Exercise):
    """The answer is a function: right when it agrees with ``solution`` on all ``inputs`` (tuples of arguments)."""

    inputs: tuple[tuple[Any, ...], ...] = ()
    tolerance: float = 1e-9

    def judge(self, answer: Any) -> Answer:
        if not callable(answer):
            return Answer(LOOK_AGAIN, f"This check wants the function itself, without calling it: {self.task}")
        got = [answer(*_copies(arguments)) for arguments in self.inputs]
        if any(_untouched(value) for value in got):
            return self.not_yet()
        expected = [self.solution(*_copies(arguments)) for arguments in self.inputs]
        differing = [i for i, pair in enumerate(zip(got, expected, strict=True)) if not same(*pair, self.tolerance)]
        if not differing:
            return Answer(RIGHT, self.right)
        for wrong in self.wrong:
            if all(same(g, wrong.answer(*_copies(a)), self.tolerance) for g, a in zip(got, self.inputs, strict=True)):
                return Answer(LOOK_AGAIN, wrong.hint)
        first = differing[0]
        return Answer(LOOK_AGAIN, self._mismatch(self.inputs[first], got[first], expected[first]))

    def _mismatch(self, arguments: tuple[Any, ...], got: Any, expected: Any) -> str:
        if _shape(got) != _shape(expected):
            return f"It returns {_kind(got)}, where {_kind(expected)} would be right. {self.task}"
        if same(got, expected, 1e-3):
            return "Nearly: the difference looks like rounding. Compute in float64 (`.double()`)."
        given = ", ".join(_brief(value) for value in arguments)
        return f"For {given} it returns {_brief(got)}, where {_brief(expected)} is right. Try that case by hand."


@dataclass(frozen=True)
class Value(Exercise):
    """The answer is a number, a word or a few of them: right within ``tolerance``."""

    tolerance: float = 1e-6

    def judge(self, answer: Any) -> Answer:
        if same(answer, self.solution, self.tolerance):
            return Answer(RIGHT, self.right)
        for wrong in self.wrong:
            if same(answer, wrong.answer, self.tolerance):
                return Answer(LOOK_AGAIN, wrong.hint)
        return Answer(LOOK_AGAIN, f"{_brief(answer)} is not it. {self.task}")


@dataclass(frozen=True)
class Open(Exercise):
    """Many answers are right: those that meet every condition. The first one not met gives the hint.

    ``solution`` is a tuple: what the check is given.
    """

    conditions: tuple[Condition, ...] = ()

    def wrong_answers(self) -> Iterator[tuple[tuple[Any, ...], str]]:
        return ((condition.fails, condition.hint) for condition in self.conditions)

    def judge(self, answer: Any) -> Answer:
        given = answer if isinstance(answer, tuple) else (answer,)
        for condition in self.conditions:
            if not condition.holds(*given):
                return Answer(LOOK_AGAIN, condition.hint)
        return Answer(RIGHT, self.right)


def same(got: Any, expected: Any, tolerance: float) -> bool:
    """Whether two answers agree: numbers, tensors and nested lists by value and shape, words by their letters."""
    if isinstance(expected, str) or isinstance(got, str):
        return str(got).strip().lower() == str(expected).strip().lower()
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and set(got) == set(expected)
            and all(same(got[key], expected[key], tolerance) for key in expected)
        )
    if isinstance(expected, (tuple, list)) and any(isinstance(e, (str, Mapping)) for e in expected):
        return (
            isinstance(got, (tuple, list))
            and len(got) == len(expected)
            and all(same(g, e, tolerance) for g, e in zip(got, expected, strict=True))
        )
    try:
        ours, theirs = _numbers(expected), _numbers(got)
    except (TypeError, ValueError, RuntimeError):
        return False
    return ours.shape == theirs.shape and np.allclose(theirs, ours, rtol=tolerance, atol=tolerance, equal_nan=True)


def exercises() -> dict[str, Exercise]:
    """Every exercise of every lesson by name."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    ours = [name for name in names if re.fullmatch(r"checks_(l\d\d|appendix)", name)]
    modules = [import_module(f".{name}", __package__) for name in ours]
    return {row.name: row for module in modules for row in module.EXERCISES}


def __getattr__(name: str) -> Exercise:
    """``check.l01_importance``: the row of that name."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    known = exercises()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else f" There are: {', '.join(known)}."
        raise AttributeError(f"No exercise is called {name!r}.{hint}")
    return known[name]


def _untouched(answer: Any) -> bool:
    if isinstance(answer, (tuple, list)):
        return any(_untouched(part) for part in answer)
    return any(answer is mark for mark in _UNTOUCHED)


def _copies(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Fresh tensors for every call: an answer that works in place spoils nobody's input."""
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in arguments)


def _numbers(value: Any) -> np.ndarray:
    if isinstance(value, (tuple, list)):
        return np.stack([_numbers(part) for part in value]) if value else np.empty(0)
    if isinstance(value, Tensor):
        value = value.detach().cpu().to(torch.float64).numpy()
    return np.asarray(value, dtype=np.float64)


def _shape(value: Any) -> tuple[int, ...] | None:
    try:
        return _numbers(value).shape
    except (TypeError, ValueError, RuntimeError):
        return None


def _kind(value: Any) -> str:
    shape = _shape(value)
    if shape is None:
        return f"a {type(value).__name__}"
    return "one number" if shape == () else f"numbers of shape {shape}"


def _brief(value: Any) -> str:
    """A value on one line, short enough for a message."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().tolist()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    text = re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda m: f"{float(m[0]):.6g}", repr(value))
    return text if len(text) <= 120 else text[:117] + "..."
