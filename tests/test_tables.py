"""Lesson 05's table: rows compared within their field and seed by seed, and the command that measures them."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tiny
from scipy import stats

from beft_lib import authoring, commands_table, plots_table, runtime
from beft_lib.display import descriptions
from beft_lib.errors import DataError, UnknownName
from beft_lib.methods import method_row
from beft_lib.results import scored
from beft_lib.runtime import MODELS
from beft_lib.table_parts import METHODS, PARTS, Part, grids
from beft_lib.tables import (
    at_the_edge,
    beside_paper,
    by_size,
    chosen_rates,
    compare,
    fewest,
    fields,
    overtaking,
    shipped,
    tries,
    wide,
)
from beft_lib.tasks import TASKS

SECONDS = {"head": 10.0, "value": 60.0, "full": 100.0}


def row(method: str, seed: int, score: float, n: int = 300, task: str = "rte", **more: Any) -> dict[str, Any]:
    return {
        "model": "minilm", "task": task, "source": "here", "n_train": n, "method": method, "seed": seed, "changes": {},
        "metric": "accuracy", "score": score, "seconds": SECONDS[method], "parameters_method": 12,
        "parameters_head": 3, "file_bytes": 500, **more,
    }  # fmt: skip


def some_rows() -> list[dict[str, Any]]:
    """Value is ahead of head by 0.1 in each seed; full is behind value at 300 examples, and ahead at 900 and 1,200."""
    base = [0.50, 0.56, 0.53, 0.51]
    rows = []
    for n, ahead in ((300, -0.02), (900, 0.05), (1200, 0.06)):
        for seed, score in enumerate(base):
            noise = 0.001 * seed
            rows += [row("head", seed, score, n), row("value", seed, score + 0.1 + noise, n),
                     row("full", seed, score + 0.1 + ahead, n)]  # fmt: skip
    return rows


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_methods_are_compared_seed_by_seed() -> None:
    table = compare(some_rows()).set_index(["n_train", "method"])
    value = table.loc[(300, "value")]
    assert value["score"] == pytest.approx(0.6265) and value["- head"] == pytest.approx(0.1015)
    assert value["± of it"] < 0.003 < value["±"], "what the seeds share is no doubt about the difference"
    a, b = ([r["score"] for r in some_rows() if r["method"] == m and r["n_train"] == 300] for m in ("value", "head"))
    assert value["p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert value["seconds / full"] == 0.6 and np.isnan(table.loc[(300, "head"), "p"])
    assert set(table["seeds"]) == {4}


def test_only_shared_seeds_are_paired_and_tries_do_not_count() -> None:
    rows = [*some_rows(), row("value", 9, 0.0), row("head", 0, 0.0, scored_on="held-out part of train")]
    value = compare(rows).set_index(["n_train", "method"]).loc[(300, "value")]
    assert value["seeds"] == 5 and value["- head"] == pytest.approx(0.1015)
    lone = compare([row("value", 0, 0.6)]).iloc[0]
    assert np.isnan(lone["±"]) and np.isnan(lone["- head"]) and np.isnan(lone["seconds / full"])


def test_another_recipe_is_another_field_but_each_method_may_have_its_own_rate() -> None:
    longer = [row("value", seed, 0.9, changes={"epochs": 60}) for seed in range(4)]
    rates = {"value": 1e-2, "head": 1e-3}
    chosen = [row(m, s, 0.8, changes={"learning_rate": r}) for m, r in rates.items() for s in range(4)]
    table = compare([*some_rows(), *longer, *chosen])
    assert len(table) == 12 and list(table["recipe"].unique()) == ["", "epochs 60", "own rates"]
    own = table[table["recipe"] == "own rates"].set_index("method")
    assert own.loc["value", "- head"] == pytest.approx(0) and own.loc["value", "score"] == pytest.approx(0.8)
    assert "rte: minilm, 300 examples, own rates" in wide(table)
    axes = plots_table.by_field(table[table["n_train"] == 300]).get_figure().axes
    assert [ax.get_title(loc="left").split("\n")[1] for ax in axes] == ["minilm", "epochs 60", "own rates"]
    told = beside_paper([*some_rows(), *chosen])
    assert told.loc["value", "ours"] == pytest.approx(62.65) and told.loc["value", "own rates"] == pytest.approx(80)
    assert told.loc["full", "seeds"] == 4 and np.isnan(told.loc["full", "own rates"])


def test_one_task_from_two_sources_is_two_tasks() -> None:
    """Shipped and real RTE, as many examples of each: no cell, mean or panel is of both."""
    kinds = {"mini (shipped)": 0.5, "real/rte": 0.6}
    rows = [row("value", seed, score, source=source) for source, score in kinds.items() for seed in range(3)]
    table = compare(rows)
    assert list(table["task"]) == ["rte (mini)", "rte (real)"] and list(table["score"]) == [0.5, pytest.approx(0.6)]
    columns = ["rte (mini): minilm, 300 examples", "rte (real): minilm, 300 examples"]
    assert list(wide(table).columns) == columns and wide(table).loc["value"].tolist() == [
        "0.500 ± 0.000",
        "0.600 ± 0.000",
    ]
    axes = plots_table.by_field(table).get_figure().axes
    assert [ax.get_title(loc="left").split(",")[0] for ax in axes] == ["rte (mini)", "rte (real)"]
    twins = [row("value", seed, 0.5, source=source) for source in ("mini (shipped)", "mini/rte") for seed in range(2)]
    assert list(compare(twins)["task"]) == ["rte (mini (shipped))", "rte (mini/rte)"]
    full = [row("full", r["seed"], 0.9, n=n, source=r["source"]) for r in rows for n in (300, 900)]
    more = [{**r, "n_train": 900} for r in rows]
    assert overtaking(by_size([*rows, *more, *full]))[0].startswith("minilm on rte (mini): full is ahead")
    other = [row("value", 0, 0.7, source="pocket (shipped)", model="pocket-bert")]  # another model's: no mistaking
    assert list(compare([*rows[:3], *other])["task"]) == ["rte", "rte"]


def test_the_fewest_examples_are_those_of_each_task() -> None:
    """Tasks differ in size: 400 examples are many for one and few for another."""
    other = [row("head", 0, 0.5, n=400, task="cola"), row("head", 0, 0.5, n=200, scored_on="held-out part of train")]
    kept = fewest([*some_rows(), *other])
    assert {(r["task"], r["n_train"]) for r in kept} == {("rte", 300), ("cola", 400)} and len(kept) == 13


def test_where_full_overtakes() -> None:
    sized = by_size(some_rows())
    assert list(sized["n_train"]) == [300, 900, 1200] and list(sized["full - value"].round(2)) == [-0.02, 0.05, 0.06]
    assert overtaking(sized) == ["minilm on rte: full is ahead of value from 900 examples on."]
    shaky = [row("full", seed, score, n=2000) for seed, score in enumerate((0.1, 0.99))]
    shaky += [row("value", seed, 0.7, n=2000) for seed in (0, 1)]
    assert overtaking(by_size([*some_rows(), *shaky])) == [
        "minilm on rte: full is ahead of value at 900 and 1,200 examples, not at 2,000."
    ]
    few = [r for r in some_rows() if r["seed"] == 0]
    assert overtaking(by_size(few)) == ["minilm on rte: full is ahead of value at no size that was measured."]
    assert overtaking(by_size([r for r in some_rows() if r["n_train"] == 300])) == []
    assert overtaking(by_size([])) == []


def test_beside_the_paper_are_its_numbers_and_ours() -> None:
    told = beside_paper(some_rows())
    assert told.loc["value", "paper"] == 58.53 and told.loc["value", "ours"] == pytest.approx(62.65)
    assert told.loc["head", "ours"] == pytest.approx(52.5) and np.isnan(told.loc["head", "paper"])
    assert np.isnan(told.loc["random_uniform", "ours"]) and told.loc["full", "paper, time / full"] == 1
    assert beside_paper([])["paper"].notna().sum() == 4


def test_the_wide_table_has_a_cell_for_each_run_there_is() -> None:
    rows = [r for r in some_rows() if r["method"] != "full" or r["n_train"] > 300]
    table = wide(compare(rows))
    field = "rte: minilm, 300 examples"
    assert table.loc["head", field] == "0.525 ± 0.042" and table.loc["full", field] == "–"


PICTURES = {
    "by_field": lambda: plots_table.by_field(compare(some_rows())),
    "by_cost": lambda: plots_table.by_cost(compare([r for r in some_rows() if r["n_train"] == 300])),
    "by_size": lambda: plots_table.by_size(compare(some_rows())),
    "one seed": lambda: plots_table.by_field(compare([r for r in some_rows() if r["seed"] == 0])),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_words_and_numbers_and_fits_a_page(name: str) -> None:
    axes = PICTURES[name]()
    (told,) = descriptions(axes)
    assert "value" in told.alt and told.alt.endswith(".") and len(told.table)
    assert axes.get_figure().get_size_inches()[0] <= 8


def test_the_parts_name_what_there_is() -> None:
    for part in PARTS.values():
        assert set(part.models) <= set(MODELS) and set(part.tasks) <= set(TASKS)
        assert all(method_row(method).name == method for method in part.methods)
        assert all(set(part.sizes) <= set(TASKS[task].sizes) for task in part.tasks)
    assert set(METHODS) == set(PARTS["mini"].methods) == set(PARTS["real"].methods)


def test_seeds_come_one_whole_table_after_the_other() -> None:
    every = grids(["mini", "sizes"], [0, 1])
    assert [(grid.seeds, grid.size) for grid in every] == [
        ((s,), size) for s in (0, 1) for size in ("low", "medium", "high")
    ]
    with pytest.raises(DataError, match="--data"):
        grids(["real"], [0])
    with pytest.raises(UnknownName, match="pocket"):
        grids(["large"], [0])
    with pytest.raises(UnknownName, match=r"model of pocket.*pocket-roberta"):
        grids(["pocket"], [0], models=["pocket-robert"])


def test_a_part_brings_its_recipe_and_what_is_given_goes_before_it() -> None:
    """So the bare command goes on with the file that ships."""
    (one,) = grids(["pocket"], [0], models=["pocket-roberta"])
    assert (one.model, one.n_train, one.changes) == ("pocket-roberta", 300, {"epochs": 12})
    assert one.rates == PARTS["pocket"].rates and one.rates_of == PARTS["pocket"].rates_of
    (other,) = grids(["pocket"], [0], models=["pocket-roberta"], n_train=48, epochs=1, rates=[0.5], full_rates=())
    assert (other.n_train, other.changes, other.rates) == (48, {"epochs": 1}, [0.5])
    assert other.rates_of == {"full": PARTS["pocket"].rates_of["full"]}
    (mini,), (asked,) = grids(["mini"], [0]), grids(["mini"], [0], rates=[0.5])
    assert list(mini.tried("lora")) == [3e-4, 1e-3, 3e-3, 1e-2] and list(mini.tried("value"))[-1] == 1e-1
    assert list(mini.tried("full")) == [3e-5, 1e-4, 3e-4, 1e-3] and list(asked.tried("lora")) == [0.5]
    assert list(asked.tried("full")) == list(asked.tried("full@top-half")) == [3e-5, 1e-4, 3e-4, 1e-3]
    (other,) = grids(["mini"], [0], full_rates=[0.2])
    assert list(other.tried("full")) == [0.2] and list(other.tried("lora")) == [3e-4, 1e-3, 3e-3, 1e-2]
    (papers,) = grids(["pocket"], [0], models=["pocket-roberta"], paper=True)
    assert (papers.n_train, papers.changes, papers.rates, papers.rates_of) == (None, {}, (), {})
    shapes = {(r["model"], r["n_train"], json.dumps(r["changes"].get("epochs"))) for r in scored(shipped())}
    of_parts = {
        (grid.model, grid.n_train or TASKS["stsb"].sizes[grid.size], json.dumps(float(grid.changes["epochs"])))
        for grid in grids(["pocket", "sizes"], [0])
    }
    assert {shape for shape in shapes if shape[0].startswith("pocket")} <= of_parts


def test_a_rate_at_the_end_of_its_grid_is_told() -> None:
    tries = {"value": {1e-3: 0.5, 3e-3: 0.7, 1e-2: 0.6}, "head": {1e-3: 0.6, 3e-3: 0.6, 1e-2: None}}
    rows = [
        row(method, 0, score, n=225, learning_rate=rate, scored_on="held-out part of train")
        for method, scores in tries.items()
        for rate, score in scores.items()
    ]
    chosen = chosen_rates([*rows, *some_rows()]).set_index("method")
    assert chosen["rate"].to_dict() == {"value": 3e-3, "head": 1e-3}
    assert chosen["edge"].to_dict() == {"value": "", "head": "lowest"}
    assert "In 1 of 2 cases" in at_the_edge(rows) and "lowest (1)" in at_the_edge(rows)
    assert at_the_edge(rows[:3]) == "" == at_the_edge(some_rows())
    with pytest.raises(UnknownName, match="vallue"):
        compare(some_rows(), versus="vallue")


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    commands_table.add_table(parser)
    return commands_table.run_table(parser.parse_args(arguments))


def test_the_command_measures_goes_on_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = str(tiny.save(tmp_path / "bert")), tiny.write_task(tmp_path / "task")
    small = Part("small", (model,), None, ("sst2",))
    monkeypatch.setitem(PARTS, "small", small)
    out = tmp_path / "table.json"
    given = ["--out", str(out), "--parts", "small", "--data", str(data), "--epochs", "1"]
    methods = ["--methods", "head", "value", "full"]
    assert run(*given, *methods, "--seeds", "0", "--shard", "1/2") == 0
    assert run(*given, *methods, "--seeds", "0", "--shard", "2/2") == 0
    capsys.readouterr()
    assert run(*given, *methods, "--seeds", "0", "1") == 0
    told = capsys.readouterr().out
    assert told.count(" in ") == 3, "seed 0 was there"
    assert "- head" in told and len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 3
    assert run("--out", str(out), "--parts") == 0
    again = capsys.readouterr().out
    assert " in " not in again and again.count("accuracy") == 3
    run("--out", str(tmp_path / "none.json"), "--parts")
    assert "nothing measured yet" in capsys.readouterr().out


def test_rows_that_ship_are_read_and_missing_files_are_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = shipped("real_minilm.json")
    assert len(compare(rows)) >= 8
    monkeypatch.setattr(runtime, "data_folder", lambda: tmp_path)
    assert shipped() == []


@pytest.mark.parametrize("name", ["bert_table.json", "pocket_opt.json", "rulers_*.json"])
def test_a_run_that_ships_has_the_rate_that_its_tries_choose(name: str) -> None:
    """Whatever was added to a grid since: no run at another rate is left beside it."""
    rows = shipped(name)
    by = ["model", "task", "source", "method", "n_train"]
    chosen = chosen_rates(rows).set_index(by)["rate"].to_dict()
    runs = [row for row in scored(rows) if "learning_rate" in row["changes"]]
    assert len(runs) > 100
    for row in runs:
        left = row["n_train"] - math.ceil(row["n_train"] / 4)  # once a quarter is held out
        assert row["learning_rate"] == chosen[(*(row[name] for name in by[:-1]), left)], row


def test_what_lesson_05_says_of_the_table_that_ships_is_so() -> None:
    """Prose of lesson 05, under the course's own table."""
    rows = fewest(shipped())
    told = {
        versus: {
            (model, task): of.set_index("method")
            for (model, task), of in compare(rows, versus=versus).groupby(["model", "task"])
        }
        for versus in ("value", "head")
    }
    alike = told["value"]["minilm", "stsb"]
    assert abs(alike.loc["full", "- value"]) < alike.loc["full", "± of it"] and set(alike["seeds"]) == {5}
    runs = next(of for (model, task, *_), of in fields(rows).items() if (model, task) == ("minilm", "stsb"))
    assert all(runs["full"][seed]["score"] > row["score"] for seed, row in runs["value"].items())
    assert _behind(alike.loc["random_uniform"]) and alike.loc["head", "- value"] < -0.3
    assert alike.loc["random_uniform", "p"] < 0.001 and not _behind(alike.loc["query"])
    assert alike.loc["lora", "±"] > 0.15 and alike.loc["lora", "score"] < 0.5
    pleased = told["value"]["minilm", "sst2"]
    assert told["head"]["minilm", "sst2"].loc[["query", "value"], "- head"].max() < 0.05
    assert pleased.loc["lora", "- value"] > pleased.loc["lora", "± of it"]
    assert 0.07 < pleased.loc["full", "- value"] < pleased.loc["full", "± of it"]
    for source, seeds, frequent in (("real", 5, 146 / 277), ("mini", 5, 0.5)):  # the more frequent answer's share
        guesses = told["value"]["minilm", f"rte ({source})"]
        assert set(guesses["seeds"]) == {seeds} and len(guesses) == 10
        learned = guesses.index[guesses["score"] - guesses["±"] > frequent]
        assert list(learned) == ([] if source == "real" else ["full"])
        for other in ("head", "value"):
            line = told[other]["minilm", f"rte ({source})"].loc["full"]
            assert line[f"- {other}"] > line["± of it"]
    real = told["value"]["minilm", "cola"]
    assert set(real["seeds"]) == {5} and len(real) == 10 and set(real["source"]) == {"real/cola"}
    ahead = real["- value"] > real["± of it"]
    assert set(real.index[ahead]) == {"full", "lora"} and real["score"].max() < 0.2
    assert told["head"]["minilm", "cola"].loc[["query", "value"], "- head"].max() < 0.05
    held_out = tries(shipped(), "minilm", "stsb").replace("–", None).astype(float)
    assert held_out.loc[["value", "query", "random_uniform"]].idxmax(axis=1).tolist() == ["0.01", "0.03", "0.03"]
    assert (
        held_out.loc[["query", "random_uniform"], "0.03"] - held_out.loc[["query", "random_uniform"], "0.01"]
    ).min() > 0.15
    for model in ("pocket-bert", "pocket-roberta"):
        for task in ("cola", "stsb"):
            score = told["value"][model, task]["score"]
            assert score[["all_biases", "lora", "full"]].min() > score[["query", "key", "value"]].max()
        rte = told["head"][model, "rte"]
        assert rte["- head"].max() < 0.08
        for task in ("cola", "stsb", "rte"):
            assert abs(told["head"][model, task].loc["key", "- head"]) < 0.01
        behind = {
            name: [task for task in ("cola", "stsb", "rte") if _behind(told["value"][model, task].loc[name])]
            for name in ("random_uniform", "value@top-half")
        }
        assert behind["value@top-half"] == ["stsb"]
        assert behind["random_uniform"] == ([] if model == "pocket-bert" else ["stsb"])
    tasks = ("stsb", "sst2", "rte (real)", "rte (mini)", "cola")
    halves = {task: told["value"]["minilm", task].loc["value@top-half"] for task in tasks}
    assert [task for task, line in halves.items() if _behind(line)] == ["stsb", "rte (mini)"]
    assert halves["rte (mini)"]["score"] < 0.5


def test_lesson_05_trains_at_the_rates_that_minilm_chose() -> None:
    rates = chosen_rates(shipped()).query("model == 'minilm' and task == 'stsb'").set_index("method")["rate"]
    code = authoring.sources()["05"].read_text(encoding="utf-8")
    assert "\nrate = 0.01 " in code and '\nrates = {"value": rate, "all_biases": 0.003, "full": 0.0001} ' in code
    assert "rates.get(method, 0.03)" in code
    for method in ("value", "query", "key", "random_uniform", "all_biases", "full", "head"):
        assert rates[method] == {"value": 0.01, "all_biases": 0.003, "full": 0.0001}.get(method, 0.03)


def _behind(line: Any) -> bool:
    return line["- value"] + line["± of it"] < 0
