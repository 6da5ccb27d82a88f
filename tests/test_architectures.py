"""Every row of the table, on random models: a new family is tested the moment its row is there."""

import pytest
import tiny
import torch
from torch import nn

from beft_lib import architectures, biases, verify
from beft_lib.architectures import FAMILIES, POSITIONS, TERMS, Family, PerHead, Separate, live_key, register_family
from beft_lib.errors import ModelError, UnknownName
from beft_lib.methods import prepare
from beft_lib.verify import CHECKS, example, tiny_model

ROWS = list(FAMILIES)
GROUPED = {"falcon", "gemma", "llama", "mistral", "phi", "phi3", "qwen2", "qwen3", "starcoder2"}
# Released variants of a family that its row has to be right about as well.
VARIANTS = {
    "Falcon 7B: one key/value head": ("falcon", {"new_decoder_architecture": False, "multi_query": True}),
    "Falcon RW: ALiBi, one k and v a head": (
        "falcon", {"new_decoder_architecture": False, "multi_query": False, "alibi": True, "num_kv_heads": 4}),
    "DeBERTa without p2c": ("deberta-v2", {"pos_att_type": ["c2p"]}),
    "DeBERTa with absolute positions": ("deberta-v2", {"relative_attention": False, "pos_att_type": None}),
    "DeBERTa v2 xlarge: positions projected by their own": ("deberta-v2", {"share_att_key": False}),
    "ModernBERT, a window narrower than the text": ("modernbert", {"local_attention": 8}),
    "Phi with normed keys": ("phi", {"qk_layernorm": True}),
    "Pythia, all of a head turned": (
        "gpt_neox", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}}),
    "Llama with biases": ("llama", {"attention_bias": True}),
    "GPT-2, attention scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "heads wider than the model over their number": ("gemma", {"head_dim": 16}),
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("model_type", ROWS)
def test_the_row_is_true(model_type, check):
    model = tiny_model(model_type)
    CHECKS[check](model, example(model))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_row_is_true_of_other_members_of_the_family(variant):
    model_type, changes = VARIANTS[variant]
    model = tiny_model(model_type, **changes)
    for check in CHECKS.values():
        check(model, example(model))


def wrong(model_type, **changes):
    """The row with one thing wrong in it."""
    row = FAMILIES[model_type]
    return Family(**{**{name: getattr(row, name) for name in row.__dataclass_fields__}, **changes})


WRONG = {
    "q and k exchanged": ("llama", {"layout": Separate("self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj")},
                          {"num_key_value_heads": 4}, "query is query"),
    "k and q exchanged": ("bert", {"layout": Separate("attention.self.key", "attention.self.query",
                          "attention.self.value")}, {}, "key is key"),
    "k and v exchanged": ("opt", {"layout": Separate("self_attn.q_proj", "self_attn.v_proj", "self_attn.k_proj")}, {},
                          "value is value"),
    "per head, called concatenated": ("gpt_neox", {"layout": architectures.Concatenated("attention.query_key_value")},
                                      {}, "query is query"),
    "concatenated, called per head": ("gpt2", {"layout": PerHead("attn.c_attn")}, {}, "value is value"),
    "another projection's output": ("llama", {"output": "mlp.down_proj"}, {}, "value is value"),
    "rotary, called absolute": ("llama", {"positions": "absolute"}, {}, "b_k as stated"),
    "absolute, called rotary": ("bert", {"positions": "rotary"}, {}, "b_k as stated"),
    "partly rotary, called rotary": ("phi", {"positions": "rotary"}, {}, "b_k as stated"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_row_is_found_out(case, monkeypatch):
    """The test of the tests: each of them fails where it should."""
    model_type, changes, sizes, check = WRONG[case]
    model = tiny_model(model_type, **sizes)
    monkeypatch.setitem(FAMILIES, model_type, wrong(model_type, **changes))
    with pytest.raises(ModelError, match="The row is not true of this model"):
        CHECKS[check](model, example(model))


@pytest.mark.parametrize("model_type", ROWS)
def test_the_row_finds_every_term_in_every_layer(model_type):
    model, row = tiny_model(model_type), FAMILIES[model_type]
    found = biases.find_biases(model)
    modules = [part.module for term in found.values() for part in term.parts]
    assert len(modules) == 6 and len({id(m) for m in modules}) == (2 if row.fused else 6)
    width = 16 if model_type in GROUPED else 32
    assert {term: tuple(bias.values().shape) for term, bias in found.items()} == {
        "query": (2, 32), "key": (2, width), "value": (2, width)
    }  # fmt: skip
    assert all(term.values().all() for term in found.values())


@pytest.mark.parametrize("model_type", ROWS)
def test_which_biases_stock_code_has(model_type):
    """``biased`` is what the class builds by default; a switch gives the others theirs."""
    row = FAMILIES[model_type]
    for switched in (False, True) if row.switch else (False,):
        config = tiny.config(model_type, **({row.switch: True} if switched else {}))
        with torch.device("meta"):
            model = verify.auto_class(config).from_config(config)
        layer = architectures.layers_of(model)[0]
        modules = {term[0]: architectures.parts_of(model, term)[0].module for term in TERMS}
        modules["o"] = architectures.output_of(layer, row)
        having = "".join(letter for letter, module in modules.items() if module.bias is not None)
        assert having == ("qkvo" if switched else row.biased)


@pytest.mark.parametrize("model_type", ROWS)
def test_dead_or_alive_follows_from_positions(model_type):
    row = FAMILIES[model_type]
    assert POSITIONS[row.positions].why and row.positions != "unknown"
    assert row.key_is_dead == (not live_key(tiny_model(model_type)).any())


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


# Families without a row


def meta(model_type, **changes):
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 8, **changes}
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.for_model(model_type, **sizes))


FOUND = {
    "camembert": ("encoder.layer", "attention.self.value", "attention.output.dense"),
    "granite": ("layers", "self_attn.v_proj", "self_attn.o_proj"),
    "vit": ("layers", "attention.v_proj", "attention.o_proj"),
}


@pytest.mark.parametrize("model_type", FOUND)
def test_an_unlisted_family_is_found_by_structure(model_type):
    model = meta(model_type, intermediate_size=16)
    row = architectures.family_of(model)
    assert (row.layers, row.layout.module("value"), row.output) == FOUND[model_type]
    assert len(architectures.parts_of(model, "value")) == 2 and row.positions == "unknown" and not row.key_is_dead


def test_what_is_found_works_as_a_row_does():
    """Every listed separate family whose names are usual is found as its row says, and holds every check but b_k's."""
    seen = []
    for model_type, row in FAMILIES.items():
        found = architectures.discover(tiny_model(model_type), model_type)
        if isinstance(found, Family):
            assert (found.layers, found.layout, found.output) == (row.layers, row.layout, row.output)
            seen.append(model_type)
    assert set(seen) == {name for name, row in FAMILIES.items() if not row.fused} - {"t5"}


@pytest.mark.parametrize("model_type, why", [
    ("codegen", "0 lists of layers"), ("mpt", "0 lists of layers"), ("bart", "2 lists of layers"),
])  # fmt: skip
def test_where_it_is_not_certain_the_error_shows_the_candidates_and_the_row(model_type, why):
    sizes = {"bart": {"d_model": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2}}
    model = meta(model_type, **sizes.get(model_type, {}))
    with pytest.raises(ModelError, match=rf"{model_type}.*{why}.*bert.*register_family\(Family\('{model_type}'"):
        biases.find_biases(model)


class Odd(nn.Module):
    """An attention nobody has heard of: three unusual names."""

    class config:  # noqa: N801
        model_type, num_attention_heads, hidden_size = "odd", 2, 8

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({n: nn.Linear(8, 8) for n in "abcd"}) for _ in range(3))
        self.score = nn.Linear(8, 2)


def test_a_row_by_hand_works_for_everything(monkeypatch):
    monkeypatch.setattr(architectures, "FAMILIES", dict(FAMILIES))
    model = Odd()
    with pytest.raises(ModelError, match="odd"):
        biases.find_biases(model)
    with pytest.raises(UnknownName, match=r"kind of positions 'rotory'.*Did you mean 'rotary'"):
        register_family(Family("odd", "blocks", Separate("a", "b", "c"), "d", "rotory"))
    register_family(Family("odd", "blocks", Separate("a", "b", "c"), "d", "rotary", ("score",)))
    assert str(biases.find_biases(model)["key"]) == "key: 3 layers × (8,) in b"
    counts = prepare(model, "value", 0)
    assert (counts.method, counts.head) == (24, 18)


def test_a_term_that_is_none():
    with pytest.raises(UnknownName, match=r"bias term 'values'.*Did you mean 'value'"):
        biases.find_biases(tiny.model("bert"), ["values"])
