"""Training on a plain ``transformers.Trainer``: recipe, batches, progress, measuring, safe stops and resuming.

There is no training loop here. The Trainer is subclassed for one reason only: its checkpoints hold what is trained,
not the whole model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback, TrainingArguments

from . import classifying, fsdp, prompting, runtime
from .errors import TrainingError
from .files import fingerprint, write_text_whole
from .fitting import FittingTrainer
from .halfway import halfway
from .models import context_of
from .recipe import Recipe
from .tasks import Task
from .watching import Watch

TRAINED_FILE = "trained.safetensors"


@dataclass(frozen=True)
class Training:
    """What one training took: ``losses`` holds every step's, (steps,); ``seconds`` count what was done before a resume.

    ``pieces``: in how many parts a batch was computed, where it did not fit the memory in one. ``kept_layers``: how
    many were computed once an example (``halfway``).
    """

    steps: int
    seconds: float
    peak_memory: int
    losses: np.ndarray = field(repr=False)
    stopped: str = ""
    pieces: int = 1
    kept_layers: int = 0


def way_of(task: Task) -> Any:
    """The module that puts a task to a model: it has ``encode``, ``collator``, ``loss`` and ``evaluate``."""
    return prompting if task.prompt else classifying


def train(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int = 0,
    callbacks: Sequence[TrainerCallback] = (),
    folder: str | Path | None = None,
    save_every: int = 50,
    label: str = "training",
    progress: bool | None = None,
    stoppable: bool = False,
) -> Training:
    """Train whatever requires a gradient, in place.

    Args:
        folder: where checkpoints go, one every ``save_every`` steps; when it holds one of the same run, training goes
            on from there, to the same result. None: no checkpoints.
        progress: whether to show a bar; None: in a notebook or a terminal.
        stoppable: whether Ctrl-C (the ■ button) ends the training early with what there is, instead of raising.

    Raises TrainingError when loss or gradient stop being finite: the model then holds the last good state.
    """
    if recipe.batch_size > len(task.train):
        raise TrainingError(
            f"batch_size {recipe.batch_size} is larger than the {len(task.train)} training examples of {task.name}: "
            f"use at most {len(task.train)}."
        )
    if recipe.fsdp and not fsdp.is_in_pieces(model):
        raise TrainingError("fsdp=True is for fine_tune, which cuts the base before it trains; leave it out here.")
    watch, way = Watch(label, progress), way_of(task)
    with tempfile.TemporaryDirectory(prefix="beft-") as scratch:
        home = Path(scratch if folder is None else folder)
        arguments = arguments_for(recipe, home, seed, save_every if folder is not None else None, _half(model))
        trainer = BiasTrainer(
            watch,
            model=model,
            args=arguments,
            train_dataset=way.encode(task, task.train, tokenizer, context_of(model, tokenizer, recipe.max_length)),
            data_collator=way.collator(task, tokenizer, recipe.pad_to),
            compute_loss_func=way.loss(task),
            group=len(task.prompt.answers) or 1 if task.prompt else 1,  # the candidates of one example
            callbacks=callbacks,
        )
        _check_whole(trainer)
        with trainer.accelerator.main_process_first():  # it tidies up what a kill left
            checkpoint = None if folder is None else _last_checkpoint(home, _identity(model, task, recipe, seed))
        started = time.perf_counter()
        stopped = ""
        kept = 0
        try:
            with halfway(model, False if recipe.fsdp else recipe.reuse, recipe.epochs) as (kept, _):
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except KeyboardInterrupt:
            if not stoppable:
                raise
            stopped = "interrupted"
        finally:
            watch.close()
            model.eval()
        model.beft_trained = True  # type: ignore[assignment]
        seconds = watch.before + time.perf_counter() - started
    done, losses = trainer.state.global_step, np.array(watch.losses)
    return Training(done, seconds, watch.peak_memory(), losses, stopped, trainer.pieces, kept)


def evaluate_model(
    model: nn.Module, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int = 128, **options: Any
) -> dict[str, float]:
    """The task's metrics on its validation examples."""
    return way_of(task).evaluate(model, task, tokenizer, max_length, **options)


class BiasTrainer(FittingTrainer):
    """A stock Trainer whose checkpoints hold the trained parameters only, in safetensors."""

    def __init__(self, watch: Watch, callbacks: Sequence[TrainerCallback] = (), **options: Any):
        super().__init__(callbacks=[watch, *callbacks], **options)
        self.watch = watch
        self.remove_callback(PrinterCallback)  # a library does not print

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        self.watch.loss = loss
        return loss

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        self.watch.norm = super()._clip_grad_norm(model)  # type: ignore[misc]
        return self.watch.norm

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        trained = {n: p.detach().cpu().contiguous() for n, p in self.model.named_parameters() if p.requires_grad}
        save_file(trained, folder / TRAINED_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        saved = load_file(Path(resume_from_checkpoint) / TRAINED_FILE)
        parameters = dict((model or self.model).named_parameters())
        with torch.no_grad():
            for name, value in saved.items():
                parameters[name].copy_(value)


def _check_whole(trainer: BiasTrainer) -> None:
    """Raises TrainingError where accelerate would cut all parameters into pieces: what is trained has to be whole."""
    for cut, name in ((trainer.is_fsdp_enabled, "FSDP"), (trainer.is_deepspeed_enabled, "DeepSpeed")):
        if cut:
            raise TrainingError(
                f"accelerate is set to {name}, which cuts all parameters into pieces; what is trained is kept and "
                "saved whole here. Launch with --multi_gpu. For a base too large for one GPU, tune --fsdp "
                "(fine_tune(…, fsdp=True)) cuts what is frozen; load_model(…, dtype=torch.bfloat16) halves the base."
            )


def _cpu() -> bool:
    return runtime.device().type == "cpu"


def arguments_for(
    recipe: Recipe, folder: Path, seed: int, save_every: int | None, half: bool = False
) -> TrainingArguments:
    """The recipe as the Trainer takes it. The batch is the whole one, however many processes share it."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.batch_size,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=0,
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        adam_epsilon=recipe.eps,
        max_grad_norm=recipe.clip,
        optim="adamw_torch" if runtime.device().type == "mps" else "adamw_torch_fused",
        seed=seed,
        data_seed=seed,
        save_strategy="no" if save_every is None else "steps",
        save_steps=save_every or 500,
        save_total_limit=2,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # Watch looks at every loss, and stops instead of hiding it
        report_to="none",
        disable_tqdm=True,
        use_cpu=_cpu(),
        fp16=half,  # scales losses: float16 has no room for small gradients
        **(_checkpointing() if recipe.checkpointing else {}),
        dataloader_num_workers=0,  # a worker costs more than these batches, and Windows cannot fork
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # of several GPUs in one process each would take a batch as large as the recipe's
    return arguments


def _checkpointing() -> dict[str, Any]:
    """The options that keep few activations; transformers renamed them from gradient_… to activation_… on the way."""
    named = {one.name for one in fields(TrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in named else "gradient_checkpointing"
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}


def _half(model: nn.Module) -> bool:
    """Whether the base is in float16. Raises TrainingError where that is what would be trained."""
    half = [p.requires_grad for p in model.parameters() if p.dtype == torch.float16]
    if any(half):
        raise TrainingError(
            f"{sum(half)} of the parameters to be trained are in float16, whose steps are too coarse to train in. Load "
            "the model with dtype=torch.float32, or choose a method that adds parameters of its own (value, lora)."
        )
    return bool(half)


def _identity(model: nn.Module, task: Task, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What makes a run this run, as JSON has it: a checkpoint of another one must not be taken up."""
    told = {
        "recipe": {name: value for name, value in asdict(recipe).items() if name != "fsdp"},  # changes no number
        "seed": seed,
        "task": task.name,
        "data": fingerprint(task.train.to_list()),
        "wording": task.wording,
        "base": fingerprint(_weights_sample(model)),
        "trained": {n: list(p.shape) for n, p in model.named_parameters() if p.requires_grad},
    }
    return json.loads(json.dumps(told))


def _weights_sample(model: nn.Module) -> list[float]:
    """The middle number of every parameter as it was before training: by these one base is told from another.

    What is trained counts only where ``fine_tune`` remembered its start: a resumed run begins with other values.
    """
    pristine: dict[str, Tensor] = getattr(model, "beft_pristine", {})
    start = [pristine.get(n, None if p.requires_grad else p) for n, p in model.named_parameters()]
    known = [p.detach().reshape(-1) for p in start if p is not None and not p.is_meta and p.numel()]
    return [float(f"{p[p.numel() // 2].item():.6g}") for p in known]


def _last_checkpoint(folder: Path, identity: dict[str, Any]) -> Path | None:
    """The newest whole checkpoint of this run; half-written ones (killed while saving) are removed.

    The Trainer writes trainer_state.json last, so a checkpoint where it can be read is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "run.json"
    kept = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else identity
    if kept != identity:
        differ = ", ".join(name for name in identity if kept.get(name) != identity[name])
        raise TrainingError(
            f"{folder} holds the checkpoints of another run (different: {differ}). Give an empty folder, or delete "
            "this one to start over."
        )
    write_text_whole(note, json.dumps(identity, indent=1))
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
            whole.append(checkpoint)
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
    return max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)
