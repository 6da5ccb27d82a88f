"""Putting a task to a classifier: texts or pairs of texts in, a label or a number out of its head."""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import numpy as np
from datasets import Dataset
from torch import nn
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from . import runtime
from .errors import DataWarning
from .fitting import halved
from .metrics import TaskMetric
from .models import context_of
from .tasks import Task

AT_ONCE = 64  # examples of a batch without gradients; fewer where the memory is too small


def encode(task: Task, examples: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int = 128) -> Dataset:
    """Token ids and labels, unpadded: padding is the batch's business. Warns of texts that do not fit."""
    texts = [task.texts(example) for example in examples]  # type: ignore[arg-type]
    columns = [list(column) for column in zip(*texts, strict=True)]
    encoded: Any = tokenizer(*columns, truncation=True, max_length=max_length)  # type: ignore[arg-type]
    _tell(columns, encoded["input_ids"], tokenizer, max_length, task.name)
    kind = float if task.row.regression else int
    return Dataset.from_dict({**encoded, "labels": [kind(label) for label in examples["label"]]})


def _tell(columns: list[list[str]], ids: Any, tokenizer: PreTrainedTokenizerBase, limit: int, name: str) -> None:
    """Warn of texts that were cut: only those that fill the limit are counted anew."""
    full = [number for number, row in enumerate(ids) if len(row) >= limit]
    if not full:
        return
    whole: Any = tokenizer(*([column[number] for number in full] for column in columns), verbose=False)  # type: ignore[arg-type]
    lengths = [len(row) for row in whole["input_ids"]]
    if cut := sum(length > limit for length in lengths):
        warnings.warn(
            f"{name}: {cut} of {len(ids)} texts are longer than {limit} tokens (the longest has {max(lengths)}); their "
            f"ends were cut off. {limit} is the recipe's max_length or, where that is less, all that this model reads.",
            DataWarning,
            stacklevel=4,
        )


def collator(task: Task, tokenizer: PreTrainedTokenizerBase, pad_to: int | None) -> DataCollatorWithPadding:
    """Batches padded to their longest row, or to ``pad_to``."""
    if pad_to is None:
        return DataCollatorWithPadding(tokenizer)
    return DataCollatorWithPadding(tokenizer, padding="max_length", max_length=pad_to)


def loss(task: Task) -> None:
    """None: the model's own."""


def predict(
    model: nn.Module,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset | None = None,
    max_length: int = 128,
) -> tuple[np.ndarray, np.ndarray]:
    """(logits (N, classes), labels (N,)) over the validation examples, or those given, in their order."""
    limit = context_of(model, tokenizer, max_length)
    encoded = encode(task, task.validation if examples is None else examples, tokenizer, limit)
    # Batches of like length need little padding: sort, then put the answers back in order.
    order = np.argsort([len(ids) for ids in encoded["input_ids"]], kind="stable")
    with tempfile.TemporaryDirectory(prefix="beft-") as scratch:
        output, size = None, AT_ONCE
        while output is None:
            arguments = TrainingArguments(
                output_dir=scratch, per_device_eval_batch_size=size, disable_tqdm=True, report_to="none",
                use_cpu=runtime.device().type == "cpu",
            )  # fmt: skip
            trainer = Trainer(model=model, args=arguments, data_collator=DataCollatorWithPadding(tokenizer))
            trainer.remove_callback(PrinterCallback)
            try:
                output = trainer.predict(encoded.select(order))  # type: ignore[arg-type]
            except RuntimeError as error:
                if arguments.world_size > 1:  # the other processes wait for this one's answers
                    raise
                size = halved(size, error, f"scoring {task.name}")
    back = np.argsort(order)
    return np.asarray(output.predictions)[back], np.asarray(output.label_ids)[back]


def evaluate(
    model: nn.Module, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int = 128
) -> dict[str, float]:
    """The task's metrics on its validation examples."""
    logits, labels = predict(model, task, tokenizer, max_length=max_length)
    answers = logits[:, 0] if task.row.regression else logits.argmax(-1)
    return TaskMetric(task.metrics, task.row.regression).compute(predictions=answers, references=labels)  # type: ignore[return-value]
