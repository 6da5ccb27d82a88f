"""The pocket corpus as rows of ids, ready for a Trainer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from .texts import texts
from .tokenizer import STYLES, encode, vocabulary

Row = dict[str, Any]
Stage = Sequence[tuple[str, int]]  # kinds of text, and how many of each
EVERY = "every"  # the kind of a text whose kind is drawn as the corpus mixes them


class Rows(Dataset):  # type: ignore[type-arg]
    """Rows in memory; ``text_tokens`` and ``nats`` are what they hold, for comparison with a loss."""

    def __init__(self, rows: list[Row], text_tokens: int, nats: float):
        self.rows, self.text_tokens, self.nats = rows, text_tokens, nats

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


def make_rows(style: str, seed: str, n_texts: int, kind: str | None = None) -> Rows:
    """n texts of the corpus ``seed`` (of one kind, or of all) as rows for one family of models."""
    ids = vocabulary(style)
    encoded, nats = [], 0.0
    for text, information in texts(seed, n_texts, kind):
        encoded.append(encode(text, ids))
        nats += information
    order = random.Random(f"{seed}/rows")
    rows = _FRAME[style](encoded, ids, order, STYLES[style].positions)
    return Rows(rows, sum(map(len, encoded)), nats)


def _bert(encoded: Sequence[list[int]], ids: dict[str, int], order: random.Random, longest: int) -> list[Row]:
    """One text a row, as BERT was pretrained: two segments, and whether the second is the text's own.

    A fifth stay in one piece (no question asked), a tenth end in another text (there little can be looked up), the rest
    are cut between two sentences.
    """
    cls, sep, ends = ids["[CLS]"], ids["[SEP]"], {ids["."], ids["?"]}
    cuts = [[i + 1 for i, token in enumerate(text[:-1]) if token in ends] for text in encoded]
    rows = []
    for i, text in enumerate(encoded):
        draw, one, two, own = order.random(), text, [], -100
        if cuts[i] and draw >= 0.2:
            cut = cuts[i][int(order.random() * len(cuts[i]))]
            one, two, own = text[:cut], text[cut:], 0  # BertForPreTraining: 0 is the real next segment
            j = (i + 1) % len(encoded)
            if draw >= 0.9 and cuts[j]:
                other = encoded[j][cuts[j][int(order.random() * len(cuts[j]))] :]
                if len(one) + len(other) + 3 <= longest:
                    two, own = other, 1
        tail = [*two, sep] if two else []
        rows.append(
            {
                "input_ids": [cls, *one, sep, *tail],
                "token_type_ids": [0] * (len(one) + 2) + [1] * len(tail),
                "next_sentence_label": own,
            }
        )
    return rows


def _roberta(encoded: Sequence[list[int]], ids: dict[str, int], order: random.Random, longest: int) -> list[Row]:
    """One text a row; half of them in two pieces, framed like a pair, so that ``</s></s>`` is no news to the tasks."""
    start, end, ends = ids["<s>"], ids["</s>"], {ids["."], ids["?"], ids["\n"]}
    rows = []
    for text in encoded:
        cuts = [i + 1 for i, token in enumerate(text[:-1]) if token in ends]
        middle: list[int] = []
        cut = len(text)
        if cuts and order.random() < 0.5 and len(text) + 4 <= longest:
            cut, middle = cuts[int(order.random() * len(cuts))], [end, end]
        rows.append({"input_ids": [start, *text[:cut], *middle, *text[cut:], end]})
    return rows


def _causal(opening: str, closing: str) -> Callable[..., list[Row]]:
    """One text a row, between the token that opens a text and the one that ends it."""

    def frame(encoded: Sequence[list[int]], ids: dict[str, int], order: random.Random, longest: int) -> list[Row]:
        return [{"input_ids": [ids[opening], *text, ids[closing]]} for text in encoded]

    return frame


def training_rows(style: str, seed: str, stages: Sequence[Stage], batch: int) -> Rows:
    """A curriculum: stages, each with so many texts of some kinds, shuffled, in the order in which they come."""
    order = random.Random(f"{seed}/order")
    made = [[make_rows(style, *corpus) for corpus in stage] for stage in corpora(seed, stages)]
    rows = [row for some in made for row in _ordered([row for part in some for row in part.rows], batch, order)]
    parts = [part for some in made for part in some]
    return Rows(rows, sum(part.text_tokens for part in parts), sum(part.nats for part in parts))


def corpora(seed: str, stages: Sequence[Stage]) -> list[list[tuple[str, int, str | None]]]:
    """Every stage's corpora: (seed, n, kind or None for the mixture), as ``make_rows`` and ``texts`` take them.

    The texts of every kind have the corpus ``seed`` itself, those of another kind one of their own; where a kind comes
    again in stage i, it is with other texts.
    """
    read: set[str] = set()
    made = []
    for i, stage in enumerate(stages):
        some = []
        for kind, n in stage:
            own = seed if kind == EVERY else f"{seed}/{kind}s"
            some.append((f"{own}/{i}" if kind in read else own, n, None if kind == EVERY else kind))
            read.add(kind)
        made.append(some)
    return made


def _ordered(rows: list[Row], batch: int, order: random.Random) -> list[Row]:
    """Shuffled, in batches of about one length: little is padding."""
    rows = order.sample(rows, len(rows))
    pool = 50 * batch
    batches = []
    for start in range(0, len(rows), pool):
        alike = sorted(rows[start : start + pool], key=lambda row: len(row["input_ids"]))
        made = [alike[i : i + batch] for i in range(0, len(alike), batch)]
        batches += order.sample(made, len(made))
    return [row for one in batches for row in one]


_FRAME: dict[str, Callable[..., list[Row]]] = {
    "bert": _bert,
    "roberta": _roberta,
    "opt": _causal("</s>", "</s>"),  # it both opens and ends, as in OPT
    "llama": _causal("<s>", "</s>"),
}
