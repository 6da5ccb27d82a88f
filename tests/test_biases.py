"""Deltas: fp32 masters, fused projections, adding to bias-free models, undoing."""

import pytest
import tiny
import torch
from torch import nn

from beft_lib import biases
from beft_lib.architectures import Concatenated, PerHead, Separate
from beft_lib.errors import ModelError


def test_a_16_bit_base_keeps_a_32_bit_delta_and_its_gradient():
    model = tiny.model("bert").to(torch.bfloat16)
    terms = biases.install(model, ["value"])
    deltas = terms["value"].deltas()
    assert {d.dtype for d in deltas} == {torch.float32}
    model(input_ids=torch.tensor([[2, 6, 7, 3]]), labels=torch.tensor([1])).loss.backward()
    assert all(d.grad is not None and d.grad.dtype == torch.float32 and d.grad.any() for d in deltas)
    with torch.no_grad():
        before = terms["value"].values()
        deltas[0].add_(1e-6)  # far below bf16's resolution of the bias
    assert torch.allclose((terms["value"].values() - before)[0], torch.tensor(1e-6, dtype=torch.float64))


def test_reset_brings_the_pretrained_biases_back():
    model = tiny.model("bert")
    terms = biases.install(model)
    pre = biases.snapshot(terms)
    for delta in biases.all_deltas(model):
        delta.delta.data.normal_()
    assert all((biases.snapshot(terms)[t] != pre[t]).any() for t in pre)
    biases.reset(model)
    assert all(torch.equal(biases.snapshot(terms)[t], pre[t]) for t in pre)


def test_installing_twice_keeps_the_first_delta():
    model = tiny.model("bert")
    (first, _) = biases.install(model, ["value"])["value"].deltas()
    first.data.fill_(1.0)
    assert biases.install(model, ["value", "query"])["value"].deltas()[0] is first
    assert len(biases.all_deltas(model)) == 4


def test_a_shift_is_undone_bit_for_bit_even_after_an_error():
    model = tiny.model("bert")
    terms = biases.install(model)
    terms["value"].deltas()[0].data.normal_()
    before = terms["value"].values()
    with pytest.raises(RuntimeError), biases.shifted(model, "value", torch.full((2, 32), 1e9)):
        assert not torch.equal(terms["value"].values(), before)
        raise RuntimeError
    assert torch.equal(terms["value"].values(), before)


def test_a_model_without_biases_is_told_how_to_get_some():
    model = tiny.model("opt")
    for part in (p for term in biases.find_biases(model).values() for p in term.parts):
        part.module.bias = None
    with pytest.raises(ModelError, match=r"no query bias in 2 of 2 layers.*add_biases"):
        biases.find_biases(model)
    ids = {"input_ids": torch.tensor([[2, 6, 7, 3]])}
    before = model(**ids).logits
    assert len(biases.add_biases(model)) == 6 and biases.add_biases(model) == []
    assert torch.equal(model(**ids).logits, before)
    assert all(not term.values().any() for term in biases.find_biases(model).values())


@pytest.mark.parametrize("counts", [(4, 4, 2), (4, 2, 3), (4, 1, 5)], ids=str)
@pytest.mark.parametrize("layout", [Concatenated("qkv"), PerHead("qkv")])
def test_a_fused_bias_splits_into_disjoint_parts_that_cover_it(layout, counts):
    heads, kv_heads, head_dim = counts
    parts = [layout.index(term, counts) for term in ("query", "key", "value")]
    assert [len(part) for part in parts] == [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange((heads + 2 * kv_heads) * head_dim))


def test_training_one_part_of_a_fused_bias_leaves_the_others_bit_identical():
    module = nn.Linear(8, 24)
    index = PerHead("qkv").index("value", (4, 4, 2))
    before = module.bias.detach().clone()
    delta = biases.BiasDelta("value", module.bias, index)
    nn.utils.parametrize.register_parametrization(module, "bias", delta, unsafe=True)
    assert torch.equal(module.bias, before)
    delta.delta.data.fill_(1.0)
    changed = (module.bias != before).nonzero().flatten()
    assert torch.equal(changed, index.sort().values)
    assert index[:2].tolist() == [4, 5]  # head 0 holds q 0-1, k 2-3, v 4-5


def test_several_parts_of_a_fused_bias_are_trained_together():
    model = tiny.model("gpt2")
    terms = biases.install(model)
    before = biases.snapshot(terms)
    for number, term in enumerate(terms.values()):
        for delta in term.deltas():
            delta.data.fill_(number + 1.0)
    after = biases.snapshot(terms)
    assert [float((after[t] - before[t]).unique().mean().round(decimals=5)) for t in after] == [1.0, 2.0, 3.0]
    trained = [name for name, p in model.named_parameters() if p.requires_grad and "attn" in name]
    assert not any(name.endswith("original") for name in trained)  # the pretrained bias itself stays where it is


def test_a_conv1d_without_a_bias_gets_one_of_its_width():
    model = tiny.model("gpt2")
    ids = {"input_ids": torch.tensor([[2, 6, 7, 3]])}
    module = biases.find_biases(model)["query"].parts[0].module
    module.bias = None
    assert biases.add_biases(model, ["value"]) == ["layer 0 attn.c_attn"]
    assert module.bias.shape == (96,) and torch.isfinite(model(**ids).logits).all()


def test_separate_projections_take_the_whole_bias():
    layout = Separate("q", "k", "v")
    assert layout.module("value") == "v" and layout.index("value", (4, 4, 2)) is None
