"""Asking a language model in words: answers scored or generated in batches, and the loss over answers.

A choice is scored by the mean log-probability of its tokens after the prompt. Prompts are padded on the left, so that
answers end together: logits are computed for their tokens alone.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from . import runtime
from .answers import measure_answers
from .demonstrations import Ids, Prompts, answer_ids, candidate_ids, encode_prompts, padding_id
from .errors import DataWarning
from .metrics import TaskMetric
from .models import context_of, load_tokenizer
from .tasks import Task

IGNORED = -100  # a label that no loss counts
TOKENS = 2048  # of one batch without gradients, padding included; on a GPU eight times as many


@dataclass(frozen=True)
class Answers:
    """What a model answered: label numbers, or texts where the answer is free.

    Attributes:
        scores: (N, candidates) mean log-probability of each answer; None for free text.
        prompts: what was asked, as token ids, and what had to be left out.
    """

    predictions: list[Any]
    scores: np.ndarray | None = field(repr=False)
    prompts: Prompts = field(repr=False)


def ask(
    model: nn.Module,
    task: Task,
    examples: Dataset | None = None,
    *,
    shots: int = 0,
    seed: int = 0,
    max_length: int | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Answers:
    """Ask a language model every example (None: the validation examples), after ``shots`` demonstrations.

    Demonstrations are drawn by ``seed`` from the training examples, afresh for each question; those that do not fit
    the context are left out. Raises DataError where not even a question fits.
    """
    assert task.prompt is not None
    tokenizer = tokenizer or load_tokenizer(model)
    examples = task.validation if examples is None else examples
    length = context_of(model, tokenizer, max_length or task.prompt.max_length)
    if task.prompt.answers:
        each, pad = _candidates(task, examples, tokenizer), padding_id(tokenizer)
        prompts = encode_prompts(task, examples, tokenizer, length - _longest(each), shots, seed)
        ids = prompts.ids
        scores = score_each(model, ids, each, pad) if task.prompt.varies else score(model, ids, each[0], pad)
        return Answers(scores.argmax(1).tolist(), scores, prompts)
    prompts = encode_prompts(task, examples, tokenizer, length - task.prompt.max_new, shots, seed)
    said = generate(model, prompts.ids, tokenizer, task.prompt.stop, task.prompt.max_new)
    return Answers(said, None, prompts)


def score_answers(model: nn.Module, texts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N, answers) mean log-probability of every answer (its blanks count) after every text, as in ``score``."""
    tokenizer = load_tokenizer(model)
    return score(
        model, tokenizer(list(texts))["input_ids"], [answer_ids(a, tokenizer) for a in answers], padding_id(tokenizer)
    )


def complete(model: nn.Module, texts: Sequence[str], stop: str = "\n", max_new: int = 50) -> list[str]:
    """What a language model says after each text: its likeliest token again and again, up to ``stop``."""
    tokenizer = load_tokenizer(model)
    return generate(model, tokenizer(list(texts))["input_ids"], tokenizer, stop, max_new)


@torch.no_grad()
def score(model: nn.Module, prompts: Sequence[Ids], answers: Sequence[Ids], pad: int, share: bool = True) -> np.ndarray:
    """(N, C) mean log-probability of the tokens of each answer after each prompt.

    ``share``: each prompt is read once and its keys and values serve every answer; else every pair is read anew.
    The result is the same to rounding.
    """
    if not share or _has_prefix(model):
        return score_each(model, prompts, [answers] * len(prompts), pad)
    found = np.empty((len(prompts), len(answers)))
    with _answering(model) as where:
        for batch in _batches(prompts, len(answers)):
            found[batch] = _score_shared(model, [prompts[i] for i in batch], answers, pad, where)
    return found


@torch.no_grad()
def score_each(model: nn.Module, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], pad: int) -> np.ndarray:
    """(N, C) as ``score``, but every prompt has C answers of its own: ``answers[i]`` after ``prompts[i]``."""
    found = np.empty((len(prompts), len(answers[0])))
    with _answering(model) as where:
        for batch in _batches(prompts, len(answers[0]), _longest(answers)):
            pairs = [(prompts[i], answer) for i in batch for answer in answers[i]]
            found[batch] = _score_pairs(model, pairs, pad, where).reshape(len(batch), -1)
    return found


@torch.no_grad()
def generate(
    model: nn.Module, prompts: Sequence[Ids], tokenizer: PreTrainedTokenizerBase, stop: str, max_new: int
) -> list[str]:
    """What follows each prompt, likeliest token by token, to ``stop``, the end of text, or ``max_new`` tokens."""
    said = [""] * len(prompts)
    ends = _ends(tokenizer, stop)
    with _answering(model) as where:
        for batch in _batches(prompts, 1, max_new):
            ids, mask = _padded([prompts[i] for i in batch], padding_id(tokenizer), where)
            out = cast(Any, model).generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max_new, do_sample=False, num_beams=1,
                eos_token_id=ends, pad_token_id=padding_id(tokenizer), use_cache=True,
            )  # fmt: skip
            texts = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
            for i, text in zip(batch, texts, strict=True):
                said[i] = text.split(stop)[0].strip()
    return said


# What training.py needs of a way to put a task to a model (``classifying`` has the same four) -----------------------


def encode(task: Task, examples: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Rows of prompt and answer for each example, the right answer first, then the others; labels on answers alone."""
    assert task.prompt is not None
    each = _candidates(task, examples, tokenizer)
    right = [answer_ids(task.prompt.answer(example), tokenizer) for example in examples]  # type: ignore[arg-type]
    prompts = encode_prompts(task, examples, tokenizer, max_length - _longest([right, *each]))
    _tell(prompts, task)
    columns: dict[str, list[list[Ids]]] = {"input_ids": [], "labels": []}
    for ids, answer, candidates in zip(prompts.ids, right, each, strict=True):
        options = [answer, *(other for other in candidates if other != answer)]
        columns["input_ids"].append([[*ids, *option] for option in options])
        columns["labels"].append([[*[IGNORED] * len(ids), *option] for option in options])
    return Dataset.from_dict(columns)


def collator(task: Task, tokenizer: PreTrainedTokenizerBase, pad_to: int | None) -> Callable[[list[Any]], Any]:
    """Batches of rows, padded on the left: ``input_ids`` and ``labels`` (B · candidates, T)."""
    pad = padding_id(tokenizer)

    def collate(examples: list[Any]) -> dict[str, Any]:
        rows, labels = ([row for e in examples for row in e[name]] for name in ("input_ids", "labels"))
        ids, mask = _padded(rows, pad, torch.device("cpu"), pad_to)
        targets, _ = _padded(labels, IGNORED, torch.device("cpu"), pad_to)
        longest = int((targets != IGNORED).sum(1).max())
        return {"input_ids": ids, "attention_mask": mask, "labels": targets, "logits_to_keep": longest + 1}

    return collate


def loss(task: Task) -> Callable[..., Tensor]:
    """Over candidates: cross-entropy of their mean log-probabilities, the right one first. Free text: the mean over
    answer tokens.
    """
    assert task.prompt is not None
    candidates = len(task.prompt.answers)

    def compute(outputs: Any, labels: Tensor, **_: Any) -> Tensor:
        logp, counted = _answer_logp(outputs.logits, labels)  # (B · candidates, answer), both
        if not candidates:
            return -logp.sum() / counted.sum()
        means = (logp.sum(1) / counted.sum(1)).view(-1, candidates)
        return nn.functional.cross_entropy(means, torch.zeros(len(means), dtype=torch.long, device=means.device))

    return compute


def evaluate(
    model: nn.Module, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int, shots: int = 0, seed: int = 0
) -> dict[str, float]:
    """The task's metrics; with ``shots``, also how many demonstrations there were for each question on average."""
    answers = ask(model, task, shots=shots, seed=seed, max_length=max_length, tokenizer=tokenizer)
    _tell(answers.prompts, task)
    right = task.validation["label"]
    found = (
        TaskMetric(task.metrics).compute(predictions=answers.predictions, references=right)
        if answers.scores is not None
        else measure_answers(task.metrics, answers.predictions, right)
    )
    return {**cast(dict, found), **({"demonstrations": answers.prompts.shots} if shots else {})}


# Batches -----------------------------------------------------------------------------------------------------------


def _score_shared(
    model: nn.Module, prompts: list[Ids], answers: Sequence[Ids], pad: int, where: torch.device
) -> np.ndarray:
    ids, mask = _padded(prompts, pad, where)
    out = cast(Any, model)(
        input_ids=ids, attention_mask=mask, use_cache=True, logits_to_keep=1, **_positions(model, mask)
    )
    first = out.logits[:, -1].float().log_softmax(-1)  # (B, V)
    total = torch.stack([first[:, answer[0]] for answer in answers], 1)  # (B, C)
    several = [c for c, answer in enumerate(answers) if len(answer) > 1]
    if several:
        cache, longest = out.past_key_values, max(len(answers[c]) for c in several)
        cache.batch_repeat_interleave(len(several))
        read, target = torch.full((2, len(several), longest - 1), IGNORED, device=where)  # (C', A - 1), both
        for row, c in enumerate(several):
            read[row, : len(answers[c]) - 1] = torch.tensor(answers[c][:-1])
            target[row, : len(answers[c]) - 1] = torch.tensor(answers[c][1:])
        read, target = read.repeat(len(prompts), 1), target.repeat(len(prompts), 1)  # (B · C', A - 1)
        whole = torch.cat([mask.repeat_interleave(len(several), 0), (read != IGNORED).long()], 1)
        out = cast(Any, model)(
            input_ids=read.clamp(min=0), attention_mask=whole, past_key_values=cache, use_cache=True,
            **_positions(model, whole, read.shape[1]),
        )  # fmt: skip
        total[:, several] += _picked(out.logits, target).sum(1).view(len(prompts), -1)
    return (total / torch.tensor([len(answer) for answer in answers], device=where)).cpu().numpy()


def _candidates(task: Task, examples: Dataset, tokenizer: PreTrainedTokenizerBase) -> list[list[Ids]]:
    """The candidates of every example as tokens; [] each where the answer is free."""
    assert task.prompt is not None
    if task.prompt.varies:
        return [candidate_ids(task, tokenizer, example) for example in examples]  # type: ignore[arg-type]
    return [candidate_ids(task, tokenizer)] * len(examples)


def _longest(answers: Sequence[Sequence[Ids]]) -> int:
    return max(len(answer) for some in answers for answer in some)


def _score_pairs(model: nn.Module, pairs: Sequence[tuple[Ids, Ids]], pad: int, where: torch.device) -> np.ndarray:
    """(pairs,) mean log-probability of each answer after its prompt, every pair a row of its own."""
    ids, mask = _padded([[*prompt, *answer] for prompt, answer in pairs], pad, where)
    labels, _ = _padded([[*[IGNORED] * len(prompt), *answer] for prompt, answer in pairs], IGNORED, where)
    keep = max(len(answer) for _, answer in pairs) + 1
    out = cast(Any, model)(input_ids=ids, attention_mask=mask, logits_to_keep=keep, **_positions(model, mask))
    logp, counted = _answer_logp(out.logits, labels)
    return (logp.sum(1) / counted.sum(1)).cpu().numpy()


def _answer_logp(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each answer token, 0 elsewhere, and where there is one: logits (R, K, V), labels (R, T) of
    rows that end together; both results (R, K - 1).
    """
    target = labels[:, 1 - logits.shape[1] :]  # the logits at one place are of the next token
    return _picked(logits[:, :-1], target), target != IGNORED


def _picked(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probability of ``target`` (R, K) in ``logits`` (R, K, V), 0 where it is to be ignored."""
    flat = nn.functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), reduction="none")
    return -flat.view(target.shape)


def _padded(rows: Sequence[Ids], pad: int, where: torch.device, length: int | None = None) -> tuple[Tensor, Tensor]:
    """(ids, mask), both (R, T): padded on the left to the longest row, or to ``length``."""
    width = max(map(len, rows) if length is None else [length, *map(len, rows)])
    ids, mask = torch.full((len(rows), width), pad), torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, width - len(row) :] = torch.tensor(row)
        mask[number, width - len(row) :] = 1
    return ids.to(where), mask.to(where)


def _positions(model: nn.Module, mask: Tensor, last: int = 0) -> dict[str, Tensor]:
    """Position numbers that leave padding out, of the ``last`` tokens (0: all), for models that take them."""
    if _has_prefix(model) or "position_ids" not in inspect.signature(model.forward).parameters:
        return {}
    return {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, -last:]}


def _has_prefix(model: nn.Module) -> bool:
    """Whether PEFT puts keys and values of its own before the prompt's: then it counts positions and caches itself."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def _batches(prompts: Sequence[Ids], rows_each: int, more: int = 0) -> Iterator[list[int]]:
    """Places of prompts of like length, the longest first, ``TOKENS`` tokens a batch at most (or one prompt)."""
    most = TOKENS * (1 if runtime.device().type == "cpu" else 8)
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    while order:
        n = max(1, most // ((len(prompts[order[0]]) + more) * rows_each))
        yield order[:n]
        order = order[n:]


@contextmanager
def _answering(model: nn.Module) -> Iterator[torch.device]:
    """The model where it computes, without dropout; afterwards in the mode it was in."""
    if not hasattr(model, "hf_device_map"):  # spread over several devices, it stays where it is
        model.to(runtime.device())
    training = model.training
    model.eval()
    try:
        yield next(model.parameters()).device
    finally:
        model.train(training)


def _ends(tokenizer: PreTrainedTokenizerBase, stop: str) -> list[int]:
    """The tokens that end an answer: the end of text, and every one with ``stop`` in it ("\\n", "\\n\\n" …)."""
    texts = tokenizer.batch_decode([[number] for number in range(len(tokenizer))])
    ends = {number for number, text in enumerate(texts) if stop in text}
    return sorted(ends | ({tokenizer.eos_token_id} - {None}))  # type: ignore[arg-type]


def _tell(prompts: Prompts, task: Task) -> None:
    if prompts.cut:
        warnings.warn(
            f"{task.name}: {prompts.cut} of {len(prompts.ids)} prompts were longer than the {prompts.room} tokens that "
            "the context leaves; their beginnings were cut off.",
            DataWarning,
            stacklevel=3,
        )
