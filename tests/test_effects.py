"""Rankings on data, defined at a zero start: against the formula by hand, and blind to nothing they should see."""

from __future__ import annotations

import pytest
import torch

from beft_lib import biases
from beft_lib.architectures import FAMILIES, family_of, layers_of, output_of, parts_of, weight_of
from beft_lib.effects import loss_without, only, output_change, task_batches
from beft_lib.errors import ScoreError
from beft_lib.scores import importance
from beft_lib.verify import example, logits_of, tiny_model


def moved(model_type, std=0.1, **changes):
    """A model with moved biases, and weights so large that attention is not the same everywhere.

    Not larger: T5 does not divide by sqrt(d), and at 20 times its attention is saturated, so that no b_q turns it.
    """
    model = tiny_model(model_type, zero="qkv", **changes)
    for module in {part.module for term in biases.TERMS for part in parts_of(model, term)}:
        module.weight.data.mul_(10)
    for term in biases.install(model).values():
        for delta in term.deltas():
            torch.nn.init.normal_(delta, std=std)
    return model


def batches(model):
    """One batch with labels, one of its examples padded."""
    batch = {**example(model), "labels": torch.tensor([0, 1, 1])}
    if "attention_mask" in batch:
        batch["attention_mask"][0, -3:] = batch["input_ids"][0, -3:] = 0
        batch["input_ids"][0, -4] = model.config.eos_token_id
    return [batch]


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "deberta-v2", "whisper"])
def test_b_v_s_change_is_the_folded_constant_over_the_output(model_type):
    """By hand: a moved b_v adds the constant W_o (repeated delta) to every token; its change is that over o's size."""
    model = moved(model_type)
    family, data = family_of(model), [dict(example(model))]
    heads, kv_heads, head_dim = family.counts(model.config)
    outputs = [output_of(layer, family) for layer in layers_of(model)]
    seen = {}
    hooks = [o.register_forward_hook(lambda m, args, out: seen.update({m: out})) for o in outputs]
    with only(model, ()):
        logits_of(model, data[0])
    for hook in hooks:
        hook.remove()
    expected = []
    for output, delta in zip(outputs, biases.find_biases(model)["value"].deltas(), strict=True):
        repeated = delta.detach().double().view(kv_heads, head_dim).repeat_interleave(heads // kv_heads, 0).flatten()
        constant = weight_of(output).detach() @ repeated
        o = seen[output]
        expected.append(constant.norm() * (o.numel() / o.shape[-1]) ** 0.5 / o.norm())
    found = output_change(model, data)["value"]
    torch.testing.assert_close(found, torch.stack(expected).detach(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_what_softmax_cancels_counts_nothing_and_the_rest_does(model_type):
    model = moved(model_type)
    before = logits_of(model, example(model))
    found = output_change(model, batches(model))
    assert all(found[term].min() > 1e-4 for term in ("query", "value"))
    assert (found["key"].max() < 1e-5) == FAMILIES[model_type].key_is_dead
    assert torch.equal(logits_of(model, example(model)), before) and not model.training


def test_it_ranks_where_importance_cannot():
    model = moved("llama", std=0.01)
    terms = biases.find_biases(model)
    post = biases.snapshot(terms)
    assert {importance(torch.zeros_like(v), v) for v in post.values()} == {1.0}
    small = {term: change.mean().item() for term, change in output_change(model, batches(model)).items()}
    for delta in terms["query"].deltas():
        delta.data.mul_(10)
    large = {term: change.mean().item() for term, change in output_change(model, batches(model)).items()}
    assert large["query"] > 5 * small["query"] and large["value"] == small["value"]


def test_each_layer_s_number_is_its_own():
    """A move in the first layer changes what the second one sees; the second layer's number must not know."""
    model = moved("bert")
    alone = output_change(model, batches(model))["value"]
    first, _ = biases.find_biases(model)["value"].deltas()
    first.data.mul_(10)
    both = output_change(model, batches(model))["value"]
    assert both[1] == alone[1] and both[0] > 5 * alone[0]


def test_padding_does_not_count():
    model = moved("bert")
    ids = example(model)["input_ids"]
    padded = torch.nn.functional.pad(ids, (0, 5))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 5))
    whole = output_change(model, [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}])
    part = output_change(model, [{"input_ids": padded, "attention_mask": mask}])
    for term in ("query", "value"):
        torch.testing.assert_close(part[term], whole[term], rtol=1e-9, atol=0)


def test_the_loss_without_a_term_is_the_loss_with_its_deltas_zeroed():
    model = moved("gpt_neox", std=0.5)
    (batch,) = batches(model)
    found = loss_without(model, [batch])
    with torch.no_grad():
        whole = model(**batch).loss.item()
        for delta in biases.find_biases(model)["value"].deltas():
            delta.zero_()
        assert found["value"] == pytest.approx(model(**batch).loss.item() - whole, abs=1e-12) != 0
    assert set(found) == {"query", "key", "value"}
    assert loss_without(model, [batch])["value"] == 0


def test_a_dead_term_carries_nothing_of_the_loss():
    model = moved("bert", std=0.5)
    assert loss_without(model, batches(model))["key"] == pytest.approx(0, abs=1e-12)


def test_nothing_to_compare_is_said():
    model = tiny_model("bert")
    with pytest.raises(ScoreError, match=r"no deltas.*after probe"):
        output_change(model, batches(model))
    with pytest.raises(ScoreError, match="no batches"):
        output_change(moved("bert"), [])


def test_a_model_that_has_diverged_is_said():
    model = moved("bert")
    biases.all_deltas(model)[0].delta.data[0] = float("nan")
    with pytest.raises(ScoreError, match="NaN or infinity"):
        output_change(model, batches(model))


def test_batches_of_a_task(tmp_path):
    import tiny

    from beft_lib import load_model, load_task

    task = load_task("sst2", tiny.write_task(tmp_path / "task"), n_train=48)
    model = load_model(tiny.save(tmp_path / "base"), task)
    made = task_batches(model, task, n=20, batch_size=16)
    assert [len(batch["labels"]) for batch in made] == [16, 4]
    biases.install(model)
    assert all(not change.any() for change in output_change(model, made).values())
