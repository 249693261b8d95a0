"""The activations of `calque.nn.functional`."""

from __future__ import annotations

from ...ir import ops
from ...ir.dtype import DType
from ..inplace import assign
from ..tensor import Tensor


def _put(input: Tensor, out: Tensor, inplace: bool) -> Tensor:
    return assign(input, out) if inplace else out


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """x where positive, else 0."""
    return _put(input, ops.relu(input), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x within [0, 6]."""
    return _put(input, ops.clamp(input, 0.0, 6.0), inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, else x * negative_slope."""
    return _put(input, ops.where(ops.gt(input, 0), input, input * negative_slope), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1)."""
    # The exponential sees no large x: its gradient would be infinite times zero.
    below = ops.expm1(ops.minimum(input, 0.0)) * alpha
    return _put(input, ops.where(ops.gt(input, 0), input, below), inplace)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    return _put(input, ops.silu(input), inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the probability that a normal variable is below x; or its tanh approximation."""
    return ops.gelu(input, approximate)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta, x itself where beta * x is above the threshold."""
    return ops.softplus(input, beta, threshold)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(input)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), computed stably."""
    return -ops.softplus(-input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return ops.tanh(input)


def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along a dimension."""
    return ops.softmax(input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """log(softmax(x)), computed stably."""
    return ops.log_softmax(input, dim, dtype)
