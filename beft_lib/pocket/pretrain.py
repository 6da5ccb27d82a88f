"""Pretraining of the pocket models with a plain ``transformers.Trainer``."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from ..files import write_text_whole
from .corpus import Rows, make_rows, training_rows
from .optimizer import MuonAndAdamW
from .recipes import HIDDEN, Recipe, Round
from .tokenizer import make_tokenizer
from .untrained import make_model

NEXT_SENTENCE = 0.1  # weight of BERT's second question; with 1, a short trial learned the first one more slowly


class _Clock(TrainerCallback):
    """Counts seconds over interruptions (they are kept beside the checkpoints), says how far it is, ends a sitting."""

    def __init__(self, folder: Path, minutes: float | None, log: Callable[[str], None]):
        self._log = log
        self._file = folder / "seconds.txt"
        self._before = float(self._file.read_text(encoding="utf-8")) if self._file.is_file() else 0.0
        self._limit = math.inf if minutes is None else 60.0 * minutes
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.seconds - self._before > self._limit and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        seen = [entry["loss"] for entry in state.log_history if "loss" in entry]
        losses = f"training loss {seen[-1] if seen else math.nan:.4f}, validation {(metrics or {})['eval_loss']:.4f}"
        where = f"step {state.global_step:,} of {state.max_steps:,}"
        self._log(f"{where}: {losses}, {self.seconds / 60:.1f} minutes")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        write_text_whole(self._file, f"{self.seconds:.1f}\n")


def pretrain(
    recipe: Recipe,
    folder: Path,
    checkpoints: Path,
    minutes: float | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any] | None:
    """Train one model and save it with its tokenizer in ``folder``; returns the record that its card shows.

    Resumable: where ``checkpoints`` holds one, training goes on from there, as if it had never stopped.

    Args:
        minutes: stop after so many minutes, with a checkpoint, and return None.
    """
    tokenizer = make_tokenizer(recipe.style)
    set_seed(recipe.seed)
    model = make_model(recipe.style, tokenizer)
    log(f"{recipe.name}: {model.num_parameters():,} parameters")
    validation = make_rows(recipe.style, "validation", recipe.validation_texts)
    done: list[dict[str, Any]] = []
    for number, part in enumerate(recipe.rounds, start=1):
        place = checkpoints / f"round-{number}"
        if not (place / "record.json").is_file():
            record = _train_round(model, tokenizer, recipe, part, validation, place, minutes, log)
            if record is None:
                return None
            model.float().eval().save_pretrained(place)
            write_text_whole(place / "record.json", json.dumps(record))  # last: it says "finished"
        model = type(model).from_pretrained(place)
        done.append(json.loads((place / "record.json").read_text(encoding="utf-8")))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is written for its owner alone
    return {
        "recipe": asdict(recipe),
        "parameters": model.num_parameters(),
        "train_tokens": sum(record["train_tokens"] for record in done),
        "seconds": sum(record["seconds"] for record in done),
        "threads": torch.get_num_threads(),
        "log": _one_log(record["log"] for record in done),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def _train_round(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    part: Round,
    validation: Rows,
    folder: Path,
    minutes: float | None,
    log: Callable[[str], None],
) -> dict[str, Any] | None:
    """Train ``model`` in place on one round; None where it was interrupted."""
    train = training_rows(recipe.style, part.seed, part.stages, part.batch)
    log(f"{len(train):,} rows, {train.text_tokens:,} tokens; at most {train.nats / train.text_tokens:.4f} nats a token")
    trainer = PocketTrainer(
        model=model.train(),
        args=_arguments(recipe, part, folder),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=_collator(part, tokenizer, recipe.seed),
        processing_class=tokenizer,
        callbacks=[clock := _Clock(folder, minutes, log)],
        optimizers=(MuonAndAdamW(model, *(part.share * r for r in (recipe.learning_rate, recipe.matrix_rate))), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=any(folder.glob("checkpoint-*")) or None)
    if trainer.state.global_step < trainer.state.max_steps:
        log(f"{recipe.name}: stopped at step {trainer.state.global_step:,} of {trainer.state.max_steps:,}")
        return None
    return {"train_tokens": train.text_tokens, "seconds": round(clock.seconds), "log": trainer.state.log_history}


def _one_log(logs: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rounds' logs one after the other, steps counted through."""
    joined: list[dict[str, Any]] = []
    before = 0
    for log in logs:
        joined += [entry | {"step": entry["step"] + before} for entry in log]
        before = joined[-1]["step"]
    return joined


class PocketTrainer(Trainer):
    """Stock, but BERT's question about the next sentence weighs less than what is hidden."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        if "next_sentence_label" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        outputs = model(**inputs)
        masked, following = (
            nn.functional.cross_entropy(logits.flatten(0, -2), inputs[name].flatten(), reduction="sum")
            / (inputs[name] != -100).sum().clamp(min=1)
            for logits, name in (
                (outputs.prediction_logits, "labels"),
                (outputs.seq_relationship_logits, "next_sentence_label"),
            )
        )
        loss = masked + NEXT_SENTENCE * following
        return (loss, outputs) if return_outputs else loss


def _arguments(recipe: Recipe, part: Round, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=part.batch,
        per_device_eval_batch_size=recipe.batch,
        learning_rate=part.share * recipe.learning_rate,
        warmup_steps=0.05,  # below 1 it is a share of all steps
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        logging_steps=100,
        eval_strategy="steps",
        eval_steps=500,
        save_strategy="steps",
        save_steps=500,
        save_total_limit=1,
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=False,
        label_names=["labels", "next_sentence_label"] if recipe.style == "bert" else ["labels"],
    )


class SeededMasking(DataCollatorForLanguageModeling):
    """Stock masking, drawn from a seed that the batch itself gives: an interruption cannot change what is hidden.

    Most tokens of the world are fixed words ("the", "is", ".") that are soon learned, and few are answers; so the
    first are hidden less often and the last more (``hidden``), and more of what is asked has to be found in the text.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, mask: float, hidden: Mapping[str, float] = HIDDEN, **options: Any
    ):
        share = torch.ones(len(tokenizer))  # of every token, relative to the others
        for word, times in hidden.items():
            share[tokenizer.convert_tokens_to_ids(word)] = times
        share[tokenizer.all_special_ids] = 0.0
        super().__init__(tokenizer, mlm_probability=mask * share.max().item(), **options)
        self.asked = share / share.max()  # (V,)

    def torch_mask_tokens(
        self, inputs: Tensor, special_tokens_mask: Any | None = None, offset_mapping: Any | None = None
    ) -> tuple[Tensor, Tensor]:
        self.generator = torch.Generator().manual_seed(zlib.crc32(inputs.numpy().tobytes()))
        spared = torch.rand(inputs.shape, generator=self.generator) >= self.asked[inputs]  # (B, T)
        return super().torch_mask_tokens(inputs, spared)


def _collator(part: Round, tokenizer: PreTrainedTokenizerFast, seed: int) -> DataCollatorForLanguageModeling:
    if not part.mask:
        return DataCollatorForLanguageModeling(tokenizer, mlm=False)
    return SeededMasking(tokenizer, part.mask, part.hidden, mlm=True, seed=seed)
