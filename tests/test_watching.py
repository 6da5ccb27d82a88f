"""What stops a training, and what a loss scaler is left to mend."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from beft_lib.errors import TrainingError
from beft_lib.watching import SKIPS, Watch

INF = float("inf")


def steps(scaled: bool, *norms: float, loss: float = 0.5) -> Watch:
    """A watch that saw one step after another with these gradient norms."""
    watch, optimizer = Watch("training", False), SimpleNamespace(scaler=object() if scaled else None)
    for number, norm in enumerate(norms):
        watch.loss, watch.norm = torch.tensor(loss), torch.tensor(norm)
        state = SimpleNamespace(global_step=number)
        watch.on_pre_optimizer_step(SimpleNamespace(learning_rate=1e-3), state, None, optimizer=optimizer)
    return watch


def test_without_a_scaler_the_first_norm_that_is_not_finite_ends_it():
    with pytest.raises(TrainingError, match=r"gradient norm inf at step 2.*after step 1"):
        steps(False, 1.0, INF)


@pytest.mark.parametrize("norm", [INF, float("nan")])
def test_a_scaler_may_skip_updates_until_its_scale_fits(norm):
    assert steps(True, norm, norm, 1.0).skipped == 0
    assert steps(True, *[norm] * (SKIPS - 1), 1.0, *[norm] * (SKIPS - 1)).skipped == SKIPS - 1


def test_what_no_scale_mends_ends_it():
    with pytest.raises(TrainingError, match=rf"norm inf at step {SKIPS}:"):
        steps(True, *[INF] * SKIPS)
    with pytest.raises(TrainingError, match=r"Loss nan, gradient norm 1 at step 1"):
        steps(True, 1.0, loss=float("nan"))


def test_the_scaler_really_skips_what_is_let_through():
    """torch's own scaler: an overflow at its first scale moves nothing, and halves it."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, scaler = torch.optim.SGD([weight], lr=0.1), torch.amp.GradScaler("cpu")
    before = scaler.get_scale()
    scaler.scale(weight.sum() * 1e36).backward()
    scaler.unscale_(optimizer)
    assert not torch.isfinite(torch.nn.utils.clip_grad_norm_([weight], 1.0))
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(weight, torch.ones(2)) and scaler.get_scale() == before / 2
    assert before / 2**SKIPS == 64  # what the comment beside SKIPS says
