"""Where the extremes are: `argmax` and `argmin`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import BOOL, INT
from ..errors import index_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..pointwise import BodyBuilder
from ..sym import Dim
from ..types import TensorMeta
from ._common import normalize_dim
from .reduce import accumulating, cast_lowered, extreme, reduced
from .view import reshape


class ArgReduction(Op):
    """Base of `argmax` and `argmin`: the int64 index along `dim` of the first extreme element."""

    ATTRS = {"dim": INT, "keepdim": BOOL}

    @classmethod
    def infer(cls, *metas: TensorMeta, dim: int, keepdim: bool) -> TensorMeta:
        (x,) = metas
        if not x.rank:
            raise index_error(f"'{cls.name}' needs a dimension")
        result = reduced(x, (dim,), keepdim)
        if isinstance(x.shape[dim], int) and x.shape[dim] == 0:
            name = cls.name.removeprefix("calque.")
            raise index_error(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
        return result.with_dtype(dt.int64)

    @classmethod
    def work(cls, node: Node) -> Dim:
        return node.operand_metas[0].numel

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for scalar in (np.float32, np.float64, np.int64, np.bool_, np.uint8):
            for shape, dim in (((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 1), 1), ((0, 3), 1)):
                x = np.abs(rng.standard_normal(shape) * 3).astype(scalar)
                yield Sample((x,), {"dim": dim, "keepdim": dim == 0})
        ties = np.array([[1, 2, 2], [np.nan, 3, np.nan], [-np.inf, -np.inf, 0]], np.float32)
        yield Sample((ties,), {"dim": 1, "keepdim": False})
        yield Sample((ties,), {"dim": 0, "keepdim": True})
        error = (IndexError, "Expected reduction dim 0 to have non-zero size.")
        yield Sample((ties[:0],), {"dim": 0, "keepdim": False}, error=error)


class Argmax(ArgReduction):
    """The index of the first largest element along `dim`; NaN is the largest."""

    name = "calque.argmax"

    @staticmethod
    def REFERENCE(x: np.ndarray, dim: int, keepdim: bool) -> np.ndarray:
        return np.argmax(x, axis=dim, keepdims=keepdim)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [_lower_arg(b, node, "gt", -1)]


class Argmin(ArgReduction):
    """The index of the first smallest element along `dim`; NaN is the smallest."""

    name = "calque.argmin"

    @staticmethod
    def REFERENCE(x: np.ndarray, dim: int, keepdim: bool) -> np.ndarray:
        return np.argmin(x, axis=dim, keepdims=keepdim)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [_lower_arg(b, node, "lt", 1)]


def _lower_arg(b: LinalgBuilder, node: Node, predicate: str, sign: int) -> Tensor:
    """Reduce (element, index) pairs; the order of combination does not matter.

    An element wins if it is better, or as good and earlier. NaN is better than anything else.
    """
    (x,), (source,), (out,) = node.operands, node.operand_metas, node.result_metas
    dim, is_float = node.attrs["dim"], source.dtype.is_floating_point
    wide, index = cast_lowered(b, x, accumulating(source)), source.with_dtype(dt.int64)
    indices = b.pointwise(index, (), body=lambda s: s.cast(s.index(dim), dt.int64.element))

    def body(
        s: BodyBuilder, element: SSAValue, at: SSAValue, best: SSAValue, best_at: SSAValue
    ) -> tuple[SSAValue, SSAValue]:
        better, equal = s.compare(predicate, element, best), s.compare("eq", element, best)
        if is_float:
            new, old = s.isnan(element), s.isnan(best)
            better = s.or_(better, s.and_(new, s.xor(old, s.like(True, old))))
            equal = s.or_(equal, s.and_(new, old))
        wins = s.or_(better, s.and_(equal, s.compare("lt", at, best_at)))
        return s.select(wins, element, best), s.select(wins, at, best_at)

    _, found = b.reduce(
        [wide, indices],
        [dim],
        [accumulating(out.with_dtype(source.dtype)), out],
        [extreme(source.dtype, sign), extreme(dt.int64, 1)],
        body,
        unsigned=source.dtype.kind == "u",
    )
    return found


def _arg(op: type[ArgReduction], x: Value, dim: int | None, keepdim: bool) -> Value:
    m = meta(x)
    if dim is None or not m.rank:
        if dim is not None:
            normalize_dim(dim, 0)
        out = bind(op, (reshape(x, (m.numel,)),), {"dim": 0, "keepdim": False})
        return reshape(out, (1,) * m.rank) if keepdim else out
    return bind(op, (x,), {"dim": normalize_dim(dim, m.rank), "keepdim": keepdim})


def argmax(x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """The int64 index of the first largest element along `dim`, or in the flattened tensor."""
    return _arg(Argmax, x, dim, keepdim)


def argmin(x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """The int64 index of the first smallest element along `dim`, or in the flattened tensor."""
    return _arg(Argmin, x, dim, keepdim)


OPS: tuple[type[Op], ...] = (Argmax, Argmin)
