"""The prompt playground and the box before and after: the library's own prompts and answers, quick, readable."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from beft_lib import ask, load_model, load_task, widget_prompts, widgets
from beft_lib.asked import look
from beft_lib.biases import all_deltas, install
from beft_lib.display import descriptions
from beft_lib.errors import DataError, UnknownName
from beft_lib.models import load_tokenizer
from beft_lib.pocket.tokenizer import make_tokenizer
from beft_lib.pocket.untrained import make_model
from beft_lib.prompts import PROMPTS
from beft_lib.widget_prompts import SHOTS, before_and_after, prompt_playground

TEXTS = {
    "title": "Anna and Tom",
    "context": "Anna is in the hall. Tom has a red ball.",
    "question": "Who is in the hall?",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A random pocket-opt whose answers differ."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer("opt")
    made = make_model("opt", tokenizer)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    folder = tmp_path_factory.mktemp("opt")
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_model(folder, load_task("rte", "pocket", prompted=True))


@pytest.fixture(scope="module")
def tasks():
    return {name: load_task(name, "pocket", prompted=True, n_train=40, n_validation=6) for name in PROMPTS}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("shots", [0, 2, SHOTS])
def test_it_asks_exactly_as_the_library_does(name, shots, model, tasks):
    task = tasks[name]
    answers, tokenizer = ask(model, task, shots=shots), load_tokenizer(model)
    seen = [look(model, task, number, shots, tokenizer=tokenizer) for number in range(3)]
    for number, one in enumerate(seen):
        ids = answers.prompts.ids[number]
        assert one.pieces == [tokenizer.decode([i]) for i in ids] and one.room == answers.prompts.room
        assert one.right == task.prompt.answer(task.validation[number]).strip()
        if answers.scores is not None:
            assert list(one.answers.values()) == pytest.approx(answers.scores[number].tolist(), abs=1e-4)
        else:
            assert answers.predictions[number] in one.answers and one.right in one.answers
        own = len(tokenizer(task.prompt.ask(task.validation[number]))["input_ids"])
        assert len(one.pieces) - one.before == (own - 1 if one.shown else own)
        assert (one.shown < shots) == ("left out" in one.fitted)
    assert sum(one.shown for one in seen) > 0 or shots == 0


def test_what_did_not_fit_is_told(model, tasks):
    full = look(model, tasks["squad"], 0, SHOTS)
    assert 0 < full.shown < SHOTS and full.numbers["demonstrations"] == f"{full.shown} of {SHOTS}"
    long = replace(tasks["rte"], prompt=replace(PROMPTS["rte"], max_length=20))
    cut = look(model, long, 0, 0)
    assert cut.lost > 0 and len(cut.pieces) == cut.room and f"first {cut.lost} tokens" in cut.fitted


@pytest.mark.parametrize("name", PROMPTS)
def test_the_picture_is_told_and_has_a_twin(name, model, tasks):
    shown = prompt_playground(model, tasks, name, example=1, shots=3)
    (told,) = descriptions(shown.plot())
    seen = shown.look()
    assert f"{len(seen.pieces)} tokens" in told.alt and repr(seen.right) in told.alt
    assert {"tokens", "demonstrations", "left out"} < set(told.table.index) and len(told.table) == 3 + len(seen.answers)


def test_controls_answer_within_100_ms(model, tasks):
    pytest.importorskip("ipywidgets")
    controls, prompt, table = prompt_playground(model, tasks, "sst2", 0, 0).live().children
    task, example, shots = controls.children
    assert [c.description for c in (task, example, shots)] == ["Task", "Example", "Demonstrations"]
    alone = prompt.value
    assert "of sst2, example 0" in alone and "aria-live" in table.value
    shots.value = 2
    assert prompt.value != alone and "2 of 2" in table.value
    task.value = "rte"
    assert "of rte" in prompt.value and "log p of &#x27;Yes&#x27;" in table.value
    taken = []
    for number in range(10):
        begun = time.process_time()  # of our own: other work on the machine does not count
        example.value = number % 5 + 1
        taken.append(time.process_time() - begun)
    assert sorted(taken)[5] < 0.1


def test_one_output_holds_the_widget_and_its_fallback(model, tasks, monkeypatch):
    pytest.importorskip("ipywidgets")
    published: list[tuple[dict, dict]] = []
    monkeypatch.setattr(widgets, "_publish", lambda data, metadata=None: published.append((data, metadata or {})))
    prompt_playground(model, tasks)._ipython_display_()
    (data, metadata), (twin, _) = published
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"].startswith("A prompt of rte") and "<table" in twin["text/html"]


def test_what_is_not_there_is_told(model, tasks):
    with pytest.raises(UnknownName, match="rte"):
        prompt_playground(model, tasks, "mnli")
    with pytest.raises(DataError, match="0 to 5"):
        prompt_playground(model, tasks, "rte", 6)
    with pytest.raises(DataError, match="question"):
        before_and_after(model, tasks["squad"], title="a", context="b")


def test_before_is_without_the_deltas_and_leaves_them(model, tasks):
    box = before_and_after(model, tasks["squad"], **TEXTS)
    plain = box.answers(TEXTS)
    assert plain["before"] == plain["after"] and len(plain) == 2
    install(model, ["value"])
    try:
        with torch.no_grad():
            for delta in all_deltas(model):
                delta.delta.add_(torch.randn_like(delta.delta) * 3)
        tuned = box.answers(TEXTS)
        assert tuned["before"] == plain["before"] != tuned["after"]
        assert all(delta.delta.any() for delta in all_deltas(model))
    finally:
        from beft_lib.biases import remove

        remove(model)


def test_the_box_answers_what_is_written_into_it(model, tasks):
    pytest.importorskip("ipywidgets")
    *boxes, button, said = before_and_after(model, tasks["squad"], **TEXTS).live().children
    assert [box.description for box in boxes] == ["Title", "Context", "Question"]
    boxes[1].value = "Anna has a zeppelin."
    assert "zeppelin" not in said.value
    button.click()
    assert "zeppelin" in said.value and "aria-live" in said.value
    boxes[1].value = "Anna is in the hall. " * 60
    button.click()
    assert "not asked" in said.value
    assert widget_prompts.BeforeAfter(model, tasks["squad"], TEXTS).words().startswith("Asked 'Who is in the hall?'")
