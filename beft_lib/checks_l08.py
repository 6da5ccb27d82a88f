"""The exercises of lesson 08."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .checks import Condition, Exercise, Function, Open, Wrong
from .scores import importance_per_layer

_ENCODINGS = ("cp1252", "iso8859-1", "iso8859-15")  # the same for every letter of our file
_MENDED: dict[str, Any] = {"encoding": "cp1252", "text": "what they said", "label": "happy?", "drop_missing": True}


def _encoding(options: Mapping[str, Any]) -> bool:
    try:
        return codecs.lookup(options.get("encoding", "utf-8")).name in _ENCODINGS
    except (LookupError, TypeError):
        return False


def _without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in _MENDED.items() if name not in names}


_MEND = Open(
    name="l08_mend",
    task="Set `my_options` to a dictionary of what `own_task` has to be told: `dict(encoding=..., ...)`.",
    right="With these four the file can be read in one way only.",
    solution=(_MENDED,),
    conditions=(
        Condition(
            lambda options: isinstance(options, Mapping),
            'A dictionary is wanted, such as `dict(encoding="utf-16")`: its keys are names of arguments of `own_task`.',
            ("cp1252",),
        ),
        Condition(
            lambda options: set(options) <= set(_MENDED),
            f"There is an option in it that is not needed, or not spelt so. Four will do: {', '.join(_MENDED)}.",
            ({**_MENDED, "kind": "single"},),
        ),
        Condition(
            _encoding,
            'The encoding is the one that the first refusal names, as a text: `encoding="..."`.',
            ({**_MENDED, "encoding": "utf-8"},),
        ),
        Condition(
            lambda options: options.get("text") in ("what they said", ["what they said"]),
            "`text` is the column that the model reads, spelt as in the header.",
            ({**_MENDED, "text": "where"},),
        ),
        Condition(
            lambda options: options.get("label") == "happy?",
            "`label` is the column that the model learns, spelt as in the header, question mark included.",
            ({**_MENDED, "label": "happy"},),
        ),
        Condition(
            lambda options: options.get("drop_missing") is True,
            "Two rows still have no answer. There is an option that leaves such rows out: `drop_missing=True`.",
            (_without("drop_missing"),),
        ),
    ),
)


def _longer(pre: Tensor, move: Tensor, c: float) -> Tensor:
    return importance_per_layer(c * pre, c * pre + move)


def _formula(pre: Tensor, post: Tensor, longest: Tensor) -> Tensor:
    return 1 - (pre * post).sum(-1) / longest**2


_PRE = torch.tensor([[3.0, 4.0], [0.5, -0.2]], dtype=torch.float64)  # (L, d)
_MOVE = torch.tensor([[1.0, 0.5], [-0.3, -0.6]], dtype=torch.float64)

_LONGER = Function(
    name="l08_longer",
    task="Write `score_if_longer(pre, move, c)`: pre and move (L, d), a factor c; one score a layer out, (L,).",
    right="The same move, seen from a longer vector: so the score depends on where the vector started.",
    solution=_longer,
    inputs=((_PRE, _MOVE, 1.0), (_PRE, _MOVE, 3.0), (_PRE[:1], -_MOVE[:1], 10.0), (_PRE, _MOVE, 0.5)),
    wrong=(
        Wrong(
            lambda pre, move, c: importance_per_layer(c * pre, c * (pre + move)),
            "You lengthen the move as well: another unit, which importance does not notice. Here the move stays.",
        ),
        Wrong(
            lambda pre, move, c: importance_per_layer(pre, c * pre + move),
            "The vector also *starts* c times as long: pre is multiplied on both sides of the comparison.",
        ),
        Wrong(
            lambda pre, move, c: importance_per_layer(c * pre, pre + move),
            "Post has to start from the longer vector, too: it is c · pre + move.",
        ),
        Wrong(
            lambda pre, move, c: importance_per_layer(pre, pre + c * move),
            "The factor belongs to pre. With it at the move, you have trained c times as far.",
        ),
        Wrong(
            lambda pre, move, c: importance_per_layer(pre, pre + move) / c**2,
            "Nearly, for small moves straight across. In general, compute both vectors and then their importance.",
        ),
        Wrong(
            lambda pre, move, c: importance_per_layer(c * pre, move),
            "The move is not where the vector ends. It ends at c · pre + move.",
        ),
        Wrong(
            lambda pre, move, c: _longer(pre, move, c).mean(),
            "One score for each layer is wanted; leave the mean to the next line.",
        ),
        Wrong(
            lambda pre, move, c: _formula(c * pre, c * pre + move, c * pre.norm(dim=-1)),
            "Below the line stands the longer of the two vectors, squared: use `importance_per_layer` from `beft_lib`.",
        ),
    ),
)

_TERM = r"\b(b_[qkv]|query|key|value|head only|only the head)\b"
_AGAINST = r"head[ -]only|head alone|only the head|\bhead\b"
_DOUBT = r"±|interval|seeds?\b|standard error|chance|luck"
_COST = r"parameters?|bytes|\bkB\b|\bMB\b|seconds?\b|minutes?\b|\btimes? a full|cost"
_LIMIT = r"not (?:trust|use|claim|show|say|know|tell)|would not|does not|cannot|can't|only (?:for|if|on)|unless|limit"


def _says(pattern: str) -> Any:
    return lambda text: re.search(pattern, text, re.IGNORECASE) is not None


_START = (
    "I tuned b_v on our comments, since a short probe put it first, by a wide margin, and the order held for several "
)
_START += "other settings that I tried, among them a probe that was half as long. It did well on the examples held out"
_DECIDE = Open(
    name="l08_decide",
    task="Set `my_decision` to a paragraph: what you tuned and why, against what, how sure, at which cost, its limits.",
    right="That is a decision that somebody else can check, and disagree with. Keep it beside the adapter.",
    solution=(
        "I tuned b_v, whose importance in the probe was 6 times that of b_q. It scored 0.71, and beat head only by "
        "0.05 ± 0.04 over three seeds. It costs 2,304 parameters and a file of 16 kB. I would not trust it for reviews "
        "of another kind than those in the file.",
    ),
    conditions=(
        Condition(
            lambda text: isinstance(text, str) and len(re.findall(r"\w+", text)) >= 35,
            "A paragraph is wanted, of 35 words at least. The draft above shows what belongs in it.",
            ("I tuned b_v because it is best.",),
        ),
        Condition(
            _says(_TERM),
            "Say first which term you tuned: b_q, b_k or b_v (or head only, if that is your choice).",
            (_START.replace("b_v", "what it chose") + ".",),
        ),
        Condition(
            lambda text: len(re.findall(r"\d+(?:[.,]\d+)?", text)) >= 3,
            "Give numbers, at least three: a score, the difference, its doubt. A reader cannot check an adjective.",
            (_START + ".",),
        ),
        Condition(
            _says(_AGAINST),
            "Say what it was compared with. Without head only, nobody can tell what the bias added.",
            (_START + ": 0.71, 0.72 and 0.69.",),
        ),
        Condition(
            _says(_DOUBT),
            "How sure is it? Name an interval, the number of seeds, or how many validation examples there were.",
            (_START + ": 0.71, where the head scored 0.66, so 0.05 more.",),
        ),
        Condition(
            _says(_COST),
            "Say what it costs: parameters, the size of the file, or seconds.",
            (_START + ": 0.71, with the head 0.66, so 0.05 more, with an interval of 0.04.",),
        ),
        Condition(
            _says(_LIMIT),
            "The last sentence is missing, the one that people forget: what would you *not* trust it for?",
            (_START + ": 0.71, with the head 0.66, so 0.05 more, with an interval of 0.04, at 2,304 parameters.",),
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (_MEND, _LONGER, _DECIDE)
