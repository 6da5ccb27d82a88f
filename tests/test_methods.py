"""Every way to tune: what it trains and nothing else, on every family; and the stock model back, bit for bit."""

import inspect
import math

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save
from scipy import stats

from beft_lib import TERMS, load_model, load_task, sparse, tuning, wrapping
from beft_lib.architectures import head_parameters, layers_of
from beft_lib.biases import all_deltas, find_biases
from beft_lib.errors import TrainingError, UnknownName
from beft_lib.methods import METHODS, Method, method_row, prepare, restore
from beft_lib.runs import Runs, stored_bytes
from beft_lib.tuning import fine_tune
from beft_lib.wrapping import acting

PAPERS = ["bert", "roberta", "electra", "distilbert", "opt"]
IDS = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(0))
WAYS = [*METHODS, "query+value", "key+value", "value@top-half", "all_biases@top-half", "full@0", "lora@top-1",
        "random_uniform@bottom-half"]  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


def logits(model):
    with torch.no_grad():
        return acting(model)(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def takes(method, model):
    """Whether the method exists for the model: DistilBERT has no place for a prefix, and says so."""
    return method != "prefix" or "past_key_values" in inspect.signature(model.base_model.forward).parameters


def step(model):
    """One large step on everything that is trained."""
    chosen = acting(model)
    loss = chosen(input_ids=IDS, attention_mask=torch.ones_like(IDS), labels=torch.tensor([0, 1, 0])).loss
    loss.backward()
    with torch.no_grad():
        for parameter in chosen.parameters():
            if parameter.grad is not None:
                parameter.add_(torch.randn_like(parameter) * 0.5)


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("family", PAPERS)
def test_it_trains_what_it_says_and_the_stock_model_comes_back(family, method):
    model = tiny.model(family)
    before, kinds, expected = state(model), [type(m) for m in model.modules()], logits(model)
    own = set(model.__dict__)
    if not takes(method, model):
        with pytest.raises(TrainingError, match=r"no past keys and values.*another method"):
            prepare(model, method, 0)
        return
    counts = prepare(model, method, 0)
    trained = sum(p.numel() for p in acting(model).parameters() if p.requires_grad)
    assert trained == counts.method + counts.head and counts.model == sum(v.numel() for v in model_sizes(before))
    if method != "prefix":  # a prefix is there from the start; everything else starts from the model's own output
        torch.testing.assert_close(logits(model), expected, atol=1e-6, rtol=0)
    step(model)
    assert not torch.allclose(logits(model), expected, atol=1e-4), "nothing was trained"
    restore(model)
    after = model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert [type(m) for m in model.modules()] == kinds and torch.equal(logits(model), expected)
    assert set(model.__dict__) - own <= {"beft_token", "beft_trained", "beft_pristine"}
    assert not model._forward_hooks and not model._forward_pre_hooks


def model_sizes(values):
    return [value for name, value in values.items() if not name.endswith("position_ids")]


@pytest.mark.parametrize("family", PAPERS)
def test_random_uniform_is_as_many_as_value_and_moves_those_alone(family):
    model = tiny.model(family)
    stock = {name: p.detach().clone() for name, p in model.named_parameters()}
    value = prepare(model, "value", 0).method
    assert prepare(model, "random_uniform", 0).method == value > 0
    drawn = {id(delta): delta.index.clone() for delta in sparse.installed(model)}
    step(model)
    moved = {}
    restored = prepare_and_read(model)
    for name, was in stock.items():
        at = (restored[name] != was).flatten().nonzero().flatten()
        if len(at) and name not in head_parameters(model):
            moved[name] = at
    assert sum(len(at) for at in moved.values()) == value == sum(len(index) for index in drawn.values())
    assert all(name.split(".")[0] != "classifier" and "embeddings" not in name for name in moved)
    assert len(moved) > 2  # spread over the layers, not in one tensor


def prepare_and_read(model):
    """The parameters as the model uses them now, merged into stock names."""
    sparse.remove(model, merge=True)
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_random_uniform_is_drawn_by_its_seed_from_every_place():
    def drawn(seed):
        model = tiny.model("bert")
        prepare(model, "random_uniform", seed)
        return [delta.index.tolist() for delta in sparse.installed(model)]

    assert drawn(0) == drawn(0) != drawn(1)
    model = tiny.model("bert")
    total = sum(p.numel() for layer in layers_of(model) for p in layer.parameters())
    sparse.install(model, total, seed=0)  # all of them: every element once
    assert all(sorted(d.index.tolist()) == list(range(d.index.numel())) for d in sparse.installed(model))
    assert sum(d.index.numel() for d in sparse.installed(model)) == total


@pytest.mark.parametrize(
    "method, layers",
    [("value", range(6)), ("value@top-half", (3, 4, 5)), ("value@bottom-half", (0, 1, 2)), ("value@top-1", (5,)),
     ("value@bottom-2", (0, 1)), ("value@2", (2,)), ("value@1-3", (1, 2, 3)), ("value@all", range(6)),
     (Method("mine", "by hand", ("value",), layers=(4, 0)), (0, 4))],
)  # fmt: skip
def test_layers_in_words_and_by_hand(method, layers):
    model = tiny.model("bert", num_hidden_layers=6)
    prepare(model, method, 0)
    parts = find_biases(model, ["value"])["value"].parts
    moving = [p.layer for p in parts if torch.nn.utils.parametrize.is_parametrized(p.module, "bias")]
    assert moving == list(layers) and len(all_deltas(model)) == len(moving)


def test_layers_bind_everything_but_the_head():
    model = tiny.model("bert", num_hidden_layers=4)
    for method in ("full@top-half", "all_biases@2-3"):
        prepare(model, method, 0)
        names = {n for n, p in model.named_parameters() if p.requires_grad} - set(head_parameters(model))
        assert names and all(".layer.2." in name or ".layer.3." in name for name in names)
    top, whole = prepare(model, "lora@top-half", 0), prepare(model, "lora", 0)
    assert 2 * top.method == whole.method == 4 * 2 * 2 * 8 * 32


def test_names():
    assert method_row("value+query").terms == ("query", "value") and method_row("value+query").name == "query+value"
    assert method_row("key+value+query") is METHODS["qkv"] and method_row("value@all") is METHODS["value"]
    assert method_row("value@top-half").name == "value@top-half"
    assert (method_row("in_context@2").name, method_row("in_context@2").shots) == ("in_context@2", 2)
    for wrong in ("valu", "value+key+q", "query+query", "", "head+value"):
        with pytest.raises(UnknownName, match="method"):
            method_row(wrong)
    for wrong in (
        "value@",
        "value@top",
        "value@topp-half",
        "prefix@top-half",
        "value@-1",
        "in_context@0",
        "zero_shot@2",
    ):
        if wrong != "value@":
            with pytest.raises(UnknownName, match="layers"):
                method_row(wrong)
    for beyond in ("value@2", "value@top-3", "value@1-2"):
        with pytest.raises(UnknownName, match=r"layers.*Known: 0, 1"):
            prepare(tiny.model("bert"), beyond, 0)


@pytest.mark.filterwarnings("error::FutureWarning")  # what a learner would see and could not help
@pytest.mark.parametrize("method", WAYS)
def test_a_run_reports_its_counts_cost_and_size(method, task, folder):
    model = load_model(folder, task)
    run = fine_tune(model, task, method, max_steps=2, learning_rate=1e-2)
    row = run.row()
    assert row["method"] == method_row(method).name and row["seconds"] > 0 and row["peak_memory"] > 1e6
    assert row["parameters_method"] + row["parameters_head"] == run.counts.method + run.counts.head
    trained = {n: p.detach().contiguous() for n, p in acting(model).named_parameters() if p.requires_grad}
    assert row["file_bytes"] == len(save(trained)) > 4 * (run.counts.method + run.counts.head)
    again = fine_tune(model, task, method, max_steps=2, learning_rate=1e-2)
    assert np.abs(run.losses - again.losses).max() < 1e-6 and run.metrics == again.metrics


def test_a_file_s_size_is_safetensors_own():
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        tensors = {"a.weight": torch.zeros(3, 5, dtype=dtype), "b": torch.zeros(7, dtype=dtype)}
        assert stored_bytes(tensors) == len(save(tensors))


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_what_is_scored_is_what_was_trained(method, task, folder, monkeypatch):
    model, scored = load_model(folder, task), []
    monkeypatch.setattr("beft_lib.tuning.evaluate_model", lambda chosen, *_, **__: scored.append(chosen) or {"a": 0.0})
    run = fine_tune(model, task, method, max_steps=2, learning_rate=1e-2)
    assert scored == [acting(model)] and scored[0] is not model
    head = fine_tune(model, task, "head", max_steps=2, learning_rate=1e-2)
    assert scored[1] is model is acting(model)
    assert not np.array_equal(run.losses, head.losses)
    assert run.counts.head == head.counts.head and head.counts.method == 0 < run.counts.method


def test_a_prefix_starts_from_what_the_model_computes(task, folder):
    """Its first keys and values are those of real tokens: (tokens, layers × 2 × width), of the weights' size."""
    model = load_model(folder, task)
    prepare(model, "prefix", 0)
    weight = acting(model).prompt_encoder["default"].embedding.weight.detach()
    assert weight.shape == (5, 2 * 2 * 32)
    pairs = weight.view(5, 4, 32)
    for number, layer in enumerate(layers_of(model)):
        for place, name in ((2 * number, "key"), (2 * number + 1, "value")):
            bias = getattr(layer.attention.self, name).bias
            assert (pairs[:, place].mean(0) - bias).abs().mean() < bias.abs().mean()  # random ids, but these biases
    first = weight.clone()
    prepare(model, "prefix", 0)
    assert torch.equal(acting(model).prompt_encoder["default"].embedding.weight, first)
    prepare(model, "prefix", 1)
    assert not torch.equal(acting(model).prompt_encoder["default"].embedding.weight, first)


def test_several_seeds_are_their_runs_with_mean_and_interval(task, folder, tmp_path):
    model = load_model(folder, task)
    runs = fine_tune(model, task, "value", seeds=range(3), epochs=1, folder=tmp_path)
    assert isinstance(runs, Runs) and [run.seed for run in runs] == [0, 1, 2] == [row["seed"] for row in runs.rows()]
    single = fine_tune(model, task, "value", seed=1, epochs=1)
    assert np.array_equal(runs[1].losses, single.losses) and runs[1].metrics == single.metrics
    assert runs.mean == pytest.approx(np.mean([run.score for run in runs]))
    assert runs.interval == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(runs.scores))
    assert "3 seeds" in str(runs) and sorted(p.name for p in tmp_path.iterdir()) == ["seed-0", "seed-1", "seed-2"]
    assert math.isnan(fine_tune(model, task, "value", seeds=[4], max_steps=1).interval)
    for wrong in ([], [1, 1]):
        with pytest.raises(TrainingError, match="seeds is"):
            fine_tune(model, task, "value", seeds=wrong)


def test_interrupting_several_seeds_keeps_the_finished_ones(task, folder, monkeypatch):
    """Each seed may have taken an hour."""
    model, train = load_model(folder, task), tuning.train

    def until(last):
        def stop(*args, seed, **options):
            if seed == last:
                raise KeyboardInterrupt
            return train(*args, seed=seed, **options)

        monkeypatch.setattr(tuning, "train", stop)
        return fine_tune(model, task, "value", seeds=(5, 6, 7), max_steps=1)

    kept = until(6)
    assert [run.seed for run in kept] == [5] and "over 1 seed, then interrupted in seed 6" in str(kept)
    assert fine_tune(model, task, "value", seeds=(7,), max_steps=1).stopped == ""
    with pytest.raises(KeyboardInterrupt):  # nothing was finished
        until(5)


def test_every_subset_of_terms_has_a_method():
    from itertools import combinations

    for size in (1, 2, 3):
        for terms in combinations(TERMS, size):
            assert set(method_row("+".join(terms)).terms) == set(terms)


def peft_beft(*terms):
    return Method("peft_beft", "PEFT's own", terms, peft=wrapping.beft)


def test_peft_s_own_beft_trains_the_same(task, folder):
    """Same seed, same batches: the same vectors, losses and logits as ours, and the stock model back afterwards."""
    model = load_model(folder, task)
    before = state(model)
    ours = fine_tune(model, task, "value", max_steps=6, learning_rate=1e-1)
    answers = logits(model)
    deltas = [p.detach().flatten().clone() for delta in all_deltas(model) for p in delta.parameters()]
    peft = fine_tune(model, task, peft_beft("value"), max_steps=6, learning_rate=1e-1)
    assert acting(model) is not model and peft.counts == ours.counts
    vectors = [p.detach() for name, p in model.named_parameters() if "beft_bias" in name]
    assert len(vectors) == len(deltas) and min(delta.abs().max() for delta in deltas) > 0.1
    for vector, delta in zip(vectors, deltas, strict=True):  # PEFT stores (1, d)
        torch.testing.assert_close(vector.flatten(), delta, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(peft.losses, ours.losses, atol=1e-5)
    torch.testing.assert_close(logits(model), answers, atol=1e-4, rtol=1e-3)
    restore(model)
    after = state(model)
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before if "classifier" not in name)


def test_peft_s_own_beft_cannot_train_a_part_of_a_fused_projection():
    with pytest.raises(TrainingError, match="one projection"):
        prepare(tiny.model("gpt2"), peft_beft("value"), 0)
