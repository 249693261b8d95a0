"""Optimizers and learning-rate schedules, as `torch.optim`."""

from __future__ import annotations

from ..frontend.optim.adagrad import Adagrad
from ..frontend.optim.adam import Adam, AdamW
from ..frontend.optim.optimizer import Optimizer
from ..frontend.optim.rmsprop import RMSprop
from ..frontend.optim.sgd import SGD
from . import lr_scheduler

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "SGD",
    "lr_scheduler",
]
