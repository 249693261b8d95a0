"""Vectors in kernels for a GPU: a thread's access of up to 16 bytes is one instruction if it is
aligned."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from xdsl.dialects import arith, func, memref, scf, vector
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AnyFloat,
    IntegerAttr,
    IntegerType,
    MemRefType,
    NoneAttr,
    VectorType,
    i64,
)
from xdsl.ir import Attribute, Block, BlockArgument, SSAValue

from ...ir.target import Target
from .emit import is_row
from .expr import Expr, Load, Memory
from .index import Atom, Ix, coefficient

WIDEST, ALIGNED = 16, 64
"""Bytes of the widest access, and to which arrays are aligned."""


def vector_width(
    target: Target,
    loop: Atom,
    expressions: Sequence[Expr],
    stores: Sequence[tuple[Memory, Sequence[Ix]]] = (),
    *,
    tail: bool = False,
) -> int:
    """Iterations of a loop that a thread takes at once: as many as one access brings, if rows of
    contiguous arrays are all that the loop runs along, and 1 otherwise. It divides the length of
    the loop; with an unknown length there is more than 1 only if that must be the length of
    whole arrays, so that vectors are aligned, and `tail` says that a rest is taken care of."""
    accesses = [(x.memory, x.indices, x.guards) for x in expressions if isinstance(x, Load)]
    accesses += [(memory, tuple(indices), ()) for memory, indices in stores]
    bits = 0
    for memory, indices, guards in accesses:
        steps = [coefficient(i, loop) for i in indices]
        if all(s is not None and not s.terms for s in steps):
            continue
        if guards or not memory.contiguous or not is_row(memory, steps):
            return 1
        bits = max(bits, size_of(memory.element) * 8)
    extent = loop.extent.constant
    if extent is None and not (tail and all(len(m.shape) == 1 for m, _, _ in accesses)):
        return 1
    width = target.width(bits) if bits else 1
    while extent is not None and extent % width:
        width //= 2
    return width


def size_of(element: Attribute) -> int:
    """Bytes of an element in memory."""
    return -(-element.bitwidth // 8) if isinstance(element, AnyFloat | IntegerType) else 8


def state_alignment(kernel: func.FuncOp) -> None:
    """Note on the vector accesses of a kernel how they are aligned, as far as can be told."""
    for op in kernel.walk():
        if isinstance(op, vector.LoadOp):
            base, indices, accessed = op.base, op.indices, op.result.type
        elif isinstance(op, vector.StoreOp):
            base, indices, accessed = op.base, op.indices, op.vector.type
        else:
            continue
        assert isinstance(accessed, VectorType)
        element = size_of(accessed.element_type)
        together = min(WIDEST, accessed.get_shape()[0] * element)
        aligned = gcd(_alignment(base, list(indices), element), together)
        if aligned > element:
            op.attributes["alignment"] = IntegerAttr(aligned, i64)


def _alignment(base: SSAValue, indices: Sequence[SSAValue], element: int) -> int:
    """Bytes that divide the address of an access; 1 if nothing is known."""
    source = base
    while isinstance(source.owner, memref.CollapseShapeOp | memref.ExpandShapeOp):
        source = source.owner.operands[0]
    type_ = base.type
    assert isinstance(type_, MemRefType)
    whole = isinstance(source.owner, Block | memref.AllocaOp)
    if not whole or not isinstance(type_.layout, NoneAttr):
        return 1
    aligned, stride = ALIGNED, 1
    for extent, index in zip(reversed(type_.get_shape()), reversed(indices), strict=True):
        aligned = gcd(aligned, _divisor(index) * stride * element)
        stride *= 1 if extent == DYNAMIC_INDEX else extent
    return aligned


def _divisor(value: SSAValue) -> int:
    """A number, at most `ALIGNED`, that divides an index."""
    op = value.owner
    match op:
        case arith.ConstantOp() if isinstance(op.value, IntegerAttr):
            return gcd(op.value.value.data, ALIGNED)
        case arith.AddiOp() | arith.SubiOp() | arith.MinSIOp() | arith.MaxSIOp():
            return gcd(*map(_divisor, op.operands))
        case arith.MuliOp():
            return gcd(_divisor(op.lhs) * _divisor(op.rhs), ALIGNED)
        case Block() if isinstance(value, BlockArgument):
            return _divisor_of_argument(value, op)
        case _:
            return 1


def _divisor_of_argument(value: BlockArgument, block: Block) -> int:
    """Of the index of a loop: what divides where it starts and its step."""
    loop = block.parent_op()
    if isinstance(loop, scf.ForOp) and value.index == 0:
        return gcd(_divisor(loop.lb), _divisor(loop.step))
    if isinstance(loop, scf.ParallelOp):
        number = value.index
        return gcd(_divisor(loop.lowerBound[number]), _divisor(loop.step[number]))
    return 1
