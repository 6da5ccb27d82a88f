"""The exercises of lesson 05."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import Exercise, Function, Value, Wrong

_FLOOR = Value(
    name="l05_floor",
    task="Give three numbers between 0 and 1: value in all layers, in the top half, and in the top half with reuse.",
    right="2F of 3F, then 1½F of 3F, then half a forward and half a backward pass: 1F of 3F.",
    solution=[2 / 3, 1 / 2, 1 / 3],
    tolerance=0.006,
    wrong=(
        Wrong(
            [2 / 3, 1 / 3, 1 / 6],
            "The first is right. In the top half the forward pass still runs through all layers: F, and only the "
            "backward pass is halved.",
        ),
        Wrong(
            [1 / 3, 1 / 6, 1 / 12],
            "That is a forward pass alone. To reach the biases of the lowest layer, the gradient has to pass back "
            "through all layers above: another F.",
        ),
        Wrong(
            [2 / 3, 2 / 3, 2 / 3],
            "The first is right. Below the lowest trained layer nothing asks for a gradient, so the backward pass "
            "can stop there.",
        ),
        Wrong(
            [2 / 3, 1 / 2, 1 / 2],
            "Two are right. With reuse, the lower half of the forward pass is looked up as well: what is left of F?",
        ),
        Wrong(
            [0.0001, 0.0001, 0.0001],
            "A step does not cost in proportion to what is trained. Count the passes: forward, gradients of the "
            "activations, gradients of the weights. Which of them can be left out?",
        ),
        Wrong([1.0, 1.0, 1.0], "Full fine-tuning also computes a gradient for every weight. That pass is left out."),
    ),
)


def _adapter_bytes(L: int, d: int, labels: int) -> int:
    return 4 * (L * d + d + labels * (d + 1))


_BYTES = Function(
    name="l05_adapter_bytes",
    task="Write `adapter_bytes(L, d, labels)`: three whole numbers in, the bytes of the trained float32 numbers out.",
    right="L · d for the value biases, d for the pooler's bias, labels · (d + 1) for the classifier; four bytes each.",
    solution=_adapter_bytes,
    inputs=((12, 768, 2), (6, 384, 2), (24, 1024, 3), (1, 5, 1)),
    wrong=(
        Wrong(
            lambda L, d, labels: _adapter_bytes(L, d, labels) // 4,
            "The count of numbers is right. A float32 takes four bytes.",
        ),
        Wrong(lambda L, d, labels: 4 * L * d, "These are the value biases. The head is trained, too, and saved."),
        Wrong(
            lambda L, d, labels: 4 * (L * d + labels * (d + 1)),
            "Nearly: in BERT, the pooler's bias (d numbers) is trained along with the classifier.",
        ),
        Wrong(
            lambda L, d, labels: 4 * (L * d + d + labels * d),
            "Nearly: the classifier has a bias of its own, one number for each label.",
        ),
        Wrong(
            lambda L, d, labels: 4 * (L * d + d * d + d + labels * (d + 1)),
            "You count the pooler's weight, d × d. It is pretrained and stays; only its bias is trained.",
        ),
        Wrong(
            lambda L, d, labels: 4 * (3 * L * d + d + labels * (d + 1)),
            "This is query, key and value together. Here only the value biases are trained.",
        ),
        Wrong(
            lambda L, d, labels: 8 * _adapter_bytes(L, d, labels),
            "These are bits. A byte has eight of them, and a float32 has four bytes.",
        ),
    ),
)

_A = torch.tensor([0.62, 0.66, 0.61, 0.69, 0.64], dtype=torch.float64)
_B = torch.tensor([0.60, 0.65, 0.60, 0.66, 0.61], dtype=torch.float64)


def _paired_t(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b
    return difference.mean() / (difference.std() / len(difference) ** 0.5)


_PAIRED = Function(
    name="l05_paired_t",
    task="Write `paired_t(a, b)`: scores of two methods with the same seeds (S,) in, one number out.",
    right="The mean difference in units of its own standard error. What the seeds share has cancelled.",
    solution=_paired_t,
    inputs=((_A, _B), (_B, _A), (_A[:3], _B[1:4]), (2 * _A, _B)),
    wrong=(
        Wrong(
            lambda a, b: (a.mean() - b.mean()) / ((a.var() + b.var()) / len(a)) ** 0.5,
            "This compares two separate groups. Take the difference seed by seed first: `d = a - b`.",
        ),
        Wrong(
            lambda a, b: (a - b).mean() / (a - b).std(),
            "The standard error of a mean is smaller than the spread of single values: divide std by the square root "
            "of the number of seeds.",
        ),
        Wrong(
            lambda a, b: (a - b).mean() / ((a - b).std(correction=0) / len(a) ** 0.5),
            "The spread is estimated from few values, so divide by S - 1: `std()` as it is, without `correction=0`.",
        ),
        Wrong(lambda a, b: -_paired_t(a, b), "The sign: positive should mean that the first method is ahead."),
        Wrong(lambda a, b: (a - b).mean(), "This is the mean difference. Divide it by its standard error."),
        Wrong(
            lambda a, b: (a - b).mean() / ((a - b).std() / len(a)),
            "You divide by the number of seeds. The standard error has its square root.",
        ),
    ),
)

_CLAIM = Value(
    name="l05_claim",
    task="Set `my_answer` to one of the letters, in quotes.",
    right="The paired interval says what five seeds can say: how large the difference could still be, either way.",
    solution="c",
    wrong=(
        Wrong(
            "a",
            "The interval includes zero, so the seeds do not show that value is better. Its mean is only one number "
            "in that interval.",
        ),
        Wrong(
            "b",
            "Not shown to differ is not shown to be equal: the interval also includes a difference of five points.",
        ),
        Wrong(
            "d",
            "The head-only row says that something was learned beyond the head, and not which of two methods is "
            "better.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_FLOOR, _BYTES, _PAIRED, _CLAIM)
