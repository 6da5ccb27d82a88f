"""The table of tasks against the paper, and loading: every source gives the same task, every mistake is named."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from beft_lib import runtime, tasks
from beft_lib.answers import ANSWER_METRICS
from beft_lib.errors import DataError, ModelError, UnknownName
from beft_lib.metrics import METRICS
from beft_lib.task_table import REVISIONS
from beft_lib.tasks import SHIPPED, TASKS, TaskRow, load_task

# PAPER.md, "The recipes": low, medium, high, learning rate of the biases, epochs, metrics (ours for cb and wic).
PAPER = {
    "cola": ((1710, 3420, 4275), 7e-4, 16, ("matthews",)),
    "mnli": ((1000, 5000, 9000), 1e-4, 30, ("accuracy",)),
    "mrpc": ((367, 1191, 1835), 7e-4, 60, ("accuracy", "f1")),
    "qnli": ((1000, 5000, 9000), 1e-4, 30, ("accuracy",)),
    "qqp": ((1000, 5000, 9000), 4e-4, 30, ("accuracy", "f1")),
    "rte": ((300, 900, 1200), 1e-3, 30, ("accuracy",)),
    "sst2": ((1000, 5000, 11000), 4e-4, 16, ("accuracy",)),
    "stsb": ((287, 1150, 2300), 1e-4, 60, ("spearman", "pearson")),
    "cb": ((250,), 1e-3, 60, ("macro_f1", "accuracy")),
    "wic": ((1000,), 1e-3, 16, ("accuracy",)),
    "squad": ((1000,), 1e-3, 5, ("squad_f1", "squad_exact")),
    "drop": ((1000,), 1e-3, 5, ("drop_f1", "drop_exact")),
}
# GLUE's and SuperGLUE's own columns and label order on the hub: what a file downloaded from there holds.
HUB = {
    "cola": (("sentence",), ("unacceptable", "acceptable")),
    "mnli": (("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "mrpc": (("sentence1", "sentence2"), ("not_equivalent", "equivalent")),
    "qnli": (("question", "sentence"), ("entailment", "not_entailment")),
    "qqp": (("question1", "question2"), ("not_duplicate", "duplicate")),
    "rte": (("sentence1", "sentence2"), ("entailment", "not_entailment")),
    "sst2": (("sentence",), ("negative", "positive")),
    "stsb": (("sentence1", "sentence2"), ()),
    "cb": (("premise", "hypothesis"), ("entailment", "contradiction", "neutral")),
    "wic": (("word", "sentence1", "sentence2"), ("different", "same")),
    "squad": (("title", "question", "context"), ()),
    "drop": (("question", "passage"), ()),
}
SHIPPED_TASKS = [
    (source, name)
    for source in SHIPPED
    for name in TASKS
    if any((runtime.data_folder() / source / name).glob("train.*"))
]


def examples(row: TaskRow, n: int) -> list[dict[str, Any]]:
    """n examples in the task's columns, each different, labels in turn."""
    label = (lambda i: i % 6 / 1.0) if row.regression else (lambda i: i % len(row.labels))
    if row.answers:
        label = "answer {}".format
    return [{**{c: f"{c} number {i}" for c in row.columns}, "label": label(i)} for i in range(n)]


def nested(row: TaskRow, example: dict[str, Any]) -> dict[str, Any]:
    """An example as the hub has it: the right answers below a column of their own, beside other fields."""
    if not row.answers:
        return example
    column, field = row.answers.split(".")
    return {**{k: v for k, v in example.items() if k != "label"}, column: {field: [example["label"]], "other": [0]}}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        Dataset.from_list(rows).to_parquet(path)


def folder_of(base: Path, row: TaskRow, n: int = 30, suffix: str = ".csv") -> Path:
    folder = base / f"{row.name}{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"train{suffix}", examples(row, n))
    write(folder / f"validation{suffix}", examples(row, 6))
    return folder


# The table


def test_the_paper_s_tasks_are_the_table_s():
    assert set(TASKS) == set(PAPER) == set(HUB)


@pytest.mark.parametrize("name", TASKS)
def test_a_row_is_the_paper_s(name):
    row, (sizes, learning_rate, epochs, metrics) = TASKS[name], PAPER[name]
    assert row.name == name
    assert dict(row.sizes) == dict(zip(("low", "medium", "high"), sizes, strict=False))
    assert (row.learning_rate, row.epochs, row.metrics) == (learning_rate, epochs, metrics)
    assert (row.columns, row.labels) == HUB[name]
    assert set(row.metrics) <= set(METRICS) | set(ANSWER_METRICS)
    assert row.regression == (row.label_range != (0.0, 0.0)) == (name == "stsb")
    assert len(row.texts) in (1, 2)


@pytest.mark.parametrize("name", TASKS)
def test_what_the_model_reads_holds_every_column(name, tmp_path):
    task = load_task(name, folder_of(tmp_path, TASKS[name]), n_train=4)
    example = task.train[0]
    read = task.texts(example)
    assert len(read) == len(task.row.texts)
    assert all(example[column] in " | ".join(read) for column in task.row.columns)
    assert task.metric == task.row.metrics[0] and task.num_labels == (len(task.row.labels) or 1)


# What ships


def test_something_ships():
    assert {name for source, name in SHIPPED_TASKS if source == "mini"} >= {"sst2", "rte"}


@pytest.mark.parametrize("source, name", SHIPPED_TASKS)
def test_what_ships_loads_with_its_row(source, name):
    task = load_task(name, source)
    assert set(task.train.column_names) == {*task.row.columns, "label"} == set(task.validation.column_names)
    assert len(task.train) <= task.row.sizes["low"] and len(task.validation) > 0
    assert f"{source} (shipped)" in str(task) and str(len(task.train)) in str(task)
    if task.row.answers:
        assert all(right and all(text.strip() for text in right) for right in task.validation["label"])
        return
    labels = set(task.validation["label"])
    if task.row.regression:
        assert all(isinstance(label, float) and 0 <= label <= 5 for label in labels) and len(labels) > 5
    else:
        assert labels == set(range(len(task.row.labels)))


def test_the_profile_decides_where_from_unless_told(monkeypatch):
    choice = runtime.Choice(runtime.PROFILES["laptop"], "a test")
    monkeypatch.setattr(runtime, "choose_profile", lambda: choice)
    assert choice.profile.data == "mini"
    assert load_task("sst2", n_train=4).source == "mini (shipped)"


@pytest.mark.parametrize(
    "decoder, source",
    [("pocket-opt", "pocket"), ("", "pocket"), ("facebook/opt-125m", "mini")],
)
def test_what_is_asked_in_words_comes_from_the_world_of_the_model(decoder, source, monkeypatch):
    def find_model(role):
        if not decoder:
            raise ModelError("none here")
        return runtime.ModelSource(decoder, "", None, "hub", "")

    monkeypatch.setattr(runtime, "choose_profile", lambda: runtime.Choice(runtime.PROFILES["laptop"], "a test"))
    monkeypatch.setattr(runtime, "find_model", find_model)
    assert load_task("sst2", n_train=4, prompted=True).source == f"{source} (shipped)"
    assert load_task("sst2", n_train=4).source == "mini (shipped)"
    if source == "pocket":
        assert load_task("squad", n_train=4).source == "pocket (shipped)"
    else:  # mini has no squad
        with pytest.raises(DataError, match="squad could not be had from the hub"):
            load_task("squad", n_train=4)


def test_a_task_that_does_not_ship_says_so():
    with pytest.raises(DataError, match=r"No data for mnli .*mini.*'hub'"):
        load_task("mnli", "mini")


# Subsets


def texts(dataset: Dataset) -> list[str]:
    return list(dataset["sentence"])


def test_a_subset_is_drawn_by_its_seed(tmp_path):
    folder = folder_of(tmp_path, TASKS["sst2"], 40)
    one, same, other = (texts(load_task("sst2", folder, n_train=10, seed=seed).train) for seed in (0, 0, 1))
    assert one == same and set(one) != set(other)
    assert len(set(one)) == 10  # without replacement
    every = [row["sentence"] for row in examples(TASKS["sst2"], 40)]
    assert set(one) <= set(every) and one != every[:10]
    assert texts(load_task("sst2", folder, n_train=20).train)[:10] == one  # a larger subset holds the smaller


def test_validation_is_whole_and_in_order_unless_told(tmp_path):
    folder = folder_of(tmp_path, TASKS["sst2"])
    whole = texts(load_task("sst2", folder, n_train=3, seed=5).validation)
    assert whole == [row["sentence"] for row in examples(TASKS["sst2"], 6)]
    assert len(load_task("sst2", folder, n_train=3, n_validation=2).validation) == 2


def test_sizes_are_at_most_and_n_train_is_exactly(tmp_path):
    folder = folder_of(tmp_path, TASKS["rte"], 310)
    low, medium = load_task("rte", folder), load_task("rte", folder, size="medium")
    assert (len(low.train), len(medium.train)) == (300, 310)
    assert "low" in str(low) and "310 training examples (medium" in str(medium)
    for n in (311, 0, -1):
        with pytest.raises(
            DataError, match=rf"rte from .*: training examples: {n} asked for, 310 there; ask for 1 to 310"
        ):
            load_task("rte", folder, n_train=n)
    with pytest.raises(DataError, match=r"validation examples: 7 asked for, 6 there"):
        load_task("rte", folder, n_validation=7)


# Sources


@pytest.mark.parametrize("name", ["sst2", "stsb", "wic"])
def test_csv_jsonl_and_parquet_give_the_same_task(name, tmp_path):
    loaded = [
        load_task(name, folder_of(tmp_path, TASKS[name], suffix=s), n_train=12) for s in (".csv", ".jsonl", ".parquet")
    ]
    first = loaded[0]
    assert len(first.train) == 12
    for other in loaded[1:]:
        assert other.train.to_list() == first.train.to_list()
        assert other.validation.to_list() == first.validation.to_list()


def test_a_folder_with_a_folder_of_the_task_s_name_in_it(tmp_path):
    row = TASKS["sst2"]
    (tmp_path / "sst2").mkdir()
    for split in ("train", "validation"):
        write(tmp_path / "sst2" / f"{split}.csv", examples(row, 8))
    assert (
        load_task("sst2", tmp_path, n_train=8).train.to_list()
        == load_task("sst2", tmp_path / "sst2", n_train=8).train.to_list()
    )


def test_columns_that_no_template_asks_for_are_left_out(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / f"{split}.csv", [{"idx": i, **row} for i, row in enumerate(examples(TASKS["sst2"], 5))])
    assert set(load_task("sst2", tmp_path, n_train=2).train.column_names) == {"sentence", "label"}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("prefetched", [False, True])
def test_the_hub_is_asked_for_the_row_s_data(name, prefetched, monkeypatch):
    row, asked = TASKS[name], []
    splits = DatasetDict({
        split: Dataset.from_list([{"idx": i, **nested(row, example)} for i, example in enumerate(examples(row, n))])
        for split, n in (("train", 20), (row.validation, 6), ("test", 3))
    })  # fmt: skip
    files = {"train": ["train.parquet"]} if prefetched else None

    def stub(*args: Any, **options: Any) -> DatasetDict:
        asked.append((args, options.get("data_files")))
        return splits

    monkeypatch.setattr(tasks, "load_dataset", stub)
    monkeypatch.setattr(
        runtime, "hub_data", lambda hub, subset: files if (hub, subset) == (row.hub, row.subset) else None
    )
    task = load_task(name, "hub", n_train=10)
    assert asked == [(("parquet",), files) if prefetched else ((row.hub, row.subset), None)]
    assert len(task.train) == 10 and set(task.train.column_names) == {*row.columns, "label"}
    wanted = [{**e, "label": [e["label"]] if row.answers else e["label"]} for e in examples(row, 6)]
    assert task.validation.to_list() == wanted
    assert row.hub in str(task) and row.subset in str(task)


@pytest.mark.parametrize("name", ["cb", "wic"])
def test_what_is_a_script_on_main_is_had_from_the_hub_s_own_conversion(name, monkeypatch):
    row, asked = TASKS[name], []
    splits = DatasetDict({s: Dataset.from_list(examples(row, 12)) for s in ("train", "validation")})

    def stub(*args: Any, **options: Any) -> DatasetDict:
        asked.append((args, {name: value for name, value in options.items() if name != "cache_dir"}))
        if "revision" not in options:
            raise RuntimeError("Dataset scripts are no longer supported, but found super_glue.py")
        return splits

    monkeypatch.setattr(tasks, "load_dataset", stub)
    monkeypatch.setattr(runtime, "hub_data", lambda hub, subset: None)
    assert len(load_task(name, "hub", n_train=10).train) == 10
    converted = {"data_dir": row.subset, "revision": tasks.CONVERTED}
    assert asked == [((row.hub, row.subset), {}), ((row.hub,), converted)] and tasks.CONVERTED in REVISIONS


def test_another_runtime_error_of_the_hub_is_not_asked_again(monkeypatch):
    asked = []

    def stub(*args: Any, **options: Any) -> None:
        asked.append(args)
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(tasks, "load_dataset", stub)
    monkeypatch.setattr(runtime, "hub_data", lambda hub, subset: None)
    with pytest.raises(DataError, match=r"aps/super_glue, cb.*RuntimeError"):
        load_task("cb", "hub")
    assert len(asked) == 1


def test_a_hub_that_cannot_be_had_says_the_way_out(monkeypatch):
    def stub(*args: Any, **options: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(tasks, "load_dataset", stub)
    monkeypatch.setattr(runtime, "hub_data", lambda hub, subset: None)
    with pytest.raises(DataError, match=r"nyu-mll/glue, rte.*ConnectionError.*data='mini'.*prefetch") as error:
        load_task("rte", "hub")
    assert isinstance(error.value.__cause__, ConnectionError)


# Mistakes, for every task


def test_names_that_are_none():
    with pytest.raises(UnknownName, match=r"Unknown task 'sst'.*Did you mean 'sst2'.*cola, mnli"):
        load_task("sst")
    with pytest.raises(UnknownName, match=r"size for cb 'high'.*Known: low"):
        load_task("cb", size="high")


@pytest.mark.parametrize("name", TASKS)
def test_every_column_is_needed(name, tmp_path):
    row = TASKS[name]
    for column in (*row.columns, "label"):
        folder = folder_of(tmp_path / column, row, 4)
        write(folder / "train.csv", [{k: v for k, v in e.items() if k != column} for e in examples(row, 4)])
        needs = re.escape(f"no column '{column}', which {name} needs ({', '.join(row.columns)}, label); it has ")
        with pytest.raises(DataError, match=rf"train\.csv: {needs}'"):
            load_task(name, folder)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if not row.answers])
def test_an_unknown_label_is_named_with_its_line_and_the_known_ones(name, suffix, tmp_path):
    row = TASKS[name]
    folder = folder_of(tmp_path, row, 4, suffix)
    for value in ("perhaps", "-1", "", "99", "nan", "0.5" if not row.regression else "5.5"):
        wrong = [{**e, "label": value if i == 2 else str(e["label"])} for i, e in enumerate(examples(row, 4))]
        write(folder / f"validation{suffix}", wrong)
        expected = (
            "should be a number from 0 to 5" if row.regression else f"expected 0 ({row.labels[0]}), 1 ({row.labels[1]})"
        )
        line = 4 if suffix == ".csv" else 3
        with pytest.raises(DataError) as error:
            load_task(name, folder)
        told = str(error.value)
        assert f"validation{suffix}, line {line}: " in told and f"label {value!r}" in told, told
        assert expected in told and name in told


@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if row.labels])
def test_labels_by_number_or_by_name(name, tmp_path):
    row = TASKS[name]
    folder = folder_of(tmp_path, row, 6)
    spelled = [
        str,
        lambda i: row.labels[i],
        lambda i: f"{i}.0",
        lambda i: f" {i} ",
    ]  # pandas writes 1.0 where one is missing
    for spell in spelled:
        write(folder / "validation.csv", [{**e, "label": spell(e["label"])} for e in examples(row, 6)])
        assert list(load_task(name, folder, n_train=1).validation["label"]) == [e["label"] for e in examples(row, 6)]


@pytest.mark.parametrize("value, shown", [("", "''"), ("   ", "'   '")])
def test_a_text_that_is_blank(value, shown, tmp_path):
    row = TASKS["rte"]
    folder = folder_of(tmp_path, row, 4)
    write(
        folder / "train.csv",
        [{**e, "sentence2": value if i == 1 else e["sentence2"]} for i, e in enumerate(examples(row, 4))],
    )
    with pytest.raises(DataError, match=rf"train.csv, line 3: column 'sentence2' should hold a text, found {shown}"):
        load_task("rte", folder)


@pytest.mark.parametrize("value", [None, 5, ["a"]])
def test_a_text_that_is_none(value, tmp_path):
    row = TASKS["sst2"]
    folder = folder_of(tmp_path, row, 4, ".jsonl")
    write(folder / "train.jsonl", [*examples(row, 2), {"sentence": value, "label": 0}])
    with pytest.raises(
        DataError, match=rf"train.jsonl, line 3: .*'sentence' should hold a text, found {re.escape(repr(value))}"
    ):
        load_task("sst2", folder)


def test_an_object_without_the_column_further_down(tmp_path):
    folder = folder_of(tmp_path, TASKS["sst2"], 4, ".jsonl")
    write(folder / "train.jsonl", [*examples(TASKS["sst2"], 2), {"text": "a", "label": 0}])
    with pytest.raises(DataError, match=r"train.jsonl, line 3: column 'sentence' should hold a text, found None"):
        load_task("sst2", folder)


def test_a_folder_that_is_none(tmp_path):
    for data in (tmp_path / "nowhere", folder_of(tmp_path, TASKS["sst2"]) / "train.csv"):
        with pytest.raises(
            DataError, match=rf"No data for sst2 at {re.escape(str(data))}.*train.csv and validation.csv.*mini"
        ):
            load_task("sst2", data)


def test_a_folder_without_validation(tmp_path):
    folder = folder_of(tmp_path, TASKS["sst2"])
    (folder / "validation.csv").unlink()
    with pytest.raises(DataError, match=r"split 'validation' .*it holds train.csv"):
        load_task("sst2", folder)


# Free answers, and prompts


@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if row.answers])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_right_answers_as_the_hub_nests_them(name, suffix, tmp_path):
    row = TASKS[name]
    for split, n in (("train", 8), ("validation", 3)):
        write(tmp_path / f"{split}{suffix}", [nested(row, e) for e in examples(row, n)])
    task = load_task(name, tmp_path, n_train=8)
    assert task.validation["label"][:] == [[f"answer {i}"] for i in range(3)] and task.prompt is not None
    column, field = row.answers.split(".")
    for wrong in ([], [""], [3]):
        bad = {**nested(row, examples(row, 1)[0]), column: {field: wrong}}
        if suffix == ".jsonl":
            write(tmp_path / "validation.jsonl", [nested(row, examples(row, 1)[0]), bad])
            with pytest.raises(DataError, match=rf"validation.jsonl, line 2: no right answer, found .*{name} needs"):
                load_task(name, tmp_path, n_train=8)


def test_a_prompted_task_has_the_sizes_and_the_recipe_of_the_decoders(tmp_path):
    folder = folder_of(tmp_path, TASKS["cb"], 300)
    plain, prompted = load_task("cb", folder), load_task("cb", folder, prompted=True)
    assert (plain.prompt, plain.metric, plain.recipe["learning_rate"]) == (None, "macro_f1", 1e-3)
    assert prompted.metric == "accuracy" and prompted.recipe["learning_rate"] == 1e-2 and len(prompted.train) == 250
    with pytest.raises(UnknownName, match=r"task with a prompt 'stsb'.*Known: sst2, rte"):
        load_task("stsb", prompted=True)
    with pytest.raises(DataError, match="squad is answered in words"):
        load_task("squad", prompted=False)
