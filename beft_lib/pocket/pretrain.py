"""Pretraining of the pocket models with a plain ``transformers.Trainer``."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import (
    BertConfig,
    BertForPreTraining,
    DataCollatorForLanguageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    RobertaConfig,
    RobertaForMaskedLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from ..files import write_text_whole
from .corpus import make_rows
from .tokenizer import STYLES, make_tokenizer

WIDTH, LAYERS, HEADS = 160, 4, 5


@dataclass(frozen=True)
class Recipe:
    """One pocket model: its family, and how long and how it is trained.

    Attributes:
        texts: how many texts of the corpus, each seen once.
        batch: rows a step.
        learning_rate: peak of a schedule with 5 % warm-up and linear decay to zero.
        mask: share of tokens hidden (masked models).
    """

    name: str
    style: str
    texts: int
    batch: int
    learning_rate: float
    mask: float = 0.0
    seed: int = 0
    validation_texts: int = 1_000


RECIPES: dict[str, Recipe] = {
    row.name: row
    for row in (
        Recipe("pocket-bert", "bert", 300_000, 32, 1.5e-3, mask=0.2),
        Recipe("pocket-roberta", "roberta", 300_000, 32, 1.5e-3, mask=0.2),
        Recipe("pocket-opt", "opt", 300_000, 12, 1.5e-3),
        Recipe("pocket-llama", "llama", 300_000, 12, 1.5e-3),
    )
}


def make_model(style: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """An untrained model of a family, stock initialisation. No dropout: every text is seen once."""
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "pad_token_id": tokenizer.pad_token_id,
    }
    positions = STYLES[style].positions
    if style in ("bert", "roberta"):
        size |= {"intermediate_size": 4 * WIDTH, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if style == "bert":
        return BertForPreTraining(BertConfig(**size, max_position_embeddings=positions))
    size |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if style == "roberta":  # positions are counted from pad_token_id + 1
        return RobertaForMaskedLM(RobertaConfig(**size, max_position_embeddings=positions + 2, type_vocab_size=1))
    if style == "opt":
        return OPTForCausalLM(
            OPTConfig(
                **size,
                word_embed_proj_dim=WIDTH,
                ffn_dim=4 * WIDTH,
                dropout=0.0,
                attention_dropout=0.0,
                max_position_embeddings=positions,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            **size, intermediate_size=8 * WIDTH // 3, max_position_embeddings=positions, tie_word_embeddings=True
        )
    )


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
        loss = (metrics or {}).get("eval_loss", math.nan)
        self._log(
            f"step {state.global_step:,} of {state.max_steps:,}: validation loss {loss:.4f}, {self.seconds / 60:.1f} minutes"
        )

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
    log(f"{recipe.name}: {model.num_parameters():,} parameters; writing {recipe.texts:,} texts")
    train = make_rows(recipe.style, f"train/{recipe.seed}", recipe.texts)
    validation = make_rows(recipe.style, "validation", recipe.validation_texts)
    log(f"{len(train):,} rows, {train.text_tokens:,} tokens; at most {train.nats / train.text_tokens:.4f} nats a token")
    trainer = Trainer(
        model=model,
        args=_arguments(recipe, checkpoints),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=_collator(recipe, tokenizer),
        processing_class=tokenizer,
        callbacks=[clock := _Clock(checkpoints, minutes, log)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=any(checkpoints.glob("checkpoint-*")) or None)
    if trainer.state.global_step < trainer.state.max_steps:
        log(f"{recipe.name}: stopped at step {trainer.state.global_step:,} of {trainer.state.max_steps:,}")
        return None
    model.float().eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is written for its owner alone
    return {
        "recipe": recipe.__dict__,
        "parameters": model.num_parameters(),
        "train_tokens": train.text_tokens,
        "seconds": round(clock.seconds),
        "log": trainer.state.log_history,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def _arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        warmup_steps=0.05,  # below 1 it is a share of all steps
        lr_scheduler_type="linear",
        weight_decay=0.01,
        adam_beta2=0.98,
        adam_epsilon=1e-6,
        max_grad_norm=1.0,
        train_sampling_strategy="group_by_length",
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        logging_steps=100,
        eval_strategy="steps",
        eval_steps=1000,
        save_strategy="steps",
        save_steps=1000,
        save_total_limit=1,
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=False,
        label_names=["labels", "next_sentence_label"] if recipe.style == "bert" else ["labels"],
    )


class SeededMasking(DataCollatorForLanguageModeling):
    """Stock masking, drawn from a seed that the batch itself gives: an interruption cannot change what is hidden."""

    def torch_mask_tokens(
        self, inputs: Tensor, special_tokens_mask: Any | None = None, offset_mapping: Any | None = None
    ) -> tuple[Tensor, Tensor]:
        self.generator = torch.Generator().manual_seed(zlib.crc32(inputs.numpy().tobytes()))
        special = torch.isin(inputs, torch.tensor(self.tokenizer.all_special_ids))  # (B, T), quicker than row by row
        return super().torch_mask_tokens(inputs, special)


def _collator(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> DataCollatorForLanguageModeling:
    if not recipe.mask:
        return DataCollatorForLanguageModeling(tokenizer, mlm=False)
    return SeededMasking(tokenizer, mlm=True, mlm_probability=recipe.mask, seed=recipe.seed)
