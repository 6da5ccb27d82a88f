"""Quick questions, an answer to every answer: radio buttons where widgets run, answers to unfold where they do not.

Why not jupyterquiz, which is made for this (2.9.6, tried in JupyterLab 4.6 in Chromium with the network cut off). Where
there is a formula in the page, there is JupyterLab's MathJax 3; jupyterquiz puts ``window.MathJax`` aside and fetches
another from cdn.jsdelivr.net, which cannot be switched off and left two errors in the console. Every quiz saves some
40 kB of script and style in the notebook under a random name, so that each run makes another file. And what is saved
shows nothing where scripts do not run: a notebook not yet trusted, GitHub, paper. Ours saves two kilobytes of HTML,
always the same, readable anywhere.
"""

from __future__ import annotations

from html import escape
from typing import Any

from .display import live_view
from .errors import UnknownName
from .quiz_table import QUIZZES, Question

_RIGHT, _WRONG = "#0072B2", "#D55E00"  # Okabe–Ito; "Yes" and "No" say the same
SHOWS_QUIZ = "beft_lib.quiz("  # how the cell of a lesson begins that shows its quiz
_WIDE = "44rem"  # of a text that is read with ease
# ipywidgets gives every answer one line's height: a long one, on a narrow screen, would run into the next.
_STYLE = "<style>.beft-quiz .widget-radio-box label { height: auto; line-height: 1.5; white-space: normal; }</style>"


class Quiz:
    """The questions of one lesson. The last line of a cell shows it."""

    def __init__(self, questions: list[Question]) -> None:
        self.questions = questions

    def __repr__(self) -> str:
        return "\n".join(
            "\n".join([f"{n}. {question.text}", *(f"   ( ) {answer}" for answer in question.answers)])
            for n, question in enumerate(self.questions, start=1)
        )

    def html(self) -> str:
        """All questions, their answers to unfold: works without a kernel, without scripts, and by keyboard."""
        parts = []
        for n, question in enumerate(self.questions, start=1):
            parts.append(_asked(n, question))
            parts += [
                f"<details><summary>{escape(answer)}</summary>{escape(said)}</details>"
                for answer, said in question.answers.items()
            ]
        return f'<div style="max-width: {_WIDE}">{"".join(parts)}</div>'

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        layout = ipywidgets.Layout(width="100%", max_width=_WIDE)
        rows: list[Any] = []
        for n, question in enumerate(self.questions, start=1):
            choice = ipywidgets.RadioButtons(
                options=list(question.answers), value=None, layout=layout, tooltip=question.text
            )
            said = ipywidgets.HTML('<div aria-live="polite"></div>', layout=layout)

            def tell(change: Any, question: Question = question, said: Any = said) -> None:
                said.value = _said(question, change["new"])

            choice.observe(tell, names="value")
            rows += [ipywidgets.HTML(_asked(n, question), layout=layout), choice, said]
        quiz = ipywidgets.VBox([ipywidgets.HTML(_STYLE), *rows])
        quiz.add_class("beft-quiz")
        return quiz

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widget with the static version as its fallback, in one output, as ``Touchable`` does with its picture."""
        return {**live_view(self.live), "text/html": self.html(), "text/plain": repr(self)}


def quiz(lesson: str) -> Quiz:
    """The quick questions of a lesson, "00" to "99". Raises UnknownName where the table has none."""
    if lesson not in QUIZZES:
        raise UnknownName("quiz", lesson, QUIZZES)
    return Quiz(QUIZZES[lesson])


def _asked(n: int, question: Question) -> str:
    return f'<p style="line-height: 1.4; margin: 1.4em 0 .4em"><b>{n}. {escape(question.text)}</b></p>'


def _said(question: Question, answer: str) -> str:
    colour = _RIGHT if answer == question.right else _WRONG
    style = f"border-left: 4px solid {colour}; padding-left: .6em; margin-bottom: 1em; line-height: 1.4"
    return f'<div aria-live="polite" style="{style}">{escape(question.answers[answer])}</div>'
