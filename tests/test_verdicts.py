"""Measured rulers as tables, sentences and pictures: the numbers are the rows', whatever models and tasks they hold."""

from __future__ import annotations

import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from beft_lib import plots_rulers, runtime
from beft_lib.architectures import TERMS
from beft_lib.comparing import agreement, cells
from beft_lib.display import descriptions
from beft_lib.rulers import RULERS
from beft_lib.verdicts import SHOWN, alike, by_model, early_stop, lost, plain, points, shipped, told


def a_cell(model: str, task: str, seed: int, scores: dict[str, float], says: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of one cell: performance by method, and the term that each ruler puts first (with 3 of 5 shares)."""
    rulers = {
        name: {"scores": {t: 3.0 if t == says.get(name, "value") else 1.0 for t in TERMS}, "seconds": 5.0}
        for name in RULERS
    }
    base = {"model": model, "task": task, "source": "s", "n_train": 300, "changes": {}, "scored_on": "validation",
            "seed": seed, "metric": "accuracy", "seconds": 10.0}  # fmt: skip
    facts = {"rulers": rulers, "key_is_dead": True, "family": "bert", "positions": "absolute"}
    rows = {**scores, "head": scores["key"], "all_biases": scores["value"], "full": 0.9}
    return [{**base, "method": m, "score": s, **(facts if m == "all_biases" else {})} for m, s in rows.items()]


def measured(models: int = 2, tasks: int = 2, seeds: int = 3) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows = []
    for model in range(models):
        for task in range(tasks):
            for seed in range(seeds):
                key = 0.5 + 0.02 * rng.normal()
                scores = {"query": key + 0.05 * rng.uniform(), "key": key, "value": key + 0.1 * rng.uniform()}
                says = {"magnitude": "query", "Fisher, warm head": TERMS[2 * (seed % 2)]}
                rows += a_cell(f"model {model}", f"task {task}", seed, scores, says)
    return rows


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_points_are_shares_and_gains_over_head_only():
    rows = [*a_cell("m", "t", 0, {"query": 0.6, "key": 0.5, "value": 0.8}, {}),
            *a_cell("m", "t", 1, {"query": 0.7, "key": 0.5, "value": 0.6}, {"importance": "query"})]  # fmt: skip
    told_of = points(rows).set_index(["ruler", "term"])
    assert list(told_of.index.get_level_values("ruler").unique()) == list(SHOWN)
    assert told_of.groupby("ruler")["share"].sum().to_numpy() == pytest.approx(1)
    assert told_of.loc[("importance", "query"), "share"] == pytest.approx((0.2 + 0.6) / 2)
    assert told_of.loc[("magnitude", "value"), "gain"] == pytest.approx((0.3 + 0.1) / 2)
    assert told_of.loc[("magnitude", "value"), "gained"] == pytest.approx((0.3 + 0.1) / 2 / 0.5)  # of 1 - 0.5
    assert (told_of.xs("key", level="term")["gain"] == 0).all() and (told_of["seeds"] == 2).all()


def test_lost_is_what_the_agreement_table_averages():
    rows = measured()
    table, means = lost(rows), agreement(rows).set_index("ruler")["lost"]
    assert len(table) == 4 and set(RULERS) < set(table.columns)
    for name in table:
        assert table[name].mean() == pytest.approx(means[name])
    assert (table["magnitude"] == table["always query"]).all() and table["magnitude"].max() > 0


def test_by_model_counts_what_the_agreement_table_shares_out():
    rows = measured()
    counts, every = by_model(rows), agreement(rows).set_index("ruler")["right"]
    assert list(counts) == ["model 0, 6 cells", "model 1, 6 cells"]
    assert set(RULERS) < set(counts.index) and "always key" in counts.index
    assert (counts.sum(axis=1) / 12).to_dict() == pytest.approx(every[counts.index].to_dict())


def test_rulers_that_give_away_the_same_share_a_column():
    table = alike(lost(measured()))
    assert len(table.columns) < len(lost(measured()).columns) and "always query = magnitude" in table
    assert table.shape[0] == 4 and not table.T.duplicated().any()


def test_models_without_biases_are_a_table_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "data_folder", lambda: tmp_path)
    (tmp_path / "results").mkdir()
    rows = measured()
    for row in rows:
        if row["model"] == "model 1" and "rulers" in row:
            row["rulers"] = {k: v for k, v in row["rulers"].items() if not k.startswith("importance")}
    (tmp_path / "results" / "rulers_a.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    assert {row["model"] for row in shipped(with_biases=True)} == {"model 0"}
    assert {row["model"] for row in shipped(with_biases=False)} == {"model 1"} and shipped() == rows
    assert "importance" in set(agreement(shipped(with_biases=True))["ruler"])
    assert "magnitude" in set(agreement(shipped(with_biases=False))["ruler"])


def test_the_answer_in_plain_words_counts_what_is_there():
    rows = [*a_cell("m", "t", 0, {"query": 0.6, "key": 0.5, "value": 0.8}, {"importance": "key"}),
            *a_cell("m", "t", 1, {"query": 0.7, "key": 0.5, "value": 0.6}, {"magnitude": "query"}),
            *a_cell("m", "t", 2, {"query": 0.7, "key": 0.5, "value": 0.8}, {"magnitude": "query"})]  # fmt: skip
    text = "\n".join(plain(rows))
    assert "names the best term in 1 of 3 cells; a blind draw would in 1." in text
    assert "In 1 of the 3 cells whose key can do nothing it names the key" in text
    assert "it gives away 26.7 % on average, the blind draw 26.7 %." in text  # .4 / 3 and 1.2 / 9, of .5
    assert 'Stopped early it is right in 2; in 3 it says "value". Somebody who says "value"' in text
    assert "More often right than that somebody: no ruler." in text
    winner = {"scores": {"query": 2.0, "key": 1.0, "value": 1.0}, "seconds": 1.0}
    for row in rows:
        if "rulers" in row and row["seed"] == 1:
            row["rulers"]["output change"] = winner
    assert "that somebody: output change." in "\n".join(plain(rows))


def test_all_biases_beside_the_best_term_are_held_to_a_test():
    rows = []
    for task, gains in (("sure", (0.1, 0.11, 0.12)), ("hardly", (0.3, -0.2, 0.01)), ("behind", (-0.1, -0.1, -0.11))):
        for seed, gain in enumerate(gains):
            cell = a_cell("m", task, seed, {"query": 0.6, "key": 0.5, "value": 0.7}, {})
            rows += [{**row, "score": 0.7 + gain} if row["method"] == "all_biases" else row for row in cell]
    assert "any one term in 2 of 3 rows of models and tasks (p below 0.05 in 1: paired" in plain(rows)[-1]


def test_the_early_stop_is_held_to_its_aim():
    def rows(model: str, whole: str, early: int) -> list[dict[str, Any]]:
        made = a_cell(model, "t", 0, {"query": 0.6, "key": 0.5, "value": 0.8}, {"importance": whole})
        for row in (row for row in made if "rulers" in row):
            for name, steps in (("importance", 200), ("importance, early stop", early)):
                row["rulers"][name]["steps"] = steps
        return made

    (said,) = early_stop(cells([*rows("a", "value", 20), *rows("b", "key", 40)]))
    assert "as the whole one in 1 of 2 cells, at 15.0 % of its steps on average (a 1 of 1 cells, at 10.0 %; " in said
    assert "b 0 of 1 cells, at 20.0 %). The aim, 95 % of cells at 10 % of the steps or fewer, is missed." in said
    assert "another term overtook" in said and said in plain([*rows("a", "value", 20), *rows("b", "key", 40)])
    (met,) = early_stop(cells(rows("a", "value", 20)))
    assert met.endswith("or fewer, is met.") and "1 of 1 cells, at 10.0 % of its steps" in met
    (late,) = early_stop(cells(rows("a", "value", 21)))
    assert late.endswith("is missed.")
    assert early_stop(cells(measured(1, 1, 1))) == []  # rows from before the steps were kept


def test_the_sentences_count_what_is_there():
    rows = [*a_cell("m", "t", 0, {"query": 0.6, "key": 0.5, "value": 0.8}, {}),
            *a_cell("m", "t", 1, {"query": 0.7, "key": 0.5, "value": 0.6}, {"magnitude": "query"})]  # fmt: skip
    text = "\n".join(told(rows))
    assert "2 cells" in text and "query in 1, key in 0, value in 1 of 2" in text
    assert "Right most often: magnitude, in 2 of 2" in text
    assert "always query; always value is right in 1" in text  # who ties is named, not only the first
    assert "to gain: magnitude with 0.0 %; always value loses 10.0 %, a blind draw 26.7 %." in text  # of 1 - 0.5
    assert "name the same term in 1 of 2 cells; it is the best one in 1" in text
    assert "tuning it is tuning the head alone" in text


def test_results_that_ship_are_read_whatever_they_are_called(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "data_folder", lambda: tmp_path)
    (tmp_path / "results").mkdir()
    assert shipped() == []
    rows = measured()
    (tmp_path / "results" / "rulers_a.json").write_text(json.dumps({"rows": rows[:3]}), encoding="utf-8")
    assert shipped() == []  # begun, but no task is whole
    (tmp_path / "results" / "rulers_b.json").write_text(json.dumps({"rows": rows[3:]}), encoding="utf-8")
    (tmp_path / "results" / "other.json").write_text("{}", encoding="utf-8")
    assert shipped() == rows


def layers(scale: float) -> pd.DataFrame:
    table = pd.DataFrame({t: scale * np.arange(1.0, 4) * (i + 1) for i, t in enumerate(TERMS)})
    table.index = [f"layer {i}" for i in range(3)]
    table.loc["mean"] = table.mean()
    return table


PICTURES = {
    "three rulers": lambda: plots_rulers.rulers_heatmap({"a": layers(1), "b": layers(1e-9), "nothing": layers(0)}),
    "points": lambda: plots_rulers.score_against_performance(points(measured())),
    "points of one cell": lambda: plots_rulers.score_against_performance(points(measured(1, 1, 1))),
    "lost": lambda: plots_rulers.lost_heatmap(lost(measured())),
    "lost, one cell": lambda: plots_rulers.lost_heatmap(lost(measured(1, 1, 1))),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_has_words_numbers_and_fits_the_page(name):
    axes = PICTURES[name]()
    (description,) = descriptions(axes)
    assert len(description.alt) > 80 and "nan" not in description.alt.lower() and len(description.table)
    assert axes.figure.get_size_inches()[0] <= 8  # 720 pixels
    axes.figure.canvas.draw()


def test_a_map_s_rows_and_columns_are_in_the_fixed_order_and_each_ruler_has_its_own_scale():
    axes = plots_rulers.rulers_heatmap({"a": layers(1), "b": layers(1e-9)[list(reversed(TERMS))]})
    left, right = axes.figure.axes[:2]
    for ax in (left, right):
        assert [tick.get_text() for tick in ax.get_xticklabels()] == list(TERMS)
    assert [tick.get_text() for tick in left.get_yticklabels()] == [*(f"layer {i}" for i in range(3)), "mean"]
    assert [t.get_text() for t in left.texts] == [t.get_text() for t in right.texts]
    assert descriptions(axes)[0].table[("b", "value")].iloc[0] == pytest.approx(3e-9)


def test_what_lesson_04_says_of_the_files_that_ship_is_so():
    """Prose of lesson 04: no ruler beats "always value" on the encoders; magnitude does on the bias-free model."""
    have, bare = (agreement(shipped(with_biases=kind)).set_index("ruler")["right"] for kind in (True, False))
    blind = [f"always {term}" for term in TERMS]
    (minilm,) = (name for name in by_model(shipped(with_biases=True)) if name.startswith("minilm"))
    alone = by_model(shipped(with_biases=True))[minilm]
    assert alone["importance"] == alone["always value"] == alone.max()
    own = agreement([row for row in shipped() if row["model"] == "minilm"]).set_index("ruler")
    assert own.loc["importance", "picks"] == own.loc["always value", "picks"]  # "value" in every cell
    assert have["always value"] == have[blind].max() >= have[list(RULERS)].max()
    assert bare["magnitude"] > bare[blind].max() and bare["magnitude"] == bare.max()
    assert bare["loss without"] > bare[blind].max()
    table = agreement(shipped(with_biases=False)).set_index("ruler")
    assert table.loc["magnitude", "low"] < table.loc[blind, "high"].max()  # the intervals still overlap
