"""Which base an adapter belongs to, and what to do where there can be none: each way out that an error names works."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import pytest
import tiny
import torch
from peft import BeftConfig, PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from test_adapters import _as_peft, _set, edit, logits, same_state, state, task, tune
from transformers import AutoModelForSequenceClassification

from beft_lib import load_model, load_tokenizer, runtime
from beft_lib.adapter_folder import CARD, CONFIG, OWN, WEIGHTS, write_folder
from beft_lib.adapter_tensors import base_of
from beft_lib.adapters import load_adapter, merge_adapter, save_adapter, save_peft, use_adapter
from beft_lib.architectures import layers_of
from beft_lib.errors import AdapterError, ModelError, UnknownName
from beft_lib.folding import fold
from beft_lib.tuning import fine_tune
from beft_lib.wrapping import acting

PEFTS = [("bert", "prefix"), ("roberta", "prefix"), ("opt", "prefix"), ("bert", "lora"), ("distilbert", "lora"),
         ("electra", "lora"), ("gpt2", "lora"), ("modernbert", "lora")]  # fmt: skip

__all__ = ["task", "tune"]  # pytest finds fixtures by their names here


# What PEFT's own methods trained


@pytest.mark.parametrize("family, method", PEFTS)
def test_what_peft_trained_opens_in_stock_peft_head_included(family, method, tune, tmp_path):
    run = tune(tiny.model(family), method)
    with pytest.raises(AdapterError, match=r"beft_lib\.adapters\.save_peft\(run\.model, folder\)") as told:
        save_adapter(run, tmp_path / "a")
    assert ("merge_adapter(run.model)" in str(told.value)) == (method == "lora")  # no weight holds a prefix
    before, expected = state(run.model), logits(acting(run.model))
    assert not torch.allclose(expected, logits(tiny.model(family)), atol=1e-2)
    folder = save_peft(run.model, tmp_path / "a")
    assert same_state(before, state(run.model)) and {p.name for p in folder.iterdir()} == {WEIGHTS, CONFIG}
    opened = PeftModel.from_pretrained(tiny.model(family), str(folder)).eval()
    torch.testing.assert_close(logits(opened), expected, atol=1e-5, rtol=0)
    if method == "lora":  # the other way out
        cast(Any, merge_adapter(run.model)).save_pretrained(tmp_path / "merged")
        stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
        torch.testing.assert_close(logits(stock), expected, atol=1e-5, rtol=0)


def test_random_parameters_are_kept_by_merging_alone(tune, tmp_path):
    with pytest.raises(AdapterError, match=r"merge_adapter\(run\.model\)\.save_pretrained\(folder\)\.$"):
        save_adapter(tune(tiny.model("bert"), "random_uniform"), tmp_path / "a")


def test_a_prefix_on_a_base_on_disk(task, tune, tmp_path):
    """Its configuration names no folder of this machine."""
    base = tiny.save(tmp_path / "private" / "base")
    run = tune(load_model(base, task, seed=3), "prefix", seed=3)
    folder = save_peft(run.model, tmp_path / "a")
    stock = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    opened = PeftModel.from_pretrained(stock, str(folder)).eval()
    torch.testing.assert_close(logits(opened), logits(acting(run.model)), atol=1e-5, rtol=0)
    told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert told["base_model_name_or_path"] == "base" and told["task_type"] == "SEQ_CLS"
    assert "private" not in "".join(path.read_text(encoding="utf-8", errors="replace") for path in folder.iterdir())
    with pytest.raises(AdapterError, match=r"'PREFIX_TUNING'.*PeftModel\.from_pretrained"):
        load_adapter(load_model(base, task), folder)


def test_what_peft_did_not_train_or_ruined_is_not_saved(tune, tmp_path):
    model = tiny.model("bert")
    tune(model, "value")
    with pytest.raises(AdapterError, match=r"holds no run with LoRA or a prefix.*save_adapter\(run, folder\)"):
        save_peft(model, tmp_path / "a")
    tune(model, "prefix")
    (tmp_path / "notes.txt").write_text("weeks of work", encoding="utf-8")
    with pytest.raises(AdapterError, match=r"notes\.txt.*Choose another folder"):
        save_peft(model, tmp_path)
    next(p for n, p in acting(model).named_parameters() if "prompt_encoder" in n).data[0] = math.nan
    with pytest.raises(AdapterError, match=r"prompt_embeddings holds NaN or infinity"):
        save_peft(model, tmp_path / "a")


# A base with an adapter merged in


def test_an_adapter_on_a_merged_base_names_no_other_base(task, tune, tmp_path):
    home = tiny.save(tmp_path / "base")
    first = save_adapter(tune(load_model(home, task)), tmp_path / "first")
    model: Any = load_model(home, task)
    load_adapter(model, first)
    merge_adapter(model)
    model.save_pretrained(tmp_path / "kept")
    load_tokenizer(model).save_pretrained(tmp_path / "kept")
    run = tune(model, seed=1)
    folder = save_adapter(run, tmp_path / "second")
    base = json.loads((folder / OWN).read_text(encoding="utf-8"))["base"]
    assert (base["name"], base["hub"], base["revision"]) == ("base, merged", "", None)
    assert json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"] == "base, merged"
    card = " ".join((folder / CARD).read_text(encoding="utf-8").split())
    assert 'from_pretrained("FOLDER OF base, merged", num_labels=2)' in card
    assert "save the merged model first (save_pretrained)" in card and "name its folder" in card
    with pytest.raises(AdapterError, match=r"other weights.*save the merged model first .save_pretrained. and name"):
        load_adapter(load_model(home, task), folder)
    with pytest.raises(AdapterError, match=r"trained on base; this model \(base, merged\) .*Load it on base,"):
        load_adapter(model, first)
    again = load_model(tmp_path / "kept", task)
    load_adapter(again, folder)
    torch.testing.assert_close(logits(again), logits(run.model), atol=1e-6, rtol=0)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "kept")
    opened = PeftModel.from_pretrained(stock, str(folder)).eval()
    torch.testing.assert_close(logits(opened), logits(run.model), atol=1e-5, rtol=0)


def test_a_merged_base_is_refused_to_what_peft_trained_on_the_other(task, tune, tmp_path):
    model = load_model(tiny.save(tmp_path / "base"), task)
    folder = save_adapter(tune(model), tmp_path / "a")
    _as_peft(folder)
    merge_adapter(model)
    with pytest.raises(AdapterError, match=r"trained on 'base'; this model is 'base, merged'"):
        load_adapter(model, folder)


def test_a_merged_model_is_tuned_and_merged_again(task, tmp_path):
    model = load_model(tiny.save(tmp_path / "base"), task)
    for expected in ("base", "base, merged", "base, merged"):
        run = fine_tune(model, task, "value", max_steps=2, progress=False)
        assert Path(run.row()["model"]).name == expected == base_of(model)["name"]
        assert load_tokenizer(model)("good")["input_ids"]
        merge_adapter(model)


def test_a_folded_model_is_another_base_too(task, tune, tmp_path):
    home = tiny.save(tmp_path / "base")
    first = save_adapter(tune(load_model(home, task)), tmp_path / "first")
    model = load_model(home, task)
    load_adapter(model, first)
    before = logits(model)
    fold(model)
    torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=0)
    assert base_of(model)["name"] == "base, merged"
    with pytest.raises(AdapterError, match=r"trained on base; this model \(base, merged\) .*Load it on base,"):
        load_adapter(model, first)
    with pytest.raises(UnknownName, match="first"):
        use_adapter(model, "first")


@pytest.mark.parametrize(
    "name, channel, hub",
    [("minilm", "package", "sentence-transformers/all-MiniLM-L6-v2"), ("me/x", "cache", "me/x"), ("", "", "")],
)
def test_a_merged_base_has_no_address(name, channel, hub, tune):
    model: Any = tiny.model("bert")
    if name:
        model.beft_source = runtime.ModelSource(name, "/nowhere", "abc", channel, "")
    tune(model)
    assert (base_of(model)["hub"], base_of(model)["revision"]) == (hub, "abc" if name else None)
    merge_adapter(model)
    told = base_of(model)
    assert (told["hub"], told["revision"], told["merged"]) == ("", None, True)
    assert told["name"] == f"{name or 'BertForSequenceClassification'}, merged"
    assert not name or (model.beft_source.path, model.beft_source.revision) == ("/nowhere", "abc")  # of the tokenizer


# A base that differs in its head


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("old", [True, False], ids=["format 2", "format 3"])
def test_a_base_with_another_pooler_is_another_base(part, old, tune, tmp_path):
    """An adapter of format 2 does not know, and loads as it always did."""
    folder, other = save_adapter(tune(tiny.model("bert"), "head"), tmp_path / "a"), tiny.model("bert")
    other.get_parameter(f"bert.pooler.dense.{part}").data.add_(0.5)
    if old:
        edit(folder / OWN, lambda own: own["base"].pop("head"))
        _set("format", 2)(folder)
        load_adapter(other, folder)
        load_adapter(tiny.model("bert"), folder)
        return
    before = state(other)
    with pytest.raises(AdapterError, match="other weights"):
        load_adapter(other, folder)
    assert same_state(before, state(other))


def test_a_pooler_that_the_adapter_brings_may_be_anything(task, tune, tmp_path):
    base = tiny.save(tmp_path / "base")
    kept = {n: t for n, t in load_file(base / "model.safetensors").items() if not n.startswith("pooler")}
    save_file(kept, base / "model.safetensors", metadata={"format": "pt"})
    run = tune(load_model(base, task, seed=3), seed=3)
    stock = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2).eval()
    load_adapter(stock, save_adapter(run, tmp_path / "a"))
    torch.testing.assert_close(logits(stock), logits(run.model), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_head_is_known_in_16_bits_and_with_an_adapter_in_use(dtype, tune, tmp_path):
    folder = save_adapter(tune(tiny.model("bert"), "qkv"), tmp_path / "a")
    half: Any = tiny.model("bert")
    half.to(dtype)
    load_adapter(half, folder)
    load_adapter(half, folder, "again")


# What is asked, and what is said


@pytest.mark.parametrize("name", [None, "", 3])
def test_an_adapter_needs_a_name(name, tune, tmp_path):
    folder, model = save_adapter(tune(tiny.model("bert")), tmp_path / "a"), tiny.model("bert")
    before, attributes = state(model), dict(model.__dict__)
    with pytest.raises(AdapterError, match=r"name is .*expected a word.*use_adapter\(model, None\)"):
        load_adapter(model, folder, name)
    assert same_state(before, state(model)) and model.__dict__ == attributes


def test_another_number_of_labels_wants_a_base_of_its_own(tune, tmp_path):
    folder = save_adapter(tune(tiny.model("bert")), tmp_path / "a")
    with pytest.raises(AdapterError, match=r"with 2 labels, this model's with 1\..*once for each number of labels"):
        load_adapter(tiny.model("bert", num_labels=1), folder)


SNIPPETS = {
    "minilm": ('"sentence-transformers/all-MiniLM-L6-v2", num_labels=2, revision="abc")', ""),
    "pocket-bert": ('"FOLDER OF pocket-bert", num_labels=2)', "`data/models/pocket-bert` in the course's folder"),
    "mine": ('"FOLDER OF mine", num_labels=2)', "came from a folder"),
    "pocket-of-mine": ('"FOLDER OF pocket-of-mine", num_labels=2)', "came from a folder"),
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_card_s_lines_can_work(name, tune, tmp_path):
    model: Any = tiny.model("bert")
    channel = "shipped" if name == "pocket-bert" else "package" if name == "minilm" else "folder"
    model.beft_source = runtime.ModelSource(name, "/nowhere", "abc" if name == "minilm" else None, channel, "")
    for method in ("value", "all_biases"):  # with stock PEFT, and without
        card = (save_adapter(tune(model, method), tmp_path / "a") / CARD).read_text(encoding="utf-8")
        snippet, where = SNIPPETS[name]
        assert (f"from_pretrained({snippet}" in card) == (method == "value")
        assert where in card and ("The base model " in card) == bool(where)


@pytest.mark.parametrize("prefix", [False, True])
def test_a_model_inside_peft_s_wrapper_is_asked_for(prefix, tune, tmp_path):
    folder = save_adapter(tune(tiny.model("bert")), tmp_path / "a")
    config = BeftConfig(target_modules=["value"], task_type="SEQ_CLS")
    if prefix:
        config = PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
    wrapped: Any = get_peft_model(tiny.model("bert"), config)
    way = "load the model anew" if prefix else r"wrapped\.unload\(\)"
    for call in (layers_of, lambda model: load_adapter(model, folder)):
        with pytest.raises(ModelError, match=rf"is PEFT's wrapper.*{way}"):
            call(wrapped)
    load_adapter(tiny.model("bert") if prefix else wrapped.unload(), folder)


def test_a_folder_that_peft_wrote_is_replaced_whole(tune, tmp_path):
    write_folder(tmp_path / "a", {CONFIG: b"{}", WEIGHTS: b"", OWN: b"{}", CARD: b""})
    tune(model := tiny.model("bert"), "lora")
    assert {path.name for path in save_peft(model, tmp_path / "a").iterdir()} == {WEIGHTS, CONFIG}
