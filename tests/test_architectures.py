"""Every row of the table, on random models: a new family is tested the moment its row is there."""

import pytest
import tiny
import torch

from beft_lib import architectures, biases
from beft_lib.architectures import FAMILIES, TERMS
from beft_lib.errors import ModelError, UnknownName

ROWS = list(FAMILIES)


def inputs(batch=3, length=9):
    torch.manual_seed(1)
    ids = torch.randint(5, len(tiny.WORDS), (batch, length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def attentions(model):
    return torch.stack(model(**inputs(), output_attentions=True).attentions)


def double(model_type):
    return tiny.model(model_type, attn_implementation="eager").double()


@pytest.mark.parametrize("model_type", ROWS)
def test_the_row_finds_every_term_in_every_layer(model_type):
    model = tiny.model(model_type)
    found = biases.find_biases(model)
    assert set(found) == set(TERMS)
    modules = [part.module for term in found.values() for part in term.parts]
    assert len(modules) == 6 and len({id(m) for m in modules}) == 6
    assert all(term.values().shape == (2, 32) and term.values().dtype == torch.float64 for term in found.values())


@pytest.mark.parametrize("model_type", ROWS)
def test_value_moves_the_output_and_never_attention(model_type):
    model = double(model_type)
    with torch.no_grad():
        before, where = model(**inputs()).logits, attentions(model)[0]
        with biases.shifted(model, "value", torch.full((2, 32), 0.5)):
            after, there = model(**inputs()).logits, attentions(model)[0]
    assert (after - before).abs().max() > 1e-6
    assert torch.equal(where, there)  # layer 0: later layers see other inputs


@pytest.mark.parametrize("model_type", ROWS)
def test_query_moves_attention(model_type):
    model = double(model_type)
    torch.manual_seed(2)
    with torch.no_grad():
        before = attentions(model)
        with biases.shifted(model, "query", torch.randn(2, 32).double()):
            assert (attentions(model) - before).abs().max() > 1e-6


@pytest.mark.parametrize("model_type", ROWS)
def test_key_is_inert_exactly_where_the_row_says(model_type):
    model = double(model_type)
    torch.manual_seed(2)
    with torch.no_grad():
        before = model(**inputs()).logits
        with biases.shifted(model, "key", torch.randn(2, 32).double()):
            moved = (model(**inputs()).logits - before).abs().max().item()
    # OPT and BLOOM take the softmax in fp32 even for a float64 model: dead to fp32 rounding, not to fp64's.
    assert (moved < 1e-6) == FAMILIES[model_type].key_is_dead


@pytest.mark.parametrize("model_type", ROWS)
def test_installing_and_removing_change_no_logit_and_leave_stock_keys(model_type):
    model = tiny.model(model_type)
    keys, logits = list(model.state_dict()), model(**inputs()).logits
    biases.install(model)
    assert len(biases.all_deltas(model)) == 6
    assert torch.equal(model(**inputs()).logits, logits)
    biases.remove(model)
    assert list(model.state_dict()) == keys
    assert torch.equal(model(**inputs()).logits, logits)


@pytest.mark.parametrize("model_type", ROWS)
def test_merging_keeps_the_moved_output_in_a_stock_model(model_type):
    model = tiny.model(model_type)
    keys, before = list(model.state_dict()), model(**inputs()).logits
    for delta in biases.install(model, ["value"])["value"].deltas():
        delta.data.uniform_(-1, 1)
    moved = model(**inputs()).logits
    assert (moved - before).abs().max() > 1e-4
    biases.remove(model, merge=True)
    assert list(model.state_dict()) == keys
    assert torch.allclose(model(**inputs()).logits, moved, atol=1e-6)


@pytest.mark.parametrize("model_type", ROWS)
def test_the_head_is_there_and_nothing_of_the_encoder_is_in_it(model_type):
    model = tiny.model(model_type)
    head = architectures.head_parameters(model)
    assert head and all(".layer" not in name for name in head)


def test_the_paper_s_counts():
    """bert-base-cased: 108,311,810 parameters, 9,216 in b_v, 102,914 in all biases; RoBERTa's head 592,130."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with torch.device("meta"):
        bert = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("bert", vocab_size=28996))
        roberta = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("roberta", vocab_size=50265))
    assert sum(p.numel() for p in bert.parameters()) == 108_311_810
    assert sum(part.module.bias.numel() for part in architectures.parts_of(bert, "value")) == 9_216
    assert sum(p.numel() for n, p in bert.named_parameters() if n.endswith("bias")) == 102_914
    assert sum(p.numel() for p in architectures.head_parameters(roberta).values()) == 592_130


def test_an_unknown_family_names_the_rows_the_candidates_and_what_to_add():
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model("gpt2", n_layer=1, n_embd=8, n_head=2))
    with pytest.raises(ModelError, match=r"gpt2.*Known families: bert.*c_attn"):
        biases.find_biases(model)


def test_a_term_that_is_none():
    with pytest.raises(UnknownName, match=r"bias term 'values'.*Did you mean 'value'"):
        biases.find_biases(tiny.model("bert"), ["values"])
