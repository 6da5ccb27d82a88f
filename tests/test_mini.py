"""The shipped English data: balanced, varied, without near-duplicates, and not to be solved by a shortcut."""

from functools import cache

import pytest

from beft_lib import mini
from beft_lib.tasks import TASKS

SIZES = {"cb": (200, 100)}  # the others: 300 and 200
CHANCE = {"cb": 1 / 3, "stsb": 0.0}
# How far above chance a shortcut may come, over folds of all examples.
MARGIN = {
    ("rte", "sentence2 alone"): 0.08, ("cb", "hypothesis alone"): 0.08, ("wic", "sentence1 alone"): 0.07,
    ("wic", "sentence2 alone"): 0.07, ("cola", "all words"): 0.08,
}  # fmt: skip


@cache
def figures(name):
    return mini.figures(mini.whole(name))


@pytest.mark.parametrize("name", mini.shipped())
def test_sizes_and_balance(name):
    task = mini.whole(name)
    train, validation = SIZES.get(name, (300, 200))
    assert len(task.train) >= train and len(task.validation) >= validation
    for split in (task.train, task.validation):
        labels = list(split["label"])
        if TASKS[name].regression:
            bands = [sum(round(x) == band for x in labels) for band in range(6)]
            assert min(bands) > 0.6 * len(labels) / 6
        else:
            counts = [labels.count(label) for label in range(len(TASKS[name].labels))]
            assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("name", mini.shipped())
def test_varied_and_without_near_duplicates(name):
    assert figures(name)["distinct 4-grams"] >= 0.95
    assert figures(name)["largest overlap"] < 0.6


@pytest.mark.parametrize("name", mini.shipped())
def test_length_tells_next_to_nothing(name):
    assert figures(name)["shortcuts"]["length only"]["folds"] < CHANCE.get(name, 0.5) + (
        0.15 if name == "stsb" else 0.08
    )


@pytest.mark.parametrize(("name", "shortcut"), [key for key in MARGIN if key[0] in mini.shipped()])
def test_a_shortcut_stays_near_chance(name, shortcut):
    assert figures(name)["shortcuts"][shortcut]["folds"] < CHANCE.get(name, 0.5) + MARGIN[name, shortcut]


def test_the_figures_can_fail():
    """The measures see what they are there to see: repeated frames, near-duplicates, a label that a word gives away."""
    assert mini.distinct_ngrams([["we", "saw", "the", "film"]] * 4) == 0.25
    assert mini.max_jaccard(["a red house", "a red house stood", "nothing alike here"]) == 0.75
    task = mini.whole("sst2")
    given_away = task.train.map(
        lambda e: {"sentence": e["sentence"] + (" yes" if e["label"] else " no")}, load_from_cache_file=False
    )
    import dataclasses

    easy = dataclasses.replace(task, train=given_away, validation=given_away)
    assert mini.figures(easy)["shortcuts"]["all words"]["folds"] > 0.9
