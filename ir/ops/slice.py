"""Slices: every n-th element along each dimension, also running down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from ..attrs import DIMS, INTS
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..pointwise import BodyBuilder
from ..sym import Dim
from ..types import Shape, TensorMeta
from ._common import normalize_dim
from ._extent import slice_extent
from .view import View, nothing


class Slice(View):
    """Every `strides`-th element from `starts` up to before `limits`, per dimension.

    With a negative stride it runs down from the start, and a limit of -1 includes element 0.
    """

    name = "calque.slice"
    ATTRS = {"starts": DIMS, "limits": DIMS, "strides": INTS}

    @classmethod
    def infer(
        cls, *metas: TensorMeta, starts: Shape, limits: Shape, strides: tuple[int, ...]
    ) -> TensorMeta:
        (x,) = metas
        if not len(starts) == len(limits) == len(strides) == x.rank:
            raise runtime_error(f"slice: expected {x.rank} starts, limits and strides")
        parts = zip(x.shape, starts, limits, strides, strict=True)
        return x.with_shape([slice_extent(i, *part) for i, part in enumerate(parts)])

    @staticmethod
    def REFERENCE(
        x: np.ndarray, starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]
    ) -> np.ndarray:
        parts = zip(starts, limits, strides, strict=True)
        return x[tuple(slice(a, b if b >= 0 else None, s) if a >= 0 else slice(0, 0)
                       for a, b, s in parts)]  # fmt: skip

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .shape import pad

        starts, strides = node.attrs["starts"], node.attrs["strides"]
        g, starts, strides = forward(cotangents[0], starts, strides)
        low, high, interior = [], [], []
        parts = zip(node.operand_metas[0].shape, meta(g).shape, starts, strides, strict=True)
        for size, count, start, stride in parts:
            low.append(start)
            empty = isinstance(count, int) and count == 0
            high.append(size - start - (0 if empty else (count - 1) * stride + 1))
            interior.append(stride - 1)
        return (pad(g, low, high, interior),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        (x,), out = node.operands, node.result_metas[0]
        starts, strides = node.attrs["starts"], node.attrs["strides"]
        if 0 in out.shape:
            return [nothing(b, out)]
        if min(strides, default=1) > 0:
            return [b.slice(x, starts, out.shape, strides)]
        source = b.value(x)

        def body(s: BodyBuilder) -> SSAValue:
            steps = [s.mul(s.index(i), s.size(step)) for i, step in enumerate(strides)]
            return s.extract(
                source, [s.add(s.size(a), i) for a, i in zip(starts, steps, strict=True)]
            )

        return [b.pointwise(out, (), body=body)]

    @classmethod
    def unview(cls, base: Value, new: Value, attrs: dict[str, Any]) -> Value:
        from .shape import slice_update

        new, starts, strides = forward(new, attrs["starts"], attrs["strides"])
        return slice_update(base, new, starts, strides)

    @classmethod
    def is_identity(cls, attrs: Any) -> bool:
        return all(s > 0 for s in attrs["strides"])

    @classmethod
    def merge(cls, inner: Op, node: Node) -> Value | None:
        first, then = inner.attrs, node.attrs
        if min(*first["strides"], *then["strides"]) < 1 or 0 in node.result_metas[0].shape:
            return None
        starts, limits, strides = [], [], []
        for i, count in enumerate(node.result_metas[0].shape):
            start = first["starts"][i] + then["starts"][i] * first["strides"][i]
            stride = first["strides"][i] * then["strides"][i]
            starts.append(start)
            strides.append(stride)
            limits.append(start + (count - 1) * stride + 1)
        return slice_(inner.operands[0], starts, limits, strides)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shape, starts, limits, strides in (
            ((7,), (2,), (6,), (1,)), ((7,), (1,), (7,), (3,)), ((7,), (6,), (-1,), (-1,)),
            ((7,), (5,), (0,), (-2,)), ((4, 6), (1, 0), (3, 6), (1, 2)), ((3,), (1,), (1,), (1,)),
            ((2, 3, 4), (0, 2, 1), (2, -1, 3), (1, -2, 1)), ((0, 2), (0, 0), (0, 1), (1, 1)),
            ((), (), (), ()), ((0,), (-1,), (-1,), (-1,)),
        ):  # fmt: skip
            x = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
            yield Sample((x,), {"starts": starts, "limits": limits, "strides": strides})
        x = np.zeros(5, np.float32)
        for start, limit, stride, words in (
            (0, 6, 1, "0:6:1 does not lie within dimension 0 of size 5"),
            (3, 2, 1, "does not lie"), (5, -1, -1, "does not lie"), (0, 5, 0, "stride"),
        ):  # fmt: skip
            attrs = {"starts": (start,), "limits": (limit,), "strides": (stride,)}
            yield Sample((x,), attrs, error=(RuntimeError, words))


def forward(
    x: Value, starts: Shape, strides: tuple[int, ...]
) -> tuple[Value, list[Dim], list[int]]:
    """Elements of a slice, its starts and strides, with dimensions that run down turned around."""
    shape = meta(x).shape
    down = [i for i, s in enumerate(strides) if s < 0]
    if not down:
        return x, list(starts), list(strides)
    turned = [
        start if s > 0 else start + (count - 1) * s
        for start, s, count in zip(starts, strides, shape, strict=True)
    ]
    turned = [0 if c == 0 else t for t, c in zip(turned, shape, strict=True)]
    return flip(x, down), turned, [abs(s) for s in strides]


def slice_(
    x: Value, starts: Sequence[Dim], limits: Sequence[Dim], strides: Sequence[int] | None = None
) -> Value:
    """Elements of x from `starts` up to before `limits`, every `strides`-th, per dimension."""
    strides = (1,) * len(starts) if strides is None else strides
    attrs = {"starts": tuple(starts), "limits": tuple(limits), "strides": tuple(strides)}
    return bind(Slice, (x,), attrs)


def flip(x: Value, dims: int | Sequence[int]) -> Value:
    """x with the order of elements along `dims` reversed."""
    shape = meta(x).shape
    given = (dims,) if isinstance(dims, int) else dims
    chosen = {normalize_dim(d, len(shape)) for d in given} if shape else set()
    if not chosen:
        return x
    ends = [(d - 1, -1, -1) if i in chosen else (0, d, 1) for i, d in enumerate(shape)]
    starts, limits, strides = zip(*ends, strict=True)
    return slice_(x, starts, limits, strides)


OPS: tuple[type[Op], ...] = (Slice,)
