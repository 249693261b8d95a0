"""Initialization of parameters: PyTorch's schemes and defaults, written at once into memory."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from ...ir.errors import value_error
from ..inplace import numpy_assign
from ..random import Generator, fill_normal, fill_uniform
from ..tensor import Tensor

T = TypeVar("T", bound=Tensor)

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "sigmoid")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much a nonlinearity shrinks the standard deviation of what passes through it."""
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise value_error(f"Unsupported nonlinearity {nonlinearity}")


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and outputs each element of a weight connects: (fan_in, fan_out)."""
    shape = tuple(map(int, tensor.shape))
    if len(shape) < 2:
        raise value_error(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """Numbers drawn evenly from [a, b)."""
    fill_uniform(tensor, a, b, generator)
    return tensor


def normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> T:
    """Normally distributed numbers."""
    fill_normal(tensor, mean, std, generator)
    return tensor


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
    generator: Generator | None = None,
) -> T:  # fmt: skip
    """Normally distributed numbers within [a, b]: those outside are drawn again."""
    if not _reaches(mean, std, a, b):
        raise value_error(f"[{a}, {b}] holds next to none of a normal({mean}, {std})")
    if tensor.device == "meta":
        return tensor
    fill_normal(tensor, mean, std, generator)
    kept = tensor._array().copy()
    while (outside := (kept < a) | (kept > b)).any():
        fill_normal(tensor, mean, std, generator)
        kept = np.where(outside, tensor._array(), kept)
    numpy_assign(tensor, kept)
    return tensor


def _reaches(mean: float, std: float, a: float, b: float) -> bool:
    """Whether an interval holds a share of a normal distribution worth waiting for."""

    def below(x: float) -> float:
        return 0.5 * math.erfc(-(x - mean) / (std * math.sqrt(2.0)))

    return below(b) - below(a) > 1e-3


def constant_(tensor: T, val: float) -> T:
    """One value everywhere."""
    numpy_assign(tensor, np.full(tensor._sizes, val, tensor.dtype.numpy))
    return tensor


def ones_(tensor: T) -> T:
    """Ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: T) -> T:
    """Zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: T) -> T:
    """The identity matrix."""
    if tensor.dim() != 2:
        raise value_error("Only tensors with 2 dimensions are supported")
    numpy_assign(tensor, np.eye(*tensor._sizes, dtype=tensor.dtype.numpy))
    return tensor


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Evenly drawn, with a variance between those that keep activations and gradients."""
    fan_in, fan_out = fans(tensor)
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Normally distributed, with a variance between those that keep activations and gradients."""
    fan_in, fan_out = fans(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise value_error(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:  # fmt: skip
    """Evenly drawn, with the variance that a rectifier of slope `a` needs."""
    if 0 in tensor._sizes:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:  # fmt: skip
    """Normally distributed, with the variance that a rectifier of slope `a` needs."""
    if 0 in tensor._sizes:
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Rows (or columns, where there are fewer) orthogonal to each other, of length `gain`."""
    if tensor.dim() < 2:
        raise value_error("Only tensors with 2 or more dimensions are supported")
    if tensor.device == "meta":
        return tensor
    fill_normal(tensor, 0.0, 1.0, generator)
    rows = tensor._array().reshape(tensor._sizes[0], -1).astype(np.float64)
    wide = rows.shape[0] < rows.shape[1]
    q, r = np.linalg.qr(rows.T if wide else rows)
    q = q * np.sign(np.diag(r))
    numpy_assign(tensor, (gain * (q.T if wide else q)).astype(tensor.dtype.numpy))
    return tensor


def reset_linear(weight: Tensor, bias: Tensor | None) -> None:
    """What layers with a weight begin with in PyTorch: evenly drawn within 1/sqrt(fan_in)."""
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = fans(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        uniform_(bias, -bound, bound)


__all__ = [
    "calculate_gain", "constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_",
    "ones_", "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_",
    "zeros_",
]  # fmt: skip
