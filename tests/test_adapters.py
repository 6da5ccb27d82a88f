"""Adapters: the same logits whichever way they went; bad folders refused with nothing changed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from peft import BeftConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from beft_lib import adapter_folder, load_model, load_task, tuning, verify
from beft_lib.adapter_folder import CARD, CONFIG, OWN, PICKLE, WEIGHTS, digest, read_folder, write_folder
from beft_lib.adapters import describe_adapter, load_adapter, merge_adapter, save_adapter, use_adapter
from beft_lib.architectures import FAMILIES, Separate, head_parameters, parts_of
from beft_lib.biases import all_deltas
from beft_lib.errors import AdapterError, BeftError, ModelError, UnknownName
from beft_lib.methods import METHODS, method_row
from beft_lib.runs import Run
from beft_lib.training import Training
from beft_lib.tuning import fine_tune

NO_ADAPTER = ("full", "lora", "prefix", "random_uniform")
ADAPTABLE = [*(name for name in METHODS if name not in NO_ADAPTER), "query+value", "value@top-half"]
SEPARATE = [name for name, family in FAMILIES.items() if isinstance(family.layout, Separate)]
BIASED = [name for name, family in FAMILIES.items() if "qkv" in family.biased]  # tests/test_folding.py: the others
PAPERS = ["bert", "roberta", "electra", "distilbert", "opt"]  # these with every method, the others with one


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=48)


@pytest.fixture
def tune(task, monkeypatch) -> Callable[..., Run]:
    """``fine_tune`` whose training moves all that is trained by noise from the seed: real runs, without the time."""

    def noise(model: nn.Module, *_: Any, seed: int, **__: Any) -> Training:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        return Training(7, 1.5, 10**6, np.zeros(7))

    monkeypatch.setattr(tuning, "train", noise)
    monkeypatch.setattr(tuning, "evaluate_model", lambda *_, **__: {"accuracy": 0.75, "matthews": math.nan})
    monkeypatch.setattr(tuning, "load_tokenizer", lambda *_, **__: None)
    return lambda model, method="value", seed=0: fine_tune(model, task, method, seed=seed)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(
            **verify.example(getattr(model, "base_model", model) if isinstance(model, PeftModel) else model)
        ).logits


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file, and beft.json's digest with it: what a careful forger would write."""
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    if "digest" in found:
        found["digest"] = digest(found)
    path.write_text(json.dumps(found), encoding="utf-8")


def _pairs(families: Iterable[str], every: list[str], one: str) -> list[tuple[str, str]]:
    return [(family, value) for family in families for value in (every if family in PAPERS else [one])]


# There and back


@pytest.mark.parametrize("family, method", _pairs(FAMILIES, ADAPTABLE, "qkv"))
def test_a_saved_adapter_gives_the_same_logits_on_the_same_base(family, method, tune, tmp_path):
    run = tune(tiny.model(family), method)
    tuned = logits(run.model)
    fresh = tiny.model(family)
    before = logits(fresh)
    told = load_adapter(fresh, save_adapter(run, tmp_path / "a"))
    assert (tuned - before).abs().max() > 1e-2  # the run had an effect
    torch.testing.assert_close(logits(fresh), tuned, atol=1e-6, rtol=0)
    assert told["method"] == method and told["terms"] == list(method_row(method).terms)
    assert told["peft"] == (family in SEPARATE and method != "all_biases") == (tmp_path / "a" / CONFIG).exists()
    use_adapter(fresh, None)
    assert torch.equal(logits(fresh), before)


@pytest.mark.parametrize("family, method", _pairs(SEPARATE, [m for m in ADAPTABLE if m != "all_biases"], "value"))
def test_stock_peft_opens_ours_head_included(family, method, tune, tmp_path):
    run = tune(tiny.model(family), method)
    save_adapter(run, tmp_path / "a")
    opened = PeftModel.from_pretrained(tiny.model(family), str(tmp_path / "a")).eval()
    torch.testing.assert_close(logits(opened), logits(run.model), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family, targets", _pairs(SEPARATE, ["leaf", "full", "pattern", "two terms"], "full"))
def test_ours_opens_what_peft_trained(family, targets, tmp_path):
    base = tiny.model(family)
    leaf = FAMILIES[family].layout.module("value").rsplit(".", 1)[-1]
    modules = [part.module for part in parts_of(base, "value")]
    paths = [name for name, module in base.named_modules() if module in modules]
    query = FAMILIES[family].layout.module("query").rsplit(".", 1)[-1]
    wanted = {"leaf": [leaf], "full": paths[1:], "pattern": rf".*\.{leaf}", "two terms": [leaf, query]}[targets]
    opened = get_peft_model(base, BeftConfig(task_type="SEQ_CLS", target_modules=wanted)).eval()
    with torch.no_grad():
        for parameter in (p for p in opened.parameters() if p.requires_grad):
            parameter.add_(torch.randn_like(parameter) * 0.3)
    opened.save_pretrained(tmp_path / "a")
    fresh = tiny.model(family)
    before = logits(fresh)
    told = load_adapter(fresh, tmp_path / "a")
    torch.testing.assert_close(logits(fresh), logits(opened), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(fresh), before, atol=1e-2)
    assert told["peft"] and told["method"] is None and told["made_by"].startswith("PEFT")


@pytest.mark.parametrize("pooler", [True, False], ids=["with its pooler", "a pooler that no checkpoint holds"])
def test_from_a_base_on_disk_to_stock_peft(pooler, task, tune, tmp_path):
    """A pooler drawn from the seed is nobody's pretrained weight: the adapter has to bring it."""
    base = tiny.save(tmp_path / "private" / "base")
    if not pooler:
        kept = {n: t for n, t in load_file(base / "model.safetensors").items() if not n.startswith("pooler")}
        save_file(kept, base / "model.safetensors", metadata={"format": "pt"})
    run = tune(load_model(base, task, seed=3), seed=3)
    folder = save_adapter(run, tmp_path / "a")
    stock = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    opened = PeftModel.from_pretrained(stock, str(folder)).eval()
    torch.testing.assert_close(logits(opened), logits(run.model), atol=1e-5, rtol=0)
    other = load_model(base, task, seed=0)
    load_adapter(other, folder)
    torch.testing.assert_close(logits(other), logits(run.model), atol=1e-6, rtol=0)
    assert "private" not in "".join(path.read_text(encoding="utf-8", errors="replace") for path in folder.iterdir())


def test_a_base_in_16_bits_takes_an_adapter_from_32(tune, tmp_path):
    run = tune(tiny.model("bert"))
    save_adapter(run, tmp_path / "a")
    half: Any = tiny.model("bert")
    half.to(torch.bfloat16)
    load_adapter(half, tmp_path / "a")
    torch.testing.assert_close(logits(half).float(), logits(run.model), atol=0.05, rtol=0)
    assert all(delta.delta.dtype == torch.float32 for delta in all_deltas(half))


def test_what_is_written_says_what_it_is(task, tune, tmp_path):
    from huggingface_hub import ModelCard

    run = tune(load_model(tiny.save(tmp_path / "base"), task))
    folder = save_adapter(run, tmp_path / "a")
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, CONFIG, OWN, CARD}
    own, told = json.loads((folder / OWN).read_text(encoding="utf-8")), describe_adapter(folder)
    assert own["labels"] == ["negative", "positive"] == told["labels"] and own["metrics"]["matthews"] is None
    assert own["base"]["name"] == "base" and (own["base"]["layers"], own["base"]["width"]) == (2, 32)
    assert own["recipe"]["learning_rate"] == 4e-4 and own["versions"]["torch"] and told["seed"] == 0
    assert told["parameters"] == run.counts.method + run.counts.head
    written: Any = ModelCard.load(folder / CARD)
    assert written.data.library_name == "peft" and written.data.eval_results[0].metric_value == 0.75
    assert "0.7500" in written.text and "PeftModel.from_pretrained" in written.text
    for said in ("sst2", "48 training examples", "| seed | 0 |", "revision", "accuracy"):
        assert said in written.text, said
    save_adapter(tune(run.model, "value@top-half"), tmp_path / "half")
    assert "the value bias (layers 1) of" in (tmp_path / "half" / CARD).read_text(encoding="utf-8")
    save_adapter(tune(run.model, "all_biases"), tmp_path / "b")
    assert "Stock PEFT cannot load this" in (tmp_path / "b" / CARD).read_text(encoding="utf-8")


# Switching and merging


@pytest.mark.parametrize("family", [*PAPERS, "gpt2", "gpt_neox", "llama"])
def test_several_adapters_on_one_base(family, tune, tmp_path):
    model, expected = tiny.model(family), {}
    for seed, method in enumerate(ADAPTABLE):
        run = tune(model, method, seed)
        expected[method] = logits(model)
        save_adapter(run, tmp_path / method)
    base = tiny.model(family)
    expected[None] = logits(base)
    for method in ADAPTABLE:
        load_adapter(base, tmp_path / method, method)
    for name in [*expected, *reversed(expected)]:
        use_adapter(base, name)
        torch.testing.assert_close(logits(base), expected[name], atol=1e-6, rtol=0)
    with pytest.raises(UnknownName, match=r"valu.*Did you mean 'value'"):
        use_adapter(base, "valu")


@pytest.mark.parametrize("between", METHODS)
def test_a_run_in_between_leaves_nothing_behind(between, tune, tmp_path):
    model = tiny.model("bert")
    save_adapter(tune(model, "value"), tmp_path / "a")
    expected = logits(model)
    load_adapter(model, tmp_path / "a")
    tune(model, between, seed=5)
    assert not torch.allclose(logits(model), expected, atol=1e-3)
    use_adapter(model, "default")
    torch.testing.assert_close(logits(model), expected, atol=1e-6, rtol=0)


def test_label_names_follow_the_adapter(tune, tmp_path):
    model = tiny.model("bert")
    save_adapter(tune(model), tmp_path / "a")
    fresh = tiny.model("bert")
    load_adapter(fresh, tmp_path / "a")
    assert fresh.config.id2label == {0: "negative", 1: "positive"}
    use_adapter(fresh, None)
    assert fresh.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


def test_switching_takes_less_than_a_millisecond_at_minilm_s_size(tune, tmp_path):
    model = tiny.model("bert", hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    for name in ("value", "qkv"):
        save_adapter(tune(model, name), tmp_path / name)
    for name in ("value", "qkv"):
        load_adapter(model, tmp_path / name, name)
    seconds = []
    for turn in range(60):
        started = time.perf_counter()
        use_adapter(model, ("value", "qkv")[turn % 2])
        seconds.append(time.perf_counter() - started)
    assert min(seconds[::2]) < 1e-3 and min(seconds[1::2]) < 1e-3, f"{min(seconds) * 1e3:.2f} ms"


@pytest.mark.parametrize(
    "family, method", _pairs(BIASED, ["value", "qkv", "all_biases", "head", "value@top-half"], "qkv")
)
def test_merging_leaves_a_stock_model(family, method, tune, tmp_path):
    model, stock = tiny.model(family), tiny.model(family)
    save_adapter(tune(model, method), tmp_path / "a")
    load_adapter(stock, tmp_path / "a")
    expected, keys = logits(stock), tiny.model(family).state_dict().keys()
    assert merge_adapter(stock) is stock
    assert stock.state_dict().keys() == keys and not all_deltas(stock)
    assert [type(m) for m in stock.modules()] == [type(m) for m in tiny.model(family).modules()]
    torch.testing.assert_close(logits(stock), expected, atol=1e-5, rtol=0)
    stock.save_pretrained(tmp_path / "merged")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(logits(again), expected, atol=1e-5, rtol=0)
    if any(bool(t.any()) for key, t in load_file(tmp_path / "a" / WEIGHTS).items() if ".beft_bias" in key):
        with pytest.raises(AdapterError, match="other weights"):  # the merged model is another base
            load_adapter(stock, tmp_path / "a")
    else:  # a head stored whole: to put it there again changes nothing
        load_adapter(stock, tmp_path / "a")
        torch.testing.assert_close(logits(stock), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["lora", "random_uniform"])
def test_merging_what_is_no_adapter(method, tune, tmp_path):
    model = tiny.model("bert")
    tune(model, method)
    expected = logits(model)
    with pytest.raises(AdapterError, match=r"more than biases.*merge_adapter"):
        save_adapter(tune(model, method), tmp_path / "a")
    merge_adapter(model)
    assert model.state_dict().keys() == tiny.model("bert").state_dict().keys()
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=0)


def test_a_prefix_is_kept_by_peft(tune, tmp_path):
    run = tune(tiny.model("bert"), "prefix")
    with pytest.raises(AdapterError, match=r"keep the prefix and the head: .*save_peft\(run\.model, folder\)"):
        save_adapter(run, tmp_path / "a")
    with pytest.raises(AdapterError, match=r"a prefix, which no weight can hold.*save_peft\(model, folder\)"):
        merge_adapter(run.model)


def test_nothing_to_merge():
    with pytest.raises(AdapterError, match="nothing to merge: call load_adapter"):
        merge_adapter(tiny.model("bert"))


# Refusals: (what is done to the folder, the model's changes, what the error says)


def _drop(folder: Path) -> None:
    _retensor(folder, lambda tensors: tensors.pop(next(iter(tensors))))


def _retensor(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change tensors, and beft.json's fingerprint with them: what a careful forger would write."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    edit(
        folder / OWN,
        lambda own: own["file"].update(sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()),
    )


def _as_peft(folder: Path) -> None:
    (folder / OWN).unlink()


def _set(name: str, value: Any, file: str = OWN, inside: str = "") -> Callable[[Path], Any]:
    def change(found: dict[str, Any]) -> None:
        (found[inside] if inside else found)[name] = value

    return lambda folder: edit(folder / file, change)


def _both(*steps: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda folder: [step(folder) for step in steps]


def _retensor_with(key: str, change: Callable[[Tensor], Tensor]) -> Callable[[Path], Any]:
    return lambda folder: _retensor(folder, lambda tensors: tensors.update({key: change(tensors[key])}))


def _text_of(name: str, old: str, new: str) -> Callable[[Path], Any]:
    """Exchange a piece of a file's text, its digest left as it was: an accident, or an honest editor."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


def _fill(value: float) -> Callable[[Path], Any]:
    return lambda folder: _retensor(folder, lambda tensors: next(iter(tensors.values())).view(-1)[0].fill_(value))


def _add(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Callable[[Path], Any]:
    return lambda folder: _retensor(folder, lambda tensors: tensors.update({name: torch.zeros(shape, dtype=dtype)}))


def _link(name: str) -> Callable[[Path], Any]:
    def move(folder: Path) -> None:
        _can_link(folder.parent)
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")

    return move


def _can_link(folder: Path) -> None:
    """Skip where links may not be made: Windows without its developer mode."""
    try:
        (folder / "a-link").symlink_to(folder)
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    (folder / "a-link").unlink()


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda folder: (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))


def _flip(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def _text(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


WORD = "base_model.model.bert.embeddings.word_embeddings.weight"
VALUE9 = "base_model.model.bert.encoder.layer.9.attention.self.value.beft_bias"
POSITION = "base_model.model.bert.embeddings.position_embeddings.weight"
BIAS = "base_model.model.classifier.bias"
OUTPUT = "base_model.model.bert.encoder.layer.0.output.dense.beft_bias"
REFUSALS: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "another family": (lambda _: None, {"family": "electra"}, "family 'bert'.*has family 'electra'"),
    "another base": (lambda _: None, {"seed": 1}, "other weights.*Load it on"),
    "another width": (lambda _: None, {"hidden_size": 64}, "width 32.*has width 64"),
    "more layers": (lambda _: None, {"num_hidden_layers": 3}, "layers 2.*has layers 3"),
    "fewer layers": (lambda _: None, {"num_hidden_layers": 1}, "layers 2.*has layers 1"),
    "more labels": (lambda _: None, {"labels": 3}, "2 labels, this model's with 3.*num_labels=2"),
    "PEFT's, another base": (_both(_as_peft, _set("base_model_name_or_path", "google/bert-x", CONFIG)),
                             {"name": "/me/bert-y"},
                             "trained on 'google/bert-x'; this model is '/me/bert-y'"),
    "PEFT's, another family": (_as_peft, {"family": "roberta"}, "bert.* is not in Roberta"),
    "PEFT's, another width": (_as_peft, {"hidden_size": 64}, r"shape \(1, 32\).*needs \(1, 64\)"),
    "PEFT's, fewer layers": (_as_peft, {"num_hidden_layers": 1}, "which has 1 layers.*up to layer number 1"),
    "PEFT's, more layers": (_both(_as_peft, _set("target_modules", ["value"], CONFIG)), {"num_hidden_layers": 3},
                            "missing.*layer.2"),
    "PEFT's, more labels": (_as_peft, {"labels": 3}, "2 labels, this model's with 3"),
    "PEFT's, a tensor missing": (_both(_drop, _as_peft), {}, "1 tensors are missing"),
    "PEFT's, a tensor too many": (_both(_add(OUTPUT, 1, 32), _as_peft), {}, "more than the adapter should hold"),
    "PEFT's, a weight too many": (_both(_add(WORD, 4, 32), _as_peft), {}, "more than the adapter should hold"),
    "PEFT's, NaN": (_both(_fill(math.nan), _as_peft), {}, "NaN or infinity"),
    "PEFT's, truncated": (_both(_as_peft, _bytes(lambda data: data[:-5])), {}, "no whole safetensors file"),
    "PEFT's pattern, a tensor missing": (_both(_drop, _as_peft, _set("target_modules", r".*\.value", CONFIG)), {},
                                         "1 tensors are missing"),
    "PEFT's pattern, one too many": (_both(_add(OUTPUT, 1, 32), _as_peft, _set("target_modules", r".*\.value", CONFIG)),
                                     {}, "more than the adapter should hold"),
    "PEFT's pattern is none": (_both(_as_peft, _set("target_modules", "(", CONFIG)), {}, "which is no pattern"),
    "PEFT's, no targets": (_both(_as_peft, _set("target_modules", None, CONFIG)), {}, "target_modules is null"),
    "PEFT's, a base that is no name": (_both(_as_peft, _set("base_model_name_or_path", 3, CONFIG)), {},
                                       "base_model_name_or_path is 3"),
    "PEFT's, no base named": (_both(_as_peft, _set("base_model_name_or_path", None, CONFIG)), {"name": "/me/bert-y"},
                              "base_model_name_or_path is None"),
    "PEFT's, embeddings": (_both(_add(POSITION, 64, 32), _set("modules_to_save", ["position_embeddings"], CONFIG),
                                 _as_peft), {}, "more than the adapter should hold"),
    "LoRA": (_both(_as_peft, _set("peft_type", "LORA", CONFIG)), {}, "peft_type is 'LORA'; expected 'BEFT'"),
    "truncated": (_bytes(lambda data: data[:-5]), {}, "truncated or altered"),
    "empty": (_bytes(lambda _: b""), {}, "truncated or altered"),
    "one bit altered": (_bytes(_flip), {}, "truncated or altered"),
    "a header of lies": (_both(_bytes(lambda _: b"\xff" * 64), _as_peft), {}, "no whole safetensors file"),
    "missing": (_drop, {}, "1 tensors are missing"),
    "extra": (_add(OUTPUT, 1, 32), {}, "1 tensors more"),
    "extra, and declared": (_both(_add(WORD, 4, 32), _set(WORD, [4, 32], inside="tensors")), {},
                            "more than the adapter should hold"),
    "no such layer": (_both(_add(VALUE9, 1, 32), _set(VALUE9, [1, 32], inside="tensors")), {},
                      "is not in Bert.*2 layers"),
    "NaN": (_fill(math.nan), {}, "NaN or infinity"),
    "infinity": (_fill(-math.inf), {}, "NaN or infinity"),
    "integers": (_add("base_model.model.x", 3, dtype=torch.int64), {}, "int64; expected floating point"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), {}, "has no adapter_model.safetensors"),
    "no adapter": (lambda f: [(f / CONFIG).unlink(), (f / OWN).unlink()], {}, "is no adapter"),
    "nothing": (shutil.rmtree, {}, "No folder .*save_adapter"),
    "a pickle": (lambda f: (f / WEIGHTS).rename(f / PICKLE), {}, "is a pickle.*not opened"),
    "a pickle beside it": (_text(PICKLE, "cos\nsystem\n"), {}, "is a pickle.*not opened"),
    "linked weights": (_link(WEIGHTS), {}, "safetensors is a link to"),
    "linked beft.json": (_link(OWN), {}, "beft.json is a link to"),
    "linked config": (_link(CONFIG), {}, "adapter_config.json is a link to"),
    "weights elsewhere": (_set("name", "../elsewhere.safetensors", inside="file"), {}, "no other path"),
    "weights at the root": (_set("name", "/etc/passwd", inside="file"), {}, "no other path"),
    "base by a path": (_set("name", "../../secret", inside="base"), {}, "not a path"),
    "base by a root": (_set("hub", "/etc/passwd", inside="base"), {}, "not a path"),
    "base from Windows": (_set("name", "C:\\secret", inside="base"), {}, "not a path"),
    "dots in a target": (_both(_as_peft, _set("target_modules", ["../../value"], CONFIG)), {}, "not a module's name"),
    "dots in a module": (_set("modules_to_save", ["../classifier"]), {}, "not a module's name"),
    "no JSON": (_text(OWN, "{'format': 1"), {}, "cannot be read as JSON"),
    "JSON too deep": (_text(OWN, "[" * 200_000), {}, "cannot be read as JSON|expected a JSON object"),
    "a list": (_text(OWN, "[1]"), {}, "expected a JSON object"),
    "PEFT's list": (_both(_as_peft, _text(CONFIG, "[1]")), {}, "expected a JSON object"),
    "PEFT's types": (_both(_as_peft, _set("modules_to_save", 3, CONFIG)), {}, "modules_to_save"),
    "a newer format": (_set("format", 4), {}, "format 4.*reads 2 to 3.*Update"),
    "an older format": (_set("format", 1), {}, "format 1.*reads 2 to 3.*saved anew"),
    "no weights of the head": (lambda f: edit(f / OWN, lambda own: own["base"].pop("head")), {}, "'head' is None"),
    "text for the head's weights": (_set("head", {"bert.pooler.dense.bias": ["a"] * 16}, inside="base"), {},
                                    "other weights"),
    "head's weights that are not there": (_set("head", {"bert.pooler.forward": [0.0]}, inside="base"), {},
                                          "other weights"),
    "no versions": (lambda f: edit(f / OWN, lambda own: own.pop("versions")), {}, "'versions' is None"),
    "versions of another type": (_set("versions", ["torch"]), {}, "'versions' is \\['torch'\\]"),
    "labels that are lists": (_set("labels", [["a"], ["b"]]), {}, "labels are .*expected names"),
    "a label twice": (_set("labels", ["a", "a"]), {}, "none twice"),
    "labels swapped": (_text_of(OWN, '"negative",\n  "positive"', '"positive",\n  "negative"'), {}, "digest differs"),
    "a number for a bias": (_retensor_with(BIAS, lambda t: t[0].clone()), {}, r"shape \(\).*needs \(2,\)"),
    "embeddings as a module": (_both(_add(POSITION, 64, 32), _set(POSITION, [64, 32], inside="tensors"),
                                     _set("modules_to_save", ["classifier", "bert.embeddings"])), {},
                               "more than the adapter should hold"),
    "infinity for a sample": (lambda f: edit(f / OWN, lambda own: own["base"].update(
        sample=[math.inf] * len(own["base"]["sample"]))), {}, "other weights"),
    "a field gone": (lambda f: edit(f / OWN, lambda own: own.pop("tensors")), {}, "'tensors' is None"),
    "a field of another type": (_set("layers", "two", inside="base"), {}, "'layers' is 'two'"),
    "text for a sample": (_set("sample", ["a"] * 72, inside="base"), {}, "other weights"),
}  # fmt: skip


@pytest.mark.parametrize("steps, said", [(2, "stopped after 2 steps"), (10_000, " epochs, batch ")])
def test_the_card_says_how_long_was_trained(steps, said, tune, tmp_path):
    folder = save_adapter(replace(tune(tiny.model("bert")), steps=steps), tmp_path / "a")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert said in card and ("stopped after" in card) == (steps == 2)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return tmp_path_factory.mktemp("good") / "a"


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_with_a_clear_error_and_nothing_changed(case, good, tune, tmp_path):
    if not good.exists():
        save_adapter(tune(tiny.model("bert")), good)
    folder = tmp_path / "a"
    shutil.copytree(good, folder)
    spoil, changes, message = REFUSALS[case]
    spoil(folder)
    changes = dict(changes)
    labels, name = changes.pop("labels", 2), changes.pop("name", "")
    model = tiny.model(changes.pop("family", "bert"), **changes)
    model.config.name_or_path = name
    if labels != 2:
        model.classifier, model.config.num_labels = nn.Linear(32, labels), labels
    before, attributes = state(model), dict(model.__dict__)
    with pytest.raises(AdapterError, match="(?s)" + message) as caught:
        load_adapter(model, folder)
    assert same_state(before, state(model)) and model.__dict__ == attributes
    assert len(str(caught.value)) < 600


def _others_scaled(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if not any(term in name for term in ("query", "key", "value")):
            parameter.data.mul_(1.5)


def _last_layer_changed(model: Any) -> None:
    model.bert.encoder.layer[-1].output.dense.weight.data.mul_(1.5)


def _embeddings_changed(model: Any) -> None:
    model.bert.embeddings.word_embeddings.weight.data.mul_(1.5)


@pytest.mark.parametrize("change", [_others_scaled, _last_layer_changed, _embeddings_changed])
def test_a_base_that_differs_outside_attention_is_another_base(change, tune, tmp_path):
    save_adapter(tune(tiny.model("bert")), tmp_path / "a")
    other = tiny.model("bert")
    change(other)
    with pytest.raises(AdapterError, match="other weights"):
        load_adapter(other, tmp_path / "a")


@pytest.mark.parametrize("between", ["lora", "random_uniform", "full"])
def test_a_base_is_known_under_another_run(between, tune, tmp_path):
    save_adapter(tune(tiny.model("bert")), tmp_path / "a")
    model = tiny.model("bert")
    tune(model, between, seed=5)
    load_adapter(model, tmp_path / "a")


@pytest.mark.parametrize("key", [BIAS, None])
def test_numbers_too_large_for_a_16_bit_base_are_refused(key, tune, tmp_path):
    """A head's number as well as a bias plus its delta."""
    folder = save_adapter(tune(tiny.model("bert")), tmp_path / "a")
    key = key or next(k for k in load_file(folder / WEIGHTS) if k.endswith("beft_bias"))
    _retensor_with(key, lambda tensor: torch.full_like(tensor, 1e30))(folder)
    half: Any = tiny.model("bert")
    half.to(torch.float16)
    before = state(half)
    with pytest.raises(AdapterError, match=r"become infinite in this model's torch.float16.*float32"):
        load_adapter(half, folder)
    assert same_state(before, state(half))


def test_merging_refuses_before_a_lora_run_is_in_the_weights(tune):
    """In training mode folding is not exact: the model, and LoRA around it, stay as they were."""
    model = tiny.model("bert", attention_probs_dropout_prob=0.1)
    tune(model, "lora")
    expected = logits(model.eval())
    model.train()
    with pytest.raises(ModelError, match=r"model.eval"):
        merge_adapter(model, fold=True)
    model.eval()
    torch.testing.assert_close(logits(model), expected)
    assert merge_adapter(model, fold=True) is model


def test_a_refused_adapter_leaves_the_one_in_use(tune, tmp_path):
    model = tiny.model("bert")
    save_adapter(tune(model), tmp_path / "a")
    load_adapter(model, tmp_path / "a")
    before = state(model)
    _bytes(_flip)(tmp_path / "a")
    with pytest.raises(AdapterError):
        load_adapter(model, tmp_path / "a")
    assert same_state(before, state(model)) and list(model.__dict__["beft_adapters"]) == ["default"]


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "phi3"])
def test_a_fused_family_s_adapter_is_ours_alone_and_says_so(family, tune, tmp_path):
    folder = save_adapter(tune(tiny.model(family), "value"), tmp_path / "a")
    path = FAMILIES[family].layout.module("value")
    parts = [key for key in load_file(folder / WEIGHTS) if ".beft_bias" in key]
    assert len(parts) == 2 and all(key.endswith(f"{path}.beft_bias.value") for key in parts)
    assert not (folder / CONFIG).exists() and not describe_adapter(folder)["peft"]
    assert "Stock PEFT cannot load this" in (folder / CARD).read_text(encoding="utf-8")
    with pytest.raises(AdapterError, match=r"trained on .* with family"):
        load_adapter(tiny.model("opt"), folder)


def test_a_part_of_a_fused_bias_of_another_width_is_refused(tune, tmp_path):
    folder = save_adapter(tune(tiny.model("phi3"), "value"), tmp_path / "a")
    wider = tiny.model("phi3", num_key_value_heads=4)
    before = state(wider)
    with pytest.raises(AdapterError, match=r"other weights|shape"):
        load_adapter(wider, folder)
    assert same_state(before, state(wider))


def test_a_bias_free_model_s_adapter_opens_in_stock_peft_on_the_stock_model(tune, tmp_path):
    model = tiny.model("llama", zero="qkv")
    folder = save_adapter(tune(model, "value"), tmp_path / "a")
    stock = tiny.model("llama", zero="qkv")
    for part in (part for term in ("query", "key", "value") for part in parts_of(stock, term)):
        part.module.register_parameter("bias", None)
    with pytest.raises(AdapterError, match=r"no bias to move. Call add_biases"):
        load_adapter(stock, folder)
    opened = PeftModel.from_pretrained(stock, str(folder)).eval()
    torch.testing.assert_close(logits(opened), logits(model), atol=1e-5, rtol=0)


def test_a_bias_free_layer_says_how_to_get_one(tune, tmp_path):
    save_adapter(tune(tiny.model("bert")), tmp_path / "a")
    _as_peft(tmp_path / "a")
    bare = tiny.model("bert")
    for module in (m for n, m in bare.named_modules() if n.endswith("self.value")):
        module.register_parameter("bias", None)
    with pytest.raises(AdapterError, match=r"no bias to move. Call add_biases"):
        load_adapter(bare, tmp_path / "a")


# Saving


def test_what_is_no_adapter_is_not_saved_as_one(tune, tmp_path):
    model = tiny.model("bert")
    with pytest.raises(AdapterError, match="save_pretrained"):
        save_adapter(tune(model, "full"), tmp_path / "a")
    stale = tune(model, "value")
    tune(model, "qkv")
    with pytest.raises(AdapterError, match=r"no longer holds.*run fine_tune again"):
        save_adapter(stale, tmp_path / "a")
    run = tune(model, "value")
    save_adapter(run, tmp_path / "b")
    load_adapter(model, tmp_path / "b")
    with pytest.raises(AdapterError, match="no longer holds"):
        save_adapter(run, tmp_path / "a")
    diverged = tune(model, "value")
    all_deltas(model)[0].delta.data[0] = math.nan
    with pytest.raises(AdapterError, match=r"NaN or infinity.*smaller learning rate"):
        save_adapter(diverged, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_only_an_adapter_is_replaced(tune, tmp_path):
    run = tune(tiny.model("bert"))
    mine = tmp_path / "mine"
    mine.mkdir()
    save_adapter(run, mine)  # an empty folder holds nothing to lose
    (mine / "notes.txt").write_text("weeks of work", encoding="utf-8")
    with pytest.raises(AdapterError, match=r"notes\.txt.*Choose another folder"):
        save_adapter(run, mine)
    (mine / "notes.txt").unlink()
    assert save_adapter(run, mine) == mine
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("not an adapter", encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    _can_link(tmp_path)
    (tmp_path / "link").symlink_to(mine)
    for name, message in (("model", r"README\.md"), ("file", "is a file"), ("link", "is a link")):
        with pytest.raises(AdapterError, match=message):
            save_adapter(run, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "model", "file", "link"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize("exchange", [True, False], ids=["one step", "two renames"])
@pytest.mark.parametrize("replaced", [True, False], ids=["replacing", "new"])
def test_a_kill_at_any_point_leaves_the_old_or_the_new(exchange, replaced, tune, tmp_path, monkeypatch):
    model, found = tiny.model("bert"), {}
    for seed in (0, 1):
        path = save_adapter(tune(model, seed=seed), tmp_path / f"source{seed}")
        found[seed] = {file.name: file.read_bytes() for file in path.iterdir()}
    if not exchange:
        monkeypatch.setattr(adapter_folder, "_exchange", lambda one, other: False)
    elif not adapter_folder._exchange(*(path for path in (tmp_path / "source0", tmp_path / "source1"))):
        pytest.skip("this file system cannot exchange two folders")
    folder, outcomes = tmp_path / "room" / "a", set()
    for point in range(200):
        shutil.rmtree(folder.parent, ignore_errors=True)
        if replaced:
            write_folder(folder, found[0])
        child = os.fork()
        if child == 0:
            _write_until_killed(folder, found[1], point)
        status = os.waitpid(child, 0)[1]
        held = _held(folder)
        assert held in (found[1], found[0] if replaced else None), f"killed at point {point}"
        if exchange and replaced:  # then even a reader that knows nothing of us never sees a gap
            assert {path.name for path in folder.iterdir()} == {WEIGHTS, CONFIG, OWN, CARD}
        outcomes.add(held == found[1])
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0 and held == found[1]
            break
        write_folder(folder, found[1])  # and the next save works
        assert _held(folder) == found[1]
    assert point > 10 and outcomes == {True, False}


def _held(folder: Path) -> dict[str, bytes] | None:
    try:
        at = read_folder(folder).folder
    except AdapterError:
        assert not folder.exists()
        return None
    return {path.name: path.read_bytes() for path in at.iterdir()}


def _write_until_killed(folder: Path, files: dict[str, bytes], point: int) -> None:
    """Kill -9 before the file operation of that number; never returns."""
    left = [point]

    def watch(event: str, _: Any) -> None:
        if event in (
            "open",
            "os.mkdir",
            "os.rename",
            "os.remove",
            "os.rmdir",
            "os.chmod",
            "shutil.rmtree",
            "ctypes.dlsym",
        ):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    try:
        sys.addaudithook(watch)
        write_folder(folder, files)
        os._exit(0)
    finally:
        os._exit(1)


def test_what_a_kill_leaves_behind_is_swept_when_old(tmp_path):
    for name, age in ((".a.old1.part", 7200), (".a.new1.part", 0), (".b.x.part", 7200)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    write_folder(tmp_path / "a", {OWN: b"{}"})
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".a.new1.part", ".b.x.part"}


def test_lora_is_peft_s_own_business(tune, tmp_path):
    run = tune(tiny.model("bert"))
    get_peft_model(run.model, LoraConfig(target_modules=["query"], r=2))
    with pytest.raises(BeftError, match=r"no longer holds|save_pretrained"):
        save_adapter(run, tmp_path / "a")


def test_a_real_run_end_to_end(task, tmp_path):
    model = load_model(tiny.save(tmp_path / "base"), task)
    run = fine_tune(model, task, "value", epochs=1, progress=False)
    folder = save_adapter(run, tmp_path / "a")
    other = load_model(tmp_path / "base", task, seed=9)
    load_adapter(other, folder)
    torch.testing.assert_close(logits(other), logits(model), atol=1e-6, rtol=0)
    assert folder.joinpath(WEIGHTS).stat().st_size < 8000
    assert sum(p.numel() for p in head_parameters(model).values()) + 64 == describe_adapter(folder)["parameters"]
