"""Views by strides: any arrangement of a vector's elements, as memory is seen by tensors.

Capture and eager execution use them where memory is not seen through a chain of other views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import SSAValue

from ..attrs import BOOL, DIM, DIMS
from ..errors import runtime_error
from ..op import Node, Op, Sample, Value, bind, meta
from ..scalar import ScalarBuilder
from ..sym import Dim, same_shape
from ..types import Shape, TensorMeta
from .view import View

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import Tensor


class AsStrided(View):
    """Element (i, j, …) is element offset + i*strides[0] + j*strides[1] + … of a vector."""

    name = "calque.as_strided"
    ATTRS = {"shape": DIMS, "strides": DIMS, "offset": DIM}

    @classmethod
    def infer(cls, *metas: TensorMeta, shape: Shape, strides: Shape, offset: Dim) -> TensorMeta:
        (x,) = metas
        if x.rank != 1:
            raise runtime_error(f"as_strided arranges the elements of a vector, not of {x}")
        if len(shape) != len(strides):
            raise runtime_error(
                f"mismatch in length of strides and shape: {len(strides)} and {len(shape)}"
            )
        return x.with_shape(shape)

    @staticmethod
    def REFERENCE(
        x: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> np.ndarray:
        return x[places(shape, strides, offset)]

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .creation import full

        (g,), x = cotangents, node.operand_metas[0]
        base = full(x.shape, 0, x.dtype, g)
        return (bind(StridedUpdate, (base, g), {**_where(node.attrs), "accumulate": True}),)

    @classmethod
    def unview(cls, base: Value, new: Value, attrs: dict[str, Any]) -> Value:
        return bind(StridedUpdate, (base, new), {**_where(attrs), "accumulate": False})

    @classmethod
    def is_identity(cls, attrs: Any) -> bool:
        return attrs["strides"] == (1,) and attrs["offset"] == 0

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        x, attrs = node.operands[0], node.attrs
        strides = [b.size(s) for s in attrs["strides"]]
        offset = b.size(attrs["offset"])

        def body(s: Any) -> SSAValue:
            indices = [s.index(d) for d in range(len(strides))]
            return s.extract(x, [_place(s, indices, strides, offset)])

        return [b.pointwise(node.result_metas[0], (), body=body)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        x = np.arange(24, dtype=np.float32)
        for shape, strides, offset in (
            ((3, 4), (1, 3), 2), ((2, 3, 4), (12, 4, 1), 0), ((5,), (2,), 1), ((), (), 7),
            ((3, 4), (1, 1), 0), ((0, 4), (4, 1), 0), ((2, 5), (0, 1), 3),
        ):  # fmt: skip
            yield Sample((x,), {"shape": shape, "strides": strides, "offset": offset})
        bad = (RuntimeError, "mismatch in length of strides")
        yield Sample((x,), {"shape": (2,), "strides": (1, 1), "offset": 0}, error=bad)


class StridedUpdate(Op):
    """A vector with the elements that `as_strided` shows replaced by, or increased by, others.

    Where two of them are one element of the vector the later one stays.
    """

    name = "calque.strided_update"
    ATTRS = {"strides": DIMS, "offset": DIM, "accumulate": BOOL}

    @classmethod
    def infer(cls, *metas: TensorMeta, strides: Shape, offset: Dim, accumulate: bool) -> TensorMeta:
        base, new = metas
        if base.rank != 1 or new.rank != len(strides) or new.dtype is not base.dtype:
            raise runtime_error(f"strided_update: {new} with strides {strides} into {base}")
        return base

    @staticmethod
    def REFERENCE(
        base: np.ndarray, new: np.ndarray, strides: tuple[int, ...], offset: int, accumulate: bool
    ) -> np.ndarray:
        out = base.copy()
        at = places(new.shape, strides, offset)
        if accumulate:
            np.add.at(out, at, new)
        else:
            out[at] = new
        return out

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .creation import full

        (g,), new, attrs = cotangents, node.operand_metas[1], node.attrs
        seen = {"shape": new.shape, "strides": attrs["strides"], "offset": attrs["offset"]}
        base = g
        if not attrs["accumulate"] and node.needs[0]:
            base = bind(cls, (g, full(new.shape, 0, new.dtype, g)), dict(attrs))
        return base, bind(AsStrided, (g,), seen) if node.needs[1] else None

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        (base, new), attrs = node.operands, node.attrs
        shape = node.operand_metas[1].shape
        strides = [b.size(s) for s in attrs["strides"]]
        offset = b.size(attrs["offset"])

        def write(carried: SSAValue, at: Sequence[SSAValue]) -> SSAValue:
            place = _place(b.scalars, at, strides, offset)
            value = b.element(new, at)
            if attrs["accumulate"]:
                value = b.scalars.add(b.element(carried, [place]), value)
            return b.insert_element(value, carried, [place])

        return [b.nest(shape, b.value(base), write)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        x = np.arange(24, dtype=np.float32)
        for shape, strides, offset in (((3, 4), (1, 3), 2), ((5,), (2,), 1), ((), (), 7)):
            new = -np.ones(shape, np.float32)
            for accumulate in (False, True):
                attrs = {"strides": strides, "offset": offset, "accumulate": accumulate}
                yield Sample((x, new), attrs)
        attrs = {"strides": (1, 1), "offset": 0, "accumulate": False}
        bad = (RuntimeError, "strided_update")
        yield Sample((x, np.ones(2, np.float32)), attrs, error=bad)


def places(shape: Sequence[int], strides: Sequence[int], offset: int) -> np.ndarray:
    """The positions in the vector that a strided view shows."""
    at = np.full(tuple(shape), offset)
    for d, stride in enumerate(strides):
        line = np.arange(shape[d]) * stride
        at = at + line.reshape([-1 if i == d else 1 for i in range(len(shape))])
    return at


def _where(attrs: Any) -> dict[str, Any]:
    return {"strides": attrs["strides"], "offset": attrs["offset"]}


def _place(
    s: ScalarBuilder, indices: Sequence[SSAValue], strides: Sequence[SSAValue], offset: SSAValue
) -> SSAValue:
    place = offset
    for index, stride in zip(indices, strides, strict=True):
        place = s.add(place, s.mul(index, stride))
    return place


def as_strided(x: Value, shape: Sequence[Dim], strides: Sequence[Dim], offset: Dim = 0) -> Value:
    """A strided view of the elements of x, counted in row-major order."""
    from .view import reshape

    m = meta(x)
    flat = x if m.rank == 1 else reshape(x, (m.numel,))
    attrs = {"shape": tuple(shape), "strides": tuple(strides), "offset": offset}
    if same_shape(shape, meta(flat).shape) and AsStrided.is_identity(attrs):
        return flat
    return bind(AsStrided, (flat,), attrs)


OPS: tuple[type[Op], ...] = (AsStrided, StridedUpdate)
