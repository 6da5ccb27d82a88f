"""What a step of every method costs beside a step of all parameters: seconds, and memory on a GPU.

All methods take the same batches, in turn, in one process. Those that train upper layers only are also timed as they
run from the second epoch on, when the layers below have been computed (``halfway``).
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import runtime, wrapping
from .bench import Batch, _Clock, _Replay, batches_of
from .halfway import frozen_layers, halfway
from .methods import METHODS, Method, method_row, prepare, recipe_for
from .models import load_model, load_tokenizer
from .tasks import Task, load_task
from .training import arguments_for
from .watching import Watch
from .wrapping import acting

# The same bias in PEFT's own hands, trained and timed in the same way; not among METHODS, where one value is enough.
PEFT_BEFT = Method("peft_beft", "PEFT's BeftConfig on value", ("value",), peft=wrapping.beft)
EVERY = (*METHODS, "value@top-half")
LATER = ", later epochs"


def shipped() -> dict[str, Any]:
    """What ``bench_methods`` gave where the course measured it (``data/results/bench_methods.json``, a CPU)."""
    return json.loads((runtime.data_folder() / "results" / "bench_methods.json").read_text(encoding="utf-8"))


def bench_methods(
    model_name: str = "bert",
    task_name: str = "sst2",
    data: str | None = None,
    methods: Sequence[str] = (),
    steps: int = 12,
    rounds: int = 2,
) -> dict[str, Any]:
    """Median seconds of a step of each method, as a ratio to ``full`` as well; peak memory of the GPU in bytes.

    Args:
        methods: as in ``fine_tune``, and "peft_beft": the value bias by PEFT's BeftConfig; none: all that the model
            knows (of a fused projection PEFT trains no part).

    Returns ``{"seconds": {method: s}, "ratios": {method: of full}, "peak_memory": {method: bytes}, "machine": …}``.
    """
    task = load_task(task_name, data)
    model = load_model(model_name, task)
    asked = methods or [*EVERY, *([] if wrapping.fused(model, PEFT_BEFT.terms) else [PEFT_BEFT.name])]
    every = [PEFT_BEFT if name == PEFT_BEFT.name else method_row(name) for name in ["full", *asked]]
    rows = {row.name: row for row in every}.values()
    batches = batches_of(task, load_tokenizer(model), recipe_for(task, METHODS["value"]), steps)
    timed: dict[str, list[float]] = {}
    peaks: dict[str, int] = {}
    for turn in range(rounds + 1):  # the first turn warms up and does not count
        for row in rows:
            prepare(model, row, 0)
            for later in (False, True) if frozen_layers(acting(model)) else (False,):
                seconds, peak = steps_of(model, task, row, batches, later)
                name = row.name + LATER * later
                peaks[name] = max(peak, peaks.get(name, 0))
                if turn:
                    timed.setdefault(name, []).extend(seconds)
    middle = {name: statistics.median(seconds) for name, seconds in timed.items()}
    return {
        "seconds": middle,
        "ratios": {name: seconds / middle["full"] for name, seconds in middle.items()},
        "peak_memory": peaks,
        "model": getattr(model.beft_source, "name", model_name),
        "task": task.name,
        "source": task.source,
        "steps": steps,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "machine": runtime.machine(),
    }


def steps_of(
    model: nn.Module, task: Task, method: Method, batches: Sequence[Batch], later: bool = False
) -> tuple[list[float], int]:
    """(seconds of each step, peak bytes on the GPU); ``later``: with frozen layers computed in an epoch before."""
    prepare(model, method, 0)
    taken = [*batches, *batches] if later else list(batches)
    clock = _Clock()
    recipe = recipe_for(task, method, max_steps=len(taken))
    with tempfile.TemporaryDirectory(prefix="beft-") as scratch, halfway(acting(model), later):
        arguments = arguments_for(recipe, Path(scratch), 0, None)
        watch = Watch("bench", False)
        trainer = _Replay(watch, model=acting(model), args=arguments, train_dataset=taken, callbacks=[clock])
        trainer.train()
    return clock.seconds[-len(batches) :], watch.peak_memory() if torch.cuda.is_available() else 0


def report(result: dict[str, Any], line: Callable[[str], None] = print) -> None:
    """The result in lines for people."""
    turns = f"{result['threads']} threads, {result['rounds']} × {result['steps']} steps"
    line(f"{result['model']} on {result['task']}, {result['machine']['device']}, {turns}")
    for name, seconds in result["seconds"].items():
        peak = result["peak_memory"][name]
        memory = f"{peak / 1e9:8.2f} GB" if peak else ""
        line(f"  {name:<30} {seconds * 1000:9.1f} ms  {result['ratios'][name]:6.3f} of full{memory}")
