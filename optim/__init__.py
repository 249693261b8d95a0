"""Optimizers and learning-rate schedules, as `torch.optim`."""

from __future__ import annotations

from ..frontend.optim.adam import Adam, AdamW
from ..frontend.optim.optimizer import Optimizer
from ..frontend.optim.sgd import SGD

__all__ = [
    "Adam",
    "AdamW",
    "Optimizer",
    "SGD",
]
