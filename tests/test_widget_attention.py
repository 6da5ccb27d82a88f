"""The attention widget: right numbers, the three rules in it, quick enough to drag, readable without widgets."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from beft_lib import widget_attention, widgets
from beft_lib.display import descriptions
from beft_lib.widget_attention import KEYS, QUERIES, TOKENS, VALUES, Biases, attention_explorer, head, numbers
from beft_lib.widgets import Touchable

ANY = (1.7, -0.9)
CORNERS = [
    Biases(q, k, v, r) for q in ((-2, -2), (2, 2)) for k in (ANY,) for v in ((-2, 2), (0, 0)) for r in (False, True)
]


def test_the_head_is_pytorchs() -> None:
    q, k, v = (torch.tensor(rows + ANY)[None] for rows in (QUERIES, KEYS, VALUES))
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v)[0].numpy()
    assert np.allclose(head(Biases(ANY, ANY, ANY))[1], theirs, atol=1e-12)


@pytest.mark.parametrize("rotary", [False, True])
def test_the_rules_of_the_three_biases(rotary: bool) -> None:
    def changed(**biases: tuple[float, float]) -> tuple[float, float, float]:
        weight, longest, differ = numbers(Biases(**biases, rotary=rotary)).values()
        return weight, longest, differ

    weight, longest, differ = changed(value=ANY)
    assert weight == 0 and longest == pytest.approx(np.hypot(*ANY)) and differ < 1e-12
    assert min(changed(query=ANY)) > 0.05
    assert (max(changed(key=ANY)) < 1e-12) is not rotary
    assert not rotary or min(changed(key=ANY)) > 0.05


def test_a_query_bias_can_turn_every_head_to_one_token() -> None:
    """What the lesson asks the learner to try is possible, and not so at the start."""
    cat = TOKENS.index("cat")
    assert head(Biases(query=(2.0, 0.2)))[0][:, cat].min() > 0.5 > head(Biases())[0][:, cat].min()


@pytest.mark.parametrize("biases", CORNERS)
def test_every_corner_can_be_drawn(biases: Biases) -> None:
    assert "nan" not in widget_attention._svg(biases).lower()
    left, right = descriptions(widget_attention.AttentionExplorer(biases).plot())
    assert "Attention map" in left.alt and "outputs" in right.alt and len(left.table) == len(TOKENS)
    assert ("with rotary" in right.alt) is biases.rotary


def test_moving_a_control_changes_picture_and_numbers_within_100_ms() -> None:
    pytest.importorskip("ipywidgets")
    controls, picture, table = attention_explorer().live().children
    *sliders, rotary, zero = controls.children
    assert [slider.description[:3] for slider in sliders] == ["b_q", "b_q", "b_k", "b_k", "b_v", "b_v"]
    still = picture.value
    sliders[2].value = 2.0
    assert "b_k (2, 0)" in picture.value and "0.000" in table.value
    rotary.value = True
    assert "with rotary positions" in picture.value
    zero.click()
    rotary.value = False
    assert picture.value == still
    taken = []
    for step in range(20):
        begun = time.perf_counter()
        sliders[0].value = step / 10
        taken.append(time.perf_counter() - begun)
    assert "b_q (1.9, 0)" in picture.value and picture.value != still
    assert sorted(taken)[len(taken) // 2] < 0.1


def test_one_output_holds_the_widget_and_its_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    published: list[tuple[dict, dict]] = []
    monkeypatch.setattr(widgets, "_publish", lambda data, metadata=None: published.append((data, metadata or {})))
    shown = attention_explorer(query=(1, 0))
    assert isinstance(shown, Touchable)
    shown._ipython_display_()
    (data, metadata), (twin, _) = published
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"].startswith("A head without") and "<table" in twin["text/html"]
