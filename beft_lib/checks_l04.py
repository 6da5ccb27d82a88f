"""The exercises of lesson 04."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from .architectures import TERMS
from .checks import Condition, Exercise, Function, Open, Value, Wrong
from .comparing import ALWAYS
from .rulers import RULERS

_UNITS = Value(
    name="l04_units",
    task="Give three factors: by what importance, magnitude and Fisher are multiplied.",
    right="Importance has no unit, magnitude has the bias's, and Fisher one over its square.",
    solution=[1, 10, 0.01],
    wrong=(
        Wrong(
            [1, 10, 1],
            "Importance and magnitude are right. For Fisher ask: if the new number changes by 1, how much does the "
            "old one change, and so the loss?",
        ),
        Wrong([1, 10, 0.1], "A tenth is the factor of the gradient. Fisher is the mean of its square."),
        Wrong(
            [1, 10, 100],
            "The other way round: the number is ten times larger, so a change of it by 1 does ten times less.",
        ),
        Wrong(
            [10, 10, 0.01],
            "Magnitude and Fisher are right. Lesson 01: is importance changed when pre and post are scaled alike?",
        ),
        Wrong(
            [1, 1, 1],
            "The model computes the same, but the rulers do not look at what it computes. They look at the numbers "
            "of the bias, which are ten times larger now.",
        ),
    ),
)


def _fisher(at_output: Tensor) -> Tensor:
    return at_output.sum(1).square().mean()


_AT_OUTPUT = torch.tensor(
    [[[1.0, 0.0], [1.0, 2.0], [0.0, 1.0]], [[-1.0, 1.0], [2.0, 0.0], [0.5, -3.0]]], dtype=torch.float64
)  # (B, T, d)

_FISHER = Function(
    name="l04_fisher",
    task="Write `fisher(at_output)`: gradients (B, T, d) at a layer's output in, one number out.",
    right="Sum over tokens, then square, then average. In this order it is the empirical Fisher information.",
    solution=_fisher,
    inputs=((_AT_OUTPUT,), (_AT_OUTPUT[:1],), (-2 * _AT_OUTPUT[:, :2],)),
    wrong=(
        Wrong(
            lambda at_output: at_output.square().mean(),
            "You square every token's gradient. The bias is one vector for all tokens, so sum over them first.",
        ),
        Wrong(
            lambda at_output: at_output.mean(1).square().mean(),
            "You average over the tokens. The bias is added at each of them, so its gradient is their sum.",
        ),
        Wrong(
            lambda at_output: at_output.sum(1).mean(0).square().mean(),
            "You average over the examples and square then: opposite pulls cancel. Square each example's own first.",
        ),
        Wrong(
            lambda at_output: at_output.sum((0, 1)).square().mean(),
            "You sum over the examples before you square. Each has a gradient of its own: sum over dimension 1 only.",
        ),
        Wrong(lambda at_output: at_output.sum(1).abs().mean(), "Sizes where squares are asked for: `.square()`."),
        Wrong(
            lambda at_output: at_output.sum(1).square().sum(-1).mean(),
            "This is the squared length. Average over the elements as well, so that width does not count.",
        ),
        Wrong(
            lambda at_output: at_output.sum(1).square().mean(0),
            "One number for each element of the bias: right so far. The ruler is their mean.",
        ),
    ),
)

_SURE = Value(
    name="l04_sure",
    task="Give one number: the empirical Fisher of this example divided by the true one.",
    right="(1 - p) / p: once a model is right and sure, its own labels hardly pull on it any more.",
    solution=1 / 9,
    tolerance=0.002,
    wrong=(
        Wrong(1.0, "They are equal at p = 1/2. Here put p = 0.9 into both factors."),
        Wrong(9.0, "Upside down: the empirical one is the smaller one here, because the label is no surprise."),
        Wrong(0.1, "That is 1 - p. Divide (1 - p)² by p (1 - p)."),
        Wrong(0.01, "That is (1 - p)², the factor of the empirical one. Divide it by that of the true one."),
        Wrong(0.09, "That is p (1 - p), the factor of the true one. It stands below the line."),
    ),
)

_NAMES = (*RULERS, *(f"{ALWAYS}{term}" for term in TERMS))
_FAMILIES = ("importance", "magnitude", "fisher", "always", "random", "blind draw", "head only", "every term")
_LIMITS = r"\b(blind|can ?not|can't|does ?n[o']t|ignores?|misses|misleads?|fails?|wrong|unless|only if|but|depends?)\b"


def _others(ruler: str, text: str) -> bool:
    return any(name in text.lower() for name in _FAMILIES if name not in ruler.lower())


_SPEAKS = "I take it because it was right often enough in the table above and it needs no training beyond a short one"
_DEFEND = Open(
    name="l04_defend",
    task="Set `my_ruler` to a name from the table and `my_defence` to two or three sentences.",
    right="That can be argued with. Read it once more after lesson 05, with your own task in mind.",
    solution=(
        "importance, early stop",
        "On the run of section 1 its first term is 5 times as high as the second, where magnitude nearly ties, and it "
        "costs only a short probe. It cannot see whether the loss falls, so I would tune head only as well.",
    ),
    conditions=(
        Condition(
            lambda ruler, text: ruler in _NAMES,
            f"`my_ruler` has to be one of these names: {', '.join(_NAMES)}.",
            ("cosine", _SPEAKS),
        ),
        Condition(
            lambda ruler, text: len(re.findall(r"\w+", text)) >= 25,
            "Say a little more, 25 words at least: what speaks for it, what it cannot see, what else you considered.",
            ("importance", "It is the best one."),
        ),
        Condition(
            lambda ruler, text: re.search(r"\d", text) is not None,
            "Name a number from above that speaks for it: how often it is right, what it loses, what it costs.",
            ("importance", f"{_SPEAKS}, so I am happy."),
        ),
        Condition(
            lambda ruler, text: re.search(_LIMITS, text.lower()) is not None,
            "A defence names the weak side, too. What can your ruler not see, or when would it mislead you?",
            ("importance", f"{_SPEAKS}: 3 to 1."),
        ),
        Condition(
            _others,
            "Compare it with something: another ruler, or a rule that looks at nothing, such as always value.",
            ("importance", f"{_SPEAKS}: 3 to 1. It cannot see the loss."),
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_UNITS, _FISHER, _SURE, _DEFEND)
