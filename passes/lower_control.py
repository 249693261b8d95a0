"""`cond`, `scan` and `while` as scf operations of `@main` around the calls of their bodies' groups.

What is carried is passed along as tensors; a scan reads its sequences by slices and fills its
stacks slice by slice. `calque.dims` on each operation names the sizes of its results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from xdsl.dialects import scf
from xdsl.dialects.builtin import ArrayAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from ..ir.lowering import LinalgBuilder, Tensor, plain_type
from ..ir.ops.control import Cond, Control, While
from ..ir.ops.scan import Scan
from ..ir.types import TensorMeta, meta_of
from .dims import DIMS, dims_attr

# Lowers a block on values for its arguments; gives what it yields.
Lower: TypeAlias = Callable[[Block, Sequence[Tensor]], Sequence[SSAValue]]


def lower_control(
    b: LinalgBuilder, op: Control, operands: Sequence[Tensor], lower: Lower
) -> list[SSAValue]:
    """The results of an operator with regions."""
    values = b.values(operands)
    metas = [meta_of(r) for r in op.results]
    if isinstance(op, Cond):
        made = _if(b, op, values, lower)
    elif isinstance(op, Scan):
        made = _for(b, op, values, metas, lower)
    elif isinstance(op, While):
        made = _while(b, op, values, lower)
    else:
        raise NotImplementedError(f"'{op.name}' in a graph function")
    made.attributes[DIMS] = ArrayAttr[Attribute]([dims_attr(m.shape) for m in metas])
    return [b.track(r, m) for r, m in zip(b.insert(made), metas, strict=True)]


def _block(b: LinalgBuilder, source: Block, values: Sequence[Tensor], lower: Lower) -> Block:
    """A block without arguments that computes `source` on values and yields what it yields."""
    block = Block()
    metas = [meta_of(v) for v in source.last_op.operands] if source.last_op else []
    with b.into(block):
        results = _typed(b, lower(source, values), metas)
        block.add_op(scf.YieldOp.create(operands=results))
    return block


def _typed(
    b: LinalgBuilder, values: Sequence[Tensor], metas: Sequence[TensorMeta]
) -> list[SSAValue]:
    return [b.retype(v, m) for v, m in zip(b.values(values), metas, strict=True)]


def _if(b: LinalgBuilder, op: Cond, values: Sequence[SSAValue], lower: Lower) -> Operation:
    condition = b.element(values[0], [])
    return scf.IfOp.create(
        operands=(condition,),
        result_types=[plain_type(meta_of(r)) for r in op.results],
        regions=[Region(_block(b, r.block, values[1:], lower)) for r in op.regions],
    )


def _for(
    b: LinalgBuilder,
    op: Scan,
    values: Sequence[SSAValue],
    metas: Sequence[TensorMeta],
    lower: Lower,
) -> Operation:
    a = op.attrs
    n, m, length = a["carries"], a["xs"], a["length"]
    xs, consts = values[n : n + m], values[n + m :]
    stacks = [b.empty(meta) for meta in metas[n:]]
    starts = [*_typed(b, values[:n], metas[:n]), *stacks]
    bounds = [b.size(v) for v in (0, length, 1)]
    last = b.size(length - 1) if a["reverse"] else None
    block = Block(arg_types=[bounds[0].type, *(v.type for v in starts)])
    i, *carried = block.args
    for value, meta in zip(carried, metas, strict=True):
        b.track(value, meta)
    with b.into(block):
        at = i if last is None else b.scalars.sub(last, i)
        rows = [_row(b, x, at) for x in xs]
        out = lower(op.regions[0].block, [*carried[:n], *rows, *consts])
        filled = [
            b.insert_slice(b.reshape(y, (1, *b.meta(y).shape)), stack, [at, *[0] * b.meta(y).rank])
            for y, stack in zip(out[n:], carried[n:], strict=True)
        ]
        block.add_op(scf.YieldOp.create(operands=_typed(b, [*out[:n], *filled], metas)))
    return scf.ForOp.create(
        operands=(*bounds, *starts),
        result_types=[v.type for v in starts],
        regions=[Region(block)],
    )


def _row(b: LinalgBuilder, x: SSAValue, at: SSAValue) -> SSAValue:
    """One element of x along its leading dimension."""
    shape = b.meta(x).shape
    rank = len(shape)
    row = b.extract_slice(x, [at, *[0] * (rank - 1)], [1, *shape[1:]], [1] * rank)
    return b.value(b.reshape(row, shape[1:]))


def _while(b: LinalgBuilder, op: While, values: Sequence[SSAValue], lower: Lower) -> Operation:
    n = op.attrs["carries"]
    metas = [meta_of(r) for r in op.results]
    starts, consts = _typed(b, values[:n], metas), values[n:]
    types = [v.type for v in starts]
    blocks = [Block(arg_types=types), Block(arg_types=types)]
    for block in blocks:
        for value, meta in zip(block.args, metas, strict=True):
            b.track(value, meta)
    test, body = blocks
    with b.into(test):
        (holds,) = lower(op.regions[0].block, [*test.args, *consts])
        condition = b.element(holds, [])
        test.add_op(scf.ConditionOp.create(operands=(condition, *test.args)))
    with b.into(body):
        out = lower(op.regions[1].block, [*body.args, *consts])
        body.add_op(scf.YieldOp.create(operands=_typed(b, out, metas)))
    return scf.WhileOp.create(
        operands=starts, result_types=types, regions=[Region(test), Region(body)]
    )
