"""Loading a stock transformers model for a task: a classifier whose head gets a fresh start by a seed, or a language
model as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
import transformers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from . import runtime
from .architectures import head_parameters
from .errors import DataError, ModelError
from .tasks import Task

_LARGE = 1e9  # bytes of weights from which loading takes long enough to want a bar


@contextmanager
def quiet(bars: bool = False) -> Iterator[None]:
    """transformers without load reports, and without progress bars unless ``bars``: a fresh head is announced by us."""
    logging = transformers.utils.logging
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def load_model(
    name: str | Path, task: Task, dtype: torch.dtype | None = None, seed: int = 0, **options: Any
) -> PreTrainedModel:
    """A pretrained model for ``task``: with a head drawn from ``seed``, or, where the task is prompted, a language
    model as it is.

    Args:
        name: "bert", "roberta" or "opt" (the profile decides which), a named model ("minilm", "bert-base-cased" …),
            a local folder, or a hub id.
        dtype: of the weights. None: float32, and for a language model what the device computes fast in
            (``hardware.base_dtype``); what is trained is in float32 in any case.
        options: passed to ``from_pretrained``: ``attn_implementation="eager"``; ``device_map="auto"`` for a model
            larger than one card.

    Weights are safetensors. A repository or folder that has none (facebook/opt-1.3b) gives its ``pytorch_model.bin``,
    which torch reads as tensors alone: a pickle that would run code is refused.

    Raises ModelError, with the way out, when the model cannot be had.
    """
    source = runtime.locate_model(str(name))
    dtype = dtype or (runtime.base_dtype()[0] if task.prompt else torch.float32)
    wanted = {**_where(source), "dtype": dtype, "output_loading_info": True, **options, "weights_only": True}
    with quiet(bars=_is_large(source)):
        try:
            load = _load_language_model if task.prompt else _load_classifier
            model, info = load(source, task, wanted)
        except (OSError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"{name!r} could not be loaded from {source.path} ({source.channel}): {error}") from error
        except UnpicklingError as error:
            raise ModelError(
                f"{source.path}: its pytorch_model.bin holds more than tensors, and could run code; it was not opened. "
                "Take a model with model.safetensors instead."
            ) from error
    if model.config.pad_token_id is None:
        model.config.pad_token_id = load_tokenizer(model_source=source).pad_token_id
    fresh = set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}
    model.beft_source, model.beft_fresh = source, tuple(sorted(fresh))
    fresh_head(model, seed)
    return cast(PreTrainedModel, model)


def _load_classifier(source: runtime.ModelSource, task: Task, wanted: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    labels = task.label_names
    return AutoModelForSequenceClassification.from_pretrained(
        source.path,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        problem_type="regression" if task.row.regression else "single_label_classification",
        ignore_mismatched_sizes=True,  # a head for other labels is replaced, like a missing one
        **wanted,
    )


def _load_language_model(source: runtime.ModelSource, task: Task, wanted: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model with its own language-model head, none of it new. ModelError for an encoder, which cannot go on."""
    config: Any = AutoConfig.from_pretrained(source.path, **_where(source))
    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ModelError(
            f"{source.name} ({config.model_type}) fills gaps and does not write on, so it cannot be asked {task.name} "
            "in words. Use a decoder (opt); fixed labels can be had by a classifier, without prompted=True, instead."
        )
    loaded: Any = AutoModelForCausalLM.from_pretrained(source.path, **wanted)
    model, info = loaded
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if missing := set(info["missing_keys"]) - tied:
        raise ModelError(f"{source.path} is no whole language model: it lacks {', '.join(sorted(missing)[:3])}.")
    return model, {**info, "missing_keys": set()}


def check_pair(model: Any, task: Any) -> None:
    """Whether ``model`` was loaded for ``task``: a head of as many outputs, or none where the task is prompted.

    Raises ModelError, and DataError where the task is none, before anything is done to the model.
    """
    if not isinstance(task, Task):
        raise DataError(f"task is {task!r}, a {type(task).__name__}; expected one from load_task or own_task.")
    load = "load it for this task: load_model(name, task)"
    if not isinstance(model, nn.Module):
        raise ModelError(f"model is {str(model)!r}, a {type(model).__name__}, not a model; {load}.")
    outputs, name = getattr(getattr(model, "config", None), "num_labels", None), type(model).__name__
    headed = bool(head_parameters(model))
    if task.prompt and headed:
        raise ModelError(f"{task.name} is asked in words, and {name} has a head for labels instead; {load}.")
    if not task.prompt and headed and outputs is not None and outputs != task.num_labels:
        wanted = "1, a number" if task.row.regression else f"{task.num_labels} ({', '.join(task.row.labels)})"
        raise ModelError(f"{name} has a head of {outputs} outputs, and {task.name} needs {wanted}; {load}.")


def context_of(model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length: int) -> int:
    """Tokens that go in at most: what is asked for, the model's positions, the tokenizer's limit; the least of them."""
    positions = getattr(getattr(model, "config", None), "max_position_embeddings", None) or max_length
    return int(min(max_length, positions, tokenizer.model_max_length))


def load_tokenizer(
    model: nn.Module | None = None, model_source: runtime.ModelSource | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a model from ``load_model`` (or to a source)."""
    name = getattr(getattr(model, "config", None), "name_or_path", "")
    source = model_source or getattr(model, "beft_source", None) or runtime.locate_model(name)
    with quiet():
        return AutoTokenizer.from_pretrained(source.path, **_where(source))


def fresh_head(model: nn.Module, seed: int) -> None:
    """Draw anew, from ``seed``, the weights that no checkpoint held (Normal(0, initializer_range); biases zero).

    A head that came with the checkpoint is left as it is. The draw does not touch the global random state.
    """
    config: Any = model.config
    std = getattr(config, "initializer_range", None) or getattr(config, "init_std", 0.02)
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in getattr(model, "beft_fresh", ()):
            weight = parameters[name]
            drawn = (
                torch.zeros(weight.shape)
                if name.endswith("bias")
                else torch.randn(weight.shape, generator=generator) * std
            )
            weight.copy_(drawn)


def _is_large(source: runtime.ModelSource) -> bool:
    """Whether loading takes a while: weights of more than a gigabyte (a model still on the hub counts as such)."""
    files = (path for pattern in ("*.safetensors", "*.bin") for path in Path(source.path).glob(pattern))
    return source.channel == "hub" or sum(path.stat().st_size for path in files) > _LARGE


def _where(source: runtime.ModelSource) -> dict[str, Any]:
    """from_pretrained's arguments that say where, for weights, configuration and tokenizer. Never remote code."""
    where: dict[str, Any] = {"trust_remote_code": False}
    if source.revision:
        where["revision"] = source.revision
    cache = runtime.hub_cache()
    if source.channel in ("cache", "hub") and cache is not None:
        where["cache_dir"] = str(cache)
    return where
