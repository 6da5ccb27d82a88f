"""The drawing of attention: all three biases, in their colours, where they enter; told as it is drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import same_color

from beft_lib.architectures import TERMS
from beft_lib.display import descriptions
from beft_lib.plots import LOOKS
from beft_lib.plots_biases import BOXES, DOES, ENTERS, attention_drawing


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("effects", [False, True])
def test_it_is_told_and_fits_the_page(effects: bool) -> None:
    axes = attention_drawing(effects)
    (told,) = descriptions(axes)
    assert all(ENTERS[term] in told.alt and (DOES[term] in told.alt) is effects for term in TERMS)
    assert list(told.table.index) == list(TERMS) and told.table.shape[1] == 1 + effects
    assert 90 * axes.get_figure(root=True).get_size_inches()[0] <= 720


@pytest.mark.parametrize("effects", [False, True])
def test_no_word_leaves_the_picture_or_its_box(effects: bool) -> None:
    axes = attention_drawing(effects)
    figure = axes.get_figure(root=True)
    figure.canvas.draw()
    for text in axes.texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0, text.get_text()
    words = {text.get_text(): text for text in axes.texts}
    for box in BOXES.values():
        if box.text in words:
            inside = words[box.text].get_window_extent().transformed(axes.transData.inverted())
            assert inside.width <= box.wide, box.text


def test_the_notes_of_what_each_can_do_stand_apart() -> None:
    axes = attention_drawing(effects=True)
    axes.get_figure(root=True).canvas.draw()
    shown = [text.get_window_extent() for text in axes.texts if text.get_text()]
    for i, a in enumerate(shown):
        assert not any(a.overlaps(b) for b in shown[i + 1 :])


def test_the_colours_are_those_of_the_terms() -> None:
    edges = [patch.get_edgecolor() for patch in attention_drawing().patches if patch.get_linewidth() > 2]
    assert len(edges) == 3 and all(same_color(e, LOOKS[t].color) for e, t in zip(edges, TERMS, strict=True))


def test_with_effects_the_lines_differ_in_more_than_colour() -> None:
    lines = [line for line in attention_drawing(effects=True).lines if line.get_linestyle() != "None"]
    assert [line.get_linestyle() for line in lines] == [LOOKS[term].line for term in TERMS]
