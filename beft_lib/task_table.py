"""The tasks: one row each, with texts, labels, metrics, sizes and the paper's recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Where on the hub a task's parquet files may be: on main (None), or where the hub keeps those that it made itself of a
# data set that comes as a script.
CONVERTED = "refs/convert/parquet"
REVISIONS = (None, CONVERTED)


@dataclass(frozen=True)
class TaskRow:
    """One task.

    Attributes:
        name: ours, and the name of its folder.
        texts: one template for a single sentence, two for a pair, filled from the columns.
        labels: names in the order of their numbers; empty for regression and for free answers.
        metrics: keys of ``metrics.METRICS`` (free answers: ``answers.ANSWER_METRICS``); the first one decides.
        hub: id on the hub; ``subset`` its configuration; ``validation`` the split scored.
        sizes: training examples at low, medium, high data (paper, appendix).
        learning_rate: of the bias methods; ``epochs`` for a base model (paper, appendix).
        label_range: lowest and highest label of a regression.
        answers: where free text answers, the column (and the field in it) of the right ones.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    hub: str
    subset: str
    sizes: Mapping[str, int]
    learning_rate: float
    epochs: int
    validation: str = "validation"
    label_range: tuple[float, float] = (0.0, 0.0)
    answers: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The text columns, in the order of the templates."""
        return tuple(name for text in self.texts for name in re.findall(r"{(\w+)}", text))

    @property
    def regression(self) -> bool:
        return not self.labels and not self.answers


def _sizes(low: int, medium: int | None = None, high: int | None = None) -> dict[str, int]:
    return {name: n for name, n in (("low", low), ("medium", medium), ("high", high)) if n is not None}


_GLUE, _SUPER = "nyu-mll/glue", "aps/super_glue"
_PAIR = ("{sentence1}", "{sentence2}")
_ENTAILS = ("entailment", "not_entailment")

_ROWS = (
    TaskRow("cola", ("{sentence}",), ("unacceptable", "acceptable"), ("matthews",),
            _GLUE, "cola", _sizes(1710, 3420, 4275), 7e-4, 16),
    TaskRow("mnli", ("{premise}", "{hypothesis}"), ("entailment", "neutral", "contradiction"), ("accuracy",),
            _GLUE, "mnli", _sizes(1000, 5000, 9000), 1e-4, 30, validation="validation_matched"),
    TaskRow("mrpc", _PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1"),
            _GLUE, "mrpc", _sizes(367, 1191, 1835), 7e-4, 60),
    TaskRow("qnli", ("{question}", "{sentence}"), _ENTAILS, ("accuracy",),
            _GLUE, "qnli", _sizes(1000, 5000, 9000), 1e-4, 30),
    TaskRow("qqp", ("{question1}", "{question2}"), ("not_duplicate", "duplicate"), ("accuracy", "f1"),
            _GLUE, "qqp", _sizes(1000, 5000, 9000), 4e-4, 30),
    TaskRow("rte", _PAIR, _ENTAILS, ("accuracy",), _GLUE, "rte", _sizes(300, 900, 1200), 1e-3, 30),
    TaskRow("sst2", ("{sentence}",), ("negative", "positive"), ("accuracy",),
            _GLUE, "sst2", _sizes(1000, 5000, 11000), 4e-4, 16),
    TaskRow("stsb", _PAIR, (), ("spearman", "pearson"),
            _GLUE, "stsb", _sizes(287, 1150, 2300), 1e-4, 60, label_range=(0.0, 5.0)),
    TaskRow("cb", ("{premise}", "{hypothesis}"), ("entailment", "contradiction", "neutral"), ("macro_f1", "accuracy"),
            _SUPER, "cb", _sizes(250), 1e-3, 60),
    TaskRow("wic", ("{word}: {sentence1}", "{sentence2}"), ("different", "same"), ("accuracy",),
            _SUPER, "wic", _sizes(1000), 1e-3, 16),
    TaskRow("squad", ("{title}: {question}", "{context}"), (), ("squad_f1", "squad_exact"),
            "rajpurkar/squad", "plain_text", _sizes(1000), 1e-3, 5, answers="answers.text"),
    TaskRow("drop", ("{question}", "{passage}"), (), ("drop_f1", "drop_exact"),
            "ucinlp/drop", "default", _sizes(1000), 1e-3, 5, answers="answers_spans.spans"),
)  # fmt: skip

TASKS: dict[str, TaskRow] = {row.name: row for row in _ROWS}
