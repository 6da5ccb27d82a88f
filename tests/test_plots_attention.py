"""Attention maps: rows are rows, every percentage is written and told, and the page is not too narrow for them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from beft_lib import display
from beft_lib.display import descriptions, show
from beft_lib.plots_attention import attention_maps


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def some(tokens: int) -> torch.Tensor:
    return torch.softmax(2 * torch.randn(tokens, tokens, generator=torch.Generator().manual_seed(tokens)), dim=-1)


def test_rows_columns_and_words() -> None:
    weights = np.array([[0.1, 0.9], [0.3, 0.7]])
    ax = attention_maps({"a map": weights}, ["he", "saw"])
    assert [text.get_text() for text in ax.texts] == ["10", "90", "30", "70"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["he", "saw"]
    (told,) = descriptions(ax)
    assert told.table.loc["he", "saw"] == 90 and told.table.loc["saw", "he"] == 30
    assert "Most goes to 'saw', 80 percent" in told.alt and "'he' looks at 'saw' with 90 percent" in told.alt


@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("tokens", [2, 12])
def test_every_map_is_told_and_fits_the_page(maps: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[dict, dict]] = []
    monkeypatch.setattr(display, "_publish", lambda data, metadata=None: seen.append((data, metadata or {})))
    show(
        attention_maps(
            {f"map {n}": some(tokens) for n in range(maps)}, ["the", *(f"w{n}" for n in range(tokens - 2)), "the"]
        )
    )
    (picture, metadata), (twin, _) = seen
    assert f"the ({tokens})" in twin["text/html"]  # a word that occurs twice
    assert picture["text/plain"].count("Attention map") == maps == twin["text/html"].count("<table")
    assert metadata["image/png"]["width"] <= 720
    assert not plt.get_fignums()
