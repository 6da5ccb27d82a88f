"""Planted problems: small models wired by hand so that one bias term alone can solve the task. The probe finds it.

One BERT layer of width 8 without layer norms. A word's embedding says its class in dimension 0 and, for the words that
count, a mark in dimension 1; attention copies dimension 0 into dimension 2 of the first token, where the head can only
look past a tanh.
"""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import nn

from beft_lib import find_biases, fine_tune, load_task, probe
from beft_lib.architectures import TERMS
from beft_lib.methods import METHODS
from beft_lib.models import load_model

WORD = {word: number + len(tiny.SPECIAL) for number, word in enumerate(tiny.WORDS)}
POSITIVE, NEGATIVE = ("good", "fine"), ("bad", "poor")
RECIPE = {"epochs": 30, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task"), n=96), n_train=96)


@pytest.fixture(params=["query", "value"])
def planted(request, task, tmp_path) -> tuple[str, Any]:
    """(the term that can solve it, the model), loaded as any model is."""
    made = tiny.model("bert", hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
                      hidden_act="tanh", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # fmt: skip
    wire(made, request.param)
    made.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model = load_model(tmp_path, task)
    without_norms(model)
    return request.param, model


def without_norms(model: Any) -> None:
    for module in list(model.modules()):
        if isinstance(getattr(module, "LayerNorm", None), nn.LayerNorm):
            module.LayerNorm = nn.Identity()


@torch.no_grad()
def wire(model: Any, only: str) -> None:
    for name, parameter in model.named_parameters():
        parameter.fill_(0.0 if "LayerNorm" not in name or name.endswith("bias") else 1.0)
    words = model.bert.embeddings.word_embeddings.weight
    noise = torch.Generator().manual_seed(0)
    for word, number in WORD.items():
        sign = (word in POSITIVE) - (word in NEGATIVE)
        # For the query's problem the other words shout over the few that count; for the value's they are silent.
        words[number, 0] = sign or (torch.randn((), generator=noise) * 4 if only == "query" else 0.0)
        words[number, 1] = float(sign != 0)
    layer = model.bert.encoder.layer[0]
    for bias in find_biases(model).values():
        bias.parts[0].module.bias.fill_(1.0)
    attention = layer.attention.self
    attention.value.weight[0, 0] = 1.0 if only == "query" else 10.0
    if only == "query":  # a query of the bias alone can look for the mark
        attention.key.weight[0, 1] = 4.0
        attention.query.bias[0] = 0.0
    layer.attention.output.dense.weight[2, 0] = 1.0
    model.bert.pooler.dense.weight[0, 3 if only == "value" else 2] = 0.5
    if only == "value":  # the only way to the head is past a tanh that is saturated until a constant moves it back
        layer.intermediate.dense.weight[0, 2] = 1.0
        layer.intermediate.dense.bias[0] = 4.0
        layer.output.dense.weight[3, 0] = 1.0
    model.classifier.weight[:, 0] = torch.tensor([-1.0, 1.0])


def test_only_that_term_solves_it_and_the_probe_finds_it(planted, task):
    only, model = planted
    scores = {method: fine_tune(model, task, method, **RECIPE).score for method in ("head", *TERMS)}
    assert scores[only] >= 0.95, scores
    assert all(score <= 0.8 for method, score in scores.items() if method != only), scores
    result = probe(model, task, **RECIPE)
    assert result.best == only and METHODS[result.best].terms == (only,)
    (_, first), (_, second), _ = result.ranking()
    assert first > 2 * second  # no close call
    assert probe(model, task, stop="stable", **RECIPE).best == only


def test_nothing_solves_it_before(planted, task):
    from beft_lib.models import load_tokenizer
    from beft_lib.training import evaluate_model

    assert evaluate_model(planted[1], task, load_tokenizer(planted[1]))["accuracy"] <= 0.8
