"""How values are stored: a bool takes a byte in memory (0 or 1) while bodies compute with i1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    MemRefType,
    TensorType,
    i1,
    i8,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import Rewriter


def stored(element: Attribute) -> Attribute:
    """The element type in memory."""
    return i8 if element == i1 else element


# Keyed by identity because hashing an attribute walks it; the type is kept alive by the entry.
_buffers: dict[int, tuple[Attribute, MemRefType]] = {}


def buffer_type(type_: Attribute) -> MemRefType:
    """The contiguous buffer that holds a tensor."""
    known = _buffers.get(id(type_))
    if known is None:
        assert isinstance(type_, TensorType)
        made = MemRefType(stored(type_.element_type), type_.get_shape())
        known = _buffers[id(type_)] = (type_, made)
    return known[1]


def store_bools_as_bytes(block: Block) -> None:
    """Make every tensor of i1 in a kernel one of i8; scalars are converted where they are read
    and written."""
    bools = [op for op in block.walk() if _touches_bools(op)]
    if not bools:
        return
    for value in _bool_values(block):
        shape = cast("TensorType[Attribute]", value.type).get_shape()
        Rewriter.replace_value_with_new_type(value, TensorType(i8, shape))
    for op in bools:
        rule = _RULES.get(type(op))
        if rule is not None:
            rule(op)


def _is_bool(type_: Attribute) -> bool:
    return isinstance(type_, TensorType) and type_.element_type == i1


def _touches_bools(op: Operation) -> bool:
    return any(_is_bool(v.type) for v in (*op.operands, *op.results))


def _bool_values(block: Block) -> list[SSAValue]:
    found: list[SSAValue] = [a for a in block.args if _is_bool(a.type)]
    for op in block.walk():
        found += [r for r in op.results if _is_bool(r.type)]
        for region in op.regions:
            for inner in region.blocks:
                found += [a for a in inner.args if _is_bool(a.type)]
    return found


def _widened(value: SSAValue, before: Operation) -> SSAValue:
    """An i1 as an i8."""
    if value.type != i1:
        return value
    made = arith.ExtUIOp.create(operands=(value,), result_types=(i8,))
    block = before.parent
    assert block is not None
    block.insert_op_before(made, before)
    return made.results[0]


def _narrowed(value: SSAValue, first: Operation) -> None:
    """Let the uses of an i8 that was an i1 read its lowest bit, computed before `first`."""
    made = arith.TruncIOp.create(operands=(value,), result_types=(i1,))
    block = first.parent
    assert block is not None
    block.insert_op_before(made, first)
    value.replace_uses_with_if(made.results[0], lambda use: use.operation is not made)


def _body(op: Operation) -> None:
    """Arguments and results of a `linalg` body follow the elements of its tensors."""
    block = op.regions[0].block
    last = block.last_op
    assert last is not None
    for arg, operand in zip(list(block.args), op.operands, strict=True):
        type_ = operand.type
        if isinstance(type_, TensorType) and type_.element_type == i8 and arg.type == i1:
            new = Rewriter.replace_value_with_new_type(arg, i8)
            if new.first_use is not None:
                first = block.first_op
                assert first is not None
                _narrowed(new, first)
    count = len(last.operands)
    for i, operand in enumerate(op.operands[len(op.operands) - count :]):
        type_ = operand.type
        if isinstance(type_, TensorType) and type_.element_type == i8:
            last.operands[i] = _widened(last.operands[i], last)


def _fill(op: Operation) -> None:
    op.operands[0] = _widened(op.operands[0], op)
    block = op.regions[0].block
    for arg in list(block.args):
        Rewriter.replace_value_with_new_type(arg, i8)


def _extract(op: Operation) -> None:
    value = Rewriter.replace_value_with_new_type(op.results[0], i8)
    following = op.next_op
    assert following is not None
    _narrowed(value, following)


def _elements(op: Operation) -> None:
    for i, v in enumerate(op.operands):
        if v.type == i1:
            op.operands[i] = _widened(v, op)


def _pad(op: Operation) -> None:
    last = op.regions[0].block.last_op
    assert last is not None
    last.operands[0] = _widened(last.operands[0], last)


def _constant(op: Operation) -> None:
    value = op.properties["value"]
    assert isinstance(value, DenseIntOrFPElementsAttr)
    type_ = cast("Any", op.results[0].type)
    data = [int(bool(v)) for v in value.get_values()]
    op.properties["value"] = DenseIntOrFPElementsAttr.from_list(type_, data)


_RULES: dict[type[Operation], Callable[[Operation], None]] = {
    linalg.GenericOp: _body,
    linalg.FillOp: _fill,
    tensor.ExtractOp: _extract,
    tensor.InsertOp: _elements,
    tensor.FromElementsOp: _elements,
    tensor.SplatOp: _elements,
    tensor.PadOp: _pad,
    arith.ConstantOp: _constant,
}
