"""The pocket models before any training: stock architectures, started so that a narrow one learns to look things up."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForPreTraining,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from .tokenizer import STYLES

WIDTH, LAYERS, HEADS = 160, 4, 5
# Standard deviation of weights at the start: larger where the norm comes before a layer's attention than where after.
SPREAD = {"bert": 0.05, "roberta": 0.05, "opt": 0.1, "llama": 0.1}


def make_model(style: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """An untrained model of a family. No dropout: every text is seen once.

    Stock classes, but weights are drawn wider than usual (.02), and learned positions begin as sines: a narrow
    model that begins with nearly even attention takes very long to find out that it can look things up (seen in short
    trials on recaps, of which no results are kept). Where the norm comes after (BERT, RoBERTa), a layer starts as the
    identity: what it adds is zero.
    """
    model = _architecture(style, tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "position" in name:
                parameter.copy_(SPREAD[style] * math.sqrt(2) * _sines(*parameter.shape))
            elif name.endswith("output.dense.weight"):
                parameter.zero_()
            elif parameter.ndim == 2:
                parameter.normal_(std=SPREAD[style])
    return model


def _sines(n: int, d: int) -> Tensor:
    """Sines and cosines of n positions at d/2 frequencies, (n, d): Vaswani and others, section 3.5."""
    angle = torch.arange(n)[:, None] * torch.exp(-math.log(1000.0) * torch.arange(0, d, 2) / d)  # (n, d/2)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def _architecture(style: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "pad_token_id": tokenizer.pad_token_id,
    }
    positions = STYLES[style].positions
    if style in ("bert", "roberta"):
        size |= {"intermediate_size": 4 * WIDTH, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if style == "bert":
        return BertForPreTraining(BertConfig(**size, max_position_embeddings=positions))
    size |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if style == "roberta":  # positions are counted from pad_token_id + 1
        return RobertaForMaskedLM(RobertaConfig(**size, max_position_embeddings=positions + 2, type_vocab_size=1))
    if style == "opt":
        return OPTForCausalLM(
            OPTConfig(
                **size,
                word_embed_proj_dim=WIDTH,
                ffn_dim=4 * WIDTH,
                dropout=0.0,
                attention_dropout=0.0,
                max_position_embeddings=positions,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            **size, intermediate_size=8 * WIDTH // 3, max_position_embeddings=positions, tie_word_embeddings=True
        )
    )
