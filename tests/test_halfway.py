"""Below the floor: frozen layers computed once an example give the result they gave, and are left as they were."""

from contextlib import contextmanager

import numpy as np
import pytest
import tiny
import torch

from beft_lib import load_task, training
from beft_lib.architectures import layers_of
from beft_lib.errors import TrainingError
from beft_lib.halfway import Store, frozen_layers, halfway
from beft_lib.methods import prepare
from beft_lib.recipe import Recipe
from beft_lib.training import train
from beft_lib.wrapping import acting

PAPERS = ["bert", "roberta", "electra", "distilbert", "opt"]
METHODS = {"value@top-half": 2, "head": 4}  # of four layers: how many lie below
NO_DROPOUT = {"bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"), "opt": ("dropout", "attention_dropout")}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=40)


def model_of(family, **changes):
    return tiny.model(family, num_hidden_layers=4, **changes)


def tuned(model, task, method, reuse, monkeypatch, **limits):
    """(training, what was trained, the store, how often the lowest layer was computed) of three epochs of 3 batches."""
    prepare(model, method, 0)
    seen, calls = [], []

    @contextmanager
    def limited(*args, **options):
        with halfway(*args, **options, **limits) as (depth, store):
            yield depth, store
            if store is not None:
                seen.append((store.asked, store.found, len(store), store.bytes))

    monkeypatch.setattr(training, "halfway", limited)
    watched = next(m for m in layers_of(model)[0].modules() if isinstance(m, torch.nn.LayerNorm))
    hook = watched.register_forward_hook(lambda *_: calls.append(1))
    recipe = Recipe(1e-2, 3, reuse=reuse)
    done = train(acting(model), task, recipe, tiny.tokenizer(), progress=False)
    hook.remove()
    trained = {n: p.detach().clone() for n, p in acting(model).named_parameters() if p.requires_grad}
    return done, trained, seen, len(calls)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", PAPERS)
def test_the_same_result_whether_kept_or_computed_every_time(family, method, task, monkeypatch):
    """With dropout above the floor, batches of unequal lengths, and a last batch that is smaller."""
    model = model_of(family)
    outcomes = {}
    for name, limits in {"never kept": {"memory": 0, "disk": 0}, "memory": {}, "file": {"memory": 0}}.items():
        outcomes[name] = tuned(model, task, method, True, monkeypatch, **limits)
    expected, parameters, _, computed = outcomes["never kept"]
    assert computed == 9 and expected.steps == 9 and expected.kept_layers == METHODS[method]
    for name in ("memory", "file"):
        done, trained, ((asked, found, kept, held),), computed = outcomes[name]
        assert computed == 3 and asked == 120 and found >= 80 and kept == len(set(task.train["sentence"]))
        assert (held > 0) == (name == "memory")
        assert np.abs(done.losses - expected.losses).max() < 1e-6
        assert all((trained[n] - p).abs().max() < 1e-6 for n, p in parameters.items())


@pytest.mark.parametrize("family", NO_DROPOUT)
def test_auto_changes_nothing_but_the_time(family, task, monkeypatch):
    without = dict.fromkeys(NO_DROPOUT[family], 0.0)
    model = model_of(family, **without)
    plain, parameters, _, computed = tuned(model, task, "value@top-half", False, monkeypatch)
    done, trained, _, less = tuned(model, task, "value@top-half", "auto", monkeypatch)
    assert (computed, less) == (9, 3) and done.kept_layers == 2 and plain.kept_layers == 0
    assert np.abs(done.losses - plain.losses).max() < 1e-6
    assert all((trained[n] - p).abs().max() < 1e-6 for n, p in parameters.items())
    *_, computed = tuned(model_of(family), task, "value@top-half", "auto", monkeypatch)
    assert computed == 9  # dropout: the recipe comes first


def test_what_does_not_fit_is_computed_every_time(task, monkeypatch):
    done, _, ((_, found, kept, held),), computed = tuned(
        model_of("bert"), task, "head", True, monkeypatch, memory=20_000, disk=0
    )
    assert (
        0 < kept < len(set(task.train["sentence"]))
        and found > 0
        and held <= 20_000
        and computed > 3
        and done.steps == 9
    )


def test_the_model_is_left_as_it_was(task):
    model = model_of("bert")
    prepare(model, "head", 0)
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    with pytest.raises(KeyError), halfway(model, True) as (depth, store):
        assert depth == 4 and store is not None and "forward" in layers_of(model)[0].__dict__
        model.train()
        assert (
            not layers_of(model)[0].training and not model.bert.embeddings.dropout.training and model.dropout.training
        )
        raise KeyError
    after = {name: dict(module.__dict__) for name, module in model.named_modules()}
    assert all(after[name].keys() == before[name].keys() for name in before)
    assert not model.bert._forward_pre_hooks and not model.bert._forward_pre_hooks_with_kwargs
    assert model.train() is model and all(module.training for module in model.modules())


@pytest.mark.parametrize(
    "method, depth", [("head", 4), ("value@3", 3), ("value", 0), ("all_biases", 0), ("full", 0), ("full@top-half", 2),
                      ("lora@top-1", 3), ("lora", 0), ("prefix", 0), ("random_uniform@top-half", 2)],
)  # fmt: skip
def test_how_far_the_floor_goes(method, depth):
    model = model_of("bert")
    prepare(model, method, 0)
    assert frozen_layers(acting(model)) == depth
    model.bert.embeddings.LayerNorm.bias.requires_grad_(True)
    assert frozen_layers(acting(model)) == 0


def test_lora_in_the_upper_half_starts_half_way_up_too(task, monkeypatch):
    done, _, _, computed = tuned(model_of("bert"), task, "lora@top-half", True, monkeypatch)
    assert computed == 3 and done.kept_layers == 2


def test_refusals(task):
    model = model_of("bert")
    prepare(model, "value", 0)
    with pytest.raises(TrainingError, match=r"reuse=True, but the lowest layer is trained.*value@top-half"):
        train(model, task, Recipe(1e-2, 2, reuse=True), tiny.tokenizer())
    with pytest.raises(TrainingError, match="reuse is 'yes'; expected True, False or 'auto'"):
        train(model, task, Recipe(1e-2, 2, reuse="yes"), tiny.tokenizer())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_store_gives_back_what_it_took(dtype):
    store = Store(memory=200, disk=10_000)
    rows = {bytes([n]): torch.randn(3 + n, 4).to(dtype) for n in range(8)}
    for key, row in rows.items():
        store.put(key, row)
    assert store.bytes <= 200 and any(not isinstance(held, torch.Tensor) for held in store._rows.values())
    assert all(torch.equal(store.get(key), row) for key, row in rows.items()) and len(store) == 8
    store.close()
