"""What a run trained, as an adapter's tensors, and on which base.

Keys are PEFT's BEFT keys: ``base_model.model.<module>.beft_bias``, (1, d), is a delta of that module's bias, and
``base_model.model.<name>`` a parameter. A part of a fused bias, which PEFT cannot hold, has its term behind
(``.beft_bias.value``). A lone bias of the head (BERT's pooler) is one more delta.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from . import runtime, sparse
from .adapter_folder import is_path
from .architectures import TERMS, Part, family_of, head_parameters, layers_of, parts_of, width_of
from .biases import BiasDelta
from .errors import AdapterError
from .folding import MERGED, is_merged
from .wrapping import acting, has_prefix

if TYPE_CHECKING:
    from .runs import Run

PREFIX = "base_model.model."
DELTA = re.compile(rf"{re.escape(PREFIX)}(?P<module>.+)\.beft_bias(?:\.(?P<term>{'|'.join(TERMS)}))?")


@dataclass(frozen=True)
class Adapter:
    """What an adapter sets: ``deltas`` by (module, term), each (d,); other ``parameters`` by name; its label names."""

    deltas: Mapping[tuple[str, str], Tensor]
    parameters: Mapping[str, Tensor]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """What a run trained: tensors by key, modules stored whole, and whether stock PEFT can hold all of it."""

    tensors: Mapping[str, Tensor]
    modules: list[str]
    portable: bool


def deltas_of(model: nn.Module) -> dict[tuple[str, str], BiasDelta]:
    """The installed deltas by (module, term)."""
    named = ((name, module) for name, module in model.named_modules() if isinstance(module, BiasDelta))
    return {(name.split(".parametrizations.")[0], delta.term): delta for name, delta in named}


def parameter_of(model: nn.Module, name: str) -> Tensor:
    """The parameter that a stock model calls ``name``, under its delta if it has one."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if parametrize.is_parametrized(module, leaf):
        return cast(Tensor, module.parametrizations[leaf].original)  # type: ignore[index,union-attr]
    return cast(Tensor, getattr(module, leaf))


def pretrained_of(model: nn.Module, name: str) -> Tensor:
    """The parameter's value before any run: what ``fine_tune`` remembered, else what is there."""
    pristine: dict[str, Tensor] = getattr(model, "beft_pristine", {})
    return pristine[name] if name in pristine else parameter_of(model, name).detach()


def trained_of(run: Run) -> Trained:
    """What ``run`` trained, on the CPU. Raises AdapterError where that is no adapter, or no longer in the model."""
    model, head = run.model, head_parameters(run.model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    own = {name: p for name, p in trained.items() if name not in head and ".parametrizations." not in name}
    _check_trained(run, trained, [name for name in own if not name.endswith("bias")])
    installed = deltas_of(model)
    deltas = {_delta_key(path, delta): delta.delta.detach() for (path, _), delta in installed.items()}
    portable = not own and all(delta.index is None for delta in installed.values())
    modules = whole_modules(model, head)
    whole = {name: p for name, p in model.named_parameters() if any(name.startswith(path + ".") for path in modules)}
    for name, parameter in ((name, p) for name, p in head.items() if name not in whole):
        path, _, leaf = name.rpartition(".")
        if leaf == "bias" and isinstance(model.get_submodule(path), nn.Linear):
            deltas[f"{PREFIX}{path}.beft_bias"] = (
                parameter.detach().cpu().float() - pretrained_of(model, name).cpu().float()
            )
        else:
            own[name], portable = parameter, False
    value = parts_of(model, "value")[-1]
    if portable and not deltas and value.index is None:  # PEFT refuses an adapter that moves no bias: move one by zero
        deltas[f"{PREFIX}{paths_of(model)[value.module]}.beft_bias"] = torch.zeros(_width(value))
    targets = [cast(re.Match, DELTA.fullmatch(key))["module"] for key in deltas]
    portable = portable and bool(targets) and all(isinstance(model.get_submodule(path), nn.Linear) for path in targets)
    tensors = {key: delta[None] for key, delta in deltas.items()} | {
        PREFIX + name: p for name, p in (whole | own).items()
    }
    return Trained({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, modules, portable)


def base_of(model: nn.Module) -> dict[str, Any]:
    """The base model: names that can travel (no folder of this machine), its shape, and a sample of its weights."""
    source, merged = cast(Any, getattr(model, "beft_source", None)), is_merged(model)
    name = source.name if source else str(getattr(model.config, "name_or_path", "") or "")
    on_hub = name if source and source.channel in ("hub", "cache") and "/" in name else ""
    told = Path(name).name if is_path(name) or (source and source.channel == "folder") else name
    if merged and not told.endswith(MERGED):  # a model that no load_model has named
        told = (told or type(model).__name__) + MERGED
    return {
        "name": told,
        "hub": "" if merged else runtime.MODELS[name].hub if name in runtime.MODELS else on_hub,
        "revision": source.revision if source and not merged else None,
        "merged": merged,
        "shipped": bool(source and source.channel == "shipped" and not merged),
        "family": family_of(model).model_type,
        "layers": len(layers_of(model)),
        "width": int(cast(Any, model.config).hidden_size),
        "sample": _sample(model),
        "head": {name: head_sample(model, name) for name in _lone_in_head(model)},
    }


def _check_trained(run: Run, trained: Mapping[str, Tensor], weights: list[str]) -> None:
    if run.current and (acting(run.model) is not run.model or sparse.installed(run.model)):
        raise AdapterError(
            f"Method {run.method!r} moves more than biases and the head, which is all that a BEFT adapter holds. "
            f"Instead, {_way_out(run.model)}."
        )
    if weights:
        raise AdapterError(
            f"Method {run.method!r} trained {len(weights)} weights (first: {weights[0]}); an adapter holds biases and "
            "the head. Save the whole model instead: run.model.save_pretrained(folder)."
        )
    if not run.current or sum(p.numel() for p in trained.values()) != run.counts.method + run.counts.head:
        raise AdapterError(
            f"The model no longer holds what this run trained ({run.counts}): it was tuned again, or an adapter was "
            "loaded. Call save_adapter right after fine_tune; now, run fine_tune again first."
        )
    for name, parameter in trained.items():
        if not bool(torch.isfinite(parameter).all()):
            raise AdapterError(
                f"{name} holds NaN or infinity: the run diverged. Tune again with a smaller learning rate."
            )


def _way_out(model: nn.Module) -> str:
    """How to keep a run that is no BEFT adapter."""
    whole = "keep the whole model: merge_adapter(run.model).save_pretrained(folder)"
    if acting(model) is model:
        return whole
    stock = "beft_lib.adapters.save_peft(run.model, folder), which stock PEFT opens"
    return f"keep the prefix and the head: {stock}" if has_prefix(model) else f"{whole}; or the small part: {stock}"


def whole_modules(model: nn.Module, head: Mapping[str, nn.Parameter]) -> list[str]:
    """Modules stored whole: those of the head, and any that no checkpoint held (a pooler drawn from the seed)."""
    entries = [entry for entry in family_of(model).head if any(name.startswith(entry + ".") for name in head)]
    drawn = [name.rpartition(".")[0] for name in getattr(model, "beft_fresh", ()) if name not in head]
    return list(dict.fromkeys([*entries, *drawn]))


def _delta_key(path: str, delta: BiasDelta) -> str:
    return f"{PREFIX}{path}.beft_bias" + ("" if delta.index is None else f".{delta.term}")


def paths_of(model: nn.Module) -> dict[nn.Module, str]:
    return {module: name for name, module in model.named_modules()}


def _width(part: Part) -> int:
    return width_of(part.module) if part.index is None else part.index.numel()


def _sample(model: nn.Module) -> list[float]:
    """A few numbers of the pretrained weights: by these a base is known under any name and in any precision.

    Four each of q, k and v in three layers, and one of every other tensor in every layer and of the embeddings.
    """
    chosen, paths = {0, len(layers_of(model)) // 2, len(layers_of(model)) - 1}, paths_of(model)
    picked: list[float] = []
    for part in (part for term in TERMS for part in parts_of(model, term) if part.layer in chosen):
        for leaf in ("weight", "bias"):
            if getattr(part.module, leaf, None) is None:
                picked += [0.0] * 4  # as add_biases makes it
                continue
            values = pretrained_of(model, f"{paths[part.module]}.{leaf}").reshape(-1)
            picked += values[:: max(1, values.numel() // 4)][:4].float().tolist()
    picked += [_middle(pretrained_of(model, name)) for name in _others(model, paths)]
    return [float(f"{value:.6g}") for value in picked]


def lone_modules(model: nn.Module) -> list[str]:
    """Modules of which the head has a part only: BERT's pooler, whose bias is the head's and whose weight is not."""
    head = head_parameters(model)
    whole = tuple(f"{path}." for path in whole_modules(model, head))
    return list(dict.fromkeys(name.rpartition(".")[0] for name in head if not name.startswith(whole)))


def _lone_in_head(model: nn.Module) -> list[str]:
    """Parameters by which a base is known in its head: an adapter's delta goes on top of them, and they stay."""
    modules = ((path, model.get_submodule(path)) for path in lone_modules(model))
    return sorted(f"{path}.{leaf}" for path, module in modules for leaf, _ in module.named_parameters())


def head_sample(model: nn.Module, name: str) -> list[float]:
    """Sixteen numbers of one pretrained parameter: more than of others, for a head tuned briefly has moved little."""
    values = pretrained_of(model, name).reshape(-1)
    picked = values[:: max(1, values.numel() // 16)][:16].float().tolist()
    return [float(f"{value:.6g}") for value in picked]


def _others(model: nn.Module, paths: Mapping[nn.Module, str]) -> list[str]:
    """The base's parameters that are no part of q, k or v, by their stock names: of the layers and the embeddings."""
    attention = {paths[part.module] for term in TERMS for part in parts_of(model, term)}
    within = [*layers_of(model), cast(Any, model).get_input_embeddings()]
    stock = re.compile(r"\.parametrizations(\.\w+)\.original$|\.base_layer(?=\.)")  # under a delta; under LoRA
    names = []
    for path in (paths[module] for module in within):
        for held, _ in model.get_submodule(path).named_parameters(path):
            name = stock.sub(lambda match: match[1] or "", held)
            added = ".parametrizations." in name or ".lora_" in name  # by a run, not by the checkpoint
            if not added and name.rpartition(".")[0] not in attention:
                names.append(name)
    return sorted(names)  # a parametrized weight comes after its bias


def _middle(tensor: Tensor) -> float:
    """The number in the middle of a tensor."""
    return float(tensor.reshape(-1)[tensor.numel() // 2])
