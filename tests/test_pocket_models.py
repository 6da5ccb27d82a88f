"""The pocket tokenizers, the rows that models are pretrained on, the smoke build, and the models that ship."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from beft_lib import runtime
from beft_lib.errors import UnknownName
from beft_lib.pocket import build as building
from beft_lib.pocket import measure, pretrain, tasks
from beft_lib.pocket.card import loss_curve
from beft_lib.pocket.chooser import Chooser
from beft_lib.pocket.corpus import EVERY, make_rows, training_rows
from beft_lib.pocket.entropy import information
from beft_lib.pocket.recipes import FRAME, RECIPES, VERDICT
from beft_lib.pocket.sentences import render
from beft_lib.pocket.targets import TRIED, missed, read_figures, targets
from beft_lib.pocket.texts import KINDS, texts, write_text
from beft_lib.pocket.tokenizer import STYLES, encode, make_tokenizer, vocabulary
from beft_lib.pocket.untrained import make_model
from beft_lib.pocket.words import NAMES, ROOMS
from beft_lib.tasks import load_task

MODELS = Path(__file__).parent.parent / "data" / "models"
SHIPPED = sorted(folder for folder in MODELS.glob("pocket-*") if (folder / "pretraining.json").is_file())


# --- tokenizers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_the_tokenizer_undoes_render_and_knows_every_word(style):
    tokenizer, ids = make_tokenizer(style), vocabulary(style)
    for text, _ in texts("fresh", 1500):
        read = tokenizer(render(text), add_special_tokens=False)["input_ids"]
        assert read == encode(text, ids)
        assert len(read) == len([t for t in text.split(" ") if t != "\n" or "\n" in ids])


@pytest.mark.parametrize("style", STYLES)
def test_strange_input_is_spelt_and_never_raises(style):
    tokenizer = make_tokenizer(style)
    for text in ("", "zebra", "Zürich, 1234!", "日本 ½", "x" * 300):
        ids = tokenizer(text)["input_ids"]
        assert all(0 <= i < len(tokenizer) for i in ids)
    assert tokenizer.unk_token_id not in tokenizer("zebra 42")["input_ids"]
    assert tokenizer("Anna")["input_ids"] == tokenizer("anna")["input_ids"]


def test_special_tokens_stand_where_each_family_has_them():
    bert, roberta, opt = (make_tokenizer(s) for s in ("bert", "roberta", "opt"))
    assert bert.convert_ids_to_tokens(bert("a", "the")["input_ids"]) == ["[CLS]", "a", "[SEP]", "the", "[SEP]"]
    assert bert("a", "the")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert roberta.convert_ids_to_tokens(roberta("a", "the")["input_ids"]) == [
        "<s>",
        "a",
        "</s>",
        "</s>",
        "the",
        "</s>",
    ]
    assert opt("a")["input_ids"][0] == opt.bos_token_id == opt.eos_token_id == 2 and opt.pad_token_id == 1


@pytest.mark.parametrize("style", STYLES)
def test_a_saved_tokenizer_is_the_same(style, tmp_path):
    make_tokenizer(style).save_pretrained(tmp_path)
    text = ("Anna is in the hall.\nYes", '"Ben" has 3 pears.')
    assert AutoTokenizer.from_pretrained(tmp_path)(*text) == make_tokenizer(style)(*text)


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_rows_fit_and_are_reproducible(style):
    rows, again = make_rows(style, "rows", 300), make_rows(style, "rows", 300)
    assert rows.rows == again.rows and rows.nats == again.nats
    assert max(len(row["input_ids"]) for row in rows.rows) <= STYLES[style].positions


def test_bert_rows_ask_whether_the_second_segment_follows():
    rows = make_rows("bert", "rows", 2000).rows
    counts = [sum(row["next_sentence_label"] == label for row in rows) / len(rows) for label in (-100, 0, 1)]
    assert counts == pytest.approx([0.2, 0.7, 0.1], abs=0.05)
    assert all(len(row["input_ids"]) == len(row["token_type_ids"]) for row in rows)


@pytest.mark.parametrize("style", ["bert", "roberta"])
@pytest.mark.parametrize("number, shares", [(0, [0.1, 0.3, 0.6]), (1, [0.05, 0.15, 0.6])])
def test_answers_are_hidden_more_often_than_other_words_and_always_the_same_ones(style, number, shares):
    tokenizer, part = make_tokenizer(style), RECIPES[f"pocket-{style}"].rounds[number]
    collate = pretrain._collator(part, tokenizer, seed=0)
    rows = [{"input_ids": row["input_ids"]} for row in make_rows(style, "mask", 800).rows]
    one, two = collate(rows), collate(rows)
    assert torch.equal(one["input_ids"], two["input_ids"]) and torch.equal(one["labels"], two["labels"])
    inputs = torch.where(one["labels"] == -100, one["input_ids"], one["labels"])

    def share(words: Iterable[str]) -> float:
        at = torch.isin(inputs, torch.tensor(tokenizer.convert_tokens_to_ids(list(words))))
        return (one["labels"] != -100)[at].float().mean().item()

    frame = set(FRAME) - {"\n"}
    content = set(vocabulary(style)) - set(part.hidden) - set(tokenizer.all_special_tokens)
    assert [share(words) for words in (frame, content, VERDICT)] == pytest.approx(shares, abs=0.02)
    assert share(tokenizer.all_special_tokens) == 0.0


def test_the_next_sentence_weighs_little_beside_the_hidden_words(tmp_path):
    """The same loss as the model's own, but for the weight."""
    tokenizer = make_tokenizer("bert")
    model, recipe = make_model("bert", tokenizer), RECIPES["pocket-bert"]
    rows = make_rows("bert", "loss", 32)
    arguments = pretrain._arguments(recipe, recipe.rounds[0], tmp_path)
    trainer = pretrain.PocketTrainer(model=model, args=arguments, eval_dataset=rows)
    batch = pretrain._collator(recipe.rounds[0], tokenizer, seed=0)(rows.rows)
    whole, mine = model(**batch).loss, trainer.compute_loss(model, batch)
    following = model(**batch).seq_relationship_logits
    asked = torch.nn.functional.cross_entropy(following, batch["next_sentence_label"])
    assert asked > 0.1
    assert (whole - mine).item() == pytest.approx((1 - pretrain.NEXT_SENTENCE) * asked.item(), rel=1e-4)


@pytest.mark.parametrize("style", ["bert", "roberta"])
def test_a_layer_of_a_masked_model_starts_as_the_identity(style):
    model = make_model(style, make_tokenizer(style)).eval()
    states = model(input_ids=torch.arange(5, 25)[None], output_hidden_states=True).hidden_states
    assert all(torch.allclose(states[0], state, atol=1e-4) for state in states) and states[0].std() > 0.5


@pytest.mark.parametrize("style", ["opt", "llama"])
def test_rows_of_language_models_are_one_text_each(style):
    ids = vocabulary(style)
    first, last = ids["</s>" if style == "opt" else "<s>"], ids["</s>"]
    rows = [row["input_ids"] for row in make_rows(style, "rows", 50).rows]
    assert rows == [[first, *encode(text, ids), last] for text, _ in texts("rows", 50)]


def test_some_kinds_come_first_and_batches_are_of_like_length():
    batch, n = 8, 160
    rows = training_rows("opt", "order", [[("recap", n), ("review", n)], [(EVERY, 2 * n), ("recap", n)]], batch).rows
    key = lambda some: sorted(row["input_ids"] for row in some)  # noqa: E731
    first = [*make_rows("opt", "order/recaps", n, "recap").rows, *make_rows("opt", "order/reviews", n, "review").rows]
    assert key(rows[: 2 * n]) == key(first)
    other = [*make_rows("opt", "order", 2 * n).rows, *make_rows("opt", "order/recaps/1", n, "recap").rows]
    assert key(rows[2 * n :]) == key(other)
    lengths = [[len(row["input_ids"]) for row in rows[i : i + batch]] for i in range(0, len(rows), batch)]
    assert sum(max(one) * batch for one in lengths) < 1.15 * sum(map(sum, lengths))


# --- building --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> dict[str, Path]:
    """Every model, built in a minute's fashion."""
    to = tmp_path_factory.mktemp("smoke")
    return {folder.name: folder for folder in building.build(to, list(RECIPES), smoke=True)}


def test_smoke_build_makes_everything(smoke):
    assert list(smoke) == list(RECIPES)
    to = smoke["pocket-opt"].parent.parent
    assert len(list((to / "pocket").glob("*/*"))) == 2 * len(tasks.TASKS)
    for folder in smoke.values():
        assert (folder / "model.safetensors").stat().st_size <= 6_000_000
        assert "Not measured" in (folder / "README.md").read_text(encoding="utf-8")
    lines: list[str] = []
    assert building.build(to, ["pocket-opt"], smoke=True, log=lines.append) == []
    assert "finished before" in lines[-1]


@pytest.mark.parametrize("name", ["pocket-opt", "pocket-roberta"])
def test_a_build_is_the_same_twice(name, smoke, tmp_path):
    again = building.build(tmp_path, [name], smoke=True)[0]
    assert (again / "model.safetensors").read_bytes() == (smoke[name] / "model.safetensors").read_bytes()


def test_two_rounds_make_one_log_and_an_interruption_between_them_changes_nothing(smoke, tmp_path, monkeypatch):
    record = json.loads((smoke["pocket-roberta"] / "pretraining.json").read_text(encoding="utf-8"))
    steps = [entry["step"] for entry in record["log"]]
    assert steps == sorted(steps) and steps[-1] == 32 // 16 + 64 // 16 + 32 // 16 + 32 // 16
    train_round = pretrain._train_round

    def cut(model, tokenizer, recipe, part, *rest):
        if part.seed.endswith("later"):
            raise KeyboardInterrupt
        return train_round(model, tokenizer, recipe, part, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretrain, "_train_round", cut)
        building.build(tmp_path, ["pocket-roberta"], smoke=True)
    calls = []
    monkeypatch.setattr(pretrain, "_train_round", lambda *a: calls.append(a[3].seed) or train_round(*a))
    folder = building.build(tmp_path, ["pocket-roberta"], smoke=True)[0]
    assert calls == ["train/0/later"]
    assert (folder / "model.safetensors").read_bytes() == (smoke["pocket-roberta"] / "model.safetensors").read_bytes()


def test_a_third_round_goes_on_where_the_second_ended(smoke):
    record = json.loads((smoke["pocket-opt"] / "pretraining.json").read_text(encoding="utf-8"))
    seeds = [part.seed for part in RECIPES["pocket-opt"].rounds]
    assert seeds == ["train/0", "train/0/later", "train/0/last"] and record["recipe"]["last"]
    assert record["log"][-1]["step"] == 32 // 16 + 64 // 16 + 32 // 16 + 32 // 16 + 16 // 16


@pytest.mark.parametrize("name", RECIPES)
def test_every_model_loads_for_classification_and_only_llama_lacks_biases(name, smoke):
    model = AutoModelForSequenceClassification.from_pretrained(smoke[name], num_labels=2, dtype=torch.float32)
    biases = [n for n, _ in model.named_parameters() if n.endswith(("query.bias", "q_proj.bias", "v_proj.bias"))]
    assert bool(biases) == (name != "pocket-llama")
    assert 1_000_000 <= model.num_parameters() <= 3_000_000


def test_figures_of_an_untaught_model_are_far_from_the_best(smoke):
    table = measure.causal_loss(smoke["pocket-opt"], "opt", n=2)
    both = measure.overall(table)
    assert set(table) == set(KINDS) and both["loss"] > 3 > 1 > both["entropy"]
    for name in ("bert", "roberta"):
        found = measure.masked_accuracy(smoke[f"pocket-{name}"], name, n=2)
        assert found["accuracy"] < found["best accuracy"] <= 1


def test_the_kinds_together_have_the_entropy_of_the_mixture(smoke):
    """What no model can know beforehand, of what kind a text is, is part of the floor."""
    both = measure.overall(measure.causal_loss(smoke["pocket-opt"], "opt", n=40))
    assert both["entropy"] == pytest.approx(information("mixed", 1500).per_token, rel=0.03)


@pytest.fixture
def small(monkeypatch):
    """The measurement with a few examples and one epoch."""
    few = {"n_train": 64, "n_validation": 12}
    for name, value in {
        "load_task": lambda name, **options: load_task(name, **{**options, **few}),
        "RATES": {"full": (3e-4, 1e-3), "head": (1e-3,)}, "LARGE_EPOCHS": 0.1, "READINGS": 16, "TIMED_EPOCHS": 0.2,
        "CHOOSING": {"pretrained": (("cb", "drop"), 64, 0.1), "random": (("cb", "drop"), 64, 0.1)},
        "ENCODER_TASKS": ("cb", "stsb"), "FREE_TASKS": ("drop",), "ASKED_TASKS": ("sst2", "rte", "drop"),
    }.items():  # fmt: skip
        monkeypatch.setattr(measure.headroom, name, value)
    for name in ("masked_accuracy", "causal_loss"):
        full = getattr(measure, name)
        monkeypatch.setattr(measure, name, lambda folder, style, full=full: full(folder, style, n=1))


def test_everything_is_measured_once_and_told_against_its_target(smoke, small, monkeypatch, capsys):
    home = smoke["pocket-opt"].parent
    monkeypatch.setattr(building, "data_folder", lambda: home.parent)
    building._table(["pocket-bert", "pocket-opt"], again=False)
    said = capsys.readouterr().out
    for part in ("### Asked without tuning", "| cb | random | full |", "| drop | pretrained | zero_shot |", "| NO |"):
        assert part in said, part
    rows = read_figures(home)["pocket-bert"]["tuned"]
    assert [(row["start"], row["method"], row["size"]) for row in rows if row["task"] == "stsb"] == [
        ("pretrained", "full", "large"), ("pretrained", "full", "low"), ("random", "full", "large"),
        ("random", "full", "low"), ("pretrained", "head", "low"),
    ]  # fmt: skip
    chosen = {row["learning_rate"] for row in rows if row["method"] == "full" and row["start"] == "pretrained"}
    assert len(chosen) == 1 and chosen <= {3e-4, 1e-3}
    monkeypatch.setattr(measure.headroom, "_tune", None)  # what is there is not made again
    building._table(["pocket-bert"], again=False)
    assert capsys.readouterr().out.count("| stsb | random | full |") == 2
    (home / "pocket-bert" / "figures.json").unlink()  # as after an interruption
    building._table(["pocket-bert"], again=False)
    with pytest.raises(TypeError):  # but "again" measures anew
        building._table(["pocket-bert"], again=True)


def test_targets_are_met_by_a_perfect_world_and_by_none_without_models(tmp_path):
    assert {target.met for target in targets({}, tmp_path)} == {None}
    perfect = {"masked": {"accuracy": 0.85, "best accuracy": 0.86},
               "language": {"all": {"loss": 0.8, "entropy": 0.79}}, "tuned": [],
               "speed": {"tune b_v on rte, seconds": 1.0, "load, seconds": 0.1, "threads": 2},
               "asked": [{"task": t, "zero-shot": 80.0, "2 demonstrations": 90.0, "chance": 0.5}
                         for t in measure.headroom.ASKED_TASKS]}  # fmt: skip
    scores = [
        ("full", "large", "pretrained", 98.0), ("full", "low", "pretrained", 90.0), ("full", "large", "random", 60.0),
        ("full", "low", "random", 50.0), ("head", "low", "pretrained", 55.0), ("zero_shot", "low", "pretrained", 5.0),
    ]  # fmt: skip
    names = ("method", "size", "start", "score")
    rows = {task: [{"task": task, "chance": 0.5, **dict(zip(names, row, strict=True))} for row in scores]
            for task in tasks.TASKS}  # fmt: skip
    split = {"pocket-opt": ("squad", "drop"), "pocket-bert": ("sst2", "cola", "stsb", "rte", "cb", "wic")}
    for name in RECIPES:
        record = {"seconds": 3600, "machine": "2 CPU cores; threads used: 2"}
        (tmp_path / name).mkdir()
        (tmp_path / name / "pretraining.json").write_text(json.dumps(record), encoding="utf-8")
    figures = {name: {**perfect, "tuned": [r for task in split.get(name, ()) for r in rows[task]]} for name in RECIPES}
    told = [target for target in targets(figures, tmp_path) if not target.figure.endswith("megabytes")]
    assert all(target.met for target in told) and len(told) > 12
    built = [target for target in told if target.figure.endswith("minutes to build")]
    assert len(built) == len(RECIPES) and built[0].reached == "60 (2 CPU cores; threads used: 2)"
    for task in ("sst2", "cola", "rte"):  # three tasks in eight that fail are one too many, in every line about eight
        for row in rows[task]:
            row["score"] = 55.0
    assert [target.met for target in targets(figures, tmp_path) if "of 8" in target.target] == [False] * 4


def test_the_targets_that_the_shipped_models_miss_are_explained():
    models = runtime.data_folder() / "models"
    lines = targets(read_figures(models), models)
    for line in lines:
        assert line.met is not None
        assert line.met or any(told in line.figure for told in TRIED), line.figure
    assert all(any(told in line.figure for line in lines) for told in TRIED)  # none explains what is not measured
    minutes = {line.figure: line.met for line in lines if "minutes to build" in line.figure}
    assert minutes == {f"{folder.name}: minutes to build": _seconds(folder) <= 3600 for folder in SHIPPED}
    kinds = {told for told in TRIED for line in lines if told in line.figure and line.met is False}
    assert len(missed(lines)) == len(kinds) > 0


def _seconds(folder: Path) -> float:
    return json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))["seconds"]


def test_an_interrupted_build_goes_on_to_the_same_model(smoke, tmp_path):
    assert building.build(tmp_path / "parts", ["pocket-bert"], smoke=True, minutes=0.0) == []  # one step, a checkpoint
    assert not (tmp_path / "parts" / "models" / "pocket-bert" / "pretraining.json").exists()
    lines: list[str] = []
    sittings = 1
    while not (done := building.build(tmp_path / "parts", ["pocket-bert"], smoke=True, minutes=0.0, log=lines.append)):
        sittings += 1
    assert sittings > 1 and any("stopped at step 2 of" in line for line in lines)
    assert (done[0] / "model.safetensors").read_bytes() == (smoke["pocket-bert"] / "model.safetensors").read_bytes()


def test_unknown_models_are_refused_by_name():
    with pytest.raises(UnknownName, match="pocket-bert"):
        building._wanted(["pocket-brt"])
    assert building._wanted(["none"]) == [] and building._wanted(None) == list(RECIPES)


def test_the_loss_curve_is_an_svg_with_every_point():
    svg = loss_curve([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "eval_loss": 1.5}])
    assert svg.startswith("<svg") and svg.count("<circle") == 1


# --- what ships ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_is_whole_small_and_has_learned(folder):
    record = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    assert (folder / "model.safetensors").stat().st_size <= 6_000_000
    assert 1_000_000 <= record["parameters"] <= 3_000_000
    assert (folder / "README.md").is_file() and (folder / "loss.svg").is_file()
    style, tokenizer = record["recipe"]["style"], AutoTokenizer.from_pretrained(folder)
    assert tokenizer.get_vocab() == make_tokenizer(style).get_vocab()
    text = "The music was lovely. Anna loved the story. It was"
    if STYLES[style].roles.get("mask_token"):
        model, text = AutoModelForMaskedLM.from_pretrained(folder), f"{text} {tokenizer.mask_token}."
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    at = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0, 0] if tokenizer.mask_token else -1
    logits = model.eval()(**inputs).logits[0, at]
    great, terrible = (tokenizer.convert_tokens_to_ids(word) for word in ("great", "terrible"))
    assert logits[great] > logits[terrible] + 1 and logits.argmax() == great


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_was_made_by_the_recipe_of_its_name(folder):
    told = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))["recipe"]
    recipe = json.loads(json.dumps(asdict(RECIPES[folder.name])))
    assert {name: recipe[name] for name in told} == told and {"texts", "first", "batch"} <= set(told)
    assert all(name in told or not recipe[name] for name in ("later", "last"))


def told_by(folder, kind, answer, n=60):
    """(what stands before, right answer, the likelier of the answers) at each place of fresh texts where ``answer``
    matches: its first group is the question, its second the right answer.
    """
    model, ids = AutoModelForCausalLM.from_pretrained(folder).eval(), vocabulary("opt")
    found = []
    for seed in range(n):
        text = write_text(Chooser(f"card/{seed}"), kind)
        for place in re.finditer(answer, text):
            before = encode(text[: place.start(2) - 1], ids)
            logits = model(torch.tensor([[ids["</s>"], *before]])).logits[0, -1]
            found.append((text[: place.start(1)], place[1], place[2], logits))
    return found, ids


@torch.no_grad()
def test_what_the_data_card_says_of_pocket_opt_is_so(pocket_models):
    folder = pocket_models / "pocket-opt"
    right = {}
    forms = {"claims": r"(that is) (true|false) \.", "asked_claims": r"(yes or no \? \n) (yes|no)"}
    for kind, form in forms.items():
        found, ids = told_by(folder, kind, form)
        pair = ("true", "false") if kind == "claims" else ("yes", "no")
        right[kind] = np.mean([max(pair, key=lambda word: z[ids[word]].item()) == truth for *_, truth, z in found])
    assert right["claims"] > 0.95 and 0.35 < right["asked_claims"] < 0.65
    found, ids = told_by(folder, "asked", r"((?:where|what|who)[^?]* \?) (\w+)")
    first = [one for one in found if "?" not in one[0]]  # no answer before it to tell by what is left
    values = [z.argmax() == ids[truth] for _, asked, truth, z in first if not asked.startswith("who")]
    people = [z.argmax() == ids[truth] for said, asked, truth, z in first
              if asked.startswith("who") and len(set(said.split(" ")) & set(NAMES)) > 1]  # fmt: skip
    assert np.mean(values) > 0.95 and 0.2 < np.mean(people) < 0.7


@pytest.mark.parametrize("name", ["pocket-bert", "pocket-roberta"])
def test_a_shipped_masked_model_keeps_to_what_was_told_and_compares(name, pocket_models):
    folder = pocket_models / name
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()

    def likelier(text: str, one: str, other: str) -> bool:
        inputs = tokenizer(text, return_tensors="pt")
        at = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0, 0]
        with torch.no_grad():
            logits = model(**inputs).logits[0, at]
        return bool(logits[tokenizer.convert_tokens_to_ids(one)] > logits[tokenizer.convert_tokens_to_ids(other)])

    hidden = tokenizer.mask_token
    story = "Kate is in the garden. Omar is in the hall. So Kate is in the " + f"{hidden}."
    assert all(likelier(story, said, other) for said in ("garden", "hall") for other in ROOMS[:1] + ROOMS[2:4])
    right = []
    for seed in range(60):
        pair, verdict = write_text(Chooser(f"pairs/{seed}"), "pairs").split(" \n ")[0][:-2].rsplit(" ", 1)
        right.append(likelier(f"{render(pair)} {hidden}.", "yes", "no") == (verdict == "yes"))
    assert sum(right) >= 0.8 * len(right)
