"""The loss functions of `calque.nn.functional`."""

from __future__ import annotations

from typing import Any

import ml_dtypes

from ...ir import ops
from ...ir.errors import runtime_error, value_error
from ...ir.ops._elementwise import torch_name
from ..function import Function
from ..tensor import Tensor
from ._loss_checks import (
    check_class_weight,
    check_elements,
    check_smoothing,
    check_weighted,
    checked_targets,
    same_sizes,
    warn_of_broadcasting,
)


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "mean":
        return ops.mean(loss)
    if reduction == "sum":
        return ops.sum(loss)
    raise value_error(f"{reduction} is not a valid value for reduction")


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)²."""
    warn_of_broadcasting(input, target)
    difference = input - target
    return _reduce(difference * difference, reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|."""
    warn_of_broadcasting(input, target)
    return _reduce(ops.abs(input - target), reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Squared below beta, absolute above."""
    if beta < 0.0:
        raise runtime_error("smooth_l1_loss does not support negative values for beta.")
    warn_of_broadcasting(input, target)
    d = ops.abs(input - target)
    if beta == 0.0:
        return _reduce(d, reduction)
    return _reduce(ops.where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log likelihood of classes (dimension 1) under softmax(input).

    target holds class numbers, or, where it has the shape of the input, probabilities.
    """
    dim = 0 if input.dim() == 1 else 1
    check_smoothing(label_smoothing)
    if same_sizes(input, target):
        if not target.is_floating_point():
            raise runtime_error(
                "Expected floating point type for target with class probabilities, got "
                f"{torch_name(target.dtype)}"
            )
        check_class_weight(input, weight)
        log_p = ops.log_softmax(input, dim)
        return _soft_cross_entropy(log_p, target, weight, reduction, label_smoothing, dim)
    target = checked_targets(input, target)
    log_p = ops.log_softmax(input, dim)
    loss = nll_loss(log_p, target, weight, ignore_index, reduction)
    if label_smoothing == 0.0:
        return loss
    spread = -log_p if weight is None else -log_p * _along(weight, log_p, dim)
    smooth = ops.sum(spread, dim)
    kept = ops.ne(target, ignore_index)
    smooth = ops.where(kept, smooth, 0.0)
    if reduction == "mean":
        smooth = ops.sum(smooth) / _weight_sum(smooth, target, weight, ignore_index)
    else:
        smooth = _reduce(smooth, reduction)
    classes = int(input.shape[dim])
    return loss * (1.0 - label_smoothing) + smooth * (label_smoothing / classes)


def _soft_cross_entropy(
    log_p: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, dim: int
) -> Tensor:
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / int(log_p.shape[dim])
    loss = -(log_p * target)
    if weight is not None:
        loss = loss * _along(weight, log_p, dim)
    loss = ops.sum(loss, dim)
    if reduction == "mean":
        return ops.mean(loss)  # over the batch, as in PyTorch
    return _reduce(loss, reduction)


def _along(weight: Tensor, x: Tensor, dim: int) -> Tensor:
    """Class weights laid along the classes of x."""
    return ops.reshape(weight, [weight._meta.shape[0] if d == dim else 1 for d in range(x.dim())])


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input[target], input being log-probabilities with classes in dimension 1."""
    dim = 0 if input.dim() == 1 else 1
    target = checked_targets(input, target)
    check_class_weight(input, weight)
    kept = ops.ne(target, ignore_index)
    safe = ops.where(kept, target, 0)
    picked = -ops.pick(input, dim, safe)
    if weight is not None:
        picked = picked * ops.take(weight, 0, safe)
    loss = ops.where(kept, picked, 0.0)
    if reduction == "mean":
        return ops.sum(loss) / _weight_sum(loss, target, weight, ignore_index)
    return _reduce(loss, reduction)


def _weight_sum(loss: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> Any:
    """What a weighted mean divides by: the weights of the targets that count."""
    kept = ops.ne(target, ignore_index)
    if weight is None:
        return ops.sum(ops.cast(kept, loss.dtype))
    weights = ops.take(weight, 0, ops.where(kept, target, 0))
    return ops.sum(ops.where(kept, weights, 0.0))


class _BinaryCrossEntropy(Function):
    """By element. The logarithms have no gradient at 0, where that of the loss is finite."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(p, target)
        log_p, log_q = _limited_logs(p)
        return -(target * log_p + (1 - target) * log_q)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        p, target = ctx.saved_tensors
        least = max(1e-12, float(ml_dtypes.finfo(p.dtype.numpy).smallest_normal))
        of_p = grad * (p - target) / ops.maximum(p * (1 - p), least)
        if not ctx.needs_input_grad[1]:
            return of_p, None
        log_p, log_q = _limited_logs(p)
        return of_p, grad * (log_q - log_p)


def _limited_logs(p: Tensor) -> tuple[Tensor, Tensor]:
    """log(p) and log(1 - p), at least -100."""
    return ops.maximum(ops.log(p), -100.0), ops.maximum(ops.log1p(-p), -100.0)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(target * log(input) + (1 - target) * log(1 - input)), logarithms at least -100.

    Elements of both have to lie between 0 and 1.
    """
    check_elements(input, target)
    input = ops.check_range(input, 0.0, 1.0, "all elements of input should be between 0 and 1")
    if target.is_floating_point():
        message = "all elements of target should be between 0 and 1"
        target = ops.check_range(target, 0.0, 1.0, message)
    loss = _BinaryCrossEntropy.apply(input, target)
    loss = loss if weight is None else check_weighted(loss * weight, input)
    return _reduce(loss, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of sigmoid(input), computed stably."""
    check_elements(input, target)
    soft = ops.log1p(ops.exp(-ops.abs(input))) + ops.maximum(-input, 0.0)
    if pos_weight is None:
        loss = (1 - target) * input + soft
    else:
        loss = (1 - target) * input + (1 + (pos_weight - 1) * target) * soft
    loss = check_weighted(loss if weight is None else loss * weight, input)
    return _reduce(loss, reduction)


def kl_div(
    input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """target * (log(target) - input), input being log-probabilities."""
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:
        positive = target > 0
        loss = ops.where(
            positive, target * (ops.log(ops.where(positive, target, 1.0)) - input), 0.0
        )
    if reduction == "batchmean":
        return ops.sum(loss) / input.shape[0]
    return _reduce(loss, reduction)
