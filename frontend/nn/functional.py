"""`calque.nn.functional`: PyTorch's functions, with its names, arguments and defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import dtype as dt
from ...ir import ops
from ...ir.errors import not_implemented, runtime_error, value_error
from ...ir.ops._common import sizes
from ..functions_reduce import norm
from ..inplace import assign
from ..symint import unwrap
from ..tensor import Tensor
from ._activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsigmoid,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from ._losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from ._normalizations import batch_norm, layer_norm, rms_norm

Ints = int | Sequence[int]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias; weight is (out_features, in_features)."""
    out = ops.matmul(input, ops.transpose(weight, -2, -1) if weight.dim() > 1 else weight)
    return out if bias is None else out + bias


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
    padding: str | Ints = 0, dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, L) with weight (O, C/groups, K)."""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
    padding: str | Ints = 0, dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, H, W) with weight (O, C/groups, KH, KW)."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
    padding: str | Ints = 0, dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, D, H, W) with weight (O, C/groups, KD, KH, KW)."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv(rank: int, input: Tensor, weight: Tensor, *args: Any) -> Tensor:
    if weight.dim() != rank + 2 or input.dim() not in (rank + 1, rank + 2):
        raise runtime_error(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to conv{rank}d, but "
            f"got input of size: {sizes(input._meta.shape)}"
        )
    return ops.conv(input, weight, *args)


def max_pool1d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    dilation: Ints = 1, ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """The largest of each window of (N, C, L)."""
    return ops.max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, rank=1)


def max_pool2d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    dilation: Ints = 1, ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """The largest of each window of (N, C, H, W)."""
    return ops.max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, rank=2)


def avg_pool1d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    ceil_mode: bool = False, count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window of (N, C, L)."""
    return ops.avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, rank=1)


def avg_pool2d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of (N, C, H, W)."""
    return ops.avg_pool(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, rank=2
    )


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The mean over windows that divide (H, W) into `output_size`; None keeps a size.

    Windows are of one size where the sizes divide, and otherwise overlap as in PyTorch, which
    needs known sizes.
    """
    given = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * 2
    wanted = [n if n is not None else s for n, s in zip(given, input.shape[-2:], strict=True)]
    extents = list(input.shape[-2:])
    if all(extent % want == 0 for extent, want in zip(extents, wanted, strict=True)):
        kernel = [int(extent // want) for extent, want in zip(extents, wanted, strict=True)]
        return avg_pool2d(input, kernel, kernel)
    rows, columns = (
        _window_means(int(extent), int(want), input)
        for extent, want in zip(extents, wanted, strict=True)
    )
    return ops.matmul(ops.matmul(rows, input), ops.transpose(columns, 0, 1))


def _window_means(extent: int, count: int, like: Tensor) -> Tensor:
    """The matrix (count, extent) that takes the mean of each window."""
    matrix = np.zeros((count, extent), like.dtype.numpy)
    for i in range(count):
        start, end = i * extent // count, -(-(i + 1) * extent // count)
        matrix[i, start:end] = 1 / (end - start)
    return ops.constant(matrix, like)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight` chosen by integers. Raises IndexError where one is out of range."""
    return ops.embedding(weight, input, padding_idx)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 with a 1 at each class in a new last dimension."""
    if num_classes < 0:
        num_classes = int(tensor._read("one_hot without num_classes").max()) + 1
    return ops.one_hot(tensor, unwrap(num_classes))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements with probability p and scale the others by 1/(1-p)."""
    if not 0.0 <= p <= 1.0:
        raise value_error(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0:
        return input
    from ..random import bernoulli_mask

    if p == 1.0:
        return input * 0.0
    kept = bernoulli_mask(input._meta.shape, 1.0 - p)
    out = ops.where(kept, input * (1.0 / (1.0 - p)), 0.0)
    return assign(input, out) if inplace else out


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x divided by its p-norm along `dim`."""
    return input / ops.maximum(norm(input, p, dim, True), eps)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Constant padding; pairs of `pad` count from the last dimension."""
    if mode != "constant":
        raise not_implemented(f"padding mode '{mode}' is not supported, only 'constant'")
    if len(pad) % 2:
        raise runtime_error("Padding length must be divisible by 2")
    rank = input.dim()
    if len(pad) > 2 * rank:
        raise runtime_error(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pad)} and input of dimension {rank}"
        )
    low, high = [0] * rank, [0] * rank
    for i in range(len(pad) // 2):
        low[rank - 1 - i], high[rank - 1 - i] = pad[2 * i], pad[2 * i + 1]
    return ops.pad(input, low, high, value=value)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(query @ key^T * scale + mask) @ value over (..., length, features)."""
    if scale is None:
        scale = 1.0 / math.sqrt(int(query.shape[-1]))
    scores = ops.matmul(query * scale, ops.transpose(key, -2, -1))
    if is_causal:
        if attn_mask is not None:
            raise runtime_error("Explicit attn_mask should not be set when is_causal=True")
        rows, columns = query._meta.shape[-2], key._meta.shape[-2]
        row = ops.reshape(ops.iota(rows, dt.int64, query), (rows, 1))
        column = ops.reshape(ops.iota(columns, dt.int64, query), (1, columns))
        attn_mask = ops.ge(row, column)
    if attn_mask is not None and attn_mask.dtype is dt.bool_:
        scores = ops.where(attn_mask, scores, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    weights = dropout(ops.softmax(scores, -1), dropout_p)
    return ops.matmul(weights, value)


__all__ = [
    "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "batch_norm", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "conv1d", "conv2d", "conv3d", "cross_entropy", "dropout",
    "elu", "embedding", "gelu", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear",
    "log_softmax", "logsigmoid", "max_pool1d", "max_pool2d", "mse_loss", "nll_loss", "normalize",
    "one_hot", "pad", "relu", "relu6", "rms_norm", "scaled_dot_product_attention", "sigmoid",
    "silu", "smooth_l1_loss", "softmax", "softplus", "tanh",
]  # fmt: skip
