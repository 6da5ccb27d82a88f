"""The calculator's counts against real models, and its activations against what autograd really keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from beft_lib import costs
from beft_lib.costs import MODELS, Encoder, cost, methods_for
from beft_lib.errors import UnknownName
from beft_lib.methods import prepare
from beft_lib.runs import stored_bytes
from beft_lib.wrapping import acting

ENCODERS = [name for name, shape in MODELS.items() if isinstance(shape, Encoder)]
SMALL = {
    "bert": Encoder(4, 128, 4, 512, 300, 64, dropout=0.0),
    "roberta": Encoder(4, 128, 4, 512, 300, 64, dropout=0.0, types=1, dense_in_head=True),
}


def config(shape: Encoder, **changes: Any) -> Any:
    sizes = dict(
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers, num_labels=costs.LABELS,
        num_attention_heads=shape.heads, intermediate_size=shape.mlp, max_position_embeddings=shape.positions,
        type_vocab_size=shape.types,
    )  # fmt: skip
    return AutoConfig.for_model("roberta" if shape.dense_in_head else "bert", **sizes, **changes)


def small(family: str) -> Any:
    torch.manual_seed(0)
    # Without dropout: a CPU draws it by another path than a GPU, which keeps whole attention maps and masks of floats.
    still = dict(attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    made = AutoModelForSequenceClassification.from_config(config(SMALL[family], **still))
    made.beft_fresh = tuple(name for name, _ in made.named_parameters() if name.startswith("classifier"))
    return made


@pytest.mark.parametrize("name", ENCODERS)
def test_parameters_are_those_of_the_model(name: str) -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config(MODELS[name]))  # type: ignore[arg-type]
    assert MODELS[name].parameters == sum(p.numel() for p in model.parameters())


def test_the_counts_of_the_paper() -> None:
    value, every = cost("bert-base-cased", "value"), cost("bert-base-cased", "all_biases")
    assert (value.trained, every.trained, value.model) == (9_216, 102_914, 108_311_810)
    assert cost("roberta-base", "value").head == 592_130 and cost("bert-large-cased", "value").trained == 24_576
    assert cost("opt-1.3b", "value").trained == 49_152 and cost("opt-6.7b", "value").trained == 131_072


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("method", costs.METHODS)
def test_what_a_method_trains_is_what_the_library_trains(
    family: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(family)
    monkeypatch.setitem(costs.MODELS, "small", SMALL[family])
    counts, told = prepare(model, method, 0), cost("small", method)
    assert (told.trained, told.head, told.model) == (counts.method, counts.head, counts.model)
    trained = {name: p for name, p in acting(model).named_parameters() if p.requires_grad}
    assert told.optimizer == 2 * told.memory["gradients"] == 2 * told.file
    assert told.file <= stored_bytes(trained) < told.file + 12_000  # the header with the names comes on top


def kept(model: Any, rows: int, length: int) -> int:
    """Bytes of distinct storages that a forward pass keeps for the backward pass, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address is used twice
        return tensor

    ids = torch.randint(5, 300, (rows, length))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model.train()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum()
    loss.backward()
    return sum(size for size, _ in found.values())


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("method", ["value", "value@top-half", "random_uniform", "all_biases", "lora", "full"])
def test_activations_are_what_autograd_keeps(family: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(family)
    monkeypatch.setitem(costs.MODELS, "small", SMALL[family])
    prepare(model, method, 0)
    wanted = cost("small", method, 8, 48).memory["activations"]
    assert kept(acting(model), 8, 48) == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize("model", MODELS)
def test_what_trains_more_needs_more(model: str) -> None:
    every = [cost(model, method) for method in methods_for(model)]
    cheapest, full = every[0], every[-1]
    assert full.method == "full" and all(of.total < full.total for of in every[:-1])
    assert cheapest.total == min(of.total for of in every)
    for of in every:
        longer = cost(model, of.method, 16, 256)
        assert longer.memory["working space"] == 2 * of.memory["working space"]
        assert longer.optimizer == of.optimizer


def test_unknown_names_are_told_with_what_there_is() -> None:
    with pytest.raises(UnknownName, match="roberta-base"):
        cost("bert", "value")
    with pytest.raises(UnknownName, match="all_biases"):
        cost("opt-1.3b", "head")
