"""Rulers against performance: rates chosen without validation, every ruler in the rows, the agreement table."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import tiny
from scipy import stats

from beft_lib import experiments, load_task
from beft_lib.architectures import TERMS
from beft_lib.cautions import notes
from beft_lib.comparing import (
    agreement,
    best_on_average,
    cells,
    full_seconds,
    holm,
    kendall,
    paired,
    performance,
    rooms,
)
from beft_lib.errors import DataError, TrainingError
from beft_lib.experiments import Grid, held_out, rates_for, run_grid
from beft_lib.results import read_rows
from beft_lib.rulers import RULERS

METHODS = ["head", "value", "query", "key", "all_biases"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def measured(folder, data, tmp_path_factory):
    """(rows, file, the grid): two seeds, two rates, every ruler, on a tiny model."""
    out = tmp_path_factory.mktemp("results") / "rulers.json"
    grid = Grid(str(folder), ["sst2"], METHODS, [0, 1], data, 32, {"epochs": 1}, rates=(1e-3, 1e-2), rulers=True)
    return list(run_grid(grid, out)), out, grid


# Choosing a learning rate


def test_what_is_held_out_is_from_train_and_in_no_training(data):
    task = load_task("sst2", data, n_train=40)
    part = held_out(task, 0.25, 0)
    assert (len(part.train), len(part.validation)) == (30, 10)
    both = part.train["sentence"][:] + part.validation["sentence"][:]
    assert sorted(both) == sorted(task.train["sentence"][:])
    assert held_out(task, 0.25, 1).validation["sentence"][:] != part.validation["sentence"][:]
    assert len(task.train) == 40  # the task itself is as it was
    for share in (0, 1, 0.001):
        with pytest.raises(DataError, match=r"take a share between 0 and 1"):
            held_out(task, share)


def test_a_method_with_its_own_rate_tries_multiples_of_it():
    assert rates_for("value", (3e-4, 1e-3)) == [3e-4, 1e-3] and rates_for("full", (3e-4, 1e-3)) == [3e-6, 1e-5]


def test_the_rate_is_the_best_of_the_held_out_scores(measured):
    rows, _, grid = measured
    for method in METHODS:
        tried = [r for r in rows if r["method"] == method and r["scored_on"] != "validation"]
        assert [(r["learning_rate"], r["n_train"], r["seed"]) for r in tried] == [(1e-3, 24, 0), (1e-2, 24, 0)]
        chosen = {r["learning_rate"] for r in rows if r["method"] == method and r["scored_on"] == "validation"}
        best = max(r["score"] for r in tried)
        assert chosen == {min(r["learning_rate"] for r in tried if r["score"] == best)}
    assert len(rows) == len(grid) + len(METHODS) * 2


def test_one_model_is_loaded_for_all_seeds_and_nothing_is_run_twice(measured, monkeypatch, tmp_path):
    rows, out, grid = measured
    loads = []
    real = experiments.load_model
    monkeypatch.setattr(experiments, "load_model", lambda *a, **k: loads.append(a) or real(*a, **k))
    assert list(run_grid(grid, out)) == [] and loads == []  # neither is a finished one loaded for
    some = tmp_path / "some.json"  # as a kill leaves it: two of the five methods' last runs are missing
    some.write_text(json.dumps({"rows": rows[:-2]}), encoding="utf-8")
    again = list(run_grid(grid, some))
    assert [(r["method"], r["seed"]) for r in again] == [("key", 1), ("all_biases", 1)] and len(loads) == 1
    # and a model that was reset gives the numbers of one that ran everything, to the last digit
    for new, old in zip(again, rows[-2:], strict=True):
        assert (new["score"], new.get("importance")) == (old["score"], old.get("importance"))


def test_rows_without_rulers_are_run_again_when_rulers_are_asked_for(measured, tmp_path):
    rows, _, grid = measured
    bare = [{name: value for name, value in row.items() if name != "rulers"} for row in rows]
    path = tmp_path / "bare.json"
    path.write_text(json.dumps({"rows": bare}), encoding="utf-8")
    again = list(run_grid(grid, path))
    assert [(r["method"], r["seed"]) for r in again] == [(m, s) for s in (0, 1) for m in ("head", "all_biases")]
    assert len(cells(read_rows(path))) == 2


def test_every_ruler_scores_every_term_and_says_its_cost(measured):
    rows, *_ = measured
    every = cells(rows)
    assert [cell.seed for cell in every] == [0, 1]
    for cell in every:
        assert set(cell.rulers) == set(RULERS)
        for ruler in cell.rulers.values():
            assert set(ruler["scores"]) == set(TERMS) and ruler["seconds"] > 0
        warm, cold = cell.rulers["Fisher, warm head"], cell.rulers["Fisher, untrained head"]
        assert warm["steps"] == 2 and cold["steps"] == 0 and warm["seconds"] > cold["seconds"] / 10
        assert warm["scores"] != cold["scores"] != cell.rulers["true Fisher, untrained head"]["scores"]
        for name in ("output change", "loss without", "Fisher, trained"):  # measured after the probe, which is in it
            assert cell.rulers[name]["seconds"] > cell.rulers["importance"]["seconds"]
        assert cell.rulers["output change"]["seconds"] != cell.rulers["loss without"]["seconds"]
    row = next(r for r in rows if "importance" in r)
    assert row["rulers"]["importance"]["scores"] == pytest.approx(row["importance"])


# Statistics


def row(method: str, score: float, seed: int = 0, task: str = "rte", **more: Any) -> dict[str, Any]:
    return {"model": "m", "task": task, "source": "s", "n_train": 300, "changes": {"learning_rate": score},
            "scored_on": "validation", "method": method, "seed": seed, "score": score, "metric": "accuracy",
            "seconds": 10.0, **more}  # fmt: skip


def ruler(query: float, key: float, value: float, seconds: float = 5.0) -> dict[str, Any]:
    return {"scores": {"query": query, "key": key, "value": value}, "seconds": seconds}


def made(seed: int, query: float, key: float, value: float, task: str = "rte", dead: bool = True) -> list[dict]:
    """A cell where importance says v > q > k, and magnitude q > v > k."""
    said = {"importance": ruler(0.1, 0.0, 0.5), "magnitude": ruler(0.5, 0.0, 0.1, 2.5)}
    facts = {"rulers": said, "key_is_dead": dead, "family": "bert", "positions": "absolute"}
    scores = {"query": query, "key": key, "value": value, "head": key, "all_biases": value}
    rows = [row(m, s, seed, task, **(facts if m == "all_biases" else {})) for m, s in scores.items()]
    return [*rows, row("full", 0.9, seed, task)]


def test_the_agreement_table_counts_what_it_says():
    rows = [*made(0, 0.6, 0.5, 0.7), *made(1, 0.66, 0.5, 0.64), *made(2, 0.6, 0.5, 0.7), *made(3, 0.6, 0.5, 0.6)]
    table = agreement(rows).set_index("ruler")
    importance, magnitude = table.loc["importance"], table.loc["magnitude"]
    assert importance["right"] == 0.75 and importance["picks"] == "q0 k0 v4"  # the last is a tie: either is right
    assert magnitude["right"] == 0.5 and magnitude["picks"] == "q4 k0 v0"
    assert importance["lost"] == pytest.approx(0.02 / 4) and importance["lost when wrong"] == pytest.approx(0.02)
    assert magnitude["lost"] == pytest.approx(0.05) and magnitude["lost when wrong"] == pytest.approx(0.1)
    assert importance["cost"] == pytest.approx(0.5) and magnitude["cost"] == pytest.approx(0.25)
    assert importance["right on average"] == 1 and magnitude["right on average"] == 0
    low, high = stats.binomtest(3, 4).proportion_ci(0.95, "wilson")
    assert (importance["low"], importance["high"]) == (pytest.approx(low), pytest.approx(high))
    assert importance["tau"] == pytest.approx(np.mean([1, 1 / 3, 1, stats.kendalltau([1, 0, 5], [6, 5, 6]).statistic]))
    assert table.loc["always value", "right"] == 0.75 and table.loc["always key", "right"] == 0
    assert table.loc["at random", "right"] == pytest.approx((3 * 1 + 2) / 12)
    assert table.loc["at random", "lost"] == pytest.approx(
        np.mean([0.1, 0.2, 0, 0, 0.16, 0.02, 0.1, 0.2, 0, 0, 0.1, 0])
    )


def test_losses_on_tasks_with_unlike_metrics_are_averaged_on_one_scale():
    accuracy = made(0, 0.7, 0.5, 0.8) + made(0, 0.7, 0.6, 0.65, "sst2")
    matthews = [{**r, "score": 2 * r["score"] - 1, "metric": "matthews"} for r in accuracy]  # of balanced labels
    mixed = [one if one["task"] == "rte" else other for one, other in zip(accuracy, matthews, strict=True)]
    tables = [agreement(rows).set_index("ruler") for rows in (accuracy, matthews, mixed)]
    for table in tables:
        assert table.loc["importance", "share lost"] == pytest.approx((0 + 0.05 / 0.4) / 2)
        assert table.loc["at random", "share lost"] == pytest.approx(((0.1 + 0.3) / 3 / 0.5 + 0.15 / 3 / 0.4) / 2)
    assert tables[0].loc["importance", "lost"] != tables[1].loc["importance", "lost"]  # which has a unit
    assert rooms(cells(accuracy)) == pytest.approx({("m", "rte"): 0.5, ("m", "sst2"): 0.4})


def test_where_head_only_is_perfect_nothing_is_a_share():
    perfect = made(0, 0.9, 1.0, 0.8, "sst2")
    assert math.isnan(rooms(cells(perfect))["m", "sst2"])
    both = agreement([*perfect, *made(0, 0.7, 0.5, 0.6)]).set_index("ruler")["share lost"]
    assert both["importance"] == pytest.approx(0.1 / 0.5) and agreement(perfect)["share lost"].isna().all()


def test_the_latest_run_of_a_method_counts_and_tries_do_not():
    rows = made(0, 0.6, 0.5, 0.7)
    tried = row("value", 0.99, 0, scored_on="held-out part of train")
    (cell,) = cells([*rows, tried, row("query", 0.8)])
    assert cell.terms == {"query": 0.8, "key": 0.5, "value": 0.7} and cell.best == {"query"}
    other = [{**r, "changes": {**r["changes"], "epochs": 2}} for r in made(0, 0.1, 0.2, 0.3)]
    assert len(cells([*rows, *other])) == 2  # another recipe is another cell


def test_what_is_not_whole_is_left_out_and_nothing_is_an_error():
    rows = made(0, 0.6, 0.5, 0.7)
    assert len(cells([*rows, *made(1, 0.6, 0.5, 0.7)[:3]])) == 1
    for few in ([], rows[:3], [{n: v for n, v in r.items() if n != "rulers"} for r in rows]):
        with pytest.raises(DataError, match=r"nothing to compare.*beft_lib rulers"):
            agreement(few)


def of_data(rows: list[dict], source: str, n_train: int = 300, **more: Any) -> list[dict]:
    return [{**r, "source": source, "n_train": n_train, **more} for r in rows]


def test_two_data_sets_of_one_name_are_never_pooled():
    mini = of_data(made(0, 0.6, 0.5, 0.7, "cola"), "mini (shipped)", seconds=10.0)
    real = of_data(made(0, 0.8, 0.5, 0.7, "cola"), "real/cola", 1710, seconds=1000.0)
    both = [*mini, *real, *made(0, 0.6, 0.5, 0.7)]
    assert [cell.task for cell in cells(both)] == ["cola (mini)", "cola (real)", "rte"]
    assert best_on_average(cells(both)) == {
        ("m", "cola (mini)"): {"value"}, ("m", "cola (real)"): {"query"}, ("m", "rte"): {"value"}}  # fmt: skip
    assert full_seconds(both) == {("m", "cola (mini)"): 10, ("m", "cola (real)"): 1000, ("m", "rte"): 10}
    assert performance(both)[["task", "seeds"]].to_numpy().tolist() == [
        ["cola (mini)", 1], ["cola (real)", 1], ["rte", 1]]  # fmt: skip
    costs = (5 / 10 + 5 / 1000 + 5 / 10) / 3
    assert agreement(both).set_index("ruler").loc["importance", "cost"] == pytest.approx(costs)
    assert [cell.task for cell in cells(real)] == ["cola"]  # one source needs no label
    assert [cell.base for cell in cells(both)] == ["cola", "cola", "rte"]  # whose data: no matter what the task is


def test_a_label_says_as_much_as_tells_the_data_apart():
    def labels(*kinds: tuple[str, int]) -> list[str]:
        return [cell.task for cell in cells([r for kind in kinds for r in of_data(made(0, 0.6, 0.5, 0.7), *kind)])]

    assert labels(("s", 100), ("s", 300)) == ["rte (100 examples)", "rte (300 examples)"]
    assert labels(("s", 100), ("s", 300), ("real/rte", 9)) == [
        "rte (s, 100 examples)", "rte (s, 300 examples)", "rte (real)"]  # fmt: skip
    assert labels(("x", 1), ("x (shipped)", 1)) == ["rte (x)", "rte (x (shipped))"]  # short, but never the same


def test_a_row_that_is_no_run_is_left_out_and_told():
    rows = made(0, 0.6, 0.5, 0.7)
    bare = [{name: value for name, value in r.items() if name != "changes"} for r in rows]
    diverged = {**row("value", 0.5), "score": None}
    assert [cell.terms["value"] for cell in cells([*bare, {}, *rows, diverged])] == [0.7]
    assert len(agreement([*bare, {}, *rows])) == len(agreement(rows))
    with pytest.raises(DataError, match=r"nothing to compare. Left out: 6 of 6 rows, which lack changes\."):
        cells(bare)


def test_kendall_is_the_agreement_of_two_orders():
    order = {"query": 1.0, "key": 0.0, "value": 2.0}
    assert kendall(order, order) == 1 and kendall({t: -s for t, s in order.items()}, order) == -1
    assert math.isnan(kendall(order, dict.fromkeys(order, 0.5)))


def test_the_paired_test_is_scipy_s_and_has_edges():
    a, b = [0.7, 0.72, 0.69, 0.75], [0.6, 0.7, 0.65, 0.66]
    test, scipy_s = paired(a, b), stats.ttest_rel(a, b)
    assert test["p"] == pytest.approx(scipy_s.pvalue) and test["n"] == 4
    low, high = scipy_s.confidence_interval(0.95)
    assert test["difference"] - test["±"] == pytest.approx(low) and test["difference"] + test["±"] == pytest.approx(
        high
    )
    assert math.isnan(paired([0.5], [0.4])["p"])


@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_seeds_that_all_say_the_same_are_no_certainty(gain: float):
    test = paired([0.5 + gain, 0.6 + gain], [0.5, 0.6])
    assert test["difference"] == pytest.approx(gain) and test["n"] == 2
    assert math.isnan(test["p"]) and math.isnan(test["±"])


def test_holm_is_the_textbook_s():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.02]) == pytest.approx([1, 1, 0.06])
    some = holm([0.02, math.nan, 0.01])  # a test that cannot be made was still one of three
    assert some[0] == pytest.approx(0.04) and math.isnan(some[1]) and some[2] == pytest.approx(0.03)


def test_performance_and_notes_say_what_the_tables_cannot():
    rows = [r for seed, q in enumerate((0.6, 0.61, 0.62)) for r in made(seed, q, 0.5, 0.7 + seed / 50)]
    rows += [r for seed, v in enumerate((0.4, 0.7, 0.55)) for r in made(seed, 0.5, 0.52, v, task="cola")]
    told = performance(rows).set_index("task")
    assert (
        told.loc["rte", "value"] == pytest.approx(0.72) and told.loc["rte", "p"] < 0.01 and told.loc["cola", "p"] > 0.05
    )
    assert best_on_average(cells(rows)) == {("m", "rte"): {"value"}, ("m", "cola"): {"value"}}
    said = notes(rows)
    assert "tuning it is tuning the head alone; measured, the two are equal in 6 cells" in said[0]
    assert len(said) == 2 and said[1].startswith("m: no term is shown") and "on cola (the best is" in said[1]
    alive = [r for seed in range(3) for r in made(seed, 0.6, 0.5, 0.7, dead=False)]
    assert "alive" in notes(alive)[0] and "tuning the head alone" not in notes(alive)[0]


def test_that_a_term_helps_is_held_to_three_tests_and_not_to_one():
    def rows(values: tuple[float, ...]) -> list[dict]:
        return [r for seed, v in enumerate(values) for r in made(seed, 0.5 + 0.01 * (-1) ** seed, 0.5, v)]

    weak, strong = (0.52, 0.54, 0.535, 0.51, 0.505), (0.72, 0.74, 0.73, 0.71, 0.75)
    (alone,) = {stats.ttest_1samp(np.array(weak) - 0.5, 0).pvalue}
    assert 0.05 / 3 < alone < 0.05  # would have passed as the only test
    _, said = notes(rows(weak))
    assert f"p {3 * alone:.2f}, 5 seeds)" in said and "a hit may be luck" in said
    assert len(notes(rows(strong))) == 1
    _, said = notes(rows((0.6, 0.6)))  # two seeds that say the same
    assert "no spread for a p, 2 seeds)" in said and "nan" not in said


def test_key_and_head_only_are_compared_where_their_learning_rates_agree():
    rows = [r for seed in range(3) for r in made(seed, 0.6, 0.5, 0.7)]
    for r in rows:
        rate = 0.01 if r["seed"] == 2 and r["method"] == "key" else 0.003
        r["learning_rate"] = rate
        r["score"] += 0.052 * (rate == 0.01) + 0.01 * (r["seed"] == 1 and r["method"] == "key")
    (said, *_) = notes(rows)
    assert "measured, the two are at most 0.010 apart in 2 cells (their learning rates" in said
    assert "differ in 1 cell: two recipes, not counted). The gap is rounding" in said
    (said, *_) = notes([r for r in rows if r["seed"] == 2])
    assert "differ in 1 cell: two recipes, so the two cannot be compared." in said and "rounding" not in said
    (said, *_) = notes([r for r in rows if r["seed"] == 0])
    assert said.endswith("the two are equal in 1 cell.")


def test_the_verbs_print_the_tables_and_resume(folder, data, tmp_path, capsys):
    from beft_lib.__main__ import VERBS
    from beft_lib.commands_rulers import add_agreement, add_rulers, run_agreement, run_rulers

    assert {"rulers", "agreement"} <= set(VERBS)
    import argparse

    out = tmp_path / "rulers.json"
    arguments = ["--model", str(folder), "--data", str(data), "--tasks", "sst2", "--seeds", "0", "--n-train", "32",
                 "--epochs", "1", "--rates", "0.01", "--out", str(out)]  # fmt: skip
    parser = argparse.ArgumentParser()
    add_rulers(parser)
    assert run_rulers(parser.parse_args(arguments)) == 0
    first = capsys.readouterr().out
    assert all(name in first for name in RULERS) and "1 cells" in first and "share lost: of what" in first
    assert "tuning it is tuning the head alone" in first
    before = out.read_bytes()
    assert run_rulers(parser.parse_args(arguments)) == 0 and out.read_bytes() == before
    capsys.readouterr()
    parser = argparse.ArgumentParser()
    add_agreement(parser)
    assert run_agreement(parser.parse_args([str(out)])) == 0
    told = capsys.readouterr().out
    assert told.strip() in first.strip()[-len(told.strip()) - 1 :]
    costs = [cell.split() for cell in told.splitlines() if cell.strip().startswith("Fisher, untrained head")]
    assert costs and "-" not in costs[0][4:8]
    shared = [*arguments[:-1], str(tmp_path / "shared.json")]
    parser = argparse.ArgumentParser()
    add_rulers(parser)
    for part in ("1/2", "2/2"):
        assert run_rulers(parser.parse_args([*shared, "--shard", part])) == 0
    assert f"Part 2 of 2 is done. Once all are: python -m beft_lib agreement {shared[-1]}" in capsys.readouterr().out
    assert run_rulers(parser.parse_args(shared)) == 0 and not (tmp_path / "shared.json").exists()  # nothing was left
    assert "1 cells" in capsys.readouterr().out
    parser = argparse.ArgumentParser()
    add_agreement(parser)
    assert run_agreement(parser.parse_args([shared[-1]])) == 0 and "1 cells" in capsys.readouterr().out
    small = [*arguments[: arguments.index("32")], "20", "--out", str(tmp_path / "few.json")]
    parser = argparse.ArgumentParser()
    add_rulers(parser)
    with pytest.raises(
        TrainingError, match=r"15 training examples of sst2 that are left of 20"
    ):  # before "full" is run
        run_rulers(parser.parse_args([*small, "--rates", "0.01"]))
    assert not (tmp_path / "few.json").exists()
    parser = argparse.ArgumentParser()
    add_agreement(parser)
    with pytest.raises(DataError, match=r"No such results file: nowhere.json"):
        run_agreement(parser.parse_args(["nowhere.json"]))
