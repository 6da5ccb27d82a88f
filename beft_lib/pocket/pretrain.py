"""Pretraining of the pocket models with a plain ``transformers.Trainer``."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
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

from ..errors import BeftError
from ..files import write_text_whole
from .corpus import EVERY, Rows, Stage, make_rows, training_rows
from .tokenizer import STYLES, make_tokenizer

WIDTH, LAYERS, HEADS = 160, 4, 5
# Standard deviation of weights at the start: larger where the norm comes before a layer's attention than where after.
SPREAD = {"bert": 0.05, "roberta": 0.05, "opt": 0.1, "llama": 0.1}
# How often a word is hidden, as a multiple of a round's mask: words that hold a sentence together less often than the
# others, words that answer more often.
FRAME = (
    "a an the is was are of in and with that so does this mean do have has not can we infer suppose or by near "
    'title context question answer passage word same meaning these two sentences other words how many . , : ? " \n'
).split(" ")
VERDICT = "great terrible true false yes no maybe right wrong".split(" ")
HIDDEN = dict.fromkeys(FRAME, 1 / 3) | dict.fromkeys(VERDICT, 2.0)
HIDDEN_LATER = dict.fromkeys(FRAME, 1 / 3) | dict.fromkeys([*VERDICT, *"012345"], 4.0)
NEXT_SENTENCE = 0.1  # weight of BERT's second question; with 1, a short trial learned the first one more slowly


@dataclass(frozen=True)
class Recipe:
    """One pocket model: its family, and how long and how it is trained.

    Attributes:
        first: kinds of text that come first, and how many of each. What is rare in the mixture is then learned soon (to
            look things up; which words praise and which blame), and used later.
        texts: how many texts of every kind follow; each is seen once.
        later: stages of a second round, of the same shape as ``first`` (``EVERY`` is a text of every kind): what is
            compared is learned once things can be looked up. A round has its own schedule.
        batch: rows a step, in the first round and in the second.
        learning_rate: peak of a schedule with 5 % warm-up and linear decay to zero, for embeddings, norms and biases
            (AdamW).
        matrix_rate: the same for the matrices of the layers (Muon).
        mask: share of the words that is hidden in the first round (masked models); ``HIDDEN`` says of which words more.
    """

    name: str
    style: str
    texts: int
    batch: int
    learning_rate: float
    first: tuple[tuple[str, int], ...] = ()
    mask: float = 0.0
    matrix_rate: float = 5e-3
    seed: int = 0
    validation_texts: int = 300
    later: tuple[Stage, ...] = ()
    later_batch: int = 64
    later_mask: float = 0.15  # what is compared has to be seen

    @property
    def rounds(self) -> list[Round]:
        every = ((EVERY, self.texts),)
        stages = (self.first, every) if self.first else (every,)
        rounds = [Round(stages, f"train/{self.seed}", self.batch, self.mask, HIDDEN)]
        if self.later:
            seed = f"train/{self.seed}/later"
            rounds.append(Round(self.later, seed, self.later_batch, self.later_mask, HIDDEN_LATER))
        return rounds


@dataclass(frozen=True)
class Round:
    """One run of the Trainer: what is read in which order, the seed of the texts, rows a step, what is hidden."""

    stages: tuple[Stage, ...]
    seed: str
    batch: int
    mask: float
    hidden: Mapping[str, float]


MASKED_FIRST = (("recap", 40_000), ("review", 20_000))
MASKED_LATER = (
    (("pairs", 60_000), ("checked", 60_000), (EVERY, 12_000)),
    (("compared", 20_000), ("cued", 20_000), ("checked", 25_000), ("pairs", 15_000), (EVERY, 15_000)),
    ((EVERY, 50_000), ("compared", 4_000), ("cued", 4_000), ("checked", 8_000)),
)
RECIPES: dict[str, Recipe] = {
    row.name: row
    for row in (
        Recipe("pocket-bert", "bert", 170_000, 32, 1e-3, MASKED_FIRST, 0.3, 2.5e-3, later=MASKED_LATER),
        Recipe("pocket-roberta", "roberta", 170_000, 32, 1e-3, MASKED_FIRST, 0.3, 2.5e-3, later=MASKED_LATER),
        Recipe("pocket-opt", "opt", 340_000, 32, 2e-3, (("recap", 60_000),)),
        Recipe("pocket-llama", "llama", 140_000, 32, 2e-3, (("recap", 60_000),)),
    )
}


def make_model(style: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """An untrained model of a family. No dropout: every text is seen once.

    Stock classes, but weights are drawn wider than usual (.02), and learned positions begin as sines: a narrow
    model that begins with nearly even attention takes very long to find out that it can look things up (seen in short
    trials on recaps, of which no results are kept). Where the norm comes after (BERT, RoBERTa), a layer starts as the
    identity: what it adds is zero.
    """
    model = _architecture(style, tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "position" in name:
                parameter.copy_(SPREAD[style] * math.sqrt(2) * _sines(*parameter.shape))
            elif name.endswith("output.dense.weight"):
                parameter.zero_()
            elif parameter.ndim == 2:
                parameter.normal_(std=SPREAD[style])
    return model


def _sines(n: int, d: int) -> Tensor:
    """Sines and cosines of n positions at d/2 frequencies, (n, d): Vaswani and others, section 3.5."""
    angle = torch.arange(n)[:, None] * torch.exp(-math.log(1000.0) * torch.arange(0, d, 2) / d)  # (n, d/2)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def _architecture(style: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
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


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for the matrices inside the layers, AdamW for the rest, as one optimizer that a Trainer takes.

    Muon (Jordan and others, 2024; in torch since 2.9) orthogonalizes the momentum of a matrix. In short trials on
    recaps, of which no results are kept, it needed far fewer tokens than AdamW for the same loss.
    """

    def __init__(self, model: nn.Module, rate: float, matrix_rate: float, weight_decay: float = 0.01):
        if not hasattr(torch.optim, "Muon"):
            raise BeftError(
                f"torch {torch.__version__} has no torch.optim.Muon, which pretrains the pocket models; "
                "expected torch 2.9 or newer. The models that ship with the course need no such thing."
            )
        matrices, others = [], []
        for name, parameter in model.named_parameters():
            (matrices if ".layer" in name and parameter.ndim == 2 else others).append(parameter)
        self._parts = (
            torch.optim.Muon(
                matrices, lr=matrix_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), eps=1e-6, weight_decay=weight_decay),
        )
        super().__init__([*matrices, *others], {})
        self.param_groups = [group for part in self._parts for group in part.param_groups]  # a schedule writes here

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self._parts for group in part.param_groups]


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
        args=_arguments(recipe, part.batch, folder),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=_collator(part, tokenizer, recipe.seed),
        processing_class=tokenizer,
        callbacks=[clock := _Clock(folder, minutes, log)],
        optimizers=(MuonAndAdamW(model, recipe.learning_rate, recipe.matrix_rate), None),
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


def _arguments(recipe: Recipe, batch: int, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
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
