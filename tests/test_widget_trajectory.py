"""The trajectory player: its angles and lengths make up the score, it is quick enough to play, and can be read."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from beft_lib import widget_trajectory, widgets
from beft_lib.architectures import TERMS
from beft_lib.display import descriptions
from beft_lib.errors import ScoreError, TrainingError, UnknownName
from beft_lib.plots import LOOKS
from beft_lib.probing import ProbeResult
from beft_lib.recipe import Recipe
from beft_lib.runs import Counts
from beft_lib.widget_trajectory import moves_of, trajectory_player
from beft_lib.widgets import Touchable

L, D, S = 4, 16, 40


def a_probe(records: int = S, layers: int = L, width: int = D, every: int = 1) -> ProbeResult:
    """Key stays, query moves a little, value a lot; in the first half of the run value is behind query."""
    torch.manual_seed(0)
    pre = {term: torch.randn(layers, width, dtype=torch.float64) for term in TERMS}
    time = torch.linspace(0, 1, records)[:, None, None]  # (S, 1, 1)
    way = {"query": 0.5 * time, "key": 0 * time, "value": 5 * (time - 0.4).clamp(min=0)}
    moved = {t: (way[t] * torch.randn(1, layers, width)).float() for t in TERMS}
    steps = every * np.arange(records)
    losses, counts = np.linspace(0.7, 0.3, steps[-1]), Counts(3 * layers * width, 10, 1000)
    return ProbeResult("toy", "sst2", 0, pre, steps, moved, losses, counts, Recipe(1e-3, 1), 1.0)


def test_angle_and_ratio_make_up_the_score() -> None:
    result = a_probe()
    for term, of in moves_of(result).items():
        assert all(part.shape == (S, L + 1) for part in of)
        r, cosine = of.ratio[:, :L], np.cos(np.radians(of.angle[:, :L]))
        assert np.allclose(1 - cosine * np.minimum(r, 1 / r), result.curve()[term], atol=1e-9)
        # the law of cosines: the two sides and the angle between them give the move
        assert np.allclose(of.length[:, :L] ** 2, 1 + r**2 - 2 * r * cosine, atol=1e-9)
        tips = of.tips(1)
        assert np.allclose(np.hypot(*tips.T), of.ratio[:, 1]) and (tips[:, 1] >= 0).all()
    assert moves_of(result)["value"].angle.max() > 60


@pytest.mark.parametrize("at", [0, 1, S // 2, S - 1])
def test_it_says_what_the_probe_says(at: int) -> None:
    result, player = a_probe(), trajectory_player(a_probe())
    told = player.numbers(at, -1)
    assert told["importance"].to_dict() == pytest.approx(dict(result.ranking(at)))
    assert told["length ratio r"]["value"] == pytest.approx(
        float((result.post(at)["value"].norm(dim=-1) / result.pre["value"].norm(dim=-1)).mean())
    )
    layer = player.numbers(at, 2)["importance"].to_dict()
    assert layer == pytest.approx({term: of[2].item() for term, of in result.scores(at).items()})
    assert player.chosen(at) == (result.ranking(at)[0][0] if at else "")


def test_the_choice_is_by_the_mean_whatever_layer_is_shown() -> None:
    player = trajectory_player(a_probe())
    assert player.chosen(S // 4) == "query" and player.chosen(S - 1) == player.result.best == "value"
    for layer in (-1, 0, L - 1):
        assert "BEFT would now choose query" in player.in_words(S // 4, layer)
        told = player.written(S - 1, layer).loc["would be chosen"]
        assert told.to_dict() == {"query": "", "key": "", "value": "yes"}
    assert "no choice yet" in player.in_words(0, -1) and not any(player.written(0, -1).loc["would be chosen"])


def test_the_loss_is_that_of_the_step_where_there_is_one() -> None:
    result = a_probe(every=3)
    player = trajectory_player(result)
    assert player.loss(0) == ""
    assert player.loss(5).startswith(f"loss {result.losses[14]:.3f}")
    assert f"{result.losses[5:15].mean():.3f}" in player.loss(5)
    assert f"loss {result.losses[0]:.3f}" in trajectory_player(a_probe()).loss(1)
    without = trajectory_player(replace(result, losses=np.array([])))
    assert without.loss(5) == "" and "loss" not in without.words() and "loss" not in without.title(5, -1)


@pytest.mark.parametrize("layer", [-1, 0, L - 1])
@pytest.mark.parametrize("at", [0, 1, S - 1])
def test_every_position_can_be_drawn_within_its_picture(at: int, layer: int) -> None:
    drawn = widget_trajectory._svg(trajectory_player(a_probe()), at, layer)
    assert "nan" not in drawn.lower() and 'role="img"' in drawn
    width, height = map(float, re.findall(r'viewBox="0 0 (\d+) (\d+)"', drawn)[0])
    for x, y in re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)", drawn):
        assert 0 <= float(x) <= width and 0 <= float(y) <= height


def test_terms_differ_in_more_than_colour() -> None:
    drawn = widget_trajectory._svg(trajectory_player(a_probe()), S - 1, -1)
    for term in TERMS:
        look = LOOKS[term]
        assert drawn.count(widget_trajectory._SHAPES[look.marker]) == 2  # at the tip and beside the bar
        assert f">{term}</text>" in drawn and widget_trajectory._HATCH[look.hatch] in drawn
        assert drawn.count(look.color) >= 4
    assert len({widget_trajectory._DASH[LOOKS[term].line] for term in TERMS}) == len(TERMS)


def test_nothing_is_rescaled_while_it_plays() -> None:
    player = trajectory_player(a_probe())
    arcs = {re.findall(r"A[\d.]+ [\d.]+ 0 0 0", widget_trajectory._svg(player, at, -1))[0] for at in range(S)}
    assert len(arcs) == 1
    full = {re.findall(r"a full bar is (\S+?)<", widget_trajectory._svg(player, at, -1))[0] for at in range(S)}
    assert full == {"1"}
    assert player.moves["value"].importance[:, -1].max() <= 1


def test_the_picture_has_alt_text_and_a_table_twin() -> None:
    shown = trajectory_player(a_probe(), step=30, layer=1)
    (said,) = descriptions(shown.plot())
    assert said.alt == shown.words() and "Step 30 of 39, layer 1; loss" in said.alt
    assert "value turned by" in said.alt and said.alt.endswith("(mean over all layers).")
    assert list(said.table) == list(TERMS) and "angle (degrees)" in said.table.index
    assert trajectory_player(a_probe(every=10), step=88).at == 9  # the nearest that was recorded


def test_a_vector_without_length_is_told_and_not_drawn() -> None:
    result = a_probe()
    pre = {term: of.clone() for term, of in result.pre.items()}
    pre["query"][0] = 0  # one layer of one term
    player = trajectory_player(replace(result, pre=pre))
    assert "query turned by not defined degrees" in player.in_words(S - 1, 0)
    assert "nan" not in widget_trajectory._svg(player, S - 1, 0).lower()
    assert not math.isnan(player.numbers(S - 1, -1)["angle (degrees)"]["query"])
    assert descriptions(trajectory_player(replace(result, pre=pre), layer=0).plot())
    with pytest.raises(ScoreError, match="query starts at exactly zero"):
        trajectory_player(replace(result, pre={**pre, "query": torch.zeros(L, D)}))


def test_what_cannot_be_played_is_refused() -> None:
    with pytest.raises(TrainingError, match="before its first step"):
        trajectory_player(a_probe(1))
    with pytest.raises(UnknownName, match="layer"):
        trajectory_player(a_probe(), layer=L)


def test_moving_a_slider_changes_picture_and_numbers_within_100_ms() -> None:
    pytest.importorskip("ipywidgets")
    player = trajectory_player(a_probe(200, 12, 768))
    controls, step, layer, box = player.live().children
    picture, table = box.children
    button, play = controls.children
    assert [c.description for c in (button, step, layer)] == ["Play", "Step", "Layer"]
    assert (play.min, play.max, play.value, step.index) == (0, 199, 199, 199)
    assert "Step 199 of 199, mean of 12 layers" in picture.value and 'aria-live="polite"' in table.value
    step.index = 0
    assert "Nothing has moved: no choice yet" in table.value and "Step 0 of 199" in picture.value
    layer.value = 3
    assert "Step 0 of 199, layer 3" in picture.value and "Step 0 of 199, layer 3" in table.value
    play.playing = True  # a screen reader is not to say every picture
    assert 'aria-live="off"' in table.value and button.description == "Pause"
    play.playing = False
    assert 'aria-live="polite"' in table.value and button.description == "Play"
    taken = []
    for at in range(0, 200, 10):
        begun = time.perf_counter()
        step.index = at
        taken.append(time.perf_counter() - begun)
    assert "Step 190 of 199" in picture.value and table.value.count(">yes<") == 1
    assert sorted(taken)[len(taken) // 2] < 0.1


def test_play_moves_the_step_in_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    joined: list[tuple] = []
    monkeypatch.setattr(ipywidgets, "jslink", lambda *ends: joined.append(ends))
    controls, step, *_ = trajectory_player(a_probe()).live().children
    button, play = controls.children
    assert joined == [((play, "value"), (step, "index")), ((button, "value"), (play, "playing"))]


def test_where_playing_has_another_name_its_own_buttons_are_shown() -> None:
    """ipywidgets 7, which Colab has."""
    ipywidgets = pytest.importorskip("ipywidgets")
    traitlets = pytest.importorskip("traitlets")

    class Old(traitlets.HasTraits):
        _playing = traitlets.Bool()

    play = Old()
    assert widget_trajectory._play_button(ipywidgets, play) == (play, "_playing")


def test_one_output_holds_the_widget_and_its_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    published: list[tuple[dict, dict]] = []
    monkeypatch.setattr(widgets, "_publish", lambda data, metadata=None: published.append((data, metadata or {})))
    shown = trajectory_player(a_probe())
    assert isinstance(shown, Touchable)
    shown._ipython_display_()
    (data, metadata), (table, _) = published
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"].startswith("Step 39 of 39") and "<table" in table["text/html"]
