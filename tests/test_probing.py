"""The probe: what it records, what it chooses, how it stops; several seeds; bad input."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from beft_lib import find_biases, load_model, load_task, probe
from beft_lib.errors import DataError, ModelError, ScoreError, TrainingError, UnknownName
from beft_lib.scores import importance, magnitude_per_layer
from beft_lib.settling import is_settled, patience_for, record_every, warm_up
from beft_lib.tuning import fine_tune


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


def test_what_cannot_be_ranked_by_importance_is_printed_by_magnitude(task, model):
    for bias in find_biases(model).values():
        for part in bias.parts:
            part.module.bias.data.zero_()
    many = probe(model, task, seeds=[0, 1], epochs=1, learning_rate=1e-2)
    with pytest.raises(ScoreError, match=r"starts at exactly zero"):
        many.ranking()
    for result in (many, many.results[0]):
        assert str(result).startswith("magnitude on sst2") and "No importance: The term query and" in str(result)
        assert "inf" not in repr(result)
    assert [row[0] for row in many.ranking(score=magnitude_per_layer)][-1] == "key"
    broken = {term: of * float("nan") for term, of in many.results[0].trajectory.items()}
    assert str(replace(many.results[0], trajectory=broken)).startswith("no scores on sst2")


# Early stop


def scores_at(steps, value, query):
    return np.stack([query, np.zeros(len(steps)), value], 1)  # (S, 3): query, key, value


STEPS = np.arange(61)


@pytest.mark.parametrize(
    "value, query, when",
    [
        (2e-3 * STEPS, 1e-3 * STEPS, 20),  # steady: as soon as patience and warm-up allow
        (2e-3 * STEPS, np.where(STEPS < 25, 3e-3 * (STEPS % 2), 1e-3) * STEPS, 35),  # places change until step 25
        (1e-3 * STEPS**2.0, 0.9e-3 * STEPS, 20),  # a gap that widens is no noise
        (1e-3 * STEPS * (1 + 0.1 * (-1.0) ** STEPS), 0.95e-3 * STEPS, None),  # changes places every step
        (1e-3 * STEPS * 1.2 ** (2 + (-1.0) ** STEPS), 1e-3 * STEPS * 1.01, None),  # first, but within its noise
        (1e-3 * STEPS, 1e-3 * STEPS * (0.1 + STEPS / 70), 22),  # it closes, but slowly
    ],
)
def test_a_ranking_is_settled_when_it_stands_above_its_noise(value, query, when):
    means = scores_at(STEPS, value, query)
    settled = [at for at in STEPS if is_settled(STEPS[: at + 1], means[: at + 1], patience=10, after=10)]
    if when is None:
        assert settled == []
    else:
        assert abs(settled[0] - when) <= 2 and settled[0] >= 20


def test_a_gap_that_is_closing_fast_is_not_above_its_noise():
    query = np.exp(np.minimum(0, (STEPS - 60) * 0.2))  # it doubles in 3.5 steps and would overtake
    settled = [
        at for at in STEPS[20:] if is_settled(STEPS[: at + 1], scores_at(STEPS, np.ones(61), query)[: at + 1], 10, 10)
    ]
    assert settled and max(settled) <= 51  # not where the gap is smaller than it was wide ten steps before


def test_the_first_steps_are_not_looked_at_and_patience_is_stated():
    assert warm_up(0.9) == 10 and warm_up(0.99) == 100
    assert patience_for(1000) == 40 and patience_for(30) == 10 and patience_for(1000, 3) == 3
    means = scores_at(STEPS, 2.0 * STEPS, 1.0 * STEPS)
    assert not is_settled(STEPS[:20], means[:20], 10, 10) and is_settled(STEPS[:21], means[:21], 10, 10)


def test_stop_stable_is_the_beginning_of_the_whole_probe(task, model):
    options = {"epochs": 20, "learning_rate": 1e-2}
    whole, early = probe(model, task, **options), probe(model, task, stop="stable", **options)
    assert whole.steps[-1] == whole.planned == 60 and whole.stopped == ""
    at = early.steps[-1]
    assert 20 <= at < 60 and "stood for 10 steps" in early.stopped and "stopped early" in str(early)
    assert early.planned == 60 and len(early.losses) == at and np.array_equal(early.losses, whole.losses[:at])
    assert early.settled() == whole.settled() == at  # the rule read off the record is the rule that stopped
    assert all(torch.equal(early.trajectory[t], whole.trajectory[t][: at + 1]) for t in whole.trajectory)
    longer = probe(model, task, stop="stable", patience=25, **options)
    assert longer.steps[-1] >= 35 or longer.stopped == ""


def test_a_short_probe_that_does_not_settle_runs_to_its_end(task, model):
    result = probe(model, task, stop="stable", epochs=3)
    assert result.steps[-1] == 9 and result.stopped == "" and result.settled() is None


def test_records_are_close_enough_for_the_patience():
    assert record_every(1890, 200) == record_every(1890, 200, None, 76) == 9
    assert record_every(1890, 200, None, 10) == 3 and record_every(1890, 200, None, 2) == 1
    assert record_every(1890, 200, 5, 10) == 5 and record_every(1890, 200, 50) == 50
    with pytest.raises(TrainingError, match=r"patience is 10 steps and every 9: .* at least 18, or every at most 5\."):
        record_every(1890, 200, 9, 10)
    with pytest.raises(TrainingError, match=r"patience is 1 steps and every 1: .* at least 2\."):
        record_every(1890, 200, None, 1)


def test_a_long_probe_with_a_short_patience_stops_all_the_same(task, model, monkeypatch):
    import beft_lib.probing as probing

    monkeypatch.setattr(probing, "RECORDED", 6)  # of 60 steps: one in ten, too few for a patience of 10
    result = probe(model, task, stop="stable", patience=10, epochs=20, learning_rate=1e-2)
    assert result.stopped and np.diff(result.steps)[0] == 3
    with pytest.raises(TrainingError, match=r"patience is 10 steps and every 6"):
        probe(model, task, stop="stable", patience=10, every=6)
    assert np.diff(probe(model, task, epochs=20).steps)[0] == 10  # nothing to stop: as many records as before


# Seeds


def test_seeds_give_a_ranking_with_a_spread(task, model):
    many = probe(model, task, seeds=[0, 1, 2], epochs=2, learning_rate=1e-2)
    alone = probe(model, task, seed=1, epochs=2, learning_rate=1e-2)
    assert many.results[1].ranking() == alone.ranking() and set(many.choices) == {0, 1, 2}
    frame = many.table()
    assert frame.index.tolist() == ["seed 0", "seed 1", "seed 2", "mean"]
    for term, mean, spread in many.ranking():
        assert mean == pytest.approx(frame.loc["mean", term]) and spread == pytest.approx(frame[term][:3].std())
    assert many.ranking()[0][2] > 0  # seeds differ
    assert many.best in str(many) and "3 seeds" in str(many)
    assert many.plot().get_title(loc="left") == "importance: sst2, one probe per seed"


def test_most_seeds_decide_and_the_mean_among_equals(task, model):
    from beft_lib.probing import Probes

    one = probe(model, task, epochs=1, learning_rate=1e-2)

    def moved(term, by, seed):
        still = {name: torch.zeros_like(t) for name, t in one.trajectory.items()}
        return replace(one, seed=seed, trajectory={**still, term: still[term] + by})

    votes = Probes((moved("query", 0.1, 0), moved("query", 0.1, 1), moved("value", 9.0, 2)))
    assert votes.best == "query" != votes.ranking()[0][0]
    assert Probes((moved("query", 0.1, 0), moved("value", 9.0, 2))).best == "value"


# Bad input


def test_bad_input_is_named(task, model, tmp_path):
    with pytest.raises(UnknownName, match=r"Unknown stop 'soon'.*stable"):
        probe(model, task, stop="soon")
    with pytest.raises(TrainingError, match=r"patience is 0"):
        probe(model, task, stop="stable", patience=0)
    with pytest.raises(TrainingError, match=r"seeds is \[\]; expected whole numbers"):
        probe(model, task, seeds=[])
    with pytest.raises(TrainingError, match=r"batch_size 49 is larger than the 48 training examples"):
        probe(model, task, batch_size=49)
    with pytest.raises(DataError, match=r"label 'negative'.*nothing to tell apart"):
        probe(model, replace(task, train=task.train.filter(lambda row: row["label"] == 0)))


def test_terms_that_cannot_be_ranked_are_said_before_a_step_is_trained(task, model, monkeypatch):
    import beft_lib.probing as probing

    for part in find_biases(model)["value"].parts:
        part.module.bias.data.zero_()
    monkeypatch.setattr(probing, "train", None)
    with pytest.raises(ScoreError, match=r"value starts at exactly zero"):
        probe(model, task, stop="stable")


def test_a_model_without_biases_is_told_how_to_get_some(task, model):
    for part in find_biases(model)["value"].parts:
        part.module.bias = None
    with pytest.raises(ModelError, match=r"no value bias in 2 of 2 layers.*add_biases"):
        probe(model, task)


def test_a_frozen_model_or_head_is_trained_all_the_same(task, model):
    """What requires a gradient is the method's business, whatever the model came with."""
    expected = probe(model, task, epochs=1)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found = probe(model, task, epochs=1)
    assert found.ranking() == expected.ranking() and np.array_equal(found.losses, expected.losses)


def test_one_layer_is_enough_also_to_settle(task, tmp_path):
    tiny.model("bert", head=False, num_hidden_layers=1).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    result = probe(load_model(tmp_path, task), task, stop="stable", epochs=20, learning_rate=1e-2)
    assert result.stopped and result.table().index.tolist() == ["layer 0", "mean"]
