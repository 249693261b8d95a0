"""Reductions over any dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..attrs import BOOL, INTS
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim
from ..types import TensorMeta
from ._common import normalize_dims


class Sum(Op):
    """The sum over `dims`."""

    name = "calque.sum"
    ATTRS = {"dims": INTS, "keepdim": BOOL}

    @classmethod
    def infer(cls, *metas: TensorMeta, dims: tuple[int, ...], keepdim: bool) -> TensorMeta:
        return reduced(metas[0], dims, keepdim)

    @staticmethod
    def REFERENCE(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
        return np.sum(x, axis=dims, keepdims=keepdim, dtype=x.dtype)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .view import broadcast_to

        (g,), x = cotangents, node.operand_metas[0]
        return (broadcast_to(g, x.shape),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        (x,), out = node.operands, node.result_metas[0]
        return [b.reduce(x, node.attrs["dims"], out, 0, lambda s, e, total: s.add(total, e))]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for shape, dims in (((5,), (0,)), ((3, 4), (1,)), ((3, 0), (1,))):
            for keepdim in (False, True):
                x = rng.standard_normal(shape).astype(np.float32)
                yield Sample((x,), {"dims": dims, "keepdim": keepdim})


def reduced(x: TensorMeta, dims: tuple[int, ...], keepdim: bool) -> TensorMeta:
    """The meta after reducing `dims`."""
    dims = normalize_dims(dims, x.rank)
    if keepdim:
        return x.with_shape([1 if i in dims else d for i, d in enumerate(x.shape)])
    return x.with_shape([d for i, d in enumerate(x.shape) if i not in dims])


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
    return bind(Sum, (kept,), {"dims": tuple(range(lead)), "keepdim": False})


OPS: tuple[type[Op], ...] = (Sum,)
