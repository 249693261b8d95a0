"""Matrices that lie in memory, as memrefs of two dimensions."""

from __future__ import annotations

from xdsl.dialects import memref
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    MemRefType,
    StridedLayoutAttr,
    i32,
)
from xdsl.ir import Attribute, SSAValue

from .emit import Emitter
from .index import Ix
from .numbers import integers
from .product import View
from .shapes import row_major


def matrix_in_memory(e: Emitter, view: View, rows: Ix, columns: Ix) -> SSAValue:
    """A view of `rows` times `columns` elements as a memref of two dimensions."""
    memory = view.memory
    while memory.source is not None:
        memory = memory.source
    if (
        memory.contiguous
        and not view.offset.terms
        and memory.shape == (rows, columns)
        and (view.rows, view.columns) == row_major(memory.shape)
    ):
        return memory.memref
    groups = [[view.offset], [rows, columns], [view.rows, view.columns]]
    static = [[DYNAMIC_INDEX if (n := x.constant) is None else n for x in g] for g in groups]
    dynamic = [[e.index(x) for x in g if x.constant is None] for g in groups]
    offset = static[0][0]
    layout = StridedLayoutAttr(
        [None if s == DYNAMIC_INDEX else s for s in static[2]],
        None if offset == DYNAMIC_INDEX else offset,
    )
    segments = [1, *map(len, dynamic)]
    names = ("static_offsets", "static_sizes", "static_strides")
    properties: dict[str, Attribute] = {
        name: integers(s) for name, s in zip(names, static, strict=True)
    }
    properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, segments)
    type_ = MemRefType(memory.element, static[1], layout)
    operands = [memory.memref, *dynamic[0], *dynamic[1], *dynamic[2]]
    return e.put(memref.ReinterpretCastOp, operands, type_, properties)
