"""Files of one's own: the same task from every kind of file, every mistake named by line, and the way to an adapter."""

from __future__ import annotations

import argparse
import json
import math
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_reading
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import beft_lib
from beft_lib import commands_own, load_adapter, load_model, merge_adapter, predict, prompting, save_adapter
from beft_lib.adapter_folder import OWN, digest
from beft_lib.asked import look
from beft_lib.demonstrations import answer_ids
from beft_lib.errors import AdapterError, DataError, DataWarning, ModelError, TrainingError, UnknownName
from beft_lib.experiments import Grid, run_grid
from beft_lib.models import load_tokenizer
from beft_lib.own_columns import KINDS
from beft_lib.own_data import FEW, HELD, TRAIN, UNEVEN
from beft_lib.own_tuning import OwnRun, _resampled
from beft_lib.pocket.tokenizer import make_tokenizer
from beft_lib.pocket.untrained import make_model
from beft_lib.probing import probe
from beft_lib.reading import SUFFIXES
from beft_lib.tuning import fine_tune

pytestmark = pytest.mark.filterwarnings("ignore::beft_lib.errors.DataWarning")
SIZE = 40
own_task: Any = beft_lib.own_task  # for type checkers: what may be None is looked into without asking
tune_own: Any = beft_lib.tune_own


def text(number: int) -> str:
    return f"she saw film {number} and it was {'good' if number % 2 else 'bad'} ."


# One row a kind: its examples as a file would have them, and what the task must then say.
EXAMPLES: dict[str, Any] = {
    "single": lambda i: {"review": text(i), "label": ["negative", "positive"][i % 2]},
    "pair": lambda i: {"premise": text(i), "hypothesis": text(i + 1), "label": i % 3},
    "regression": lambda i: {"text": text(i), "score": i % 9 / 2},
    "choice": lambda i: {
        "question": f"what was film {i} ?", "option1": "good", "option2": f"bad {i}", "option3": "slow",
        "answer": "ABC"[i % 3],
    },
    "answer": lambda i: {"prompt": f"what was film {i} ?", "answer": "good and quick" if i % 2 else "bad"},
}  # fmt: skip


def examples(kind: str, n: int = SIZE) -> list[dict[str, Any]]:
    return [EXAMPLES[kind](i) for i in range(n)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    test_reading.WRITE[path.suffix](path, rows)
    return path


def told(call: Any, *names: str) -> str:
    """The message of a DataError, which must hold every one of ``names``."""
    with pytest.raises((DataError, UnknownName)) as error:
        call()
    for name in names:
        assert name in str(error.value), (name, str(error.value))
    return str(error.value)


def noted(call: Any) -> tuple[Any, str]:
    """What a call returns, and the DataWarnings on the way."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = call()
    return found, "\n".join(str(one.message) for one in seen if issubclass(one.category, DataWarning))


def changed(rows: list[dict[str, Any]], place: int, **cells: Any) -> list[dict[str, Any]]:
    return [{**row, **cells} if number == place else row for number, row in enumerate(rows)]


def line_of(place: int, suffix: str) -> int:
    return place + (2 if suffix == ".csv" else 1)


# What is read


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_and_is_an_ordinary_task(kind, tmp_path):
    made = [own_task(write(tmp_path / f"my data{suffix}", examples(kind))) for suffix in SUFFIXES]
    task = made[0]
    for other in made[1:]:
        assert other.train.to_list() == task.train.to_list() and other.row == task.row and other.prompt == task.prompt
        assert other.validation.to_list() == task.validation.to_list()
    assert (task.name, len(task.train), len(task.validation)) == ("my-data", 32, 8)
    assert set(task.train.column_names) == {*task.row.columns, "label"}
    assert task.row.regression == (kind == "regression") and bool(task.prompt) == (kind in ("choice", "answer"))
    assert len(task.row.texts) == (2 if kind == "pair" else 1) and task.recipe["epochs"] == 60
    label = task.train[0]["label"]
    assert isinstance(label, {"regression": float, "answer": list}.get(kind, int))
    read = " ".join(task.texts(task.train[0]))
    asked = (
        read if task.prompt is None else task.prompt.ask(task.train[0]) + "".join(task.prompt.candidates(task.train[0]))
    )
    assert all(task.train[0][column] in asked for column in task.row.columns)
    explicit = own_task(tmp_path / "my data.csv", kind=kind)
    assert explicit.row == task.row and explicit.train.to_list() == task.train.to_list()


VALUES = {  # the same labels, spelt in ways that one kind of file or another writes them
    "words": (["negative", "positive"], ("negative", "positive")),
    "whole numbers": ([0, 1], ("0", "1")),
    "whole numbers as a spreadsheet has them": ([10.0, 9.0], ("9", "10")),
    "booleans": ([True, False], ("false", "true")),
    "capitals of booleans": (["TRUE", "False"], ("false", "true")),
    "braces": (["{a}", "b}"], ("b}", "{a}")),
    "blanks around": ([" no ", "yes"], ("no", "yes")),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", VALUES)
def test_labels_are_the_same_words_however_they_are_written(case, suffix, tmp_path):
    values, labels = VALUES[case]
    rows = [{"text": text(i), "label": values[i % 2]} for i in range(SIZE)]
    task = own_task(write(tmp_path / f"t{suffix}", rows), prompted=True)
    assert task.row.labels == labels
    of = {row["text"]: row["label"] for row in rows}
    for example in task.train:
        word = of[example["text"]]
        assert task.row.labels[example["label"]] == (
            str(word).lower() if "ool" in case else str(word).strip().split(".")[0]
        )
        assert task.prompt.answer(example) == f" {labels[example['label']]}"


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_any_file_of_a_kind_gives_one_task_in_csv_jsonl_and_parquet(kind, data, tmp_path):
    """Also where it is refused: then with the same message, but for the line that a header moves."""
    words = st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
    rows = [
        {
            column: value
            if column in ("label", "score", "answer") and kind != "answer"
            else f"{value}{data.draw(words)}"
            for column, value in row.items()
        }
        for row in examples(kind, 24)
    ]
    found = []
    for suffix in SUFFIXES:
        path = write(tmp_path / f"t{suffix}", rows)
        try:
            task = own_task(path, drop_missing=True)
            found.append((task.row, task.train.to_list(), task.validation.to_list()))
        except DataError as error:
            found.append(re.sub(r"t\.\w+|lines? [\d, ]+", "", str(error)))
    assert found[0] == found[1] == found[2]


def test_columns_that_only_a_person_can_tell(tmp_path):
    rows = [{"id": i, "headline": text(i), "body text": text(i + 1), "verdict": "ab"[i % 2]} for i in range(SIZE)]
    path = write(tmp_path / "t.csv", rows)
    told(lambda: own_task(path), "which column holds", "id, headline, body text, verdict", "text='COLUMN'", "kind=")
    one, note = noted(lambda: own_task(path, text="headline", label="verdict"))
    two = own_task(path, text=("headline", "body text"), label="verdict")
    assert one.row.texts == ("{text}",) and two.row.texts == ("{text1}", "{text2}") and "does not look" not in note
    of = {row["headline"]: row["body text"] for row in rows}
    assert all(of[example["text1"]] == example["text2"] for example in two.train)
    told(lambda: own_task(path, text="headlin", label="verdict"), "Did you mean 'headline'?")
    told(lambda: own_task(path, text="headline", label="verdict", kind="pair"), "how headline is a pair")
    told(lambda: own_task(path, kind="singel"), "Did you mean 'single'?", "regression: one text or two, a number")


FOUND = {
    "one column beside the label": (["id", "headline", "label"], "single", ("headline",)),
    "a pair and a label of any name": (["question1", "question2", "is_duplicate"], "pair", ("question1", "question2")),
    "capitals": (["Sentence1", "Sentence2", "Label"], "pair", ("Sentence1", "Sentence2")),
    "a question alone": (["question", "answer"], "answer", ("question",)),
    "a known text among others": (["title", "text", "label"], "single", ("text",)),
}


@pytest.mark.parametrize("case", FOUND)
def test_columns_are_found_by_name(case, tmp_path):
    header, kind, read = FOUND[case]
    rows = [{c: "xy"[i % 2] if c == header[-1] else f"{c} {i}" for c in header} for i in range(SIZE)]
    task, note = noted(lambda: own_task(write(tmp_path / "t.csv", rows)))
    assert (len(task.row.texts), bool(task.row.answers)) == (2 if kind == "pair" else 1, kind == "answer")
    said = task.train[0][task.row.columns[0]]
    assert said.startswith(read[0]) and ("does not look at title" in note) == ("title" in header)


@pytest.mark.parametrize("header", [["text", "review", "label"], ["a", "b", "c"], ["text", "label", "class"], ["text"]])
def test_columns_in_doubt_are_asked_for(header, tmp_path):
    path = write(tmp_path / "t.csv", [{c: f"{c}{i % 2}" for c in header} for i in range(SIZE)])
    told(lambda: own_task(path), "not certain which column", ", ".join(header))


def test_options_in_a_list_and_every_way_to_say_which(tmp_path):
    columns = examples("choice")
    wanted = own_task(write(tmp_path / "t.csv", columns))
    assert wanted.prompt.varies and wanted.row.labels == ("A", "B", "C") and wanted.metrics == ("accuracy",)
    options = [[row[f"option{n}"] for n in (1, 2, 3)] for row in columns]
    ways = {
        "text": [some["ABC".index(row["answer"])] for some, row in zip(options, columns, strict=True)],
        "letter": [row["answer"].lower() for row in columns],
        "from 0": ["ABC".index(row["answer"]) for row in columns],
        "from 1": ["ABC".index(row["answer"]) + 1 for row in columns],
    }
    for way, values in ways.items():
        rows = [
            {"question": r["question"], "choices": o, "label": v}
            for r, o, v in zip(columns, options, values, strict=True)
        ]
        task = own_task(write(tmp_path / f"{way}.jsonl", rows))
        assert task.train.to_list() == wanted.train.to_list(), way
    unclear = [{**row, "answer": 1 + i % 2} for i, row in enumerate(columns)]
    told(lambda: own_task(write(tmp_path / "u.csv", unclear)), "count from 0 and one from 1", "letters")
    told(lambda: own_task(write(tmp_path / "v.csv", changed(columns, 5, answer="D"))), "v.csv, line 7", "'D'", "letter")
    told(lambda: own_task(write(tmp_path / "w.csv", changed(columns, 5, option3="good"))), "w.csv, line 7", "the same")


def test_semicolons_and_tabs_as_a_spreadsheet_writes_them(tmp_path):
    made = []
    for mark in ",;\t":
        path = tmp_path / f"{ord(mark)}.csv"
        lines = [mark.join(("text", "label")), *(mark.join((text(i), "xy"[i % 2])) for i in range(SIZE))]
        path.write_text("\n".join(lines), encoding="utf-8")
        made.append(own_task(path).train.to_list())
    assert made[0] == made[1] == made[2] and len(made[0]) == 32
    path.write_text("text\tlabel\na\tb\tc\n", encoding="utf-8")
    told(lambda: own_task(path), "line 2: 3 cells where the header has 2", "a tab in it")


# What is refused, with its line


def singles(n: int = SIZE) -> list[dict[str, Any]]:
    return [{"text": text(i), "label": "yes" if i % 2 else "no"} for i in range(n)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("column", ["text", "label"])
@pytest.mark.parametrize("value", ["", "   ", None])
def test_missing_values_are_named_or_dropped(value, column, suffix, tmp_path):
    rows = singles()
    for place in (3, 11, 12, 13, 14, 15, 30):
        rows = changed(rows, place, **{column: value})
    path = write(tmp_path / f"t{suffix}", rows)
    lines = ", ".join(str(line_of(place, suffix)) for place in (3, 11, 12, 13, 14))
    told(
        lambda: own_task(path),
        f"7 of 40 rows have nothing in {column}",
        f"lines {lines} and 2 more",
        "drop_missing=True",
    )
    task, note = noted(lambda: own_task(path, drop_missing=True))
    assert len(task.train) + len(task.validation) == 33 and f"lines {lines} and 2 more" in note


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_label_in_validation_only(suffix, tmp_path):
    train = write(tmp_path / f"train{suffix}", singles())
    for value in ("maybe", "0", "1"):  # a number is no name of a class here, though it could count one
        rows = changed([{"text": f"other {i}", "label": "no"} for i in range(8)], 5, label=value)
        other = write(tmp_path / f"v{suffix}", rows)
        line = line_of(5, suffix)
        told(lambda: own_task(train, other), f"v{suffix}, line {line}", repr(value), "no, yes", "validation only")  # noqa: B023


WRONG: dict[str, tuple[list[dict[str, Any]], dict[str, Any], tuple[str, ...]]] = {
    "one class": ([{**row, "label": "yes"} for row in singles()], {}, ("every one of 40", "'yes'", "nothing to learn")),
    "two spellings": (changed(singles(), 4, label="Yes"), {}, ("'Yes' (line 6)", "'yes' (line 3)", "capitals")),
    "a class of one": (changed(singles(), 4, label="hm"), {}, ("1 of 3 labels", "'hm' (line 6)", "kind='answer'")),
    "amounts or classes": ([{**r, "label": i} for i, r in enumerate(singles())], {}, ("40 different", "regression")),
    "words for numbers": (changed(singles(), 0, label="3"), {"kind": "regression"}, ("line 3", "'yes' is no number")),
    "not a number": (
        [{**r, "label": i / 2 if i < 39 else "nan"} for i, r in enumerate(singles())],
        {"kind": "regression"}, ("line 41", "'nan' is no number"),
    ),
    "one amount": ([{**r, "label": 2.5} for r in singles()], {"kind": "regression"}, ("every label is 2.5",)),
    "lines in an answer": (
        changed(examples("answer"), 7, answer="one\ntwo"), {}, ("line 9", "one line", "Replace line breaks"),
    ),
    "a choice for a classifier's kind": (examples("choice"), {"kind": "pair"}, ("not certain",)),
    "a regression asked in words": (examples("regression"), {"prompted": True}, ("regression", "leave prompted out")),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_learnt_is_refused_with_its_line(case, tmp_path):
    rows, options, says = WRONG[case]
    path = write(tmp_path / "t.csv", rows)
    told(lambda: own_task(path, **options), *says)


ENCODED = {"cp1252": "café – “good”", "utf-16": "café", "utf-16-le": "good"}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_another_encoding_is_named_with_line_and_byte_and_read_when_told(encoding, suffix, tmp_path):
    rows = changed(singles(), 10, text=ENCODED[encoding])
    plain = write(tmp_path / f"plain{suffix}", rows)
    path = tmp_path / f"t{suffix}"
    path.write_bytes(plain.read_bytes().decode("utf-8").encode(encoding))
    line = line_of(10, suffix) if encoding == "cp1252" else 1
    if encoding != "utf-16-le":
        said = told(lambda: own_task(path), f"t{suffix}, line {line}: not UTF-8 (byte 0x", f"encoding='{encoding}'")
        place = int(re.findall(r"at place ([\d,]+)", said)[0].replace(",", ""))
        assert path.read_bytes()[: place - 1].decode("utf-8") is not None  # all before it is UTF-8
    assert own_task(path, encoding=encoding).train.to_list() == own_task(plain, name="t").train.to_list()
    told(lambda: own_task(path, encoding="utf-9"), "Unknown encoding 'utf-9'", "cp1252")


def test_paths_that_are_none(tmp_path):
    told(lambda: own_task(tmp_path / "no.csv"), "No file", "no.csv", ".parquet file")
    told(lambda: own_task(tmp_path), "'train'", "it holds nothing")
    path = write(tmp_path / "t.csv", singles())
    told(lambda: own_task(path, tmp_path / "v.csv"), "No file", "v.csv")
    other = write(tmp_path / "w.csv", [{"text": "a", "other": "yes"}] * 4)
    told(lambda: own_task(path, other), "w.csv: no column 'label'; it has text, other")


# Two parts


def test_a_fifth_is_held_out_by_its_seed_and_by_label(tmp_path):
    rows = [{"text": text(i), "label": "rare" if i % 10 == 0 else "common"} for i in range(100)]
    path = write(tmp_path / "t.csv", rows)
    one, same, other = (own_task(path, seed=seed) for seed in (0, 0, 1))
    assert one.train.to_list() == same.train.to_list() != other.train.to_list()
    for task in (one, other):
        assert Counter(task.train["label"]) == {0: 72, 1: 8} and Counter(task.validation["label"]) == {0: 18, 1: 2}
        assert not set(task.train["text"]) & set(task.validation["text"])
    assert one.seed == 0 and "20% of the file held out" in str(one)


def test_a_folder_of_one_s_own(tmp_path):
    folder = tmp_path / "reviews"
    write(folder / "train.csv", singles())
    assert len(own_task(folder).validation) == 8 and own_task(folder).name == "reviews"
    write(folder / "validation.jsonl", [{"text": f"other {i}", "label": "no"} for i in range(6)])
    whole = own_task(folder)
    assert (len(whole.train), len(whole.validation)) == (40, 6)
    assert whole.train["text"][:] == [row["text"] for row in singles()]  # in the file's order


def test_a_text_on_both_sides_is_dropped_and_said(tmp_path):
    rows = singles()
    twice = [*rows, {**rows[3], "text": rows[3]["text"].upper() + "  "}, {**rows[4], "label": "yes"}]
    task, note = noted(lambda: own_task(write(tmp_path / "t.csv", twice)))
    assert len(task.train) + len(task.validation) == 40
    assert "2 of 42 examples left out (lines 42, 43)" in note and "1 of them with another label (line 43)" in note
    held = write(tmp_path / "v.csv", [rows[0], rows[7], *[{"text": f"other {i}", "label": "no"} for i in range(4)]])
    task, note = noted(lambda: own_task(write(tmp_path / "u.csv", rows), held))
    assert (len(task.train), len(task.validation)) == (38, 6) and not set(task.train["text"]) & set(
        task.validation["text"]
    )
    assert "2 of 40 examples left out (lines 2, 9), since their texts are in v.csv as well" in note


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_examples_are_enough_with_a_warning_and_fewer_are_not(kind, tmp_path):
    assert TRAIN + HELD == 20
    task, note = noted(lambda: own_task(write(tmp_path / "t.csv", examples(kind, 20))))
    assert (len(task.train), len(task.validation)) == (16, 4)
    assert "4 validation examples only, each 25.0% of the score" in note
    told(lambda: own_task(write(tmp_path / "u.csv", examples(kind, 19))), "19 different examples", "20 in one file")


def test_enough_examples_need_no_warning(tmp_path):
    _, note = noted(lambda: own_task(write(tmp_path / "t.csv", singles(FEW * 5))))
    assert note == ""


@pytest.mark.parametrize("rare, metric", [(100, "accuracy"), (50, "accuracy"), (40, "macro_f1"), (4, "macro_f1")])
def test_uneven_classes_are_scored_by_macro_f1(rare, metric, tmp_path):
    rows = [{"text": text(i), "label": "rare" if i < rare else "common"} for i in range(rare + 100)]
    task, note = noted(lambda: own_task(write(tmp_path / "t.csv", rows)))
    counts = Counter(task.train["label"])
    assert (max(counts.values()) > UNEVEN * min(counts.values())) == (metric == "macro_f1")
    assert task.metric == metric and set(task.metrics) == {"macro_f1", "accuracy"}
    assert ("uneven classes" in note and f"{counts[0]} common" in note) == (metric == "macro_f1")


def test_whole_numbers_are_classes_with_a_word_about_it_and_large_amounts_are_noted(tmp_path):
    stars = [{"text": text(i), "stars": 1 + i % 5} for i in range(SIZE)]
    path = write(tmp_path / "t.csv", stars)
    task, note = noted(lambda: own_task(path))
    assert task.row.labels == ("1", "2", "3", "4", "5") and "kind='regression'" in note
    task, note = noted(lambda: own_task(path, kind="regression"))
    assert task.row.regression and task.row.label_range == (1.0, 5.0) and "divide" not in note
    prices = [{"text": text(i), "label": 100.5 + i} for i in range(SIZE)]
    assert "divide them" in noted(lambda: own_task(write(tmp_path / "p.csv", prices)))[1]


# To an adapter


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("bert") / "tiny-bert")


@pytest.fixture(scope="module")
def opt(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("opt") / "tiny-opt"
    torch.manual_seed(0)
    tokenizer = make_tokenizer("opt")
    model = make_model("opt", tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


QUICK = {"epochs": 1, "learning_rate": 1e-2, "progress": False}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_becomes_an_adapter_that_answers_in_words(kind, bert, opt, tmp_path):
    path = write(tmp_path / "mine.csv", examples(kind))
    base = opt if kind in ("choice", "answer") else bert
    result = tune_own(path, base, save=tmp_path / "adapter", epochs=1, learning_rate=1e-2, progress=False)
    task = result.task
    assert result.probe is not None and result.run.method == result.probe.best and result.saved == tmp_path / "adapter"
    assert result.plain.method == ("zero_shot" if task.prompt else "head")
    low, high = result.interval
    assert math.isnan(low) or low <= result.run.score <= high
    assert result.gain[0] == pytest.approx(result.run.score - result.plain.score)
    assert any("8 validation examples only" in note for note in result.notes)
    for part in (
        f"{result.run.score:.3f}",
        result.constant[0],
        "validation examples",
        "adapter",
        "by the method",
        "chance",
    ):
        assert part in f"{result}chance", (part, str(result))
    # what was saved answers as the tuned model does, for the validation examples and in words
    new = [tuple(example[c] for c in task.row.columns) for example in task.validation]
    said = predict(tmp_path / "adapter", new, base=base)
    assert said == predict(result.run.model, new, task)
    assert (
        predict(tmp_path / "adapter", [dict(zip(task.row.columns, one, strict=True)) for one in new], base=base) == said
    )
    if kind in ("single", "pair", "choice"):
        numbers = task.validation["label"]
        words = [new[i][1:][n] if kind == "choice" else task.row.labels[n] for i, n in enumerate(numbers)]
        right = np.mean([a == b for a, b in zip(said, words, strict=True)])
        assert right == pytest.approx(result.run.metrics["accuracy"])
    else:
        assert all(isinstance(one, float if kind == "regression" else str) for one in said)


def test_the_scores_of_a_learnable_file(bert, tmp_path):
    """The effect is there: a tuned model beats the constant, and the words it says are right."""
    folder = tiny.write_task(tmp_path / "mine", 96)
    result = tune_own(folder, bert, method="full", label="label", epochs=10, learning_rate=3e-3, progress=False)
    assert result.run.score > result.constant[1] + 0.2 and result.constant[1] <= 0.6
    assert predict(result.run.model, ["the film was good , a book .", "the food was bad ."], result.task) == ["1", "0"]


@pytest.mark.parametrize("kind", ["pair", "regression", "choice", "answer"])
def test_everything_else_takes_the_task_as_it_is(kind, bert, opt, tmp_path):
    task = own_task(write(tmp_path / "mine.csv", examples(kind, 24)))
    model = load_model(opt if task.prompt else bert, task)
    assert probe(model, task, **QUICK).best in ("query", "key", "value")
    run = fine_tune(model, task, "value", **QUICK)
    save_adapter(run, tmp_path / "a")
    kept = model.state_dict()
    load_adapter(load_model(opt if task.prompt else bert, task), tmp_path / "a")
    assert all(bool(torch.isfinite(value).all()) for value in kept.values())
    grid = Grid(opt if task.prompt else bert, [task], ["value"], changes={"epochs": 1})
    (row,) = run_grid(grid, tmp_path / "rows.json", progress=False)
    assert row["task"] == "mine" and row["n_train"] == len(task.train)
    assert list(run_grid(grid, tmp_path / "rows.json", progress=False)) == []  # none is done twice
    if task.prompt:
        assert 0 <= fine_tune(model, task, "zero_shot").score <= 1


def test_an_encoder_is_not_asked_and_says_the_way_out(bert, tmp_path):
    task = own_task(write(tmp_path / "mine.csv", examples("choice")))
    with pytest.raises(ModelError, match=r"fills gaps .*Use a decoder \(opt\)"):
        load_model(bert, task)


def test_options_of_an_example_s_own_are_scored_as_fixed_ones_are(opt, tmp_path):
    """By hand: the mean log-probability of an option's tokens, one row, no padding; and the same as a fixed choice."""
    task = own_task(write(tmp_path / "mine.csv", examples("choice")))
    model = load_model(opt, task)
    tokenizer = load_tokenizer(model)
    found: Any = prompting.ask(model, task)
    shown: list[list[str]] = []
    for example, scores in zip(task.validation, found.scores, strict=True):
        ids = tokenizer(task.prompt.ask(example))["input_ids"]
        for option, score in zip(task.prompt.candidates(example), scores, strict=True):
            answer = answer_ids(option, tokenizer)
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*ids, *answer]])).logits[0].double().log_softmax(-1)
            by_hand = np.mean([logits[len(ids) - 1 + i, token].item() for i, token in enumerate(answer)])
            assert score == pytest.approx(by_hand, abs=1e-4)
        seen = look(model, task, len(shown), shots=0)  # lesson 06's playground
        shown.append(list(seen.answers))
        assert shown[-1] == [option.strip() for option in task.prompt.candidates(example)]
        assert list(seen.answers.values()) == pytest.approx(scores.tolist(), abs=1e-4)
    assert len(set(map(tuple, shown))) == len(task.validation)


def test_long_texts_are_counted_and_said(bert, tmp_path):
    rows = changed(singles(), 5, text="good film " * 60)
    rows = changed(rows, 6, text="bad film " * 20)
    path = write(tmp_path / "mine.csv", rows)
    long = [row["text"] for row in rows[5:7]]
    task = own_task(path)
    held = sum(text in long for text in task.validation["text"])
    model = load_model(bert, task)
    (run, note) = noted(lambda: fine_tune(model, task, "head", max_length=30, **QUICK))
    if held < 2:
        assert f"{2 - held} of 32 texts are longer than 30 tokens (the longest has " in note and "max_length" in note
    (run, note) = noted(lambda: fine_tune(model, task, "head", max_length=128, **QUICK))
    assert (
        "1 of " in note
        and "longer than 64 tokens (the longest has 122)" in note
        and "all that this model reads" in note
    )
    short = own_task(write(tmp_path / "short.csv", singles()))
    assert noted(lambda: fine_tune(model, short, "head", **QUICK))[1] == "" and run.score >= 0


def test_a_mistake_is_told_before_anything_is_loaded(bert, tmp_path):
    path = write(tmp_path / "mine.csv", singles())
    nowhere = tmp_path / "no model"
    full = tmp_path / "full"
    write(full / "notes.csv", singles())
    for options, error in (
        ({"epoch": 2}, UnknownName), ({"method": "valu"}, UnknownName), ({"epochs": 0}, TrainingError),
        ({"save": full}, AdapterError), ({"labels": "x"}, UnknownName),
    ):  # fmt: skip
        with pytest.raises(error):
            tune_own(path, nowhere, **options)
    assert (full / "notes.csv").is_file()


def test_an_interval_that_cannot_be_seen_is_none():
    assert all(map(math.isnan, _resampled(lambda at: 1.0, 9, 0)))
    assert all(map(math.isnan, _resampled(lambda at: float(at.mean()), 1, 0)))
    spread = 200 / math.sqrt(12 * 200)  # of the mean of 200 numbers, 0 to 199
    low, high = _resampled(lambda at: float(at.mean()), 200, 0)
    assert low == pytest.approx(99.5 - 1.96 * spread, abs=0.25 * spread)
    assert high == pytest.approx(99.5 + 1.96 * spread, abs=0.25 * spread)
    assert (low, high) == _resampled(lambda at: float(at.mean()), 200, 0) != _resampled(lambda at: at.mean(), 200, 1)


VERDICTS = [
    ((0.2, 0.1, 0.3), "better than head on"),
    ((0.1, -0.1, 0.3), "not shown to be"),
    ((0.1, math.nan, math.nan), "not shown to be"),
    ((-0.2, -0.3, -0.1), "worse than head"),
]


@pytest.mark.parametrize("gain, says", VERDICTS)
def test_the_verdict_is_the_interval_s(gain, says, bert, tmp_path):
    from dataclasses import replace

    task = own_task(write(tmp_path / "mine.csv", singles()))
    run = fine_tune(load_model(bert, task), task, "head", **QUICK)
    result = OwnRun(task, replace(run, method="value"), run, None, ("always 'no'", 0.5), (0.1, 0.9), gain)
    assert result.verdict.startswith(says) and says in str(result)
    json.loads(json.dumps(result.row(), allow_nan=False))


# New texts


def test_what_predict_refuses(bert, tmp_path):
    task = own_task(write(tmp_path / "mine.csv", examples("pair")))
    folder = tmp_path / "a"
    save_adapter(fine_tune(load_model(bert, task), task, "value", **QUICK), folder)
    assert predict(folder, [], base=bert) == []
    for wrong in ("one text alone", ("a", "b", "c"), ("a", " "), {"text1": "a"}):
        with pytest.raises(DataError, match=r"text 1 \(from 0\).*this task reads text1, text2"):
            predict(folder, [("a", "b"), wrong], base=bert)
    with pytest.raises(AdapterError, match=r"'tiny-bert', which is not a model known here: give base="):
        predict(folder, [("a", "b")])
    merged = merge_adapter(fine_tune(load_model(bert, task), task, "value", **QUICK).model)
    onto = save_adapter(fine_tune(merged, task, "query", **QUICK), tmp_path / "onto")
    with pytest.raises(AdapterError, match=r"'tiny-bert, merged', a model made by merge_adapter or fold: give base="):
        predict(onto, [("a", "b")])
    with pytest.raises(DataError, match="predict"):
        predict(load_model(bert, task), [("a", "b")])
    own = json.loads((folder / OWN).read_text(encoding="utf-8"))
    bad = [
        None,
        {},
        {"texts": [3], "prompt": None},
        {"texts": ["{text1.__class__}", "{text2}"], "prompt": None},
        {"texts": ["{a}"], "prompt": {"template": "{a!r}", "answers": []}},
    ]
    for wording in bad:
        told = {**own, "wording": wording}
        (folder / OWN).write_text(json.dumps({**told, "digest": digest(told)}), encoding="utf-8")
        with pytest.raises(AdapterError, match="does not say how texts are put"):
            predict(folder, [("a", "b")], base=bert)
    assert len(predict(folder, [("a", "b")], task, base=bert)) == 1


# The verb


def run_verb(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    commands_own.add_own(parser)
    return commands_own.run_own(parser.parse_args(arguments))


def test_the_verb_from_a_file_to_an_adapter(bert, tmp_path, capsys):
    path = write(tmp_path / "mine.csv", [{"what": row["text"], "how": row["label"]} for row in singles()])
    line = [str(path), "--model", str(bert), "--text", "what", "--label", "how", "--epochs", "1", "--save"]
    assert run_verb(*line, str(tmp_path / "one")) == 0
    out, err = capsys.readouterr()
    for part in (
        "mine from",
        "importance on mine",
        "accuracy on 8 validation examples",
        "head ",
        "always '",
        f"{tmp_path}",
    ):
        assert part in out, (part, out)
    assert err.startswith("note: mine: 8 validation examples only") and err.count("note: ") == 1
    assert run_verb(*line, str(tmp_path / "two"), "--json", "--method", "value") == 0
    out, _ = capsys.readouterr()
    row = json.loads(out)
    assert out.count("\n") == 1 and row["choice"] == "value" and row["importance"] is None and row["n_validation"] == 8
    assert row["notes"] and set(row) >= {"interval", "gain", "constant", "baseline_score", "seconds", "verdict"}
    assert predict(tmp_path / "two", ["the film was good ."], base=bert)[0] in ("no", "yes")
