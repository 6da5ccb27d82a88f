"""A batch that fits: halved where the memory is too small, shared among processes; the same result either way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

import beft_lib
from beft_lib import fitting, load_model, load_task, training
from beft_lib.errors import TrainingError
from beft_lib.tuning import fine_tune

NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
# Without a GPU, "--multi_gpu" means several processes over gloo; "--cpu" would start one.
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
          "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=42)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


def trained(model):
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def too_small(model, rows, error=None, scoring=1000):
    """A model on a device with room for so many examples while training; counts the sizes that were tried."""
    tried = []

    def check(module, args, kwargs):
        size = len(kwargs["input_ids"])
        tried.append(size)
        if size > (rows if module.training else scoring):
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    model.register_forward_pre_hook(check, with_kwargs=True)
    return tried


def test_what_does_not_fit_is_halved_and_the_result_is_the_same(task, folder):
    whole = load_model(folder, task, **NO_DROPOUT)
    expected = fine_tune(whole, task, "value", epochs=2, learning_rate=1e-2)
    small = load_model(folder, task, **NO_DROPOUT)
    tried = too_small(small, rows=5)
    with pytest.warns(UserWarning, match=r"did not fit the memory.*examples at a time.*stays the same") as told:
        run = fine_tune(small, task, "value", epochs=2, learning_rate=1e-2)
    assert sum("did not fit" in str(one.message) for one in told) == 2  # once a halving, not once a step
    assert tried[:3] == [16, 8, 4] and expected.pieces == 1 and run.pieces == 4
    assert run.row()["pieces"] == 4 and run.steps == expected.steps == 6
    assert np.abs(run.losses - expected.losses).max() < 1e-6 and run.metrics == expected.metrics
    one, other = trained(whole), trained(small)
    assert all((one[name] - other[name]).abs().max() < 1e-6 for name in one)


def test_what_does_not_fit_while_scoring_is_halved_and_the_run_is_kept(task, folder):
    expected = fine_tune(load_model(folder, task, **NO_DROPOUT), task, "value", epochs=1, learning_rate=1e-2)
    small = load_model(folder, task, **NO_DROPOUT)
    tried = too_small(small, rows=16, scoring=5)
    with pytest.warns(UserWarning, match=r"did not fit the memory while scoring sst2.*answers stay the same") as told:
        run = fine_tune(small, task, "value", epochs=1, learning_rate=1e-2)
    sizes = [int(str(one.message).split()[0]) for one in told if "while scoring" in str(one.message)]
    assert sizes == [64, 32, 16, 8] and max(tried[-3:]) <= 4
    assert run.metrics == expected.metrics and run.score == expected.score
    too_small(small, rows=16, scoring=0)
    with pytest.warns(UserWarning), pytest.raises(TrainingError, match=r"one example at a time, while scoring sst2"):
        fine_tune(small, task, "value", epochs=1)


def test_one_example_too_large_and_other_errors(task, folder):
    model = load_model(folder, task)
    too_small(model, rows=0)
    with (
        pytest.warns(UserWarning),
        pytest.raises(TrainingError, match=r"Out of memory with 1 of 16 examples.*max_length"),
    ):
        fine_tune(model, task, "value", epochs=1)
    model = load_model(folder, task)
    too_small(model, rows=5, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fine_tune(model, task, "value", epochs=1)


def test_several_processes_cannot_part_a_step_further_and_say_so():
    trainer = object.__new__(fitting.FittingTrainer)
    trainer.pieces, trainer.group, trainer.args = 1, 1, SimpleNamespace(world_size=2)
    with pytest.raises(TrainingError, match=r"shared by 2 processes.*more processes, a smaller batch_size"):
        trainer._halve({"labels": torch.zeros(16)}, torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.skipif(sys.platform == "win32", reason="gloo is not in Windows' torch")
def test_two_processes_give_what_one_gives(task, folder, tmp_path):
    """The same global batch, the last one smaller and odd; one answer printed, one adapter written."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **NO_DROPOUT}), encoding="utf-8")
    tune = ["-m", "beft_lib", "tune", "--model", str(folder), "--task", "sst2", "--data", str(task.source),
            "--n-train", "43", "--epochs", "2", "--learning-rate", "1e-2", "--json", "--save"]  # fmt: skip
    # A copy of the package alone, as installed: nothing is set up.
    package = Path(beft_lib.__file__).parent
    shutil.copytree(package, tmp_path / "beft_lib", ignore=shutil.ignore_patterns("pocket", "__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    told = []
    for name, command in (("one", [*tune, "one"]), ("two", [*LAUNCH, *tune, "two"])):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True,
            encoding="utf-8",
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"
        assert done.stdout.count("\n") == 1, done.stdout
        told.append(json.loads(done.stdout))
    for field in ("score", "metric_accuracy", "steps", "parameters_method", "n_train"):
        assert told[0][field] == told[1][field]
    from safetensors.torch import load_file

    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys() and all((one[key] - two[key]).abs().max() < 1e-5 for key in one)
    assert max(value.abs().max() for key, value in one.items() if "beft_bias" in key) > 1e-3


@pytest.mark.parametrize(("name", "told"), [("is_fsdp_enabled", "FSDP"), ("is_deepspeed_enabled", "DeepSpeed")])
def test_parameters_in_pieces_are_refused_before_anything_is_trained(task, folder, monkeypatch, name, told):
    class Cut(training.BiasTrainer):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            setattr(self, name, True)

        def train(self, *args, **options):
            pytest.fail("trained")

    monkeypatch.setattr(training, "BiasTrainer", Cut)
    model = load_model(folder, task)
    with pytest.raises(TrainingError, match=f"{told}.*--multi_gpu"):
        fine_tune(model, task, "value", max_steps=1)
