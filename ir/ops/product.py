"""Products over any dimensions, and their gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .. import dtype as dt
from ..attrs import INTS
from ..dtype import DType
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..scalar import ScalarBuilder
from ..sym import Dim
from ..types import TensorMeta
from ._common import normalize_dims
from ._elementwise import torch_name
from .arithmetic import div, mul
from .casting import where
from .comparison import eq
from .creation import iota
from .reduce import (
    Dims,
    Reduction,
    accumulator,
    lower_reduction,
    reduce_,
    reduced,
    spread_back,
    sum,
    widened,
)
from .view import broadcast_to, inverse, permute, reshape


class Prod(Reduction):
    """The product over `dims`; 16-bit floats are multiplied in float32 and rounded at the end."""

    name = "calque.prod"
    SAVED = ((0,), ())

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return np.prod(x, axis=dims, keepdims=keepdim, dtype=accumulator(x.dtype))

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        if not node.attrs["dims"]:
            return (cotangents[0],)
        others = exclusive_prod(node.operands[0], node.attrs["dims"])
        return (mul(spread_back(node, cotangents[0]), others),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [lower_reduction(b, node, 1, ScalarBuilder.mul)]


class ExclusiveProd(Op):
    """For each element the product of all others along `dims`: the slope of `prod`.

    An op because its value and its own gradient are computed differently: dividing the whole
    product by each element is quick, but says nothing of second derivatives at zeros.
    """

    name = "calque.exclusive_prod"
    ATTRS = {"dims": INTS}
    SAVED = ((0,), ())

    @classmethod
    def infer(cls, *metas: TensorMeta, dims: tuple[int, ...]) -> TensorMeta:
        (x,) = metas
        if not x.dtype.is_floating_point:
            raise runtime_error(f"\"exclusive_prod\" not implemented for '{torch_name(x.dtype)}'")
        reduced(x, dims, True)
        return x

    @classmethod
    def work(cls, node: Node) -> Dim:
        return 2 * node.result_metas[0].numel

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
        out = np.empty(x.shape, accumulator(x.dtype))
        for index in np.ndindex(x.shape):
            others = x.astype(out.dtype)
            others[index] = 1
            along = tuple(slice(None) if d in dims else i for d, i in enumerate(index))
            out[index] = np.prod(others[along])
        return out

    @classmethod
    def decompose(cls, *operands: Value, dims: tuple[int, ...]) -> Value:
        # With one zero only its own element has a product of others; with two none has.
        (x,) = operands
        zero = eq(x, 0)
        filled = where(zero, 1, x)
        rest = div(prod(filled, dims, keepdim=True), filled)
        zeros = sum(zero, dims, keepdim=True)
        alone = where(zero, eq(zeros, 1), eq(zeros, 0))
        return where(alone, rest, 0)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        # Row i of a square holds the elements with a one in place of the i-th. Its product is what
        # this op computes, and `prod` knows its derivative. Along several dimensions at once the
        # rows run over the flattened ones.
        (g,), (x,), dims = cotangents, node.operands, node.attrs["dims"]
        rows, slopes = _rows(x, dims), _rows(g, dims)
        shape = meta(rows).shape
        count = shape[-1]
        indices = iota(count, dt.int64, x)
        own = eq(reshape(indices, (count, 1)), reshape(indices, (1, count)))
        square = (*shape[:-1], count, count)
        filled = where(own, 1, broadcast_to(reshape(rows, (*shape[:-1], 1, count)), square))
        spread = broadcast_to(reshape(slopes, (*shape[:-1], count, 1)), square)
        each = mul(spread, exclusive_prod(filled, (len(square) - 1,)))
        total = sum(where(own, 0, each), (len(square) - 2,))
        return (_unrows(total, meta(x), dims),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for shape, dims in (((4,), (0,)), ((2, 3), (1,)), ((2, 2, 2), (0, 2)), ((0, 2), (1,))):
            yield Sample((rng.uniform(0.5, 2, shape).astype(np.float32),), {"dims": dims})
        x = np.array([[1, 0, 2], [0, 0, 3], [4, 5, 6], [0, 0, 0]], np.float64)
        yield Sample((x,), {"dims": (1,)})
        error = (RuntimeError, "not implemented for 'Long'")
        yield Sample((np.ones(3, np.int64),), {"dims": (0,)}, error=error)


def _order(rank: int, dims: tuple[int, ...]) -> list[int]:
    return [i for i in range(rank) if i not in dims] + list(dims)


def _rows(x: Value, dims: tuple[int, ...]) -> Value:
    """x with `dims` moved to the end and made one."""
    m = meta(x)
    count = m.with_shape([m.shape[d] for d in dims]).numel
    kept = [d for i, d in enumerate(m.shape) if i not in dims]
    return reshape(permute(x, _order(m.rank, dims)), (*kept, count))


def _unrows(rows: Value, m: TensorMeta, dims: tuple[int, ...]) -> Value:
    """The tensor of meta `m` whose `_rows` are given."""
    order = _order(m.rank, dims)
    return permute(reshape(rows, [m.shape[i] for i in order]), inverse(order))


def prod(x: Value, dims: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The product over `dims` (None: all); bools and integers give int64."""
    return reduce_(Prod, widened(x, dtype), dims, keepdim)


def exclusive_prod(x: Value, dims: Dims = None) -> Value:
    """For each element the product of all others along `dims`."""
    return bind(ExclusiveProd, (x,), {"dims": normalize_dims(dims, meta(x).rank)})


OPS: tuple[type[Op], ...] = (Prod, ExclusiveProd)
