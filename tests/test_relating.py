"""Score against performance in number: tau by hand, what the three questions tell apart, and honest intervals."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from beft_lib import plots_rulers
from beft_lib.architectures import TERMS
from beft_lib.authoring import sources
from beft_lib.comparing import agreement, cells, split
from beft_lib.display import descriptions
from beft_lib.errors import DataError
from beft_lib.metrics import interval
from beft_lib.plots_rulers import FLOOR
from beft_lib.relating import QUESTIONS, UNSEEN, leads, relation, taus_b, told
from beft_lib.verdicts import shipped

THREE, TWO, TASKS = QUESTIONS
RULER = "importance"


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def a_cell(
    task: int, seed: int, performance: Any, scores: Any, dead: bool = True, model: str = "m", **more: Any
) -> list:
    """The rows of one cell: (query, key, value) performance above a head of .5, and scores of every ruler named."""
    rulers = {name: {"scores": dict(zip(TERMS, of, strict=True)), "seconds": 1.0} for name, of in
              {RULER: scores, **more}.items() if of is not None}  # fmt: skip
    base = {"model": model, "task": f"task {task}", "source": "s", "n_train": 300, "changes": {}, "seed": seed,
            "scored_on": "validation", "metric": "accuracy", "seconds": 1.0}  # fmt: skip
    reached = {**{t: 0.5 + p for t, p in zip(TERMS, performance, strict=True)}, "head": 0.5, "all_biases": 0.6}
    facts = {"rulers": rulers, "key_is_dead": dead}
    return [{**base, "method": m, "score": s, **(facts if m == "all_biases" else {})} for m, s in reached.items()]


def measured(of: Any, tasks: int = 6, seeds: int = 3, **options: Any) -> list[dict[str, Any]]:
    """``of(task, seed)`` gives performance and scores."""
    return [r for t in range(tasks) for s in range(seeds) for r in a_cell(t, s, *of(t, s), **options)]


def taus(rows: list[dict[str, Any]], ruler: str = RULER) -> dict[str, float]:
    table = relation(rows)
    return table[table["ruler"] == ruler].set_index("question")["tau"].to_dict()


def test_taus_are_scipy_s_for_every_draw():
    rng = np.random.default_rng(0)
    x, y = rng.integers(4, size=8).astype(float), rng.integers(4, size=8).astype(float)  # with ties
    draws = rng.integers(8, size=(50, 8))
    expected = [stats.kendalltau(x[at], y[at]).statistic for at in draws]
    assert taus_b(x, y, draws) == pytest.approx(expected, nan_ok=True)
    assert not np.isnan(expected).all() and len(set(np.round(expected, 6))) > 10


def test_a_pair_that_was_not_measured_does_not_count():
    x, y = np.array([1.0, 2.0, np.nan, 3.0]), np.array([1.0, 3.0, 0.0, 2.0])
    assert taus_b(x, y, np.arange(4)[None])[0] == pytest.approx(stats.kendalltau(x[[0, 1, 3]], y[[0, 1, 3]]).statistic)
    assert math.isnan(taus_b(np.ones(4), y, np.arange(4)[None])[0])


# What each question can tell from the others: (performance, scores) of query, key, value by task and seed.
WORLDS: dict[str, tuple[Any, dict[str, float]]] = {
    "the score tells all": (lambda t, s: ((0.01 * t + 0.01, 0, 0.02 * t + 0.02), (0.1 * t + 0.1, 0, 0.2 * t + 0.2)),
                            {THREE: 1, TWO: 1, TASKS: 1}),
    "right within a task, wrong from task to task": (
        lambda t, s: ((0.01 * t + 0.01, 0, 0.02 * t + 0.02), (0.4 - 0.05 * t, 0, 0.8 - 0.05 * t)),
        {THREE: 1, TWO: 1, TASKS: -1}),
    "both beat a dead key, and the wrong one is ahead": (
        lambda t, s: ((0.02 + 0.01 * t, 0, 0.01 + 0.01 * t), (0.1, 0, 0.2 + 0.1 * t)),
        {THREE: 1 / 3, TWO: -1}),
    "the reverse": (lambda t, s: ((0.02, 0.01, 0.0), (1, 2, 3)), {THREE: -1, TWO: -1}),
}  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_three_questions_have_three_answers(name):
    of, expected = WORLDS[name]
    got = taus(measured(of, tasks=5, seeds=2))
    assert {question: got[question] for question in expected} == pytest.approx(expected)


def test_the_order_that_looks_at_nothing_is_there_to_be_beaten():
    rows = measured(lambda t, s: ((0.01, 0, 0.02), (1, 0, 2)))
    assert taus(rows, UNSEEN) == {THREE: 1, TWO: 1}  # and no line for "task to task": it says the same of every task
    rows = measured(lambda t, s: ((0.02, 0, 0.01), (1, 0, 2)))
    assert taus(rows, UNSEEN) == {THREE: pytest.approx(1 / 3), TWO: -1}


def test_a_live_key_takes_part_from_task_to_task_and_a_dead_one_does_not():
    def of(t: int, s: int) -> Any:
        return (0.01 * t, 0.001 * t, 0.01 * t), (t, -t, t)  # the key alone is the other way round

    assert taus(measured(of))[TASKS] == pytest.approx(1)
    assert taus(measured(of, dead=False))[TASKS] == pytest.approx(1 / 3)


def test_tasks_and_not_cells_are_what_an_interval_counts():
    rng = np.random.default_rng(1)
    signs = rng.choice([-1, 1], size=6)
    signs[:2] = -1, 1

    def of(t: int, s: int) -> Any:
        return (0.05, 0, 0.05 + 0.01 * signs[t]), (1, 0, 2)

    def width(seeds: int) -> float:
        line = relation(measured(of, seeds=seeds)).set_index(["ruler", "question"]).loc[(RULER, TWO)]
        assert line["low"] < line["tau"] < line["high"] and line["tasks"] == 6 and line["cells"] == 6 * seeds
        return line["high"] - line["low"]

    assert width(1) == pytest.approx(width(8))  # eight seeds that say the same are no eight times as many tasks


def test_where_tau_is_a_mean_over_tasks_its_interval_is_student_s():
    signs = [1, 1, 1, -1, 1, -1]
    rows = measured(lambda t, s: ((0.05, 0, 0.05 + 0.01 * signs[t]), (1, 0, 2)), seeds=2)
    line = relation(rows).set_index(["ruler", "question"]).loc[(RULER, TWO)]
    half = interval(np.array(signs, dtype=float))
    assert line["low"] == pytest.approx(np.mean(signs) - half) and line["high"] == 1  # never beyond 1
    assert np.mean(signs) + half > 1


def elsewhere(rows: list[dict[str, Any]], *tasks: int) -> list[dict[str, Any]]:
    """The rows of some tasks once more, as if from other data."""
    names = {f"task {task}" for task in tasks}
    return [{**row, "source": f"real/{row['task']}", "n_train": 9} for row in rows if row["task"] in names]


def test_a_second_source_for_one_model_does_not_add_a_task():
    """Else MiniLM on the real RTE beside the mini one would make three tasks of one, left out one by one."""
    rng = np.random.default_rng(3)
    rows = measured(lambda t, s: (0.05 * rng.normal(size=3), rng.random(3)), seeds=2)
    rows += measured(lambda t, s: (0.05 * rng.normal(size=3), rng.random(3)), seeds=2, model="other")
    again = [*rows, *elsewhere([row for row in rows if row["model"] == "m"], 4)]
    assert {"task 4", "task 4 (s)", "task 4 (real)"} < {cell.task for cell in cells(again)}
    one, two = (relation(of).set_index(["ruler", "question"]) for of in (rows, again))
    assert set(two["tasks"]) == {6} and set(two["cells"]) == {26}
    assert two.loc[(RULER, TASKS), ["tau", "low", "high"]].to_numpy() == pytest.approx(
        one.loc[(RULER, TASKS), ["tau", "low", "high"]].to_numpy()
    )
    both = relation([*rows, *elsewhere(rows, 4)]).set_index(["ruler", "question"])  # of both models: the same twice
    numbers = ["tau", "low", "high", "tasks"]
    assert both[numbers].to_numpy(float) == pytest.approx(one[numbers].to_numpy(float), nan_ok=True)
    text = told(again)[0]
    assert "task 3, task 4, task 5; 2 seeds. One task, whatever its source: task 4 (s), task 4 (real)." in text
    assert "whatever its source" not in told(rows)[0]


def test_gains_on_unlike_metrics_are_ranked_on_one_scale():
    """Matthews' of balanced labels is 2 · accuracy - 1: to measure some tasks by it must not change the order."""
    rows = measured(lambda t, s: ((0.02 + 0.01 * t, 0, 0.03 + 0.01 * t), (t, 0, t)))
    mixed = [{**r, "score": 2 * r["score"] - 1} if r["task"] in ("task 0", "task 2") else r for r in rows]
    assert taus(rows)[TASKS] == taus(mixed)[TASKS] == pytest.approx(1)


@pytest.mark.parametrize("tasks", [1, 2])
def test_too_few_tasks_have_no_interval_and_say_so(tasks):
    rows = measured(lambda t, s: ((0.01, 0, 0.02 * (-1) ** s), (1, 0, 2)), tasks=tasks)
    assert relation(rows)[["low", "high"]].isna().all(axis=None)
    assert "too few tasks" in "\n".join(told(rows))


def test_a_model_without_a_ruler_takes_none_from_the_others():
    """A bias-free model has no importance; the others' importance is read all the same, and the difference is told."""
    rows = measured(lambda t, s: ((0.01, 0, 0.02), (1, 0, 2)), magnitude=(2, 0, 1))
    rows += measured(lambda t, s: ((0.01, 0, 0.02), None), tasks=4, dead=False, model="free", magnitude=(2, 0, 1))
    table = relation(rows).set_index(["ruler", "question"])
    assert table.loc[(RULER, TWO), ["tau", "tasks", "cells"]].tolist() == [1, 6, 18]
    assert table.loc[("magnitude", TWO), ["tau", "tasks", "cells"]].tolist() == [-1, 6, 30]
    text = "\n".join(told(rows))
    assert "30 cells" in text and "In m the key bias" in text
    assert "In 12 of them (free) importance is not defined." in text


def test_who_does_not_look_is_asked_about_the_ruler_s_cells_only():
    rows = measured(lambda t, s: ((0.01, 0, 0.02), (1, 0, 2)))
    rows += measured(lambda t, s: ((0.02, 0, 0.01), None), dead=False, model="free")  # here query is better
    assert relation(rows).set_index(["ruler", "question"]).loc[(UNSEEN, TWO), "tau"] < 0.5
    assert f"{RULER}, {TWO}: +1.00" in (text := "\n".join(told(rows))) and f"{UNSEEN}: +1.00." in text


def test_each_kind_of_model_has_a_table_of_its_own_cells():
    rows = measured(lambda t, s: ((0.01, 0, 0.02), (1, 0, 2)), magnitude=(2, 0, 1))
    rows += measured(lambda t, s: ((0.02, 0, 0.01), None), dead=False, model="free", magnitude=(2, 0, 1))
    for kind in split(rows):
        table = relation(kind)
        assert set(table["cells"]) == {18} and UNSEEN in set(table["ruler"])
        assert len(agreement(kind)) and not any("nan" in line for line in leads(table))
    assert set(relation(rows, (RULER,))["ruler"]) == {RULER}


def test_of_a_dead_key_s_pairs_those_that_beat_it_are_counted():
    rows = measured(lambda t, s: ((0.01 * (t > 0), 0, 0.02 if s else -0.01), (1, 0, 2)), tasks=3, seeds=2)
    assert "beat the key, as they do in 7 of 12 such pairs" in told(rows)[-1]  # query 2 · 2 of 6, value 3 of 6


def test_what_stands_out_is_named_with_the_number_of_intervals():
    rng = np.random.default_rng(4)
    rows = measured(lambda t, s: ((0.02 * t + 0.01, 0, 0.03 * rng.random()), (t, 0, rng.random())),
                    magnitude=(1, 0, 2), **{"Fisher, trained": (1, 0, 2)})  # fmt: skip
    table = relation(rows)
    known = table[table["ruler"] != UNSEEN].dropna(subset=["low"])
    out = ((known["low"] > 0) | (known["high"] < 0)).sum()
    first, many = leads(table)
    assert first.startswith(f"Farthest from 0 of 1 rulers, {TASKS}: {RULER}, ") and "nan" not in first
    assert f"{out} of {len(known)} intervals leave out 0" in many and f"about {0.05 * len(known):.1f} would" in many
    tied = leads(table, THREE)[0]
    assert tied.startswith(f"Farthest from 0 of 3 rulers, {THREE}: ")
    assert leads(table[:0]) == []


def test_the_sentences_say_what_was_measured_and_not_more():
    rng = np.random.default_rng(0)

    def of(t: int, s: int) -> Any:
        return (0.02 + 0.02 * rng.normal(), 0, 0.02 + 0.02 * rng.normal()), tuple(rng.random(3))

    noise, clear = ("\n".join(told(measured(by))) for by in (of, lambda t, s: ((0.02, 0, 0.01 * t), (1, 0, 2))))
    assert "18 cells" in noise and "task 0, task 1" in noise and "3 seeds" in noise
    assert "not to be told from no relation" in noise
    assert "nan" not in (noise + clear).lower()
    assert f"{UNSEEN}: +" in clear


def test_nothing_measured_is_an_error_that_says_how():
    with pytest.raises(DataError, match="rulers"):
        relation([])


def settings(low: float = 1e-9) -> pd.DataFrame:
    rows = {"as it came": (0.05, low, 0.6), "eps 1e-12": (0.05, 1.0, 0.6), "b_v × 10": (0.05, 0, 0.03)}
    return pd.DataFrame(rows, index=list(TERMS)).T


def random_rows() -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    return measured(lambda t, s: (0.05 * rng.normal(size=3), rng.random(3)), magnitude=(1, 0, 2))


PICTURES = {
    "relation": lambda: plots_rulers.relation_forest(relation(random_rows())),
    "relation of one task": lambda: plots_rulers.relation_forest(relation(random_rows()[:5])),
    "settings": lambda: plots_rulers.settings_dots(settings()),
    "one setting, nothing moved": lambda: plots_rulers.settings_dots(settings()[:1] * 0),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_has_words_numbers_and_fits_the_page(name):
    axes = PICTURES[name]()
    (description,) = descriptions(axes)
    assert len(description.alt) > 80 and "nan" not in description.alt.lower() and len(description.table)
    assert axes.figure.get_size_inches()[0] <= 8
    axes.figure.canvas.draw()


def test_a_setting_s_line_says_what_is_chosen_and_no_marker_leaves_the_picture():
    axes = plots_rulers.settings_dots(settings())
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "as it came → value", "eps 1e-12 → key", "b_v × 10 → query"]  # fmt: skip
    drawn = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.lines])
    left, right = axes.get_xlim()
    assert drawn.min() == FLOOR and left < drawn.min() and drawn.max() < right
    assert descriptions(axes)[0].table.loc["b_v × 10", "key"] == 0  # the numbers are as they are


def test_what_lesson_08_says_in_short_is_so():
    """Prose of lesson 08, section 5: nobody who never looks does worse than importance."""
    rows = shipped("rulers*.json", with_biases=True)
    taus = relation(rows, ("importance", UNSEEN)).set_index(["ruler", "question"])["tau"]
    for question in (THREE, TWO):
        assert taus["importance", question] < taus[UNSEEN, question]
    told_there = " ".join(sources()["08"].read_text(encoding="utf-8").replace("\n#", " ").split())
    assert "importance orders the three terms no better than somebody who always says" in told_there
