"""Where the query, key and value biases of a model family live: **one table**, and what is read off it.

A family is one row of ``FAMILIES`` (what a row says: ``layouts.Family``); ``verify`` and the tests run over every row.
A model without a row is looked at (``discovery``), and used where its structure leaves no doubt.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from .discovery import discover, projections
from .errors import ModelError, UnknownName
from .layouts import POSITIONS, TERMS, Concatenated, Family, Layout, PerHead, Separate, falcon_counts, head_counts

__all__ = [
    "FAMILIES", "POSITIONS", "TERMS", "Concatenated", "Family", "Layout", "Part", "PerHead", "Separate", "family_of",
    "head_counts", "head_parameters", "layers_of", "live_key", "output_of", "parts_of", "register_family", "weight_of",
    "width_of",
]  # fmt: skip

_BERT = Separate("attention.self.query", "attention.self.key", "attention.self.value")
_BERT_OUT = "attention.output.dense"
_PROJ = Separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_DENSE_HEAD = ("classifier",)  # a dense layer and an output layer, both new
_MLP = {"intermediate_size": 64}
_GROUPED = {**_MLP, "num_key_value_heads": 2}

_ROWS = (
    # Encoders
    Family("bert", "encoder.layer", _BERT, _BERT_OUT, "absolute", ("bert.pooler.dense.bias", "classifier"),
           "google-bert/bert-base-cased", tiny=_MLP),
    Family("roberta", "encoder.layer", _BERT, _BERT_OUT, "absolute", _DENSE_HEAD, "FacebookAI/roberta-base", tiny=_MLP),
    Family("xlm-roberta", "encoder.layer", _BERT, _BERT_OUT, "absolute", _DENSE_HEAD, "FacebookAI/xlm-roberta-base",
           tiny=_MLP),
    Family("electra", "encoder.layer", _BERT, _BERT_OUT, "absolute", _DENSE_HEAD, "google/electra-small-discriminator",
           tiny={**_MLP, "embedding_size": 32}),
    Family("distilbert", "transformer.layer", Separate("attention.q_lin", "attention.k_lin", "attention.v_lin"),
           "attention.out_lin", "absolute", ("pre_classifier", "classifier"), "distilbert/distilbert-base-cased",
           tiny={"hidden_dim": 64}),
    Family("deberta-v2", "encoder.layer",
           Separate("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"), _BERT_OUT,
           "disentangled", ("pooler", "classifier"), "microsoft/deberta-v3-small",
           tiny={**_MLP, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
                 "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}),
    Family("modernbert", "layers", Concatenated("attn.Wqkv"), "attn.Wo", "rotary",
           ("head.dense.bias", "head.norm.bias", "classifier"), "answerdotai/ModernBERT-base", "", "attention_bias",
           tiny={**_MLP, "layer_types": ["full_attention", "sliding_attention"], "local_attention": 24}),
    # Encoders of encoder-decoders
    Family("whisper", "encoder.layers", _PROJ, "self_attn.out_proj", "absolute", ("projector", "classifier"),
           "openai/whisper-tiny", "qvo",
           tiny={"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "decoder_layers": 1, "decoder_attention_heads": 4,
                 "num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16, "classifier_proj_size": 8}),
    Family("t5", "encoder.block", Separate("layer.0.SelfAttention.q", "layer.0.SelfAttention.k",
           "layer.0.SelfAttention.v"), "layer.0.SelfAttention.o", "bias by distance", ("classification_head",),
           "google-t5/t5-small", "", tiny={"d_kv": 8, "d_ff": 64, "decoder_start_token_id": 0}),
    # Decoders
    Family("opt", "decoder.layers", _PROJ, "self_attn.out_proj", "learned", ("score",), "facebook/opt-125m",
           switch="enable_bias", tiny={"ffn_dim": 64, "word_embed_proj_dim": 32, "do_layer_norm_before": True}),
    Family("gpt2", "h", Concatenated("attn.c_attn"), "attn.c_proj", "learned", ("score",), "openai-community/gpt2"),
    Family("gpt_neox", "layers", PerHead("attention.query_key_value"), "attention.dense", "partial rotary", ("score",),
           "EleutherAI/pythia-70m", switch="attention_bias", tiny=_MLP),
    Family("bloom", "h", PerHead("self_attention.query_key_value"), "self_attention.dense", "alibi", ("score",),
           "bigscience/bloom-560m"),
    Family("falcon", "h", PerHead("self_attention.query_key_value"), "self_attention.dense", "rotary or alibi",
           ("score",), "tiiuae/falcon-rw-1b", "", "bias", falcon_counts,
           {"ffn_hidden_size": 64, "new_decoder_architecture": True, "num_kv_heads": 2}),
    Family("gptj", "h", Separate("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn.out_proj",
           "partial rotary (rotary_dim)", ("score",), "EleutherAI/gpt-j-6b", "", tiny={"rotary_dim": 4}),
    Family("llama", "layers", _PROJ, "self_attn.o_proj", "rotary", ("score",), "HuggingFaceTB/SmolLM2-135M", "",
           "attention_bias", tiny=_GROUPED),
    Family("mistral", "layers", _PROJ, "self_attn.o_proj", "rotary", ("score",), "mistralai/Mistral-7B-v0.1", "",
           tiny=_GROUPED),
    Family("qwen2", "layers", _PROJ, "self_attn.o_proj", "rotary", ("score",), "Qwen/Qwen2.5-0.5B", "qkv",
           tiny=_GROUPED),
    Family("qwen3", "layers", _PROJ, "self_attn.o_proj", "rotary, keys normed", ("score",), "Qwen/Qwen3-0.6B", "",
           "attention_bias", tiny={**_GROUPED, "head_dim": 8}),
    Family("gemma", "layers", _PROJ, "self_attn.o_proj", "rotary", ("score",), "google/gemma-2b", "",
           "attention_bias", tiny={**_GROUPED, "head_dim": 8}),
    Family("phi", "layers", _PROJ, "self_attn.dense", "partial rotary", ("score",), "microsoft/phi-1_5",
           tiny=_GROUPED),
    Family("phi3", "layers", Concatenated("self_attn.qkv_proj"), "self_attn.o_proj", "partial rotary", ("score",),
           "microsoft/Phi-4-mini-instruct", "",
           tiny={**_GROUPED, "original_max_position_embeddings": 64, "partial_rotary_factor": 0.5}),
    Family("starcoder2", "layers", _PROJ, "self_attn.o_proj", "rotary", ("score",), "bigcode/starcoder2-3b",
           switch="use_bias", tiny=_GROUPED),
)  # fmt: skip

FAMILIES: dict[str, Family] = {row.model_type: row for row in _ROWS}


def register_family(family: Family) -> Family:
    """Add a row (or replace one) for this session: everything that takes a model then knows the family.

    >>> register_family(Family("my_model", "layers", Separate("attn.q", "attn.k", "attn.v"), "attn.o", "rotary"))
    """
    if family.positions not in POSITIONS:
        raise UnknownName("kind of positions", family.positions, POSITIONS)
    FAMILIES[family.model_type] = family
    return family


@dataclass(frozen=True)
class Part:
    """One term's bias in one layer: ``index`` picks its elements in the bias of ``module`` (None: all of them)."""

    layer: int
    term: str
    name: str
    module: nn.Module
    index: Tensor | None


def family_of(model: nn.Module) -> Family:
    """The row for a transformers model, or one found by its structure where that is certain.

    Raises ModelError with the families there are, what stood in the way, the candidates, and the row to add.
    """
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    found = discover(model, model_type or type(model).__name__)
    if isinstance(found, Family):
        return found
    _refuse_wrapper(model)
    raise ModelError(
        f"No row for model_type {model_type!r} ({type(model).__name__}), and its structure is not certain: {found}. "
        f"Known families: {', '.join(FAMILIES)}. Add a row by hand before anything else: register_family(Family("
        f"{model_type!r}, layers, Separate(query, key, value) or Concatenated(path) or PerHead(path), output, "
        f"positions, head)). Modules that look like projections: {', '.join(projections(model)[:6]) or 'none'}."
    )


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The model's Transformer layers, first to last."""
    path = family_of(model).layers
    try:
        return list(_resolve(_base(model), path))  # type: ignore[arg-type]
    except ModelError:
        _refuse_wrapper(model)
        raise


def parts_of(model: nn.Module, term: str) -> list[Part]:
    """Where one term's bias is, layer by layer; L parts."""
    family = family_of(model)
    path = family.layout.module(term)
    index = family.layout.index(term, family.counts(model.config))
    return [
        Part(number, term, f"layer {number} {path}", _resolve(layer, path), index)
        for number, layer in enumerate(layers_of(model))
    ]


def head_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The task head by name: what every method trains besides its own parameters. Empty for a language model."""
    heads = family_of(model).head
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if any(name == head or name.startswith(head + ".") for head in heads)
    }


def live_key(model: nn.Module) -> Tensor:
    """Which elements of one layer's b_k can change anything at all: (d_k,) bool. None of them where positions are
    absolute, the rotary ones where a part of each head is turned. (For "unknown" positions: all, not measured.)
    """
    family, config = family_of(model), model.config
    _, kv_heads, head_dim = family.counts(config)
    live = POSITIONS[family.positions].live(config, head_dim)
    return (torch.arange(head_dim) < live).repeat(kv_heads)


def output_of(layer: nn.Module, family: Family) -> nn.Module:
    """The projection behind attention in one layer. Raises ModelError where the row does not say."""
    if not family.output:
        raise ModelError(
            f"The row of {family.model_type!r} does not say which module is the projection behind attention. "
            "register_family(Family(…, output=…)) with its path in one layer."
        )
    return _resolve(layer, family.output)


def width_of(module: nn.Module) -> int:
    """How many numbers a projection puts out, which is the length of its bias (Linear, and GPT-2's Conv1D)."""
    return int(getattr(module, "out_features", None) or module.nf)  # type: ignore[arg-type]


def weight_of(module: nn.Module) -> Tensor:
    """A projection's weight as (out, in): Conv1D stores it the other way round."""
    weight = cast(Tensor, module.weight)
    return weight if hasattr(module, "out_features") else weight.T


def _base(model: nn.Module) -> nn.Module:
    """The model without its head; the model itself when it has none."""
    return getattr(model, "base_model", model)


def _refuse_wrapper(model: nn.Module) -> None:
    """Say so where what was not found is hidden behind PEFT: the wrapper has its model's configuration, not its paths.

    Raises ModelError. Where PEFT was not imported, nothing can be wrapped by it.
    """
    peft = sys.modules.get("peft")
    if peft is None or not isinstance(model, peft.PeftModel):
        return
    way = "Give the model inside: wrapped.unload(), or merge_and_unload() where what PEFT trained is to stay in it."
    if cast(Any, model).active_peft_config.is_prompt_learning:  # nothing unloads PEFT's copy of the head
        way = "The head inside is PEFT's copy: load the model anew, and give it without the wrapper."
    raise ModelError(f"{type(model).__name__} is PEFT's wrapper around a model. {way}")


def _resolve(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError as error:
        raise ModelError(
            f"{type(module).__name__} has no {path!r}, where its row in FAMILIES says it is. "
            "transformers may have renamed it, or this is another architecture under the same model_type."
        ) from error
