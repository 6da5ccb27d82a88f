"""The exercises of lesson 07."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from .checks import Condition, Exercise, Function, Open, Value, Wrong
from .errors import BeftError
from .layouts import TERMS, Concatenated, Family, PerHead, Separate


def _per_head(bias: Tensor, term: str, heads: int) -> Tensor:
    return bias.view(heads, 3, -1)[:, TERMS.index(term)].flatten()


def _order(*terms: str) -> Callable[[Tensor, str, int], Tensor]:
    """Per head, in another order of q, k and v."""
    return lambda bias, term, heads: bias.view(heads, 3, -1)[:, terms.index(term)].flatten()


_PART = Function(
    name="l07_neox_part",
    task="Write `neox_part(bias, term, heads)`: a fused bias (3 · d,) in, the part of one term (d,) out.",
    right="q, k and v of the first head, then of the second: a view of (heads, 3, d_head), and one column of it.",
    solution=_per_head,
    inputs=tuple(
        (torch.arange(n, dtype=torch.float64), term, heads) for n, heads in ((12, 2), (24, 4)) for term in TERMS
    ),
    wrong=(
        Wrong(
            lambda bias, term, heads: bias.chunk(3)[TERMS.index(term)],
            "This is GPT-2's order: all q, all k, all v. Here every head has its own q, k and v: start with "
            "`bias.view(heads, 3, -1)`.",
        ),
        Wrong(
            lambda bias, term, heads: bias.view(heads, 3, -1)[:, TERMS.index(term)],
            "The right numbers, still as a matrix (heads, d_head). A bias is one vector: `.flatten()`.",
        ),
        Wrong(
            lambda bias, term, heads: bias.view(heads, 3, -1)[0, TERMS.index(term)],
            "This is the first head only. Take the same column of every head: `[:, number]`.",
        ),
        Wrong(
            lambda bias, term, heads: bias[TERMS.index(term) :: 3],
            "You take every third number. The three follow each other in stretches of d_head numbers, not one by one.",
        ),
        Wrong(_order("value", "key", "query"), "The order within a head is query, key, value."),
    ),
)

_LIVE = Value(
    name="l07_live",
    task="Set `my_prediction` to the number of elements of b_k, in one layer, that can change anything.",
    right="Half of each of the 32 heads: 32 × 32. The other 1,024 are as dead as BERT's.",
    solution=1024,
    wrong=(
        Wrong(2048, "That is all of b_k. Only elements that are turned with their key can live: half of each head."),
        Wrong(0, "That would hold with absolute positions. Here a part of each head is turned."),
        Wrong(32, "That is the share of one head. There are 32 heads."),
        Wrong(64, "That is one whole head. Count the turned half of it, and all 32 heads."),
        Wrong(16, "That would be half of the heads. It is half of the 64 numbers of every head."),
    ),
)


def _repeated(b_v: Tensor, heads: int, kv_heads: int) -> Tensor:
    return b_v.view(kv_heads, -1).repeat_interleave(heads // kv_heads, 0).flatten()


_GROUPS = Function(
    name="l07_groups",
    task="Write `for_every_head(b_v, heads, kv_heads)`: (kv_heads · d_head,) in, (heads · d_head,) out.",
    right="Each part of b_v once for every query head of its group, the heads of a group side by side.",
    solution=_repeated,
    inputs=(
        (torch.arange(6.0, dtype=torch.float64), 4, 2),
        (torch.arange(6.0, dtype=torch.float64), 6, 3),
        (torch.arange(4.0, dtype=torch.float64), 4, 1),
        (torch.arange(8.0, dtype=torch.float64), 2, 2),
    ),
    wrong=(
        Wrong(
            lambda b_v, heads, kv_heads: b_v.repeat(heads // kv_heads),
            "You put the whole vector there twice: group 0, 1, 0, 1. The heads of a group are neighbours: 0, 0, 1, 1. "
            "Repeat each row on its own, with `repeat_interleave`.",
        ),
        Wrong(
            lambda b_v, heads, kv_heads: b_v.repeat_interleave(heads // kv_heads),
            "You repeat every single number. A head needs its stretch of d_head numbers in one piece: "
            "`b_v.view(kv_heads, -1)` first.",
        ),
        Wrong(
            lambda b_v, heads, kv_heads: b_v,
            "This is still kv_heads · d_head long. The output projection expects a part for every query head.",
        ),
        Wrong(
            lambda b_v, heads, kv_heads: b_v.view(kv_heads, -1).repeat_interleave(heads // kv_heads, 0),
            "The right numbers, still as a matrix (heads, d_head). The projection takes one vector: `.flatten()`.",
        ),
        Wrong(
            lambda b_v, heads, kv_heads: _repeated(b_v, heads, kv_heads) * kv_heads / heads,
            "You share the bias out among the heads. Each head adds it in full: its row of attention sums to 1.",
        ),
    ),
)

_MPT = Family("mpt", "blocks", Concatenated("attn.Wqkv"), "attn.out_proj", "alibi", ("score",))


_REST = ("b_v passes through", "b_q tilts", "in, out, merged", "one part trained")  # of ``verify.CHECKS``


@contextmanager
def _in_the_table(row: Family) -> Iterator[None]:
    from .architectures import FAMILIES

    before = FAMILIES.get(row.model_type)
    FAMILIES[row.model_type] = row
    try:
        yield
    finally:
        FAMILIES.pop(row.model_type)
        if before is not None:
            FAMILIES[row.model_type] = before


def _true(row: Family, *checks: str) -> bool:
    """Whether these checks of ``verify`` hold for a tiny random model with this row."""
    from . import verify
    from .architectures import POSITIONS

    if row.positions not in POSITIONS:
        return False
    with _in_the_table(row):
        try:
            model = verify.tiny_model(row.model_type)
            for name in checks:
                verify.CHECKS[name](model, verify.example(model))
        except (BeftError, RuntimeError, IndexError):
            return False
    return True


_ROW = Open(
    name="l07_row",
    task="Write the row: `Family(model_type, layers, layout, output, positions, head)`.",
    right="Built, nudged and measured with your row: all eight checks hold for a random MPT.",
    solution=(_MPT,),
    conditions=(
        Condition(
            lambda row: isinstance(row, Family) and row.model_type == "mpt",
            'A row is a `Family`, and its first argument is what `config.model_type` says: "mpt".',
            (replace(_MPT, model_type="MPT"),),
        ),
        Condition(
            lambda row: row.layers == "blocks",
            "`layers` is the path of the list of layers below the base model: what stands in front of the numbers 0 "
            "and 1 in the names above.",
            (replace(_MPT, layers="transformer.blocks"),),
        ),
        Condition(
            lambda row: row.layout.module("value") == "attn.Wqkv",
            "The layout needs the path of the projection below one layer: what stands behind `blocks.0.`, one module "
            "for all three.",
            (replace(_MPT, layout=Separate("attn.q", "attn.k", "attn.v")),),
        ),
        Condition(
            lambda row: _true(replace(row, output="", positions="unknown"), "query is query", "key is key"),
            "With this layout, a nudge of what should be a query or a key does not move attention as one must. It is "
            "the other fused layout.",
            (replace(_MPT, layout=PerHead("attn.Wqkv")),),
        ),
        Condition(
            lambda row: bool(row.output) and _true(replace(row, positions="unknown"), "value is value"),
            "`output` has to be the projection that gets what attention puts out, in the same block.",
            (replace(_MPT, output="ffn.down_proj"),),
        ),
        Condition(
            lambda row: _true(row, "b_k as stated"),
            "Measured, b_k does not do what these positions say. What does MPT do with positions, and does it turn "
            "anything? The keys of `POSITIONS` are the choices.",
            (replace(_MPT, positions="rotary"),),
        ),
        Condition(
            lambda row: row.positions == "alibi" and _true(row, *_REST),
            "b_k is dead, as you say, and for another reason: MPT adds a penalty for distance to the logits.",
            (replace(_MPT, positions="absolute"),),
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_PART, _LIVE, _GROUPS, _ROW)
