"""The eight pocket tasks as files in the hub's columns: ``data/pocket/TASK/train.csv`` (jsonl for squad and drop)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_text_whole
from .chooser import Chooser
from .examples import Example, cola_example, sst2_example, stsb_example, wic_example
from .inference import cb_example, drop_example, rte_example, squad_example
from .sentences import render

SIZES = {"train": 5000, "validation": 500}


@dataclass(frozen=True)
class PocketTask:
    """How one task's rows are made: the example, its columns, and how many labels are even (0: none)."""

    example: Callable[[Chooser], Example]
    columns: Callable[[Example], dict[str, Any]]
    labels: int
    suffix: str = "csv"


def _single(e: Example) -> dict[str, Any]:
    return {"sentence": render(e.texts[0]), "label": e.label}


def _pair(e: Example) -> dict[str, Any]:
    return {"sentence1": render(e.texts[0]), "sentence2": render(e.texts[1]), "label": e.label}


def _scored_pair(e: Example) -> dict[str, Any]:
    return {**_pair(e), "label": float(e.label)}


def _premise(e: Example) -> dict[str, Any]:
    return {"premise": render(e.texts[0]), "hypothesis": render(e.texts[1]), "label": e.label}


def _senses(e: Example) -> dict[str, Any]:
    """WiC's columns; start and end are character offsets of the word in each sentence."""
    one, two = map(render, e.texts)
    row: dict[str, Any] = {"word": e.title, "sentence1": one, "sentence2": two}
    for number, text in ((1, one), (2, two)):
        row[f"start{number}"], row[f"end{number}"] = _find(e.title, text)
    return {**row, "label": e.label}


def _squad(e: Example) -> dict[str, Any]:
    context, question = map(render, e.texts)
    start, end = _find(str(e.label), context)
    return {
        "title": render(e.title),
        "context": context,
        "question": question,
        "answers": {"text": [context[start:end]], "answer_start": [start]},
    }


def _drop(e: Example) -> dict[str, Any]:
    passage, question = map(render, e.texts)
    answer = str(e.label)
    kind = "number" if answer.isdigit() else "span"
    return {"passage": passage, "question": question, "answers_spans": {"spans": [render(answer)], "types": [kind]}}


def _find(words: str, text: str) -> tuple[int, int]:
    match = re.search(rf"\b{re.escape(words)}\b", text, re.IGNORECASE)
    assert match, (words, text)
    return match.span()


TASKS: dict[str, PocketTask] = {
    "sst2": PocketTask(sst2_example, _single, 2),
    "cola": PocketTask(cola_example, _single, 2),
    "stsb": PocketTask(stsb_example, _scored_pair, 6),
    "rte": PocketTask(rte_example, _pair, 2),
    "cb": PocketTask(cb_example, _premise, 3),
    "wic": PocketTask(wic_example, _senses, 2),
    "squad": PocketTask(squad_example, _squad, 0, "jsonl"),
    "drop": PocketTask(drop_example, _drop, 0, "jsonl"),
}


def rows(name: str, sizes: dict[str, int] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Both splits of a task. No text is in two rows; labels are even within one row; validation is drawn first."""
    seen: set[tuple[str, ...]] = set()
    sizes = sizes or SIZES
    return {split: list(_split(name, split, sizes[split], seen)) for split in ("validation", "train")}


def _split(name: str, split: str, n: int, seen: set[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    for index, example in enumerate(examples(name, split, n, seen)):
        yield _numbered(name, split, index, TASKS[name].columns(example))


def examples(name: str, split: str, n: int, seen: set[tuple[str, ...]]) -> Iterator[Example]:
    """The n examples of one split, in token form; none that is in ``seen``, which grows."""
    task = TASKS[name]
    counts: dict[Any, int] = {}
    full = -(-n // task.labels) if task.labels else n
    index = tries = 0
    while index < n:
        example = task.example(Chooser(f"{name}/{split}/{tries}"))
        tries += 1
        key = (*example.texts, example.title)
        if key in seen or (task.labels and counts.get(example.label, 0) >= full):
            continue
        seen.add(key)
        counts[example.label] = counts.get(example.label, 0) + 1
        yield example
        index += 1


def _numbered(name: str, split: str, index: int, row: dict[str, Any]) -> dict[str, Any]:
    """The row with the identifying column that the hub's version has."""
    if name == "squad":
        return {"id": f"pocket-{split}-{index}", **row}
    if name == "drop":
        return {"section_id": f"pocket-{split}", "query_id": f"pocket-{split}-{index}", **row}
    return {**row, "idx": index}


def contents(name: str, split_rows: list[dict[str, Any]]) -> str:
    """One split as the text of its file; lines end in a line feed everywhere."""
    if TASKS[name].suffix == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in split_rows)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(split_rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(split_rows)
    return out.getvalue()


def write_tasks(folder: Path, sizes: dict[str, int] | None = None) -> list[Path]:
    """Write every task below ``folder``; the same bytes each time."""
    return [
        write_text_whole(folder / name / f"{split}.{TASKS[name].suffix}", contents(name, split_rows))
        for name in TASKS
        for split, split_rows in rows(name, sizes).items()
    ]
