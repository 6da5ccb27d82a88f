"""Watching a training from outside: progress, losses, memory, and a stop before an update that would not be finite."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from torch import Tensor
from tqdm.std import tqdm
from transformers import TrainerCallback

from .errors import Diverged
from .hardware import is_main_process

# Updates in a row that a loss scaler may skip: each halves its scale, and from 65,536 ten lead to 64. What is not
# finite at that scale either is not the scale's doing.
SKIPS = 10


class Watch(TrainerCallback):
    """Shows progress, keeps losses, samples memory, and stops before an update that would not be finite."""

    def __init__(self, label: str, progress: bool | None):
        self.label, self.progress = label, progress
        self.loss: Tensor | None = None
        self.norm: Tensor | None = None
        self.losses: list[float] = []
        self.before = 0.0
        self.skipped = 0
        self._bar: tqdm | None = None
        self._begun = time.perf_counter()
        self._rss = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Of the steps before a resume, losses and seconds are in the checkpoint's trainer_state, in its log_history.
        kept = [entry for entry in state.log_history if "step_loss" in entry]
        self.losses = [entry["step_loss"] for entry in kept]
        self.before = kept[-1].get("seconds", 0.0) if kept else 0.0
        self._begun = time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._bar = progress_bar(state.max_steps, self.label, self.progress)
        self._bar.update(state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises Diverged before an update that would not be finite: the model holds the last good state.

        Where losses are scaled (a float16 base), an overflow shows as a norm that is not finite. The scaler then skips
        this update and halves its scale, so only a loss that is not finite, or ``SKIPS`` such norms in a row, ends it.
        """
        assert self.loss is not None
        norm, self.norm = self.norm, None
        if norm is None:  # an older Trainer clips in its loop; a second pass over all gradients costs time
            norm = torch.nn.utils.get_total_norm([p.grad for p in kwargs["model"].parameters() if p.grad is not None])
        self.skipped = 0 if bool(torch.isfinite(norm)) else self.skipped + 1
        allowed = SKIPS if getattr(kwargs.get("optimizer"), "scaler", None) is not None else 1
        if not bool(torch.isfinite(self.loss)) or self.skipped >= allowed:
            raise Diverged(
                f"Loss {self.loss.item():g}, gradient norm {norm.item():g} at step {state.global_step + 1}: no longer "
                f"finite. The model was left as it was after step {state.global_step}. Try a smaller learning rate "
                f"(now {args.learning_rate:g}), or fp32."
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self.loss is not None and self._bar is not None
        self.losses.append(self.loss.item())
        done = {"step": state.global_step, "step_loss": self.losses[-1], "seconds": self.seconds}
        state.log_history.append(done)
        if not torch.cuda.is_available() and state.global_step % 10 == 1:
            self._rss = max(self._rss, _resident())
        self._bar.set_postfix_str(f"loss {self.losses[-1]:.3f}", refresh=False)
        self._bar.update()

    @property
    def seconds(self) -> float:
        """Of training until now, the pieces before a resume included."""
        return self.before + time.perf_counter() - self._begun

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def peak_memory(self) -> int:
        """Bytes: allocated on the GPU at most; without one, the largest resident size of this whole process seen while
        training, which what it did before counts in.
        """
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else max(self._rss, _resident())


def progress_bar(total: int, label: str, show: bool | None = None) -> tqdm:
    """A tqdm bar with time left: on stdout in a notebook (no widget state, no stderr), on stderr in a terminal; of
    several processes the first one shows it.
    """
    notebook = in_notebook()
    shown = ((notebook or sys.stderr.isatty()) if show is None else show) and is_main_process()
    return tqdm(
        total=total,
        desc=label,
        unit="step",
        disable=not shown,
        leave=False,
        file=sys.stdout if notebook else sys.stderr,
        ncols=88,
        mininterval=0.3,
    )


def in_notebook() -> bool:
    """Whether this code was started from a notebook's cell (Jupyter, Colab, VS Code), not from a terminal."""
    ipython = sys.modules.get("IPython")  # not imported: then this is no notebook
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _resident() -> int:
    import psutil  # a dependency of accelerate

    return psutil.Process().memory_info().rss
