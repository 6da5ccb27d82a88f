"""Pictures: every one has words and numbers, looks the same everywhere, and leaves matplotlib as it was."""

from __future__ import annotations

import base64
import struct

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes

from beft_lib import display, plots
from beft_lib.architectures import TERMS
from beft_lib.display import describe, descriptions, show, table_html, table_text
from beft_lib.errors import TrainingError
from beft_lib.methods import METHODS
from beft_lib.plots import LOOKS
from beft_lib.probing import ProbeResult
from beft_lib.recipe import Recipe
from beft_lib.runs import Counts
from beft_lib.scores import importance_per_layer, magnitude_per_layer

L, D, STEPS = 4, 8, 25


def a_probe(steps: int = STEPS) -> ProbeResult:
    """A probe of known movement: value furthest, and most in the last layer; key not at all."""
    torch.manual_seed(0)
    pre = {term: torch.randn(L, D, dtype=torch.float64) for term in TERMS}
    time = torch.arange(steps + 1)[:, None, None] / max(steps, 1)  # (S, 1, 1)
    depth = (torch.arange(L) + 1.0)[None, :, None] / L  # (1, L, 1)
    speed = {"query": 0.1, "key": 0.0, "value": 0.5}
    moved = {t: (speed[t] * time * depth * torch.randn(L, D)[None]).float() for t in TERMS}
    losses, counts = np.linspace(0.7, 0.3, steps), Counts(3 * L * D, 10, 1000)
    return ProbeResult("toy", "sst2", 0, pre, np.arange(steps + 1), moved, losses, counts, Recipe(1e-3, 1), 1.0, 0)


def some_runs(seeds: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"task": "sst2", "method": m, "seed": s, "metric": "accuracy", "score": rng.uniform(0.6, 0.8), "seconds": 3.0,
         "parameters_method": 12}
        for m in METHODS for s in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


PICTURES = {
    "scores_heatmap": lambda: plots.scores_heatmap(a_probe().table()),
    "scores_heatmap of magnitude": lambda: plots.scores_heatmap(a_probe().table(magnitude_per_layer), "magnitude"),
    "trajectory": lambda: plots.trajectory(a_probe()),
    "trajectory, log": lambda: plots.trajectory(a_probe(), magnitude_per_layer, log=True),
    "trajectory of one step": lambda: plots.trajectory(a_probe(1), log=True),
    "layers": lambda: plots.layers(a_probe()),
    "losses": lambda: plots.losses(a_probe()),
    "losses of two": lambda: plots.losses({"value": a_probe(), "head": a_probe(5)}),
    "runs": lambda: plots.runs(some_runs(), chance=0.5),
    "runs of one seed": lambda: plots.runs(some_runs(1)),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def published(monkeypatch):
    seen: list[tuple[dict, dict]] = []
    monkeypatch.setattr(display, "_publish", lambda data, metadata=None: seen.append((data, metadata or {})))
    return seen


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_alt_text_numbers_and_labelled_axes(name, published):
    axes = PICTURES[name]()
    assert isinstance(axes, Axes)
    (told,) = descriptions(axes)
    assert len(told.alt.split()) > 8 and told.alt.endswith(".")
    assert 0 < len(told.table) <= 12
    show(axes)
    (picture, metadata), (table, _) = published
    assert picture["text/plain"] == metadata["image/png"]["alt"] == told.alt
    assert table["text/html"].startswith("<details><summary>") and "<table" in table["text/html"]
    assert not plt.get_fignums(), "an open figure would be shown twice"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_sharp_at_twice_its_size(name, published):
    show(PICTURES[name]())
    data, metadata = published[0]
    width, height = struct.unpack(">II", base64.b64decode(data["image/png"])[16:24])
    assert width == pytest.approx(2 * metadata["image/png"]["width"], abs=2)
    assert height == pytest.approx(2 * metadata["image/png"]["height"], abs=2)
    assert metadata["image/png"]["width"] <= 720  # fits a page


@pytest.mark.parametrize("name", PICTURES)
def test_matplotlibs_own_settings_stay(name):
    before = dict(mpl.rcParams)
    PICTURES[name]()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("what", ["color", "marker", "line", "hatch"])
def test_the_three_terms_differ_in_everything(what):
    assert len({getattr(LOOKS[term], what) for term in TERMS}) == len(TERMS)


def test_every_method_has_a_look():
    assert set(METHODS) <= set(LOOKS)
    assert len({(look.color, look.marker) for look in LOOKS.values()}) == len(LOOKS)


def test_the_heat_map_writes_every_value_in_fixed_order():
    table = a_probe().table()
    axes = plots.scores_heatmap(table.loc[:, ["value", "key", "query"]])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["query bias", "key bias", "value bias"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["layer 0", "layer 1", "layer 2", "layer 3", "mean"]
    written = [t.get_text() for t in axes.texts]
    assert written == [plots.short(v) for v in table.loc[:, list(TERMS)].to_numpy().ravel()]


@pytest.mark.parametrize("plot", [plots.trajectory, plots.losses])
def test_a_run_without_a_step_is_refused(plot):
    with pytest.raises(TrainingError, match="before its first step"):
        plot(a_probe(0))


def test_what_is_written_in_a_cell_can_be_read():
    for value in np.linspace(0, 1, 50):
        paper = mpl.colormaps["cividis"](value)
        ink = {"black": (0, 0, 0), "white": (1, 1, 1)}[plots._ink(paper)]
        assert contrast(ink, paper) >= 4.5


def contrast(a, b):
    """WCAG's contrast of two colours, 1 to 21."""

    def luminance(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_alt_text_says_what_is_highest():
    told = descriptions(plots.scores_heatmap(a_probe().table()))[0]
    assert "Highest: value in layer" in told.alt


def test_two_pictures_in_one_figure_are_both_described(published):
    _, pair = plt.subplots(1, 2)
    for axes in pair:
        plots.trajectory(a_probe(), ax=axes)
    assert len(descriptions(pair[0])) == 2
    show(pair[0])
    assert published[1][0]["text/html"].count("<table") == 2


def test_outside_a_notebook_words_and_numbers_are_printed(capsys):
    show(plots.layers(a_probe()))
    printed = capsys.readouterr().out
    assert "Highest: value" in printed and "layer 3" in printed


def test_a_picture_of_ones_own_needs_no_description(published):
    _, axes = plt.subplots()
    show(axes, "A curve of mine")
    assert published[0][1]["image/png"]["alt"].startswith("A curve of mine.")
    assert len(published) == 1


def test_a_caption_leads_the_alt_text(published):
    _, axes = plt.subplots()
    show(describe(axes, "Two lines.", pd.DataFrame({"a": [1]})), "The first run")
    assert published[0][0]["text/plain"] == "The first run. Two lines."


def test_tables_are_shown_with_their_caption(published):
    show(pd.DataFrame({"n": [9216], "score": [0.58532]}), "Accuracy & co")
    html = published[0][0]["text/html"]
    assert ">Accuracy &amp; co</caption>" in html and "9,216" in html and "0.585" in html


@pytest.mark.parametrize(
    "values, written",
    [
        ([0.35, 0.0, 1e-7], ["0.350", "0", "1e-07"]),
        ([0.00571, 0.0001], ["0.00571", "0.00010"]),
        ([1.2e-7, 0.0], ["1.2e-07", "0"]),
        ([132.94, 6.1], ["133", "6"]),
        ([6.6642, 0.5], ["6.66", "0.50"]),
        ([12345.6, 2.0], ["12,346", "2"]),
        ([float("nan"), 0.5], ["–", "0.500"]),
        ([], []),
    ],
)
def test_the_numbers_of_a_column_are_written_alike(values, written):
    form = display.column_format(values)
    assert [form(value) for value in values] == written


def test_tables_keep_text_as_text():
    table = pd.DataFrame({"method": ["a<b"], "seconds": [1.5]})
    assert "a&lt;b" in table_html(table) and "a<b" in table_text(table)


def test_the_mean_line_is_the_mean_of_the_layers():
    probe = a_probe()
    table = descriptions(plots.trajectory(probe, importance_per_layer))[0].table
    assert table["value"].iloc[-1] == pytest.approx(dict(probe.ranking())["value"])
    assert table.index[0] == 0 and table.index[-1] == STEPS


def test_a_table_puts_words_at_the_left_and_escapes_them():
    table = pd.DataFrame({"said": ["a < b", "fine"], "n": [1, 20000], "p": [0.25, 1e-7]}, index=pd.Index(["x&y", "z"]))
    html = display.table_html(table.rename_axis("row"))
    assert html.count('text-align: left">') == 3  # two cells and their head
    assert "a &lt; b" in html and "x&amp;y" in html
    assert "<th>row</th>" in html and html.count("<tr") == 3  # the index's name takes no line of its own
    assert "20,000" in html and "1e-07" in html
    turned = display.table_html(table[["n", "p"]].T)  # which holds objects
    assert "20,000" in turned and "text-align: left" not in turned
    several = display.table_html(table.set_index(["said", "n"]))
    assert "a &lt; b" in several and ">said<" in several
    lists = display.table_html(pd.DataFrame({"right": [["<b>", "c"], ["d"]]}))  # as SQuAD's answers
    assert "<b>" not in lists and "&lt;b&gt;" in lists


def test_sentences_are_said_as_a_list(capsys):
    display.say(["One.", "Two."])
    assert capsys.readouterr().out == "- One.\n- Two.\n"
