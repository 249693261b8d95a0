"""The normalizations of `calque.nn.functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir import ops
from ...ir.errors import runtime_error, value_error
from ...ir.ops._common import sizes
from ...ir.sym import product, same
from ..gradmode import no_grad
from ..inplace import assign
from ..symint import unwrap
from ..tensor import Tensor


def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
    weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
    momentum: float | Tensor = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalize each channel (dimension 1); in training by the batch, updating the statistics."""
    dims = (0, *range(2, input.dim()))
    if training:
        mean, var = _batch_statistics(input, dims, running_mean, running_var, momentum)
    elif running_mean is None or running_var is None:
        raise value_error("Expected running_mean and running_var when training=False")
    else:
        mean, var = running_mean, running_var
    out = (input - _channels(mean, input)) * _channels(ops.rsqrt(var + eps), input)
    if weight is not None:
        out = out * _channels(weight, input)
    return out if bias is None else out + _channels(bias, input)


def _batch_statistics(
    input: Tensor, dims: tuple[int, ...], running_mean: Tensor | None,
    running_var: Tensor | None, momentum: float | Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mean and biased variance of each channel; moves the running ones toward them."""
    count = product([input._meta.shape[d] for d in dims])
    if same(count, 1):
        raise value_error(
            "Expected more than 1 value per channel when training, got input size "
            f"calque.Size({sizes(input._meta.shape)})"
        )
    mean = ops.mean(input, dims)
    centered = input - _channels(mean, input)
    var = ops.mean(centered * centered, dims)
    if running_mean is not None and running_var is not None:
        with no_grad():
            number = ops.size(count, input)
            unbiased = var * (number / (number - 1))
            assign(running_mean, running_mean * (1 - momentum) + mean * momentum)
            assign(running_var, running_var * (1 - momentum) + unbiased * momentum)
    return mean, var


def _channels(x: Tensor, input: Tensor) -> Tensor:
    """A vector laid along dimension 1 of `input`."""
    return ops.reshape(x, (1, x._meta.shape[0], *[1] * (input.dim() - 2)))


def _tail(input: Tensor, normalized_shape: Sequence[Any]) -> tuple[int, ...]:
    """The last dimensions. Raises RuntimeError where they are not of that shape."""
    rank = len(normalized_shape)
    tail = input._meta.shape[input.dim() - rank :] if rank <= input.dim() else ()
    if len(tail) != rank or not all(map(same, tail, map(unwrap, normalized_shape))):
        raise runtime_error(
            f"Given normalized_shape={list(normalized_shape)}, expected input with shape "
            f"[*, {', '.join(map(str, normalized_shape))}], but got input of size"
            f"{sizes(input._meta.shape)}"
        )
    return tuple(range(input.dim() - rank, input.dim()))


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalize over the last dimensions, those of `normalized_shape`."""
    dims = _tail(input, normalized_shape)
    centered = input - ops.mean(input, dims, True)
    var = ops.mean(centered * centered, dims, True)
    out = centered * ops.rsqrt(var + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:  # fmt: skip
    """Divide by the root of the mean square over the last dimensions."""
    import numpy as np

    dims = _tail(input, normalized_shape)
    small = float(np.finfo(np.float32).eps) if eps is None else eps
    out = input * ops.rsqrt(ops.mean(input * input, dims, True) + small)
    return out if weight is None else out * weight
