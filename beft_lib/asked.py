"""One prompt as the model reads it, and what it makes of the answers: what the playground of lesson 06 shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .demonstrations import Ids, answer_ids, candidate_ids, encode_prompts, padding_id
from .models import context_of, load_tokenizer
from .prompting import generate, score
from .tasks import Task


@dataclass(frozen=True)
class Asked:
    """One prompt as the model reads it, and what it makes of the answers.

    Attributes:
        pieces: the text of each token; the first ``before`` of them are demonstrations.
        asked, shown: demonstrations wanted, and how many fitted into ``room`` tokens.
        lost: tokens that a question longer than that lost at its beginning.
        answers: answer to mean log-probability of its tokens; where the answer is free, what the model says and what
            would have been right.
        right: the right answer, a key of ``answers``.
    """

    pieces: list[str] = field(repr=False)
    before: int
    room: int
    asked: int
    shown: int
    lost: int
    answers: dict[str, float]
    right: str

    @property
    def likeliest(self) -> str:
        return max(self.answers, key=self.answers.__getitem__)

    @property
    def size(self) -> str:
        return f"{len(self.pieces)} tokens, {self.shown} of {self.asked} demonstrations"

    @property
    def fitted(self) -> str:
        """What had to give way, in a sentence."""
        if self.lost:
            return f"The question is too long: its first {self.lost} tokens were cut off."
        if self.shown < self.asked:
            return f"{self.asked - self.shown} of {self.asked} demonstrations did not fit and were left out."
        return "Everything fitted."

    @property
    def numbers(self) -> dict[str, str]:
        told = {
            "tokens": f"{len(self.pieces)} of {self.room} that fit ({self.before} in demonstrations)",
            "demonstrations": f"{self.shown} of {self.asked}",
            "left out": self.fitted,
        }
        return told | {
            f"log p of {answer!r}": f"{value:.2f}{self._mark(answer)}" for answer, value in self.answers.items()
        }

    def _mark(self, answer: str) -> str:
        marks = [word for word, is_so in (("likeliest", self.likeliest), ("right", self.right)) if answer == is_so]
        return f" ({', '.join(marks)})" if marks else ""


def look(model: nn.Module, task: Task, example: int, shots: int, seed: int = 0, tokenizer: Any = None) -> Asked:
    """Ask one validation example, exactly as ``ask(model, task, shots=shots, seed=seed)`` does."""
    assert task.prompt is not None
    tokenizer = tokenizer or load_tokenizer(model)
    one, prompt = task.validation.select([example]), task.prompt
    choices = candidate_ids(task, tokenizer, one[0]) if prompt.answers else []
    length = context_of(model, tokenizer, prompt.max_length)
    room = length - (max(map(len, choices)) if choices else prompt.max_new)
    found = encode_prompts(task, one, tokenizer, room, min(shots, len(task.train)), seed, first=example)
    (ids,), shown = found.ids, round(found.shots)
    question: Ids = tokenizer(prompt.ask(one[0]), verbose=False)["input_ids"]
    right = prompt.answer(one[0])
    answers = list(prompt.candidates(one[0]))
    if not choices:
        (said,) = generate(model, [ids], tokenizer, prompt.stop, prompt.max_new)
        answers = [right, f" {said}{prompt.stop}"]
        choices = [answer_ids(answer, tokenizer) for answer in answers]
        if choices[0] == choices[1]:  # the same to the model, if not in capitals
            answers, choices = answers[:1], choices[:1]
    values = score(model, [ids], choices, padding_id(tokenizer))[0]
    pieces = [tokenizer.decode([number]) for number in ids]
    marks = len(question) - len(answer_ids(prompt.ask(one[0]), tokenizer))  # of the beginning of a text
    before = max(0, len(ids) - len(question)) + marks if shown else 0
    named = dict(zip((answer.strip() for answer in answers), map(float, values), strict=True))
    return Asked(pieces, before, room, shots, shown, max(0, len(question) - room), named, right.strip())
