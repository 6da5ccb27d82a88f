"""The exercises of lesson 01."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .checks import Condition, Exercise, Function, Open, Value, Wrong
from .scores import importance, importance_per_layer, magnitude

_PRE = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [3.0, 4.0]], dtype=torch.float64)
_POST = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -1.5], [0.0, 5.0]], dtype=torch.float64)
_WIDE = torch.linspace(-1.0, 1.0, 768, dtype=torch.float64)[None, :]
_NUDGED = _WIDE * (1 + 1e-6)  # a move of one part in a million: what float32 makes of it is rounding


def _rule(divisor: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The formula with something else below the line; ``divisor`` takes both lengths."""
    return lambda pre, post: 1 - (pre * post).sum(-1) / divisor(pre.norm(dim=-1), post.norm(dim=-1))


_IMPORTANCE = Function(
    name="l01_importance",
    task="Write `my_importance(pre, post)`: two tensors (L, d) in, one score per layer (L,) out.",
    right="Angle and length in one number, and it agrees with the library to ten digits, small moves included.",
    solution=importance_per_layer,
    # One layer at a time first: a case that fails is shown to the learner.
    inputs=(*zip(_PRE.split(1), _POST.split(1), strict=True), (_PRE, _POST), (_POST, _PRE), (_WIDE, _NUDGED)),
    tolerance=1e-10,
    wrong=(
        Wrong(
            _rule(torch.maximum),
            "You divide by the longest length; the formula divides by its square. Try pre = post = (2, 0): "
            "nothing moved, so the score must be 0.",
        ),
        Wrong(
            _rule(lambda a, b: torch.minimum(a, b) ** 2),
            "You take the shorter of the two lengths. Try pre = (1, 0), post = (2, 0): the score should be 0.5; "
            "with the minimum it is -1.",
        ),
        Wrong(
            _rule(lambda a, b: a * b),
            "This is 1 - cosine: it sees the angle only. Doubling a vector is a move too. Divide by the larger "
            "squared length.",
        ),
        Wrong(
            _rule(lambda a, b: a**2),
            "You always divide by the length before. Swap pre and post: the score should stay the same; yours changes.",
        ),
        Wrong(
            lambda pre, post: 1 - importance_per_layer(pre, post),
            "You return the similarity, which is 1 when nothing moved. The score is 1 minus that.",
        ),
        Wrong(
            lambda pre, post: _rule(lambda a, b: torch.maximum(a, b) ** 2)(pre.float(), post.float()),
            "The formula is right, the arithmetic is float32: a small move drowns in its rounding. "
            "Start with `pre.double(), post.double()`.",
        ),
        Wrong(
            importance,
            "This is already the mean over layers. Here one score for each layer is wanted, shape (L,).",
        ),
    ),
)

_PREDICT = Value(
    name="l01_predict",
    task="Give three numbers: the score of halving, of a turn by 60 degrees, and of both at once.",
    right="1 - 0.5, 1 - 0.5, and 1 - 0.5 × 0.5: angle and length multiply.",
    solution=[0.5, 0.5, 0.75],
    tolerance=0.005,
    wrong=(
        Wrong([0.5, 0.5, 1.0], "The first two are right. But scores do not add up: cosine and ratio are multiplied."),
        Wrong(
            [0.5, 0.5, 0.5],
            "The first two are right. The third moved in both ways, so it has to score more than either.",
        ),
        Wrong(
            [0.5, 0.5, 0.25],
            "The first two are right. For the third you have the similarity, 0.5 × 0.5; the score is 1 minus that.",
        ),
        Wrong(
            [0.75, 0.5, 0.875],
            "Look at the first again: the ratio of lengths enters once, as min(r, 1/r) = 0.5, and not squared.",
        ),
        Wrong([0.5, 1 / 3, 2 / 3], "The angle enters through its cosine, and the cosine of 60 degrees is 0.5."),
        Wrong([0.5, 0.134, 0.567], "You used the cosine of 30 degrees. The cosine of 60 degrees is 0.5."),
    ),
)


def _moves(*updates: Any) -> list[Tensor]:
    return [torch.as_tensor(update, dtype=torch.float64).reshape(1, -1) for update in updates]


def _spread(score: Callable[[Tensor, Tensor], float], *updates: Any) -> float:
    """How far apart two updates of pre = (3, 1) are by a score."""
    pre = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    one, two = (score(pre, pre + move) for move in _moves(*updates))
    return abs(one - two)


_TWO_MOVES = Open(
    name="l01_two_moves",
    task="Choose two updates of pre = (3, 1) with the same magnitude and importances at least 0.2 apart.",
    right="Equal for magnitude, far apart for importance: the direction of a move matters as much as its size.",
    solution=([2.0, 0.0], [-2.0, 0.0]),
    conditions=(
        Condition(
            lambda *updates: [move.shape for move in _moves(*updates)] == [(1, 2), (1, 2)],
            "Give two updates, each a list of two numbers, because pre = (3, 1) has two.",
            ([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]),
        ),
        Condition(
            lambda *updates: all(bool(move.any()) for move in _moves(*updates)),
            "One of the updates is zero. Both have to move something.",
            ([0.0, 0.0], [0.0, 1.0]),
        ),
        Condition(
            lambda *updates: not torch.equal(*_moves(*updates)),
            "This is the same update twice, so every measure calls them equal. Send the second one elsewhere.",
            ([1.0, 0.0], [1.0, 0.0]),
        ),
        Condition(
            lambda *updates: _spread(magnitude, *updates) < 1e-6,
            "The magnitudes differ. Magnitude is (|change 1| + |change 2|) / 2: make that the same for both.",
            ([2.0, 0.0], [0.0, 1.0]),
        ),
        Condition(
            lambda *updates: _spread(importance, *updates) >= 0.2,
            "The magnitudes agree; now the importances are less than 0.2 apart. Make both moves larger, and let one "
            "go along pre and the other across it or against it.",
            ([1.0, 0.0], [0.0, 1.0]),
        ),
    ),
)

_TERMS_BEFORE = {
    "query": torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64),
    "value": torch.tensor([[0.5, 0.0], [0.0, 0.5], [0.3, 0.4]], dtype=torch.float64),
}
_TERMS_AFTER = {
    "query": torch.tensor([[2.0, 0.5], [0.0, 1.0], [1.5, 1.5]], dtype=torch.float64),
    "value": torch.tensor([[0.5, 0.5], [0.0, 0.6], [0.4, 0.3]], dtype=torch.float64),
}

Terms = Mapping[str, Tensor]


def _each(score: Callable[[Tensor, Tensor], Any]) -> Callable[[Terms, Terms], dict[str, Any]]:
    return lambda pre, post: {term: score(pre[term], post[term]) for term in pre}


_MEAN = Function(
    name="l01_mean",
    task="Write `score_terms(pre, post)`: two dictionaries in, a dictionary with one number per term out.",
    right="One number per term, every layer counted alike: this is the number by which BEFT chooses.",
    solution=_each(importance),
    inputs=((_TERMS_BEFORE, _TERMS_AFTER), (_TERMS_AFTER, _TERMS_BEFORE)),
    wrong=(
        Wrong(
            _each(importance_per_layer),
            "These are the scores of every layer. Average them: one number for each term.",
        ),
        Wrong(
            _each(lambda pre, post: importance_per_layer(pre, post).sum()),
            "You add the layers up. The paper averages, so that models with more layers can be compared.",
        ),
        Wrong(
            _each(lambda pre, post: importance_per_layer(pre, post).max()),
            "You take the layer that moved most. The paper averages over all layers.",
        ),
        Wrong(
            _each(lambda pre, post: importance(pre.mean(0, keepdim=True), post.mean(0, keepdim=True))),
            "You average the vectors, then score once; opposite moves of two layers then cancel. Score every layer "
            "first, then average the scores.",
        ),
        Wrong(
            _each(lambda pre, post: importance(pre.reshape(1, -1), post.reshape(1, -1))),
            "You score all layers as one long vector, so that long layers count most. Score every layer, then average.",
        ),
        Wrong(_each(magnitude), "This is magnitude. Use the importance of each layer."),
        Wrong(
            lambda pre, post: max(pre, key=lambda term: importance(pre[term], post[term])),
            "This is the name of the best term. Return the whole dictionary of scores; choosing comes next.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_PREDICT, _IMPORTANCE, _TWO_MOVES, _MEAN)
