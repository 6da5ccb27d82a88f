"""What the hub would have, as a cache fetched before: small stand-ins under the real ids."""

from __future__ import annotations

import shutil
from pathlib import Path

import tiny
from datasets import Dataset

from beft_lib import PROMPTS, load_task, runtime
from beft_lib.task_table import TASKS

PHRASES = ["the film was good .", "she saw the red house .", "he lost a small dog , they found it .", "it was dull ."]


def keep(cache: Path, kind: str, hub: str) -> Path:
    """Where huggingface_hub keeps a snapshot of a repository."""
    repository = cache / f"{kind}--{hub.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc", encoding="utf-8")
    return repository / "snapshots" / "abc"


SINGLE = ("sst2", "cola")  # one sentence; rte and stsb have a pair


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
            if task == "stsb":
                pairs = [(a, b, 5.0 - 4.0 * label - i % 2, i) for a, b, label, i in pairs]
            if task == "sst2":  # not cola's labels: two adapters that learned the same could not be told apart
                pairs = [(a, b, int(i % 4 < 2), i) for a, b, label, i in pairs]
            rows = [(f"{a} {b}", label, i) for a, b, label, i in pairs] if task in SINGLE else pairs
            names = ("sentence", "label", "idx") if task in SINGLE else ("sentence1", "sentence2", "label", "idx")
            columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
            Dataset.from_dict(columns).to_parquet(str(snapshot / task / f"{split}-00000-of-00001.parquet"))


def fill_prompted(cache: Path, decoder: str) -> None:
    """What it asks for a lesson on OPT: pocket-opt under a large one's id, the pocket tasks in the hub's columns.

    The encoder is there too, since a profile is not picked without it.
    """
    encoder = runtime.MODELS[runtime.PROFILES["colab"].encoder]
    tiny.save(keep(cache, "models", encoder.hub), encoder.family)
    shutil.copytree(runtime.locate_model("pocket-opt").path, keep(cache, "models", decoder))
    for name in PROMPTS:
        row, task = TASKS[name], load_task(name, "pocket", n_train=300, n_validation=100)
        at = cache / f"datasets--{row.hub.replace('/', '--')}" / "snapshots" / "abc"
        (at if at.exists() else keep(cache, "datasets", row.hub)).joinpath(row.subset).mkdir(parents=True)
        for split, examples in (("train", task.train), (row.validation, task.validation)):
            nested = examples
            if row.answers:  # "answers.text" on the hub is a column "answers" that holds "text"
                outer, inner = row.answers.split(".")
                column = [{inner: found} for found in examples["label"]]
                nested = examples.remove_columns("label").add_column(outer, column)
            nested.to_parquet(str(at / row.subset / f"{split}-00000-of-00001.parquet"))
