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

from .complete import complete_xdsl
from .op import Op
from .ops.argreduce import OPS as ARGREDUCE
from .ops.control import OPS as CONTROL
from .ops.control import Yield
from .ops.conv import OPS as CONV
from .ops.creation import OPS as CREATION
from .ops.custom import OPS as CUSTOM
from .ops.elementwise import OPS as ELEMENTWISE
from .ops.index import OPS as INDEX
from .ops.matmul import OPS as MATMUL
from .ops.pool import OPS as POOL
from .ops.product import OPS as PRODUCT
from .ops.random import OPS as RANDOM
from .ops.range import OPS as RANGE
from .ops.reduce import OPS as REDUCE
from .ops.scan import OPS as SCAN
from .ops.scatter import OPS as SCATTER
from .ops.shape import OPS as SHAPE
from .ops.slice import OPS as SLICE
from .ops.softmax import OPS as SOFTMAX
from .ops.strided import OPS as STRIDED
from .ops.view import OPS as VIEW
from .tile import Tile
from .types import DimAttr, TensorEncoding

ALL_OPS: tuple[type[Op], ...] = (
    *CREATION,
    *ELEMENTWISE,
    *VIEW,
    *SLICE,
    *STRIDED,
    *REDUCE,
    *ARGREDUCE,
    *PRODUCT,
    *SHAPE,
    *MATMUL,
    *SOFTMAX,
    *CONV,
    *POOL,
    *INDEX,
    *SCATTER,
    *RANDOM,
    *RANGE,
    *CONTROL,
    *SCAN,
    *CUSTOM,
)
BY_NAME: dict[str, type[Op]] = {op.name: op for op in ALL_OPS}

Calque = Dialect("calque", [*ALL_OPS, Yield], [DimAttr, TensorEncoding])


def context() -> Context:
    """A context with our dialects and the standard ones that the stages use."""
    complete_xdsl()
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
