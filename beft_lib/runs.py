"""What a run gives back: scores, what was trained, what it cost; and several runs with different seeds as one thing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .metrics import interval
from .recipe import Recipe

_STORED = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True)
class Counts:
    """Parameters: trained by the method itself, trained in the head, and in the whole model."""

    method: int
    head: int
    model: int

    def __str__(self) -> str:
        share = self.method / self.model
        return f"{self.method:,} by the method ({share:.4%} of {self.model:,}) + {self.head:,} in the head"


@dataclass(frozen=True)
class Run:
    """A finished run. ``metrics`` on the validation examples; ``seconds`` of training; ``peak_memory``: bytes allocated
    on the GPU at most; without one those of the whole process, which say little of the method.

    Attributes:
        source: names the model; ``data`` says where the task's examples came from.
        file_bytes: what was trained, head included, as one safetensors file.
        pieces: in how many parts a batch was computed, more than 1 where it did not fit the memory in one.
        kept_layers: how many layers were computed once an example and then kept, without dropout (see ``halfway``).
        scoring_seconds: of all validation examples, ``n_validation``: demonstrations cost at every question.
        wording: how new texts are put to the model (``Task.wording``).
        model: the live model: it holds this run only until it is prepared for another one, which ``current`` tells.
    """

    method: str
    task: str
    seed: int
    metric: str
    metrics: Mapping[str, float]
    counts: Counts
    steps: int
    seconds: float
    peak_memory: int
    recipe: Recipe
    source: str
    data: str
    n_train: int
    labels: tuple[str, ...]
    losses: np.ndarray = field(repr=False)
    model: nn.Module = field(repr=False)
    token: object = field(repr=False, default=None)
    file_bytes: int = 0
    pieces: int = 1
    kept_layers: int = 0
    scoring_seconds: float = 0.0
    n_validation: int = 0
    wording: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def score(self) -> float:
        """The metric that decides."""
        return self.metrics[self.metric]

    @property
    def current(self) -> bool:
        """Whether the model still holds what this run trained."""
        return getattr(self.model, "beft_token", None) is self.token

    def row(self) -> dict[str, Any]:
        """One row of a results table: plain numbers and strings."""
        return {
            "task": self.task,
            "method": self.method,
            "seed": self.seed,
            "metric": self.metric,
            "score": self.score,
            **{f"metric_{name}": value for name, value in self.metrics.items()},
            **{f"parameters_{name}": value for name, value in asdict(self.counts).items()},
            "steps": self.steps,
            "seconds": self.seconds,
            "scoring_seconds": self.scoring_seconds,
            "peak_memory": self.peak_memory,
            "file_bytes": self.file_bytes,
            "pieces": self.pieces,
            "kept_layers": self.kept_layers,
            "learning_rate": self.recipe.learning_rate,
            "model": self.source,
            "source": self.data,
            "n_train": self.n_train,
            "n_validation": self.n_validation,
        }

    def __str__(self) -> str:
        others = "".join(f", {name} {value:.3f}" for name, value in self.metrics.items() if name != self.metric)
        return (
            f"{self.method} on {self.task}: {self.metric} {self.score:.3f}{others}\n"
            f"trained {self.counts}{self.source and f', in {self.source}'}\n"
            f"{self.steps} steps in {self.seconds:.1f} s, seed {self.seed}"
        )


@dataclass(frozen=True)
class Runs:
    """The same run with several seeds, in their order. The model holds the last one, unless it was ``stopped``.

    Attributes:
        stopped: "" or where it was interrupted; ``runs`` are then those that were finished before.
    """

    runs: tuple[Run, ...]
    stopped: str = ""

    @property
    def scores(self) -> np.ndarray:
        """(seeds,)"""
        return np.array([run.score for run in self.runs])

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def interval(self) -> float:
        """Half the width of the 95 % t-interval of the mean; NaN for one seed."""
        return interval(self.scores)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of a results table, one a seed."""
        return [run.row() for run in self.runs]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __getitem__(self, number: int) -> Run:
        return self.runs[number]

    def __str__(self) -> str:
        first, seconds = self.runs[0], np.mean([run.seconds for run in self.runs])
        each = ", ".join(f"{score:.3f}" for score in self.scores)
        spread = f" ± {self.interval:.3f} (95 % interval)" if len(self) > 1 else ""
        over = f"{len(self)} seed{'s' * (len(self) > 1)}{self.stopped and ', then ' + self.stopped}"
        return (
            f"{first.method} on {first.task}: {first.metric} {self.mean:.3f}{spread} over {over} ({each})\n"
            f"trained {first.counts}\n{first.steps} steps in {seconds:.1f} s a seed"
        )


def stored_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Size of the safetensors file that would hold these tensors: a header of 8 bytes and JSON, then the numbers."""
    header, start = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):  # its order
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _STORED[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    told = len(json.dumps(header, separators=(",", ":")))
    return 8 + told + -told % 8 + start  # the header is filled up to a multiple of 8
