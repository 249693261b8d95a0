"""Operators that build a tensor from parts: padding, concatenation, replacing a slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import dtype as dt
from ..attrs import DIMS, INT, INTS
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, same, shown, smax
from ..types import Shape, TensorMeta
from ._common import Number, check_devices, is_number, normalize_dim, sizes
from ._fold import uniform
from .casting import cast, where
from .creation import constant, full
from .reduce import sum
from .slice import Slice, slice_
from .view import broadcast_to, nothing
from .viewing import narrow, unsqueeze


class Pad(Op):
    """x with `low` elements of value (a 0-d tensor) before it, `high` after it and `interior`
    between every two of its elements, per dimension."""

    name = "calque.pad"
    ATTRS = {"low": DIMS, "high": DIMS, "interior": INTS}

    @classmethod
    def infer(
        cls, *metas: TensorMeta, low: Shape, high: Shape, interior: tuple[int, ...]
    ) -> TensorMeta:
        x, value = metas
        check_devices(metas)
        if value.rank or value.dtype is not x.dtype:
            raise runtime_error(f"pad: expected a 0-d value of {x.dtype}, got {value}")
        if not len(low) == len(high) == len(interior) == x.rank:
            raise runtime_error(f"pad: expected {x.rank} sizes before, after and between")
        for d in (*low, *high, *interior):
            if isinstance(d, int) and d < 0:
                raise runtime_error(f"pad: sizes cannot be negative, got {d}")
        return x.with_shape(
            [
                a + n + b + (smax(n - 1, 0) * i if i else 0)
                for n, a, b, i in zip(x.shape, low, high, interior, strict=True)
            ]
        )

    @staticmethod
    def REFERENCE(
        x: np.ndarray,
        value: np.ndarray,
        low: tuple[int, ...],
        high: tuple[int, ...],
        interior: tuple[int, ...],
    ) -> np.ndarray:
        sizes = zip(x.shape, low, high, interior, strict=True)
        out = np.full([a + b + n + max(n - 1, 0) * i for n, a, b, i in sizes], value, x.dtype)
        sizes = zip(x.shape, low, interior, strict=True)
        spans = [slice(a, a + max(n - 1, 0) * (i + 1) + min(n, 1), i + 1) for n, a, i in sizes]
        out[tuple(spans)] = x
        return out

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), x, attrs = cotangents, node.operand_metas[0], node.attrs
        gx = gv = None
        if node.needs[0]:
            steps = [i + 1 for i in attrs["interior"]]
            sizes = zip(x.shape, attrs["low"], steps, strict=True)
            limits = [a if n == 0 else a + (n - 1) * s + 1 for n, a, s in sizes]
            gx = slice_(g, attrs["low"], limits, steps)
        if node.needs[1]:
            inside = full(x.shape, True, dt.bool_, g)
            mask = bind(Pad, (inside, constant(np.asarray(False), g)), dict(attrs))
            gv = sum(where(mask, 0, g))
        return gx, gv

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        (x, value), out, attrs = node.operands, node.result_metas[0], node.attrs
        fill = b.element(value, ())
        if not any(attrs["interior"]):
            return [b.pad(x, attrs["low"], attrs["high"], fill, out)]
        strides = [i + 1 for i in attrs["interior"]]
        return [b.insert_slice(x, b.fill(out, fill), attrs["low"], strides)]

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        x, value = node.operands
        if node.operand_metas[0].shape == node.result_metas[0].shape:
            return (x,)
        a, b = uniform(x), uniform(value)
        if a is None or b is None or a.tobytes() != b.tobytes():
            return None
        return (broadcast_to(value, node.result_metas[0].shape),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shape, low, high, interior in (
            ((3,), (1,), (2,), (0,)), ((3,), (0,), (0,), (2,)), ((2, 3), (1, 0), (0, 2), (1, 0)),
            ((0, 2), (2, 1), (1, 0), (1, 1)), ((), (), (), ()), ((1, 4), (0, 0), (0, 0), (3, 0)),
        ):  # fmt: skip
            for scalar in (np.float32, np.int64):
                x = np.arange(int(np.prod(shape))).astype(scalar).reshape(shape)
                attrs = {"low": low, "high": high, "interior": interior}
                yield Sample((x, np.asarray(7, scalar)), attrs)
        x = np.zeros(2, np.float32)
        attrs = {"low": (-1,), "high": (0,), "interior": (0,)}
        error = (RuntimeError, "sizes cannot be negative")
        yield Sample((x, np.zeros((), np.float32)), attrs, error=error)
        attrs = {"low": (1,), "high": (0,), "interior": (0,)}
        error = (RuntimeError, "expected a 0-d value")
        yield Sample((x, np.zeros((), np.float64)), attrs, error=error)


class Concatenate(Op):
    """Tensors joined along `dim`."""

    name = "calque.concatenate"
    ATTRS = {"dim": INT}

    @classmethod
    def infer(cls, *metas: TensorMeta, dim: int) -> TensorMeta:
        if not metas:
            raise runtime_error("torch.cat(): expected a non-empty list of Tensors")
        check_devices(metas)
        first = metas[0]
        size: Dim = 0
        shape = list(first.shape)
        for i, m in enumerate(metas):
            _check_part(first, m, i, dim)
            size = size + m.shape[dim]
            # A known size says more than a symbol that is guarded equal.
            shape = [b if isinstance(b, int) else a for a, b in zip(shape, m.shape, strict=True)]
        shape[dim] = size
        return first.with_shape(shape)

    @staticmethod
    def REFERENCE(*arrays: np.ndarray, dim: int) -> np.ndarray:
        return np.concatenate(arrays, dim)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        dim, start = node.attrs["dim"], 0
        out: list[Value | None] = []
        for m, need in zip(node.operand_metas, node.needs, strict=True):
            size = m.shape[dim]
            out.append(narrow(cotangents[0], dim, start, size) if need else None)
            start = start + size
        return out

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        out, dim = node.result_metas[0], node.attrs["dim"]
        parts = [
            x for x, m in zip(node.operands, node.operand_metas, strict=True) if m.shape[dim] != 0
        ]
        if 0 in out.shape:
            return [nothing(b, out)]
        if len(parts) == 1:
            return parts
        return [b.concat(parts, dim, out)]

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        return (node.operands[0],) if len(node.operands) == 1 else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shapes, dim in (
            (((2,), (3,)), 0), (((2, 3), (2, 1), (2, 0)), 1), (((1, 2, 3), (4, 2, 3)), 0),
            (((2, 3),), 1), (((0, 2), (0, 2)), 1),
        ):  # fmt: skip
            for scalar in (np.float32, np.bool_):
                arrays = [np.arange(int(np.prod(s))).reshape(s).astype(scalar) for s in shapes]
                yield Sample(tuple(arrays), {"dim": dim})
        x, y = np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)
        error = (RuntimeError, "Expected size 3 but got size 4 for tensor number 1 in the list.")
        yield Sample((x, y), {"dim": 0}, error=error)
        error = (RuntimeError, "Tensors must have same number of dimensions: got 2 and 1")
        yield Sample((x, y[0]), {"dim": 0}, error=error)
        error = (RuntimeError, "zero-dimensional tensor (at position 0) cannot be concatenated")
        yield Sample((x[0, 0], x[0, 0]), {"dim": 0}, error=error)


def _check_part(first: TensorMeta, m: TensorMeta, position: int, dim: int) -> None:
    """Whether a tensor can be joined to the first one."""
    if not m.rank:
        raise runtime_error(
            f"zero-dimensional tensor (at position {position}) cannot be concatenated"
        )
    if m.rank != first.rank:
        raise runtime_error(
            f"Tensors must have same number of dimensions: got {first.rank} and {m.rank}"
        )
    if m.dtype is not first.dtype:
        raise runtime_error(f"expected operands of one dtype, got {first.dtype} and {m.dtype}")
    for i, (a, b) in enumerate(zip(first.shape, m.shape, strict=True)):
        if i != dim and not same(a, b):
            raise runtime_error(
                f"Sizes of tensors must match except in dimension {dim}. Expected size {shown(a)} "
                f"but got size {shown(b)} for tensor number {position} in the list."
            )


class SliceUpdate(Op):
    """base with the elements at `starts`, `starts + strides`, … replaced by those of new."""

    name = "calque.slice_update"
    ATTRS = {"starts": DIMS, "strides": INTS}

    @classmethod
    def infer(cls, *metas: TensorMeta, starts: Shape, strides: tuple[int, ...]) -> TensorMeta:
        base, new = metas
        check_devices(metas)
        if base.dtype is not new.dtype:
            raise runtime_error(f"expected operands of one dtype, got {base.dtype} and {new.dtype}")
        if new.rank != base.rank or min(strides, default=1) < 1:
            raise runtime_error(f"slice_update: {new} does not fit into {base}")
        seen = Slice.infer(base, **_window(new, starts, strides))
        if seen.shape != new.shape:
            raise runtime_error(f"slice_update: {new} does not fit into {base}")
        return base

    @staticmethod
    def REFERENCE(
        base: np.ndarray, new: np.ndarray, starts: tuple[int, ...], strides: tuple[int, ...]
    ) -> np.ndarray:
        out = base.copy()
        parts = zip(starts, strides, new.shape, strict=True)
        out[tuple(slice(a, a + n * s, s) for a, s, n in parts)] = new
        return out

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), new = cotangents, node.operand_metas[1]
        gb = gn = None
        if node.needs[0]:
            zeros = full(new.shape, 0, new.dtype, g)
            gb = slice_update(g, zeros, node.attrs["starts"], node.attrs["strides"])
        if node.needs[1]:
            gn = bind(Slice, (g,), _window(new, node.attrs["starts"], node.attrs["strides"]))
        return gb, gn

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        base, new = node.operands
        if 0 in node.operand_metas[1].shape:
            return [base]
        return [b.insert_slice(new, base, node.attrs["starts"], node.attrs["strides"])]

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        base, new = node.operand_metas
        return (node.operands[1],) if base.shape == new.shape else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shape, part, starts, strides in (
            ((5,), (2,), (1,), (1,)), ((5,), (3,), (0,), (2,)), ((3, 4), (1, 2), (2, 1), (1, 2)),
            ((3,), (3,), (0,), (1,)), ((4, 2), (0, 2), (1, 0), (1, 1)), ((), (), (), ()),
        ):  # fmt: skip
            for scalar in (np.float32, np.int32):
                base = np.arange(int(np.prod(shape))).reshape(shape).astype(scalar)
                new = np.full(part, -1, scalar)
                yield Sample((base, new), {"starts": starts, "strides": strides})
        base, new = np.zeros(4, np.float32), np.zeros(3, np.float32)
        error = (RuntimeError, "does not lie within dimension 0 of size 4")
        yield Sample((base, new), {"starts": (2,), "strides": (1,)}, error=error)


def _window(new: TensorMeta, starts: Shape, strides: tuple[int, ...]) -> dict[str, Any]:
    """The attributes of the slice that has the shape of `new`."""
    parts = zip(new.shape, starts, strides, strict=True)
    limits = tuple(a if n == 0 else a + (n - 1) * s + 1 for n, a, s in parts)
    return {"starts": tuple(starts), "limits": limits, "strides": tuple(strides)}


def pad(
    x: Value,
    low: Sequence[Dim],
    high: Sequence[Dim],
    interior: Sequence[int] | None = None,
    value: Value | Number = 0,
) -> Value:
    """x with `value` around it (and between its elements), per dimension.

    Negative known sizes before and after cut elements off, as in PyTorch.
    """
    m = meta(x)
    interior = (0,) * m.rank if interior is None else tuple(interior)
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        before = -a if isinstance(a, int) and a < 0 else 0
        after = -b if isinstance(b, int) and b < 0 else 0
        if before or after:
            x = narrow(x, i, before, meta(x).shape[i] - before - after)
    low = tuple(0 if isinstance(a, int) and a < 0 else a for a in low)
    high = tuple(0 if isinstance(b, int) and b < 0 else b for b in high)
    if all(d == 0 for d in (*low, *high, *interior)):
        return x
    if is_number(value):
        value = constant(np.asarray(value, m.dtype.numpy), x)
    return bind(Pad, (x, value), {"low": low, "high": high, "interior": interior})


def concatenate(tensors: Sequence[Value], dim: int = 0) -> Value:
    """Tensors joined along `dim`, promoted to one dtype.

    Vectors without elements are left out whatever the others' rank, as in PyTorch.
    """
    if not tensors:
        raise runtime_error("torch.cat(): expected a non-empty list of Tensors")
    kept = [x for x in tensors if meta(x).shape != (0,)] or list(tensors)
    dtype = meta(tensors[0]).dtype
    for x in tensors[1:]:
        dtype = dt.promote(dtype, meta(x).dtype)
    rank = meta(kept[0]).rank
    kept = [cast(x, dtype) for x in kept]
    return kept[0] if len(kept) == 1 else bind(Concatenate, kept, {"dim": normalize_dim(dim, rank)})


def stack(tensors: Sequence[Value], dim: int = 0) -> Value:
    """Tensors of one shape joined along a new dimension. Raises RuntimeError where they differ."""
    if not tensors:
        raise runtime_error("stack expects a non-empty TensorList")
    shape = meta(tensors[0]).shape
    for i, x in enumerate(tensors):
        if len(meta(x).shape) != len(shape) or not all(map(same, meta(x).shape, shape)):
            first, other = (sizes(s) for s in (shape, meta(x).shape))
            raise runtime_error(
                f"stack expects each tensor to be equal size, but got {first} at entry 0 and "
                f"{other} at entry {i}"
            )
    d = normalize_dim(dim, len(shape) + 1)
    return concatenate([unsqueeze(x, d) for x in tensors], d)


def slice_update(
    base: Value, new: Value, starts: Sequence[Dim], strides: Sequence[int] | None = None
) -> Value:
    """base with a slice of it replaced by new, which is cast to its dtype."""
    strides = (1,) * len(starts) if strides is None else tuple(strides)
    new = cast(new, meta(base).dtype)
    return bind(SliceUpdate, (base, new), {"starts": tuple(starts), "strides": strides})


OPS: tuple[type[Op], ...] = (Pad, Concatenate, SliceUpdate)
