"""Every exercise of every lesson: right answers pass, stubs are met kindly, typical wrong answers get their hint."""

from __future__ import annotations

import ast
import builtins
import json
import math
import symtable
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from beft_lib import checks
from beft_lib.checks import LOOK_AGAIN, NOT_YET, RIGHT, Answer, Exercise, Function, Open, same
from beft_lib.places import lesson_files, lesson_number, lesson_prefix, lessons_folder

SOLVED = {lesson_number(path): path for path in lesson_files(lessons_folder() / "solutions", ".ipynb")}
# What solutions take from the cells before them, which train models.
_RULERS = pd.DataFrame({"ruler": ["importance, early stop", "always value"], "right": [0.5, 0.6]})
STAND_INS: dict[str, dict[str, Any]] = {
    "04": {"measurements": ["rows"], "agreement": lambda rows: _RULERS},
    "08": {
        "choice": "value", "second": "query", "top": 0.6, "next_best": 0.2, "every": range(3), "scores": (0.71, 0.66),
        "n": 200, "measured": "+0.050 ± 0.040", "shown": "above", "size": 16_000, "chosen": range(6),
        "changed": ["seed 1"], "counts": SimpleNamespace(method=2304, head=1538), "low": -0.02, "high": 0.12,
        "first": SimpleNamespace(
            probe=SimpleNamespace(steps=[0, 150]), run=SimpleNamespace(metric="accuracy", seed=0),
            constant=("always", 0.5), verdict="not shown to be better than head on 200 examples",
        ),
    },
}  # fmt: skip

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


# -- the solutions that learners read, as they stand in the notebooks


def cells_of(path: Path) -> Iterator[tuple[str, bool]]:
    """A notebook's code cells: the source, and whether it is a solution."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"]), "solution" in cell["metadata"].get("tags", [])


def asks_for(source: str) -> set[str]:
    """The names that a cell takes from the cells before it."""

    def tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
        yield table
        for child in table.get_children():
            yield from tables(child)

    top = symtable.symtable(source, "cell", "exec")
    own = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    taken = {s.get_name() for table in tables(top) for s in table.get_symbols() if s.is_global()}
    return taken - own - set(dir(builtins))


def made_by(source: str) -> Iterator[tuple[str, str]]:
    """(name, statement) of the imports and plain assignments at the top of a cell."""
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                one = copy(statement)
                one.names = [alias]
                yield alias.asname or alias.name, ast.unparse(one)
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, ast.unparse(statement)


def answered(source: str, names: dict[str, Any], before: dict[str, str]) -> tuple[str, Answer]:
    """Run a solution: the exercise that its last line checks, and what the check says."""
    for name in asks_for(source) - set(names):
        exec(before[name], names)
    *lines, last = ast.parse(source).body
    exec(compile(ast.Module(lines, []), "cell", "exec"), names)
    assert isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)
    return ast.unparse(last.value.func).removeprefix("check."), eval(ast.unparse(last), names)


@pytest.mark.parametrize("number", SOLVED)
def test_every_solution_cell_is_run_and_right(number: str) -> None:
    """With the lesson's own imports, and stand-ins for what was trained: the long cells are not run."""
    names, before, told = dict(STAND_INS.get(number, {})), dict[str, str](), {}
    for source, is_solution in cells_of(SOLVED[number]):
        if is_solution:
            exercise, answer = answered(source, names, before)
            told[exercise] = answer
        else:
            before.update(made_by(source))
    prefix = f"{lesson_prefix(number)}_"
    assert told == {name: Answer(RIGHT, row.right) for name, row in EXERCISES.items() if name.startswith(prefix)}


def test_a_solution_that_is_wrong_would_be_seen() -> None:
    source = next(source for source, is_solution in cells_of(SOLVED["01"]) if is_solution and "my_importance" in source)
    before = {"check": "from beft_lib import checks as check", "torch": "import torch"}
    assert answered(source, {}, before)[1].ok
    assert not answered(source.replace("longest**2", "longest"), {}, before)[1].ok
