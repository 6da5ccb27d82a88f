"""How fast answers are scored: in batches that share each prompt, against one forward pass for each pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .demonstrations import Ids, candidate_ids, encode_prompts, padding_id
from .models import context_of, load_tokenizer
from .prompting import score
from .tasks import Task


def bench_scoring(model: nn.Module, task: Task, rounds: int = 3) -> dict[str, float]:
    """Seconds to score every answer to every validation example: in batches that share each prompt, and one by one.

    ``difference`` is the largest between the two ways' scores, ``ratio`` the one time over the other.
    """
    tokenizer = load_tokenizer(model)
    candidates = candidate_ids(task, tokenizer)
    prompts = encode_prompts(task, task.validation, tokenizer, context_of(model, tokenizer, 2048) - 8).ids
    ways = {
        "batched": lambda: score(model, prompts, candidates, padding_id(tokenizer)),
        "one by one": lambda: one_by_one(model, prompts, candidates),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            scores[name] = way()
            seconds[name].append(time.perf_counter() - started)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    difference = float(abs(scores["batched"] - scores["one by one"]).max())
    return {**middle, "ratio": middle["one by one"] / middle["batched"], "difference": difference}


@torch.no_grad()
def one_by_one(model: nn.Module, prompts: Sequence[Ids], answers: Sequence[Ids]) -> np.ndarray:
    """What one would write first: a forward pass for every prompt and answer; (N, C) mean log-probabilities."""
    where = next(model.parameters()).device
    found = np.empty((len(prompts), len(answers)))
    for i, prompt in enumerate(prompts):
        for c, answer in enumerate(answers):
            logits = model(input_ids=torch.tensor([[*prompt, *answer]], device=where)).logits[0].float().log_softmax(-1)
            said = logits[len(prompt) - 1 : -1].gather(1, torch.tensor(answer, device=where)[:, None])
            found[i, c] = said.mean().item()
    return found
