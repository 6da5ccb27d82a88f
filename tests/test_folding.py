"""Folding b_v: the same logits in a model that transformers alone loads; refused where that cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from beft_lib import biases
from beft_lib.adapters import merge_adapter
from beft_lib.architectures import FAMILIES, parts_of
from beft_lib.errors import ModelError
from beft_lib.folding import fold, settle
from beft_lib.verify import example, logits_of, tiny_model

# What stock code can hold, found out by building it; these have no place for a bias behind attention.
REFUSED = {
    "mistral": "MistralForSequenceClassification .*no place for a bias of the output projection",
    "qwen2": "merge without folding",
    "gptj": "no place for a bias of the output projection",
    "phi3": "no place for a bias of the output projection",
    "t5": "no place for a bias of the output projection",
}
FOLDABLE = [name for name in FAMILIES if name not in REFUSED]


def tuned(model_type: str, terms: tuple[str, ...] = ("value",), **changes: Any) -> Any:
    """A model as released (biases of zero where it has none), with deltas on these terms."""
    model: Any = tiny_model(model_type, zero="" if "k" in FAMILIES[model_type].biased else "qk", **changes)
    for term in biases.install(model, terms).values():
        for delta in term.deltas():
            torch.nn.init.normal_(delta, std=0.5)
    return model


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("model_type", FOLDABLE)
def test_the_logits_stay_and_b_v_is_gone(model_type):
    model = tuned(model_type)
    before = logits_of(model, example(model))
    weights = {name: value for name, value in state(model).items() if name.endswith("weight")}
    assert fold(model) is model
    torch.testing.assert_close(logits_of(model, example(model)), before, rtol=0, atol=1e-6)
    after = state(model)
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    assert not any(biases.term_in(part).any() for part in parts_of(model, "value"))
    assert not biases.all_deltas(model)


def test_it_moves_more_than_rounding(monkeypatch):
    """The test of the test: without W_o b_v the logits differ."""
    model = tuned("llama")
    before = logits_of(model, example(model))
    biases.remove(model)
    with biases.shifted(model, "value", -biases.find_biases(model, ["value"])["value"].values()):
        assert (logits_of(model, example(model)) - before).abs().max() > 1e-3


STOCK = """
import json, sys, torch
from transformers import AutoModelForAudioClassification, AutoModelForSequenceClassification
for folder in json.loads(sys.argv[1]):
    inputs = torch.load(folder + "/inputs.pt", weights_only=True)
    auto = AutoModelForAudioClassification if "input_features" in inputs else AutoModelForSequenceClassification
    model, info = auto.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager",
                                       output_loading_info=True)
    with torch.no_grad():
        moved = (model.eval()(**inputs).logits - torch.load(folder + "/logits.pt", weights_only=True)).abs().max()
    print(json.dumps([folder, moved.item(), [sorted(keys) for keys in info.values()]]))
assert "beft_lib" not in sys.modules
"""


def test_a_process_that_never_heard_of_us_gives_the_same_logits(tmp_path):
    """Every family that folds, and those whose merged biases have a place of their own, saved and loaded as stock."""
    expected = []
    for model_type, leave in [*((name, fold) for name in FOLDABLE), ("qwen2", settle)]:
        model = tuned(model_type)
        folder = tmp_path / f"{model_type}-{leave.__name__}"
        logits = logits_of(model, example(model))
        leave(model).save_pretrained(folder)
        torch.save(dict(example(model)), folder / "inputs.pt")
        torch.save(logits, folder / "logits.pt")
        expected.append(str(folder))
    done = subprocess.run(
        [sys.executable, "-c", STOCK, json.dumps(expected)],
        capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [row[0] for row in rows] == expected, done.stderr[-2000:]
    for folder, moved, troubles in rows:
        assert moved < 1e-6 and not any(troubles), (folder, moved, troubles)


@pytest.mark.parametrize("model_type", REFUSED)
def test_refused_where_stock_code_has_no_place_and_nothing_changed(model_type):
    model = tuned(model_type)
    before, told = state(model), model.config.to_dict()
    with pytest.raises(ModelError, match=f"(?s){REFUSED[model_type]}"):
        fold(model)
    after = state(model)
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    assert model.config.to_dict() == told


@pytest.mark.parametrize("model_type, terms, holds", [
    ("llama", ("query",), True),  # attention_bias gives q, k, v and o a place each
    ("llama", ("query", "key", "value"), True),
    ("gpt2", ("query", "key", "value"), True),
    ("whisper", ("query", "value"), True),
    ("whisper", ("key",), False),
    ("mistral", ("query",), False),
    ("phi3", ("key",), False),
])  # fmt: skip
def test_b_q_and_b_k_stay_where_they_are_or_are_refused(model_type, terms, holds):
    model = tuned(model_type, terms)
    before = logits_of(model, example(model))
    if not holds:
        with pytest.raises(ModelError, match=rf"no place for a bias of b_{terms[0][0]}.*only b_v folds away"):
            fold(model)
        assert torch.equal(logits_of(model, example(model)), before)
        return
    moved = {part.name: biases.term_in(part) for term in terms if term != "value" for part in parts_of(model, term)}
    fold(model)
    torch.testing.assert_close(logits_of(model, example(model)), before, rtol=0, atol=1e-6)
    kept = {part.name: biases.term_in(part) for term in terms if term != "value" for part in parts_of(model, term)}
    assert all(torch.allclose(kept[name], value) for name, value in moved.items())


def test_attention_dropout_in_training_is_refused():
    model = tuned("llama", attention_dropout=0.1).train()
    with pytest.raises(ModelError, match=r"attention_dropout = 0\.1.*model\.eval"):
        fold(model)
    fold(model.eval())


def test_attention_sinks_are_refused():
    model = tuned("llama")
    model.model.layers[1].self_attn.sinks = torch.nn.Parameter(torch.zeros(4))
    with pytest.raises(ModelError, match=r"layers\.1\.self_attn\.sinks.*sum to less than 1"):
        fold(model)


def test_nothing_added_nothing_left():
    """Zero biases that were added and never moved are taken out again: the stock keys and configuration."""
    stock = tiny_model("mistral", zero="qkv")
    for part in (part for term in biases.TERMS for part in parts_of(stock, term)):
        part.module.register_parameter("bias", None)
    keys = stock.state_dict().keys()
    biases.add_biases(stock)
    assert stock.state_dict().keys() != keys
    assert settle(stock).state_dict().keys() == keys


def test_merging_an_adapter_can_fold_it():
    model = tuned("llama")
    before = logits_of(model, example(model))
    merge_adapter(model, fold=True)
    torch.testing.assert_close(logits_of(model, example(model)), before, rtol=0, atol=1e-6)
    assert model.config.attention_bias and not model.model.layers[0].self_attn.v_proj.bias.any()
    assert model.model.layers[0].self_attn.o_proj.bias.any()
