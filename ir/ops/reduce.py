"""Reductions over any dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import ClassVar

import ml_dtypes
import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import BOOL, INTS
from ..dtype import DType
from ..errors import index_error, runtime_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..scalar import ScalarBuilder
from ..sym import Dim
from ..types import TensorMeta
from ._common import Number, normalize_dims
from ._elementwise import torch_name
from ._fold import uniform
from .arithmetic import div
from .casting import cast, where
from .comparison import eq, truth
from .view import broadcast_to, reshape


class Reduction(Op):
    """Base: one result per index of the dimensions that are kept."""

    ATTRS = {"dims": INTS, "keepdim": BOOL}
    KINDS: ClassVar[str] = "fiu"
    EMPTY: ClassVar[bool] = True  # whether no elements have a result

    @classmethod
    def infer(cls, *metas: TensorMeta, dims: tuple[int, ...], keepdim: bool) -> TensorMeta:
        (x,) = metas
        name = cls.name.removeprefix("calque.")
        if x.dtype.kind not in cls.KINDS:
            raise runtime_error(f"\"{name}\" not implemented for '{torch_name(x.dtype)}'")
        result = reduced(x, dims, keepdim)
        if not cls.EMPTY:
            for d in dims:
                if isinstance(x.shape[d], int) and x.shape[d] == 0:
                    raise index_error(
                        f"{name}(): Expected reduction dim {d} to have non-zero size."
                    )
        return result

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        return (node.operands[0],) if not node.attrs["dims"] else None

    @classmethod
    def work(cls, node: Node) -> Dim:
        return node.operand_metas[0].numel

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        kinds = {"f": (np.float32, np.float64), "i": (np.int64, np.int32), "b": (np.bool_,)}
        for scalar in (t for k in cls.KINDS for t in kinds.get(k, ())):
            for shape, dims in _CASES:
                for keepdim in (False, True):
                    if cls.EMPTY or 0 not in [shape[d] for d in dims]:
                        x = np.asarray(rng.standard_normal(shape) * 2).astype(scalar)
                        yield Sample((x,), {"dims": dims, "keepdim": keepdim})
        attrs = {"dims": (0,), "keepdim": False}
        if "f" in cls.KINDS:
            special = np.array([[1, np.nan], [np.inf, 1], [-np.inf, 2], [-0.0, 0.0]], np.float32)
            yield Sample((special,), attrs, grad=False)
            yield Sample((special,), {"dims": (1,), "keepdim": False}, grad=False)
            for scalar in (np.float16, ml_dtypes.bfloat16):
                yield Sample((rng.standard_normal((3, 5)).astype(scalar),), attrs)
        if "u" in cls.KINDS:
            yield Sample((np.array([[3, 200], [250, 1]], np.uint8),), attrs)
        x = np.zeros((2, 0), np.float32 if "f" in cls.KINDS else np.bool_)
        yield Sample((x,), {"dims": (2,), "keepdim": False}, error=(IndexError, "out of range"))
        if not cls.EMPTY:
            error = (IndexError, "Expected reduction dim 1 to have non-zero size.")
            yield Sample((x,), {"dims": (1,), "keepdim": False}, error=error)


_CASES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((5,), (0,)),
    ((3, 4), (1,)),
    ((3, 4), (0,)),
    ((2, 3, 5), (0, 2)),
    ((2, 1, 3), (0, 1, 2)),
    ((1, 37), (1,)),
    ((3, 0), (1,)),
    ((0, 3), (1,)),
    ((), ()),
)


class Sum(Reduction):
    """The sum over `dims`; 16-bit floats are added in float32 and rounded at the end."""

    name = "calque.sum"

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return np.sum(x, axis=dims, keepdims=keepdim, dtype=accumulator(x.dtype))

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (spread_back(node, cotangents[0]),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [lower_reduction(b, node, 0, ScalarBuilder.add)]


class Extremum(Reduction):
    """Base of `amax` and `amin`. Elements that tie share the gradient; NaN wins."""

    KINDS = "fiub"
    EMPTY = False
    SAVED = ((0,), (0,))

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        dims = node.attrs["dims"]
        if not dims:
            return (cotangents[0],)
        dtype = node.result_metas[0].dtype
        tied = eq(node.operands[0], spread_back(node, node.results[0]))
        share = div(spread_back(node, cotangents[0]), sum(cast(tied, dtype), dims, keepdim=True))
        return (where(tied, share, 0),)

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        known = uniform(node.operands[0])
        if known is None:
            return super().fold(node)
        return (_constant(known, node),)


class Amax(Extremum):
    """The largest element over `dims`, NaN if there is one."""

    name = "calque.amax"

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return np.max(x, axis=dims, keepdims=keepdim)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        dtype = node.operand_metas[0].dtype
        combine = ScalarBuilder.or_ if dtype is dt.bool_ else ScalarBuilder.maximum
        return [lower_reduction(b, node, extreme(dtype, -1), combine)]


class Amin(Extremum):
    """The smallest element over `dims`, NaN if there is one."""

    name = "calque.amin"

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return np.min(x, axis=dims, keepdims=keepdim)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        dtype = node.operand_metas[0].dtype
        combine = ScalarBuilder.and_ if dtype is dt.bool_ else ScalarBuilder.minimum
        return [lower_reduction(b, node, extreme(dtype, 1), combine)]


class Any_(Reduction):
    """Whether any bool over `dims` is true."""

    name = "calque.any"
    KINDS = "b"

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return np.any(x, axis=dims, keepdims=keepdim)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [lower_reduction(b, node, False, ScalarBuilder.or_)]


class All(Reduction):
    """Whether all bools over `dims` are true."""

    name = "calque.all"
    KINDS = "b"

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return np.all(x, axis=dims, keepdims=keepdim)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [lower_reduction(b, node, True, ScalarBuilder.and_)]


def extreme(dtype: DType, sign: int) -> Number:
    """The largest (sign 1) or smallest (-1) value of a dtype."""
    if dtype.is_floating_point:
        return sign * inf
    if dtype is dt.bool_:
        return sign > 0
    info = np.iinfo(dtype.numpy)
    return int(info.max if sign > 0 else info.min)


def accumulating(m: TensorMeta) -> TensorMeta:
    """The meta in which results are added up: float32 for 16-bit floats."""
    narrow = m.dtype.is_floating_point and m.dtype.bits == 16
    return m.with_dtype(dt.float32) if narrow else m


def cast_lowered(b: LinalgBuilder, x: Tensor, m: TensorMeta) -> Tensor:
    """A lowered tensor of floats in the dtype of `m`."""
    if b.meta(x).dtype is m.dtype:
        return x
    return b.pointwise(m, [x], body=lambda s, e: s.cast(e, m.dtype.element))


def lower_reduction(
    b: LinalgBuilder, node: Node, initial: Number, combine: Callable[..., SSAValue]
) -> Tensor:
    """A reduction by `combine(s, accumulated, element)` from a neutral value."""
    (x,), (source,), (out,) = node.operands, node.operand_metas, node.result_metas
    dims = node.attrs["dims"]
    if not dims:
        return x
    wide = cast_lowered(b, x, accumulating(source))
    total = b.reduce(
        wide,
        dims,
        accumulating(out),
        initial,
        lambda s, element, total: combine(s, total, element),
        unsigned=source.dtype.kind == "u",
    )
    return cast_lowered(b, total, out)


def reduced(x: TensorMeta, dims: tuple[int, ...], keepdim: bool) -> TensorMeta:
    """The meta after reducing `dims`."""
    dims = normalize_dims(dims, x.rank)
    if keepdim:
        return x.with_shape([1 if i in dims else d for i, d in enumerate(x.shape)])
    return x.with_shape([d for i, d in enumerate(x.shape) if i not in dims])


def accumulator(dtype: np.dtype) -> np.dtype | type:
    """The dtype in which elements are added up."""
    return np.float32 if dt.from_numpy(dtype).bits == 16 and dtype.kind not in "iu" else dtype


def _constant(value: np.ndarray, node: Node) -> Value:
    from .creation import constant

    return broadcast_to(constant(value, node.operands[0]), node.result_metas[0].shape)


def spread_back(node: Node, value: Value) -> Value:
    """A value of the result's shape, broadcast to that of the operand."""
    x, dims = node.operand_metas[0], node.attrs["dims"]
    if not node.attrs["keepdim"]:
        value = reshape(value, reduced(x, dims, True).shape)
    return broadcast_to(value, x.shape)


Dims = int | Sequence[int] | None


def reduce_(op: type[Op], x: Value, dims: Dims, keepdim: bool) -> Value:
    return bind(op, (x,), {"dims": every_dim(dims, meta(x).rank), "keepdim": keepdim})


def every_dim(dims: Dims, rank: int) -> tuple[int, ...]:
    """Sorted dimensions; None and the empty list mean all, as in PyTorch's reductions."""
    return normalize_dims(dims if isinstance(dims, int) or dims else None, rank)


def widened(x: Value, dtype: DType | None) -> Value:
    """x in the dtype in which it is summed: bools and integers become int64."""
    if dtype is None:
        dtype = meta(x).dtype
        dtype = dtype if dtype.is_floating_point else dt.int64
    return cast(x, dtype)


def sum(x: Value, dims: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The sum over `dims` (None or empty: all); bools and integers give int64."""
    return reduce_(Sum, widened(x, dtype), dims, keepdim)


def amax(x: Value, dims: Dims = None, keepdim: bool = False) -> Value:
    """The largest element over `dims` (None or empty: all). IndexError where there are none."""
    return reduce_(Amax, x, dims, keepdim)


def amin(x: Value, dims: Dims = None, keepdim: bool = False) -> Value:
    """The smallest element over `dims` (None or empty: all). IndexError where there are none."""
    return reduce_(Amin, x, dims, keepdim)


def any(x: Value, dims: Dims = None, keepdim: bool = False) -> Value:
    """Whether any element over `dims` is nonzero; bool, but uint8 for uint8 as in PyTorch."""
    found = reduce_(Any_, truth(x), dims, keepdim)
    return cast(found, dt.uint8) if meta(x).dtype is dt.uint8 else found


def all(x: Value, dims: Dims = None, keepdim: bool = False) -> Value:
    """Whether all elements over `dims` are nonzero; bool, but uint8 for uint8 as in PyTorch."""
    found = reduce_(All, truth(x), dims, keepdim)
    return cast(found, dt.uint8) if meta(x).dtype is dt.uint8 else found


def sum_to(x: Value, shape: Sequence[Dim]) -> Value:
    """The adjoint of `broadcast_to`: sum over the dimensions that a broadcast repeated."""
    m = meta(x)
    lead = m.rank - len(shape)
    dims = [i for i, d in enumerate(m.shape) if i < lead or (shape[i - lead] == 1 and d != 1)]
    if not dims:
        return x
    kept = bind(Sum, (x,), {"dims": tuple(dims), "keepdim": True})
    if not lead:
        return kept
    return reshape(kept, shape)


def count(x: Value, dims: Dims) -> Dim:
    """How many elements a reduction over `dims` takes."""
    m = meta(x)
    return m.with_shape([m.shape[d] for d in every_dim(dims, m.rank)]).numel


OPS: tuple[type[Op], ...] = (Sum, Amax, Amin, Any_, All)
