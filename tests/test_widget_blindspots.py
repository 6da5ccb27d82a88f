"""The blind-spot map: a twin stays on its ruler's curve; quick enough to drag, readable without widgets."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from beft_lib import widget_blindspots, widgets
from beft_lib.display import descriptions
from beft_lib.errors import UnknownName
from beft_lib.scores import importance, magnitude
from beft_lib.widget_blindspots import _SPAN, RULERS, Moves, blind_spots, compared, level_set, numbers, twin
from beft_lib.widgets import PRE, Touchable

PLACES = [(1.6, 1.2), (0.4, 0.3), (-0.5, 0.8), (-2.0, -1.0), (0.02, 1.0), (0.0, 2.0), (2.5, 0.0)]
EDGES = [(1.0, 0.0), (0.0, 0.0), (-1.0, 0.0), (-3.0, 3.0)]  # no move, nothing left, turned around, the corner


def test_numbers_are_the_librarys() -> None:
    post, pre = torch.tensor([[-0.5, 0.8]], dtype=torch.float64), torch.tensor([PRE], dtype=torch.float64)
    values = numbers(np.array([-0.5, 0.8]))
    assert values["importance"] == importance(pre, post) and values["magnitude"] == magnitude(pre, post)
    assert values["Fisher"] == pytest.approx((1.5**2 + 0.8**2) / 2)


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("place", PLACES)
def test_every_point_of_a_level_set_has_the_same_number(ruler: str, place: tuple[float, float]) -> None:
    curve = level_set(ruler, np.array(place))
    said = [numbers(point)[ruler] for point in curve[::200]]
    assert np.ptp(said) < 1e-9 and said[0] == pytest.approx(numbers(np.array(place))[ruler], abs=1e-9)
    assert np.abs(curve - place).sum(-1).min() < 0.15  # and it runs through the place


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("place", PLACES)
def test_a_twin_differs_for_the_other_rulers_only(ruler: str, place: tuple[float, float]) -> None:
    ways = [compared(Moves(*place, ruler, walk)) for walk in range(0, 100, 5)]
    for frame in ways:
        assert frame.loc[ruler, "its twin"] == pytest.approx(frame.loc[ruler, "your move"], abs=1e-9)
    for other in {*RULERS} - {ruler}:
        assert max(abs(frame.loc[other, "its twin"] - frame.loc[other, "your move"]) for frame in ways) > 0.02
    assert twin(Moves(*place, ruler, 0)) == pytest.approx(np.array(place))


@pytest.mark.parametrize("walk", [0, 50, 100])
@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("place", [*PLACES, *EDGES])
def test_every_corner_can_be_drawn(place: tuple[float, float], ruler: str, walk: int) -> None:
    moves = Moves(*place, ruler, walk)
    assert "nan" not in widgets.svg(widget_blindspots._scene(moves), "").lower()
    for at, (low, high) in zip(twin(moves), _SPAN, strict=True):
        assert low <= at <= high  # on the map


def test_the_picture_has_alt_text_and_a_table_twin() -> None:
    (said,) = descriptions(blind_spots(1.6, 1.2).plot())
    assert "takes it to (1.60, 1.20): importance 0.600, magnitude 0.900, Fisher 0.900" in said.alt
    assert "same importance" in said.alt and list(said.table.index) == list(RULERS)
    with pytest.raises(UnknownName, match=r"importance, magnitude, Fisher"):
        blind_spots(ruler="cosine")


def test_moving_a_control_changes_picture_and_numbers_within_100_ms() -> None:
    pytest.importorskip("ipywidgets")
    *controls, box = blind_spots().live().children
    picture, table = box.children
    x, y, ruler, walk = controls
    assert [c.description for c in controls] == [
        "Post, first number", "Post, second number", "The twin has the same", "Twin, percent around",
    ]  # fmt: skip
    assert table.value.count("the same") == 1 and 'aria-live="polite"' in table.value
    ruler.value, walk.value = "magnitude", 0
    assert table.value.count("the same") == 3  # at the start of its way the twin is the move itself
    walk.value = 30
    assert table.value.count("the same") == 1 and "which has the same magnitude" in picture.value
    taken = []
    for step in range(20):
        begun = time.perf_counter()
        x.value, y.value = step / 10, 1.0 - step / 20
        taken.append((time.perf_counter() - begun) / 2)
    assert "takes it to (1.90, 0.05)" in picture.value
    assert sorted(taken)[len(taken) // 2] < 0.1


def test_one_output_holds_the_widget_and_its_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    published: list[tuple[dict, dict]] = []
    monkeypatch.setattr(widgets, "_publish", lambda data, metadata=None: published.append((data, metadata or {})))
    shown = blind_spots()
    assert isinstance(shown, Touchable)
    shown._ipython_display_()
    (data, metadata), (table, _) = published
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"].startswith("From the origin") and "<table" in table["text/html"]
