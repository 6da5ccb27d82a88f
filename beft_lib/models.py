"""Loading a stock transformers model with a head for a task, and giving that head a fresh start by a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from . import runtime
from .errors import ModelError
from .tasks import Task


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without progress bars and load reports: a fresh head is announced by us, not by a warning."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_model(
    name: str | Path, task: Task, dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any
) -> PreTrainedModel:
    """A pretrained model with a head for ``task``; the head is drawn from ``seed``.

    Args:
        name: "bert", "roberta" or "opt" (the profile decides which), a named model ("minilm", "bert-base-cased" …),
            a local folder, or a hub id.
        dtype: of the weights; always explicit, because transformers' default is the checkpoint's.
        options: passed to ``from_pretrained`` (for example ``attn_implementation="eager"``).

    Raises ModelError, with the way out, when the model cannot be had.
    """
    source = runtime.locate_model(str(name))
    labels = task.label_names
    with quiet():
        try:
            model, info = AutoModelForSequenceClassification.from_pretrained(
                source.path,
                **_where(source),
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={label: number for number, label in enumerate(labels)},
                problem_type="regression" if task.row.regression else "single_label_classification",
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # a head for other labels is replaced, like a missing one
                **options,
            )
        except (OSError, ValueError) as error:
            raise ModelError(f"{name!r} could not be loaded from {source.path} ({source.channel}): {error}") from error
    if model.config.pad_token_id is None:
        model.config.pad_token_id = load_tokenizer(model_source=source).pad_token_id
    fresh = set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}
    model.beft_source, model.beft_fresh = source, tuple(sorted(fresh))
    fresh_head(model, seed)
    return cast(PreTrainedModel, model)


def load_tokenizer(
    model: nn.Module | None = None, model_source: runtime.ModelSource | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a model from ``load_model`` (or to a source)."""
    if model_source is None:
        name = getattr(getattr(model, "config", None), "name_or_path", "")
        model_source = getattr(model, "beft_source", None) or runtime.locate_model(name)
    with quiet():
        return AutoTokenizer.from_pretrained(model_source.path, **_where(model_source))


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


def _where(source: runtime.ModelSource) -> dict[str, Any]:
    """from_pretrained's arguments that say where: never remote code, only safetensors from the hub."""
    where: dict[str, Any] = {"trust_remote_code": False}
    if source.revision:
        where["revision"] = source.revision
    cache = runtime.hub_cache()
    if source.channel in ("cache", "hub") and cache is not None:
        where["cache_dir"] = str(cache)
    return where
