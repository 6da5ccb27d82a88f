"""What fits into which memory: an estimate for tuning a decoder, part by part, and the largest batch.

The parts follow what autograd keeps for the backward pass of transformers' OPT with PyTorch's fused attention. A frozen
linear layer keeps nothing (its weight is there anyway); that is where a bias method saves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import hardware
from .errors import BeftError, UnknownName

if TYPE_CHECKING:
    import pandas as pd
    import torch

USABLE = 0.92  # of a card's memory: the rest is CUDA's own, and what the allocator cannot fill
LORA_RANK, PREFIX_TOKENS = 8, 5  # the paper's


@dataclass(frozen=True)
class Shape:
    """What memory depends on: layers L, width d, heads, width f of the MLP, vocabulary V, positions."""

    layers: int
    width: int
    heads: int
    mlp: int
    vocabulary: int = 50272
    positions: int = 2048
    dropout: float = 0.1

    @property
    def parameters(self) -> int:
        """Of an OPT model whose output matrix is its embedding; exact."""
        d, f = self.width, self.mlp
        layer = 4 * (d * d + d) + (2 * d * f + f + d) + 4 * d  # attention, MLP, two norms
        return self.vocabulary * d + (self.positions + 2) * d + self.layers * layer + 2 * d


OPT: dict[str, Shape] = {
    "facebook/opt-125m": Shape(12, 768, 12, 3072),
    "facebook/opt-1.3b": Shape(24, 2048, 32, 8192),
    "facebook/opt-2.7b": Shape(32, 2560, 32, 10240),
    "facebook/opt-6.7b": Shape(32, 4096, 32, 16384),
    "facebook/opt-13b": Shape(40, 5120, 40, 20480),
    "facebook/opt-30b": Shape(48, 7168, 56, 28672),
}

# Parameters that a method trains.
TRAINED: dict[str, Callable[[Shape], int]] = {
    "zero_shot": lambda s: 0,
    "value": lambda s: s.layers * s.width,
    "query": lambda s: s.layers * s.width,
    "key": lambda s: s.layers * s.width,
    "qkv": lambda s: 3 * s.layers * s.width,
    "all_biases": lambda s: s.layers * (7 * s.width + s.mlp) + s.width,
    "lora": lambda s: s.layers * 2 * 2 * LORA_RANK * s.width,
    "prefix": lambda s: s.layers * 2 * PREFIX_TOKENS * s.width,
    "full": lambda s: s.parameters,
}


def shape_of(config: Any) -> Shape:
    """The shape in a transformers configuration of a decoder."""
    mlp = getattr(config, "ffn_dim", None) or config.intermediate_size
    positions, dropout = config.max_position_embeddings, getattr(config, "dropout", 0.0)
    sizes = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, mlp, config.vocab_size)
    return Shape(*sizes, positions, dropout)


def estimate_memory(
    shape: Shape | str,
    method: str = "value",
    batch: int = 8,
    length: int = 512,
    *,
    candidates: int = 1,
    answer: int = 4,
    dtype: torch.dtype | None = None,
    checkpointing: bool = False,
) -> dict[str, int]:
    """Bytes that a training step takes at its peak, by part.

    Args:
        shape: a ``Shape``, or a key of ``OPT``.
        batch: examples a step; a choice among answers has ``candidates`` rows for each.
        length: tokens of a row, padding and ``answer`` included.
        dtype: of the base (None: this machine's); what is trained is in float32, unless it is all of the base.
        checkpointing: whether activations are computed again instead of kept.

    Returns ``{"weights": …, "trained", "gradients", "optimizer", "activations", "working space", "logits"}``.
    """
    shape = _shape(shape)
    if method not in TRAINED:
        raise UnknownName("method", method, TRAINED)
    size = _itemsize(dtype)
    trained, own = TRAINED[method](shape), size if method == "full" else 4
    rows, training = batch * candidates, method != "zero_shot"
    return {
        "weights": shape.parameters * size,
        "trained": 0 if method == "full" else trained * own,
        "gradients": trained * own,
        "optimizer": 2 * trained * own,
        "activations": rows * length * _kept(shape, method, size, length, checkpointing) if training else 0,
        "working space": rows * length * 2 * shape.mlp * size,
        "logits": rows * (answer + 1) * shape.vocabulary * (size + (3 * 4 if training else 4)),
    }


def _kept(shape: Shape, method: str, size: int, length: int, checkpointing: bool) -> int:
    """Bytes a token that the backward pass needs: (a layer's) × layers, and the final norm's input."""
    d, f = shape.width, shape.mlp
    layer = {
        "inputs of two norms, their means and deviations": 2 * d * size + 16,
        "queries, keys, values, what attention gives, its normaliser": 4 * d * size + 4 * shape.heads,
        "attention's mask": length * size,
        "output of the ReLU": f * size,
        "dropout's masks": 2 * d if shape.dropout else 0,
        "inputs of trained weights": _inputs(d, size, method),
    }
    every = sum(layer.values())
    return (shape.layers * d * size + every if checkpointing else shape.layers * every) + d * size


def _inputs(d: int, size: int, method: str) -> int:
    """Bytes a token of one layer: the gradient of a weight needs the input that it was multiplied by."""
    if method == "full":
        return 2 * d * size  # outputs of the two norms; the other inputs are kept anyway
    if method == "lora":  # in float32, anew for queries and values where the base is in 16 bits
        return (d * 4 if size == 4 else 2 * d * 4) + 2 * LORA_RANK * 4
    return 0


def largest_batch(shape: Shape | str, method: str, memory: int, **options: Any) -> int:
    """How many examples a step fit into ``memory`` bytes; 0 where the model does not. Options: the estimate's."""
    none, one = (sum(estimate_memory(shape, method, batch, **options).values()) for batch in (0, 1))
    return max(0, int((USABLE * memory - none) // (one - none)))


def memory_plan(
    memory: int | None = None,
    methods: tuple[str, ...] = ("value", "lora", "prefix", "full"),
    batch: int = 8,
    length: int = 512,
    **options: Any,
) -> pd.DataFrame:
    """Which OPT fits for which method: gigabytes (10^9) of a step, and the largest batch.

    Args:
        memory: bytes there are (None: this machine's GPU, or its RAM where it has none).
        options: as in ``estimate_memory``.
    """
    import pandas as pd

    memory = here() if memory is None else memory
    rows = []
    for name, shape in OPT.items():
        for method in methods:
            need = sum(estimate_memory(shape, method, batch, length, **options).values())
            most = largest_batch(shape, method, memory, length=length, **options)
            rows.append({"model": name, "method": method, "GB": need / 1e9, "fits": need <= USABLE * memory,
                         "largest batch": most})  # fmt: skip
    return pd.DataFrame(rows)


def here() -> int:
    """Bytes of memory where a model would be: the GPU's, or the RAM. Raises BeftError where it cannot be told."""
    facts = hardware.memory()
    found = facts["gpu_total"] or facts["ram_total"]
    if not found:
        raise BeftError("How much memory there is cannot be told (psutil is missing): give memory=… in bytes.")
    return found


def describe_machine(name: str = "facebook/opt-1.3b", method: str = "value") -> str:
    """The machine and the plan in four lines: device, memory, dtype and why, and what fits."""
    kind, why = hardware.base_dtype()
    total = here()
    most = largest_batch(name, method, total)
    fits = (
        f"{most} examples of 512 tokens a step"
        if most
        else "too large for one device: device_map='auto', or a smaller one"
    )
    return (
        f"device   {hardware.device_name()}\n"
        f"memory   {total / 1e9:.1f} GB\n"
        f"dtype    {str(kind).removeprefix('torch.')}: {why}\n"
        f"{name.rsplit('/', 1)[-1]:<8} by {method}: {fits}"
    )


def _shape(shape: Shape | str) -> Shape:
    if isinstance(shape, Shape):
        return shape
    if shape not in OPT:
        raise UnknownName("model", shape, OPT, "Or give shape_of(model.config).")
    return OPT[shape]


def _itemsize(dtype: torch.dtype | None) -> int:
    return (dtype or hardware.base_dtype()[0]).itemsize
