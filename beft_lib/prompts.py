"""How a language model is asked: one row a task, in the words of MeZO's templates, which the paper uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any


@dataclass(frozen=True)
class Prompt:
    """One task put into words.

    Attributes:
        template: filled from the columns of an example; the answer follows it directly.
        answers: what may follow, in the order of the labels, blank included; empty where the answer is free text. Each
            is a template as well, so that an example may bring its own options (" {option1}").
        metrics: keys of ``metrics.METRICS``, or of ``answers.ANSWER_METRICS`` for free text; the first one decides.
        n_train, n_validation: examples, at most (paper: 1,000 each, cb 250).
        learning_rate, max_length, epochs, batch_size, schedule: the paper's recipe for OPT.
        separator: between demonstrations, and before the question.
        stop: a free answer ends before it; ``max_new`` tokens at most.
    """

    template: str
    answers: tuple[str, ...]
    metrics: tuple[str, ...]
    n_train: int = 1000
    n_validation: int = 1000
    learning_rate: float = 1e-3
    max_length: int = 2048
    epochs: float = 5
    batch_size: int = 8
    schedule: str = "linear"
    separator: str = "\n\n"
    stop: str = "\n"
    max_new: int = 50

    def ask(self, example: Mapping[str, Any]) -> str:
        """The prompt of one example, without its answer."""
        return self.template.format_map(example)

    def answer(self, example: Mapping[str, Any]) -> str:
        """The right answer as it follows the prompt; of several free ones the first, with the stop behind it."""
        label = example["label"]
        return self.candidates(example)[label] if self.answers else f" {label[0]}{self.stop}"

    def candidates(self, example: Mapping[str, Any]) -> tuple[str, ...]:
        """What may follow the prompt of this example, in the order of the labels."""
        return tuple(answer.format_map(example) for answer in self.answers)

    @property
    def varies(self) -> bool:
        """Whether every example has candidates of its own."""
        return any(column for answer in self.answers for _, column, _, _ in Formatter().parse(answer))

    @property
    def recipe(self) -> dict[str, Any]:
        """The fields of ``recipe.Recipe`` that differ from its defaults."""
        names = ("learning_rate", "epochs", "batch_size", "schedule", "max_length")
        return {name: getattr(self, name) for name in names}


PROMPTS: dict[str, Prompt] = {
    "sst2": Prompt("{sentence} It was", (" terrible", " great"), ("accuracy",)),
    "rte": Prompt('{sentence1}\nDoes this mean that "{sentence2}" is true? Yes or No?\n', ("Yes", "No"), ("accuracy",)),
    "cb": Prompt('Suppose {premise} Can we infer that "{hypothesis}"? Yes, No, or Maybe?\n', ("Yes", "No", "Maybe"),
                 ("accuracy", "macro_f1"), n_train=250, learning_rate=1e-2),
    "wic": Prompt('Does the word "{word}" have the same meaning in these two sentences? Yes, No?\n'
                  "{sentence1}\n{sentence2}\n", ("No", "Yes"), ("accuracy",)),
    "squad": Prompt("Title: {title}\nContext: {context}\nQuestion: {question}\nAnswer:", (),
                    ("squad_f1", "squad_exact")),
    "drop": Prompt("Passage: {passage}\nQuestion: {question}\nAnswer:", (), ("drop_f1", "drop_exact"), max_length=1536),
}  # fmt: skip
