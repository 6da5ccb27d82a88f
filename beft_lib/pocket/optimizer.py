"""The optimizer of the pretraining."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import BeftError


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for the matrices inside the layers, AdamW for the rest, as one optimizer that a Trainer takes.

    Muon (Jordan and others, 2024; in torch since 2.9) orthogonalizes the momentum of a matrix. In short trials on
    recaps, of which no results are kept, it needed far fewer tokens than AdamW for the same loss.
    """

    def __init__(self, model: nn.Module, rate: float, matrix_rate: float, weight_decay: float = 0.01):
        if not hasattr(torch.optim, "Muon"):
            raise BeftError(
                f"torch {torch.__version__} has no torch.optim.Muon, which pretrains the pocket models; "
                "expected torch 2.9 or newer. The models that ship with the course need no such thing."
            )
        matrices, others = [], []
        for name, parameter in model.named_parameters():
            (matrices if ".layer" in name and parameter.ndim == 2 else others).append(parameter)
        self._parts = (
            torch.optim.Muon(
                matrices, lr=matrix_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), eps=1e-6, weight_decay=weight_decay),
        )
        super().__init__([*matrices, *others], {})
        self.param_groups = [group for part in self._parts for group in part.param_groups]  # a schedule writes here

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self._parts for group in part.param_groups]
