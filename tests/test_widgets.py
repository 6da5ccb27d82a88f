"""The vector explorer: right numbers, right curve, quick enough to drag, readable without widgets."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from beft_lib import widgets
from beft_lib.scores import importance_per_layer
from beft_lib.widgets import iso_importance, numbers, vector_explorer


@pytest.mark.parametrize("score", [0.0, 1e-6, 0.3, 0.5, 0.9, 1.0, 1.1, 1.7, 2.0])
def test_every_point_of_the_curve_has_the_score(score: float) -> None:
    points = torch.tensor(iso_importance(score))  # (n, 2)
    pre = torch.tensor([widgets.PRE], dtype=torch.float64).expand_as(points)
    assert (importance_per_layer(pre, points) - score).abs().max() < 1e-9
    assert len(points.unique(dim=0)) > 1 or score in (0.0, 2.0)  # no move, and the reversal, are single points


def test_the_curve_goes_through_post() -> None:
    for angle, ratio in [(40, 2), (40, 0.9), (130, 0.5), (90, 3)]:
        curve = iso_importance(numbers(angle, ratio)["importance (BEFT)"], points=20_001)
        assert np.abs(curve - widgets._post(angle, ratio)).sum(-1).min() < 2e-3


@pytest.mark.parametrize(
    ("angle", "ratio", "importance", "magnitude"),
    [(0, 1, 0.0, 0.0), (0, 2, 0.5, 0.5), (60, 1, 0.5, None), (90, 3, 1.0, 2.0), (180, 1, 2.0, 1.0), (77, 0, 1.0, 0.5)],
)
def test_numbers(angle: float, ratio: float, importance: float, magnitude: float | None) -> None:
    values = numbers(angle, ratio)
    assert values["importance (BEFT)"] == pytest.approx(importance, abs=1e-12)
    if magnitude is not None:
        assert values["magnitude (mean |change|)"] == pytest.approx(magnitude, abs=1e-12)
    assert math.isnan(values["cosine"]) == (ratio == 0)


def test_the_picture_has_alt_text_and_a_table_twin() -> None:
    from beft_lib.display import descriptions

    (told,) = descriptions(vector_explorer(40, 2).plot())
    assert "Importance 0.617" in told.alt and "post of length 2" in told.alt
    assert told.table.loc["importance (BEFT)", "value"] == "0.617"  # three digits, as in the live table
    assert told.table.loc["angle in degrees", "value"] == "40"


def test_the_lessons_diamond_is_shown_whole() -> None:
    """The one of lesson 01's starting position and those of lesson 04's exercise: no corner is cut off."""
    for move in (widgets._post(40, 2), np.array([1.5, 0.5])):
        size = np.abs(move - widgets.PRE).sum()
        assert widgets._Y[0] < -size and size < widgets._Y[1] and widgets._X[0] < 1 - size and 1 + size < widgets._X[1]


def test_moving_a_slider_changes_picture_and_numbers_within_100_ms() -> None:
    pytest.importorskip("ipywidgets")
    live = vector_explorer().live()
    angle, ratio, box = live.children
    picture, table = box.children
    angle.value, ratio.value = 90, 1
    assert "1.000" in table.value and "turned by 90 degrees" in picture.value and 'role="img"' in picture.value
    taken = []
    for value in range(20):
        begun = time.perf_counter()
        angle.value = value
        taken.append(time.perf_counter() - begun)
    assert "turned by 19 degrees" in picture.value
    assert sorted(taken)[len(taken) // 2] < 0.1


@pytest.mark.parametrize("ratio", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("angle", [0, 90, 180])
def test_every_corner_can_be_drawn(angle: float, ratio: float) -> None:
    assert "nan" not in widgets.svg(widgets._scene(angle, ratio), "").lower()
    vector_explorer(angle, ratio).plot()


def test_one_output_holds_the_widget_and_its_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    published: list[tuple[dict, dict]] = []
    monkeypatch.setattr(widgets, "_publish", lambda data, metadata=None: published.append((data, metadata or {})))
    vector_explorer()._ipython_display_()
    (data, metadata), (twin, _) = published
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"].startswith("Two arrows") and "<table" in twin["text/html"]
