"""The model inspector: its blocks are the rows' own indices, it answers at once, and it is readable without widgets."""

from __future__ import annotations

import re
import time

import pytest
import torch

from beft_lib import widget_inspector as inspector
from beft_lib import widgets
from beft_lib.architectures import FAMILIES, TERMS, live_key, parts_of, width_of
from beft_lib.display import descriptions
from beft_lib.errors import UnknownName
from beft_lib.verify import tiny_model
from beft_lib.widget_inspector import blocks, facts, model_inspector

every_family = pytest.mark.parametrize("family", FAMILIES)
SOME = ["bert", "gpt2", "gpt_neox", "llama", "falcon"]


@every_family
def test_the_blocks_of_a_strip_cover_it_once(family: str) -> None:
    paths, found = blocks(FAMILIES[family])
    assert len(paths) == (2 if FAMILIES[family].fused else 4)
    for strip in range(len(paths)):
        covered = sorted(i for b in found if b.strip == strip for i in range(b.start, b.stop))
        assert covered == list(range(len(covered))) and covered
    assert {b.term for b in found} == {*TERMS, "output"}


@pytest.mark.parametrize("family", SOME)
def test_blocks_are_what_the_model_holds(family: str) -> None:
    model, (paths, found) = tiny_model(family), blocks(FAMILIES[family])
    for term in TERMS:
        part = parts_of(model, term)[0]
        own = torch.arange(width_of(part.module)) if part.index is None else part.index
        assert sorted(own.tolist()) == sorted(i for b in found if b.term == term for i in range(b.start, b.stop))
        assert {paths[b.strip] for b in found if b.term == term} == {FAMILIES[family].layout.module(term)}
    dead = sum(b.stop - b.start for b in found if b.dead)
    assert dead == int((~live_key(model)).sum())


def test_what_is_measured_agrees_with_what_is_drawn() -> None:
    for family in SOME:
        whole = all(b.dead for b in blocks(FAMILIES[family])[1] if b.term == "key")
        told = facts(family, "key")
        assert ("not at all" in told["… and the answer"]) == whole, (family, told)
        value = facts(family, "value")
        assert value["moving b_v changes attention (first layer)"] == "not at all"
        assert "yes" in value["… and the answer"]
    assert "16 numbers a layer, in self_attn.v_proj: all of it" in facts("llama", "value", measured=False).values()
    assert "32 numbers a layer, in attn.c_attn: 32 of its 96 numbers" in facts("gpt2", "key", measured=False).values()


@every_family
def test_every_family_can_be_drawn_and_told(family: str) -> None:
    told, drawn = inspector.in_words(family, "key"), inspector._svg(family, "key")
    assert FAMILIES[family].layout.module("key") in told and told.endswith("Trained: the key blocks.")
    assert 'role="img"' in drawn and drawn.count("<rect") >= len(blocks(FAMILIES[family])[1])
    placed = re.findall(r'<rect x="([\d.]+)%" y="\d+" width="([\d.]+)%"', drawn)  # in percent: letters keep their size
    assert len(placed) == drawn.count("<rect") and all(0 < float(x) + float(wide) < 100 for x, wide in placed)


@pytest.mark.parametrize("family", ["gpt_neox", "bert"])
def test_a_key_has_one_name_in_the_middle_of_all_of_it(family: str) -> None:
    """GPT-NeoX's keys are a live and a dead part: the name of a key is that of both."""
    axes, heads = model_inspector(family, "key").plot(), [b for b in blocks(FAMILIES[family])[1] if b.term == "key"]
    drawn = {text.get_text(): text.get_position()[0] for text in axes.texts if text.get_text().startswith("k")}
    ends = {h: [e for b in heads if b.head == h for e in (b.start, b.stop)] for h in {b.head for b in heads}}
    assert drawn == {f"k{h}": (min(of) + max(of)) / 2 for h, of in ends.items()}
    assert all(inspector._svg(family, "key").count(f">{name}<") == 1 for name in drawn)


def test_the_picture_has_alt_text_and_a_table_twin() -> None:
    orders = {"gpt_neox": "q0 k0 k0 dead v0 q1", "gpt2": "q2 q3 k0 dead", "llama": "k_proj: k0 k1;"}
    for family, order in orders.items():
        (told,) = descriptions(model_inspector(family, "key").plot())
        assert family in told.alt and order in told.alt
        assert FAMILIES[family].model in told.table[""].tolist()


def test_choosing_changes_picture_and_table_within_100_ms() -> None:
    pytest.importorskip("ipywidgets")
    lists, picture, table = model_inspector("gpt2", "value").live().children
    family, term = lists.children
    assert "of gpt2" in picture.value and "attn.c_attn" in table.value
    family.value = "llama"
    assert "of llama" in picture.value and "self_attn.v_proj: all of it" in table.value and "yes, by" in table.value
    taken = []
    for number in range(20):  # both families are known by now: what was measured is kept
        begun = time.perf_counter()
        family.value, term.value = ("gpt2", "key") if number % 2 else ("llama", "query")
        taken.append(time.perf_counter() - begun)
    assert "Trained: the key blocks" in picture.value
    assert sorted(taken)[len(taken) // 2] < 0.1


def test_one_output_holds_the_widget_and_its_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    published: list[tuple[dict, dict]] = []
    monkeypatch.setattr(widgets, "_publish", lambda data, metadata=None: published.append((data, metadata or {})))
    model_inspector()._ipython_display_()
    (data, metadata), (twin, _) = published
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"].startswith("One layer of gpt2") and "<table" in twin["text/html"]


def test_unknown_names_are_told_with_what_there_is() -> None:
    with pytest.raises(UnknownName, match="gpt2"):
        model_inspector("gpt3")
    with pytest.raises(UnknownName, match="value"):
        model_inspector("gpt2", "output")
