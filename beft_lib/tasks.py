"""A task with its examples: loading from what ships, from files and from the hub, with seeded subsets."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

from . import runtime
from .errors import DataError, ModelError, UnknownName
from .prompts import PROMPTS, Prompt
from .reading import Row, find_split, read_rows
from .task_table import CONVERTED, TASKS, TaskRow

SHIPPED = ("mini", "pocket")


@dataclass(frozen=True)
class Task:
    """A task with its examples: ``train`` and ``validation`` hold the text columns and ``label``.

    With a ``prompt`` a language model is asked in words; without one a classifier reads the texts. The ``label`` of a
    free answer is the list of the right ones.
    """

    row: TaskRow
    train: Dataset = field(repr=False)
    validation: Dataset = field(repr=False)
    source: str
    size: str
    seed: int
    prompt: Prompt | None = None

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.prompt or self.row).metrics

    @property
    def recipe(self) -> dict[str, Any]:
        """The paper's recipe for this task, as far as it differs from ``recipe.Recipe``'s defaults."""
        return self.prompt.recipe if self.prompt else dict(learning_rate=self.row.learning_rate, epochs=self.row.epochs)

    @property
    def num_labels(self) -> int:
        """1 for regression, as transformers counts."""
        return len(self.row.labels) or 1

    @property
    def label_names(self) -> tuple[str, ...]:
        """A name for each output of a classifier; the one of a regression is called "score". None where it is asked."""
        return () if self.prompt else self.row.labels or ("score",)

    @property
    def wording(self) -> dict[str, Any]:
        """How new texts are put to a model that was tuned on this task, for JSON: an adapter keeps it."""
        names = ("template", "answers", "stop", "max_new", "max_length")
        prompt = None if self.prompt is None else {name: getattr(self.prompt, name) for name in names}
        return {"texts": list(self.row.texts), "prompt": prompt}

    def texts(self, example: Mapping[str, Any]) -> tuple[str, ...]:
        """The text, or pair of texts, that the model reads for one example."""
        return tuple(template.format_map(example) for template in self.row.texts)

    def __str__(self) -> str:
        return (
            f"{self.name} from {self.source}: {len(self.train)} training examples ({self.size}, seed {self.seed}), "
            f"{len(self.validation)} for validation, {'asked in words, ' if self.prompt else ''}scored by "
            f"{', '.join(self.metrics)}"
        )


def load_task(
    name: str,
    data: str | Path | None = None,
    size: str = "low",
    n_train: int | None = None,
    n_validation: int | None = None,
    seed: int = 0,
    prompted: bool | None = None,
) -> Task:
    """Load a task; the profile decides where from unless ``data`` does.

    Args:
        name: a key of ``TASKS``.
        data: "mini" or "pocket" (shipped), "hub", or a folder with train and validation as csv, jsonl or parquet
            (or with a folder of the task's name that holds them).
        size: "low", "medium" or "high": at most so many training examples, fewer where there are fewer.
        n_train: exactly so many instead; DataError when there are fewer. ``n_validation`` likewise.
        seed: which random subset.
        prompted: whether to ask a language model in words, with the paper's sizes for OPT, instead of training a
            classifier (None: where there is no other way, squad and drop).
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    row, prompt = TASKS[name], _prompt(TASKS[name], prompted)
    sizes = {**row.sizes, "low": prompt.n_train} if prompt else row.sizes
    if size not in sizes:
        raise UnknownName(f"size for {name}", size, sizes)
    source = _source(name, prompt is not None) if data is None else str(data)
    if source == "hub":
        train, validation, where = (*_from_hub(row), f"the hub ({row.hub}, {row.subset})")
    else:
        folder = _folder(row, source)
        train, validation = (_from_file(row, find_split(folder, split)) for split in ("train", "validation"))
        where = f"{source} (shipped)" if source in SHIPPED else str(folder)
    wanted = n_train if n_train is not None else min(sizes[size], len(train))
    if prompt and n_validation is None and len(validation) > prompt.n_validation:
        n_validation = prompt.n_validation
    return Task(
        row,
        _subset(train, wanted, seed, f"{name} from {where}: training examples"),
        validation
        if n_validation is None
        else _subset(validation, n_validation, seed, f"{name} from {where}: validation examples"),
        where,
        size if n_train is None else f"{n_train} asked for",
        seed,
        prompt,
    )


def _source(name: str, asked: bool) -> str:
    """The profile's data. What is asked in words follows the language model that is to be had: a pocket one knows the
    pocket world alone; to any other, what ships in natural English, or the hub's where nothing does.
    """
    data = runtime.choose_profile().profile.data
    if not asked:
        return data
    try:
        pocket = runtime.find_model("opt").name.startswith("pocket")
    except ModelError:  # loading the model will say how to get one
        pocket = True
    return "pocket" if pocket else data if (runtime.data_folder() / data / name).is_dir() else "hub"


def _prompt(row: TaskRow, prompted: bool | None) -> Prompt | None:
    if prompted and row.name not in PROMPTS:
        raise UnknownName("task with a prompt", row.name, PROMPTS)
    if prompted is False and row.answers:
        raise DataError(f"{row.name} is answered in words, so it has to be prompted; a classifier cannot learn it.")
    return PROMPTS[row.name] if prompted or row.answers else None


def check_rows(row: TaskRow, rows: list[Row], path: Path) -> Dataset:
    """Rows of a file as a Dataset of the task's columns. Raises DataError naming file, line and value."""
    if row.answers:
        found = [(line, cells, _field(cells, row.answers)) for line, cells in rows]
        rows = [(line, cells if right is None else {"label": right, **cells}) for line, cells, right in found]
    missing = [c for c in (*row.columns, "label") if c not in rows[0][1]]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, missing))}, which {row.name} needs "
            f"({', '.join(row.columns)}, label); it has {', '.join(map(repr, rows[0][1]))}."
        )
    columns: dict[str, list[Any]] = {c: [] for c in (*row.columns, "label")}
    for line, cells in rows:
        for column in row.columns:
            text = cells.get(column)
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{path}, line {line}: column {column!r} should hold a text, found {text!r}.")
            columns[column].append(text)
        label = _answers if row.answers else _label
        columns["label"].append(label(row, cells.get("label"), f"{path}, line {line}"))
    return Dataset.from_dict(columns)


def _field(cells: Mapping[str, Any], path: str) -> Any:
    """``cells["answers"]["text"]`` for "answers.text"; None where it is not there."""
    found: Any = cells
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _answers(row: TaskRow, value: Any, where: str) -> list[str]:
    """The right answers: a list of texts, or one text."""
    found = [value] if isinstance(value, str) else value
    if isinstance(found, list) and found and all(isinstance(text, str) and text.strip() for text in found):
        return found
    raise DataError(
        f"{where}: no right answer, found {value!r}; {row.name} needs a text or a list of texts in {row.answers!r} "
        "(or in a column 'label')."
    )


def _label(row: TaskRow, value: Any, where: str) -> int | float:
    text = "" if value is None else str(value).strip()
    if row.regression:
        low, high = row.label_range
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if low <= number <= high:
            return number
        raise DataError(f"{where}: label {value!r} should be a number from {low:g} to {high:g} for {row.name}.")
    if text in row.labels:
        return row.labels.index(text)
    if re.fullmatch(r"\d+(\.0)?", text) and int(float(text)) < len(row.labels):
        return int(float(text))
    names = ", ".join(f"{i} ({label})" for i, label in enumerate(row.labels))
    raise DataError(f"{where}: unknown label {value!r} for {row.name}; expected {names}.")


def _folder(row: TaskRow, source: str) -> Path:
    folder = runtime.data_folder() / source if source in SHIPPED else Path(source).expanduser()
    if (folder / row.name).is_dir() or source in SHIPPED:
        folder = folder / row.name
    if folder.is_dir():
        return folder
    raise DataError(
        f"No data for {row.name} at {folder}. Give a folder that holds train.csv and validation.csv, or one of "
        f"{', '.join(SHIPPED)} (shipped with the course) or 'hub'."
    )


def _from_file(row: TaskRow, path: Path) -> Dataset:
    return check_rows(row, read_rows(path), path)


def _from_hub(row: TaskRow) -> tuple[Dataset, Dataset]:
    cache = runtime.datasets_cache()
    where = None if cache is None else str(cache)
    fetched = runtime.hub_data(row.hub, row.subset)
    try:  # what prefetch fetched needs neither the hub nor a folder that can be written to
        splits: Any = load_dataset("parquet", data_files=fetched, cache_dir=where) if fetched else _live(row, where)
    except Exception as error:  # every layer below (hub, fsspec, datasets) has exceptions of its own
        raise DataError(
            f"{row.name} could not be had from the hub ({row.hub}, {row.subset}): {type(error).__name__}. With no "
            f"connection, use load_task({row.name!r}, data='mini') or a folder, or run `python -m beft_lib prefetch` "
            "once."
        ) from error
    train, validation = (_as_ours(row, splits[split]) for split in ("train", row.validation))
    return train, validation


def _live(row: TaskRow, cache: str | None) -> Any:
    """All splits from the live hub: from main, or, where there is a script only, from the hub's own conversion.

    That one has no list of subsets, but a folder for each.
    """
    try:
        return load_dataset(row.hub, row.subset, cache_dir=cache)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
    return load_dataset(row.hub, data_dir=row.subset, revision=CONVERTED, cache_dir=cache)


def _as_ours(row: TaskRow, split: Dataset) -> Dataset:
    """The task's columns alone; the right answers, nested on the hub, as ``label``. Nothing is copied."""
    if row.answers:
        split = split.flatten().rename_column(row.answers, "label")
    return split.select_columns([*row.columns, "label"])


def _subset(dataset: Dataset, n: int, seed: int, what: str) -> Dataset:
    """n rows, drawn at random by the seed; chosen before anything is tokenised."""
    if not 1 <= n <= len(dataset):
        raise DataError(f"{what}: {n} asked for, {len(dataset)} there; ask for 1 to {len(dataset)}.")
    return dataset.shuffle(seed=seed).select(range(n))
