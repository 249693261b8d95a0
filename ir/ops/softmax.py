"""Softmax and its relatives, means and variances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .. import dtype as dt
from ..attrs import INT
from ..dtype import DType
from ..errors import index_error, runtime_error
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, smax
from ..types import TensorMeta
from ._common import normalize_dim
from ._elementwise import torch_name
from .arithmetic import add, div, maximum, mul, square, sub
from .casting import cast, detach, where
from .comparison import isfinite
from .creation import size
from .exponential import exp, log, sqrt
from .reduce import Dims, amax, count, every_dim, reduced, sum
from .view import reshape


class Normalizing(Op):
    """Base of the operators that normalize along one dimension."""

    ATTRS = {"dim": INT}
    SAVED = ((), (0,))

    @classmethod
    def infer(cls, *metas: TensorMeta, dim: int) -> TensorMeta:
        (x,) = metas
        if not x.dtype.is_floating_point:
            name = cls.name.removeprefix("calque.")
            raise runtime_error(f"\"{name}\" not implemented for '{torch_name(x.dtype)}'")
        if normalize_dim(dim, x.rank) != dim or not x.rank:
            raise index_error(f"'{cls.name}' needs a dimension from 0 to {x.rank - 1}, not {dim}")
        return x

    @classmethod
    def work(cls, node: Node) -> Dim:
        return 5 * node.result_metas[0].numel  # maximum, difference, exp, sum, quotient

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for shape, dim in (((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 1, 3), 1), ((0, 3), 1),
                           ((2, 0), 1), ((2, 37), 1)):  # fmt: skip
            for scalar in (np.float32, np.float64):
                yield Sample((rng.standard_normal(shape).astype(scalar),), {"dim": dim})
        yield Sample((rng.standard_normal((3, 5)).astype(np.float16),), {"dim": 1})
        rows = [[1e4, 0, -1e4], [-np.inf, 0, 1], [-np.inf] * 3, [np.inf, 0, 1], [np.nan, 0, 1]]
        yield Sample((np.array(rows, np.float32),), {"dim": 1}, grad=False)
        error = (RuntimeError, "not implemented for 'Long'")
        yield Sample((np.ones(3, np.int64),), {"dim": 0}, error=error)
        yield Sample((np.ones(3, np.float32),), {"dim": 1}, error=(IndexError, "out of range"))


class Softmax(Normalizing):
    """e to the x, divided by its sum along `dim`."""

    name = "calque.softmax"

    @staticmethod
    def REFERENCE(x: np.ndarray, dim: int) -> np.ndarray:
        wide = x.astype(np.float64)
        powers = np.exp(wide - np.max(wide, dim, keepdims=True, initial=-np.inf))
        return powers / np.sum(powers, dim, keepdims=True)

    @classmethod
    def decompose(cls, *operands: Value, dim: int) -> Value:
        (x,) = operands
        powers = exp(sub(_single(x), _peak(x, dim)))
        share = div(1.0, sum(powers, dim, keepdim=True))  # one quotient for each row
        return cast(mul(powers, share), meta(x).dtype)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (out,), dim = cotangents, node.results, node.attrs["dim"]
        return (mul(out, sub(g, sum(mul(g, out), dim, keepdim=True))),)


class LogSoftmax(Normalizing):
    """The logarithm of `softmax`, which stays finite where that rounds to 0."""

    name = "calque.log_softmax"

    @staticmethod
    def REFERENCE(x: np.ndarray, dim: int) -> np.ndarray:
        wide = x.astype(np.float64)
        moved = wide - np.max(wide, dim, keepdims=True, initial=-np.inf)
        return moved - np.log(np.sum(np.exp(moved), dim, keepdims=True))

    @classmethod
    def decompose(cls, *operands: Value, dim: int) -> Value:
        (x,) = operands
        moved = sub(_single(x), _peak(x, dim))
        return cast(sub(moved, log(sum(exp(moved), dim, keepdim=True))), meta(x).dtype)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (out,), dim = cotangents, node.results, node.attrs["dim"]
        return (sub(g, mul(exp(out), sum(g, dim, keepdim=True))),)


def _single(x: Value) -> Value:
    """A 16-bit float as float32, in which sums of many are taken."""
    return cast(x, dt.float32) if meta(x).dtype.bits == 16 else x


def _peak(x: Value, dim: int) -> Value:
    """The largest element along `dim`, kept as size one; 0 where there is none."""
    shape = meta(x).shape
    if isinstance(shape[dim], int) and shape[dim] == 0:
        return sum(_single(x), dim, keepdim=True)
    return _single(amax(x, dim, keepdim=True))


def _normalized(op: type[Op], x: Value, dim: int, dtype: DType | None) -> Value:
    x = x if dtype is None else cast(x, dtype)
    m = meta(x)
    d = normalize_dim(dim, m.rank)
    if not m.rank:
        return reshape(bind(op, (reshape(x, (1,)),), {"dim": d}), ())
    return bind(op, (x,), {"dim": d})


def softmax(x: Value, dim: int, dtype: DType | None = None) -> Value:
    """e to the x, divided by its sum along `dim`; x is cast to `dtype` first where given."""
    return _normalized(Softmax, x, dim, dtype)


def log_softmax(x: Value, dim: int, dtype: DType | None = None) -> Value:
    """The logarithm of `softmax`; x is cast to `dtype` first where given."""
    return _normalized(LogSoftmax, x, dim, dtype)


def logsumexp(x: Value, dims: Dims, keepdim: bool = False) -> Value:
    """The logarithm of the sum of e to the x over `dims`, without overflow."""
    m = meta(x)
    if not m.dtype.is_floating_point:
        x = cast(x, dt.float32)
        m = meta(x)
    wide = _single(x)
    # The peak only scales; where it is infinite nothing needs scaling.
    peak = detach(amax(wide, dims, keepdim=True))
    peak = where(isfinite(peak), peak, 0)
    out = add(log(sum(exp(sub(wide, peak)), dims, keepdim=True)), peak)
    if not keepdim:
        out = reshape(out, reduced(m, every_dim(dims, m.rank), False).shape)
    return cast(out, m.dtype)


def mean(x: Value, dims: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The mean over `dims` (None or empty: all). Raises RuntimeError for integers, as PyTorch."""
    x = x if dtype is None else cast(x, dtype)
    m = meta(x)
    if not m.dtype.is_floating_point:
        raise runtime_error(
            "mean(): could not infer output dtype. Input dtype must be either a floating point "
            f"or complex dtype. Got: {torch_name(m.dtype)}"
        )
    total = sum(_single(x), dims, keepdim)
    return cast(div(total, size(count(x, dims), x)), m.dtype)


def var(x: Value, dims: Dims = None, correction: int | float = 1, keepdim: bool = False) -> Value:
    """The variance over `dims`: squared distances from the mean over (count - correction)."""
    m = meta(x)
    if not m.dtype.is_floating_point:
        raise runtime_error("std and var only support floating point and complex dtypes")
    wide = _single(x)
    distance = sub(wide, mean(wide, dims, keepdim=True))
    total = sum(square(distance), dims, keepdim)
    return cast(div(total, _degrees(count(x, dims), correction, x)), m.dtype)


def _degrees(elements: Dim, correction: int | float, like: Value) -> Value | float:
    """max(0, elements - correction), as a number or a 0-d tensor."""
    if isinstance(correction, int):
        return size(smax(elements - correction, 0), like)
    if isinstance(elements, int):
        return max(0.0, elements - correction)
    return maximum(sub(size(elements, like), correction), 0)


def std(x: Value, dims: Dims = None, correction: int | float = 1, keepdim: bool = False) -> Value:
    """The square root of `var`."""
    return sqrt(var(x, dims, correction, keepdim))


OPS: tuple[type[Op], ...] = (Softmax, LogSoftmax)
