"""What fusion needs to know of each operator."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

from xdsl.ir import Block, Operation, SSAValue

from ..ir.op import Op
from ..ir.ops._elementwise import Elementwise
from ..ir.ops.activation import Relu
from ..ir.ops.argreduce import ArgReduction
from ..ir.ops.arithmetic import Add, Mul, Neg, Sub
from ..ir.ops.bitwise import Bitwise, BitwiseNot
from ..ir.ops.casting import Cast, Select
from ..ir.ops.comparison import Comparison
from ..ir.ops.conv import Conv
from ..ir.ops.creation import Constant, Iota, Size
from ..ir.ops.index import CheckIndex, Gather, Take
from ..ir.ops.matmul import Matmul
from ..ir.ops.pool import Pool
from ..ir.ops.random import RandomBits
from ..ir.ops.range import CheckRange
from ..ir.ops.reduce import Reduction
from ..ir.ops.scatter import Update
from ..ir.ops.shape import Concatenate, Pad
from ..ir.ops.slice import Slice
from ..ir.ops.view import BroadcastTo, Reshape, Transpose
from ..ir.reshape import groups
from ..ir.sym import Dim
from ..ir.types import Shape, meta_of

Kind = Literal["free", "map", "lookup", "reduce", "matmul", "conv", "pool", "scatter", "generic"]

# In the order in which they are asked: the first base class that fits decides.
_KINDS: tuple[tuple[type[Op], Kind], ...] = (
    (Constant, "free"),
    (Iota, "free"),
    (Size, "free"),
    (BroadcastTo, "free"),
    (Reshape, "free"),
    (Transpose, "free"),
    (Slice, "free"),
    (Elementwise, "map"),
    (RandomBits, "lookup"),
    (CheckIndex, "lookup"),
    (CheckRange, "lookup"),
    (Take, "lookup"),
    (Gather, "lookup"),
    (Pad, "lookup"),
    (Concatenate, "lookup"),
    (Reduction, "reduce"),
    (ArgReduction, "reduce"),
    (Matmul, "matmul"),
    (Conv, "conv"),
    (Pool, "pool"),
    (Update, "scatter"),
)
_known: dict[type[Op], Kind] = {}


def kind_of(op: Op) -> Kind:
    """How an operator takes part in fusion.

    "free" ones are computed again wherever they are read: views and constants. "map" and "lookup"
    compute each element from a few others; a lookup reads at computed indices, or can fail.
    """
    found = _known.get(type(op))
    if found is None:
        kinds: list[Kind] = [k for c, k in _KINDS if issubclass(type(op), c)]
        found = _known[type(op)] = kinds[0] if kinds else "generic"
    return found


CHEAP = (Comparison, Select, Cast, Add, Sub, Mul, Neg, Bitwise, BitwiseNot, Relu)


def computes_from_nothing(op: Op, known: Container[Operation | Block]) -> bool:
    """Whether a cheap elementwise operator reads only constants, indices, and values of that
    kind (`known`): a causal mask, for instance."""
    if not isinstance(op, CHEAP):
        return False
    for v in op.operands:
        source = v.owner
        while isinstance(source, BroadcastTo | Reshape):
            source = source.operands[0].owner
        if not isinstance(source, Constant | Iota | Size) and source not in known:
            return False
    return True


def keeps_strides(op: Op) -> bool:
    """Whether a free operator reads memory at constant strides along each of its dimensions."""
    if not isinstance(op, Reshape):
        return isinstance(op, Transpose | BroadcastTo | Slice)
    source, target = meta_of(op.operands[0]).shape, meta_of(op.results[0]).shape
    if 0 in source or 0 in target:
        return False
    return all(sum(not _is_one(source[i]) for i in of) <= 1 for of, _ in groups(source, target))


# How a value is read through free operators: the same elements in the same order, each row's
# value once per element of the row, or in any other way.
SAME, ROW, OTHER = 0, 1, 2


def relation(op: Op) -> int:
    """How a free operator changes the reading of its operand."""
    if isinstance(op, Reshape):
        return SAME
    if isinstance(op, BroadcastTo):
        return broadcast_relation(meta_of(op.operands[0]).shape, meta_of(op.results[0]).shape)
    return OTHER


def broadcast_relation(source: Shape, target: Shape) -> int:
    """SAME, ROW where only trailing dimensions are repeated, else OTHER."""
    lead = len(target) - len(source)
    repeated = [i < lead or source[i - lead] != d for i, d in enumerate(target) if not _is_one(d)]
    if not any(repeated):
        return SAME
    return ROW if all(repeated[repeated.index(True) :]) else OTHER


def _is_one(d: Dim) -> bool:
    return isinstance(d, int) and d == 1


def reduces_rows(op: Op) -> bool:
    """Whether a reduction takes trailing dimensions only, so that each row gives one value."""
    shape = meta_of(op.operands[0]).shape
    attrs = op.attrs
    dims = attrs["dims"] if "dims" in attrs else (attrs["dim"],)
    taken = {d % len(shape) for d in dims} if shape else set()
    flags = [i in taken for i, d in enumerate(shape) if not _is_one(d)]
    return not any(flags) or all(flags[flags.index(True) :])


def sources_of(op: Op) -> set[SSAValue]:
    """What a reduction reads: its operand, and what an elementwise operator makes that of."""
    found = {unshaped(op.operands[0])}
    inner = unshaped(op.operands[0]).owner
    if isinstance(inner, Op) and kind_of(inner) == "map":
        found.update(unshaped(v) for v in inner.operands)
    return found


def unshaped(value: SSAValue) -> SSAValue:
    """The value that a chain of reshapes starts from."""
    while isinstance(value.owner, Reshape):
        value = value.owner.operands[0]
    return value


def dims_of(op: Op) -> object:
    """The dimensions that a reduction takes."""
    attrs = op.attrs
    return attrs.get("dims", attrs.get("dim"))
