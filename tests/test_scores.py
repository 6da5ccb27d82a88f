"""Importance and magnitude: what must hold for any vectors, what is defined at the edges, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from beft_lib.errors import ScoreError
from beft_lib.scores import (
    importance,
    importance_per_layer,
    magnitude,
    magnitude_per_layer,
    rank_terms,
    score_terms,
)

settings.register_profile("scores", deadline=None, max_examples=60)
settings.load_profile("scores")

NUMBERS = st.floats(-1e3, 1e3, allow_subnormal=False)
SEEDS = st.integers(0, 2**31 - 1)


@st.composite
def pairs(draw: st.DrawFn, low: int = 1) -> tuple[Tensor, Tensor]:
    """(pre, post), both (L, d): hypothesis' own awkward numbers (zeros, equal ones, tiny and huge side by side)."""
    layers, width = draw(st.integers(1, 3)), draw(st.integers(low, 6))
    cells = st.lists(NUMBERS, min_size=layers * width, max_size=layers * width)
    pre, post = (torch.tensor(draw(cells), dtype=torch.float64).reshape(layers, width) for _ in range(2))
    return pre, post


def random_pair(seed: int, layers: int = 3, width: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pre, post = torch.randn(2, layers, width, generator=generator, dtype=torch.float64)
    return pre, post


def rotation(seed: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]


def two_case(pre: Tensor, post: Tensor) -> float:
    """The paper's form for one layer, by the angle and the ratio of lengths, in plain Python."""
    longer, shorter = (math.sqrt(math.fsum(x * x for x in v.tolist())) for v in (pre, post))
    cos = math.fsum(x * y for x, y in zip(pre.tolist(), post.tolist(), strict=True)) / longer / shorter
    r = shorter / longer
    return 1 - cos * min(r, 1 / r)


# What holds for any vectors


@given(pairs())
def test_importance_is_symmetric(pair):
    pre, post = pair
    assert torch.equal(importance_per_layer(pre, post), importance_per_layer(post, pre))


@given(pairs())
def test_importance_lies_from_0_to_2(pair):
    scores = importance_per_layer(*pair)
    assert scores.dtype == torch.float64 and scores.shape == pair[0].shape[:1]
    assert bool(((scores >= 0) & (scores <= 2)).all())


@given(pairs())
def test_importance_is_exactly_0_where_equal(pair):
    pre, post = pair
    assert torch.equal(importance_per_layer(pre, pre.clone()), torch.zeros(len(pre), dtype=torch.float64))
    half = torch.where(torch.arange(len(pre))[:, None] == 0, pre, post)  # layer 0 alone is still
    assert importance_per_layer(pre, half)[0] == 0


@given(SEEDS, st.floats(-6, 2), st.booleans())
def test_importance_is_above_0_wherever_something_moved(seed, exponent, lengthen):
    """Down to a millionth of the length, along the vector or across it. (Across, the score is the square of the move:
    below 1e-8 of the length it is smaller than float64 can tell from 1 - 1.)"""
    pre, other = random_pair(seed)
    across = other - pre * (pre * other).sum(-1, keepdim=True) / (pre * pre).sum(-1, keepdim=True)
    way = pre if lengthen else across
    post = pre + 10**exponent * way / way.norm(dim=-1, keepdim=True) * pre.norm(dim=-1, keepdim=True)
    assert bool((importance_per_layer(pre, post) > 0).all())


@given(SEEDS, SEEDS)
def test_importance_is_unchanged_by_rotation(seed, turn):
    pre, post = random_pair(seed)
    turned = rotation(turn, pre.shape[1])
    assert not torch.allclose(pre @ turned, pre)  # the rotation did something
    torch.testing.assert_close(
        importance_per_layer(pre @ turned, post @ turned), importance_per_layer(pre, post), rtol=0, atol=1e-12
    )


@given(SEEDS, st.one_of(st.floats(-290, 290), st.sampled_from([-200.0, 200.0, -300.0, 300.0])))
def test_importance_is_unchanged_by_common_scaling(seed, exponent):
    """Also where the squares of the lengths are no longer float64 numbers."""
    pre, post = random_pair(seed)
    scale = 10.0**exponent
    torch.testing.assert_close(
        importance_per_layer(pre * scale, post * scale), importance_per_layer(pre, post), rtol=0, atol=1e-12
    )


@given(SEEDS, st.floats(-8, 8))
def test_importance_is_the_paper_s_two_case_form(seed, exponent):
    pre, post = random_pair(seed)
    post = post * 10**exponent
    expected = torch.tensor([two_case(a, b) for a, b in zip(pre, post, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(importance_per_layer(pre, post), expected, rtol=0, atol=1e-12)


@given(st.floats(0, math.pi), st.floats(0.01, 100))
def test_importance_by_angle_and_length(angle, r):
    pre = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    post = torch.tensor([[r * math.cos(angle), r * math.sin(angle)]], dtype=torch.float64)
    assert importance(pre, post) == pytest.approx(1 - math.cos(angle) * min(r, 1 / r), abs=1e-12)


@given(pairs())
def test_the_mean_is_over_layers(pair):
    assert importance(*pair) == pytest.approx(sum(importance_per_layer(*pair).tolist()) / len(pair[0]), abs=1e-15)
    expected = sum((b - a).abs().mean().item() for a, b in zip(*pair, strict=True)) / len(pair[0])
    assert magnitude(*pair) == pytest.approx(expected, rel=1e-12)


@given(pairs(), st.floats(-100, 100))
def test_magnitude_is_symmetric_and_has_the_unit_of_the_bias(pair, scale):
    pre, post = pair
    assert torch.equal(magnitude_per_layer(pre, post), magnitude_per_layer(post, pre))
    torch.testing.assert_close(
        magnitude_per_layer(scale * pre, scale * post), abs(scale) * magnitude_per_layer(pre, post)
    )


@given(pairs())
def test_scores_leave_their_arguments_alone(pair):
    pre, post = (v.clone().requires_grad_() for v in pair)
    for score in (importance_per_layer, magnitude_per_layer):
        assert not score(pre, post).requires_grad
    assert torch.equal(pre, pair[0]) and torch.equal(post, pair[1])


# The edges


@pytest.mark.parametrize(
    "post, expected",
    [([1, 0], 0.0), ([0.5, 0], 0.5), ([2, 0], 0.5), ([0, 1], 1.0), ([0, 7], 1.0), ([-1, 0], 2.0), ([-1, 1], 1.5),
     ([-2, 0], 1.5), ([0, 0], 1.0), ([5e-324, 0], 1.0)],
)  # fmt: skip
def test_values_that_can_be_seen_by_eye(post, expected):
    pre = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert importance(pre, torch.tensor([post], dtype=torch.float64)) == expected


def test_zero_vectors():
    zero, some = torch.zeros(1, 3), torch.ones(1, 3)
    assert importance(zero, zero) == 0 and importance(zero, some) == importance(some, zero) == 1


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1e200, 1e308])
def test_sizes_whose_squares_are_out_of_range(size):
    pre = torch.tensor([[size, 0.0]], dtype=torch.float64)
    assert importance(pre, pre.flip(-1)) == 1 and importance(pre, -pre) == 2 and importance(pre, pre) == 0


def test_float64_inside():
    """A move that float32 loses: 1e-4 of the length, across, is 1e-8 in the score, and 1 + 1e-8 is 1 in float32."""
    pre, post = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1e-4]])
    lost = 1 - (pre * post).sum(-1) / torch.maximum(pre.norm(dim=-1), post.norm(dim=-1)) ** 2
    assert lost.item() == 0
    assert importance(pre, post) == pytest.approx(1e-8, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_float_comes_out_as_float64(dtype):
    pre, post = (v.to(dtype) for v in random_pair(0))
    scores = importance_per_layer(pre, post)
    assert scores.dtype == torch.float64
    assert torch.equal(scores, importance_per_layer(pre.double(), post.double()))


# What is refused


@pytest.mark.parametrize("score", [importance_per_layer, magnitude_per_layer])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["pre", "post"])
def test_nan_and_infinity_name_term_and_layer(score, value, where):
    vectors = dict(zip(("pre", "post"), random_pair(0), strict=True))
    vectors[where][1, 3] = value
    with pytest.raises(
        ScoreError, match=rf"^{where} of query holds NaN or infinity in layer 1 .*smaller learning rate"
    ):
        score(vectors["pre"], vectors["post"], "query")


@pytest.mark.parametrize("score", [importance_per_layer, magnitude_per_layer])
@pytest.mark.parametrize(
    "pre, post",
    [((2, 3), (2, 4)), ((2, 3), (3, 3)), ((3,), (3,)), ((0, 3), (0, 3)), ((2, 0), (2, 0)), ((1, 2, 3),) * 2],
)
def test_other_shapes_are_named(score, pre, post):
    with pytest.raises(ScoreError) as error:
        score(torch.ones(pre), torch.ones(post), "key")
    assert str(tuple(pre)) in str(error.value) and str(tuple(post)) in str(error.value) and "key" in str(error.value)
    assert "vector[None, :]" in str(error.value)


# Terms


def terms() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """query turns a little, key stays, value turns by a right angle; in magnitude it is query that moves most."""
    pre = {
        "query": torch.tensor([[100.0, 0.0]]),
        "key": torch.tensor([[1.0, 1.0]]),
        "value": torch.tensor([[0.1, 0.0]]),
    }
    post = {"query": torch.tensor([[101.0, 0.0]]), "key": pre["key"].clone(), "value": torch.tensor([[0.0, 0.1]])}
    return pre, post


def test_ranking_is_from_the_highest_and_each_ruler_has_its_own():
    pre, post = terms()
    assert [name for name, _ in rank_terms(pre, post)] == ["value", "query", "key"]
    assert dict(rank_terms(pre, post))["value"] == 1 and dict(rank_terms(pre, post))["key"] == 0
    assert [name for name, _ in rank_terms(pre, post, magnitude_per_layer)] == ["query", "value", "key"]


def test_ties_stay_in_the_order_given():
    pre, post = {t: torch.ones(2, 3) for t in "bca"}, {t: torch.full((2, 3), 2.0) for t in "abc"}
    assert rank_terms(pre, post) == [("b", 0.5), ("c", 0.5), ("a", 0.5)]


def test_a_term_that_starts_all_zero_is_not_ranked_by_importance():
    pre, post = terms()
    pre["value"] = torch.zeros(1, 2)
    with pytest.raises(ScoreError, match=r"value starts at exactly zero.*score=magnitude_per_layer"):
        rank_terms(pre, post)
    assert score_terms(pre, post)["value"].tolist() == [1.0]  # scored, but not ranked
    assert dict(rank_terms(pre, post, magnitude_per_layer))["value"] > 0
    del pre["value"], post["value"]
    assert rank_terms(pre, post)[0][0] == "query"


def test_a_term_with_one_zero_layer_is_ranked():
    pre, post = terms()
    pre = {t: torch.cat([v, torch.zeros(1, 2)]) for t, v in pre.items()}
    post = {t: torch.cat([v, torch.ones(1, 2)]) for t, v in post.items()}
    assert rank_terms(pre, post)[0] == ("value", 1.0)


def test_terms_have_to_agree_and_an_error_names_the_term():
    pre, post = terms()
    with pytest.raises(ScoreError, match=r"\['key', 'query', 'value'\].*\['key', 'query'\]"):
        score_terms(pre, {t: v for t, v in post.items() if t != "value"})
    post["key"] = torch.tensor([[math.nan, 0.0]])
    with pytest.raises(ScoreError, match=r"post of key .* layer 0"):
        score_terms(pre, post)


def test_a_score_of_one_s_own_is_a_function_of_two_tensors():
    pre, post = terms()
    seen = []

    def longest_step(before: Tensor, after: Tensor) -> Tensor:
        seen.append(before.dtype)
        return (after - before).abs().amax(-1)

    assert rank_terms(pre, post, longest_step)[0] == ("query", 1.0)
    assert seen == [torch.float64] * 3
    post["key"] = torch.full((1, 2), math.inf)
    with pytest.raises(ScoreError, match=r"post of key"):  # named for a foreign score as well
        score_terms(pre, post, longest_step)
