"""Leaving a stock model behind: b_v folded into the output projection, no bias where stock code has no place for one.

Rows of attention sum to 1, so b_v leaves attention as a constant, the same for every token, and the output projection
makes it a bias:  o = W_o (A v + b_v) + b_o  =  W_o A v + (W_o b_v + b_o).  With grouped heads each head of a group
repeats its group's part of b_v. b_q and b_k act inside softmax and fold nowhere.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .architectures import TERMS, family_of, layers_of, output_of, parts_of, weight_of
from .biases import find_biases, remove, term_in
from .errors import ModelError

MERGED = ", merged"  # behind the name of a base
_OF_THE_BASE = ("beft_pristine", "beft_adapters", "beft_labels", "beft_fresh")  # untrue once its weights are others

# What configurations call the dropout of attention probabilities.
_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop", "dropout_rate")


def fold(model: nn.Module) -> nn.Module:
    """Merge every delta and fold b_v into the output projection's bias, in place: the same logits, b_v zero or gone.

    The model is stock afterwards: ``save_pretrained`` it, and transformers alone loads it (its configuration says
    which biases there are; those it asks for besides are written as zeros). Exact to the rounding of the weights. It
    counts as a new pretrained model, called "NAME, merged": adapters loaded before are gone.

    Raises ModelError, with nothing changed, where folding is not exact (attention sinks, attention dropout in training
    mode) or where stock code of this family has no place for what is left (a bias behind attention, a trained b_q).
    """
    stock = check(model, fold=True)
    family = family_of(model)
    heads, kv_heads, head_dim = family.counts(model.config)
    values = find_biases(model, ["value"])["value"].values()  # (L, kv_heads · d_head)
    moves: dict[nn.Module, Tensor] = {}
    for layer, value in zip(layers_of(model), values, strict=True):
        output = output_of(layer, family)
        repeated = value.view(kv_heads, head_dim).repeat_interleave(heads // kv_heads, 0).flatten()  # (heads · d_head,)
        moves[output] = weight_of(output).detach().to("cpu", torch.float64) @ repeated
    return _settle(model, moves, *stock)


def settle(model: nn.Module) -> nn.Module:
    """Merge every delta where it is, in place, and leave a model that stock transformers loads, as ``fold`` does.

    Raises ModelError, with nothing changed, where stock code has no place for a bias that is not zero.
    """
    return _settle(model, {}, *check(model, fold=False))


def check(model: nn.Module, fold: bool) -> tuple[dict[str, torch.Size], str]:
    """Refuse, before anything is changed, what ``fold`` (or else ``settle``) refuses.

    Returns the keys (and shapes) of the stock model that will hold the result, and what its configuration switches on.
    """
    if fold:
        _check_exact(model)
    paths, held = {module: name for name, module in model.named_modules()}, {}
    layers, family = layers_of(model), family_of(model)
    for part in (part for term in TERMS for part in parts_of(model, term)):
        if bool(term_in(part).any()):
            folds = fold and part.term == "value"
            module = output_of(layers[part.layer], family) if folds else part.module
            held[f"{paths[module]}.bias"] = "o" if folds else part.term
    return _stock(model, held)


def _settle(
    model: nn.Module, moves: Mapping[nn.Module, Tensor], stock: Mapping[str, torch.Size], switch: str
) -> nn.Module:
    """``stock`` and ``switch``: from ``check``."""
    paths = {module: name for name, module in model.named_modules()}
    parts = [part for term in TERMS for part in parts_of(model, term)]
    remove(model, merge=True)
    with torch.no_grad():
        for part in (part for part in parts if moves and part.term == "value"):
            bias = cast(Tensor, part.module.bias)
            bias[slice(None) if part.index is None else part.index.to(bias.device)] = 0
        for name in (f"{paths[module]}.bias" for module in {part.module for part in parts}):
            if name not in stock:  # all zero, as checked
                model.get_submodule(name.removesuffix(".bias")).register_parameter("bias", None)
        for name in stock.keys() - model.state_dict().keys():
            _add_zero(model.get_submodule(name.rpartition(".")[0]), stock[name])
        for output, move in moves.items():
            if bool(move.any()):
                cast(Tensor, output.bias).add_(move.to(output.bias))  # type: ignore[arg-type]
    if switch:
        setattr(model.config, switch, True)
    for name in _OF_THE_BASE:
        model.__dict__.pop(name, None)
    _mark_merged(model)
    return model


def is_merged(model: nn.Module) -> bool:
    """Whether something was merged into the model in memory: its weights are then no longer those of its source."""
    return bool(getattr(model, "beft_merged", False))


def _mark_merged(model: nn.Module) -> None:
    """Call the model "NAME, merged" from now on. Its source still says where the tokenizer is."""
    source: Any = getattr(model, "beft_source", None)
    if source is not None and not is_merged(model):
        model.__dict__["beft_source"] = replace(source, name=source.name + MERGED)
    model.__dict__["beft_merged"] = True


def _stock(model: nn.Module, held: Mapping[str, str]) -> tuple[dict[str, torch.Size], str]:
    """The keys (and shapes) of the stock model that has a place for these biases, and what to switch on for it."""
    family, homeless = family_of(model), []
    if not isinstance(model, PreTrainedModel):
        return {key: value.shape for key, value in model.state_dict().items()}, ""
    for switch in dict.fromkeys(("", family.switch)):
        config = copy.deepcopy(model.config)
        if switch:
            setattr(config, switch, True)
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            keys = {key: value.shape for key, value in type(model)(config).state_dict().items()}
        homeless = [key for key in held if key not in keys]
        if not homeless:
            return keys, switch
    first, name = min(homeless, key=lambda key: held[key] == "o"), type(model).__name__
    term = held[first]
    what = "the output projection" if term == "o" else f"b_{term[0]}, which is not zero"
    raise ModelError(
        f"{name} in transformers has no place for a bias of {what} ({first}), so no stock model can hold "
        f"{'the folded b_v' if term == 'o' else 'it, and only b_v folds away'}. The model is as it was. Keep the "
        + (
            "bias where it is: this family's b_v has a place of its own, so merge without folding."
            if term == "o" and "v" in family.biased
            else "adapter instead (save_adapter), and load it with load_adapter after add_biases(model)."
        )
    )


def _add_zero(module: nn.Module, shape: torch.Size) -> None:
    weight = cast(Tensor, module.weight)
    zero = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
    module.register_parameter("bias", nn.Parameter(zero, requires_grad=False))


def _check_exact(model: nn.Module) -> None:
    sinks = [n for n, _ in model.named_parameters() if n.rsplit(".", 1)[-1] in ("sinks", "sink")]
    if sinks:
        raise ModelError(
            f"{type(model).__name__} has attention sinks ({sinks[0]}): rows of attention sum to less than 1, each row "
            "to something else, so b_v is no constant behind attention and cannot be folded. Keep the adapter."
        )
    rates = {name: rate for name in _DROPOUT if (rate := getattr(model.config, name, 0))}
    if model.training and rates:
        raise ModelError(
            f"The model is in training mode with {next(iter(rates))} = {next(iter(rates.values()))}: dropped rows of "
            "attention do not sum to 1, so folding is not exact. Call model.eval() first."
        )
