"""The memory estimate against what can be counted without a GPU: parameters, and what autograd keeps."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, OPTConfig

from beft_lib import hardware, planning
from beft_lib.errors import UnknownName
from beft_lib.methods import prepare
from beft_lib.planning import OPT, TRAINED, Shape, estimate_memory, largest_batch, memory_plan, shape_of

GIGA = 10**9


def config(shape: Shape) -> OPTConfig:
    return OPTConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers, ffn_dim=shape.mlp,
        num_attention_heads=shape.heads, max_position_embeddings=shape.positions, word_embed_proj_dim=shape.width,
        dropout=shape.dropout,
    )  # fmt: skip


@pytest.mark.parametrize("name", OPT)
def test_parameters_are_those_of_the_model(name):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config(OPT[name]))
    assert OPT[name].parameters == sum(p.numel() for p in model.parameters())
    assert shape_of(model.config) == OPT[name]
    assert estimate_memory(name, dtype=torch.bfloat16)["weights"] == 2 * OPT[name].parameters


def small(dropout: float = 0.1) -> tuple[Shape, torch.nn.Module]:
    shape = Shape(3, 128, 4, 512, 300, 256, dropout)
    torch.manual_seed(0)
    return shape, AutoModelForCausalLM.from_config(config(shape))


@pytest.mark.parametrize("method", ["value", "query", "key", "qkv", "all_biases", "full"])
def test_what_a_method_trains_is_what_the_library_trains(method):
    shape, model = small()
    assert TRAINED[method](shape) == prepare(model, method, 0).method


def kept(model: torch.nn.Module, rows: int, length: int) -> int:
    """Bytes of distinct storages that a forward pass keeps for the backward pass, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address is used twice
        return tensor

    ids = torch.randint(5, 300, (rows, length))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0  # padding on the left, as in training
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model.train()(input_ids=ids, attention_mask=mask, logits_to_keep=1, use_cache=False).logits.sum()
    bytes_kept = sum(size for size, _ in found.values())
    loss.backward()
    return bytes_kept


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("method", ["value", "all_biases", "full"])
def test_activations_are_what_autograd_keeps(method, dropout):
    shape, model = small(dropout)
    prepare(model, method, 0)
    wanted = estimate_memory(shape, method, 4, 96, dtype=torch.float32)["activations"]
    assert kept(model, 4, 96) == pytest.approx(wanted, rel=0.15)


def test_what_is_larger_needs_more():
    value, lora, full = (
        estimate_memory("facebook/opt-1.3b", m, dtype=torch.bfloat16) for m in ("value", "lora", "full")
    )
    assert value["optimizer"] < lora["optimizer"] < full["optimizer"] == 4 * OPT["facebook/opt-1.3b"].parameters
    assert value["activations"] < lora["activations"] and value["activations"] < full["activations"]
    spared = estimate_memory("facebook/opt-1.3b", "value", dtype=torch.bfloat16, checkpointing=True)
    assert spared["activations"] < value["activations"] / 5 and spared["weights"] == value["weights"]
    asked = estimate_memory("facebook/opt-1.3b", "zero_shot", dtype=torch.bfloat16)
    assert asked["activations"] == asked["gradients"] == 0


@pytest.mark.parametrize("method", ["value", "full"])
def test_the_largest_batch_fits_and_one_more_does_not(method):
    for memory in (16 * GIGA, 80 * GIGA):
        options = dict(length=256, candidates=2, dtype=torch.bfloat16)
        most = largest_batch("facebook/opt-1.3b", method, memory, **options)
        assert most > 0
        used = [sum(estimate_memory("facebook/opt-1.3b", method, most + more, **options).values()) for more in (0, 1)]
        assert used[0] <= planning.USABLE * memory < used[1]
    assert largest_batch("facebook/opt-30b", method, 16 * GIGA, dtype=torch.bfloat16) == 0


def test_the_plan_and_the_machine_in_words(monkeypatch):
    table = memory_plan(24 * GIGA, dtype=torch.bfloat16)
    assert set(table["model"]) == set(OPT) and ((table["largest batch"] >= 8) == table["fits"]).all()
    fits = table.set_index(["model", "method"])["fits"]
    assert fits["facebook/opt-1.3b", "value"] and not fits["facebook/opt-30b", "value"]
    monkeypatch.setenv("BEFT_DEVICE", "cpu")
    told = planning.describe_machine()
    assert "float32: a CPU" in told and f"{planning.here() / 1e9:.1f} GB" in told and "opt-1.3b" in told
    with pytest.raises(UnknownName, match=r"opt-1\.3b.*shape_of"):
        largest_batch("opt-1.3", "value", GIGA)


@pytest.mark.parametrize("bf16, expected", [(True, torch.bfloat16), (False, torch.float16)])
def test_the_dtype_of_a_base_on_a_gpu(bf16, expected, monkeypatch):
    monkeypatch.setattr(hardware, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    kind, why = hardware.base_dtype()
    assert kind == expected and len(why) > 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: measures peak memory against the estimate")
@pytest.mark.parametrize("method", ["value", "full"])
def test_the_estimate_is_within_15_percent_on_a_gpu(method):
    shape = OPT["facebook/opt-125m"]
    model = AutoModelForCausalLM.from_config(config(shape)).to("cuda", torch.bfloat16).train()
    prepare(model, method, 0)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-5, fused=True)
    ids = torch.randint(5, 50000, (16, 512), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), logits_to_keep=5, use_cache=False).logits
        logits.float().log_softmax(-1).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    wanted = sum(estimate_memory(shape, method, 16, 512, dtype=torch.bfloat16).values())
    assert torch.cuda.max_memory_allocated() == pytest.approx(wanted, rel=0.15)
