"""Training on a plain Trainer: explicit recipe, frozen means frozen, clean stops, resuming to the same result."""

import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from beft_lib import load_model, load_task, training
from beft_lib.classifying import encode
from beft_lib.errors import TrainingError, UnknownName
from beft_lib.methods import METHODS, prepare, recipe_for
from beft_lib.models import load_tokenizer
from beft_lib.recipe import Recipe
from beft_lib.training import train
from beft_lib.tuning import fine_tune
from beft_lib.wrapping import acting


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def model(task, folder):
    return load_model(folder, task)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def named(model):
    """Parameters and buffers under the names that ``named_parameters`` has (PEFT's state_dict leaves some out)."""
    return {n: p.detach().clone() for n, p in (*model.named_parameters(), *model.named_buffers())}


def test_the_recipe_is_the_paper_s_and_explicit(task, model):
    prepare(model, "value", 0)
    seen = {}

    from transformers import TrainerCallback

    class Look(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            group = kwargs["optimizer"].param_groups
            seen.update(
                eps={g["eps"] for g in group},
                decay={g["weight_decay"] for g in group},
                clip=args.max_grad_norm,
                betas={g["betas"] for g in group},
                schedule=args.lr_scheduler_type,
                lr={g["lr"] for g in group},
            )

    train(model, task, recipe_for(task, METHODS["value"], epochs=1), load_tokenizer(model), callbacks=[Look()])
    assert seen == {
        "eps": {1e-6},
        "decay": {0.0},
        "clip": 1.0,
        "betas": {(0.9, 0.999)},
        "schedule": "constant",
        "lr": {4e-4},
    }
    assert recipe_for(task, METHODS["full"]).learning_rate == 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_only_what_the_method_trains_moves_and_counts_agree(method, task, model):
    counts = prepare(model, method, 0)
    tokenizer, model = load_tokenizer(model), acting(model)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for n, p in model.named_parameters() if n in trained) == counts.method + counts.head
    before = named(model)
    train(model, task, recipe_for(task, METHODS[method], epochs=2, learning_rate=1e-2), tokenizer)
    after = named(model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved <= trained, f"frozen but moved: {moved - trained}"
    assert moved, "nothing was trained"
    if method in ("value", "query"):
        assert len([name for name in moved if "delta" in name]) == 2
    if method == "full":
        assert len(moved) > 0.8 * len(before)


def test_a_run_starts_from_pretrained_whatever_was_done_before(task, model):
    fresh = state(model)
    first = fine_tune(model, task, "value", epochs=2, learning_rate=1e-2)
    for method in ("full", "all_biases", "query"):
        fine_tune(model, task, method, epochs=1, learning_rate=1e-2)
    again = fine_tune(model, task, "value", epochs=2, learning_rate=1e-2)
    assert np.array_equal(first.losses, again.losses) and first.metrics == again.metrics
    from beft_lib.methods import restore

    restore(model)
    assert all(
        torch.equal(fresh[name], value) for name, value in model.state_dict().items() if "classifier" not in name
    )


def test_seeds_change_head_and_batches(task, model):
    one, same, other = (fine_tune(model, task, "value", seed=seed, epochs=1).losses for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_the_task_is_learned(task, model):
    run = fine_tune(model, task, "full", epochs=12, learning_rate=3e-3)  # random weights: biases alone cannot
    assert run.score >= 0.9 and run.losses[-5:].mean() < 0.5 * run.losses[:5].mean()
    assert run.steps == 36 and len(run.losses) == 36 and run.seconds > 0 and run.peak_memory > 1e6


def test_batches_are_padded_to_their_longest(task, model):
    lengths = [len(ids) for ids in encode(task, task.train, load_tokenizer(model))["input_ids"]]
    assert len(set(lengths)) > 1


def test_nan_stops_before_the_update_and_keeps_the_last_good_state(task, model):
    prepare(model, "value", 0)
    steps = []

    from transformers import TrainerCallback

    class Poison(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            steps.append({n: p.detach().clone() for n, p in kwargs["model"].named_parameters() if p.requires_grad})
            if state.global_step == 2:
                kwargs["model"].bert.embeddings.word_embeddings.weight.data[6:] = float("nan")

    with pytest.raises(TrainingError, match=r"nan.* at step 3.*after step 2.*smaller learning rate"):
        train(model, task, Recipe(1e-2, 4), load_tokenizer(model), callbacks=[Poison()])
    assert len(steps) == 2
    assert all(
        torch.equal(p, steps[-1][n]) and p.isfinite().all() for n, p in model.named_parameters() if p.requires_grad
    )


def test_a_batch_larger_than_the_data(task, model):
    with pytest.raises(TrainingError, match=r"batch_size 64 is larger than the 48 training examples"):
        fine_tune(model, task, "value", batch_size=64)


def test_a_recipe_field_that_is_none(task, model):
    with pytest.raises(UnknownName, match=r"recipe field 'epoch'.*Did you mean 'epochs'"):
        fine_tune(model, task, "value", epoch=1)
    with pytest.raises(TrainingError, match=r"learning_rate is 0"):
        fine_tune(model, task, "value", learning_rate=0)


def test_checkpoints_hold_what_is_trained_and_no_model(task, model, tmp_path):
    fine_tune(model, task, "value", epochs=2, folder=tmp_path, progress=False)
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    saved = load_file(checkpoint / "trained.safetensors")
    assert sum(t.numel() for t in saved.values()) == 2 * 32 + 32 + 2 * 32 + 2  # b_v, pooler bias, classifier
    assert sum(f.stat().st_size for f in checkpoint.iterdir()) < 60_000


KILLED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started with Ctrl-C ignored
sys.path.insert(0, {tests!r})
from transformers import TrainerCallback
from beft_lib import load_model, load_task
import beft_lib.training as training
task = load_task("sst2", {data!r}, n_train=48)
model = load_model({folder!r}, task)
def maybe_die(self, args, state, control, **kwargs):
    if state.global_step == {die_at}:
        os.kill(os.getpid(), {signal})
class Die(TrainerCallback):
    on_step_end = maybe_die
from beft_lib.methods import prepare, recipe_for, METHODS
from beft_lib.models import load_tokenizer
prepare(model, "value", 0)
recipe = recipe_for(task, METHODS["value"], epochs=4, learning_rate=1e-2)
training.train(model, task, recipe, load_tokenizer(model), folder={out!r}, save_every=2, callbacks=[Die()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_resumed_equals_uninterrupted(how, task, folder, model, tmp_path):
    """Killed in the middle of an epoch (3 steps each), with dropout on, resumed in another process: the same bits."""
    data = Path(task.source)
    code = KILLED.format(
        tests=str(Path(__file__).parent),
        data=str(data),
        folder=str(folder),
        die_at=7,
        out=str(tmp_path / "run"),
        signal=int(how),
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode != 0 and (tmp_path / "run").is_dir(), done.stderr
    saved = sorted(int(p.name.split("-")[1]) for p in (tmp_path / "run").glob("checkpoint-*"))
    assert saved[-1] == 6
    state = tmp_path / "run" / "checkpoint-6" / "trainer_state.json"
    kept = json.loads(state.read_text(encoding="utf-8"))["log_history"]
    seconds = [entry["seconds"] for entry in kept if "step_loss" in entry]
    assert len(seconds) == 6 and seconds == sorted(seconds) and seconds[0] > 0
    state.write_text(state.read_text(encoding="utf-8").replace(str(seconds[-1]), "1234.5"), encoding="utf-8")
    whole = fine_tune(model, task, "value", epochs=4, learning_rate=1e-2)
    expected = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    resumed = fine_tune(model, task, "value", epochs=4, learning_rate=1e-2, folder=tmp_path / "run")
    assert resumed.steps == 12 and resumed.metrics == whole.metrics
    assert np.array_equal(resumed.losses, whole.losses)
    assert 1234.5 < resumed.seconds < 1300, "what was spent before the kill counts"
    assert all(torch.equal(p, expected[n]) for n, p in model.named_parameters() if n in expected)


def test_an_interrupted_run_gives_no_result_and_harms_none(task, model, monkeypatch):
    """What lesson 00 says of the ■ button: the same cell again, and it starts from pretrained."""

    def press_stop(*_, **__):
        raise KeyboardInterrupt

    whole = fine_tune(model, task, "value", epochs=1, learning_rate=1e-2)
    with monkeypatch.context() as patch:
        patch.setattr(training.Watch, "on_step_end", press_stop)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(model, task, "value", epochs=1, learning_rate=1e-2)
    again = fine_tune(model, task, "value", epochs=1, learning_rate=1e-2)
    assert np.array_equal(again.losses, whole.losses) and again.metrics == whole.metrics


DIES_SAVING = """
import os, signal
from pathlib import Path
from transformers import TrainerState
import beft_lib.training as training
def torn(write):
    def part(*arguments):
        if "checkpoint-4" in str(arguments[-1]):
            Path(arguments[-1]).write_bytes(b'{{"half')
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*arguments)
    return part
{owner}.{write} = torn({owner}.{write})
from beft_lib import load_model, load_task
from beft_lib.methods import prepare, recipe_for, METHODS
from beft_lib.models import load_tokenizer
from beft_lib.training import train
task = load_task("sst2", {data!r}, n_train=48)
model = load_model({folder!r}, task)
prepare(model, "value", 0)
recipe = recipe_for(task, METHODS["value"], epochs=4, learning_rate=1e-2)
train(model, task, recipe, load_tokenizer(model), folder={out!r}, save_every=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
@pytest.mark.parametrize("write", ["training.save_file", "TrainerState.save_to_json"])
def test_killed_while_saving_and_resumed_equals_uninterrupted(write, task, folder, model, tmp_path):
    """The checkpoint being written is lost, the one before it is not."""
    out = tmp_path / "run"
    owner, name = write.split(".")
    code = DIES_SAVING.format(owner=owner, write=name, data=str(task.source), folder=str(folder), out=str(out))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = [file for file in (out / "checkpoint-4").iterdir() if file.read_bytes() == b'{"half']
    assert (out / "checkpoint-2").is_dir() and left.name in (training.TRAINED_FILE, "trainer_state.json")
    whole = fine_tune(model, task, "value", epochs=4, learning_rate=1e-2)
    resumed = fine_tune(model, task, "value", epochs=4, learning_rate=1e-2, folder=out)
    assert resumed.steps == 12 and resumed.metrics == whole.metrics
    assert np.array_equal(resumed.losses, whole.losses)


def test_a_half_written_checkpoint_is_passed_over(task, model, tmp_path):
    whole = fine_tune(model, task, "value", epochs=2, folder=tmp_path / "a")
    broken = tmp_path / "a" / "checkpoint-999"
    broken.mkdir()
    (broken / "trained.safetensors").write_bytes(b"half")
    (broken / "trainer_state.json").write_text('{"global_step": 99', encoding="utf-8")
    again = fine_tune(model, task, "value", epochs=2, folder=tmp_path / "a")
    assert not broken.exists() and np.array_equal(again.losses, whole.losses)


def test_checkpoints_of_another_run_are_refused(task, model, tmp_path):
    fine_tune(model, task, "value", epochs=1, folder=tmp_path)
    kept = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    with pytest.raises(TrainingError, match=r"another run.*empty folder"):
        fine_tune(model, task, "value", epochs=1, learning_rate=1e-3, folder=tmp_path)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == kept


@pytest.mark.parametrize("method", ["value", "full", "lora"])
def test_checkpoints_of_another_base_are_refused(method, task, model, tmp_path):
    """As cased after uncased: the same shapes, names and data, other weights."""
    other = load_model(tiny.save(tmp_path / "other", seed=1), task)
    fine_tune(model, task, method, epochs=1, folder=tmp_path / "run")
    with pytest.raises(TrainingError, match=r"another run \(different: base\)"):
        fine_tune(other, task, method, epochs=1, folder=tmp_path / "run")
    fine_tune(model, task, "full", epochs=1, learning_rate=1e-2)
    assert fine_tune(model, task, method, epochs=1, folder=tmp_path / "run").steps == 3  # ours is still known


def test_checkpoints_of_another_wording_are_refused(task, model, tmp_path):
    prepare(model, "value", 0)
    recipe, tokenizer = Recipe(1e-3, 1), load_tokenizer(model)
    train(model, task, recipe, tokenizer, folder=tmp_path)
    worded = replace(task, row=replace(task.row, texts=("it was said : {sentence}",)))
    with pytest.raises(TrainingError, match=r"another run \(different: wording\)"):
        train(model, worded, recipe, tokenizer, folder=tmp_path)
    asked = load_task("rte", "pocket", prompted=True, n_train=16)
    assert asked.prompt is not None
    other = replace(asked, prompt=replace(asked.prompt, template=asked.prompt.template + " "))
    one, two = (training._identity(model, each, recipe, 0) for each in (asked, other))
    assert {name for name in one if one[name] != two[name]} == {"wording"}
    train(model, task, recipe, tokenizer, folder=tmp_path)  # trained on from where it is: still the same run


@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_option_of_the_trainer_is_an_old_one(tmp_path, checkpointing):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        made = training.arguments_for(Recipe(1e-3, 1.0, checkpointing=checkpointing), tmp_path, 0, None)
    assert bool(made.gradient_checkpointing) == checkpointing  # the older name is kept beside the newer
