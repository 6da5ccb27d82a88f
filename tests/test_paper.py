"""The paper's numbers as data: they parse, and the library's recipes are the paper's."""

from __future__ import annotations

import pandas as pd
import pytest

from beft_lib import runtime
from beft_lib.architectures import TERMS
from beft_lib.methods import ASKING, FULL_LEARNING_RATE, METHODS
from beft_lib.prompts import PROMPTS
from beft_lib.recipe import Recipe
from beft_lib.tasks import TASKS

FOLDER = runtime.data_folder() / "paper"
TABLES = {
    "rte_bert": ("method", "trainable_percent", "seconds", "accuracy", "accuracy_std"),
    "opt_six_tasks": ("method", "task", "score"),
    "notebook_sst2": ("method", "accuracy"),
    "notebook_sst2_scores": ("score", "term", "value", "approximate"),
    "recipes": ("task", "learning_rate", "epochs", "low", "medium", "high", "metrics", "sizes_from"),
    "settings": ("side", "setting", "value"),
}


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / f"{name}.csv", encoding="utf-8")


def test_every_table_is_known_and_described():
    found = {path.stem for path in FOLDER.glob("*.csv")}
    assert found == set(TABLES)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.csv`" in readme for name in found)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_parses_with_its_columns_and_no_duplicates(name):
    table = read(name)
    assert tuple(table.columns) == TABLES[name]
    keys = [c for c in table if table[c].dtype.kind not in "iufb" and c not in ("metrics", "sizes_from", "value")]
    assert not table.duplicated(keys).any()
    assert name == "recipes" or not table.isna().any().any()


@pytest.mark.parametrize(
    "name, column", [("rte_bert", "accuracy"), ("opt_six_tasks", "score"), ("notebook_sst2", "accuracy")]
)
def test_percentages_are_percentages(name, column):
    assert read(name)[column].between(1, 100).all()  # above 1: a share written for a percentage would stand out


def test_the_findings_that_the_lessons_quote():
    rte = read("rte_bert").set_index("method")["accuracy"]
    assert rte.idxmax() == "value"
    scores = read("notebook_sst2_scores").pivot(index="score", columns="term", values="value")
    assert scores.loc["importance"].idxmax() == "value" and scores.loc["magnitude"].idxmax() == "query"
    assert (scores["key"] == 0).all()
    assert set(scores.columns) == set(TERMS) <= set(METHODS)
    assert len(read("opt_six_tasks")) == 5 * 6


@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if not row.answers])
def test_the_recipe_of_a_task_is_the_papers(name):
    row, paper = TASKS[name], read("recipes").set_index("task").loc[name]
    assert row.learning_rate == paper["learning_rate"]
    assert row.epochs == paper["epochs"]
    sizes = paper[["low", "medium", "high"]].astype(float).dropna()
    assert dict(row.sizes) == sizes.to_dict()
    assert list(row.metrics) == paper["metrics"].split() or name == "cb"  # cb: the course adds accuracy


def test_the_settings_of_every_run_are_the_papers():
    table = read("settings")
    paper = table[table["side"] == "bert"].set_index("setting")["value"]
    recipe = Recipe(1e-3, 1)
    for name in ("batch_size", "eps", "weight_decay", "clip", "max_length"):
        assert getattr(recipe, name) == float(paper[name]), name
    assert recipe.betas == (float(paper["beta_1"]), float(paper["beta_2"]))
    assert recipe.schedule == paper["schedule"]
    assert float(paper["learning_rate_full"]) == FULL_LEARNING_RATE


@pytest.mark.parametrize("name", PROMPTS)
def test_the_recipe_of_a_prompted_task_is_the_papers(name):
    table = read("settings")
    paper = table[table["side"] == "opt"].set_index("setting")["value"]
    prompt = PROMPTS[name]

    def said(setting):
        return paper.get(f"{setting}_{name}", paper[setting])

    for setting in ("learning_rate", "epochs", "batch_size", "max_length", "n_train", "n_validation"):
        assert getattr(prompt, setting) == float(said(setting)), setting
    assert prompt.schedule == paper["schedule"]
    recipe = Recipe(**prompt.recipe)
    assert recipe.weight_decay == float(paper["weight_decay"]) and recipe.clip == float(paper["clip"])


def test_the_six_tasks_and_the_ways_of_asking_are_the_papers():
    table = read("opt_six_tasks")
    assert set(table["task"]) == set(PROMPTS) and set(ASKING) <= set(table["method"])
    assert ASKING["in_context"].shots == 32 and ASKING["zero_shot"].shots == 0  # PAPER.md
