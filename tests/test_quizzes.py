"""Quick questions: one right answer each, a reason for every answer, told at once, and readable without a kernel."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from typing import Any

import pytest

import beft_lib
from beft_lib import authoring
from beft_lib.errors import UnknownName
from beft_lib.quiz_table import QUIZZES, Question
from beft_lib.quizzes import Quiz, quiz

QUESTIONS = [(lesson, question) for lesson, questions in QUIZZES.items() for question in questions]
every_question = pytest.mark.parametrize(
    ("lesson", "question"), QUESTIONS, ids=[f"{lesson}-{question.text[:30]}" for lesson, question in QUESTIONS]
)


@every_question
def test_one_answer_is_right_and_every_answer_has_its_reason(lesson: str, question: Question) -> None:
    said = list(question.answers.values())
    assert len(said) >= 3 and len(set(said)) == len(said)
    assert sum(reason.startswith("Yes") for reason in said) == 1 and question.answers[question.right].startswith("Yes")
    assert all(reason.startswith(("Yes", "No")) and len(reason.split()) >= 5 for reason in said), "a reason, not a mark"
    assert question.text.endswith("?") and len(question.text) <= 250
    for text in (question.text, *question.answers, *said):
        assert not set("$`*<>") & set(text), f"plain text only: {text!r}"
    assert max(map(len, question.answers)) <= 100, "an answer is read at a glance"


def test_every_lesson_has_two_or_three() -> None:
    lessons = [number for number in authoring.sources() if number.isdigit()]
    assert set(lessons) <= set(QUIZZES)
    assert all(2 <= len(questions) <= 3 for questions in QUIZZES.values())


def test_the_right_answer_has_no_place_of_its_own() -> None:
    places = [list(question.answers).index(question.right) for _, question in QUESTIONS]
    assert {0, 1, 2} <= set(places) and max(map(places.count, places)) <= 0.6 * len(places)


@pytest.mark.parametrize("lesson", QUIZZES)
def test_every_choice_is_answered_at_once(lesson: str) -> None:
    pytest.importorskip("ipywidgets")
    _, *rows = quiz(lesson).live().children
    assert len(rows) == 3 * len(QUIZZES[lesson])
    for question, (asked, choice, told) in zip(QUIZZES[lesson], zip(*[iter(rows)] * 3, strict=True), strict=True):
        assert beft_lib.quizzes.escape(question.text) in asked.value and choice.tooltip == question.text
        assert choice.value is None and not {"Yes", "No"} & set(told.value.split()), "nothing is told before a choice"
        seen = set()
        for answer, reason in question.answers.items():
            choice.value = answer
            assert beft_lib.quizzes.escape(reason) in told.value and 'aria-live="polite"' in told.value
            seen.add(told.value.split("solid ")[1][:7])
        assert len(seen) == 2  # one colour for the right answer, one for the others


@pytest.mark.parametrize("lesson", QUIZZES)
def test_without_a_kernel_all_of_it_can_be_read(lesson: str) -> None:
    class Read(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.found: list[tuple[str, str]] = []

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

        def handle_data(self, data: str) -> None:
            self.found.append((self.open[-1], data))

    read, one = Read(), quiz(lesson)
    read.feed(one.html())
    assert not read.open
    for question in QUIZZES[lesson]:
        assert any(tag == "b" and question.text in text for tag, text in read.found)
        for answer, reason in question.answers.items():
            assert ("summary", answer) in read.found and ("details", reason) in read.found
    assert "script" not in one.html() and "http" not in one.html() and len(one.html()) < 4000
    assert all(answer in repr(one) for question in QUIZZES[lesson] for answer in question.answers)


def test_shown_it_is_a_widget_with_the_static_version_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    one = quiz("01")
    # ipywidgets 7, which Colab has, displays itself by another method
    monkeypatch.delattr("ipywidgets.Widget._repr_mimebundle_")
    assert set(one._repr_mimebundle_()) == {authoring.WIDGET_VIEW, "text/html", "text/plain"}
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert one._repr_mimebundle_() == {"text/html": one.html(), "text/plain": repr(one)}


def test_what_is_written_is_shown_as_written() -> None:
    odd = Quiz([Question("a < b & c?", {"<i>": "No. Not <b>.", "&": "Yes."})])
    assert "a &lt; b &amp; c?" in odd.html() and "<summary>&lt;i&gt;</summary>No. Not &lt;b&gt;." in odd.html()
    assert "&lt;b&gt;" in _told(odd, "<i>")


def _told(one: Quiz, answer: str) -> str:
    from beft_lib.quizzes import _said

    return _said(one.questions[0], answer)


def test_a_lesson_without_questions_is_named() -> None:
    with pytest.raises(UnknownName, match=r"quiz '99'.*01"):
        beft_lib.quiz("99")


def test_questions_stay_in_a_handout_without_outputs() -> None:
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    from beft_lib.handout import blank

    shown = [new_output("execute_result", data={"text/html": quiz("01").html()}, execution_count=7)]
    other = [new_output("execute_result", data={"text/plain": "1"}, execution_count=8)]
    cells = [new_code_cell('beft_lib.quiz("01")', outputs=shown), new_code_cell("1", outputs=other)]
    asked, run = blank(new_notebook(cells=cells)).cells
    assert asked.outputs[0].data["text/html"] == quiz("01").html() and asked.outputs[0].execution_count is None
    assert run.outputs == [] and run.execution_count is None
