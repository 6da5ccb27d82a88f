"""Adapters: what a run trained as a small folder, several of them on one base, and merging one for good.

``beft.json`` and the card are ours; for projections with a bias each, the folder is PEFT's BEFT format as well.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import Tensor, nn

from . import __version__, biases, folding, sparse, wrapping
from .adapter_card import card
from .adapter_fit import check_base, fit
from .adapter_folder import CARD, CONFIG, FORMAT, OWN, WEIGHTS, Contents, digest, is_path, read_folder, write_folder
from .adapter_tensors import (
    DELTA,
    Adapter,
    Trained,
    base_of,
    deltas_of,
    lone_modules,
    parameter_of,
    paths_of,
    pretrained_of,
    trained_of,
    whole_modules,
)
from .architectures import TERMS, head_parameters, parts_of
from .errors import AdapterError, UnknownName
from .methods import Method
from .runs import Run, Runs

_PEFT_KINDS = (("ForSequenceClassification", "SEQ_CLS"), ("ForCausalLM", "CAUSAL_LM"))
_TOLD = ("method", "terms", "task", "labels", "wording", "data", "seed", "metric", "metrics", "recipe")


def fits_adapter(method: Method) -> bool:
    """Whether what a method trains is biases and the head, which is all that ``save_adapter`` keeps."""
    return not (method.peft or method.uniform or method.also("weight"))


def save_adapter(run: Run, folder: str | Path) -> Path:
    """Write what ``run`` trained, its numbers and a model card. Call it before the model is tuned again.

    A kill in the middle leaves what was there before, whole. Raises AdapterError where an adapter is the wrong thing to
    save (``full``: use ``run.model.save_pretrained``; ``lora``, ``prefix``: ``save_peft``), or where ``folder`` holds
    anything but an adapter.
    """
    if isinstance(run, Runs):
        raise AdapterError(
            f"These are {len(run)} runs, and an adapter is one. The model holds the last of them: "
            "save_adapter(runs[-1], folder); for another, fine_tune(model, task, method, seed=…) first."
        )
    trained = trained_of(run)
    data = save(dict(trained.tensors), metadata={"format": "pt"})
    own = {**_facts(run), **_contents(trained, data)}
    own["digest"] = digest(own)
    files = {WEIGHTS: data, OWN: _json(own), CARD: card(own).encode("utf-8")}
    if trained.portable:
        files[CONFIG] = _json(_peft_config(run.model, own))
    return write_folder(folder, files)


def save_peft(model: nn.Module, folder: str | Path) -> Path:
    """Write what a run with LoRA or a prefix trained, the head with it, as PEFT does.

    ``PeftModel.from_pretrained(stock, folder)`` opens it and gives the same logits. Raises AdapterError where the model
    holds no such run, where it diverged, or where ``folder`` holds anything but an adapter.
    """
    if wrapping.acting(model) is model:
        raise AdapterError(
            f"{type(model).__name__} holds no run with LoRA or a prefix. Call save_peft right after fine_tune(model, "
            "task, 'lora'), before the model is tuned again; other runs go to save_adapter(run, folder)."
        )
    modules = [*whole_modules(model, head_parameters(model)), *lone_modules(model)]
    tensors, config = wrapping.trained_by_peft(model, modules)
    data = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    for key, tensor in data.items():
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterError(
                f"{key} holds NaN or infinity: the run diverged. Tune again with a smaller learning rate."
            )
    base = base_of(model)  # a name that can travel, where PEFT would write a folder of this machine
    config.base_model_name_or_path, config.revision = base["hub"] or base["name"], base["revision"]
    config.inference_mode, config.task_type = True, config.task_type or _peft_kind(model)
    with tempfile.TemporaryDirectory() as place:
        config.save_pretrained(place)
        files = {CONFIG: (Path(place) / CONFIG).read_bytes(), WEIGHTS: save(data, metadata={"format": "pt"})}
    return write_folder(folder, files)


def load_adapter(model: nn.Module, folder: str | Path, name: str = "default") -> dict[str, Any]:
    """Check an adapter (ours, or PEFT's BEFT) against ``model``, keep it under ``name``, use it. Returns what it says.

    Many on one base, for tasks with equally many labels: the head is the base's, and an adapter for another number of
    labels is refused. Load the base once for each number of labels.

    Raises AdapterError, the model exactly as it was, when the folder is not whole or does not belong to this model.
    """
    if not isinstance(name, str) or not name:
        raise AdapterError(
            f"name is {name!r}; expected a word to call the adapter by, such as its task's: load_adapter(model, "
            "folder, 'rte'). Without one it is 'default'; back to the pretrained model goes use_adapter(model, None)."
        )
    contents = read_folder(folder)
    check_base(model, contents)
    adapter, told = fit(model, contents), _description(contents)
    biases.find_biases(model, {term for _, term in adapter.deltas})  # the last step that can refuse
    pristine: dict[str, Tensor] = model.__dict__.setdefault("beft_pristine", {})
    for key in adapter.parameters:
        pristine.setdefault(key, pretrained_of(model, key).cpu().clone())
    model.__dict__.setdefault("beft_labels", dict(cast(Any, model.config).id2label))
    model.__dict__.setdefault("beft_adapters", {})[name] = adapter
    use_adapter(model, name)
    return told


def use_adapter(model: nn.Module, name: str | None) -> None:
    """Switch to an adapter loaded before, or with None to the pretrained model: deltas and head are copied, no more.

    Whatever was tuned in the model since is undone. The model is frozen until the next ``fine_tune``.
    """
    shelf: dict[str, Adapter] = getattr(model, "beft_adapters", {})
    if name is not None and name not in shelf:
        raise UnknownName("adapter", name, shelf, "load_adapter(model, folder, name) adds one.")
    adapter = Adapter({}, {}) if name is None else shelf[name]
    wrapping.unwrap(model)
    sparse.remove(model)
    deltas = deltas_of(model)
    if adapter.deltas.keys() - deltas.keys():
        biases.install(model, {term for _, term in adapter.deltas})
        deltas = deltas_of(model)
    with torch.no_grad():
        for key, installed in deltas.items():
            installed.delta.copy_(adapter.deltas[key]) if key in adapter.deltas else installed.delta.zero_()
        for key, pretrained in getattr(model, "beft_pristine", {}).items():
            parameter_of(model, key).copy_(adapter.parameters.get(key, pretrained))
    for parameter in (p for module in model.modules() for p in module._parameters.values() if p is not None):  # quick
        if parameter.requires_grad or parameter.grad is not None:
            parameter.requires_grad_(False)
            parameter.grad = None
    labels = dict(enumerate(adapter.labels)) or getattr(model, "beft_labels", None)
    if labels:
        config: Any = model.config
        config.id2label, config.label2id = dict(labels), {label: number for number, label in labels.items()}


def merge_adapter(model: nn.Module, fold: bool = False) -> nn.Module:
    """Put what is in use into the biases, in place: a stock model with stock keys and the same logits.

    ``fold=True`` moves b_v on into the output projection's bias (see ``folding.fold``). Biases that ``add_biases``
    added are switched on in the configuration where stock code has a place for them, or go where they are zero.
    The merged model counts as a new pretrained model, called "NAME, merged": adapters loaded before, and the way back,
    are gone. Before tuning it further, save it (save_pretrained) and load that folder: an adapter needs a base to name.
    A run with LoRA or random_uniform goes into the weights. Raises ModelError, with nothing changed, where no stock
    model can hold the result, and AdapterError where there is nothing to merge, or a prefix, which no weight can hold.
    """
    if not (biases.all_deltas(model) or getattr(model, "beft_adapters", {}) or getattr(model, "beft_pristine", {})):
        raise AdapterError(
            f"{type(model).__name__} has nothing to merge: call load_adapter(model, folder) or fine_tune first."
        )
    if wrapping.has_prefix(model):
        raise AdapterError(
            f"{type(model).__name__} was tuned with a prefix, which no weight can hold: keep it and the head with "
            "beft_lib.adapters.save_peft(model, folder), which stock PEFT opens."
        )
    folding.check(model, fold)  # before a LoRA run goes into the weights
    wrapping.unwrap(model, merge=True)
    sparse.remove(model, merge=True)
    return folding.fold(model) if fold else folding.settle(model)


def describe_adapter(folder: str | Path) -> dict[str, Any]:
    """What a folder says of its adapter, after the checks that need no model. What PEFT does not write is None."""
    return _description(read_folder(folder))


def _description(contents: Contents) -> dict[str, Any]:
    own, config = contents.own, contents.config
    base = own.get("base", {"name": config.get("base_model_name_or_path"), "revision": config.get("revision")})
    counts = sum(tensor.numel() for tensor in contents.tensors.values())
    return {
        **{name: own.get(name) for name in _TOLD},
        "base": {name: base.get(name) for name in ("name", "hub", "revision", "family", "layers", "width")},
        "parameters": counts,
        "bytes": sum(tensor.nbytes for tensor in contents.tensors.values()),
        "biases": sum(DELTA.fullmatch(key) is not None for key in contents.tensors),
        "peft": bool(config),
        "made_by": f"beft_lib {own['versions'].get('beft_lib')}" if own else f"PEFT {config.get('peft_version')}",
    }


def _facts(run: Run) -> dict[str, Any]:
    """beft.json, as far as the run knows."""
    data = run.data
    installed = deltas_of(run.model)
    terms, paths = {term for _, term in installed}, paths_of(run.model)
    moved = {part.layer for t in TERMS for part in parts_of(run.model, t) if (paths[part.module], t) in installed}
    packages = ("torch", "transformers", "safetensors")
    return {
        "format": FORMAT,
        "method": run.method,
        "terms": [term for term in TERMS if term in terms],
        "layers": sorted(moved),
        "task": run.task,
        "labels": list(run.labels),
        "wording": run.wording,
        "data": {"source": Path(data).name if is_path(data) else data, "n_train": run.n_train},
        "seed": run.seed,
        "metric": run.metric,
        "metrics": {name: value if math.isfinite(value) else None for name, value in run.metrics.items()},
        "recipe": asdict(run.recipe),
        "parameters": asdict(run.counts),
        "steps": run.steps,
        "seconds": run.seconds,
        "kept_layers": run.kept_layers,
        "base": base_of(run.model),
        "versions": {"beft_lib": __version__, **{name: importlib.metadata.version(name) for name in packages}},
    }


def _contents(trained: Trained, data: bytes) -> dict[str, Any]:
    """beft.json, as far as the weights file goes."""
    return {
        "peft": trained.portable,
        "modules_to_save": trained.modules,
        "file": {"name": WEIGHTS, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)},
        "tensors": {key: list(tensor.shape) for key, tensor in trained.tensors.items()},
    }


def _peft_config(model: nn.Module, own: Mapping[str, Any]) -> dict[str, Any]:
    """adapter_config.json as PEFT 0.21 writes it."""
    matches = (DELTA.fullmatch(key) for key in own["tensors"])
    return {
        "auto_mapping": None,
        "base_model_name_or_path": own["base"]["hub"] or own["base"]["name"],
        "inference_mode": True,
        "init_weights": True,
        "modules_to_save": own["modules_to_save"] or None,
        "peft_type": "BEFT",
        "peft_version": "0.21.0",
        "revision": own["base"]["revision"],
        "target_modules": sorted(match["module"] for match in matches if match),
        "task_type": _peft_kind(model),
    }


def _peft_kind(model: nn.Module) -> str | None:
    """PEFT's word for what the model is for."""
    return next((kind for end, kind in _PEFT_KINDS if type(model).__name__.endswith(end)), None)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
