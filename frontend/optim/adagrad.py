"""Adagrad (Duchi, Hazan and Singer, 2011)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir import ops
from ...ir.errors import value_error
from ..creation import full_like
from ..inplace import assign
from ..tensor import Tensor
from .optimizer import Optimizer, active


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares, as `torch.optim.Adagrad`."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0,
        weight_decay: float = 0.0, initial_accumulator_value: float = 0.0, eps: float = 1e-10, *,
        maximize: bool = False,
    ) -> None:  # fmt: skip
        if lr < 0.0:
            raise value_error(f"Invalid learning rate: {lr}")
        if lr_decay < 0.0:
            raise value_error(f"Invalid lr_decay value: {lr_decay}")
        if weight_decay < 0.0:
            raise value_error(f"Invalid weight_decay value: {weight_decay}")
        if initial_accumulator_value < 0.0:
            raise value_error(
                f"Invalid initial_accumulator_value value: {initial_accumulator_value}"
            )
        if eps < 0.0:
            raise value_error(f"Invalid epsilon value: {eps}")
        defaults = {
            "lr": float(lr), "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        start = group["initial_accumulator_value"]
        return {"step": self._new_step(), "sum": full_like(p, start)}

    def _update(
        self, group: dict[str, Any], p: Tensor, grad: Tensor, state: dict[str, Any]
    ) -> None:
        if group["maximize"]:
            grad = -grad
        if active(group["weight_decay"]):
            grad = grad + p * group["weight_decay"]
        rate: Any = group["lr"]
        if active(group["lr_decay"]):
            rate = rate / (1.0 + (state["step"] - 1.0) * group["lr_decay"])
        total = state["sum"]
        assign(total, total + grad * grad)
        assign(p, p - grad / (ops.sqrt(total) + group["eps"]) * rate)


__all__ = ["Adagrad"]
