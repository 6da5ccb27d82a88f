"""The shipped English data: balanced, varied, without near-duplicates, and not to be solved by a shortcut."""

from functools import cache

import pytest

from beft_lib import mini
from beft_lib.results import shipped_rows
from beft_lib.runtime import data_folder
from beft_lib.tasks import TASKS

SIZES = {"cb": (200, 100), "stsb": (500, 200)}  # the others: 300 and 200; the value bias's curve on stsb still climbed
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
    assert figures(name)["of two sentences"] < 0.6  # a pair can be new where one of its sentences is not
    assert figures(name)["commonest frame"] <= 3


def test_wic_has_many_target_words():
    task = mini.whole("wic")
    assert len({*task.train["word"], *task.validation["word"]}) >= 60


@pytest.mark.parametrize("name", mini.shipped())
def test_length_tells_next_to_nothing(name):
    assert figures(name)["shortcuts"]["length only"]["folds"] < CHANCE.get(name, 0.5) + (
        0.15 if name == "stsb" else 0.08
    )


@pytest.mark.parametrize(("name", "shortcut"), [key for key in MARGIN if key[0] in mini.shipped()])
def test_a_shortcut_stays_near_chance(name, shortcut):
    assert figures(name)["shortcuts"][shortcut]["folds"] < CHANCE.get(name, 0.5) + MARGIN[name, shortcut]


def test_the_card_of_stsb_says_what_the_command_prints():
    card = (data_folder() / "mini" / "stsb" / "README.md").read_text(encoding="utf-8").replace("-.", "-0.")
    found, told = figures("stsb"), card.replace(" .", " 0.")
    for name, achieved in found["shortcuts"].items():
        assert f"| {achieved['validation']:.3f} | {achieved['folds']:.3f} |" in told, name
    low, middle, high = found["words"]
    assert f"{low} to {high}, median {middle}" in told and f"among all: {found['distinct 4-grams']:.3f}" in told
    assert f"two pairs: {found['largest overlap']:.3f}; of two sentences from different pairs" in told
    assert f"different pairs: {found['of two sentences']:.3f}" in told and found["commonest frame"] == 2


def test_minilm_beside_the_shortcuts_tells_a_clear_lead_from_none():
    """In the task's own metric; held-out tries do not count."""
    seen = {"shortcuts": {"all words": {"folds": 0.9, "own metric": 0.1}, "length only": {"own metric": 0.0}}}
    seen |= {"validation": 100, "train": 300}
    row = {"method": "full", "task": "cola", "score": 0.4, "n_train": 300}
    tries = [{**row, "score": -1, "scored_on": "held-out part of train"}, {**row, "method": "value"}]
    tries += [{**row, "score": -1, "n_train": 100}]
    [line] = mini.beside_shortcuts({"cola": seen}, [row, row, *tries]).to_dict("records")
    assert (line["seeds"], line["metric"], line["it reaches"], line["clearly better"]) == (2, "matthews", 0.1, "yes")
    assert line["ahead by"] == pytest.approx(0.3)
    [line] = mini.beside_shortcuts({"cola": seen}, [{**row, "score": 0.29}]).to_dict("records")  # 2 / sqrt(100) above
    assert line["clearly better"] == "no"
    assert mini.beside_shortcuts({"cola": seen}, tries).empty
    longer = {**row, "changes": dict(mini.LONGER), "score": 0.9}
    [line] = mini.beside_shortcuts({"cola": seen}, [row, longer]).to_dict("records")  # stands beside, and is not pooled
    assert (line["seeds"], line["MiniLM"], line["clearly better"]) == (1, 0.4, "yes")
    assert (line["its seeds"], line["longer"], line["longer is"]) == (1, 0.9, "yes")


def test_minilm_is_tuned_on_all_of_train_and_its_curve_ends_there():
    grids = mini.tuning(["stsb", "cola"])
    whole = {name: len(mini.whole(name).train) for name in ("stsb", "cola")}
    full = {(grid.tasks[0], grid.n_train, len(grid.seeds)) for grid in grids if grid.methods == ("full",)}
    assert full == {(name, n, seeds) for name, n in whole.items() for seeds in (3, 1)}
    assert [len(grid.seeds) for grid in mini.tuning(["sst2"]) if grid.changes == mini.LONGER] == [3]  # NEAR
    assert [grid.n_train for grid in grids if grid.methods == ("value",)] == [100, 200, 287, whole["stsb"]]
    assert all((grid.changes == mini.LONGER and not grid.rates) == (len(grid.seeds) == 1) for grid in grids)


def test_the_learning_curve_has_a_column_a_size():
    rows = [{"method": "value", "task": "cb", "n_train": n, "score": n / 1000} for n in (200, 100, 100)]
    curve = mini.learning_curve([*rows, {**rows[0], "method": "full"}])
    assert list(curve.columns) == [100, 200] and curve.loc["cb", 100] == "0.100 ± 0.000"
    assert mini.learning_curve([]).empty


def test_the_shipped_figures_of_minilm_are_whole():
    """Three seeds of every task, and what the data cards say of them."""
    rows = shipped_rows(mini.TUNED)
    table = mini.beside_shortcuts({name: figures(name) for name in mini.shipped()}, rows).set_index("task")
    curve = mini.learning_curve(rows)
    assert table["seeds"].to_dict() == dict.fromkeys(mini.shipped(), len(mini.SEEDS))
    assert set(curve.index) == set(mini.CURVED) and (curve[[100, 200]] != "").all(axis=None)
    assert curve.loc["stsb", len(mini.whole("stsb").train)] != ""
    for name, line in table.iterrows():
        card = (data_folder() / "mini" / str(name) / "README.md").read_text(encoding="utf-8")
        reached = f"{line['MiniLM']:.3f} ± {line['±']:.3f}".replace("0.", ".")
        assert reached in card, f"the card of {name} does not say {reached}"
        best = f"The best shortcut ({line['best shortcut']}) reaches {line['it reaches']:.3f}".replace(" 0.", " .")
        assert best in card, f"the card of {name} does not say: {best}"
        assert ("tuning is clearly ahead" in card) == (line["clearly better"] == "yes")
        told = f"{line['longer']:.3f}" if line["its seeds"] == 1 else f"{line['longer']:.3f} ± {line['its ±']:.3f}"
        clear = "clearly ahead" if line["longer is"] == "yes" else "not clearly ahead"
        assert f"24 epochs at 1e-4 ({line['its seeds']} of the seeds): {told}, {clear}.".replace("0.", ".") in card
    for name, sizes in curve.iterrows():
        card = (data_folder() / "mini" / str(name) / "README.md").read_text(encoding="utf-8")
        assert all(f"{n}: {told}".replace("0.", ".") in card for n, told in sizes.items() if told)


def test_the_figures_can_fail():
    """The measures see what they are there to see: repeated frames, near-duplicates, a label that a word gives away."""
    assert mini.distinct_ngrams([["we", "saw", "the", "film"]] * 4) == 0.25
    same_frame = ["The film was not as good as the book", "The soup was not as warm as the day"]
    assert mini.commonest_frame([*same_frame, "A day like this comes once in a year", "No film", "No soup"]) == 2
    texts = ["a red house", "a red house stood", "nothing alike here"]
    assert mini.max_jaccard(texts) == 0.75 and mini.max_jaccard(texts, [0, 0, 1]) == 0.0
    task = mini.whole("sst2")
    given_away = task.train.map(
        lambda e: {"sentence": e["sentence"] + (" yes" if e["label"] else " no")}, load_from_cache_file=False
    )
    import dataclasses

    easy = dataclasses.replace(task, train=given_away, validation=given_away)
    assert mini.figures(easy)["shortcuts"]["all words"]["folds"] > 0.9
