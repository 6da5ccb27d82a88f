"""Whether an adapter belongs to a model: base, shape, labels, and every tensor. Nothing here changes the model."""

from __future__ import annotations

import math
import re
from typing import Any, cast

import torch
from torch import Tensor, nn

from .adapter_folder import Contents
from .adapter_tensors import (
    DELTA,
    PREFIX,
    Adapter,
    base_of,
    head_sample,
    parameter_of,
    paths_of,
    pretrained_of,
)
from .architectures import TERMS, Part, head_parameters, layers_of, parts_of
from .errors import AdapterError
from .folding import is_merged


def check_base(model: nn.Module, contents: Contents) -> None:
    """Whether the adapter was trained on this base. Raises AdapterError."""
    if not contents.own:
        _check_peft_base(model, contents)
        return
    here, there = base_of(model), contents.own["base"]
    told, this = there["hub"] or there["name"] or "its own base model", here["name"] or type(model).__name__
    for what in ("family", "layers", "width"):
        if here[what] != there[what]:
            raise _refusal(
                contents,
                f"trained on {told}, with {what} {there[what]!r}; this model ({this}) has {what} {here[what]!r}. "
                f"Load it on {told}.",
            )
    labels, expected = cast(Any, model.config).num_labels, len(contents.own["labels"])
    if expected and labels != expected:  # a language model has none
        raise _labels_differ(contents, expected, labels)
    if not _same(here["sample"], there["sample"]) or not _same_head(model, there.get("head", {})):
        fix = f"Load it on {told}, revision {there.get('revision') or 'not recorded'}"
        if there.get("merged"):
            fix = "That base is in no file yet: save the merged model first (save_pretrained) and name its folder"
        raise _refusal(
            contents,
            f"trained on {told}; this model ({this}) has its shape but other weights: another model or revision, or "
            f"one with an adapter merged in. {fix}.",
        )


def fit(model: nn.Module, contents: Contents) -> Adapter:
    """The adapter as this model will use it. Raises AdapterError."""
    targets = {key: match["module"] for key in contents.tensors if (match := DELTA.fullmatch(key))}
    _check_targets(model, contents, targets)
    _check_keys(model, contents)
    parts, paths = [part for term in TERMS for part in parts_of(model, term)], paths_of(model)
    deltas: dict[tuple[str, str], Tensor] = {}
    parameters: dict[str, Tensor] = {}
    for key, tensor in contents.tensors.items():
        if key not in targets:
            name = key.removeprefix(PREFIX)
            parameters[name] = _fit_parameter(model, contents, name, tensor)
            continue
        path, here = targets[key], [part for part in parts if paths[part.module] == targets[key]]
        if getattr(model.get_submodule(path), "bias", None) is None and not bool(tensor.any()):
            continue  # zero, where there is nothing to move
        moved = _fit_deltas(model, contents, key, tensor, here)
        deltas |= {(path, term): delta for term, delta in moved.items()}
        bias = pretrained_of(model, path + ".bias")
        if not moved:  # a bias outside attention: set as a whole
            whole = bias.float() + _row(contents, key, tensor, bias.numel()).to(bias.device)
            parameters[path + ".bias"] = _holds(contents, key, whole, bias.dtype)
        elif bias.dtype.itemsize < 4:
            _holds(contents, key, tensor.float().abs() + bias.float().abs().max().to(tensor.device), bias.dtype)
    return Adapter(deltas, parameters, tuple(contents.own.get("labels", ())))


def _check_peft_base(model: nn.Module, contents: Contents) -> None:
    """PEFT states its base by name only: compared by the last part, since folders differ by machine."""
    stated = contents.config.get("base_model_name_or_path") or ""
    here, source = base_of(model), cast(Any, getattr(model, "beft_source", None))
    loaded_from = str(getattr(model.config, "name_or_path", "") or "")
    names = [name for name in (loaded_from, here["name"], here["hub"], getattr(source, "path", "")) if name]
    if is_merged(model):  # where it was loaded from are other weights
        names = [here["name"]]
    if not isinstance(stated, str) or (names and not stated):
        raise _refusal(
            contents,
            f"base_model_name_or_path is {contents.config.get('base_model_name_or_path')!r}: it does not say which "
            "model it was trained on. Where you know it, write that model's name there, in adapter_config.json.",
        )
    if names and _last(stated) not in map(_last, names):
        raise _refusal(
            contents,
            f"trained on {stated!r}; this model is {names[0]!r}. Load it on {stated!r}; or, where these are the same "
            "weights under another name, write that name as base_model_name_or_path in its adapter_config.json.",
        )


def _check_targets(model: nn.Module, contents: Contents, targets: dict[str, str]) -> None:
    """Every module that the adapter moves is there."""
    there = dict(model.named_modules())
    for path in targets.values():
        if path not in there:
            numbers = [int(number) for other in targets.values() for number in re.findall(r"\.(\d+)\.", other)]
            raise _refusal(
                contents,
                f"{path} is not in {type(model).__name__}, which has {len(layers_of(model))} layers; the adapter goes "
                f"up to layer number {max(numbers, default=0)} (from 0). Load it on its own base model.",
            )


def _check_keys(model: nn.Module, contents: Contents) -> None:
    """No tensor too few and none too many; of the model's weights an adapter sets biases, its head, and what belongs
    to the head (a pooler, which some checkpoints lack).
    """
    found = set(contents.tensors)
    saved: list[str] = list((contents.own or contents.config).get("modules_to_save") or ())
    expected = set(contents.own["tensors"]) if contents.own else _promised_by_peft(model, contents, saved)
    if missing := sorted(expected - found):
        raise _refusal(contents, f"{len(missing)} tensors are missing (first: {missing[0]}). Fetch the adapter again.")
    own_weights = {*head_parameters(model), *getattr(model, "beft_fresh", ())}

    def holds(key: str) -> bool:
        name = key.removeprefix(PREFIX)
        if DELTA.fullmatch(key) or (contents.own and name.endswith("bias")):
            return key in expected
        if name not in own_weights and "pooler" not in name.split("."):
            return False
        # To PEFT, "classifier" means "pre_classifier" as well.
        return key in expected if contents.own else any(f"{entry}." in name for entry in saved)

    if extra := sorted(key for key in found if not holds(key)):
        raise _refusal(
            contents,
            f"{len(extra)} tensors more than the adapter should hold (first: {extra[0]}). The file was altered, or "
            "belongs to another model: fetch it again.",
        )


def _promised_by_peft(model: nn.Module, contents: Contents, saved: list[str]) -> set[str]:
    """The keys that a PEFT configuration promises on this model."""
    targets: list[str] | str = contents.config["target_modules"]
    try:
        pattern = re.compile(targets) if isinstance(targets, str) else None
    except re.error as error:
        raise _refusal(contents, f"target_modules is {targets!r}, which is no pattern ({error}).") from None
    promised: set[str] = set()
    for path, module in model.named_modules():
        if _ends(path, saved):
            promised |= {f"{PREFIX}{path}.{name}" for name, _ in module.named_parameters()}
        elif isinstance(module, nn.Linear) and not any(f".{entry}." in f".{path}" for entry in saved):
            targeted = pattern.fullmatch(path) if pattern else _ends(path, cast(list[str], targets))
            promised |= {f"{PREFIX}{path}.beft_bias"} if targeted else set()
    return promised


def _ends(path: str, names: list[str]) -> bool:
    return any(path == name or path.endswith("." + name) for name in names)


def _fit_parameter(model: nn.Module, contents: Contents, name: str, tensor: Tensor) -> Tensor:
    try:
        parameter = parameter_of(model, name)
    except AttributeError:
        raise _refusal(contents, f"{name} is not in {type(model).__name__}. Load it on its own base model.") from None
    if parameter.shape == tensor.shape:
        return _holds(contents, name, tensor, parameter.dtype).to(parameter.device)
    if (
        parameter.ndim == tensor.ndim
        and parameter.shape[1:] == tensor.shape[1:]
        and parameter.shape[0] == getattr(model.config, "num_labels", None)
    ):
        raise _labels_differ(contents, tensor.shape[0], parameter.shape[0])
    raise _shape_differs(contents, name, tensor, tuple(parameter.shape))


def _fit_deltas(model: nn.Module, contents: Contents, key: str, tensor: Tensor, here: list[Part]) -> dict[str, Tensor]:
    """The deltas by term, float32, where the model is: one, or each part of a fused bias; none outside attention."""
    match = cast(re.Match, DELTA.fullmatch(key))
    module = model.get_submodule(match["module"])
    bias = getattr(module, "bias", None)
    if bias is None:
        fix = "Call add_biases(model) first: it adds one of zero, which changes no output."
        raise _refusal(contents, f"{match['module']} has no bias to move. {fix}")
    if match["term"] is None:
        whole = _row(contents, key, tensor, bias.numel()).to(bias.device)
        return {part.term: whole if part.index is None else whole[part.index.to(whole.device)] for part in here}
    index = next((part.index for part in here if part.term == match["term"]), None)
    if index is None:
        raise _refusal(contents, f"{key} is a part of a fused bias; this model has {match['module']} for itself.")
    return {match["term"]: _row(contents, key, tensor, index.numel()).to(bias.device)}


def _row(contents: Contents, key: str, tensor: Tensor, width: int) -> Tensor:
    if tuple(tensor.shape) != (1, width):
        raise _shape_differs(contents, key, tensor, (1, width))
    return tensor.flatten().to(torch.float32)


def _holds(contents: Contents, key: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in a model's own type, which has to be large enough for it."""
    held = tensor.to(dtype)
    if not bool(torch.isfinite(held).all()):
        raise _refusal(
            contents,
            f"{key} has numbers up to {tensor.abs().max().item():.3g}, which become infinite in this model's {dtype}. "
            "Load the model in float32.",
        )
    return held


def _same(here: list[float], there: list[Any]) -> bool:
    """Equal as far as 16 bits tell."""
    if len(here) != len(there) or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in there):
        return False
    return all(abs(a - b) <= 0.01 * abs(b) + 1e-6 for a, b in zip(here, there, strict=True))


def _same_head(model: nn.Module, there: dict[str, Any]) -> bool:
    """Whether what an adapter's delta goes on top of in the head is the same, parameter by parameter.

    By the adapter's list: what it brings itself (a pooler drawn from a seed) may be anything here.
    """
    held = {name for name, _ in model.named_parameters()}
    return all(
        name in held and isinstance(values, list) and _same(head_sample(model, name), values)
        for name, values in there.items()
    )


def _last(name: str) -> str:
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower()


def _refusal(contents: Contents, why: str) -> AdapterError:
    return AdapterError(f"{contents.folder}: {why}")


def _labels_differ(contents: Contents, expected: int, found: int) -> AdapterError:
    task = contents.own.get("task")
    load = f"load_model(name, load_task({task!r})), or " if task else ""
    return _refusal(
        contents,
        f"the adapter's head answers with {expected} labels, this model's with {found}. One base in memory takes "
        "adapters for equally many labels: load the base once for each number of labels; here, for the adapter's "
        f"task: {load}from_pretrained(name, num_labels={expected}).",
    )


def _shape_differs(contents: Contents, key: str, tensor: Tensor, expected: tuple[int, ...]) -> AdapterError:
    return _refusal(
        contents,
        f"{key} has shape {tuple(tensor.shape)}; this model needs {expected}. The adapter belongs to a model of "
        "another width: load it on its own base model.",
    )
