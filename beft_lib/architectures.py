"""Where the query, key and value biases of a model family live: two layouts and one table.

A layout says, for one layer, in which module a term's bias sits and which of its elements are the term's.
A family is one row of ``FAMILIES``; the tests in ``tests/test_architectures.py`` run over every row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ModelError

TERMS = ("query", "key", "value")


@dataclass(frozen=True)
class Separate:
    """Three modules, one a term: paths below one layer."""

    query: str
    key: str
    value: str

    def module(self, term: str) -> str:
        return getattr(self, term)

    def index(self, term: str, config: Any) -> Tensor | None:
        """None: the whole bias is the term's."""
        return None


@dataclass(frozen=True)
class Concatenated:
    """One module whose output is all of q, then all of k, then all of v (GPT-2's c_attn)."""

    path: str

    def module(self, term: str) -> str:
        return self.path

    def index(self, term: str, config: Any) -> Tensor | None:
        heads, kv_heads, head_dim = head_counts(config)
        sizes = {"query": heads * head_dim, "key": kv_heads * head_dim, "value": kv_heads * head_dim}
        start = sum(sizes[before] for before in TERMS[: TERMS.index(term)])
        return torch.arange(start, start + sizes[term])


@dataclass(frozen=True)
class PerHead:
    """One module whose output is [q, k, v] of the first head, then of the second … (GPT-NeoX, BLOOM)."""

    path: str

    def module(self, term: str) -> str:
        return self.path

    def index(self, term: str, config: Any) -> Tensor | None:
        heads, _, head_dim = head_counts(config)
        return torch.arange(heads * 3 * head_dim).view(heads, 3, head_dim)[:, TERMS.index(term)].flatten()


Layout = Separate | Concatenated | PerHead


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        model_type: ``config.model_type`` in transformers.
        layers: path of the list of layers below the base model (``model.base_model``).
        layout: where q, k and v are in one layer.
        output: path, in one layer, of the projection behind attention (where a value bias can be folded in).
        positions: "absolute" or "learned" (the key bias is dead), "rotary", "relative" or "alibi".
        head: what is trained besides the chosen bias when a sequence is classified: paths below the whole model,
            a module (all of it) or one parameter. Only those that the model has count.
        model: the id of a small public checkpoint, for people to try.
    """

    model_type: str
    layers: str
    layout: Layout
    output: str
    positions: str
    head: tuple[str, ...]
    model: str

    @property
    def key_is_dead(self) -> bool:
        """Whether softmax cancels the key bias exactly: it adds q·b_k to every logit of a row."""
        return self.positions in ("absolute", "learned", "alibi")


_BERT_LAYER = Separate("attention.self.query", "attention.self.key", "attention.self.value")
_BERT_OUT = "attention.output.dense"
_DECODER_LAYER = Separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_DENSE_HEAD = ("classifier",)  # a dense layer and an output layer, both new

_ROWS = (
    Family("bert", "encoder.layer", _BERT_LAYER, _BERT_OUT, "absolute",
           ("bert.pooler.dense.bias", "classifier"), "google-bert/bert-base-cased"),
    Family("roberta", "encoder.layer", _BERT_LAYER, _BERT_OUT, "absolute", _DENSE_HEAD, "FacebookAI/roberta-base"),
    Family("electra", "encoder.layer", _BERT_LAYER, _BERT_OUT, "absolute", _DENSE_HEAD,
           "google/electra-small-discriminator"),
    Family("distilbert", "transformer.layer", Separate("attention.q_lin", "attention.k_lin", "attention.v_lin"),
           "attention.out_lin", "absolute", ("pre_classifier", "classifier"), "distilbert/distilbert-base-cased"),
    Family("opt", "decoder.layers", _DECODER_LAYER, "self_attn.out_proj", "learned", ("score",), "facebook/opt-125m"),
)  # fmt: skip

FAMILIES: dict[str, Family] = {row.model_type: row for row in _ROWS}


@dataclass(frozen=True)
class Part:
    """One term's bias in one layer: ``index`` picks its elements in the bias of ``module`` (None: all of them)."""

    layer: int
    term: str
    name: str
    module: nn.Module
    index: Tensor | None


def family_of(model: nn.Module) -> Family:
    """The row for a transformers model. Raises ModelError with the families there are and the row to add."""
    config = getattr(model, "config", None)
    model_type = getattr(config, "model_type", None)
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    raise ModelError(
        f"No row for model_type {model_type!r} ({type(model).__name__}). Known families: {', '.join(FAMILIES)}. "
        "A new family is one row of FAMILIES in beft_lib/architectures.py: "
        "Family(model_type, layers, Separate(query, key, value), output, positions, head, model). "
        f"Modules whose names look like projections: {_candidates(model) or 'none'}."
    )


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The model's Transformer layers, first to last."""
    return list(_resolve(_base(model), family_of(model).layers))  # type: ignore[arg-type]


def parts_of(model: nn.Module, term: str) -> list[Part]:
    """Where one term's bias is, layer by layer; L parts."""
    family = family_of(model)
    path = family.layout.module(term)
    index = family.layout.index(term, model.config)
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


def head_counts(config: Any) -> tuple[int, int, int]:
    """(query heads, key/value heads, width of a head) as the configuration states them."""
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return heads, kv_heads, head_dim


def _base(model: nn.Module) -> nn.Module:
    """The model without its head; the model itself when it has none."""
    return getattr(model, "base_model", model)


def _resolve(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError as error:
        raise ModelError(
            f"{type(module).__name__} has no {path!r}, where its row in FAMILIES says it is. "
            "transformers may have renamed it, or this is another architecture under the same model_type."
        ) from error


def _candidates(model: nn.Module) -> str:
    """Names of linear modules in the first layer found, to help write a new row."""
    endings: Iterable[str] = ("q", "k", "v", "query", "key", "value", "q_proj", "k_proj", "v_proj", "qkv", "c_attn")
    names = [n for n, _ in model.named_modules() if n.rsplit(".", 1)[-1].lower() in endings]
    return ", ".join(names[:6])
