"""Differentiation, as `torch.autograd`."""

from __future__ import annotations

from .frontend.autograd import backward, grad
from .frontend.gradmode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "backward",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
