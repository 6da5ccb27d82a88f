"""What ``test_fsdp`` starts twice at once by ``accelerate launch``: each process writes down what it has found."""

import json
import sys
from functools import partial
from pathlib import Path

import torch
from accelerate import PartialState

from beft_lib import fsdp, load_model, load_task, training, tuning
from beft_lib.architectures import layers_of
from beft_lib.errors import TrainingError
from beft_lib.methods import prepare
from beft_lib.wrapping import acting

METHODS = ("value", "value@top-half", "lora", "prefix", "all_biases")
PROMPTED = (("cb", "value"), ("squad", "lora"))
CHANGES = dict(epochs=2, learning_rate=1e-2)
LEAVES = dict(dropout=0.0, attention_dropout=0.0)


def numbers(run, model):
    trained = {n: p.detach().flatten().tolist() for n, p in acting(model).named_parameters() if p.requires_grad}
    return {"losses": run.losses.tolist(), "metrics": run.metrics, "trained": trained}


def watched(found):
    """``train``, noting how much of the layers the process held before and after."""

    def train(model, *args, **options):
        layers = layers_of(getattr(model, "get_base_model", lambda: model)())
        before = fsdp.is_in_pieces(model), sum(map(fsdp.local_bytes, layers))
        done = training.train(model, *args, **options)
        found.append([*before, sum(map(fsdp.local_bytes, layers))])
        return done

    return train


def language(task):
    """A task in words, its model without dropout."""
    task = load_task(task, "pocket", prompted=True, n_train=16, n_validation=8)
    return load_model("pocket-opt", task, **LEAVES), task


def interrupted(model, task, folder):
    """A run that is stopped at its fifth step, and gone on with: both by pieces."""
    tuning.train = partial(training.train, save_every=2)
    step, done = training.BiasTrainer.training_step, []

    def stopping(*args, **options):
        done.append(1)
        if len(done) == 5:
            raise KeyboardInterrupt
        return step(*args, **options)

    training.BiasTrainer.training_step = stopping
    try:
        tuning.fine_tune(model, task, "value", fsdp=True, folder=folder, **CHANGES)
    except KeyboardInterrupt:
        left = [type(p).__name__ for p in model.parameters()]
    run = tuning.fine_tune(model, task, "value", fsdp=True, folder=folder, **CHANGES)
    return {"steps": len(done), "left": sorted(set(left)), **numbers(run, model)}


def pieces(model):
    """What is in pieces, what it computes, and what is left of it afterwards."""
    prepare(model, "value", 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    words = {"input_ids": torch.arange(24).reshape(3, 8) % 40}
    model.eval()
    with torch.no_grad(), fsdp.in_pieces(model) as twin:
        told = {
            "apart": (twin.eval()(**words).logits - model(**words).logits).abs().max().item(),
            "layers": fsdp.local_bytes(layers_of(twin)[0]) / fsdp.local_bytes(layers_of(model)[0]),
            "whole_inside": not fsdp.is_in_pieces(model),
        }
    after = model.state_dict()
    same = before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    return {**told, "same": same, "kind": type(model).__name__}


def refused(model, task):
    try:
        tuning.fine_tune(model, task, "full", fsdp=True, **CHANGES)
    except TrainingError as error:
        return str(error)


def main(folder: str, data: str, out: str) -> None:
    task = load_task("sst2", data, n_train=43)
    model = load_model(folder, task)
    told = {"seeds": [numbers(run, model) for run in tuning.fine_tune(model, task, "value", seeds=[1, 0], **CHANGES)]}
    told["held"] = []
    tuning.train = watched(told["held"])
    for method in METHODS:
        changes = {**CHANGES, "checkpointing": method in ("value@top-half", "lora")}
        told[method] = numbers(tuning.fine_tune(model, task, method, fsdp=True, **changes), model)
    for name, method in PROMPTED:
        opt, asked = language(name)
        told[name] = numbers(tuning.fine_tune(opt, asked, method, fsdp=True, **CHANGES), opt)
    told["pieces"], told["refused"] = pieces(model), refused(model, task)
    told["interrupted"] = interrupted(model, task, Path(out) / "checkpoints")
    (Path(out) / f"{PartialState().process_index}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
