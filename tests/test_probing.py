"""The probe: what it records, what it chooses, how it stops; planted problems that only one term can solve."""

import numpy as np
import pytest
import tiny
import torch
from transformers import TrainerCallback

from beft_lib import load_model, load_task, probe
from beft_lib.errors import ScoreError
from beft_lib.methods import fine_tune
from beft_lib.scores import importance, magnitude_per_layer


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return load_task("sst2", tiny.write_task(tmp_path_factory.mktemp("task")), n_train=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def model(task, folder):
    return load_model(folder, task)


def test_the_record_starts_at_pretrained_and_ends_where_training_ended(task, model):
    result = probe(model, task, epochs=3, learning_rate=1e-2)
    assert result.steps.tolist() == list(range(10))
    assert all(t.shape == (10, 2, 32) and not t[0].any() for t in result.trajectory.values())
    from beft_lib.biases import find_biases, snapshot

    now = snapshot(find_biases(model))
    assert all(torch.equal(result.post()[term], now[term]) for term in now)
    assert result.curve()["value"].shape == (10, 2) and not result.curve()["value"][0].any()


def test_scores_are_the_scores_of_pre_and_post(task, model):
    result = probe(model, task, epochs=2, learning_rate=1e-2)
    ranked = dict(result.ranking())
    for term in ranked:
        assert ranked[term] == pytest.approx(importance(result.pre[term], result.post()[term]), abs=1e-15)
    assert result.best == max(ranked, key=ranked.__getitem__)
    assert result.table().loc["mean", "value"] == pytest.approx(ranked["value"])
    assert result.best in str(result)


def test_the_key_bias_of_a_bert_does_not_move_but_for_rounding(task, model):
    result = probe(model, task, epochs=4, learning_rate=1e-2)
    scores = dict(result.ranking())
    assert scores["key"] < 1e-4 < scores["value"]


def test_recording_changes_nothing_about_training(task, model):
    bare = fine_tune(model, task, "qkv", epochs=2, learning_rate=1e-2)
    seen = probe(model, task, epochs=2, learning_rate=1e-2)
    assert np.array_equal(bare.losses, seen.losses)


def test_every_and_all_biases(task, model):
    result = probe(model, task, epochs=3, every=4, all_biases=True)
    assert result.steps.tolist() == [0, 4, 8, 9]
    assert result.counts.method > 6 * 32


def test_interrupting_returns_what_was_seen(task, model, monkeypatch):
    import beft_lib.probing as probing

    class Stop(probing._Record):
        def on_step_end(self, args, state, control, **kwargs):
            super().on_step_end(args, state, control, **kwargs)
            if state.global_step == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(probing, "_Record", Stop)
    result = probe(model, task, epochs=5)
    assert result.stopped == "interrupted" and result.steps.tolist() == [0, 1, 2, 3, 4] and len(result.losses) == 4
    assert "stopped early" in str(result)


def test_a_term_that_starts_at_zero_is_not_ranked_by_importance(task, model):
    from beft_lib.biases import find_biases

    for part in find_biases(model)["value"].parts:
        part.module.bias.data.zero_()
    result = probe(model, task, epochs=1, learning_rate=1e-2)
    with pytest.raises(ScoreError, match=r"value starts at exactly zero"):
        result.ranking()
    assert dict(result.ranking(score=magnitude_per_layer))["value"] > 0


class Planted(TrainerCallback):
    """Cuts the gradient of every term but one: the only way down is through that term."""

    def __init__(self, only):
        self.only = only

    def on_train_begin(self, args, state, control, **kwargs):
        from beft_lib.biases import all_deltas

        for delta in all_deltas(kwargs["model"]):
            if delta.term != self.only:
                delta.delta.register_hook(torch.zeros_like)


@pytest.mark.parametrize("only", ["query", "value"])
def test_a_planted_problem_is_found(only, task, model, monkeypatch):
    import beft_lib.probing as probing

    monkeypatch.setattr(
        probing, "train", lambda *a, callbacks, **k: real(*a, callbacks=[*callbacks, Planted(only)], **k)
    )
    from beft_lib.training import train as real

    assert probe(model, task, epochs=2, learning_rate=1e-2).best == only
