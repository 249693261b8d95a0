"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir import ops
from ...ir.errors import value_error
from ..creation import zeros_like
from ..inplace import assign
from ..tensor import Tensor
from .optimizer import Optimizer, active


class SGD(Optimizer):
    """p -= lr * g, with momentum, dampening, Nesterov and weight decay as `torch.optim.SGD`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if lr < 0.0:
            raise value_error(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise value_error(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise value_error(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise value_error("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": float(lr), "momentum": momentum, "dampening": dampening,
            "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(
        self, group: dict[str, Any], p: Tensor, grad: Tensor, state: dict[str, Any]
    ) -> None:
        if group["maximize"]:
            grad = -grad
        if active(group["weight_decay"]):
            grad = grad + p * group["weight_decay"]
        if active(group["momentum"]):
            velocity, share = state["momentum_buffer"], 1.0
            if active(group["dampening"]):
                # The first velocity is the gradient itself, undamped.
                share = ops.where(state["step"] == 1, 1.0, 1.0 - group["dampening"])
            assign(velocity, velocity * group["momentum"] + grad * share)
            grad = grad + velocity * group["momentum"] if group["nesterov"] else velocity
        assign(p, p - grad * group["lr"])

    def _init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {}
        if group["momentum"]:
            state["momentum_buffer"] = zeros_like(p)
        if group["momentum"] and group["dampening"]:
            state["step"] = self._new_step()
        return state


__all__ = ["SGD"]
