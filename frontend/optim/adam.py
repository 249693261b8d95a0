"""Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir import ops
from ...ir.errors import value_error
from ..creation import zeros_like
from ..inplace import assign
from ..tensor import Tensor
from .optimizer import Optimizer, active


class Adam(Optimizer):
    """Running means of gradients and their squares, as `torch.optim.Adam`."""

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if lr < 0.0:
            raise value_error(f"Invalid learning rate: {lr}")
        if eps < 0.0:
            raise value_error(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise value_error(f"Invalid beta parameter at index {i}: {beta}")
        if weight_decay < 0.0:
            raise value_error(f"Invalid weight_decay value: {weight_decay}")
        defaults = {
            "lr": float(lr), "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {
            "step": self._new_step(),
            "exp_avg": zeros_like(p),
            "exp_avg_sq": zeros_like(p),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(p)
        return state

    def _update(
        self, group: dict[str, Any], p: Tensor, grad: Tensor, state: dict[str, Any]
    ) -> None:
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        if group["maximize"]:
            grad = -grad
        value: Tensor = p
        if active(decay) and self._decoupled:
            value = p * (1.0 - lr * decay)
        elif active(decay):
            grad = grad + p * decay
        step, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
        assign(mean, mean + (grad - mean) * (1.0 - beta1))
        assign(square, square * beta2 + grad * grad * (1.0 - beta2))
        correction1 = 1.0 - ops.pow(beta1, step)
        correction2 = ops.sqrt(1.0 - ops.pow(beta2, step))
        if group["amsgrad"]:
            largest = state["max_exp_avg_sq"]
            assign(largest, ops.maximum(largest, square))
            square = largest
        denominator = ops.sqrt(square) / correction2 + group["eps"]
        assign(p, value - mean / denominator * (lr / correction1))


class AdamW(Adam):
    """Adam with weight decay apart from the gradient, as `torch.optim.AdamW`."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


__all__ = ["Adam", "AdamW"]
