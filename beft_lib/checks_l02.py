"""The exercises of lesson 02."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import Exercise, Function, Value, Wrong

_SHIFTED_ROW = Value(
    name="l02_shifted_row",
    task="Give three numbers: softmax of (101, 102, 103).",
    right="The same as before: what is added to all logits of a row cancels.",
    solution=[0.09, 0.24, 0.67],
    tolerance=0.006,
    wrong=(
        Wrong(
            [1 / 3, 1 / 3, 1 / 3],
            "Nearly equal thirds come from dividing the logits themselves by their sum. Softmax takes e to the "
            "power of each first, and so it sees their differences: 1 and 2, as before.",
        ),
        Wrong([0.0, 0.0, 1.0], "The logits are large, but their differences are still 1 and 2. Divide e^101 by e^103."),
        Wrong([100.09, 100.24, 100.67], "The weights of a row sum to 1, so 100 cannot be added to each of them."),
        Wrong([0.67, 0.24, 0.09], "The right numbers the wrong way round: the largest logit gets the largest weight."),
    ),
)

_W = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0], [3.0, 0.0, 1.0]], dtype=torch.float64)  # not symmetric
_B_O = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
_B_V = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def _folded(W_o: Tensor, b_o: Tensor, b_v: Tensor) -> Tensor:
    return b_o + W_o @ b_v


_FOLD = Function(
    name="l02_fold",
    task="Write `folded(W_o, b_o, b_v)`: a matrix (d, d) and two biases (d,) in, the new output bias (d,) out.",
    right="b_o + W_o b_v: one bias that does the work of two.",
    solution=_folded,
    inputs=((_W, _B_O, _B_V), (_W.T.contiguous(), _B_V, _B_O), (_W, torch.zeros_like(_B_O), _B_V)),
    wrong=(
        Wrong(
            lambda W_o, b_o, b_v: b_o + b_v,
            "The value bias passes through the output projection on its way, so it arrives as `W_o @ b_v`.",
        ),
        Wrong(lambda W_o, b_o, b_v: W_o @ b_v, "This is what b_v turns into. The layer's own b_o is still needed too."),
        Wrong(
            lambda W_o, b_o, b_v: b_o + b_v @ W_o,
            "The matrix is the wrong way round. A linear layer computes W x for every x, so it is `W_o @ b_v`.",
        ),
        Wrong(
            lambda W_o, b_o, b_v: W_o @ (b_o + b_v),
            "b_o is added after the projection, so it is not multiplied by W_o. Only b_v is.",
        ),
        Wrong(
            lambda W_o, b_o, b_v: b_o - W_o @ b_v,
            "The sign: b_v was added, so what it turns into is added as well.",
        ),
        Wrong(
            lambda W_o, b_o, b_v: b_o + W_o * b_v,
            "`*` multiplies number by number and gives a matrix. A matrix times a vector is `@`.",
        ),
    ),
)

_KEYS = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, -1.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)  # (T, d)
_B_Q = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)


def _tilt(b_q: Tensor, k: Tensor) -> Tensor:
    return k @ b_q / b_q.shape[-1] ** 0.5


_TILT = Function(
    name="l02_tilt",
    task="Write `tilt(b_q, k)`: a query bias (d,) and the keys (T, d) in, what each key's logit gains (T,) out.",
    right="One number for each key, and no query in it: the same tilt for every row of the map.",
    solution=_tilt,
    inputs=((_B_Q, _KEYS), (-2 * _B_Q, _KEYS), (_B_Q[:2], _KEYS[:, :2])),
    wrong=(
        Wrong(
            lambda b_q, k: k @ b_q, "The dot products are right. Logits are divided by the square root of d as well."
        ),
        Wrong(
            lambda b_q, k: k @ b_q / b_q.shape[-1],
            "You divide by d. The logits are divided by its square root: `d**0.5`.",
        ),
        Wrong(
            lambda b_q, k: k @ b_q / len(k) ** 0.5,
            "You divide by the square root of T, the number of tokens. It is d, how many numbers one key has.",
        ),
        Wrong(
            lambda b_q, k: torch.softmax(k @ b_q / b_q.shape[-1] ** 0.5, dim=-1),
            "Nearly: here what is added to the logits is asked for, before the softmax.",
        ),
        Wrong(
            lambda b_q, k: (k @ b_q).sum() / b_q.shape[-1] ** 0.5,
            "This is one number for all keys together. Each key has a dot product of its own: shape (T,).",
        ),
        Wrong(
            lambda b_q, k: (k + b_q).sum(-1) / b_q.shape[-1] ** 0.5,
            "The logit is a product: b_q is not added to the keys, each key is multiplied with it (a dot product).",
        ),
    ),
)

_DEAD = Value(
    name="l02_dead",
    task='Set `my_answer` to a list of three words, each "dead" or "alive": for OPT, Llama and BLOOM.',
    right="The rule asks one thing only: is what b_k adds to a logit the same for every key of the row?",
    solution=["dead", "alive", "dead"],
    wrong=(
        Wrong(
            ["dead", "alive", "alive"],
            "OPT and Llama are right. In BLOOM, the distance is added beside q · k. What does b_k add to the logit?",
        ),
        Wrong(
            ["dead", "dead", "dead"],
            "In Llama, keys are turned by their position, and b_k with them: what it adds differs from key to key.",
        ),
        Wrong(
            ["alive", "alive", "alive"],
            "In OPT, positions are added to the words before the first layer. The keys differ, but b_k adds q · b_k to "
            "all of them, as in BERT.",
        ),
        Wrong(
            ["alive", "alive", "dead"],
            "BLOOM and Llama are right. Learned positions enter before the keys are made; they do not touch b_k.",
        ),
        Wrong(
            ["alive", "dead", "alive"],
            "The other way round. Ask of each: does the number that b_k adds depend on the key's position?",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_SHIFTED_ROW, _FOLD, _TILT, _DEAD)
