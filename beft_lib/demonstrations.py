"""Prompts as token ids that fit the context, with demonstrations before the question."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .errors import DataError
from .tasks import Task

Ids = list[int]


@dataclass(frozen=True)
class Prompts:
    """Prompts as token ids, and what had to give way.

    Attributes:
        room: how many tokens a prompt may have: the context without the longest answer.
        cut: how many questions were longer, and lost their beginning.
        asked, shots: demonstrations wanted before each question, and how many there are on average.
    """

    ids: list[Ids] = field(repr=False)
    room: int
    cut: int
    asked: int
    shots: float


def encode_prompts(
    task: Task, examples: Dataset, tokenizer: PreTrainedTokenizerBase, room: int, shots: int = 0, seed: int = 0,
    first: int = 0,
) -> Prompts:  # fmt: skip
    """A prompt for each example, ``room`` tokens at most, with up to ``shots`` demonstrations before the question.

    Each question's demonstrations are drawn anew from the training examples, by ``seed`` and its place (``first`` for
    the first of ``examples``); the last drawn are left out where they do not fit. A question that does not fit by
    itself loses its beginning, as in MeZO.
    """
    assert task.prompt is not None
    if room < 2:
        raise DataError(f"{task.name}: beside the answer, {room} tokens are left for a prompt. Raise max_length.")
    if shots > len(task.train):
        raise DataError(f"{task.name}: {shots} demonstrations asked for, {len(task.train)} training examples there.")
    questions = [task.prompt.ask(example) for example in examples]  # type: ignore[arg-type]
    encoded: list[Ids] = tokenizer(questions, verbose=False)["input_ids"]  # type: ignore[assignment]
    cut = sum(len(ids) > room for ids in encoded)
    before = [0] * len(questions)
    if shots:
        shown = _Shown(task, tokenizer, shots, seed)
        numbered = enumerate(zip(questions, encoded, strict=True), start=first)
        pairs = [shown.before(text, ids, room, place) for place, (text, ids) in numbered]
        encoded, before = [ids for ids, _ in pairs], [count for _, count in pairs]
    return Prompts([_fitted(ids, room, tokenizer) for ids in encoded], room, cut, shots, float(np.mean(before)))


def candidate_ids(
    task: Task, tokenizer: PreTrainedTokenizerBase, example: Mapping[str, Any] | None = None
) -> list[Ids]:
    """The answers of a choice as tokens, those of one example where each has its own. Raises DataError where two are
    the same to this tokenizer.
    """
    assert task.prompt is not None
    answers = task.prompt.candidates(example or {})
    found = [answer_ids(answer, tokenizer) for answer in answers]
    for number, ids in enumerate(found):
        if ids in found[:number]:
            one, two = answers[found.index(ids)], answers[number]
            raise DataError(
                f"{task.name}: the answers {one!r} and {two!r} are the same tokens {ids} to this tokenizer, so that no "
                "score can tell them apart. Use other words."
            )
    return found


def answer_ids(answer: str, tokenizer: PreTrainedTokenizerBase) -> Ids:
    """An answer as tokens, without the marks a tokenizer puts around a text. Raises DataError for none."""
    ids: Any = tokenizer(answer, add_special_tokens=False, verbose=False)["input_ids"]
    if not ids:
        raise DataError(f"The answer {answer!r} has no tokens, so it has no probability. Write it with words.")
    return ids


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """What padding is filled with; it is masked, so any token will do where a tokenizer has none for it."""
    ids: tuple[Any, ...] = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(number for number in ids if number is not None)


class _Shown:
    """Draws demonstrations for one question after the other."""

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase, shots: int, seed: int):
        assert task.prompt is not None
        self.tokenizer, self.separator, self.shots, self.seed = tokenizer, task.prompt.separator, shots, seed
        prompt = task.prompt
        self.texts = [(prompt.ask(e) + prompt.answer(e)).strip() for e in task.train]  # type: ignore[arg-type]
        texts = [text + self.separator for text in self.texts]
        self.lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]

    def before(self, question: str, ids: Ids, room: int, place: int) -> tuple[Ids, int]:
        """(token ids, number of demonstrations): the first drawn that fit, then the question."""
        drawn = random.Random(f"{self.seed}/{place}").sample(range(len(self.texts)), self.shots)
        lengths = np.cumsum([self.lengths[i] for i in drawn]) + len(ids)
        # Tokens at a seam may join or part, so what should fit is tried, and one more is left out where it does not.
        for count in range(int((lengths <= room).sum()), 0, -1):
            text = self.separator.join([*(self.texts[i] for i in drawn[:count]), question])
            joined: Any = self.tokenizer(text, verbose=False)["input_ids"]
            if len(joined) <= room:
                return joined, count
        return ids, 0


def _fitted(ids: Ids, room: int, tokenizer: PreTrainedTokenizerBase) -> Ids:
    """At most ``room`` tokens: the end, where the question is; a mark that opens every text stays."""
    if len(ids) <= room:
        return ids
    opening = ids[:1] if ids[0] in tokenizer.all_special_ids else []
    return opening + ids[len(ids) - room + len(opening) :]
