"""Fisher information of bias terms: exact against a loop over examples; where it is measured; bad input."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import nn

from beft_lib import find_biases, fine_tune, fisher_information, load_model, load_task, probe
from beft_lib.architectures import FAMILIES, TERMS, Concatenated, PerHead
from beft_lib.biases import install
from beft_lib.errors import DataError, ModelError, TrainingError, UnknownName
from beft_lib.fisher import KINDS, PLACES, measure, sampled
from beft_lib.gradients import negative_log_likelihood, per_example_gradients
from beft_lib.methods import METHODS, prepare, recipe_for

LENGTHS = (12, 3, 7, 9, 5)  # padded to the longest
TWICE = "deberta-v2"  # projects its distances by the same modules as its tokens: refused
READING = [name for name in FAMILIES if name not in (TWICE, "whisper")]  # Whisper takes sound, not ids


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def model(task, folder):
    return load_model(folder, task)


def batch_of(model: Any, side: str = "right") -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    torch.manual_seed(1)
    pad = model.config.pad_token_id
    rows = [torch.cat([torch.randint(5, 40, (length - 1,)), torch.tensor([3])]) for length in LENGTHS]  # 3: </s>
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad, padding_side=side)
    return {"input_ids": ids, "attention_mask": (ids != pad).long()}, torch.tensor([0, 1, 1, 0, 1])


def one_by_one(model: Any, batch: dict[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same without any trick: one example, unpadded, plain backward into the bias itself."""
    terms = find_biases(model)
    model.requires_grad_(True)  # biases that were added are frozen
    found: dict[str, list[torch.Tensor]] = {term: [] for term in terms}
    for number in range(len(labels)):
        real = batch["attention_mask"][number].bool()
        model.zero_grad()
        logits = model(input_ids=batch["input_ids"][number][real][None]).logits
        negative_log_likelihood(logits, labels[number : number + 1]).sum().backward()
        for term, of in terms.items():
            gradients = [p.module.bias.grad if p.index is None else p.module.bias.grad[p.index] for p in of.parts]
            found[term].append(torch.stack(gradients).clone())
    return {term: torch.stack(of) for term, of in found.items()}


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("family", READING)
def test_one_batched_pass_is_the_loop_over_examples(family, regression):
    model = tiny.model(family).double()
    if getattr(find_biases(model)["value"].parts[0].module, "bias", None) is None:
        pytest.skip("no biases")
    batch, labels = batch_of(model)
    if regression:
        labels = torch.tensor([0.1, 1.0, 4.0, 2.0, 3.3], dtype=torch.float64)
    expected = one_by_one(model, batch, labels)
    model.zero_grad()
    found = per_example_gradients(model, batch, labels)
    for term in TERMS:
        assert found[term].shape == (len(LENGTHS), 2, found[term].shape[-1])
        largest = expected["value"].abs().max()
        assert largest > 1e-4  # there was something to find
        # Many families take the softmax in float32 whatever the model's own kind.
        assert torch.allclose(found[term], expected[term], rtol=1e-6, atol=1e-6 * largest)
    rows = found["value"].flatten(1)
    assert torch.linalg.matrix_rank(rows) > 1  # rows are of different examples
    assert all(p.grad is None for p in model.parameters())  # and nothing was left in the model


@pytest.mark.parametrize("family", READING)
def test_key_gradients_are_zero_to_rounding_exactly_where_the_row_says(family):
    model = tiny.model(family).double()
    found = per_example_gradients(model, *batch_of(model))
    ratio = found["key"].norm() / found["query"].norm()
    # Some decoders compute softmax in float32 whatever the model's own kind, so rounding is that of float32.
    assert ratio < 1e-5 if FAMILIES[family].key_is_dead else ratio > 1e-4


@pytest.mark.parametrize("frozen", ["nothing", "all", "head"])
def test_what_is_frozen_makes_no_difference(frozen):
    model = tiny.model("bert").double()
    batch, labels = batch_of(model)
    expected = per_example_gradients(model, batch, labels)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(frozen == "nothing" or (frozen == "head" and not name.startswith("classifier")))
    before = [p.requires_grad for p in model.parameters()]
    found = per_example_gradients(model, batch, labels)
    assert all(torch.allclose(found[term], expected[term], rtol=1e-9, atol=0) for term in TERMS)
    assert [p.requires_grad for p in model.parameters()] == before


def test_a_delta_in_place_changes_nothing_but_where_it_is_measured():
    model = tiny.model("bert").double()
    batch, labels = batch_of(model)
    plain = per_example_gradients(model, batch, labels)
    install(model)
    with_delta = per_example_gradients(model, batch, labels)
    assert all(torch.allclose(with_delta[t], plain[t], rtol=1e-9, atol=0) for t in ("query", "value"))


class Fused(nn.Module):
    """One attention head layer with q, k and v in one projection."""

    def __init__(self, layout: Any):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.index = [layout.index(term, (2, 2, 4)) for term in TERMS]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        together = self.qkv(x)
        q, k, v = (together[..., index] for index in self.index)
        return x + nn.functional.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("layout", [Concatenated("qkv"), PerHead("qkv")])
def test_of_a_fused_projection_each_term_gets_its_own_elements(layout, monkeypatch):
    from beft_lib import gradients
    from beft_lib.architectures import Part
    from beft_lib.biases import BiasTerm

    torch.manual_seed(0)
    layers = nn.ModuleList(Fused(layout) for _ in range(2)).double()
    terms = {
        t: BiasTerm(t, tuple(Part(n, t, "", layer.qkv, layer.index[i]) for n, layer in enumerate(layers)))
        for i, t in enumerate(TERMS)
    }
    monkeypatch.setattr(gradients.biases, "find_biases", lambda model: terms)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    with gradients.captured(layers) as caught:
        y = x
        for layer in layers:
            y = layer(y)
        found = caught.gradients(y.square().sum())
    for number in range(3):
        y = x[number : number + 1]
        for layer in layers:
            y = layer(y)
        layers.zero_grad()
        y.square().sum().backward()
        for term, of in terms.items():
            expected = torch.stack([p.module.bias.grad[p.index] for p in of.parts])
            assert torch.allclose(found[term][number], expected, rtol=1e-6, atol=1e-12)
            assert expected.abs().max() > 1e-3 or term == "key"


def test_a_projection_used_twice_is_refused():
    model = tiny.model("bert")
    module = find_biases(model)["query"].parts[0].module
    batch, labels = batch_of(model)
    twice = model.register_forward_pre_hook(lambda *_: [module(torch.zeros(1, 1, 32)), None][1])
    with pytest.raises(ModelError, match=r"used twice in one forward pass"):
        per_example_gradients(model, batch, labels)
    twice.remove()
    assert not module._forward_hooks  # nothing of ours is left behind


# The mean over a task


def test_empirical_fisher_is_the_mean_of_squares(task, model):
    result = fisher_information(model, task, where="pretrained", batch_size=5)
    from beft_lib.fisher import batches_of

    every = []
    for batch in batches_of(model, task, recipe_for(task, METHODS["head"], batch_size=7)):
        labels = batch.pop("labels")
        every.append(per_example_gradients(model, batch, labels))
    for term in TERMS:
        squares = torch.cat([of[term] for of in every]).double().square()
        assert squares.shape[0] == 32 == result.examples
        assert torch.allclose(result.information[term], squares.mean(0), rtol=1e-3, atol=1e-12)
        assert result.scores()[term].shape == (2,)
        assert result.table().loc["mean", term] == pytest.approx(dict(result.ranking())[term])
    assert result.best == max(dict(result.ranking()), key=dict(result.ranking()).__getitem__)


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_of_a_bert_has_none_and_the_batch_mean_has_less(kind, task, model):
    result = fisher_information(model, task, kind, where="pretrained")
    scores = dict(result.ranking())
    assert 0 <= scores["key"] < 1e-9 * scores["value"] and scores["query"] > 0
    assert kind in str(result) and "never trained" in str(result)
    if kind == "clipped_batch":  # gradients that differ cancel in the mean
        assert scores["value"] < dict(fisher_information(model, task, where="pretrained").ranking())["value"]


def test_the_clipped_batch_mean_is_what_training_would_apply(task, model):
    """Against the plain way: loss.backward, clip_grad_norm_ over biases and head, square."""
    recipe = recipe_for(task, METHODS["head"], batch_size=16, clip=0.05)
    prepare(model, "head", 0)
    found = measure(model, task, "clipped_batch", recipe, seed=3)
    from beft_lib.architectures import head_parameters
    from beft_lib.fisher import batches_of

    head = head_parameters(model)
    trained = [p for name, p in model.named_parameters() if name in head or name.endswith("bias")]
    for parameter in trained:
        parameter.requires_grad_(True)
    total = {term: torch.zeros(2, 32, dtype=torch.float64) for term in TERMS}
    for batch in batches_of(model, task, recipe, torch.Generator().manual_seed(3)):
        model.zero_grad()
        model(**batch).loss.backward()
        assert nn.utils.clip_grad_norm_(trained, 0.05) > 0.05  # clipping did something
        for term, of in find_biases(model).items():
            total[term] += torch.stack([p.module.bias.grad for p in of.parts]).double().square()
    for term in ("query", "value"):
        assert torch.allclose(found[term], total[term] / 2, rtol=1e-3, atol=1e-14)


def test_true_fisher_draws_labels_from_the_model():
    logits = torch.log(torch.tensor([[0.9, 0.1]])).expand(20_000, 2)
    drawn = sampled(logits, torch.zeros(20_000, dtype=torch.long), torch.Generator().manual_seed(0))
    assert drawn.float().mean().item() == pytest.approx(0.1, abs=0.01)
    numbers = sampled(torch.full((20_000, 1), 3.0), torch.zeros(20_000), torch.Generator().manual_seed(0))
    assert numbers.mean().item() == pytest.approx(3, abs=0.03) and numbers.std().item() == pytest.approx(1, abs=0.03)


def test_true_fisher_ignores_the_labels_and_more_draws_average(task, model):
    prepare(model, "head", 0)
    recipe = recipe_for(task, METHODS["head"])
    flipped = task.train.map(lambda row: {"label": 1 - row["label"]})
    from dataclasses import replace

    other = replace(task, train=flipped)
    true = [measure(model, t, "true", recipe, seed=1)["value"] for t in (task, other)]
    assert torch.equal(*true)
    empirical = [measure(model, t, "empirical", recipe)["value"] for t in (task, other)]
    assert not torch.equal(*empirical)
    many = [measure(model, task, "true", recipe, seed=seed, draws=40)["value"].mean().item() for seed in (1, 2)]
    assert many[0] == pytest.approx(many[1], rel=0.1)


def test_where_it_is_measured_is_said_and_matters(task, model):
    options = {"epochs": 8, "learning_rate": 1e-2}
    results = {"pretrained": fisher_information(model, task, where="pretrained", **options)}
    results["warm"] = fisher_information(model, task, where="warm", **options)
    probe(model, task, **options)
    results["trained"] = fisher_information(model, task, where="trained", **options)
    values = [dict(result.ranking())["value"] for result in results.values()]
    assert len(set(values)) == 3
    assert results["warm"].warming > 0 == results["pretrained"].warming == results["trained"].warming
    assert all(PLACES[where] in str(result) and result.where == where for where, result in results.items())
    again = fisher_information(model, task, where="pretrained", **options)  # whatever was trained before
    assert all(torch.equal(again.information[t], results["pretrained"].information[t]) for t in TERMS)


def test_trained_leaves_the_run_as_it_is(task, model):
    run = fine_tune(model, task, "value", epochs=1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    needs = {name: p.requires_grad for name, p in model.named_parameters()}
    for kind in KINDS:
        fisher_information(model, task, kind, where="trained")
    assert run.current and {name: p.requires_grad for name, p in model.named_parameters()} == needs
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


# Decoders, one layer, bad input


def test_a_decoder_with_a_classification_head(task, tmp_path):
    model = load_model(tiny.save(tmp_path / "opt", "opt"), task)
    result = fisher_information(model, task, epochs=1)
    scores = dict(result.ranking())
    assert scores["key"] < 1e-9 * scores["value"]


def test_one_layer_only(task, tmp_path):
    made = tiny.model("bert", head=False, num_hidden_layers=1)
    made.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    result = fisher_information(load_model(tmp_path, task), task, where="pretrained")
    assert result.table().index.tolist() == ["layer 0", "mean"] and dict(result.ranking())["value"] > 0


def test_bad_input_is_named(task, model):
    with pytest.raises(UnknownName, match=r"Unknown kind of Fisher information 'exact'.*empirical"):
        fisher_information(model, task, "exact")
    with pytest.raises(UnknownName, match=r"Unknown place to measure at 'middle'"):
        fisher_information(model, task, where="middle")
    with pytest.raises(TrainingError, match=r"batch_size 33 is larger than the 32 training examples"):
        fisher_information(model, task, batch_size=33)
    with pytest.raises(TrainingError, match=r"draws is 0"):
        fisher_information(model, task, draws=0)
    for start in (lambda: None, lambda: fisher_information(model, task, where="pretrained")):
        start()  # a head that was only drawn is not a trained one
        with pytest.raises(TrainingError, match=r"has not been trained"):
            fisher_information(model, task, where="trained")
    for part in find_biases(model)["query"].parts:
        part.module.bias = None
    with pytest.raises(ModelError, match=r"no query bias in 2 of 2 layers.*add_biases"):
        fisher_information(model, task)


def test_a_task_of_one_class_is_refused(task, model):
    from dataclasses import replace

    only = replace(task, train=task.train.filter(lambda row: row["label"] == 1))
    with pytest.raises(DataError, match=r"label 'positive'.*nothing to tell apart"):
        fisher_information(model, only)


def test_a_model_without_a_head_is_refused():
    model = tiny.model("bert", head=False)
    batch, labels = batch_of(model)
    with pytest.raises(ModelError, match=r"no classification head"):
        per_example_gradients(model, batch, labels)
