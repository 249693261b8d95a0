"""What the gradients of pooling are made of, as functions of operators."""

from __future__ import annotations

from typing import Any

from .. import dtype as dt
from ..op import Value, meta
from ..sym import Dim
from ..types import Shape, TensorMeta
from ._window import dilated, extent


def tiles(spatial: Shape, attrs: dict[str, Any]) -> bool:
    """Whether the windows cover each element exactly once, for certain."""
    return (
        attrs["kernel"] == attrs["stride"]
        and all(d == 1 for d in attrs["dilation"])
        and all(p == (0, 0) for p in attrs["padding"])
        and all(n % k == 0 for n, k in zip(spatial, attrs["kernel"], strict=True))
    )


def interleave(x: Value) -> Value:
    """(N, C, A, B) as (N, C, A, 1, B, 1)."""
    from .view import reshape

    m = meta(x)
    return reshape(x, (*m.shape[:2], *(n for d in m.shape[2:] for n in (d, 1))))


def repeat(x: Value, kernel: tuple[int, ...]) -> Value:
    """(N, C, A, B) as (N, C, A, k, B, k)."""
    from .view import broadcast_to

    m = meta(x)
    shape = (n for d, k in zip(m.shape[2:], kernel, strict=True) for n in (d, k))
    return broadcast_to(interleave(x), (*m.shape[:2], *shape))


def from_blocks(blocks: Value, x: TensorMeta) -> Value:
    """(N, C, A, k, B, k) as (N, C, A*k, B*k)."""
    from .view import reshape

    return reshape(blocks, x.shape)


def adjoint_padding(
    size: Shape, out: Shape, attrs: dict[str, Any]
) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """The padding with which windows at stride 1 over the dilated cotangent give back the input."""
    low: list[Dim] = []
    high: list[Dim] = []
    for n, o, k, s, d, (lo, _) in zip(
        size, out, attrs["kernel"], attrs["stride"], attrs["dilation"], attrs["padding"],
        strict=True,
    ):  # fmt: skip
        taps = extent(k, d)
        low.append(taps - 1 - lo)
        high.append(n + taps - 1 - dilated(o, s) - low[-1])
    return tuple(low), tuple(high)


def spread_out(
    g: Value, low: tuple[Dim, ...], high: tuple[Dim, ...], stride: tuple[int, ...], value: int
) -> Value:
    """g with its spatial elements `stride` apart and padded."""
    from .shape import pad

    return pad(g, (0, 0, *low), (0, 0, *high), (0, 0, *(s - 1 for s in stride)), value)


def flat_positions(tap: Value, shape: Shape, attrs: dict[str, Any]) -> Value:
    """Positions in the flattened spatial input, as int64, of the taps that `argmax_pool` found."""
    from .creation import iota, size
    from .elementwise import add, cast, floor_divide, mul, remainder, sub
    from .view import reshape

    m = meta(tap)
    rank = len(shape)
    rest = cast(tap, dt.int64)
    flat: Value = None
    scale: Dim = 1
    for i in reversed(range(rank)):
        k, s, d = attrs["kernel"][i], attrs["stride"][i], attrs["dilation"][i]
        inside = remainder(rest, k)
        rest = floor_divide(rest, k)
        start = mul(iota(m.shape[2 + i], dt.int64, tap), s)
        start = sub(start, size(attrs["padding"][i][0], tap))
        start = reshape(start, (m.shape[2 + i], *(1,) * (rank - 1 - i)))
        position = add(mul(inside, d), start)
        position = mul(position, size(scale, tap))
        flat = position if flat is None else add(flat, position)
        scale = scale * shape[i]
    return flat
