"""A large base shared among processes: on its GPU each holds a piece of every frozen layer (PyTorch's FSDP2,
``fully_shard``). In main memory each still holds all of it.

Tuning a few vectors needs no optimizer for the base, but the base itself has to be somewhere. A layer is put together
where it is needed, one at a time, and let go again. What is trained is small: every process holds all of it, and DDP
averages its gradients, as without pieces. So a step, a checkpoint and an adapter are what they are without. Embeddings
and a language model's head are no layers, and stay whole.

The pieces belong to a twin for the time of one run; the model itself stays whole, on the CPU.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils.memory import clear_device_cache
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from . import runtime, wrapping
from .architectures import layers_of
from .errors import TrainingError


@contextmanager
def in_pieces(model: nn.Module) -> Iterator[nn.Module]:
    """Within the block: a twin of what computes, its frozen layers in pieces. It trains ``model``'s own parameters.

    All processes have to do the same with it: a layer is put together by all of them.

    Args:
        model: prepared, its trained parameters requiring a gradient.

    Raises TrainingError where there is one process only, where nothing of the layers is frozen, for a model that is
    quantized or spread over devices, and for a torch that cannot leave out what is trained (before 2.7).
    """
    state = PartialState(cpu=runtime.device().type == "cpu")  # as the Trainer asks for it
    shard = _sharding(state.num_processes)
    for name in ("hf_device_map", "quantization_method"):
        if getattr(model, name, None):
            raise TrainingError(f"fsdp=True takes a plain model, and this one has {name}. Load it without, on the CPU.")
    dropped = max(getattr(module, "layerdrop", 0) for module in model.modules())  # OPT's: each process draws its own
    if dropped > 0:
        raise TrainingError(
            f"fsdp=True fetches a layer's pieces in all processes together, and this model skips layers at random "
            f"(layerdrop {dropped}). Load it with layerdrop=0, or leave fsdp out."
        )
    acting = wrapping.acting(model).to("cpu")  # what lies whole on a GPU would lie there beside its pieces
    trained = [parameter for parameter in acting.parameters() if parameter.requires_grad]
    if all(p.requires_grad for layer in layers_of(model) for p in layer.parameters()):
        raise TrainingError(
            "fsdp=True cuts the frozen layers into pieces, and this method trains every one of them. Choose one that "
            "leaves them as they are (value, all_biases, lora), or leave fsdp out."
        )
    clear_device_cache(garbage_collection=True)  # an earlier run's twin, which refers to itself
    twin, whole = _twin(model), dict(acting.named_parameters())
    try:
        for parameter in trained:
            parameter.data = parameter.data.to(state.device)
        yield _cut(twin, shard, state, whole)
    finally:
        for parameter in trained:
            parameter.grad = None
            parameter.data = parameter.data.to("cpu")
        acting.eval()


def is_in_pieces(model: nn.Module) -> bool:
    """Whether this is what ``in_pieces`` gave."""
    return bool(getattr(model, "beft_pieces", ()))


def averaging(model: nn.Module, **options: Any) -> DistributedDataParallel:
    """DDP around a model in pieces, for what is trained. accelerate's own wrapping refuses to look at pieces at all."""
    names = cast(Any, model).beft_pieces
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    return DistributedDataParallel(model, **options)


def local_bytes(model: nn.Module) -> int:
    """Bytes of a model's parameters that this process holds: of a piece its own only."""
    held = [cast(Any, p).to_local() if hasattr(p, "to_local") else p for p in model.parameters()]
    return sum(p.numel() * p.element_size() for p in held)


def _sharding(processes: int) -> Any:
    """``fully_shard`` where it can be used. Raises TrainingError."""
    if processes < 2:
        raise TrainingError(
            "fsdp=True shares the frozen layers among processes, and there is one. Start several: accelerate launch "
            "--multi_gpu --num_processes 2 -m beft_lib tune --fsdp …; or leave fsdp out."
        )
    from torch.distributed import fsdp

    fully_shard: Any = getattr(fsdp, "fully_shard", None)
    if fully_shard is None or "ignored_params" not in inspect.signature(fully_shard).parameters:
        raise TrainingError(f"fsdp=True needs torch 2.7 or newer; this is {torch.__version__}.")
    return fully_shard


def _twin(model: nn.Module) -> nn.Module:
    """A copy of the modules, not of the weights: what is trained are the same parameters, the rest look at the same
    numbers through parameters of their own, which can be cut and moved.
    """
    memo: dict[int, Any] = {}
    for parameter in [*model.parameters(), *wrapping.acting(model).parameters()]:
        own = parameter if parameter.requires_grad else nn.Parameter(parameter.detach(), requires_grad=False)
        memo.setdefault(id(parameter), own)
    pristine = getattr(model, "beft_pristine", {})
    memo[id(pristine)] = pristine  # copies of weights, which need not be copied again
    return copy.deepcopy(model, memo)


def _cut(twin: nn.Module, shard: Any, state: PartialState, whole: dict[str, nn.Parameter]) -> nn.Module:
    """Cut the twin's layers, in place; what computes of it."""
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(cast(torch.device, state.device).type, (state.num_processes,))
    for layer in layers_of(twin):
        trained = {parameter for parameter in layer.parameters() if parameter.requires_grad}
        shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
    cut = {id(p) for layer in layers_of(twin) for p in layer.parameters() if not p.requires_grad}
    acting: Any = wrapping.acting(twin)
    for root in dict.fromkeys((twin, acting)):  # it cuts nothing; the layers share its streams
        shard(root, mesh=mesh, ignored_params={p for p in root.parameters() if id(p) not in cut})
    acting.beft_pieces = tuple(name for name, p in acting.named_parameters() if id(p) in cut)
    # A checkpoint knows its base by the weights before training: pieces cannot be read, what they are of can.
    pristine = {name: whole[name].detach() for name in acting.beft_pieces}
    acting.beft_pristine = {**getattr(twin, "beft_pristine", {}), **pristine}
    return acting
