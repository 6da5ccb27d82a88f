"""The figures a model card shows: how far from the world's entropy, and how much there is to learn on each task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from ..methods import fine_tune
from ..models import load_model, quiet
from ..tasks import load_task
from .chooser import Chooser
from .entropy import best_masked_accuracy, masked_posteriors
from .examples import Example
from .pretrain import make_model
from .tasks import TASKS
from .texts import ANSWERS, KINDS, VERDICTS, cb_prompt, drop_prompt, rte_prompt, squad_prompt, wic_prompt, write_text
from .tokenizer import encode, make_tokenizer, vocabulary

ENCODER_TASKS = ("sst2", "cola", "stsb", "rte", "cb", "wic")
LEARNING_RATE = {"full": 5e-4}  # a small model wants more than the paper's 1e-5; every other method keeps its own


# --- language models against the entropy ---------------------------------------------------------------------------


def causal_loss(folder: Path, style: str, n: int = 500, seed: str = "entropy") -> dict[str, dict[str, float]]:
    """Nats a token on n fresh texts of every kind, end of text included, beside their derivations' information."""
    model = _load(AutoModelForCausalLM, folder)
    ids = vocabulary(style)
    first, last = (ids["</s>"], ids["</s>"]) if style == "opt" else (ids["<s>"], ids["</s>"])
    table = {}
    for kind in KINDS:
        written = [Chooser(f"{seed}/{i}") for i in range(n)]
        texts = [[first, *encode(write_text(c, kind), ids), last] for c in written]
        tokens = sum(len(text) - 1 for text in texts)
        loss = sum(_nats(model, batch, ids["<pad>"]) for batch in _batches(texts, 64)) / tokens
        table[kind] = {"loss": loss, "entropy": sum(-c.logp for c in written) / tokens, "tokens": tokens / n}
    return table


def overall(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """The rows of ``causal_loss`` averaged as the corpus mixes its kinds."""
    weight = {kind: KINDS[kind][1] * row["tokens"] for kind, row in table.items()}
    total = sum(weight.values())
    return {name: sum(weight[kind] * row[name] for kind, row in table.items()) / total for name in ("loss", "entropy")}


def _load(kind: Any, folder: Path) -> torch.nn.Module:
    with quiet():
        return kind.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def _nats(model: torch.nn.Module, texts: list[list[int]], pad: int) -> float:
    inputs, mask = _padded(texts, pad)
    labels = inputs.masked_fill(~mask, -100)[:, 1:]
    logits = model(input_ids=inputs, attention_mask=mask.long()).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum").item()


def masked_accuracy(folder: Path, style: str, n: int = 100, seed: str = "masked") -> dict[str, float]:
    """Accuracy and nats with one token at a time hidden, over every token of n fresh texts, and the best possible."""
    model = _load(AutoModelForMaskedLM, folder)
    ids = vocabulary(style)
    seeds = [f"{seed}/{i}" for i in range(n)]
    hits = nats = count = 0.0
    newlines = "\n" in ids
    for name in seeds:
        tokens, _ = masked_posteriors(name, newlines=newlines)
        row = _framed(tokens, ids, style)
        inputs = torch.tensor([row] * len(tokens))
        at = torch.arange(len(tokens))
        inputs[at, at + 1] = ids["[MASK]" if style == "bert" else "<mask>"]
        with torch.no_grad():
            logits = model(input_ids=inputs).logits[at, at + 1].float()
        truth = torch.tensor(row[1:-1])
        hits += (logits.argmax(-1) == truth).sum().item()
        nats += torch.nn.functional.cross_entropy(logits, truth, reduction="sum").item()
        count += len(tokens)
    best, floor = best_masked_accuracy(seeds, newlines=newlines)
    return {"accuracy": hits / count, "best accuracy": best, "nats": nats / count, "least nats": floor}


def _framed(tokens: Sequence[str], ids: dict[str, int], style: str) -> list[int]:
    first, last = ("[CLS]", "[SEP]") if style == "bert" else ("<s>", "</s>")
    return [ids[first], *(ids[token] for token in tokens), ids[last]]


# --- asking a language model without tuning it ---------------------------------------------------------------------

PROMPTS: dict[str, Callable[[Example], str]] = {
    "sst2": lambda e: f"{e.texts[0]} it was",
    "rte": lambda e: rte_prompt(*e.texts),
    "cb": lambda e: cb_prompt(*e.texts),
    "wic": lambda e: wic_prompt(e.title, *e.texts),
    "squad": lambda e: squad_prompt(e.title, *e.texts),
    "drop": lambda e: drop_prompt(*e.texts),
}
CHOICES = {**ANSWERS, "sst2": VERDICTS}


def zero_shot(folder: Path, style: str, task: str, n: int = 300, shots: int = 0) -> float:
    """Accuracy in percent on n fresh examples of a task (exact match where it is free), after ``shots`` others."""
    model = _load(AutoModelForCausalLM, folder)
    ids = vocabulary(style)
    first = ids["</s>" if style == "opt" else "<s>"]
    hits = 0
    for i in range(n):
        drawn = [TASKS[task].example(Chooser(f"zero/{task}/{i}/{k}")) for k in range(shots + 1)]
        said = [f"{PROMPTS[task](e)} {_answer(task, e)} \n \n" for e in drawn[:-1]]
        prompt = [first, *encode(" ".join([*said, PROMPTS[task](drawn[-1])]), ids)]
        hits += _right(model, prompt, task, _answer(task, drawn[-1]), ids)
    return 100 * hits / n


def _answer(task: str, example: Example) -> str:
    return CHOICES[task][int(example.label)] if task in CHOICES else str(example.label)


@torch.no_grad()
def _right(model: torch.nn.Module, prompt: list[int], task: str, answer: str, ids: dict[str, int]) -> bool:
    """Choices are single tokens here, so the likeliest of them is the answer; free answers are decoded greedily."""
    wanted = encode(answer, ids)
    if task in CHOICES:
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
        return max(CHOICES[task], key=lambda word: logits[ids[word]].item()) == answer
    said: list[int] = []
    for _ in range(len(wanted) + 1):
        said.append(int(model(input_ids=torch.tensor([prompt + said])).logits[0, -1].argmax()))
    return said[:-1] == wanted and said[-1] in (ids["\n"], ids["</s>"])


# --- what tuning can reach -------------------------------------------------------------------------------------------


def headroom(
    folder: Path,
    style: str,
    tasks: Iterable[str],
    runs: Iterable[tuple[str, int | None, float]],
    *,
    scratch: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Tune by (method, training examples or None for the low-data size, epochs); ``scratch``: from random weights."""
    rows = []
    with TemporaryDirectory() as temporary:
        source = _untrained(style, Path(temporary)) if scratch else folder
        for name in tasks:
            for method, n_train, epochs in runs:
                task = load_task(name, data="pocket", n_train=n_train)
                model = load_model(str(source), task, seed=seed)
                changes: dict[str, Any] = {"epochs": epochs}
                if method in LEARNING_RATE:
                    changes["learning_rate"] = LEARNING_RATE[method]
                run = fine_tune(model, task, method, seed=seed, progress=False, **changes)
                rows.append(
                    {
                        "task": name,
                        "method": method,
                        "examples": len(task.train),
                        "epochs": epochs,
                        "scratch": scratch,
                        "score": round(100 * run.score, 1),
                        "seconds": round(run.seconds, 1),
                    }
                )
    return rows


def _untrained(style: str, folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = make_tokenizer(style)
    make_model(style, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _batches(texts: list[list[int]], size: int) -> list[list[list[int]]]:
    texts = sorted(texts, key=len)
    return [texts[i : i + size] for i in range(0, len(texts), size)]


def _padded(texts: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, texts))
    inputs = torch.tensor([[*text, *[pad] * (longest - len(text))] for text in texts])
    lengths = torch.tensor([len(text) for text in texts])
    return inputs, torch.arange(longest) < lengths[:, None]


# --- all of it --------------------------------------------------------------------------------------------------------

RUNS = (("full", 5000, 3.0), ("full", None, 10.0), ("value", None, 16.0), ("head", None, 16.0))
SCRATCH_RUNS = (("full", 5000, 3.0), ("full", None, 10.0))


def figures_of(folder: Path, style: str, log: Callable[[str], None]) -> dict[str, Any]:
    """Every figure of a model's card."""
    figures: dict[str, Any] = {}
    if style in ("bert", "roberta"):
        figures["One token at a time hidden, 100 fresh texts"] = masked_accuracy(folder, style)
    else:
        table = causal_loss(folder, style)
        figures["Nats a token on fresh texts, and the information in their derivations"] = {
            "all": overall(table),
            **table,
        }
        figures["Asked without tuning: percent right of 300 fresh examples"] = [
            {
                "task": task,
                "zero-shot": zero_shot(folder, style, task),
                "2 demonstrations": zero_shot(folder, style, task, shots=2),
            }
            for task in PROMPTS
        ]
    log(f"{folder.name}: {next(iter(figures.values()))}")
    if style in ("bert", "roberta"):
        tuned = headroom(folder, style, ENCODER_TASKS, RUNS) + headroom(
            folder, style, ENCODER_TASKS, SCRATCH_RUNS, scratch=True
        )
        figures["Tuned, seed 0 (None: the low-data size); 'scratch' starts from random weights"] = tuned
    return figures
