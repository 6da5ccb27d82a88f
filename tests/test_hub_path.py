"""The hub's path on a machine without one: everything under its real id in a cache fetched before, small stand-ins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny
from datasets import Dataset

from beft_lib import authoring, lesson, load_adapter, load_model, load_task, runtime, save_adapter
from beft_lib.errors import DataError
from beft_lib.methods import fine_tune

PHRASES = ["the film was good .", "she saw the red house .", "he lost a small dog , they found it .", "it was dull ."]


def keep(cache: Path, kind: str, hub: str) -> Path:
    """Where huggingface_hub keeps a snapshot of a repository."""
    repository = cache / f"{kind}--{hub.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc", encoding="utf-8")
    return repository / "snapshots" / "abc"


SINGLE = ("sst2", "cola")  # one sentence; rte has a pair


def fill(cache: Path, *tasks: str) -> None:
    """What the profile colab asks of the hub for a lesson on BERT: two models and some tasks (none named: rte)."""
    for role in ("bert", "roberta"):
        name = next(name for name in runtime.PROFILES["colab"].encoders if runtime.MODELS[name].family == role)
        tiny.save(keep(cache, "models", runtime.MODELS[name].hub), role)
    snapshot = keep(cache, "datasets", "nyu-mll/glue")
    for task in tasks or ("rte",):
        (snapshot / task).mkdir(parents=True)
        for split, n in (("train", 320), ("validation", 24)):
            pairs = [(PHRASES[i % 4], PHRASES[i // 4 % 4], int(i % 4 != i // 4 % 4), i) for i in range(n)]
            rows = [(f"{a} {b}", label, i) for a, b, label, i in pairs] if task in SINGLE else pairs
            names = ("sentence", "label", "idx") if task in SINGLE else ("sentence1", "sentence2", "label", "idx")
            columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
            Dataset.from_dict(columns).to_parquet(str(snapshot / task / f"{split}-00000-of-00001.parquet"))


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


def execute(folder: Path, version: str, cells: int | None = None) -> str:
    """Lesson 05, run in ``folder`` as a learner runs it; everything it said."""
    nbclient = pytest.importorskip("nbclient")
    notebook = authoring.build(authoring.sources()["05"], version)
    code = [number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    notebook.cells = notebook.cells[: None if cells is None else code[cells]]
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, "PYTHONPATH": str(Path(authoring.__file__).parents[1])})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)


@pytest.mark.parametrize("version", authoring.VERSIONS[-1:])
def test_lesson_05_runs_unchanged_on_the_hub_s_models(version: str, offline: Path) -> None:
    fill(offline / "hf", "sst2", "cola")
    told = execute(offline, version)
    assert "profile colab" in told and "the hub (nyu-mll/glue, sst2)" in told
    assert "bert-base-cased" in told and "roberta-base" in told and "No weights" not in told
    for claim in ("PEFT gives the same logits", "there and back, the same logits", "stock keys"):
        assert f"{claim}: True" in told
    assert told.count("Right.") == 4 and ": False" not in told.replace("key bias has hardly moved: False", "")


def test_lesson_05_begins_on_the_next_best_profile(offline: Path) -> None:
    told = execute(offline, "student", cells=4)
    line = next(line for line in told.splitlines() if "cannot be had here" in line)
    assert line.startswith("Lesson 05, profile ") and "BEFT_PROFILE=colab" in line and "prefetch" in line
    assert "(shipped): 300 training examples" in told


def test_models_without_data_say_how_to_get_it(offline: Path) -> None:
    fill(offline / "hf")
    for parquet in (offline / "hf").rglob("*.parquet"):
        parquet.unlink()
    with pytest.raises(DataError, match=r"rte could not be had from the hub.*prefetch"):
        load_task("rte")
