"""What convolution and pooling share: sizes of sliding windows, and windows over NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from ..errors import runtime_error
from ..maps import AffineExpr, MapItem
from ..sym import Dim, floordiv, smax
from ._common import several

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import Tensor


@overload
def dilated(size: int, step: int) -> int: ...
@overload
def dilated(size: Dim, step: int) -> Dim: ...
def dilated(size: Dim, step: int) -> Dim:
    """The extent of `size` elements that are `step` apart."""
    if step == 1 or (isinstance(size, int) and size == 0):
        return size
    return (size - 1) * step + 1


@overload
def extent(kernel: int, dilation: int) -> int: ...
@overload
def extent(kernel: Dim, dilation: int) -> Dim: ...
def extent(kernel: Dim, dilation: int) -> Dim:
    """The extent of a kernel whose taps are `dilation` apart."""
    return (kernel - 1) * dilation + 1


def window_count(size: Dim, taps: Dim, stride: int) -> Dim:
    """How many windows of extent `taps` fit in `size` at steps of `stride`."""
    return floordiv(size - taps, stride) + 1


def int_list(value: int | Sequence[int], rank: int, name: str) -> tuple[int, ...]:
    """One number per spatial dimension. Raises RuntimeError where the count is wrong."""
    given = tuple(int(v) for v in several(value))
    if len(given) == 1:
        return given * rank
    if len(given) != rank:
        raise runtime_error(
            f"expected {name} to be a single integer value or a list of {rank} values, but got "
            f"{name}={list(given)}"
        )
    return given


def pad_array(
    x: np.ndarray,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
    value: float = 0,
) -> np.ndarray:
    """x (N, C, *spatial) with its elements spread by `dilation`, then padded; negative crops."""
    steps = dilation or (1,) * len(padding)
    sizes = [dilated(int(n), b) for n, b in zip(x.shape[2:], steps, strict=True)]
    low = [max(lo, 0) for lo, _ in padding]
    full: list[int] = [
        n + a + max(hi, 0) for n, a, (_, hi) in zip(sizes, low, padding, strict=True)
    ]
    out = np.full((*x.shape[:2], *full), value, x.dtype)
    inner = tuple(slice(a, a + n, b) for a, n, b in zip(low, sizes, steps, strict=True))
    out[(..., *inner)] = x
    crop = tuple(
        slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(full, padding, strict=True)
    )
    return out[(..., *crop)]


def windows(
    x: np.ndarray, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> np.ndarray:
    """(N, C, *out, *kernel): what each window of a padded x sees, a view of x."""
    rank = len(kernel)
    taps = tuple(extent(k, d) for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, taps, axis=tuple(range(2, 2 + rank)))
    steps = (*(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))
    return view[(slice(None), slice(None), *steps)]


def padded(
    b: LinalgBuilder,
    x: Tensor,
    padding: Sequence[tuple[Dim, Dim]],
    dilation: Sequence[int],
    value: float,
) -> Tensor:
    """`pad_array` at the `linalg` stage."""
    m = b.meta(x)
    lead, sizes = m.shape[:2], [dilated(n, s) for n, s in zip(m.shape[2:], dilation, strict=True)]
    low = (0, 0, *(smax(lo, 0) for lo, _ in padding))
    high = (0, 0, *(smax(hi, 0) for _, hi in padding))
    wanted = (*lead, *(n + lo + hi for n, (lo, hi) in zip(sizes, padding, strict=True)))
    if 0 in m.shape:
        return b.fill(m.with_shape(wanted), value)
    full = m.with_shape(
        (*lead, *(n + a + z for n, a, z in zip(sizes, low[2:], high[2:], strict=True)))
    )
    if any(s != 1 for s in dilation):
        x = b.insert_slice(x, b.fill(full, value), low, (1, 1, *dilation))
    elif any(n != 0 for n in (*low, *high)):
        x = b.pad(x, low, high, b.constant(value, m.dtype.element), full)
    if wanted == full.shape:
        return x
    return b.slice(x, (0, 0, *(smax(0 - lo, 0) for lo, _ in padding)), wanted)


def window_items(
    space: int, taps: int, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[MapItem, ...]:
    """Where window `s` reads its tap `k`: s * stride + k * dilation per spatial dimension.

    `space` and `taps` are the numbers of the first loops over windows and taps.
    """
    return tuple(
        AffineExpr.dimension(space + i) * s + AffineExpr.dimension(taps + i) * d
        for i, (s, d) in enumerate(zip(stride, dilation, strict=True))
    )
