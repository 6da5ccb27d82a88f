"""The six-task table: only runs that count, intervals over seeds, the paper beside ours, and a command that is real."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from beft_lib import six_tasks
from beft_lib.commands_science import add_measure
from beft_lib.methods import method_row
from beft_lib.metrics import interval
from beft_lib.prompts import PROMPTS
from beft_lib.runtime import data_folder


def row(task: str, method: str, seed: int, score: float, **others):
    return {
        "task": task, "method": method, "seed": seed, "score": score, "seconds": 2.0 + seed, "scoring_seconds": 1.0,
        "n_validation": 500, "parameters_method": 640, "file_bytes": 2500, "model": "pocket-opt", "prompted": True,
        "scored_on": "validation", **others,
    }  # fmt: skip


SCORES = {("sst2", "value"): (0.9, 0.94), ("sst2", "zero_shot"): (0.95, 0.95), ("rte", "value"): (0.6, 0.7)}
ROWS = [row(task, method, seed, score) for (task, method), every in SCORES.items() for seed, score in enumerate(every)]
NOT_COUNTED = [
    row("sst2", "value", 0, 0.1, scored_on="held-out part of train"),
    row("sst2", "value", 0, 0.1, prompted=False),
    row("cola", "value", 0, 0.1),
]


def test_means_and_intervals_are_those_of_the_runs_that_count():
    means, halves = six_tasks.scores([*ROWS, *NOT_COUNTED])
    assert list(means.index) == ["value", "zero_shot"] and list(means) == ["sst2", "rte"]
    for (task, method), every in SCORES.items():
        assert means.loc[method, task] == pytest.approx(100 * np.mean(every))
        assert halves.loc[method, task] == pytest.approx(100 * interval(np.array(every)))
    assert np.isnan(means.loc["zero_shot", "rte"])


def test_the_table_has_scores_and_costs():
    table = six_tasks.table(ROWS)
    assert list(table) == ["sst2", "rte", *six_tasks.COST]
    assert table.loc["value", "sst2"].startswith("92.0 ± 25.4") and table.loc["zero_shot", "rte"] == "–"
    assert table.loc["value", list(six_tasks.COST)].tolist() == ["640", "2.5", "0.20", "2.5"]
    assert six_tasks.table(ROWS[:1]).loc["value", "sst2"] == "90.0"  # one seed has no interval


def test_gaps_stand_beside_the_papers_and_other_signs_are_told():
    gaps, paper = six_tasks.gaps(ROWS), six_tasks.paper()
    assert gaps.loc["sst2", "value − zero_shot, ours"] == pytest.approx(-3)
    assert gaps["value − lora, paper"].tolist() == (paper.loc["value"] - paper.loc["lora"]).tolist()
    assert "value − lora, ours" not in gaps


def test_only_differences_beyond_chance_are_told():
    def runs(task, method, score):  # value's seeds spread more, or the differences would have no spread to test by
        return [row(task, method, s, score + s * (0.002 if method == "value" else 0.001)) for s in range(3)]

    steady = [*runs("rte", "value", 0.7), *runs("rte", "lora", 0.6)]
    below = [*runs("cb", "value", 0.4), *runs("cb", "zero_shot", 0.5)]
    told = six_tasks.told([*ROWS[:4], *steady, *below]).splitlines()
    assert "value against zero_shot: the other way round on cb; too close to tell on sst2" in told
    assert "value against lora: the other way round on rte" in told  # the paper: LoRA is ahead


def test_without_rows_the_command_is_told_and_the_paper_shown():
    assert six_tasks.COMMAND in six_tasks.told([]) and set(six_tasks.table([]).to_numpy().ravel()) == {"–"}
    assert list(six_tasks.gaps([])) == [f"{a} − {b}, paper" for a, b in six_tasks.PAIRS]
    assert six_tasks.measured(data_folder() / "no such file.json") == []


def test_the_command_is_one_that_the_command_line_knows():
    parser = argparse.ArgumentParser()
    add_measure(parser)
    args = parser.parse_args(six_tasks.COMMAND.removeprefix("python -m beft_lib measure ").split())
    assert args.tasks == list(PROMPTS) and len(args.seeds) == 5 and args.prompted
    assert [method_row(method).name for method in args.methods] == list(six_tasks.METHODS)
    assert set(six_tasks.paper().index) < set(args.methods)
    readme = (data_folder() / "results" / "README.md").read_text(encoding="utf-8")
    assert six_tasks.COMMAND in readme and six_tasks.RESULTS in readme


def test_what_lesson_06_says_of_the_paper():
    paper = six_tasks.paper()
    ahead = paper.loc["value"] - paper.loc["zero_shot"]
    assert ahead.min() > 3 and round(ahead["sst2"]) == 4 and set(ahead.index[ahead > 30]) == {"cb", "squad"}
    tuned = paper.loc[["value", "lora", "prefix"]]
    spread = tuned.max() - tuned.min()
    assert spread.max() < 4 and (spread < 2).sum() == 4
    shown = paper.loc["in_context"] - paper.loc["zero_shot"]
    assert set(shown.index[shown < 0]) == {"rte", "wic"}
