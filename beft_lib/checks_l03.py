"""The exercises of lesson 03."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import Exercise, Function, Value, Wrong
from .scores import importance, importance_per_layer

_PRE = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
_POST = torch.tensor([[3.0, 5.0], [1.0, 1.0], [-1.0, 2.0]], dtype=torch.float64)


def _cosine(pre: Tensor, post: Tensor, layer: int) -> Tensor:
    a, b = pre[layer], post[layer]
    return 1 - a @ b / (a.norm() * b.norm())


def _unsquared(pre: Tensor, post: Tensor, layer: int) -> Tensor:
    a, b = pre[layer], post[layer]
    return 1 - a @ b / torch.maximum(a.norm(), b.norm())


_LAYER_SCORE = Function(
    name="l03_layer_score",
    task="Write `layer_score(pre, post, layer)`: two tensors (L, d) and the number of a layer in, its score out.",
    right="One layer, one number. The mean of these over the layers is the score of the term.",
    solution=lambda pre, post, layer: importance_per_layer(pre, post)[layer].item(),
    inputs=((_PRE, _POST, 0), (_PRE, _POST, 1), (_PRE, _POST, 2)),
    wrong=(
        Wrong(
            lambda pre, post, layer: importance_per_layer(pre, post),
            "These are the scores of all layers. Pick one with `[layer]`.",
        ),
        Wrong(
            lambda pre, post, layer: importance(pre, post),
            "This is the mean over all layers. Here the score of one layer is wanted: start with `pre[layer]`.",
        ),
        Wrong(
            _unsquared,
            "You divide by the longest length; the formula divides by its square: `torch.maximum(a @ a, b @ b)`.",
        ),
        Wrong(_cosine, "This is 1 - cosine, the angle alone. Divide by the larger squared length instead."),
        Wrong(
            lambda pre, post, layer: 1 - importance_per_layer(pre, post)[layer],
            "This is the similarity, 1 where nothing moved. The score is 1 minus that.",
        ),
        Wrong(
            lambda pre, post, layer: (post[layer] - pre[layer]).abs().mean(),
            "This is the magnitude of that layer. The importance is 1 - <pre, post> / (longest length)².",
        ),
    ),
)


def _settles_at(choices: Sequence[str]) -> int:
    step = len(choices)
    while step > 1 and choices[step - 2] == choices[-1]:
        step -= 1
    return step


_SETTLES_AT = Function(
    name="l03_settles_at",
    task="Write `settles_at(choices)`: a list of terms in, the first step (from 1) after which it never changes out.",
    right="Walked back from the end to the last change. That is how long a probe has to be, no longer.",
    solution=_settles_at,
    inputs=(
        (["query", "value", "query", "value", "value"],),
        (["value"],),
        (["value", "value", "value"],),
        (["value", "query", "value"],),
        (["query", "query", "value", "value"],),
    ),
    wrong=(
        Wrong(
            lambda choices: choices.index(choices[-1]) + 1,
            "This is where the final choice first appears; it may be lost again after that, as in the example. "
            "Look for the last change.",
        ),
        Wrong(
            lambda choices: _settles_at(choices) - 1, "One too few: steps are counted from 1, list positions from 0."
        ),
        Wrong(
            lambda choices: choices.index(choices[-1]),
            "Two things: steps are counted from 1, and the final choice may be lost again after its first appearance.",
        ),
        Wrong(
            lambda choices: len(choices) - _settles_at(choices) + 1,
            "This is how many steps the choice has lasted. When did it begin?",
        ),
        Wrong(lambda choices: choices[-1], "This is the choice. Wanted is the step from which on it stays."),
        Wrong(len, "This is the last step. Walk back from there as long as the choice is the same."),
    ),
)

_TEN_TIMES = Value(
    name="l03_ten_times",
    task="Set `my_prediction` to one of the letters, in quotes.",
    right="One part of the move enters in proportion, the other as its square. See below by how much here.",
    solution="b",
    wrong=(
        Wrong("a", "That holds for magnitude. A turn by a small angle enters as its square: think of 1 - cos."),
        Wrong("c", "It is relative to the length before, which is the same; the move itself is ten times as long."),
        Wrong("d", "There is no d. Choose a, b or c."),
    ),
)

_KEY = Value(
    name="l03_key",
    task="Set `my_change` to one of the letters, in quotes.",
    right="Only rounding is left of the key's gradient. With an ε below it Adam makes full steps of that noise, and "
    "the short key vector turns: a high score, and nothing learned. "
    "Try it: `probe(model, task, max_steps=20, eps=1e-12)`.",
    solution="b",
    wrong=(
        Wrong(
            "a",
            "Softmax cancels what the key bias adds, in every example. Ten times as many give ten times nothing.",
        ),
        Wrong(
            "c",
            "Keys are needed everywhere. But a key *bias* moves all attention logits of a word alike, on every task.",
        ),
        Wrong(
            "d",
            "Another seed is another head and another order of the sentences. No pull on the key bias comes from "
            "either: what is left is rounding, far below ε.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_LAYER_SCORE, _SETTLES_AT, _TEN_TIMES, _KEY)
