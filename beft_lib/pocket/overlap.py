"""How much of the tasks' validation files stands word by word in the texts that the models were pretrained on."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..errors import UnknownName
from .corpus import corpora
from .recipes import RECIPES
from .tasks import SIZES, TASKS, examples
from .texts import texts


def overlap(model: str) -> dict[str, float]:
    """Share of each task's validation examples whose texts all stand, word by word, in one text that a model read.

    Raises UnknownName for a model that has no recipe.
    """
    if model not in RECIPES:
        raise UnknownName("pocket model", model, RECIPES)
    rounds = (corpora(part.seed, part.stages) for part in RECIPES[model].rounds)
    return share_of(text for stages in rounds for stage in stages for corpus in stage for text, _ in texts(*corpus))


def share_of(read: Iterable[str]) -> dict[str, float]:
    """The same for any texts in token form."""
    wanted: dict[str, set[tuple[str, int]]] = defaultdict(set)  # first sentence of an example: which examples
    parts: dict[tuple[str, int], list[str]] = {}
    for task in TASKS:
        for number, example in enumerate(examples(task, "validation", SIZES["validation"], set())):
            parts[task, number] = [f" {text} " for text in example.texts]
            wanted[next(_sentences(example.texts[0]))].add((task, number))
    found: set[tuple[str, int]] = set()
    for text in read:
        whole = f" {text.replace(chr(10) + ' ', '')} "  # where a line ends is no matter
        candidates = {key for sentence in _sentences(text) for key in wanted.get(sentence, ())} - found
        found |= {key for key in candidates if all(part in whole for part in parts[key])}
    return {task: sum(key[0] == task for key in found) / SIZES["validation"] for task in TASKS}


def _sentences(text: str) -> Iterator[str]:
    """The sentences of a text in token form, without what a prompt puts before them."""
    for piece in re.split(r"(?<= [.?]) | ?\n ?| : ", text):
        if piece:
            yield re.sub(r'^(" |suppose )', "", piece)
