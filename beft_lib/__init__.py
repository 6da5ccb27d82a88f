"""BEFT: choose the bias term that matters, and fine-tune only that.

The names below load on first use, so that ``import beft_lib`` is quick and works before torch is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import describe_adapter, load_adapter, merge_adapter, save_adapter, save_peft, use_adapter
    from .architectures import FAMILIES, TERMS, live_key, register_family
    from .biases import add_biases, find_biases, install, remove, reset, shifted, snapshot
    from .board import pin
    from .effects import loss_without, output_change, task_batches
    from .errors import (
        AdapterError,
        BeftError,
        DataError,
        DataWarning,
        ModelError,
        ScoreError,
        TrainingError,
        UnknownName,
    )
    from .fisher import fisher_information
    from .folding import fold
    from .layouts import Concatenated, Family, PerHead, Separate
    from .lesson import start
    from .methods import METHODS, Method, restore
    from .models import load_model, load_tokenizer
    from .own_data import own_task
    from .own_tuning import tune_own
    from .planning import describe_machine, estimate_memory, memory_plan
    from .predicting import predict
    from .probing import probe
    from .prompting import ask, complete, score_answers
    from .prompts import PROMPTS
    from .quizzes import quiz
    from .scores import importance, importance_per_layer, magnitude, magnitude_per_layer, rank_terms
    from .tasks import TASKS, load_task
    from .tuning import fine_tune

__version__ = "0.1.0"

_MODULE_OF = {
    "describe_adapter": "adapters",
    "load_adapter": "adapters",
    "merge_adapter": "adapters",
    "save_adapter": "adapters",
    "save_peft": "adapters",
    "use_adapter": "adapters",
    "FAMILIES": "architectures",
    "TERMS": "architectures",
    "live_key": "architectures",
    "register_family": "architectures",
    "add_biases": "biases",
    "find_biases": "biases",
    "install": "biases",
    "remove": "biases",
    "reset": "biases",
    "shifted": "biases",
    "snapshot": "biases",
    "pin": "board",
    "loss_without": "effects",
    "output_change": "effects",
    "task_batches": "effects",
    "AdapterError": "errors",
    "BeftError": "errors",
    "DataError": "errors",
    "DataWarning": "errors",
    "ModelError": "errors",
    "ScoreError": "errors",
    "TrainingError": "errors",
    "UnknownName": "errors",
    "fisher_information": "fisher",
    "fold": "folding",
    "Concatenated": "layouts",
    "Family": "layouts",
    "PerHead": "layouts",
    "Separate": "layouts",
    "start": "lesson",
    "METHODS": "methods",
    "Method": "methods",
    "restore": "methods",
    "load_model": "models",
    "load_tokenizer": "models",
    "own_task": "own_data",
    "tune_own": "own_tuning",
    "describe_machine": "planning",
    "estimate_memory": "planning",
    "memory_plan": "planning",
    "predict": "predicting",
    "probe": "probing",
    "ask": "prompting",
    "complete": "prompting",
    "score_answers": "prompting",
    "PROMPTS": "prompts",
    "quiz": "quizzes",
    "importance": "scores",
    "importance_per_layer": "scores",
    "magnitude": "scores",
    "magnitude_per_layer": "scores",
    "rank_terms": "scores",
    "TASKS": "tasks",
    "load_task": "tasks",
    "fine_tune": "tuning",
}

__all__ = [
    "FAMILIES",
    "METHODS",
    "PROMPTS",
    "TASKS",
    "TERMS",
    "AdapterError",
    "BeftError",
    "Concatenated",
    "DataError",
    "DataWarning",
    "Family",
    "Method",
    "ModelError",
    "PerHead",
    "ScoreError",
    "Separate",
    "TrainingError",
    "UnknownName",
    "add_biases",
    "ask",
    "complete",
    "describe_adapter",
    "describe_machine",
    "estimate_memory",
    "find_biases",
    "fine_tune",
    "fisher_information",
    "fold",
    "importance",
    "importance_per_layer",
    "install",
    "live_key",
    "load_adapter",
    "load_model",
    "load_task",
    "load_tokenizer",
    "loss_without",
    "magnitude",
    "magnitude_per_layer",
    "memory_plan",
    "merge_adapter",
    "output_change",
    "own_task",
    "pin",
    "predict",
    "probe",
    "quiz",
    "rank_terms",
    "register_family",
    "remove",
    "reset",
    "restore",
    "save_adapter",
    "save_peft",
    "score_answers",
    "shifted",
    "snapshot",
    "start",
    "task_batches",
    "tune_own",
    "use_adapter",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'beft_lib' has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
