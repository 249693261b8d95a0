"""What products of matrices and convolutions compute themselves while they read their operands.

A product copies blocks of an operand into scratch before it multiplies (packing), so elementwise
operators and views between memory and an operand, its prologue, can be computed there: their
result needs no memory of its own. The price is that they are computed again for every block of
the other operand. The rule, in vector instructions for each element of what is not stored:

    times * (PACK + work)  <=  STORED

`times` is how often an element is packed, `work` what the prologue computes for it. A prologue
is taken whole or not at all, and only if it begins in memory: where a kernel before could compute
it as it stores its own result, it is that kernel's epilogue. A kernel cannot do that for what is
read in another order, or in parts.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeGuard

from xdsl.ir import Block, Operation, SSAValue

from ..ir.op import Op
from ..ir.ops.casting import Detach
from ..ir.ops.conv import Conv
from ..ir.ops.matmul import Matmul
from ..ir.ops.shape import Concatenate, Pad
from ..ir.ops.view import BroadcastTo, Reshape, Transpose
from ..ir.reshape import groups
from ..ir.sym import Dim, bounds
from ..ir.types import Shape, meta_of
from .kinds import CHEAP, SAME, keeps_strides, kind_of, relation

STORED = 36
"""What it costs to store an element and to read it back."""

PACK = 5
"""What it costs to pack an element that could be read where it is."""

FUNCTION = 24
"""What an operator costs that is not cheap; a cheap one costs 1."""

CHOICE = 2
"""What it costs to choose between two tensors by the index."""

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
    # What is read and is as large as what the operators compute: as they see it, and in memory.
    sources: dict[SSAValue, SSAValue] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class _Way:
    """How a value is reached: `seen` is what an operator reads, a view of the value; `moved` if no
    kernel before can compute what is read so; `along` the value's dimensions along which one steps
    through rows or columns of the operand."""

    seen: SSAValue
    moved: bool
    along: tuple[int, ...]


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
        elif not _computes(top.owner):
            return False
        rank = meta_of(value).rank
        along = (rank - 1,) if isinstance(p.reader, Conv) else (rank - 1, rank - 2)
        while value is not top:
            op = value.owner
            assert isinstance(op, Op)
            along, value = _followed(op, along), op.operands[0]
        return self._trace(p, top, _Way(top, False, along)) and bool(p.sources)

    def _trace(self, p: Prologue, value: SSAValue, way: _Way) -> bool:
        """Note what computes a value; false if a kernel before could, or if it lies in memory in
        another order than it is read."""
        op = value.owner
        if op in p.ops:
            return True
        if isinstance(op, Op) and self._is_free(op):
            moved = bool(p.ops) and op not in self.made_up and relation(op) != SAME
            way = _Way(way.seen, way.moved or moved, _followed(op, way.along))
            return all(self._trace(p, v, way) for v in op.operands)
        if _is_smaller(meta_of(value).numel, meta_of(way.seen).numel):
            return True
        moved = way.moved
        if _computes(op) and len(p.ops) < STORED:
            ops, sources = dict(p.ops), dict(p.sources)
            p.ops[op] = None
            joins = isinstance(op, Pad | Concatenate)
            if all(self._trace(p, v, _Way(v, joins, way.along)) for v in op.operands):
                return True
            p.ops, p.sources = ops, sources
        elif not isinstance(op, Op) or kind_of(op) in _ENDS:
            moved = True
        if not moved or _last(meta_of(value).shape) not in way.along:
            return False
        p.sources[way.seen] = value
        return True

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
        made = [op.results[0] for op in p.ops] or list(p.sources.values())
        copies = _ratio(meta_of(p.reader.operands[p.index]).numel, meta_of(made[0]).numel)
        if copies is None:
            return False
        work = LOAD * (len(p.sources) - 1) + sum(_work(op) for op in p.ops)
        return copies * times * (PACK + work) <= STORED


# Operators whose results are in memory and whose kernels compute nothing after them.
_ENDS = ("pool", "scatter", "generic")


def _computes(op: Operation | Block) -> TypeGuard[Op]:
    """Whether an operator can be computed element by element, without a check that can fail."""
    return isinstance(op, Op) and (kind_of(op) == "map" or isinstance(op, Pad | Concatenate))


def _followed(op: Op, along: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions of a view's operand along which one steps through dimensions of the view."""
    source: Shape = meta_of(op.operands[0]).shape if op.operands else ()
    target = meta_of(op.results[0]).shape
    match op:
        case Transpose():
            return tuple(op.attrs["perm"][d] for d in along)
        case BroadcastTo():
            lead = len(target) - len(source)
            return tuple(d - lead for d in along if d >= lead)
        case Reshape() if source and target and 0 not in source:
            runs = groups(source, target)
            ends = {to[0] + _last(target[to.start : to.stop]): of for of, to in runs}
            found = [ends[d] for d in along if d in ends]
            return tuple(of[0] + _last(source[of.start : of.stop]) for of in found)
        case _:
            return along


def _last(shape: Shape) -> int:
    """The last dimension that is not of one element."""
    return max((i for i, d in enumerate(shape) if d != 1), default=0)


def _work(op: Op) -> int:
    match op:
        case Detach():
            return 0
        case Pad() | Concatenate():
            return CHOICE * (len(op.operands) - 1)
        case _:
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
