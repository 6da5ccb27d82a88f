"""Fisher information of bias terms: empirical, true, and the research code's; and where each is measured.

How every example's own gradient comes out of one batched backward pass is in ``gradients.py``.

Letters: ``L`` layers, ``d`` width of the bias, ``B`` batch, ``N`` examples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from . import biases, runtime
from .architectures import head_parameters
from .classifying import collator, encode
from .errors import TrainingError, UnknownName
from .gradients import captured, logits_of, negative_log_likelihood
from .methods import METHODS, prepare, recipe_for
from .models import check_pair, load_tokenizer
from .rankings import Tabled, check_classes, layer_table, ranked
from .recipe import Recipe
from .tasks import Task
from .tuning import fine_tune
from .watching import progress_bar

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "empirical": "the squared gradient of each example's log-likelihood of its own label, averaged over examples",
    "true": "the same with labels drawn from the model itself: what the name means in statistics",
    "clipped_batch": "the squared gradient of a batch's mean loss, clipped to norm 1, averaged over batches: "
    "what the paper's research code computes",
}
PLACES = {
    "pretrained": "at the pretrained weights, under a head that was never trained",
    "warm": "at the pretrained weights, after the head alone was trained",
    "trained": "where the model is now, after a training",
}


@dataclass(frozen=True)
class FisherResult(Tabled):
    """What the Fisher information of each bias term was, and where it was measured.

    Attributes:
        kind: a key of ``KINDS``; ``where`` one of ``PLACES``.
        information: ``{term: (L, d)}`` diagonal of the Fisher matrix, an element of the bias each, float64.
        examples: how many were averaged over.
        seconds: of measuring; ``warming`` of the training that went before it, when this call did it.
    """

    label = "Fisher information"

    model: str
    task: str
    seed: int
    kind: str
    where: str
    examples: int
    information: Mapping[str, Tensor] = field(repr=False)
    seconds: float = 0.0
    warming: float = 0.0

    def scores(self) -> dict[str, Tensor]:
        """``{term: (L,)}``: the mean over a layer's elements."""
        return {term: of.mean(-1) for term, of in self.information.items()}

    def ranking(self) -> list[tuple[str, float]]:
        """Terms and their mean over layers, the highest first."""
        return ranked(self.scores())

    @property
    def best(self) -> str:
        """The term of the highest Fisher information."""
        return self.ranking()[0][0]

    def table(self) -> pd.DataFrame:
        """Scores by layer (rows, and their mean) and term (columns)."""
        return layer_table(self.scores(), f"{self.task}, {self.kind} Fisher, {self.where}")

    def __str__(self) -> str:
        told = ", ".join(f"{term} {value:.3g}" for term, value in self.ranking())
        return (
            f"{self.kind} Fisher on {self.task} ({self.examples} examples), measured {PLACES[self.where]}: "
            f"{told} -> {self.best}"
        )


def fisher_information(
    model: nn.Module,
    task: Task,
    kind: str = "empirical",
    *,
    where: str = "warm",
    seed: int = 0,
    draws: int = 1,
    recipe: Recipe | None = None,
    progress: bool | None = None,
    **changes: Any,
) -> FisherResult:
    """Fisher information of the query, key and value biases over the training examples, dropout off.

    Args:
        kind: "empirical", "true" or "clipped_batch" (see ``KINDS``). For regression the likelihood is Gaussian with
            variance 1; "clipped_batch" takes the model's own loss, as the research code does.
        where: "pretrained" (fresh head from ``seed``), "warm" (that head is first trained alone, by the recipe) or
            "trained" (the model as it is now: after ``probe``, ``fine_tune`` …). See ``PLACES``.
        draws: of "true": labels drawn for each example.
        recipe, changes: of the warm-up, as in ``fine_tune``; batch size and maximal length also of the measuring.

    Raises ModelError for a model without biases or without a head, DataError for a task of one class, TrainingError for
    a batch larger than the data. Which parameters are frozen makes no difference. "trained" changes nothing; the other
    two start over from pretrained, and end the run that the model holds.
    Source: "Fisher" of Huang, Balashankar, Aminifar, arXiv 2509.15974; on empirical against true: Kunstner, Balles,
    Hennig, arXiv 1905.12558.
    """
    _check(kind, where, draws)
    check_pair(model, task)
    biases.find_biases(model)  # before anything is trained
    check_classes(task)
    recipe = recipe_for(task, METHODS["head"], recipe, **changes)
    if recipe.batch_size > len(task.train):
        raise TrainingError(
            f"batch_size {recipe.batch_size} is larger than the {len(task.train)} training examples of {task.name}: "
            f"use at most {len(task.train)}."
        )
    warming = 0.0
    if where == "warm":
        warming = fine_tune(model, task, "head", seed=seed, recipe=recipe, progress=progress).seconds
    elif where == "pretrained":
        prepare(model, "head", seed)
    elif not getattr(model, "beft_trained", False):
        raise TrainingError("where='trained' measures the model as it is, and this one has not been trained. "
                            "Run probe or fine_tune first, or choose where='pretrained' or 'warm'.")  # fmt: skip
    started = time.perf_counter()
    information = measure(model, task, kind, recipe, seed, draws, progress)
    source = getattr(getattr(model, "beft_source", None), "name", type(model).__name__)
    return FisherResult(
        source, task.name, seed, kind, where, len(task.train), information, time.perf_counter() - started, warming
    )


def measure(
    model: nn.Module,
    task: Task,
    kind: str,
    recipe: Recipe,
    seed: int = 0,
    draws: int = 1,
    progress: bool | None = False,
) -> dict[str, Tensor]:
    """``{term: (L, d)}`` of the model as it stands, in float64."""
    model.to(runtime.device()).eval()  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(seed)
    batches = batches_of(model, task, recipe, generator if kind == "clipped_batch" else None)
    total: dict[str, Tensor] = {}
    with progress_bar(len(batches), f"{kind} Fisher on {task.name}", progress) as bar:
        for batch in batches:
            labels = batch.pop("labels")
            for squared in _squares(model, batch, labels, kind, draws, generator, recipe.clip):
                for term, of in squared.items():
                    total[term] = total[term] + of if term in total else of
            bar.update()
    count = len(batches) if kind == "clipped_batch" else len(task.train) * (draws if kind == "true" else 1)
    return {term: of / count for term, of in total.items()}


def batches_of(
    model: nn.Module, task: Task, recipe: Recipe, shuffled: torch.Generator | None = None
) -> list[dict[str, Tensor]]:
    """The training examples in padded batches on the model's device, of like length unless ``shuffled``."""
    if task.prompt:
        raise TrainingError(f"Fisher information is of a classifier's labels: load {task.name!r} without prompted.")
    tokenizer = load_tokenizer(model)
    examples = encode(task, task.train, tokenizer, recipe.max_length)
    if shuffled is None:
        examples = examples.select(np.argsort([len(ids) for ids in examples["input_ids"]], kind="stable"))
    loader = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_size=recipe.batch_size,
        shuffle=shuffled is not None,
        generator=shuffled,
        collate_fn=collator(task, tokenizer, recipe.pad_to),
    )
    where = next(model.parameters()).device
    return [{name: value.to(where) for name, value in batch.items()} for batch in loader]


def _squares(
    model: nn.Module, batch: dict[str, Tensor], labels: Tensor, kind: str, draws: int, generator: torch.Generator,
    clip: float,
) -> Iterator[dict[str, Tensor]]:  # fmt: skip
    """``{term: (L, d)}`` to add up: squares summed over the examples, once a draw; or those of the clipped mean."""
    if kind == "clipped_batch":
        yield _clipped(model, batch, labels, clip)
        return
    with captured(model) as caught:
        logits = logits_of(model, batch)
        for left in reversed(range(draws if kind == "true" else 1)):
            given = sampled(logits, labels, generator) if kind == "true" else labels
            found = caught.gradients(negative_log_likelihood(logits, given).sum(), keep_graph=left > 0)
            yield {term: of.cpu().double().square().sum(0) for term, of in found.items()}


def sampled(logits: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """(B,) labels drawn from the model's own distribution; on the CPU, so that every device draws alike."""
    on_cpu = logits.detach().float().cpu()
    if labels.is_floating_point():
        return (on_cpu[:, 0] + torch.randn(len(labels), generator=generator)).to(labels)
    return torch.multinomial(on_cpu.softmax(-1), 1, generator=generator)[:, 0].to(labels)


def _clipped(model: nn.Module, batch: dict[str, Tensor], labels: Tensor, clip: float) -> dict[str, Tensor]:
    """``{term: (L, d)}``: the batch's mean gradient, clipped as in training all biases and the head, then squared."""
    head = {id(p) for p in head_parameters(model).values()}
    with captured(model) as caught:
        own = {id(p) for module in caught.modules for p in module.parameters()}
        others = [p for n, p in model.named_parameters() if id(p) in head or (n.endswith("bias") and id(p) not in own)]
        frozen = [p for p in others if not p.requires_grad]
        try:
            for parameter in frozen:
                parameter.requires_grad_(True)
            logits = logits_of(model, batch)
            loss = (
                functional.mse_loss(logits[:, 0], labels)
                if labels.is_floating_point()
                else functional.cross_entropy(logits, labels)
            )
            found, rest = caught.gradients(loss, others)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
    mean = {term: of.sum(0) for term, of in found.items()}  # (L, d): the loss is a mean already
    norm = nn.utils.get_total_norm([*mean.values(), *(gradient for gradient in rest if gradient is not None)])
    scale = min(1.0, clip / (norm.item() + 1e-6)) if clip > 0 else 1.0  # torch's own clipping
    return {term: (of.cpu().double() * scale).square() for term, of in mean.items()}


def _check(kind: str, where: str, draws: int) -> None:
    if kind not in KINDS:
        raise UnknownName("kind of Fisher information", kind, KINDS)
    if where not in PLACES:
        raise UnknownName("place to measure at", where, PLACES)
    if draws < 1:
        raise TrainingError(f"draws is {draws!r}; it has to be at least 1.")
