"""What products of matrices and convolutions compute themselves while they read their operands.

A product copies blocks of an operand into scratch before it multiplies (packing), so elementwise
operators and views between memory and an operand, its prologue, can be computed there: their
result needs no memory of its own. The price is that they are computed again for every block of
the other operand. The rule, in vector instructions for each element of what is not stored:

    times * (PACK + work)  <=  STORED

`times` is how often an element is packed, `work` what the prologue computes for it. A prologue
is taken whole or not at all, and only if it begins in memory: where a kernel before could compute
it as it stores its own result, it is that kernel's epilogue.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

from xdsl.ir import Block, Operation, SSAValue

from ..ir.op import Op
from ..ir.ops.casting import Detach
from ..ir.ops.conv import Conv
from ..ir.ops.matmul import Matmul
from ..ir.ops.view import Reshape
from ..ir.sym import Dim, bounds
from ..ir.types import meta_of
from .kinds import CHEAP, keeps_strides, kind_of

STORED = 32
"""What it costs to store an element and to read it back."""

PACK = 5
"""What it costs to pack an element that could be read where it is."""

FUNCTION = 24
"""What an operator costs that is not cheap; a cheap one costs 1."""

LOAD = 3
"""What each further tensor costs that a prologue reads."""

BLOCK = 256
"""Rows or columns of the other operand for which an operand is packed once."""

UNKNOWN = 4
"""Blocks of a dimension that is not known."""


@dataclass(eq=False, slots=True)
class Prologue:
    """The elementwise operators before operand `index` of `reader`; none where views only are
    looked through."""

    reader: Op
    index: int
    ops: dict[Op, None] = field(default_factory=dict)
    # What is read in memory and is as large as what the operators compute.
    sources: dict[SSAValue, None] = field(default_factory=dict)


def find_prologues(block: Block, made_up: Container[Operation]) -> list[Prologue]:
    """The prologues that pay. An operator belongs to none if anything else reads its value."""
    search = _Search(made_up)
    found = [p for op in block.ops if isinstance(op, Op) for p in search.before(op)]
    while True:
        ops = {op for p in found for op in p.ops}
        places = {(p.reader, p.index) for p in found}
        kept = [p for p in found if all(search.serves(op, ops, places) for op in p.ops)]
        if len(kept) == len(found):
            return found
        found = kept


@dataclass(slots=True)
class _Search:
    made_up: Container[Operation]

    def before(self, reader: Op) -> Iterator[Prologue]:
        """The prologues of an operator that pay by themselves."""
        for index, value in enumerate(reader.operands):
            times = _times(reader, index)
            if times is None:
                continue
            p = Prologue(reader, index)
            if self._collect(p, value) and self._pays(p, times):
                yield p

    def serves(
        self, op: Operation, ops: Container[Operation], places: Container[tuple[Operation, int]]
    ) -> bool:
        """Whether only prologues read the value of an operator."""
        for use in op.results[0].uses:
            reader = use.operation
            if reader in ops or (reader, use.index) in places:
                continue
            if not (self._is_free(reader) and self.serves(reader, ops, places)):
                return False
        return True

    def _is_free(self, op: Operation | Block) -> bool:
        return isinstance(op, Op) and (op in self.made_up or kind_of(op) == "free")

    def _collect(self, p: Prologue, value: SSAValue) -> bool:
        """Note what leads to an operand; false if that is nothing, or does not begin in memory."""
        top = self._in_place(value)
        if self._is_free(top.owner):
            top = self._unmoved(top)
        elif not _is_map(top.owner):
            return False
        size = meta_of(top).numel
        waiting = [top]
        while waiting:
            v = waiting.pop()
            op = v.owner
            if isinstance(op, Op) and self._is_free(op):
                waiting += op.operands
            elif not _is_smaller(meta_of(v).numel, size):
                if isinstance(op, Block) or kind_of(op) in _ENDS:  # pyright: ignore[reportArgumentType]
                    p.sources[v] = None
                elif isinstance(op, Op) and _is_map(op):
                    p.ops[op] = None
                    waiting += [x for x in op.operands if x.owner not in p.ops]
                else:
                    return False
        return bool(p.sources)

    def _in_place(self, value: SSAValue) -> SSAValue:
        """The value that a product would read where it is, through strided views and a reshape."""
        while isinstance(op := value.owner, Op) and self._is_free(op) and keeps_strides(op):
            value = op.operands[0]
        while isinstance(op := value.owner, Reshape):
            value = op.operands[0]
        return value

    def _unmoved(self, value: SSAValue) -> SSAValue:
        """The value that a chain of views begins with."""
        while isinstance(op := value.owner, Op) and self._is_free(op) and op.operands:
            value = op.operands[0]
        return value

    def _pays(self, p: Prologue, times: int) -> bool:
        (source, *more) = p.sources
        size = meta_of(next(iter(p.ops)).results[0] if p.ops else source).numel
        copies = _ratio(meta_of(p.reader.operands[p.index]).numel, size)
        if copies is None:
            return False
        work = LOAD * len(more) + sum(_work(op) for op in p.ops)
        packed = isinstance(p.reader, Conv) and prod(_taps(p.reader)) > 1
        return copies * times * (work + (0 if packed else PACK)) <= STORED


# Operators whose results are in memory and whose kernels compute nothing after them.
_ENDS = ("pool", "scatter", "generic")


def _is_map(op: Operation | Block) -> bool:
    return isinstance(op, Op) and kind_of(op) == "map" and len(op.results) == 1


def _work(op: Op) -> int:
    if isinstance(op, Detach):
        return 0
    return 1 if isinstance(op, CHEAP) else FUNCTION


def _times(reader: Op, index: int) -> int | None:
    """How often an operand's elements are packed; None where they are not packed, or where it is
    not known."""
    if kind_of(reader) not in ("matmul", "conv") or meta_of(reader.results[0]).dtype.kind != "f":
        return None
    first, second = (meta_of(v).shape for v in reader.operands)
    if isinstance(reader, Matmul):
        return None if second[-2] == 1 else _blocks(first[-2] if index else second[-1])
    if index or not isinstance(reader, Conv):
        return None
    taps, attrs = _taps(reader), reader.attrs
    if any(s != 1 for s in attrs["input_dilation"]):
        return None
    return -(-prod(taps) * _blocks(second[0]) // prod(attrs["stride"]))


def _taps(conv: Conv) -> Sequence[int]:
    """The sizes of a kernel; one that is not known counts as many."""
    return [d if isinstance(d, int) else BLOCK for d in meta_of(conv.operands[1]).shape[2:]]


def _blocks(size: Dim) -> int:
    """How many blocks a dimension has."""
    return -(-size // BLOCK) if isinstance(size, int) else UNKNOWN


def _is_smaller(size: Dim, than: Dim) -> bool:
    """Whether a size is known to be at most half of another."""
    high = bounds(size * 2 - than)[1]
    return high is not None and high <= 0


def _ratio(size: Dim, unit: Dim) -> int | None:
    if size == unit:
        return 1
    if isinstance(size, int) and isinstance(unit, int) and unit and size % unit == 0:
        return size // unit
    return None
