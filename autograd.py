"""Differentiation, as `torch.autograd`."""

from __future__ import annotations

from .frontend.autograd import backward, grad
from .frontend.function import Function, FunctionContext, once_differentiable
from .frontend.gradmode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "FunctionContext",
    "backward",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
