"""Is a row of the table true? Each claim is checked against the model's own attention, on a tiny random model.

A check takes a model (eager attention, float64, no bias zero) and inputs, and raises ModelError where a claim fails.
The layout is not taken from the code it describes: one head of one term is nudged at one token, in the projection's
own output, and the attention probabilities have to answer as a query, a key or a value must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForAudioClassification, AutoModelForSequenceClassification

from . import biases
from .architectures import FAMILIES, TERMS, Part, family_of, layers_of, live_key, output_of, parts_of, width_of
from .errors import ModelError
from .models import quiet

Inputs = Mapping[str, Tensor]
SIZES = {
    "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "num_labels": 2,
}  # fmt: skip
TOKEN, HEAD = 2, -1  # where a nudge is given: the last head
STILL, MOVED = 1e-6, 1e-5  # many families take the softmax in float32, whatever the model's own precision


def tiny_model(
    model_type: str, seed: int = 0, dtype: torch.dtype = torch.float64, zero: str = "", **changes: Any
) -> nn.Module:
    """A random model of a family, two layers of width 32, with every q, k and v bias there and none of them zero.

    ``zero``: letters of the terms that are left as they come (zero where the family has none by default).
    """
    with quiet():
        config = AutoConfig.for_model(model_type, **{**SIZES, **FAMILIES[model_type].tiny, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto_class(config).from_config(config, attn_implementation="eager").to(dtype).eval()
        biases.add_biases(model)
        with torch.no_grad():
            for part in (part for term in TERMS if term[0] not in zero for part in parts_of(model, term)):
                bias = cast(Tensor, part.module.bias)
                bias[_columns(part)] = torch.randn(len(_columns(part)), dtype=dtype) / 2
    return model


def auto_class(config: Any) -> Any:
    """The Auto class that puts a head for classification on this family."""
    autos = (AutoModelForSequenceClassification, AutoModelForAudioClassification)
    return next(auto for auto in autos if type(config) in auto._model_mapping)


def example(model: nn.Module, batch: int = 3, length: int = 9) -> dict[str, Tensor]:
    """Random inputs of the kind the model takes: (B, T) token ids that end in </s>, or (B, mel, frames) of sound."""
    config: Any = model.config
    draw = torch.Generator().manual_seed(1)
    if model.main_input_name == "input_features":
        frames = torch.randn(batch, config.num_mel_bins, 2 * config.max_source_positions, generator=draw)
        return {"input_features": frames.to(next(model.parameters()).dtype)}
    ids = torch.randint(5, config.vocab_size, (batch, length), generator=draw)
    ids[:, -1] = config.eos_token_id
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def attention_of(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Attention probabilities, layer by layer: L × (B, heads, T, T)."""
    told = model(**inputs, output_attentions=True)
    return list(getattr(told, "encoder_attentions", None) or told.attentions)


def check_query(model: nn.Module, inputs: Inputs) -> None:
    """A nudge of one query head at one token moves that head's row of attention, and no other."""
    before, after = _nudge(model, inputs, "query")
    moved = (after - before).abs()
    _need(moved[:, HEAD, TOKEN].max() > MOVED, "a nudged query does not move its own row of attention")
    moved[:, HEAD, TOKEN] = 0
    _need(moved.max() < STILL, "a nudged query moves attention elsewhere")


def check_key(model: nn.Module, inputs: Inputs) -> None:
    """A nudge of one key head at one token moves that column, in the heads of its group: the rest keeps its shares."""
    before, after = _nudge(model, inputs, "key")
    heads, kv_heads, _ = family_of(model).counts(model.config)
    group = torch.arange(heads) // (heads // kv_heads) == kv_heads - 1
    moved = (after - before).abs()
    _need(moved[:, group, :, TOKEN].amax((0, 2)).min() > MOVED, "a nudged key does not move its column of attention")
    _need(bool((moved[:, ~group] < STILL).all()), "a nudged key moves heads outside its group")
    rest = torch.arange(before.shape[-1]) != TOKEN
    shares = [a[..., rest] / a[..., rest].sum(-1, keepdim=True) for a in (before, after)]
    _need((shares[0] - shares[1]).abs().max() < STILL, "a nudged key moves more than its own column")


def check_value(model: nn.Module, inputs: Inputs) -> None:
    """Attention times the values, head by head, is what the output projection gets; and no value moves attention."""
    before, after = _nudge(model, inputs, "value")
    _need(torch.equal(before, after), "a nudged value moves attention")
    heads, kv_heads, head_dim = family_of(model).counts(model.config)
    parts, seen = parts_of(model, "value"), {}
    outputs = [output_of(layer, family_of(model)) for layer in layers_of(model)]
    hooks = [p.module.register_forward_hook(lambda m, i, out: seen.setdefault(m, out)) for p in parts]
    hooks += [o.register_forward_pre_hook(lambda m, args: seen.setdefault(m, args[0])) for o in outputs]
    with _removed(hooks), torch.no_grad():
        attentions = attention_of(model, inputs)
    for part, output, attention in zip(parts, outputs, attentions, strict=True):
        value = seen[part.module][..., _columns(part).flatten()].unflatten(-1, (kv_heads, head_dim))  # (B, T, kv, d)
        value = value.repeat_interleave(heads // kv_heads, 2).transpose(1, 2)  # (B, heads, T, d)
        context = (attention @ value).transpose(1, 2).flatten(2)  # (B, T, heads · d)
        _need((attention.sum(-1) - 1).abs().max() < STILL, "rows of attention do not sum to 1")
        given = seen[output]
        same = context.shape == given.shape and bool((context - given).abs().max() < STILL)
        _need(same, "the output projection gets something else than A·v")


def check_bias_value(model: nn.Module, inputs: Inputs) -> None:
    """Moving b_v leaves attention of the first layer alone, bit for bit, and moves the logits."""
    with torch.no_grad():
        before, logits = attention_of(model, inputs)[0], logits_of(model, inputs)
        with biases.shifted(model, "value", torch.tensor([[0.5]])):
            _need(torch.equal(attention_of(model, inputs)[0], before), "b_v moves attention")
            _need((logits_of(model, inputs) - logits).abs().max() > STILL, "b_v does not move the logits")


def check_bias_query(model: nn.Module, inputs: Inputs) -> None:
    """Moving b_q moves attention."""
    with torch.no_grad():
        before = attention_of(model, inputs)[0]
        with biases.shifted(model, "query", _noise(model, "query")):
            _need((attention_of(model, inputs)[0] - before).abs().max() > MOVED, "b_q does not move attention")


def check_bias_key(model: nn.Module, inputs: Inputs) -> None:
    """b_k lives in exactly the elements that the row says, by gradient; and moving the others moves no logit."""
    live = live_key(model)  # (d_k,)
    pull, reference = _pull(model, inputs, "key"), _pull(model, inputs, "query").max()  # (d_k,)
    _need(bool((pull[~live] < STILL * reference).all()), "b_k has a gradient where the row says it is dead")
    _need(bool((pull[live] > MOVED * reference).all()), "b_k has no gradient where the row says it lives")
    before = logits_of(model, inputs)
    for mask, moves in ((~live, False), (live, True)):
        with biases.shifted(model, "key", _noise(model, "key") * mask):
            moved = (logits_of(model, inputs) - before).abs().max() > STILL
        _need(bool(moved) == (moves and bool(mask.any())), f"moving b_k where {'alive' if moves else 'dead'}: {moved}")


def check_install(model: nn.Module, inputs: Inputs) -> None:
    """Deltas in and out change no logit and leave stock keys; merging keeps what they moved."""
    keys, before = list(model.state_dict()), logits_of(model, inputs)
    deltas = [delta for term in biases.install(model).values() for delta in term.deltas()]
    _need(len(deltas) == 3 * len(layers_of(model)), "not one delta for each term and layer")
    _need(torch.equal(logits_of(model, inputs), before), "installing deltas changes the logits")
    biases.remove(model)
    _need(list(model.state_dict()) == keys and torch.equal(logits_of(model, inputs), before), "removing leaves traces")
    for delta in biases.install(model, ["value"])["value"].deltas():
        nn.init.constant_(delta, 0.25)
    moved = logits_of(model, inputs)
    biases.remove(model, merge=True)
    _need(list(model.state_dict()) == keys, "merging leaves other keys")
    _need(bool((moved - before).abs().max() > STILL), "the delta had no effect")
    _need(torch.allclose(logits_of(model, inputs), moved, rtol=0, atol=1e-12), "merging loses what the delta moved")


def check_training(model: nn.Module, inputs: Inputs) -> None:
    """Training b_v leaves b_q and b_k bit-identical, in one fused vector as in three modules."""
    terms = biases.install(model, ["value"]) | biases.find_biases(model, ["query", "key"])
    before = biases.snapshot(terms)
    optimizer = torch.optim.AdamW(terms["value"].deltas(), lr=0.01, weight_decay=0.0)
    model(**inputs).logits.square().sum().backward()
    optimizer.step()
    after = {term: torch.stack([_used(part) for part in terms[term].parts]) for term in TERMS}
    biases.remove(model)
    model.zero_grad()
    _need(bool((after["value"] != before["value"]).all()), "training b_v does not move all of it")
    _need(all(torch.equal(after[term], before[term]) for term in ("query", "key")), "training b_v moves another term")


CHECKS: dict[str, Callable[[nn.Module, Inputs], None]] = {
    "query is query": check_query,
    "key is key": check_key,
    "value is value": check_value,
    "b_v passes through": check_bias_value,
    "b_q tilts": check_bias_query,
    "b_k as stated": check_bias_key,
    "in, out, merged": check_install,
    "one part trained": check_training,
}


def _nudge(model: nn.Module, inputs: Inputs, term: str) -> tuple[Tensor, Tensor]:
    """Attention of the first layer before and after noise on one head of a term, at one token: (B, heads, T, T)."""
    part = parts_of(model, term)[0]
    heads, kv_heads, _ = family_of(model).counts(model.config)
    columns = _columns(part).view(heads if term == "query" else kv_heads, -1)[HEAD]
    with torch.no_grad():
        before = attention_of(model, inputs)[0]
        noise = torch.randn(len(columns), generator=torch.Generator().manual_seed(2)).to(before.dtype)

        def add(module: nn.Module, args: Any, out: Tensor) -> Tensor:
            if len(out) == len(before):  # DeBERTa projects its distances as well, without a batch
                out[:, TOKEN, columns] += noise
            return out

        with _removed([part.module.register_forward_hook(add)]):
            return before, attention_of(model, inputs)[0]


def _pull(model: nn.Module, inputs: Inputs, term: str) -> Tensor:
    """How strongly each element of the first layer's bias pulls at that layer's attention: (d,), the largest gradient
    of four random sums of it (one alone may happen to be near zero).
    """
    part = parts_of(model, term)[0]
    bias = cast(nn.Parameter, part.module.bias).requires_grad_(True)
    attention = attention_of(model, inputs)[0]
    directions = torch.randn(4, *attention.shape, generator=torch.Generator().manual_seed(3)).to(attention)
    pulls = [torch.autograd.grad((attention * d).sum(), bias, retain_graph=True)[0] for d in directions]
    return torch.stack(pulls)[:, _columns(part)].abs().amax(0)


def _columns(part: Part) -> Tensor:
    return torch.arange(width_of(part.module)) if part.index is None else part.index


def _used(part: Part) -> Tensor:
    """The term's part of the bias as the layer really adds it, delta included."""
    return cast(Tensor, part.module.bias).detach()[_columns(part)].double()


def _noise(model: nn.Module, term: str) -> Tensor:
    values = biases.find_biases(model, [term])[term].values()
    return torch.randn(values.shape, generator=torch.Generator().manual_seed(4), dtype=values.dtype)


@contextmanager
def _removed(hooks: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _need(holds: bool | Tensor, claim: str) -> None:
    if not holds:
        raise ModelError(f"The row is not true of this model: {claim}.")
