"""What a row of the table of families is made of: where q, k and v are in a layer, and what positions do to b_k."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TERMS = ("query", "key", "value")

Counts = tuple[int, int, int]  # query heads, key/value heads, width of a head


def head_counts(config: Any) -> Counts:
    """(query heads, key/value heads, width of a head) as most configurations state them."""
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return heads, kv_heads, head_dim


def falcon_counts(config: Any) -> Counts:
    """Falcon: one key/value head (7B), ``num_kv_heads`` of them (40B, 180B), or as many as query heads (RW)."""
    heads = config.num_attention_heads
    several = config.new_decoder_architecture or not config.multi_query
    kv_heads = config.num_kv_heads if config.new_decoder_architecture else heads if several else 1
    return heads, kv_heads, config.hidden_size // heads


@dataclass(frozen=True)
class Separate:
    """Three modules, one a term: paths below one layer."""

    query: str
    key: str
    value: str

    def module(self, term: str) -> str:
        return getattr(self, term)

    def index(self, term: str, counts: Counts) -> Tensor | None:
        """None: the whole bias is the term's."""
        return None


@dataclass(frozen=True)
class Concatenated:
    """One module whose output is all of q, then all of k, then all of v (GPT-2's c_attn)."""

    path: str

    def module(self, term: str) -> str:
        return self.path

    def index(self, term: str, counts: Counts) -> Tensor | None:
        heads, kv_heads, head_dim = counts
        sizes = {"query": heads * head_dim, "key": kv_heads * head_dim, "value": kv_heads * head_dim}
        start = sum(sizes[before] for before in TERMS[: TERMS.index(term)])
        return torch.arange(start, start + sizes[term])


@dataclass(frozen=True)
class PerHead:
    """One module whose output is [q, k, v] of the first key/value head, then of the second … (GPT-NeoX, BLOOM).

    With grouped heads (Falcon) the queries of a group all come before its one k and one v.
    """

    path: str

    def module(self, term: str) -> str:
        return self.path

    def index(self, term: str, counts: Counts) -> Tensor | None:
        heads, kv_heads, head_dim = counts
        rows = torch.arange((heads + 2 * kv_heads) * head_dim).view(kv_heads, -1, head_dim)  # (groups, q… k v, d_head)
        return {"query": rows[:, :-2], "key": rows[:, -2], "value": rows[:, -1]}[term].flatten()


Layout = Separate | Concatenated | PerHead


@dataclass(frozen=True)
class Positions:
    """A way to know about positions, and what it leaves of b_k.

    b_k adds q·b_k to every logit of a row, and softmax cancels what a whole row shares. It lives where that constant
    becomes different from key to key. ``live(config, d_head)``: how many leading elements of each head's b_k do so.
    """

    why: str
    live: Callable[[Any, int], int] = field(default=lambda config, head_dim: 0, repr=False)
    dead: bool = True


def _all(config: Any, head_dim: int) -> int:
    return head_dim


def _part(config: Any, head_dim: int) -> int:
    if getattr(config, "qk_layernorm", False):
        return head_dim
    return int(head_dim * config.rope_parameters.get("partial_rotary_factor", 1.0))


def _p2c(config: Any, head_dim: int) -> int:
    return head_dim if config.relative_attention and "p2c" in (config.pos_att_type or ()) else 0


_ADDED = "added to the input; "
_CANCELS = "b_k adds the same to a whole row of logits, which softmax cancels"
_PARTLY = "lives in the first elements of each head, which are turned; dead in the others"
POSITIONS: dict[str, Positions] = {
    "absolute": Positions(_ADDED + _CANCELS),
    "learned": Positions(_ADDED + _CANCELS),
    "alibi": Positions("added to the logits, whatever the key: " + _CANCELS),
    "bias by distance": Positions("added to the logits, whatever the key: " + _CANCELS),
    "rotary": Positions("each key is turned by its position, b_k with it: no longer one constant", _all, False),
    "partial rotary": Positions(_PARTLY, _part, False),
    "partial rotary (rotary_dim)": Positions(_PARTLY, lambda config, head_dim: config.rotary_dim, False),
    "rotary, keys normed": Positions("each key is divided by its own size, then turned by its position", _all, False),
    "rotary or alibi": Positions(
        "lives where rotary (the released 7B, 40B, 180B); dead where alibi (RW)",
        lambda config, head_dim: 0 if config.alibi else head_dim, False,
    ),
    "disentangled": Positions("position-to-content attention multiplies b_k by the distance's vector", _p2c, False),
    "unknown": Positions("found by structure: nothing says what becomes of b_k; measure it", _all, False),
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        model_type: ``config.model_type`` in transformers.
        layers: path of the list of layers below the base model (``model.base_model``).
        layout: where q, k and v are in one layer.
        output: path, in one layer, of the projection behind attention (where a value bias can be folded in); "" where
            that is not known.
        positions: a key of ``POSITIONS``.
        head: what is trained besides the chosen bias when a sequence is classified: paths below the whole model,
            a module (all of it) or one parameter. Only those that the model has count.
        model: the id of a small public checkpoint, for people to try.
        biased: which of q, k, v and o (the output projection) have a bias in stock code, by letter.
        switch: the field of the configuration that gives the others theirs; "" where stock code has no place for them.
        counts: (query heads, key/value heads, width of a head) from a configuration.
        tiny: what a small random model's configuration needs besides the usual names (for the checks).
    """

    model_type: str
    layers: str
    layout: Layout
    output: str = ""
    positions: str = "unknown"
    head: tuple[str, ...] = ()
    model: str = ""
    biased: str = "qkvo"
    switch: str = ""
    counts: Callable[[Any], Counts] = field(default=head_counts, repr=False)
    tiny: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def fused(self) -> bool:
        """Whether q, k and v share one module: a term is then a part of its bias."""
        return not isinstance(self.layout, Separate)

    @property
    def key_is_dead(self) -> bool:
        """Whether softmax cancels all of b_k in this family as released; ``live_key(model)`` says it by element."""
        return POSITIONS[self.positions].dead
