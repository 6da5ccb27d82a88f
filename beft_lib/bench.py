"""How fast a step is: ours against a bare PyTorch loop, value against all parameters, dynamic padding, imports; what a
probe's record, an early stop and every example's own gradient cost.

Everything compared is timed in turn within one process (A B A B …) on the same batches, and quoted as a ratio of
medians: absolute times on a shared machine say little.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, TrainerCallback

from . import biases, runtime
from .architectures import parts_of
from .gradients import captured, logits_of, negative_log_likelihood
from .methods import METHODS, prepare, recipe_for
from .models import load_model, load_tokenizer
from .probing import _Record, probe
from .recipe import Recipe
from .tasks import Task, load_task
from .training import BiasTrainer, arguments_for, way_of
from .watching import Watch

Batch = dict[str, Tensor]
PLAIN, FISHER, ONE_BY_ONE = "backward, plain", "backward, per example", "per example, one by one"
IMPORTS = "import time; t = time.perf_counter(); import beft_lib; print(time.perf_counter() - t)"


def bench(
    model_name: str = "bert",
    task_name: str = "sst2",
    data: str | None = None,
    steps: int = 24,
    rounds: int = 3,
    pad_to: int = 128,
    whole_probe: bool = False,
) -> dict[str, Any]:
    """Seconds a step (medians) and the ratios that matter.

    ``whole_probe``: also run the recipe's whole probe and the one that stops early, once each (minutes).
    Returns ``{"seconds": {what: s}, "ratios": {what: r}, "machine": …}``.
    """
    task = load_task(task_name, data)
    model = load_model(model_name, task)
    tokenizer = load_tokenizer(model)
    dynamic = batches_of(task, tokenizer, recipe_for(task, METHODS["value"]), steps)
    padded = batches_of(task, tokenizer, recipe_for(task, METHODS["value"], pad_to=pad_to), max(4, steps // 6))
    timed: dict[str, list[float]] = {}
    for turn in range(rounds + 1):  # the first turn warms up and does not count
        for name, seconds in (
            ("bare, value", bare_loop(model, task, "value", dynamic)),
            ("ours, value", our_loop(model, task, "value", dynamic)),
            ("bare, full", bare_loop(model, task, "full", dynamic)),
            ("ours, full", our_loop(model, task, "full", dynamic)),
            (f"ours, value, padded to {pad_to}", our_loop(model, task, "value", padded)),
            ("ours, q k v", our_loop(model, task, "qkv", dynamic)),
            ("ours, q k v, recorded", our_loop(model, task, "qkv", dynamic, record=True)),
            *backward_passes(model, dynamic[: max(4, steps // 4)]).items(),
        ):
            if turn:
                timed.setdefault(name, []).extend(seconds)
    middle = {name: statistics.median(seconds) for name, seconds in timed.items()}
    probes = _probes(model, task) if whole_probe else {}
    middle["import beft_lib"] = statistics.median(_import_seconds() for _ in range(5))
    return {
        "seconds": middle,
        "ratios": {
            "our step / bare loop (value)": middle["ours, value"] / middle["bare, value"],
            "our step / bare loop (full)": middle["ours, full"] / middle["bare, full"],
            "value / full (ours)": middle["ours, value"] / middle["ours, full"],
            "value / full (bare)": middle["bare, value"] / middle["bare, full"],
            f"dynamic padding / padding to {pad_to}": middle["ours, value"]
            / middle[f"ours, value, padded to {pad_to}"],
            "probe step / the same, not recorded": middle["ours, q k v, recorded"] / middle["ours, q k v"],
            "per-example Fisher / plain backward": middle[FISHER] / middle[PLAIN],
            "per-example Fisher / one by one": middle[FISHER] / middle[ONE_BY_ONE],
            **(
                {"early probe / whole probe": probes["early"]["seconds"] / probes["whole"]["seconds"]} if probes else {}
            ),
        },
        **({"probes": probes} if probes else {}),
        "model": getattr(model.beft_source, "name", model_name),
        "task": task.name,
        "source": task.source,
        "steps": steps,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "machine": runtime.machine(),
    }


def batches_of(task: Task, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, steps: int) -> list[Batch]:
    """The first ``steps`` batches of a seeded epoch, padded as the recipe says."""
    way = way_of(task)
    examples = way.encode(task, task.train, tokenizer, recipe.max_length)
    loader = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_size=recipe.batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(0),
        collate_fn=way.collator(task, tokenizer, recipe.pad_to),
    )
    made = [dict(batch) for batch in loader]
    return (made * (steps // len(made) + 1))[:steps]


def bare_loop(model: nn.Module, task: Task, method: str, batches: Sequence[Batch]) -> list[float]:
    """Seconds of each step of the plainest loop with the same optimizer, clipping and dropout; no Trainer, no deltas.

    A bias method trains the model's own bias here, whole: what one would write without this library.
    """
    prepare(model, method, 0)
    if METHODS[method].terms:
        _train_own_biases(model, method)
    where = runtime.device()
    recipe = recipe_for(task, METHODS[method])
    model.to(where).train()  # type: ignore[call-overload]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, recipe.learning_rate, recipe.betas, recipe.eps, recipe.weight_decay, fused=True
    )
    seconds, last = [], _now()
    for batch in batches:
        model(**{name: value.to(where) for name, value in batch.items()}).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        now = _now()
        seconds.append(now - last)
        last = now
    return seconds


def our_loop(model: nn.Module, task: Task, method: str, batches: Sequence[Batch], record: bool = False) -> list[float]:
    """Seconds of each step as ``fine_tune`` (or ``probe``) takes them: the Trainer, our callbacks, the deltas."""
    prepare(model, method, 0)
    clock = _Clock()
    # Every step, where a probe of a whole recipe keeps one in several: an upper bound of what recording costs.
    kept = [_Record(biases.find_biases(model), every=1)] if record else []
    recipe = recipe_for(task, METHODS[method], max_steps=len(batches))
    with tempfile.TemporaryDirectory(prefix="beft-") as scratch:
        arguments = arguments_for(recipe, Path(scratch), 0, None)
        trainer = _Replay(
            Watch("bench", False), model=model, args=arguments, train_dataset=batches, callbacks=[*kept, clock]
        )
        trainer.train()
    return clock.seconds


def backward_passes(model: nn.Module, batches: Sequence[Batch]) -> dict[str, list[float]]:
    """Seconds of the backward pass alone, a batch each: plain into the q, k and v biases; with every example's own
    gradient (``gradients.py``); and one example after another, unpadded, which takes a forward pass each as well.
    """
    prepare(model, "qkv", 0)
    where = runtime.device()
    model.to(where).eval()  # type: ignore[call-overload]
    seconds: dict[str, list[float]] = {PLAIN: [], FISHER: [], ONE_BY_ONE: []}
    for batch in batches:
        inputs = {name: value.to(where) for name, value in batch.items()}
        labels = inputs.pop("labels")
        loss = negative_log_likelihood(logits_of(model, inputs), labels).sum()
        seconds[PLAIN].append(_timed(loss.backward))
        with captured(model) as caught:
            loss = negative_log_likelihood(logits_of(model, inputs), labels).sum()
            seconds[FISHER].append(_timed(lambda caught=caught, loss=loss: caught.gradients(loss)))
        seconds[ONE_BY_ONE].append(_timed(lambda inputs=inputs, labels=labels: _one_by_one(model, inputs, labels)))
    return seconds


def _one_by_one(model: nn.Module, inputs: Batch, labels: Tensor) -> None:
    for number in range(len(labels)):
        real = inputs["attention_mask"][number].bool()
        one = {name: value[number][real][None] for name, value in inputs.items()}
        model.zero_grad()
        negative_log_likelihood(logits_of(model, one), labels[number : number + 1]).sum().backward()


def _probes(model: nn.Module, task: Task) -> dict[str, dict[str, Any]]:
    """The recipe's whole probe and the one that stops when its ranking has settled."""
    seen = {"whole": probe(model, task, progress=False), "early": probe(model, task, stop="stable", progress=False)}
    return {
        name: {"seconds": result.seconds, "steps": int(result.steps[-1]), "choice": result.best}
        for name, result in seen.items()
    }


def _timed(do: Callable[[], Any]) -> float:
    started = _now()
    do()
    return _now() - started


class _Replay(BiasTrainer):
    """Takes ready batches instead of drawing them."""

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_dataset, batch_size=None, shuffle=False)  # type: ignore[arg-type]


class _Clock(TrainerCallback):
    """Seconds from the end of one step to the end of the next: everything the Trainer does is in it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.last = _now()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        now = _now()
        self.seconds.append(now - self.last)
        self.last = now


def _train_own_biases(model: nn.Module, method: str) -> None:
    biases.remove(model)
    for term in METHODS[method].terms:
        for part in parts_of(model, term):
            part.module.bias.requires_grad_(True)  # type: ignore[union-attr]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _import_seconds() -> float:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, encoding="utf-8")
    return float(done.stdout)


def report(result: dict[str, Any], line: Callable[[str], None] = print) -> None:
    """The result in lines for people."""
    turns = f"{result['threads']} threads, {result['rounds']} × {result['steps']} steps"
    line(f"{result['model']} on {result['task']}, {result['machine']['device']}, {turns}")
    for name, seconds in result["seconds"].items():
        line(f"  {name:<36} {seconds * 1000:9.1f} ms")
    for name, ratio in result["ratios"].items():
        line(f"  {name:<36} {ratio:9.2f}")
    for name, seen in result.get("probes", {}).items():
        line(f"  {name} probe: {seen['steps']} steps in {seen['seconds']:.1f} s, choice {seen['choice']}")
