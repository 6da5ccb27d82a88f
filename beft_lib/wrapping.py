"""PEFT's methods around a model, and off again: LoRA, prefix tuning, and its own BEFT, with the model's own head.

PEFT changes the model it wraps (LoRA puts layers of its own in place of linear ones). ``unwrap`` undoes all of it: the
same modules, the same weights, bit for bit. The wrapper hangs on the model, outside its tree of modules.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from .architectures import family_of, layers_of, parts_of
from .errors import TrainingError

if TYPE_CHECKING:
    from peft import PeftConfig

_KEY = "beft_peft"


def lora(model: nn.Module, terms: tuple[str, ...], layers: tuple[int, ...], rank: int = 8, alpha: int = 16) -> Any:
    """LoRA on the projections of these terms, in these layers. The paper's: r 8, alpha 16, query and value."""
    from peft import LoraConfig

    wanted = _projections(model, terms, layers)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=list(wanted),
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in wanted.values()),
    )


def beft(model: nn.Module, terms: tuple[str, ...], layers: tuple[int, ...]) -> Any:
    """PEFT's own BEFT, which adds a trainable vector to a linear layer's output: what ours is held to and timed beside.

    Raises TrainingError where a term is a part of a fused projection (``fused``).
    """
    from peft import BeftConfig

    if fused(model, terms):
        raise TrainingError(
            f"{type(model).__name__} keeps query, key and value in one projection, and PEFT's BeftConfig trains no "
            "part of one: all of it, or (GPT-2's Conv1D) nothing. Ours trains a part: method='value'."
        )
    return BeftConfig(target_modules=list(_projections(model, terms, layers)))


def fused(model: nn.Module, terms: tuple[str, ...]) -> bool:
    """Whether one of these terms shares its projection with others."""
    return any(part.index is not None for term in terms for part in parts_of(model, term))


def _projections(model: nn.Module, terms: tuple[str, ...], layers: tuple[int, ...]) -> dict[str, nn.Module]:
    """The projections of these terms in these layers, by full name: an ending ("dense", "c_attn") can mean more than
    what a family's row names.
    """
    wanted = {part.module for term in terms for part in parts_of(model, term) if part.layer in layers}
    return {name: module for name, module in model.named_modules() if module in wanted}


def prefix(model: nn.Module, terms: tuple[str, ...] = (), layers: tuple[int, ...] = (), tokens: int = 5) -> Any:
    """Prefix tuning without re-parametrisation, before every layer whatever the arguments say. The paper's: 5 tokens.

    Raises TrainingError where the model takes no keys and values from outside.
    """
    from peft import PrefixTuningConfig

    base = cast(Any, model).base_model
    if "past_key_values" not in inspect.signature(base.forward).parameters:
        raise TrainingError(
            f"{type(base).__name__} takes no past keys and values, which prefix tuning needs. Choose another method "
            "(lora), or another model (bert, roberta, opt)."
        )
    kind = "SEQ_CLS" if type(model).__name__.endswith("ForSequenceClassification") else "CAUSAL_LM"
    return PrefixTuningConfig(task_type=kind, num_virtual_tokens=tokens, prefix_projection=False)


def wrap(model: nn.Module, config: PeftConfig, seed: int) -> nn.Module:
    """Put PEFT's method around ``model``; the wrapper is what is trained and evaluated (see ``acting``).

    PEFT's copies of the head are taken out again: the head stays the model's own, as for every method.
    """
    from peft import get_peft_model
    from peft.utils import ModulesToSaveWrapper

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # PEFT asks for an old name
        torch.manual_seed(seed)  # of LoRA's A and of the tokens behind a prefix
        wrapper = get_peft_model(cast(Any, model), config)
        for name, module in list(model.named_modules()):
            if isinstance(module, ModulesToSaveWrapper):
                model.set_submodule(name, module.original_module)
        if config.is_prompt_learning:
            _start_from_activations(model, cast(Any, wrapper))
    wrapper.to(next(model.parameters()).device)
    model.__dict__[_KEY] = wrapper  # past nn.Module's bookkeeping: as a submodule it would be a circle
    return wrapper


def acting(model: nn.Module) -> nn.Module:
    """What computes: PEFT's wrapper where there is one, else the model itself."""
    return model.__dict__.get(_KEY, model)


def has_prefix(model: nn.Module) -> bool:
    """Whether a prefix is put before the model's layers."""
    return _KEY in model.__dict__ and model.__dict__[_KEY].active_peft_config.is_prompt_learning


def unwrap(model: nn.Module, merge: bool = False) -> None:
    """Take PEFT's method off again: the model is the stock one it was, or with ``merge=True`` holds LoRA's change."""
    prefixed, wrapper = has_prefix(model), model.__dict__.pop(_KEY, None)
    if wrapper is not None and not prefixed:
        wrapper.base_model.merge_and_unload() if merge else wrapper.base_model.unload()
    model.__dict__.pop("peft_config", None)


def trained_by_peft(model: nn.Module, modules: Iterable[str]) -> tuple[dict[str, Tensor], PeftConfig]:
    """What PEFT's method trained in ``model`` and these modules of it (the head, which is the model's own), under
    PEFT's keys; and the configuration by which stock PEFT opens them.
    """
    from peft import get_peft_model_state_dict

    wrapper: Any = acting(model)
    config = copy.deepcopy(wrapper.active_peft_config)
    config.modules_to_save = list(dict.fromkeys([*modules, *(config.modules_to_save or ())])) or None
    # As PEFT matches them: to it, "classifier" means "pre_classifier" as well, and it asks for all that it matches.
    held = [m for name, m in model.named_modules() if name and name.endswith(tuple(config.modules_to_save or ()))]
    paths = {module: name for name, module in wrapper.named_modules()}
    head = {f"{paths[module]}.{leaf}": p for module in held for leaf, p in module.named_parameters()}
    # False: else PEFT asks the hub how large the vocabulary was.
    return get_peft_model_state_dict(wrapper, save_embedding_layers=False) | head, config


def _start_from_activations(model: nn.Module, wrapper: Any) -> None:
    """The first keys and values of a prefix: those the model itself computes for random tokens of its vocabulary."""
    from transformers import DynamicCache

    config: Any = model.config
    tokens = wrapper.active_peft_config.num_virtual_tokens
    where = next(model.parameters()).device
    ids = torch.randint(0, config.vocab_size, (1, tokens)).to(where)
    cache = DynamicCache()
    was_training = model.training
    model.eval()
    with torch.no_grad():
        cast(Any, model).base_model(input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache)
        filled: Any = cache.layers
        pairs = [pair for layer in filled for pair in (layer.keys, layer.values)]  # 2L × (1, heads, tokens, width)
        if len(pairs) != 2 * len(layers_of(model)):
            raise TrainingError(
                f"{type(model).__name__} ({family_of(model).model_type}) keeps no keys and values of its own, which a "
                "prefix starts from. Choose another method (lora)."
            )
        started: Tensor = torch.cat(cast(list[Tensor], pairs))  # (2L, heads, tokens, d)
        wrapper.prompt_encoder["default"].embedding.weight.copy_(started.permute(2, 0, 1, 3).reshape(tokens, -1))
    model.train(was_training)
