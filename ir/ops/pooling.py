"""Pooling with PyTorch's arguments, made from the operators of `pool`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtype as dt
from ..errors import runtime_error
from ..op import Op, Value, bind, meta
from ..sym import Dim, floordiv, smin
from ..types import Shape, TensorMeta
from ._poolparts import flat_positions
from ._window import extent, int_list
from .pool import ArgmaxPool, Ints, MaxPool, SumPool


def _attrs(
    x: TensorMeta,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    ceil_mode: bool,
    rank: int,
) -> dict[str, Any]:
    """Operator attributes of a user's arguments; what `ceil_mode` adds becomes padding."""
    kernels = int_list(kernel, rank, "kernel_size")
    strides = kernels if stride is None else int_list(stride, rank, "stride")
    pads, dilations = int_list(padding, rank, "padding"), int_list(dilation, rank, "dilation")
    for p, k, d in zip(pads, kernels, dilations, strict=True):
        if p < 0 or 2 * p > extent(k, d):
            raise runtime_error(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    pairs: list[tuple[Dim, Dim]] = [(p, p) for p in pads]
    if ceil_mode:
        for i, n in enumerate(x.shape[-rank:]):
            k, s, p, taps = kernels[i], strides[i], pads[i], extent(kernels[i], dilations[i])
            count = floordiv(n + 2 * p - taps + s - 1, s) + 1
            # The last window must start inside the input or the low padding.
            count = smin(count, floordiv(n + p - 1, s) + 1)
            pairs[i] = (p, (count - 1) * s + taps - n - p)
    return {"kernel": kernels, "stride": strides, "padding": tuple(pairs), "dilation": dilations}


def _batched(op: type[Op], x: Value, attrs: dict[str, Any]) -> Value:
    """Apply a pooling operator, with a batch dimension added to an unbatched x."""
    from .view import reshape

    m = meta(x)
    if m.rank != len(attrs["kernel"]) + 1:
        return bind(op, (x,), attrs)
    out = bind(op, (reshape(x, (1, *m.shape)),), attrs)
    return reshape(out, meta(out).shape[1:])


def max_pool(
    x: Value,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    *,
    rank: int,
) -> Value:
    """`max_pool1d`, `2d` or `3d` (`rank`); x may lack the batch dimension."""
    attrs = _attrs(meta(x), kernel, stride, padding, dilation, ceil_mode, rank)
    return _batched(MaxPool, x, attrs)


def max_pool_indices(
    x: Value,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    *,
    rank: int,
) -> Value:
    """The flat positions (int64) in the spatial input that PyTorch's `return_indices` gives."""
    from .view import reshape

    m = meta(x)
    attrs = _attrs(m, kernel, stride, padding, dilation, ceil_mode, rank)
    tap = _batched(ArgmaxPool, x, attrs)
    t = meta(tap)
    if t.rank == rank + 2:
        return flat_positions(tap, m.shape[-rank:], attrs)
    flat = flat_positions(reshape(tap, (1, *t.shape)), m.shape[-rank:], attrs)
    return reshape(flat, t.shape)


def avg_pool(
    x: Value,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    rank: int,
) -> Value:
    """`avg_pool1d`, `2d` or `3d` (`rank`); x may lack the batch dimension."""
    from .elementwise import div

    m = meta(x)
    attrs = _attrs(m, kernel, stride, padding, 1, ceil_mode, rank)
    total = _batched(SumPool, x, attrs)
    if divisor_override is not None:
        if divisor_override == 0:
            raise runtime_error("divisor must be not zero")
        return div(total, divisor_override)
    pads = int_list(padding, rank, "padding")
    full_windows = not ceil_mode and (count_include_pad or not any(pads))
    if full_windows:
        return div(total, math.prod(attrs["kernel"]))
    return div(total, _counts(meta(total), total, m.shape[-rank:], attrs, pads, count_include_pad))


def _counts(
    out: TensorMeta, like: Value, shape: Shape, attrs: dict[str, Any], pads: Ints, include: bool
) -> Value:
    """How many elements each window is taken to have, of the spatial shape and dtype of `out`."""
    from .creation import iota, size
    from .elementwise import add, cast, maximum, minimum, mul, sub
    from .view import reshape

    total: Value = None
    rank = len(shape)
    sizes = out.shape[-rank:]
    for i, n in enumerate(shape):
        start = sub(mul(iota(sizes[i], dt.int64, like), attrs["stride"][i]), pads[i])
        end = minimum(add(start, attrs["kernel"][i]), size(n + pads[i], like))
        if not include:
            start, end = maximum(start, 0), minimum(end, size(n, like))
        count = reshape(sub(end, start), (sizes[i], *(1,) * (rank - 1 - i)))
        count = cast(count, out.dtype)
        total = count if total is None else mul(total, count)
    return total
