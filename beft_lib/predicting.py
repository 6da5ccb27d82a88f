"""A tuned model on new texts: words for classes, numbers for a regression, answers for prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from datasets import Dataset
from torch import nn

from . import classifying, prompting
from .adapters import describe_adapter, load_adapter
from .errors import AdapterError, DataError, UnknownName
from .folding import MERGED
from .models import load_model, load_tokenizer
from .prompts import Prompt
from .tasks import Task, TaskRow
from .wrapping import acting

New = str | Sequence[str] | Mapping[str, str]  # one text; the texts of a pair, or a question and its options; by column


def predict(
    source: str | Path | nn.Module, texts: Sequence[New], task: Task | None = None, base: str | Path | None = None
) -> list[Any]:
    """What a tuned model says of new texts: the names of classes, numbers, or answers in words.

    Args:
        source: the folder of a saved adapter, which is loaded with its base; or a model as it is, with its ``task``.
        texts: a text each; of a pair or a choice a tuple (question, then options), or a dictionary by column.
        base: the base model, where the adapter was trained on a folder of another machine.

    Raises AdapterError where an adapter does not say how texts are put to it, DataError where a text has other parts.
    """
    if isinstance(source, nn.Module):
        if task is None:
            raise DataError(
                "A model does not say what its outputs mean: predict(model, texts, task), or give a folder."
            )
        model, length = source, task.prompt.max_length if task.prompt else 128
    else:
        model, task, length = _loaded(Path(source), task, base)
    given = [texts] if isinstance(texts, str) else list(texts)
    if not given:
        return []
    rows = [{**_cells(task.row.columns, one, number), "label": 0} for number, one in enumerate(given)]
    return answers(model, task, Dataset.from_list(rows), length)


def answers(model: nn.Module, task: Task, examples: Dataset, max_length: int) -> list[Any]:
    """``predict`` for examples in the task's columns."""
    numbers = outputs(model, task, examples, max_length)
    if task.prompt is None:
        return [task.row.labels[number] for number in numbers] if task.row.labels else numbers
    if not task.prompt.answers:
        return numbers
    candidates = map(task.prompt.candidates, examples)  # type: ignore[arg-type]
    return [some[number].strip() for some, number in zip(candidates, numbers, strict=True)]


def outputs(model: nn.Module, task: Task, examples: Dataset, max_length: int) -> list[Any]:
    """What the task's metric is computed of: numbers of classes, amounts, or free answers; (N,)."""
    if task.prompt:
        return prompting.ask(acting(model), task, examples, max_length=max_length).predictions
    logits, _ = classifying.predict(acting(model), task, load_tokenizer(model), examples, max_length)
    return (logits[:, 0] if task.row.regression else logits.argmax(-1)).tolist()


def _loaded(folder: Path, task: Task | None, base: str | Path | None) -> tuple[nn.Module, Task, int]:
    told = describe_adapter(folder)
    task = task or _task(told, folder)
    name = told["base"]["name"]
    if base is None and name.endswith(MERGED):
        raise AdapterError(
            f"{folder} was trained on {name!r}, a model made by merge_adapter or fold: give base=, the folder where it "
            "was saved (save_pretrained)."
        )
    try:
        model = load_model(base or name, task)
    except UnknownName as error:
        raise AdapterError(
            f"{folder} was trained on {name!r}, which is not a model known here: give base=, its folder or hub id."
        ) from error
    load_adapter(model, folder)
    return model, task, int((told["recipe"] or {}).get("max_length", 128))


def _task(told: Mapping[str, Any], folder: Path) -> Task:
    """The task of an adapter, without examples. AdapterError where it was saved by something that keeps no wording."""
    try:
        wording = told["wording"]
        texts, prompt = tuple(wording["texts"]), wording["prompt"]
        if prompt is not None:
            prompt = Prompt(**{**prompt, "answers": tuple(prompt["answers"])}, metrics=())
        _check_templates([*texts, *((prompt.template, *prompt.answers) if prompt else ())])
    except (TypeError, KeyError, ValueError) as error:
        raise AdapterError(
            f"{folder} does not say how texts are put to the model ({type(error).__name__}): it was saved by PEFT, by "
            "an older beft_lib, or altered. Give the task: predict(folder, texts, task)."
        ) from error
    labels = () if prompt or len(told["labels"]) < 2 else tuple(told["labels"])  # one: the score of a regression
    row = TaskRow(told["task"], texts, labels, (), "", "", {}, 1.0, 1, answers="label" if prompt else "")
    nothing = Dataset.from_list([])
    return Task(row, nothing, nothing, str(folder), "none", 0, prompt)


def _check_templates(templates: Sequence[str]) -> None:
    """Columns only: a file must not reach into attributes by a format string."""
    for template in templates:
        for _, column, form, conversion in Formatter().parse(template):
            if column is not None and (not re.fullmatch(r"\w+", column) or form or conversion):
                raise ValueError(template)


def _cells(columns: Sequence[str], given: New, number: int) -> dict[str, str]:
    parts = {columns[0]: given} if isinstance(given, str) else given
    if not isinstance(parts, Mapping):
        parts = dict(zip(columns, parts, strict=False)) if len(parts) == len(columns) else {}
    missing = [name for name in columns if not isinstance(parts.get(name), str) or not parts[name].strip()]
    if missing:
        raise DataError(
            f"text {number} (from 0) is {str(given)[:60]!r}, which leaves {', '.join(missing)} empty: this task reads "
            f"{', '.join(columns)}, as a text each."
        )
    return {name: parts[name] for name in columns}
