"""RMSprop (Hinton, 2012)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir import ops
from ...ir.errors import value_error
from ..creation import zeros_like
from ..inplace import assign
from ..tensor import Tensor
from .optimizer import Optimizer, active


class RMSprop(Optimizer):
    """Gradients divided by a running root of their mean square, as `torch.optim.RMSprop`."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *,
        maximize: bool = False,
    ) -> None:  # fmt: skip
        if lr < 0.0:
            raise value_error(f"Invalid learning rate: {lr}")
        if eps < 0.0:
            raise value_error(f"Invalid epsilon value: {eps}")
        if momentum < 0.0:
            raise value_error(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise value_error(f"Invalid weight_decay value: {weight_decay}")
        if alpha < 0.0:
            raise value_error(f"Invalid alpha value: {alpha}")
        defaults = {
            "lr": float(lr), "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {"step": self._new_step(), "square_avg": zeros_like(p)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = zeros_like(p)
        return state

    def _update(
        self, group: dict[str, Any], p: Tensor, grad: Tensor, state: dict[str, Any]
    ) -> None:
        if group["maximize"]:
            grad = -grad
        if active(group["weight_decay"]):
            grad = grad + p * group["weight_decay"]
        alpha, square = group["alpha"], state["square_avg"]
        assign(square, square * alpha + grad * grad * (1 - alpha))
        spread = square
        if group["centered"]:
            mean = state["grad_avg"]
            assign(mean, mean + (grad - mean) * (1 - alpha))
            spread = square - mean * mean
        update = grad / (ops.sqrt(spread) + group["eps"])
        if active(group["momentum"]):
            velocity = state["momentum_buffer"]
            assign(velocity, velocity * group["momentum"] + update)
            update = velocity
        assign(p, p - update * group["lr"])


__all__ = ["RMSprop"]
