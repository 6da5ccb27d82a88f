"""Pictures of asking: every number is told, and what is drawn is what was given."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes

from beft_lib import plots_asking, six_tasks
from beft_lib.display import descriptions
from beft_lib.planning import OPT, estimate_memory
from beft_lib.prompts import PROMPTS


def figure_of(axes: Axes) -> Any:
    return axes.get_figure(root=True)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_demonstrations_that_did_not_fit_are_hollow():
    scores = pd.DataFrame({"sst2": [0.5, 0.6, 0.7], "squad": [0.2, 0.8, 0.3]}, index=[0, 1, 4])
    counts = pd.DataFrame({"sst2": [0.0, 1.0, 4.0], "squad": [0.0, 1.0, 2.5]}, index=[0, 1, 4])
    first = plots_asking.shots(scores, counts, 56, plots_asking.chance(PROMPTS))
    hollow = [[len(line.get_xdata()) for line in ax.lines if line.get_markerfacecolor() == "white"]
              for ax in figure_of(first).axes]  # fmt: skip
    assert hollow == [[0], [1]]
    (told,) = descriptions(first)
    assert "squad 0.20–0.80–0.30" in told.alt and told.table.loc[4, "squad, shown"] == 2.5


@pytest.mark.parametrize("there", [True, False])
def test_six_tasks_with_and_without_a_measurement(there: bool):
    paper = six_tasks.paper()
    ours = paper.loc[["value", "zero_shot"]] - 10
    ours.loc["in_context@2"] = 50.0
    first = plots_asking.six_tasks(paper, *((ours, ours * 0 + 2) if there else (pd.DataFrame(), pd.DataFrame())))
    (told,) = descriptions(first)
    assert len(figure_of(first).axes) == len(told.table) == 6
    assert told.table.loc["sst2", "value, paper"] == 88.6
    assert ("value, ours" in told.table) is there is ("Nothing of ours" not in told.alt)
    assert ("in_context@2" in [label.get_text() for label in first.get_yticklabels()]) is there


def test_memory_bars_are_the_estimate():
    first = plots_asking.memory(("value", "full"), card=20, dtype=torch.bfloat16)
    table: Any = descriptions(first)[0].table
    for model, method, gigabytes in table[["model", "method", "GB"]].to_numpy():
        parts = estimate_memory(f"facebook/{model}", method, dtype=torch.bfloat16)
        assert gigabytes == pytest.approx(sum(parts.values()) / 1e9)
    charts: Any = figure_of(first).axes
    widths = [sum(bar.get_width() for bar in ax.patches) for ax in charts]
    assert widths == pytest.approx(table.groupby("model", sort=False)["GB"].sum().tolist())
    assert [any(line.get_linestyle() == "--" for line in ax.lines) for ax in charts] == [False, True, True]
    keys = [key for _, _, keys in plots_asking.PARTS.values() for key in keys]
    assert sorted(keys) == sorted(estimate_memory("facebook/opt-125m", dtype=torch.bfloat16))


def test_shapes():
    table = plots_asking.shape_table()
    assert len(table) == len(OPT) and table.loc["opt-6.7b", "value"] == 131_072
    assert (table["lora"] == 32 * table["value"]).all() and (table["prefix"] == 10 * table["value"]).all()
