"""Metrics against values worked out by hand, on evaluate's interface, without network and without a cache."""

from __future__ import annotations

import math
import socket

import evaluate
import numpy as np
import pytest

from beft_lib.answers import ANSWER_METRICS
from beft_lib.errors import DataError, UnknownName
from beft_lib.metrics import LOWEST, METRICS, TaskMetric, measure
from beft_lib.tasks import TASKS

# One confusion table: 3 true positives, 1 false positive, 2 false negatives, 2 true negatives.
REFERENCES = [1, 1, 1, 0, 1, 1, 0, 0]
PREDICTIONS = [1, 1, 1, 1, 0, 0, 0, 0]
BY_HAND = {
    "accuracy": 5 / 8,
    "f1": 2 * 3 / (2 * 3 + 1 + 2),
    "macro_f1": (2 * 3 / (2 * 3 + 1 + 2) + 2 * 2 / (2 * 2 + 2 + 1)) / 2,
    "matthews": (3 * 2 - 1 * 2) / math.sqrt(4 * 5 * 3 * 4),
}
X, Y = [1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 2.0, 5.0]
CORRELATIONS = {
    "pearson": 5.0 / math.sqrt(5.0 * 10.0),  # sums of products of deviations: xy 5, xx 5, yy 10
    "spearman": 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15),  # ranks 1 2 3 4 against 1 3 2 4
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any socket is an error: evaluate.load would fetch a script."""

    def refuse(*args, **kwargs):
        raise AssertionError("a metric asked for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_every_metric_is_worked_out_by_hand_here():
    assert set(METRICS) == set(BY_HAND) | set(CORRELATIONS)
    assert {name for row in TASKS.values() for name in row.metrics} <= set(METRICS) | set(ANSWER_METRICS)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_class_metric_by_hand(name):
    got = TaskMetric([name]).compute(predictions=PREDICTIONS, references=REFERENCES) or {}
    assert got == {name: pytest.approx(BY_HAND[name], abs=1e-15)}
    assert type(got[name]) is float


@pytest.mark.parametrize("name", CORRELATIONS)
def test_a_correlation_by_hand(name):
    got = TaskMetric([name], regression=True).compute(predictions=Y, references=X)
    assert got == {name: pytest.approx(CORRELATIONS[name], abs=1e-12)}


def test_three_classes_by_hand():
    """Macro-F1 counts each class alike: class 2 is never predicted and scores 0."""
    got = measure(["macro_f1", "accuracy"], [0, 0, 1, 1], [0, 1, 1, 2])
    assert got["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3, abs=1e-15) and got["accuracy"] == 0.5


@pytest.mark.parametrize("name", METRICS)
def test_the_best_is_1_and_the_worst_is_the_lowest(name):
    right = [0.0, 1.0] * 3 if name in CORRELATIONS else [0, 1] * 3
    assert measure([name], right, right)[name] == pytest.approx(1)
    assert measure([name], [1 - x for x in right], right)[name] == pytest.approx(LOWEST.get(name, 0.0))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("constant", [0, 1])
def test_constant_predictions_are_a_number(name, constant, recwarn):
    """A model that always says the same is usual after too high a learning rate: no NaN, no warning."""
    references = [0.0, 1.0, 1.0, 0.0] if name in CORRELATIONS else [0, 1, 1, 0]
    got = measure([name], np.full(4, constant, type(references[0])), references)[name]
    expected = {"accuracy": 0.5, "f1": 2 / 3 * constant, "macro_f1": 1 / 3}.get(name, 0.0)
    assert got == pytest.approx(expected)
    assert not [w for w in recwarn if issubclass(w.category, UserWarning | RuntimeWarning)]


def test_constant_references_of_a_correlation():
    assert measure(["pearson", "spearman"], [1.0, 2.0], [3.0, 3.0]) == {"pearson": 0.0, "spearman": 0.0}


# evaluate's interface


def test_batches_and_single_examples_are_the_whole():
    whole = TaskMetric(list(BY_HAND)).compute(predictions=PREDICTIONS, references=REFERENCES)
    metric = TaskMetric(list(BY_HAND))
    for start in (0, 3, 6):
        metric.add_batch(predictions=PREDICTIONS[start : start + 3], references=REFERENCES[start : start + 3])
    assert metric.compute() == whole
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        metric.add(prediction=prediction, reference=reference)
    assert metric.compute() == whole  # and what was added before is gone


def test_combine():
    both = evaluate.combine([TaskMetric(["accuracy"]), TaskMetric(["matthews"])])
    got = both.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert got == {name: pytest.approx(BY_HAND[name]) for name in ("accuracy", "matthews")}


@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if not row.answers])
def test_every_task_is_scored_by_what_its_row_names(name):
    row = TASKS[name]
    answers = np.array(X if row.regression else [0, 1, 0, 1])
    got = TaskMetric(row.metrics, row.regression).compute(predictions=answers, references=answers) or {}
    assert list(got) == list(row.metrics) and all(value == pytest.approx(1) for value in got.values())


def test_several_metrics_at_once_and_side_by_side():
    one, two = TaskMetric(["accuracy"]), TaskMetric(["accuracy"])
    one.add_batch(predictions=[0, 0], references=[0, 0])
    two.add_batch(predictions=[1, 1], references=[0, 0])
    assert one.compute() == {"accuracy": 1.0} and two.compute() == {"accuracy": 0.0}


def test_nothing_is_written_to_the_user_s_cache(tmp_path, monkeypatch):
    """Where the home folder is read-only (a class on one server), a metric works all the same."""
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", blocked / "metrics")
    with pytest.raises(OSError):
        (blocked / "metrics").mkdir(parents=True)
    metric = TaskMetric(["accuracy"])
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    assert metric.compute() == {"accuracy": 0.5}


# What is refused


def test_a_metric_that_is_none():
    with pytest.raises(UnknownName, match=r"Unknown metric 'acuracy'.*Did you mean 'accuracy'"):
        TaskMetric(["acuracy"])


@pytest.mark.parametrize("predictions, references", [([], []), ([1], [1, 0]), ([[1, 0]], [[1, 0]])])
def test_shapes_that_do_not_fit(predictions, references):
    with pytest.raises(DataError, match=r"as many predictions as references, at least one; got shapes"):
        measure(["accuracy"], predictions, references)


def test_no_folder_is_made_where_nothing_is_written(tmp_path):
    """In a folder that learners share it would belong to the first, and stop the second."""
    made = TaskMetric(["accuracy"], cache_dir=str(tmp_path / "shared"))
    assert made.compute(predictions=PREDICTIONS, references=REFERENCES) == {"accuracy": 5 / 8}
    assert not (tmp_path / "shared").exists()
    kept = TaskMetric(["accuracy"], cache_dir=str(tmp_path / "asked"), keep_in_memory=False)
    assert kept.compute(predictions=PREDICTIONS, references=REFERENCES) == {"accuracy": 5 / 8}
    assert (tmp_path / "asked").is_dir()
