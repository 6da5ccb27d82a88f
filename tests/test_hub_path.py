"""The hub's path on a machine without one: everything under its real id in a cache fetched before, small stand-ins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stand_ins import fill, fill_prompted

from beft_lib import authoring, lesson, load_adapter, load_model, load_task, save_adapter
from beft_lib.errors import DataError
from beft_lib.tuning import fine_tune


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """BEFT_PROFILE=colab, no hub, caches of this test alone."""
    for name, folder in (("BEFT_HOME", "home"), ("HF_HUB_CACHE", "hf"), ("HF_DATASETS_CACHE", "hfd")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("BEFT_PROFILE", "colab")
    return tmp_path


@pytest.mark.parametrize("where", ["home/hub", "hf"])
def test_colab_runs_unchanged_from_a_prepared_cache(where: str, offline: Path) -> None:
    fill(offline / where)
    assert lesson.start("05").choice.profile.name == "colab"
    task = load_task("rte")
    assert task.source == "the hub (nyu-mll/glue, rte)" and len(task.train) == 300
    for role, hub in (("bert", "google-bert/bert-base-cased"), ("roberta", "FacebookAI/roberta-base")):
        model = load_model(role, task)
        run = fine_tune(model, task, "value", max_steps=2)
        assert run.steps == 2 and 0 <= run.score <= 1 and run.counts.method == 2 * 32
        folder = save_adapter(run, offline / role)
        assert load_adapter(load_model(role, task, seed=5), folder)["base"]["hub"] == hub


def test_with_no_cache_and_no_hub_it_is_one_line_and_the_next_best_profile(offline: Path) -> None:
    choice = lesson.start("05").choice
    assert choice.profile.name in ("laptop", "pocket")
    assert choice.reason.startswith("BEFT_PROFILE=colab cannot be had here, so this is ")
    assert "prefetch" in choice.reason and "\n" not in choice.reason
    assert choice.reason in repr(lesson.start("05"))
    assert load_task("rte").source.startswith(choice.profile.data)


def execute(folder: Path, version: str, cells: int | None = None, number: str = "05") -> str:
    """The lesson, run in ``folder`` as a learner runs it; everything it said."""
    nbclient = pytest.importorskip("nbclient")
    notebook = authoring.build(authoring.sources()[number], version)
    code = [place for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    notebook.cells = notebook.cells[: None if cells is None else code[cells]]
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, "PYTHONPATH": str(Path(authoring.__file__).parents[1])})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)


@pytest.mark.parametrize("version", authoring.VERSIONS[-1:])
def test_lesson_05_runs_unchanged_on_the_hub_s_models(version: str, offline: Path) -> None:
    fill(offline / "hf", "stsb", "sst2", "cola")
    told = execute(offline, version)
    assert "profile colab" in told and "the hub (nyu-mll/glue, stsb)" in told
    assert "bert-base-cased" in told and "roberta-base" in told and "No weights" not in told
    for claim in ("PEFT gives the same logits", "there and back, the same logits", "stock keys"):
        assert f"{claim}: True" in told
    assert told.count("Right.") == 4 and ": False" not in told.replace("key bias has hardly moved: False", "")


def test_lesson_06_runs_unchanged_on_the_hub_s_opt(offline: Path) -> None:
    fill_prompted(offline / "hf", "facebook/opt-1.3b")
    told = execute(offline, authoring.VERSIONS[-1], number="06")
    assert "Lesson 06, profile colab" in told
    for claim in ("the library's are the same", "key answers exactly like zero-shot", "value's loss fell"):
        assert f"{claim}: True" in told
    assert told.count("Right.") == 4 and ": False" not in told


def test_lesson_05_begins_on_the_next_best_profile(offline: Path) -> None:
    told = execute(offline, "student", cells=4)
    line = next(line for line in told.splitlines() if "cannot be had here" in line)
    assert line.startswith("Lesson 05, profile ") and "BEFT_PROFILE=colab" in line and "prefetch" in line
    assert "(shipped): 300 training examples" in told


def test_models_without_data_are_not_enough_and_how_to_get_it_is_said(offline: Path) -> None:
    fill(offline / "hf")
    for parquet in (offline / "hf").rglob("*.parquet"):
        parquet.unlink()
    choice = lesson.start("05").choice
    assert choice.profile.name in ("laptop", "pocket") and load_task("rte").source.startswith(choice.profile.data)
    assert "data sets (nyu-mll/glue) are not here" in choice.reason and "prefetch colab" in choice.reason
    with pytest.raises(DataError, match=r"rte could not be had from the hub.*prefetch"):
        load_task("rte", "hub")
