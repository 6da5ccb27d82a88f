"""The exercises of lesson 06."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import Exercise, Function, Value, Wrong

_DRAW = torch.Generator().manual_seed(6)
_LOGITS = torch.randn(5, 7, generator=_DRAW, dtype=torch.float64) * 2  # (T, V)
_IDS = torch.tensor([3, 1, 6, 0, 2])  # (T,)


def _token_logp(logits: Tensor, ids: Tensor, n: int, shift: int = 1) -> Tensor:
    """Log-probability of every answer token: logits (T, V), ids (T,), n tokens of prompt -> (T - n,)"""
    logp = logits.log_softmax(-1)[n - shift : len(ids) - shift]
    return logp.gather(1, ids[n:, None])[:, 0]


_ANSWER_SCORE = Function(
    name="l06_answer_score",
    task="Write `answer_score(logits, ids, n)`: logits (T, V), token ids (T,) and the length of the prompt in, the "
    "mean log-probability of the tokens behind the prompt out.",
    right="The logits one place earlier, the answer's tokens alone, their mean. That is how every choice is scored.",
    solution=lambda logits, ids, n: _token_logp(logits, ids, n).mean(),
    inputs=((_LOGITS, _IDS, 3), (_LOGITS, _IDS, 4), (_LOGITS, _IDS, 1)),
    tolerance=1e-6,
    wrong=(
        Wrong(
            lambda logits, ids, n: _token_logp(logits, ids, n, shift=0).mean(),
            "You read the logits at the token itself. Those are about the token after it; go one place back.",
        ),
        Wrong(
            lambda logits, ids, n: _token_logp(logits, ids, n).sum(),
            "This is the sum. It punishes long answers for being long; take the mean.",
        ),
        Wrong(
            lambda logits, ids, n: _token_logp(logits, ids, 1).mean(),
            "The prompt's own tokens are in your mean. Only those from place n on are the answer.",
        ),
        Wrong(
            lambda logits, ids, n: logits[n - 1 : len(ids) - 1].gather(1, ids[n:, None]).mean(),
            "These are raw logits. Turn each row into log-probabilities first: `.log_softmax(-1)`.",
        ),
        Wrong(
            lambda logits, ids, n: _token_logp(logits, ids, n).exp().mean(),
            "This is the mean of the probabilities. The score is the mean of their logarithms.",
        ),
        Wrong(
            lambda logits, ids, n: -_token_logp(logits, ids, n).mean(),
            "The sign: this is the loss. The score is its negative, and the highest score wins.",
        ),
        Wrong(
            _token_logp,
            "These are the answer's tokens one by one. Take their mean.",
        ),
    ),
)


def _shared(said: Sequence[str], right: Sequence[str]) -> int:
    return sum((Counter(said) & Counter(right)).values())


def _word_f1(said: Sequence[str], right: Sequence[str]) -> float:
    shared = _shared(said, right)
    return 2 * shared / (len(said) + len(right)) if shared else 0.0


def _set_f1(said: Sequence[str], right: Sequence[str]) -> float:
    return _word_f1(sorted(set(said)), sorted(set(right)))


_WORD_F1 = Function(
    name="l06_word_f1",
    task="Write `word_f1(said, right)`: two lists of words in, the F1 of their overlap out (0 where none is).",
    right="Every word counts as often as it occurs on both sides, and a longer answer pays for its extra words.",
    solution=_word_f1,
    inputs=(
        (["tom", "has", "black", "kite"], ["tom"]),
        (["tom"], ["tom"]),
        (["hugo"], ["tom"]),
        (["tom", "tom", "tom"], ["tom", "and", "ben"]),
        (["red", "ball"], ["red", "ball", "and", "red", "kite"]),
    ),
    wrong=(
        Wrong(
            lambda said, right: _shared(said, right) / len(said),
            "This is the precision: the share of the words said that are right. F1 also asks how much was found.",
        ),
        Wrong(
            lambda said, right: _shared(said, right) / len(right),
            "This is the recall: the share of the right words that were said. One could say everything and score 1.",
        ),
        Wrong(
            lambda said, right: (_shared(said, right) / len(said) + _shared(said, right) / len(right)) / 2,
            "This is the plain mean of precision and recall. F1 is their harmonic mean: 2 P R / (P + R).",
        ),
        Wrong(
            _set_f1,
            "You compare sets, so a word said three times counts once. Count words with `Counter`; `&` of two of them "
            "keeps the smaller count.",
        ),
        Wrong(
            lambda said, right: float(list(said) == list(right)),
            "This is exact match. F1 gives credit for a part of the answer.",
        ),
        Wrong(
            lambda said, right: _shared(said, right) / (len(said) + len(right)),
            "Half of it: the shared words are found on both sides, so they count twice above the line.",
        ),
    ),
)

_KEY = Value(
    name="l06_key",
    task="Set `my_prediction` to one of the letters, in quotes.",
    right="OPT's positions are added to the words, so softmax cancels its b_k; and there is no head that could learn.",
    solution="a",
    wrong=(
        Wrong("b", "That was so for BERT, where a head is trained besides. Here the prompt takes the head's place."),
        Wrong(
            "c",
            "As many parameters, but their gradients are zero: b_k adds the same to all logits of a row, and softmax "
            "ignores that.",
        ),
        Wrong("d", "To get worse it would have to change something. Nothing that b_k does reaches the output."),
    ),
)

_COUNTS = Value(
    name="l06_counts",
    task="Give three numbers for L = 32 layers of width d = 4,096: trained by b_v, by LoRA, by prefix tuning.",
    right="131,072, 32 times that, and 10 times that: the ratios hang on the method alone, not on the model.",
    solution=[131_072, 4_194_304, 1_310_720],
    tolerance=1e-9,
    wrong=(
        Wrong(
            [131_072, 2_097_152, 1_310_720],
            "LoRA adapts two projections, query and value, and each gets two thin matrices: 2 · 2 · r · d a layer.",
        ),
        Wrong(
            [131_072, 1_048_576, 1_310_720],
            "For LoRA you have one thin matrix a layer. There are two to a projection, and two projections.",
        ),
        Wrong(
            [131_072, 4_194_304, 655_360],
            "The first two are right. A prefix token has a key and a value in every layer: 2 · 5 · d.",
        ),
        Wrong(
            [4_096, 131_072, 40_960],
            "That is one layer. There are L = 32 of them.",
        ),
        Wrong(
            [393_216, 4_194_304, 1_310_720],
            "For the first you have all three biases. BEFT trains one of them: L · d.",
        ),
        Wrong(
            [131_072, 134_217_728, 1_310_720],
            "For LoRA you have a rank of 256. It is r = 8.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_ANSWER_SCORE, _WORD_F1, _KEY, _COUNTS)
