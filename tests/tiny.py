"""Tiny random models of every family in the table, and a small task: no downloads, milliseconds to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerFast

from beft_lib.architectures import FAMILIES, TERMS
from beft_lib.biases import find_biases
from beft_lib.verify import SIZES, tiny_model

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("good bad fine poor film food book was is not very the a and but slow quick dull bright he she they it "
         "saw found lost tall small red blue house dog cat . , ?").split()  # fmt: skip


def config(model_type: str, **changes: Any) -> Any:
    sizes = {**SIZES, **FAMILIES[model_type].tiny, "vocab_size": len(SPECIAL) + len(WORDS)}
    return AutoConfig.for_model(model_type, **{**sizes, **changes})


def model(model_type: str, seed: int = 0, head: bool = True, **changes: Any) -> PreTrainedModel:
    """A random model in eval mode that has q, k and v biases, none of them zero, as in any pretrained model."""
    if head:
        sizes = {"vocab_size": len(SPECIAL) + len(WORDS), **changes}
        return tiny_model(model_type, seed, torch.float32, **sizes)  # type: ignore[return-value]
    torch.manual_seed(seed)
    made = AutoModel.from_config(config(model_type, **changes))
    with torch.no_grad():
        for bias in find_biases(made, TERMS).values():
            for part in bias.parts:
                part.module.bias.normal_(std=0.5)
    return made.eval()


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()  # type: ignore[assignment]
    raw.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    raw.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip


def save(folder: Path, model_type: str = "bert", seed: int = 0) -> Path:
    """A whole model folder (base model without a head, and its tokenizer), as from the hub."""
    made = model(model_type, seed, head=False)
    made.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_task(folder: Path, n: int = 48) -> Path:
    """sst2-like files that a tiny model can learn: "good" and "fine" are positive, "bad" and "poor" negative."""
    import csv
    import random

    draw = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", n), ("validation", n // 2)):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["sentence", "label"])
            for number in range(count):
                label = number % 2
                word = draw.choice(["good", "fine"] if label else ["bad", "poor"])
                rest = draw.choices(
                    ["the film", "the food", "a book", "very slow", "quick and bright", "she saw it"], k=2
                )
                rows.writerow([f"{rest[0]} was {word} , {rest[1]} .", label])
    return folder
