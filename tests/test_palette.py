"""Colours that stay apart for everyone: the looks of terms and methods as the colour-blind see them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import beft_lib
from beft_lib.architectures import TERMS
from beft_lib.plots import LOOKS

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB; "all of it" leaves everything as it is.
SEEN = {
    "all of it": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# In CIELAB's distance, where about 2 can just be told side by side. Blue and green of Okabe and Ito's own palette, from
# which ours are, come to 17 without blue cones.
APART, LIKE = 15, 20
MAPS = {"cividis", "Greys", "gray"}  # of lightness above all


def lab(colour: str, seen: str = "all of it") -> np.ndarray:
    """(3,) CIELAB of a colour, as seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ratios = XYZ @ np.clip(np.array(SEEN[seen]) @ linear, 0, 1) / XYZ.sum(1)
    f = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a: str, b: str, seen: str) -> float:
    return float(np.linalg.norm(lab(a, seen) - lab(b, seen)))


def test_the_eye_that_is_simulated_is_an_eye() -> None:
    assert lab("white") == pytest.approx([100, 0, 0], abs=0.5) and lab("black") == pytest.approx([0, 0, 0], abs=0.5)
    assert distance("#d00000", "#007000", "all of it") > 100  # red and green, far apart …
    assert distance("#b05000", "#707000", "no green cones") < LIKE  # … and two that are not, without green cones


@pytest.mark.parametrize("seen", SEEN)
def test_query_key_value_and_the_head_stay_apart(seen: str) -> None:
    for a, b in itertools.combinations((*TERMS, "head"), 2):
        assert distance(LOOKS[a].color, LOOKS[b].color, seen) > APART, (a, b)


@pytest.mark.parametrize("seen", SEEN)
def test_methods_of_like_colours_have_other_marks(seen: str) -> None:
    close = [
        (a, b) for a, b in itertools.combinations(LOOKS, 2) if distance(LOOKS[a].color, LOOKS[b].color, seen) < LIKE
    ]
    for a, b in close:
        assert LOOKS[a].marker != LOOKS[b].marker and LOOKS[a].hatch != LOOKS[b].hatch, (a, b)


@pytest.mark.parametrize("name", LOOKS)
def test_a_line_can_be_seen_on_white(name: str) -> None:
    assert lab(LOOKS[name].color)[0] < 75


@pytest.mark.parametrize("path", sorted(Path(beft_lib.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_colour_maps_are_of_lightness(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = set(re.findall(r"""(?:cmap ?= ?|colormaps\[)["'](\w+)["']""", text))
    assert used <= MAPS


@pytest.mark.parametrize("name", sorted(MAPS))
def test_a_colour_map_of_ours_rises_for_everyone(name: str) -> None:
    colours = mpl.colormaps[name](np.linspace(0, 1, 20))
    for seen in SEEN:
        steps = np.diff([lab(mpl.colors.to_hex(colour), seen)[0] for colour in colours])
        assert (steps > 0).all() or (steps < 0).all(), seen
