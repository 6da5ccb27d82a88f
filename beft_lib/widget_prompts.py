"""Lesson 06's widgets: a playground for prompts, and a box that puts one question to a model before and after tuning.

The playground asks the model as it is now: after tuning, the same prompt has other answers.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from .asked import Asked, look
from .demonstrations import Ids, answer_ids
from .display import describe
from .effects import only
from .errors import DataError, UnknownName
from .models import context_of, load_tokenizer
from .prompting import generate
from .tasks import Task
from .widgets import Touchable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SHOTS = 8  # demonstrations that the slider offers
_LIGHT, _DARK, _BEST = "#E8F1F8", "#FFF4D6", "#0072B2"  # demonstrations, the question, the likeliest answer
_LINES, _WIDE = 14, 88  # of a prompt in the static picture


class PromptPlayground(Touchable):
    """A task, an example and a number of demonstrations: the exact prompt, and what the model makes of it."""

    hint = "Choose another task, example or number of demonstrations, in a notebook."

    def __init__(self, model: nn.Module, tasks: Mapping[str, Task], task: str, example: int, shots: int):
        if task not in tasks:
            raise UnknownName("task", task, tasks, "Those were given to the playground.")
        if not 0 <= example < len(tasks[task].validation):
            most = len(tasks[task].validation) - 1
            raise DataError(f"example is {example!r}; {task} has validation examples 0 to {most}.")
        self.model, self.tasks, self.tokenizer = model, tasks, load_tokenizer(model)
        self.task, self.example, self.shots = task, example, shots

    def look(self) -> Asked:
        return look(self.model, self.tasks[self.task], self.example, self.shots, tokenizer=self.tokenizer)

    def words(self) -> str:
        return in_words(self.task, self.example, self.look())

    def plot(self) -> Axes:
        """The starting position as a static picture."""
        from matplotlib.figure import Figure

        seen = self.look()
        text = "".join(_spaced(seen.pieces)).strip()
        lines = [part for line in text.split("\n") for part in _wrapped(line)]
        lines = [*lines[:1], "…", *lines[-_LINES + 2 :]] if len(lines) > _LINES else lines
        text_high, bars_high = 0.147 * len(lines) + 0.1, 0.36 * len(seen.answers) + 0.1  # inches
        figure = Figure(figsize=(7.8, text_high + bars_high + 0.85), layout="constrained")
        top, axes = figure.subplots(2, 1, height_ratios=(text_high, bars_high))
        top.set_axis_off()
        top.text(0, 1, "\n".join(lines), va="top", family="monospace", fontsize=8.5, transform=top.transAxes)
        title = f"{self.task}, example {self.example}: {seen.size}"
        top.set_title(title, loc="left", fontsize=11)
        values = list(seen.answers.values())
        colours = [_BEST if answer == seen.likeliest else "#BBBBBB" for answer in seen.answers]
        axes.barh(range(len(values)), np.exp(values), 0.6, color=colours)
        names = [_short(answer) + (" (right)" if answer == seen.right else "") for answer in seen.answers]
        axes.set_yticks(range(len(values)), names)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="probability of an answer's token, geometric mean (dark: likeliest)")
        axes.spines[["top", "right"]].set_visible(False)
        return describe(axes, in_words(self.task, self.example, seen), self.table())

    def table(self) -> pd.DataFrame:
        import pandas as pd

        told = self.look().numbers
        return pd.DataFrame({"": list(told.values())}, index=pd.Index(list(told)))

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        style, layout = {"description_width": "110px"}, ipywidgets.Layout(width="320px")
        shared = {"style": style, "layout": layout}
        task = ipywidgets.Dropdown(options=list(self.tasks), value=self.task, description="Task", **shared)
        last = min(len(one.validation) for one in self.tasks.values()) - 1
        example = ipywidgets.IntSlider(
            value=min(self.example, last), min=0, max=last, description="Example", **shared
        )  # fmt: skip
        shots = ipywidgets.IntSlider(value=self.shots, min=0, max=SHOTS, description="Demonstrations", **shared)
        prompt, table = ipywidgets.HTML(), ipywidgets.HTML()

        def update(_: Any = None) -> None:
            seen = look(self.model, self.tasks[str(task.value)], example.value, shots.value, tokenizer=self.tokenizer)
            prompt.value = _as_html(seen, in_words(str(task.value), example.value, seen))
            table.value = _answer_table(seen)

        for control in (task, example, shots):
            control.observe(update, names="value")
        update()
        wrap = ipywidgets.Layout(display="flex", flex_flow="row wrap", grid_gap="4px 16px")
        return ipywidgets.VBox([ipywidgets.Box([task, example, shots], layout=wrap), prompt, table])


def prompt_playground(
    model: nn.Module, tasks: Mapping[str, Task], task: str = "rte", example: int = 0, shots: int = 1
) -> PromptPlayground:
    """See the exact prompt of an example, its tokens, each answer's mean log-probability, and what did not fit.

    Args:
        model: a language model, asked as it is at that moment.
        tasks: prompted tasks by name.
        task, example, shots: what to begin with: a key of ``tasks``, the number of a validation example, 0 first, and
            how many demonstrations.
    """
    return PromptPlayground(model, tasks, task, example, shots)


class BeforeAfter(Touchable):
    """One question in words of one's own, put to a tuned model with its deltas off and on."""

    hint = "Write your own, in a notebook."

    def __init__(self, model: nn.Module, task: Task, texts: Mapping[str, str]):
        assert task.prompt is not None
        self.model, self.task, self.texts, self.tokenizer = model, task, dict(texts), load_tokenizer(model)
        missing = [column for column in self.columns if column not in texts]
        if missing:
            raise DataError(f"{task.name} also needs {', '.join(missing)}: give it as a text.")

    @property
    def columns(self) -> list[str]:
        """What the prompt is filled from."""
        assert self.task.prompt is not None
        return list(dict.fromkeys(re.findall(r"{(\w+)}", self.task.prompt.template)))

    def answers(self, texts: Mapping[str, str]) -> dict[str, str]:
        """``{"before": …, "after": …}``, and the words that are no token of their own, if there are any."""
        assert self.task.prompt is not None
        prompt, row = self.task.prompt.ask(texts), self.task.prompt
        ids: Ids = self.tokenizer(prompt, verbose=False)["input_ids"]  # type: ignore[assignment]
        room = context_of(self.model, self.tokenizer, row.max_length) - row.max_new
        if len(ids) > room:
            return dict.fromkeys(("before", "after"), f"(not asked: {len(ids)} tokens, and {room} fit)")
        with only(self.model, ()):
            (before,) = generate(self.model, [ids], self.tokenizer, row.stop, row.max_new)
        (after,) = generate(self.model, [ids], self.tokenizer, row.stop, row.max_new)
        words = dict.fromkeys(re.findall(r"\w+", " ".join(texts.values())))
        spelt = [word for word in words if len(answer_ids(f" {word}", self.tokenizer)) > 1]
        told = {"words it has to spell in pieces": ", ".join(spelt)} if spelt else {}
        return {"before": before, "after": after, **told}

    def table(self) -> pd.DataFrame:
        import pandas as pd

        told = {**{column: self.texts[column] for column in self.columns}, **self.answers(self.texts)}
        return pd.DataFrame({"": list(told.values())}, index=pd.Index(list(told)))

    def words(self) -> str:
        said = self.answers(self.texts)
        return f"Asked {self.texts[self.columns[-1]]!r}: before tuning {said['before']!r}, after it {said['after']!r}."

    def _ipython_display_(self) -> None:
        from .display import _publish, live_view, table_html

        _publish({**live_view(self.live), "text/html": table_html(self.table()), "text/plain": repr(self)})

    def live(self) -> Any:
        """The ipywidgets version. Raises ImportError where ipywidgets is not installed."""
        import ipywidgets

        style, layout = {"description_width": "90px"}, ipywidgets.Layout(width="100%", max_width="640px")
        boxes = {
            column: (ipywidgets.Textarea if len(self.texts[column]) > 60 else ipywidgets.Text)(
                value=self.texts[column], description=column.capitalize(), style=style, layout=layout
            )
            for column in self.columns
        }
        ask, said = ipywidgets.Button(description="Ask before and after"), ipywidgets.HTML()

        def update(_: Any = None) -> None:
            found = self.answers({column: box.value for column, box in boxes.items()})
            said.value = _rows_html(found)

        ask.on_click(update)
        update()
        return ipywidgets.VBox([*boxes.values(), ask, said])


def before_and_after(model: nn.Module, task: Task, **texts: str) -> BeforeAfter:
    """Put a question of your own to a model tuned by a bias method, with its deltas off and on.

    Args:
        model: as ``fine_tune`` left it; its deltas are switched off for the answer before.
        task: the prompted task it was tuned on.
        texts: the columns of the prompt, such as ``context="…", question="…"``.
    """
    return BeforeAfter(model, task, texts)


def in_words(task: str, example: int, seen: Asked) -> str:
    """What is to be seen, for those who do not see it."""
    answers = ", ".join(f"{answer!r} {value:.2f}" for answer, value in seen.answers.items())
    return (
        f"A prompt of {task}, example {example}: {seen.size}. {seen.fitted} "
        f"Mean log-probability of the answers: {answers}. Right is {seen.right!r}."
    )


def _spaced(pieces: list[str]) -> list[str]:
    """Pieces as they are read: a tokenizer of whole words keeps no blanks, so they are put between words."""
    if any(piece.startswith(" ") for piece in pieces):
        return pieces
    return [piece if "\n" in piece else f"{piece} " for piece in pieces]


def _wrapped(line: str) -> list[str]:
    import textwrap

    return textwrap.wrap(line, _WIDE) or [""]


def _short(answer: str) -> str:
    return answer if len(answer) <= 30 else answer[:29] + "…"


def _as_html(seen: Asked, words: str) -> str:
    """The prompt, a frame a token: demonstrations on one colour, the question on the other."""
    parts = []
    for number, piece in enumerate(seen.pieces):
        text = html.escape(piece).replace("\n", "↵") or "·"
        paper, line = (_LIGHT, "dotted") if number < seen.before else (_DARK, "solid")
        parts.append(f'<span style="background: {paper}; border: 1px {line} #888; padding: 0 2px">{text}</span>')
        parts.append("<br>" if "\n" in piece else " ")
    style = "font-family: monospace; line-height: 1.7; color: #111; background: #fff; max-width: 62em; padding: 4px"
    label = f"{html.escape(words)}"
    legend = "<div>A frame is a token; ↵ ends a line. Dotted, blue: demonstrations. Solid, yellow: the question.</div>"
    return f'<div class="beft-prompt" role="group" aria-label="{label}" style="{style}">{"".join(parts)}</div>{legend}'


def _answer_table(seen: Asked) -> str:
    return _rows_html(seen.numbers)


def _rows_html(values: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left; vertical-align: top">{html.escape(name)}</th>'
        f'<td style="text-align: left">{html.escape(value)}</td></tr>'
        for name, value in values.items()
    )
    return f'<table aria-live="polite">{rows}</table>'
