"""How far a bias term moved: importance (BEFT) and magnitude, from pure tensors to numbers.

Letters: ``L`` layers, ``d`` width of the bias. A term is one of query, key, value; its vectors over all
layers are stacked to ``(L, d)``. ``pre`` is before fine-tuning, ``post`` after.

Everything is computed in float64: in float32 a move of 1e-4 of the length drowns in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .errors import ScoreError

Score = Callable[[Tensor, Tensor], Tensor]


def importance_per_layer(pre: Tensor, post: Tensor, term: str = "this term") -> Tensor:
    """Importance of each layer's move, in angle and in length together.

    With t the angle between pre and post and r = |post| / |pre|:

        1 - <pre, post> / max(|pre|^2, |post|^2)  =  1 - cos(t) * min(r, 1/r)

    Shapes: pre (L, d), post (L, d) -> (L,) in [0, 2], float64. Symmetric in pre and post; unchanged when both are
    rotated or scaled together. 0 exactly where nothing moved (also where both are zero), 1 where one of them is zero.

    Raises ScoreError on other shapes, NaN or infinity (naming ``term`` and layer).
    Source: Huang, Balashankar, Aminifar: BEFT, arXiv 2509.15974, the definition of the importance of a bias term.
    """
    pre, post = _checked(pre, post, term)
    scale = torch.maximum(pre.abs().amax(-1), post.abs().amax(-1))  # (L,)
    safe = torch.where(scale > 0, scale, 1.0)[:, None]  # squares of 1e-200 would underflow: the score has no unit
    pre, post = pre / safe, post / safe

    dot = (pre * post).sum(-1)  # (L,)
    longest2 = torch.maximum((pre * pre).sum(-1), (post * post).sum(-1))  # (L,)
    moved = 1 - dot / torch.where(longest2 > 0, longest2, 1.0)  # (L,)
    still = (pre == post).all(-1)  # (L,) covers 0/0 as well: a vector that stayed zero did not move
    return torch.where(still, 0.0, moved).clamp(0.0, 2.0)


def importance(pre: Tensor, post: Tensor, term: str = "this term") -> float:
    """Mean of ``importance_per_layer`` over the L layers: the number by which BEFT chooses a term."""
    return importance_per_layer(pre, post, term).mean().item()


def magnitude_per_layer(pre: Tensor, post: Tensor, term: str = "this term") -> Tensor:
    """Mean absolute change of each layer's elements: mean_i |post_i - pre_i|.

    Shapes: pre (L, d), post (L, d) -> (L,), in the bias's own unit, float64.
    Source: the measure of BitFit (Ben Zaken, Ravfogel, Goldberg, arXiv 2106.10199), as the BEFT paper uses it.
    """
    pre, post = _checked(pre, post, term)
    return (post - pre).abs().mean(-1)  # (L,)


def magnitude(pre: Tensor, post: Tensor, term: str = "this term") -> float:
    """Mean of ``magnitude_per_layer`` over the L layers."""
    return magnitude_per_layer(pre, post, term).mean().item()


def score_terms(
    pre: Mapping[str, Tensor], post: Mapping[str, Tensor], score: Score = importance_per_layer
) -> dict[str, Tensor]:
    """One score per layer for every term: ``{"query": (L,), "key": (L,), "value": (L,)}``.

    ``score`` may be any function of (pre, post), both (L, d) in float64, to (L,): a learner's own as well.
    """
    if set(pre) != set(post):
        raise ScoreError(f"pre holds the terms {sorted(pre)}, post holds {sorted(post)}: give both the same terms.")
    # Checked here as well, so that an error names the term.
    return {term: score(*_checked(pre[term], post[term], term)) for term in pre}


def rank_terms(
    pre: Mapping[str, Tensor], post: Mapping[str, Tensor], score: Score = importance_per_layer
) -> list[tuple[str, float]]:
    """Terms with their mean score, the highest first; ties in the order given.

    Raises ScoreError for importance when a term starts all zero: its score is then 1 after any move, however small,
    and 0 after none, so it says nothing about how much the term matters.
    """
    if score is importance_per_layer:
        zero = [term for term, vectors in pre.items() if not vectors.any()]
        if zero:
            raise ScoreError(
                f"The term {' and '.join(zero)} starts at exactly zero in every layer, so its importance is 1 after "
                "any move and cannot be ranked. Rank by magnitude (score=magnitude_per_layer), or leave the term out."
            )
    means = {term: per_layer.mean().item() for term, per_layer in score_terms(pre, post, score).items()}
    return sorted(means.items(), key=lambda item: -item[1])


def _checked(pre: Tensor, post: Tensor, term: str) -> tuple[Tensor, Tensor]:
    """Both as float64 on the CPU, or a ScoreError that says what is wrong with them."""
    if pre.ndim != 2 or pre.shape != post.shape or 0 in pre.shape:
        raise ScoreError(
            f"Scores of {term} need two tensors of one shape (L layers, d width), with L and d at least 1; "
            f"got pre {tuple(pre.shape)} and post {tuple(post.shape)}. One layer alone is vector[None, :]."
        )
    for name, vectors in (("pre", pre), ("post", post)):
        bad = (~torch.isfinite(vectors)).any(-1).nonzero().flatten().tolist()
        if bad:
            raise ScoreError(
                f"{name} of {term} holds NaN or infinity in layer {', '.join(map(str, bad))} (counted from 0). "
                "The run has diverged: try a smaller learning rate, or fp32 instead of fp16."
            )
    return pre.detach().to("cpu", torch.float64), post.detach().to("cpu", torch.float64)
