"""Below the floor: where only upper layers are tuned, what lies below never changes, so it is computed once.

While the lowest layers hold nothing that is trained, the last one's output depends on the words alone. It is computed
the first time an example comes by and kept, so that later epochs start half way up. The layers stay where they are;
for the time of a training their ``forward`` looks into the store first.

What is kept has no dropout in it: dropout below the floor is off (above it stays on). The paper's recipe has dropout
everywhere, hence ``reuse="auto"``: only where the model has none, so that nothing but the time changes.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from . import runtime
from .architectures import head_parameters, layers_of
from .errors import TrainingError

MEMORY = 1 << 30  # bytes kept in memory at most; the rest goes to a memory-mapped file


class Store:
    """Outputs of the last frozen layer by example: (tokens, d) each, without padding.

    In memory up to ``memory`` bytes, then in a temporary file up to ``disk`` bytes; what is beyond is not kept, and
    computed every time.
    """

    def __init__(self, memory: int, disk: int):
        self.memory, self.disk = memory, disk
        self.bytes, self.asked, self.found = 0, 0, 0
        self._rows: dict[bytes, Tensor | tuple[int, int]] = {}  # in the file: offset and bytes
        self._file: IO[bytes] | None = None
        self._in_file = 0
        self._dtype, self._width = torch.float32, 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, key: bytes, row: Tensor) -> None:
        size = row.numel() * row.element_size()
        self._dtype, self._width = row.dtype, row.shape[-1]
        if self.bytes + size <= self.memory:
            self._rows[key] = row.clone()  # a view would hold the whole batch
            self.bytes += size
        elif self._in_file + size <= self.disk:
            self._file = self._file or tempfile.TemporaryFile(prefix="beft-")  # noqa: SIM115 - closed by close
            self._file.seek(self._in_file)
            self._file.write(row.contiguous().view(torch.uint8).numpy().tobytes())
            self._file.flush()
            self._rows[key] = (self._in_file, size)
            self._in_file += size

    def get(self, key: bytes) -> Tensor:
        held = self._rows[key]
        if isinstance(held, Tensor):
            return held
        mapped = np.memmap(cast(Any, self._file), np.uint8, "r", held[0], (held[1],))
        return torch.from_numpy(np.array(mapped)).view(self._dtype).view(-1, self._width)

    def close(self) -> None:
        self._rows.clear()
        if self._file is not None:
            self._file.close()


class _Floor:
    """The frozen layers of one model at work: knows the batch, asks the store, and stands in for the layers."""

    def __init__(self, store: Store, base: nn.Module):
        self.store, self.takes = store, inspect.signature(base.forward)
        self.keys: list[bytes] = []
        self.mask = torch.empty(0)
        self.served = self.as_tuple = False

    def look(self, base: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a batch: which examples are these, and are all of them in the store?"""
        given = self.takes.bind_partial(*args, **kwargs).arguments
        ids = given.get("input_ids")
        self.keys = []
        if ids is not None and given.get("past_key_values") is None and given.get("inputs_embeds") is None:
            mask = given.get("attention_mask")
            self.mask = torch.ones_like(ids) if mask is None else mask
            self.keys = _keys(ids, self.mask, given.get("token_type_ids"))
            self.mask = self.mask.bool().cpu()
        known = [key in self.store for key in self.keys]
        self.store.asked += len(known)
        self.store.found += sum(known)
        self.served = bool(known) and all(known)

    def stand_in(self, layer: nn.Module, last: bool) -> None:
        """Let ``layer`` pass on what is known; the last one brings it, or keeps what it computed."""
        compute = layer.forward

        def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.served:
                out = self.fetch(hidden) if last else hidden
                return (out,) if self.as_tuple else out
            with torch.no_grad():
                found = compute(hidden, *args, **kwargs)
            self.as_tuple = isinstance(found, tuple)
            if last:
                self.keep(found[0] if self.as_tuple else found)
            return found

        layer.forward = forward

    def fetch(self, like: Tensor) -> Tensor:
        """(B, T, d), padded as this batch is."""
        rows = torch.cat([self.store.get(key) for key in self.keys])
        out = torch.zeros(*self.mask.shape, rows.shape[-1], dtype=rows.dtype)
        out[self.mask] = rows
        return out.to(like.device)

    def keep(self, hidden: Tensor) -> None:
        if not self.keys:
            return
        new = [number for number, key in enumerate(self.keys) if key not in self.store]
        for number, row in zip(new, hidden.detach()[new].cpu(), strict=True):
            self.store.put(self.keys[number], row[self.mask[number]])


@contextmanager
def halfway(
    model: nn.Module, reuse: bool | str, epochs: float = 2, memory: int | None = None, disk: int | None = None
) -> Iterator[tuple[int, Store | None]]:
    """For the time of the block, compute the frozen layers once an example. Gives their number and the store.

    Args:
        reuse: True; False; or "auto": where there is no dropout below the floor, and a second epoch.
        memory: bytes kept in memory (None: 1 GiB, or a quarter of what is free if that is less).
        disk: bytes in the file behind it (None: half of what the folder for temporary files has left).

    Raises TrainingError for True where the lowest layer is trained.
    """
    stock: nn.Module = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    layers, depth = layers_of(stock), frozen_layers(model)
    if reuse not in (True, False, "auto"):
        raise TrainingError(f"reuse is {reuse!r}; expected True, False or 'auto'.")
    if reuse is True and not depth:
        raise TrainingError(
            "reuse=True, but the lowest layer is trained, or what comes before it: nothing is left to compute once. "
            "Tune upper layers only (value@top-half, head), or leave reuse to 'auto'."
        )
    if reuse is False or not depth or (reuse == "auto" and (epochs <= 1 or _drops(stock))):
        yield 0, None
        return
    free = runtime.memory()["ram_free"]
    store = Store(
        min(MEMORY, free // 4 if free else MEMORY) if memory is None else memory,
        shutil.disk_usage(tempfile.gettempdir()).free // 2 if disk is None else disk,
    )
    base = cast(Any, stock).base_model
    floor = _Floor(store, base)
    with ExitStack() as undo:
        undo.callback(store.close)
        above = {id(module) for layer in layers[depth:] for module in layer.modules()}
        below = [m for m in base.modules() if isinstance(m, nn.Dropout) and id(m) not in above]
        for module in [*layers[:depth], *below]:
            _stays_still(module, undo)
        for number, layer in enumerate(layers[:depth]):
            floor.stand_in(layer, last=number == depth - 1)
            undo.callback(layer.__dict__.pop, "forward")
        undo.callback(base.register_forward_pre_hook(floor.look, with_kwargs=True).remove)
        yield depth, store


def frozen_layers(model: nn.Module) -> int:
    """How many layers, counted from the lowest, hold nothing that is trained and see nothing that is."""
    stock: nn.Module = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    layers, head = layers_of(stock), {id(p) for p in head_parameters(stock).values()}
    trained = {id(p) for p in model.parameters() if p.requires_grad} - head
    by_layer = [{id(p) for p in layer.parameters()} & trained for layer in layers]
    if trained - set().union(*by_layer):  # embeddings, or a prefix: before the lowest layer, as far as we know
        return 0
    return next((number for number, found in enumerate(by_layer) if found), len(layers))


def _drops(model: nn.Module) -> bool:
    """Whether the model's configuration names any dropout outside the head."""
    config: dict[str, Any] = cast(Any, model).config.to_dict()
    names = (name for name in config if "drop" in name and not name.startswith(("classifier", "seq_", "summary")))
    return any(isinstance(config[name], (int, float)) and config[name] > 0 for name in names)


def _stays_still(module: nn.Module, undo: ExitStack) -> None:
    """In eval mode, whatever the Trainer says, until undone."""
    module.eval()
    module.train = lambda mode=True: module
    undo.callback(module.__dict__.pop, "train")


def _keys(ids: Tensor, mask: Tensor, types: Tensor | None) -> list[bytes]:
    """A name for each example: its words, their kinds, and where in the row they stand."""
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    told = torch.stack([places, ids, torch.zeros_like(ids) if types is None else types]).cpu().numpy()  # (3, B, T)
    shown = mask.bool().cpu().numpy()
    return [hashlib.blake2b(told[:, row, shown[row]].tobytes(), digest_size=16).digest() for row in range(ids.shape[0])]
