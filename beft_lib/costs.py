"""What tuning costs, before it is run: parameters, optimizer, file and memory of every method, by a model's shape.

Decoders are ``planning``'s. For encoders the parts follow what autograd keeps for transformers' BERT with PyTorch's
fused attention: a method keeps only the layers from the lowest one that it trains upwards. Numbers drawn at random
touch every weight matrix: autograd keeps what a full step keeps there, and a changed copy of each matrix besides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import UnknownName
from .planning import LORA_RANK, OPT, PREFIX_TOKENS, TRAINED, Shape, estimate_memory

LABELS = 2  # answers of the classifier
FLOAT = 4  # bytes of a float32: encoders are tuned in it, and what is trained always is


@dataclass(frozen=True)
class Encoder(Shape):
    """BERT or RoBERTa with a classifier for ``LABELS`` answers. ``dense_in_head``: RoBERTa's dense layer is new, part
    of the head; BERT's (the pooler) is pretrained, and only its bias counts as head.
    """

    types: int = 2
    dense_in_head: bool = False

    @property
    def parameters(self) -> int:
        """Of the whole model, head included; exact."""
        d, f = self.width, self.mlp
        layer = 4 * (d * d + d) + (2 * d * f + f + d) + 4 * d  # attention, MLP, two norms
        embeddings = (self.vocabulary + self.positions + self.types) * d + 2 * d
        return embeddings + self.layers * layer + (d * d + d) + LABELS * (d + 1)

    @property
    def head(self) -> int:
        """What every method trains besides."""
        d = self.width
        return (d * d if self.dense_in_head else 0) + d + LABELS * (d + 1)

    @property
    def biases(self) -> int:
        return self.layers * (7 * self.width + self.mlp) + 2 * self.width + LABELS


MODELS: dict[str, Shape] = {
    "MiniLM": Encoder(6, 384, 12, 1536, 30522, 512),
    "bert-base-cased": Encoder(12, 768, 12, 3072, 28996, 512),
    "bert-large-cased": Encoder(24, 1024, 16, 4096, 28996, 512),
    "roberta-base": Encoder(12, 768, 12, 3072, 50265, 514, types=1, dense_in_head=True),
    "roberta-large": Encoder(24, 1024, 16, 4096, 50265, 514, types=1, dense_in_head=True),
    "opt-1.3b": OPT["facebook/opt-1.3b"],
    "opt-6.7b": OPT["facebook/opt-6.7b"],
}

# Parameters that a method trains in an encoder, head apart (the biases and all parameters of a head are the method's
# own in ``all_biases`` and ``full``); and in how many layers autograd has to keep something for it.
_ENCODERS: dict[str, tuple[Callable[[Encoder], int], Callable[[Encoder], int]]] = {
    "head": (lambda s: 0, lambda s: 0),
    "value@top-half": (lambda s: s.layers // 2 * s.width, lambda s: s.layers // 2),
    "value": (lambda s: s.layers * s.width, lambda s: s.layers),
    "random_uniform": (lambda s: s.layers * s.width, lambda s: s.layers),
    "all_biases": (lambda s: s.biases, lambda s: s.layers),
    "lora": (lambda s: s.layers * 2 * 2 * LORA_RANK * s.width, lambda s: s.layers),
    "prefix": (lambda s: s.layers * 2 * PREFIX_TOKENS * s.width, lambda s: s.layers),
    "full": (lambda s: s.parameters, lambda s: s.layers),
}
METHODS = tuple(_ENCODERS)
_DECODERS = tuple(method for method in METHODS if method in TRAINED)


@dataclass(frozen=True)
class Cost:
    """What one method costs on one model: counts of parameters, then bytes.

    Attributes:
        optimizer: Adam's two moments of everything trained, in float32 (16 bits where a whole 16-bit model is trained).
        file: the numbers of an adapter, head included; a whole model for ``full``.
        memory: of one training step at its peak, by part.
    """

    method: str
    trained: int
    head: int
    model: int
    optimizer: int
    file: int
    memory: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.memory.values())


def cost(model: str, method: str, batch: int = 16, length: int = 128) -> Cost:
    """The cost of a method. Encoders in float32, decoders with their base in 16 bits, as the course tunes them.

    Args:
        model: a key of ``MODELS``; method: one of ``methods_for(model)``.
        batch: examples a step; length: tokens of each, padding included.
    """
    if model not in MODELS:
        raise UnknownName("model", model, MODELS)
    if method not in methods_for(model):
        raise UnknownName(f"method for {model}", method, methods_for(model))
    shape = MODELS[model]
    if isinstance(shape, Encoder):
        return _encoder(shape, method, batch, length)
    import torch

    parts = estimate_memory(shape, method, batch, length, dtype=torch.bfloat16)
    trained = TRAINED[method](shape)
    size = torch.bfloat16.itemsize if method == "full" else FLOAT
    return Cost(method, trained, 0, shape.parameters, parts["optimizer"], trained * size, parts)


def methods_for(model: str) -> tuple[str, ...]:
    """Cheapest first, by what they train."""
    return METHODS if isinstance(MODELS[model], Encoder) else _DECODERS


def _encoder(shape: Encoder, method: str, batch: int, length: int) -> Cost:
    count, layers = _ENCODERS[method]
    trained = count(shape)
    in_biases = shape.width + LABELS  # the pooler's or dense layer's bias, and the classifier's
    head = {"full": 0, "all_biases": shape.head - in_biases}.get(method, shape.head)
    every = trained + head
    tokens = batch * length
    parts = {
        "weights": shape.parameters * FLOAT,
        "trained": 0 if method in ("full", "all_biases", "head") else trained * FLOAT,
        "gradients": every * FLOAT,
        "optimizer": 2 * every * FLOAT,
        "activations": tokens * layers(shape) * _kept(shape, method, length)
        + tokens * _below(shape, method)
        + (shape.layers * _matrices(shape) * FLOAT if method == "random_uniform" else 0),
        "working space": tokens * 2 * shape.mlp * FLOAT,
    }
    return Cost(method, trained, head, shape.parameters, parts["optimizer"], every * FLOAT, parts)


def _kept(shape: Encoder, method: str, length: int) -> int:
    """Bytes a token that the backward pass needs in each layer where it passes."""
    d, f = shape.width, shape.mlp
    layer = {
        "inputs of two norms, their means and deviations": 2 * d * FLOAT + 16,
        "queries, keys, values, what attention gives, its normaliser": 4 * d * FLOAT + FLOAT * shape.heads,
        "input of the GELU": f * FLOAT,
        "dropout's masks": 2 * d if shape.dropout else 0,
        "inputs of trained weights": {
            "full": (2 * d + f) * FLOAT, "random_uniform": (2 * d + f) * FLOAT, "lora": (d + 2 * LORA_RANK) * FLOAT,
        }.get(method, 0),
    }  # fmt: skip
    return sum(layer.values())


def _matrices(shape: Encoder) -> int:
    """Numbers in the weight matrices of one layer: attention's four and the MLP's two."""
    return 4 * shape.width**2 + 2 * shape.width * shape.mlp


def _below(shape: Encoder, method: str) -> int:
    """Bytes a token that are kept below the lowest layer: the embeddings' norm, where what comes before is trained."""
    return shape.width * (FLOAT + 1) + 8 if method in ("full", "all_biases") else 0
