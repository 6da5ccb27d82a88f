"""A Trainer whose batch fits: in pieces where the memory is too small, in shares where there are several processes.

Either way loss and gradient of a step are those of the whole batch, but for the numbers that dropout draws: in pieces
and shares they are others.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import Trainer

from . import fsdp
from .errors import TrainingError

Batch = dict[str, Any]


class FittingTrainer(Trainer):
    """A stock Trainer, but for how a step's batch is computed.

    Attributes:
        pieces: in how many parts; it doubles whenever one does not fit.
        group: rows that belong together (the candidates of one example), and are never parted.
    """

    model: nn.Module  # a stock Trainer may be made without one

    def __init__(self, group: int = 1, **options: Any):
        super().__init__(**options)
        self.pieces, self.group = 1, group
        self._share = 1.0

    def training_step(self, model: nn.Module, inputs: Batch, *rest: Any, **options: Any) -> Tensor:
        world, whole = self.args.world_size, self.pieces == 1
        while True:
            try:
                if whole and world == 1:
                    return super().training_step(model, inputs, *rest, **options)
                loss = self._in_pieces(model, inputs)
                return loss if world == 1 else cast(Tensor, self.accelerator.reduce(loss, "mean"))
            except RuntimeError as error:
                self._halve(inputs, error)
                whole = False

    def compute_loss(self, *args: Any, **options: Any) -> Any:
        found = super().compute_loss(*args, **options)
        if self._share == 1:
            return found
        return (found[0] * self._share, *found[1:]) if isinstance(found, tuple) else found * self._share

    def get_train_dataloader(self) -> DataLoader:
        """With several processes every one gets the whole batch, and takes its rows in ``training_step``: the same
        batches as one process has, the last and smaller one as well.
        """
        loader = super().get_train_dataloader()
        if self.args.world_size > 1:
            shard: Any = loader.batch_sampler  # made to pass everything on, as the Trainer itself does elsewhere
            shard.num_processes, shard.process_index, shard.even_batches = 1, 0, False
        return loader

    def _wrap_model(self, model: nn.Module, training: bool = True, *rest: Any, **options: Any) -> nn.Module:
        if not training or isinstance(model, DistributedDataParallel):
            return super()._wrap_model(model, training, *rest, **options)
        if self.args.world_size > 1:
            _unmark(model)
        if fsdp.is_in_pieces(model):
            model = self.accelerator.prepare_model(model, device_placement=False, evaluation_mode=True)  # autocast only
            handler = self.accelerator.ddp_handler
            return fsdp.averaging(model, **({} if handler is None else handler.to_kwargs()))
        return super()._wrap_model(model, training, *rest, **options)

    def _in_pieces(self, model: nn.Module, inputs: Batch) -> Tensor:
        """One step's loss and gradient from parts of the batch, each weighted by its share."""
        world, count = self.args.world_size, len(inputs["labels"]) // self.group
        mine = range(self.args.process_index, count, world)
        idle = not mine  # fewer examples than processes: compute one all the same, and let it count 0
        mine = mine or range(1)
        size, total = -(-len(mine) // self.pieces), self._weight(inputs)
        losses = []
        try:
            for start in range(0, len(mine), size):
                part = self._part(inputs, mine[start : start + size])
                # Several processes average their gradients, hence their number.
                self._share = 0.0 if idle else self._weight(part) * world / total
                losses.append(super().training_step(model, part))
        finally:
            self._share = 1.0
        return torch.stack(losses).sum()

    def _part(self, batch: Batch, examples: range) -> Batch:
        """Some examples of a batch; what is no tensor is for all of them."""
        rows = [example * self.group + number for example in examples for number in range(self.group)]
        return {name: value[rows] if isinstance(value, Tensor) else value for name, value in batch.items()}

    def _weight(self, batch: Batch) -> int:
        """By how much a part counts in the mean: its examples; where labels are tokens, those that are not masked."""
        labels = batch["labels"]
        return len(labels) // self.group if self.group > 1 or labels.ndim == 1 else int((labels != -100).sum())

    def _halve(self, inputs: Batch, error: RuntimeError) -> None:
        """After a batch did not fit: half of it at a time from now on, and say so. Raises what is no lack of memory."""
        if not is_lack_of_memory(error):
            raise error
        rows = len(inputs["labels"]) // self.group
        if self.pieces >= rows or self.args.world_size > 1:
            # Several processes meet in every piece, so one alone cannot take more of them.
            alone = self.args.world_size == 1
            several = f", shared by {self.args.world_size} processes, where a step cannot be parted further"
            raise TrainingError(
                f"Out of memory with {-(-rows // self.pieces)} of {rows} examples at a time{'' if alone else several}. "
                f"Use a shorter max_length, {'' if alone else 'more processes, '}a smaller batch_size or model."
            ) from error
        self.pieces = min(2 * self.pieces, rows)
        error.__traceback__ = None  # it holds the tensors that did not fit
        self.model.zero_grad()
        clear_device_cache(garbage_collection=True)
        warnings.warn(
            f"A batch of {rows} did not fit the memory: it is now computed {-(-rows // self.pieces)} examples at a "
            "time, and their gradients added. The batch stays the same; a step takes a little longer.",
            stacklevel=2,
        )


def is_lack_of_memory(error: RuntimeError) -> bool:
    """Whether a batch did not fit the device's memory."""
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def halved(size: int, error: RuntimeError, what: str) -> int:
    """Half of a batch that did not fit while nothing is trained, said once. Raises what is no lack of memory, and
    TrainingError where a single example does not fit. (accelerate's ``find_executable_batch_size`` tells nobody.)
    """
    if not is_lack_of_memory(error):
        raise error
    if size == 1:
        raise TrainingError(
            f"Out of memory with one example at a time, while {what}. Use a shorter max_length or a smaller model."
        ) from error
    error.__traceback__ = None  # it holds the tensors that did not fit
    clear_device_cache(garbage_collection=True)
    warnings.warn(
        f"{size} examples did not fit the memory while {what}: {size // 2} at a time from here on. The answers stay "
        "the same.",
        stacklevel=3,
    )
    return size // 2


def _unmark(model: nn.Module) -> None:
    """accelerate wraps no model that has its mark, and scoring one after a run leaves it: in a second run on the same
    model every process would train by its own gradients. What it put around ``forward`` goes with the mark.
    """
    for module in model.modules():
        if module.__dict__.pop("_is_accelerate_prepared", False) and "_original_forward" in module.__dict__:
            module.__dict__.pop("_original_forward")
            module.__dict__.pop("forward", None)
