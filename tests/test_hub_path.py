"""The hub's path on a machine without one: everything under its real id in a cache fetched before, small stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from datasets import Dataset

from beft_lib import lesson, load_adapter, load_model, load_task, runtime, save_adapter
from beft_lib.errors import DataError
from beft_lib.methods import fine_tune

PHRASES = ["the film was good .", "she saw the red house .", "he lost a small dog , they found it .", "it was dull ."]


def keep(cache: Path, kind: str, hub: str) -> Path:
    """Where huggingface_hub keeps a snapshot of a repository."""
    repository = cache / f"{kind}--{hub.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc", encoding="utf-8")
    return repository / "snapshots" / "abc"


def fill(cache: Path) -> None:
    """What the profile colab asks of the hub for a lesson on BERT: two models and a task."""
    for role in ("bert", "roberta"):
        name = next(name for name in runtime.PROFILES["colab"].encoders if runtime.MODELS[name].family == role)
        tiny.save(keep(cache, "models", runtime.MODELS[name].hub), role)
    glue = keep(cache, "datasets", "nyu-mll/glue") / "rte"
    glue.mkdir(parents=True)
    for split, n in (("train", 320), ("validation", 24)):
        rows = [(PHRASES[i % 4], PHRASES[i // 4 % 4], int(i % 4 != i // 4 % 4), i) for i in range(n)]
        columns = dict(zip(("sentence1", "sentence2", "label", "idx"), map(list, zip(*rows, strict=True)), strict=True))
        Dataset.from_dict(columns).to_parquet(str(glue / f"{split}-00000-of-00001.parquet"))


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


def test_models_without_data_say_how_to_get_it(offline: Path) -> None:
    fill(offline / "hf")
    for parquet in (offline / "hf").rglob("*.parquet"):
        parquet.unlink()
    with pytest.raises(DataError, match=r"rte could not be had from the hub.*prefetch"):
        load_task("rte")
