"""The `calque` dialect: every operator, listed; and contexts that know what our text uses."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects import (
    arith,
    bufferization,
    builtin,
    cf,
    func,
    linalg,
    math,
    memref,
    scf,
    tensor,
    vector,
)
from xdsl.ir import Dialect

from .op import Op
from .ops import conv, creation, elementwise, index, pool, random, reduce, scatter, view
from .tile import Tile
from .types import DimAttr, TensorEncoding
from .vectorarith import allow_vectors

ALL_OPS: tuple[type[Op], ...] = (
    *creation.OPS,
    *elementwise.OPS,
    *view.OPS,
    *reduce.OPS,
    *conv.OPS,
    *pool.OPS,
    *index.OPS,
    *scatter.OPS,
    *random.OPS,
)
BY_NAME: dict[str, type[Op]] = {op.name: op for op in ALL_OPS}

Calque = Dialect("calque", list(ALL_OPS), [DimAttr, TensorEncoding])


def context() -> Context:
    """A context with our dialects and the standard ones that the stages use."""
    allow_vectors()
    ctx = Context()
    for dialect in (
        builtin.Builtin,
        func.Func,
        arith.Arith,
        math.Math,
        tensor.Tensor,
        linalg.Linalg,
        scf.Scf,
        cf.Cf,
        memref.MemRef,
        vector.Vector,
        bufferization.Bufferization,
        Calque,
        Tile,
    ):
        ctx.load_dialect(dialect)
    return ctx
