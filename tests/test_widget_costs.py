"""The cost calculator: its numbers are costs.py's, it answers at once, and it is readable without widgets."""

from __future__ import annotations

import time

import pytest

from beft_lib import widget_costs as calculator
from beft_lib import widgets
from beft_lib.costs import MODELS, cost, methods_for
from beft_lib.display import descriptions
from beft_lib.errors import UnknownName
from beft_lib.widget_costs import Setting, cost_calculator, costs, facts, pieces, size


@pytest.mark.parametrize("model", MODELS)
def test_every_byte_of_a_step_is_in_one_piece_of_its_bar(model: str) -> None:
    for of in costs(Setting(model)).values():
        assert sum(pieces(of).values()) == of.total and all(amount >= 0 for amount in pieces(of).values())


def test_the_numbers_are_those_of_the_estimate() -> None:
    told, real = facts(Setting("bert-base-cased", "value")), cost("bert-base-cased", "value")
    assert told["trained by the method"] == "9,216 parameters (0.0085% of the model)"
    assert told["optimizer memory"] == size(real.optimizer) and told["file to share"] == size(4 * (9216 + real.head))
    assert facts(Setting("opt-6.7b", "full"))["… of full fine-tuning"] == "100%"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999, "999 B"), (9_216, "9.22 kB"), (433_247_240, "433 MB"), (999_900, "1 MB")]
)
def test_bytes_for_people(count: int, told: str) -> None:
    assert size(count) == told


@pytest.mark.parametrize("model", MODELS)
def test_every_corner_can_be_drawn(model: str) -> None:
    for method in methods_for(model):
        for batch, length in ((1, 16), (64, 512)):
            at = Setting(model, method, batch, length)
            drawn = calculator._svg(at)
            assert 'role="img"' in drawn and "nan" not in drawn.lower()
            assert drawn.count("url(#cost") == len(calculator.PARTS) * (len(methods_for(model)) + 1)


def test_the_picture_has_alt_text_and_a_table_twin() -> None:
    (told,) = descriptions(cost_calculator("bert-base-cased", "value").plot())
    assert "9,216 parameters" in told.alt and "full" in told.alt and told.alt.endswith(".")
    assert told.table.loc["value", "trained"] == 9216 and list(told.table.index) == list(methods_for("bert-base-cased"))


def test_choosing_changes_picture_and_numbers_within_100_ms() -> None:
    pytest.importorskip("ipywidgets")
    controls, picture, table = cost_calculator().live().children
    model, method, batch, length = controls.children
    assert [c.description for c in controls.children] == ["Model", "Method", "Examples a step", "Tokens of each"]
    assert "9,216" in table.value
    method.value = "full"
    assert "the whole model" in table.value and "Chosen: full" in picture.value
    before = picture.value
    batch.value, length.value = 64, 512
    assert picture.value != before and "batch 64, 512 tokens" in picture.value
    method.value, model.value = "head", "opt-1.3b"  # which has no head: the method falls back
    assert method.value == "value" and "49,152" in table.value and "of opt-1.3b" in picture.value
    model.value = "roberta-base"
    assert method.value == "value" and "592,130" in table.value
    method.value = "head"
    taken = []
    for number in range(20):
        begun = time.perf_counter()
        batch.value = calculator.BATCHES[number % len(calculator.BATCHES)]
        taken.append(time.perf_counter() - begun)
    assert sorted(taken)[len(taken) // 2] < 0.1


def test_one_output_holds_the_widget_and_its_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    published: list[tuple[dict, dict]] = []
    monkeypatch.setattr(widgets, "_publish", lambda data, metadata=None: published.append((data, metadata or {})))
    cost_calculator()._ipython_display_()
    (data, metadata), (twin, _) = published
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"].startswith("Bars of the memory of a step") and "<table" in twin["text/html"]


def test_unknown_names_are_told_with_what_there_is() -> None:
    for wrong in (("bert",), ("opt-1.3b", "head"), ("MiniLM", "value", 3), ("MiniLM", "value", 16, 100)):
        with pytest.raises(UnknownName):
            cost_calculator(*wrong)
