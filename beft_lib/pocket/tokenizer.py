"""The pocket tokenizers: every word of the world is one token; anything else is spelt in letters.

They are ordinary ``tokenizers`` pipelines (lower-casing, splitting at spaces and punctuation, WordPiece) wrapped as
``PreTrainedTokenizerFast``. The four model families differ only in their special tokens, as the real ones do.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from .texts import texts


@dataclass(frozen=True)
class Style:
    """A family's special tokens, in the order of their ids, and how they frame a text and a pair."""

    specials: tuple[str, ...]
    roles: dict[str, str]
    single: str
    pair: str
    keeps_newlines: bool
    positions: int  # the longest input, special tokens included


_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_BERT_ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_ROBERTA_ROLES = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_OPT_ROLES = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
_LLAMA_ROLES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

STYLES = {
    "bert": Style(_BERT, _BERT_ROLES, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", False, 256),
    "roberta": Style(_FAIRSEQ, _ROBERTA_ROLES, "<s> $A </s>", "<s> $A </s> </s> $B </s>", True, 256),
    "opt": Style(_FAIRSEQ, _OPT_ROLES, "</s> $A", "</s> $A $B", True, 256),  # like OPT's: it opens with </s>
    "llama": Style(_FAIRSEQ, _LLAMA_ROLES, "<s> $A", "<s> $A $B", True, 256),
}


@lru_cache(maxsize=1)
def words() -> tuple[str, ...]:
    """Every token of the world, sorted: those of a corpus long enough to hold them all (a test checks that)."""
    found = {token for text, _ in texts("vocabulary", 12_000) for token in text.split(" ")}
    return tuple(sorted(found | set(string.digits)))


def vocabulary(style: str) -> dict[str, int]:
    """Token to id: special tokens, the words, then the letters that spell anything else."""
    kind = STYLES[style]
    letters = [letter for letter in string.ascii_lowercase if letter not in words()]
    tails = ["##" + character for character in string.ascii_lowercase + string.digits]
    tokens = [*kind.specials, *(w for w in words() if kind.keeps_newlines or w != "\n"), *letters, *tails]
    return {token: number for number, token in enumerate(tokens)}


def make_tokenizer(style: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a family, from nothing."""
    kind, ids = STYLES[style], vocabulary(style)
    unknown = kind.roles["unk_token"]
    tokenizer = Tokenizer(
        WordPiece(ids, unk_token=unknown, continuing_subword_prefix="##", max_input_chars_per_word=40)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    blank = r"[ \t\r]+" if kind.keeps_newlines else r"\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(blank), "removed"),
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    special = [(token, ids[token]) for token in sorted({w.split(":")[0] for w in kind.pair.split()} - {"$A", "$B"})]
    tokenizer.post_processor = TemplateProcessing(single=kind.single, pair=kind.pair, special_tokens=special)
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if style == "bert" else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=kind.positions,
        model_input_names=inputs,
        clean_up_tokenization_spaces=False,
        **kind.roles,
    )


def encode(text: str, ids: dict[str, int]) -> list[int]:
    """A text in token form as ids, without special tokens: the tokenizer's answer, by plain look-up."""
    return [ids[token] for token in text.split(" ") if token in ids]  # BERT has no newline: it is a blank to it
