"""Grids: nothing done twice, nothing finished lost to Ctrl-C or kill -9, nothing overwritten; tables and intervals."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
from scipy import stats

from beft_lib import experiments, load_task, results, runtime
from beft_lib.biases import find_biases
from beft_lib.errors import DataError, ModelError, TrainingError, UnknownName
from beft_lib.experiments import Grid, model_name, run_grid
from beft_lib.metrics import interval
from beft_lib.results import KEY, Sheet, read_rows, read_shards, summary, table
from beft_lib.shards import Shard, shard_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture
def grid(folder, data):
    return Grid(str(folder), ["sst2"], ["value", "query", "all_biases"], [0, 1], data, 32, {"epochs": 1})


@pytest.fixture
def started(monkeypatch) -> Iterator[list[tuple[str, int]]]:
    """Every run that is started, real but counted: [(method, seed), …]."""
    seen: list[tuple[str, int]] = []
    fine_tune, probe = experiments.fine_tune, experiments.probe

    def counted(model: Any, task: Any, method: str, **options: Any) -> Any:
        seen.append((method, options["seed"]))
        return fine_tune(model, task, method, **options)

    def counted_probe(model: Any, task: Any, **options: Any) -> Any:
        seen.append(("all_biases", options["seed"]))
        return probe(model, task, **options)

    monkeypatch.setattr(experiments, "fine_tune", counted)
    monkeypatch.setattr(experiments, "probe", counted_probe)
    yield seen


EVERY = [(method, seed) for seed in (0, 1) for method in ("value", "query", "all_biases")]


def kinds(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row["method"], row["seed"]) for row in rows]


def test_every_run_is_a_row_and_is_there_at_once(grid, started, tmp_path):
    out = tmp_path / "new" / "results.json"
    yielded = []
    for row in run_grid(grid, out):
        yielded.append(row)
        assert read_rows(out) == json.loads(json.dumps(yielded))  # stored before it is handed out
    assert kinds(yielded) == started == EVERY and len(grid) == 6
    row = yielded[0]
    assert set(KEY) - {"prompted"} <= set(row)  # that one only where a language model was asked
    assert (row["model"], row["n_train"], row["changes"]) == (grid.model, 32, {"epochs": 1})
    assert row["score"] == row["metric_accuracy"] and row["steps"] == 2 and row["parameters_method"] == 2 * 32
    assert row["machine"]["torch"] and row["finished"].endswith("Z") and "commit" in row
    assert not Path(row["source"]).is_absolute()  # results files travel
    probed = yielded[2]
    assert set(probed["importance"]) == set(probed["magnitude"]) == {"query", "key", "value"}
    assert all(0 <= score <= 2 for score in probed["importance"].values())
    assert list(tmp_path.rglob("*.part")) == []


def test_nothing_is_done_twice(grid, started, tmp_path, folder, data):
    out = tmp_path / "results.json"
    few = Grid(grid.model, ["sst2"], ["value"], [0], data, 32, {"epochs": 1})
    assert len(list(run_grid(few, out))) == 1
    before = out.read_bytes()
    assert list(run_grid(few, out)) == [] and out.read_bytes() == before
    # the same run spelled otherwise: a path, a whole number of epochs as a float, a method given twice
    spelled = Grid(folder, ["sst2"], ["value", "value"], [0, 0], str(data), 32, {"epochs": 1.0})
    assert list(run_grid(spelled, out)) == []
    more = Grid(grid.model, ["sst2"], ["value", "query", "query"], [0], data, 32, {"epochs": 1})
    assert kinds(list(run_grid(more, out))) == [("query", 0)]
    assert started == [("value", 0), ("query", 0)] and kinds(read_rows(out)) == started


def test_a_run_on_other_examples_is_another_run_and_takes_the_place(started, tmp_path, folder):
    """The file of the task was mended: what was measured before is neither taken for it, nor copied, nor kept."""
    place, out = tiny.write_task(tmp_path / "task"), tmp_path / "results.json"
    few = Grid(str(folder), ["sst2"], ["value", "head"], [0], place, 32, {"epochs": 1})
    old = list(run_grid(few, out))
    file = place / "train.csv"
    file.write_text(file.read_text(encoding="utf-8").replace(" was ", " is "), encoding="utf-8")
    new = list(run_grid(replace(few, methods=["value"]), out, known=old))
    assert kinds(new) == [("value", 0)] and new[0]["data"] != old[0]["data"]
    assert [(row["method"], row["data"]) for row in read_rows(out)] == [
        ("head", old[1]["data"]),
        ("value", new[0]["data"]),
    ]
    assert kinds(list(run_grid(few, tmp_path / "other.json", known=old))) == [("value", 0), ("head", 0)]
    for row in (rows := read_rows(out)):
        del row["data"]  # as in files of before: nothing says that the examples were others
    out.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    assert list(run_grid(few, out)) == []


def test_a_run_of_another_file_is_copied_and_not_made_again(started, tmp_path, folder, data):
    first = Grid(str(folder), ["sst2"], ["head", "value"], [0], data, 32, {"epochs": 1}, (1e-3, 1e-2), rulers=True)
    other = list(run_grid(first, tmp_path / "rulers.json"))
    made = len(started)
    assert made == len(other) == 2 * 2 + 2 and "rulers" in other[2]
    more = replace(first, methods=["head", "value", "query"], rulers=False)
    out = tmp_path / "table.json"
    new = list(run_grid(more, out, known=other))
    assert [row["method"] for row in new] == ["query"] * 3 and len(started) == made + 3
    kept = read_rows(out)
    assert len(kept) == 9 and not any("rulers" in row for row in kept)
    assert [row["score"] for row in kept[:6]] == [row["score"] for row in other]
    assert list(run_grid(more, out)) == []


def test_full_is_tried_at_rates_of_its_own(tmp_path, folder, data):
    rates = {"rates": (1e-3, 1e-2), "rates_of": {"full": (3e-4,)}}
    grid = Grid(str(folder), ["sst2"], ["value", "full"], [0], data, 32, {"epochs": 1}, **rates)
    rows = list(run_grid(grid, tmp_path / "results.json"))
    tried = {(row["method"], row["learning_rate"]) for row in rows if row["scored_on"] != "validation"}
    assert tried == {("value", 1e-3), ("value", 1e-2), ("full", 3e-4)}
    (run,) = (row for row in rows if row["method"] == "full" and row["scored_on"] == "validation")
    assert run["learning_rate"] == 3e-4


@pytest.mark.parametrize(
    "change", [{"changes": {"epochs": 1, "learning_rate": 1e-2}}, {"changes": None}, {"n_train": 31}, {"seeds": [2]}]
)
def test_another_recipe_or_size_is_another_run(change, grid, monkeypatch, tmp_path):
    out = tmp_path / "results.json"
    fast = SimpleNamespace(row=lambda: {"metric": "accuracy", "score": 0.5})
    monkeypatch.setattr(experiments, "fine_tune", lambda *a, **k: fast)
    base = {"model": grid.model, "tasks": ["sst2"], "methods": ["value"], "seeds": [0], "data": grid.data}
    base.update(n_train=32, changes={"epochs": 1})
    assert len(list(run_grid(Grid(**base), out))) == 1
    assert len(list(run_grid(Grid(**{**base, **change}), out))) == 1 and len(read_rows(out)) == 2


@pytest.mark.parametrize("where", ["fine_tune", "probe"])
def test_ctrl_c_keeps_what_is_finished_and_the_next_call_goes_on(where, grid, started, monkeypatch, tmp_path):
    """Also in the middle of a probe, which by itself would hand back the half that it saw."""
    import beft_lib.probing as probing

    out = tmp_path / "results.json"
    with monkeypatch.context() as patch:
        if where == "fine_tune":
            real = experiments.fine_tune

            def stop(model, task, method, **options):
                if method == "query":
                    raise KeyboardInterrupt
                return real(model, task, method, **options)

            patch.setattr(experiments, "fine_tune", stop)
        else:

            class Stop(probing._Record):
                def on_step_end(self, *args, **kwargs):
                    raise KeyboardInterrupt

            patch.setattr(probing, "_Record", Stop)
        with pytest.raises(KeyboardInterrupt):
            list(run_grid(grid, out))
    finished = ["value"] if where == "fine_tune" else ["value", "query"]
    assert kinds(read_rows(out)) == [(method, 0) for method in finished]
    kept = read_rows(out)
    started.clear()
    rest = list(run_grid(grid, out))
    assert kinds(rest) == started == EVERY[len(finished) :]
    assert read_rows(out)[: len(finished)] == kept and kinds(read_rows(out)) == EVERY


KILLED = """
import os, sys
from beft_lib import experiments, results
real = results.write_text_whole
def write(path, text):
    if text.count('"finished"') == 2:
        os.kill(os.getpid(), 9)  # after the second run, before it is stored
    return real(path, text)
results.write_text_whole = write
grid = experiments.Grid({folder!r}, ["sst2"], ["value", "query"], [0], {data!r}, 32, {{"epochs": 1}})
list(experiments.run_grid(grid, {out!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_killed_it_goes_on_to_the_same_numbers(folder, data, started, tmp_path):
    out, whole = tmp_path / "killed.json", tmp_path / "whole.json"
    code = KILLED.format(folder=str(folder), data=str(data), out=str(out))
    environment = {**os.environ, "PYTHONPATH": str(Path(experiments.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert kinds(read_rows(out)) == [("value", 0)] and [p.name for p in tmp_path.iterdir()] == ["killed.json"]
    grid = Grid(str(folder), ["sst2"], ["value", "query"], [0], str(data), 32, {"epochs": 1})
    list(run_grid(grid, out))
    assert started == [("query", 0)]
    list(run_grid(grid, whole))
    numbers = ("task", "method", "seed", "score", "steps", "parameters_method", "parameters_head")
    resumed, uninterrupted = ([[row[name] for name in numbers] for row in read_rows(path)] for path in (out, whole))
    assert resumed == uninterrupted


def test_shards_share_the_grid_and_are_read_together(grid, started, tmp_path):
    out = tmp_path / "results.json"
    parts = [list(run_grid(grid, out, shard=Shard(number, 4))) for number in (1, 2, 3, 4)]
    assert [len(part) for part in parts] == [2, 2, 1, 1] and not out.exists()
    assert sorted(kinds([row for part in parts for row in part])) == sorted(EVERY) == sorted(started)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"results.{n}-of-4.json" for n in (1, 2, 3, 4)]
    together = read_shards(out)
    assert sorted(kinds(together)) == sorted(EVERY) and len(summary(together)) == 3
    assert list(run_grid(grid, out)) == [] and list(run_grid(grid, out, shard=Shard(1, 2))) == []  # all is there
    assert len(started) == 6
    alone = read_rows(next(iter(sorted(tmp_path.iterdir()))))
    assert kinds(alone) == [EVERY[0], EVERY[4]]  # every fourth, whatever the machine


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "/2", "a/b", "-1/2", "1/2/3"])
def test_a_shard_that_is_none(text):
    assert shard_of("2/3") == Shard(2, 3)
    with pytest.raises(DataError, match="expected I/N"):
        shard_of(text)


def test_an_unknown_name_stops_before_anything_starts(grid, started, tmp_path):
    out = tmp_path / "results.json"
    for wrong, told in ((["value", "values"], "method 'values'"), (["value"], "task 'rt'")):
        tasks = ["sst2", "rt"] if "task" in told else ["sst2"]
        with pytest.raises(UnknownName, match=rf"Unknown {told}"):
            next(run_grid(Grid(grid.model, tasks, wrong, [0], grid.data, 32), out))
    assert started == [] and not out.exists()


# What a grid cannot run with is said before anything is trained


@pytest.fixture
def no_value_bias(monkeypatch):
    real = experiments.load_model

    def bare(*args: Any, **options: Any) -> Any:
        model = real(*args, **options)
        for part in find_biases(model, ["value"])["value"].parts:
            part.module.bias = None
        return model

    monkeypatch.setattr(experiments, "load_model", bare)


def test_missing_biases_stop_a_grid_before_its_first_run(folder, data, no_value_bias, started, tmp_path):
    grid = Grid(str(folder), ["sst2"], ["head", "value"], [0], data, 32, {"epochs": 1})
    with pytest.raises(ModelError, match=r"no value bias.*add_biases=True; at the command line that is --add-biases"):
        list(run_grid(grid, tmp_path / "results.json"))
    assert started == [] and list(tmp_path.iterdir()) == []
    assert kinds(list(run_grid(replace(grid, methods=["head"]), tmp_path / "results.json"))) == [("head", 0)]


def test_one_class_and_large_batches_stop_a_grid_before_its_first_task(folder, data, started, tmp_path):
    out = tmp_path / "results.json"
    task = load_task("sst2", data, n_train=40)
    same = replace(task, train=task.train.filter(lambda one: one["label"] == 0))
    with pytest.raises(DataError, match=r"nothing to tell apart"):  # the second task's, before the first one's runs
        list(run_grid(Grid(str(folder), [task, same], ["value", "all_biases"]), out))
    few = Grid(str(folder), ["sst2"], ["value"], [0], data, 20, {"epochs": 1}, rates=(1e-3,))
    told = r"batch_size 16 is larger than the 15 .* left of 20 once 25% are held out.*n_train.*at most 15.*no rates"
    with pytest.raises(TrainingError, match=told):
        list(run_grid(few, out))
    with pytest.raises(TrainingError, match=r"batch_size 21 is larger than the 20 .* of sst2. Take more"):
        list(run_grid(replace(few, rates=(), changes={"batch_size": 21}), out))
    assert started == [] and not out.exists()


# A learning rate that diverges


def test_a_rate_that_diverges_is_a_row_and_another_one_is_taken(folder, data, started, tmp_path):
    out = tmp_path / "results.json"
    grid = Grid(str(folder), ["sst2"], ["value"], [0], data, 32, {"epochs": 1}, rates=(1e-3, 1e30))
    good, bad, run = run_grid(grid, out)
    assert run["learning_rate"] == good["learning_rate"] == 1e-3 and bad["learning_rate"] == 1e30
    assert math.isnan(bad["score"]) and "no longer finite" in bad["diverged"] and bad["seconds"] > 0
    stored = read_rows(out)
    assert stored[1]["score"] is None and "NaN" not in out.read_text(encoding="utf-8")
    assert list(run_grid(grid, out)) == [] and len(started) == 3
    assert summary(stored)["seeds"].tolist() == [1]


def test_where_every_rate_diverges_the_grid_says_so_and_tries_none_twice(folder, data, started, tmp_path):
    out = tmp_path / "results.json"
    grid = Grid(str(folder), ["sst2"], ["value"], [0], data, 32, {"epochs": 1}, rates=(1e30,))
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"value on sst2 diverged at every learning rate tried \(1e\+30\)"):
            list(run_grid(grid, out))
    assert len(started) == len(read_rows(out)) == 1


# Which model a role was


def test_a_row_names_the_model_and_not_its_role(folder, data, monkeypatch, started, tmp_path):
    find, other = runtime.find_model, tiny.save(tmp_path / "other", seed=1)
    here = [folder]
    monkeypatch.setattr(
        runtime, "find_model", lambda name: SimpleNamespace(name=str(here[0])) if name == "bert" else find(name)
    )
    grid = Grid("bert", ["sst2"], ["head"], [0], data, 32, {"epochs": 1})
    (first,) = run_grid(grid, tmp_path / "results.json")
    here[0] = other  # the same file in another profile
    (second,) = run_grid(grid, tmp_path / "results.json")
    assert (first["model"], second["model"]) == (str(folder), str(other)) and len(started) == 2
    assert list(run_grid(replace(grid, model=str(folder)), tmp_path / "results.json")) == []
    assert model_name("minilm") == "minilm" and model_name(folder) == str(folder)


def test_a_role_is_the_profile_s_model(monkeypatch):
    monkeypatch.setenv("BEFT_PROFILE", "pocket")
    assert [model_name(role) for role in ("bert", "roberta", "opt")] == ["pocket-bert", "pocket-roberta", "pocket-opt"]


# Results files


@pytest.mark.parametrize(
    "content",
    [b"", b'{"rows": [{"task": "rte"', b"[]", b'{"rows": 5}', b'{"rows": {}}', b'{"rows": [1]}', b"{}", b"\xff\xfe"],
)
def test_a_corrupt_file_is_named_and_set_aside_only_by_who_would_write_it(content, tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    for reader in (read_rows, read_shards):
        with pytest.raises(DataError, match=r"results.json is not a results file.*'rows'"):
            reader(path)
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]
    asides = set()
    for _ in range(2):  # a second one in the same second must not take the first one's place
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            Sheet(path, None)
        (aside,) = {p for p in tmp_path.iterdir() if p not in asides}
        asides.add(aside)
        told = str(error.value)
        assert str(path) in told and aside.name in told and "nothing was overwritten" in told
        assert aside.read_bytes() == content and not path.exists() and aside.suffix == ".json"
    assert len(asides) == 2 and read_rows(path) == []


def test_no_file_is_no_rows(tmp_path):
    assert read_rows(tmp_path / "none.json") == []


# Tables


def row(score: float, seed: int, **changes: Any) -> dict[str, Any]:
    same = {"model": "m", "task": "rte", "source": "real/rte", "n_train": 300, "method": "value", "changes": {}}
    cost = {"seconds": 10.0 + seed, "parameters_method": 96, "parameters_head": 66}
    return {**same, "seed": seed, "metric": "accuracy", "score": score, **cost, **changes}


def test_a_table_has_one_line_a_run():
    rows = [row(0.5, 0), row(0.7, 1)]
    assert table(rows).to_dict("records") == rows


def test_a_summary_is_the_mean_and_interval_over_seeds():
    scores = [0.50, 0.56, 0.62]
    rows = [row(score, seed) for seed, score in enumerate(scores)] + [row(0.9, 0, method="full")]
    value, full = summary(rows).to_dict("records")
    half = interval(np.array(scores))
    assert value == {
        "task": "rte", "method": "value", "metric": "accuracy", "score": pytest.approx(0.56), "±": pytest.approx(half),
        "seeds": 3, "seconds": pytest.approx(11.0), "trained": 96, "head": 66,
    }  # fmt: skip
    assert full["method"] == "full" and full["seeds"] == 1 and math.isnan(full["±"])


@pytest.mark.parametrize(
    "name, other", [("model", "roberta"), ("n_train", 900), ("changes", {"epochs": 2}), ("source", "mini (shipped)")]
)
def test_a_summary_does_not_average_what_is_not_alike(name, other):
    found = summary([row(0.5, 0), row(0.7, 1), row(0.9, 0, **{name: other})]).to_dict("records")
    assert [r["score"] for r in found] == [pytest.approx(0.6), pytest.approx(0.9)]
    assert found[1][name] == other != found[0][name]  # and says which is which
    tasks = summary([row(0.5, 0), row(0.7, 0, task="cola", source="real/cola", n_train=1710)])
    assert list(tasks.columns)[:2] == ["task", "method"] and "n_train" not in tasks  # between tasks it always differs


@pytest.mark.parametrize("values", [[0.5, 0.6], [0.1, 0.5, 0.9, 0.4], list(np.random.default_rng(0).normal(size=30))])
def test_the_interval_is_scipy_s(values):
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert interval(np.array(values)) == pytest.approx((high - low) / 2, rel=1e-12)


def test_the_interval_by_hand_and_at_its_edges():
    assert interval(np.array([1.0, 3.0])) == pytest.approx(12.706204736, rel=1e-9)  # t(0.975, 1) times 1
    assert interval(np.array([2.0, 2.0, 2.0])) == 0
    assert math.isnan(interval(np.array([1.0])))


def test_a_row_names_its_commit_and_whether_code_was_changed(tmp_path, monkeypatch):
    """A results file that is being written is no change of code."""

    def git(*command):
        named = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path), *command]
        subprocess.run(named, check=True, capture_output=True)

    (tmp_path / "beft_lib").mkdir()
    (code := tmp_path / "beft_lib" / "a.py").write_text("1", encoding="utf-8")
    (rows := tmp_path / "rows.json").write_text("[]", encoding="utf-8")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    monkeypatch.setattr(results.runtime, "checkout", lambda: tmp_path)
    rows.write_text("[1]", encoding="utf-8")
    assert re.fullmatch("[0-9a-f]{12}", results.circumstances()["commit"])
    code.write_text("2", encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{12}\+", results.circumstances()["commit"])
    monkeypatch.setattr(results.runtime, "checkout", lambda: tmp_path / "beft_lib" / "nowhere")
    assert results.circumstances()["commit"] == ""
