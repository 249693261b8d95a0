"""Reductions by all threads of a GPU block together.

Thread t combines the elements t, t + T, t + 2T ... of the innermost loop (or vectors of them, whose
lanes are combined at the end); then the threads of a warp exchange their results, over a distance
that halves from 16 to 1, and the warps' results are combined in the same way through shared
memory. The number of threads T follows from the sizes alone, so the order is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.dialects import arith, math, memref, vector
from xdsl.dialects.builtin import (
    AnyFloat,
    IndexType,
    IntegerType,
    VectorType,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue

from ...ir.tile import WARP, BarrierOp, ShuffleOp
from .emit import Emitter
from .expr import INDEX, Const, Expr, Reduce, walk
from .gpu_emit import DeviceEmitter
from .gpu_vectors import vector_width
from .index import Atom
from .numbers import NO_FASTMATH, NO_WRAP, Properties, adding, number
from .reduction import KINDS, identity, write_sequence
from .writer import Lane

SHORT = 32
"""Reductions over at most so many elements are left to single threads."""


def is_shared(r: Reduce) -> bool:
    """Whether threads share the work of a reduction where they can."""
    if r.combines is None and r.product is None:
        return False
    length = 1
    for loop in r.loops:
        if loop.extent.constant is None:
            return True
        length *= loop.extent.constant
    return length > SHORT


def values_of(r: Reduce) -> list[Expr]:
    """What a reduction combines."""
    if r.product is not None:
        return list(r.product)
    return list(r.results) if r.combines is None else [c.value for c in r.combines]


@dataclass(frozen=True, slots=True)
class _Step:
    """What happens to an accumulator: it is combined with `value`, or with the product of
    `factors`, from `neutral` on; the result is combined with `init`."""

    combiner: type[Operation]
    properties: Properties
    type: Attribute
    neutral: Attribute
    init: Expr
    value: Expr | None = None
    factors: tuple[Expr, Expr] | None = None

    def combine(self, e: Emitter, a: SSAValue, b: SSAValue) -> SSAValue:
        return e.put(self.combiner, (a, b), a.type, self.properties)

    def accumulate(self, e: Emitter, acc: SSAValue, width: int) -> SSAValue:
        def of(x: Expr) -> SSAValue:
            return e.wide(x, width) if width > 1 else e.value(x)

        if self.factors is None:
            assert self.value is not None
            return self.combine(e, acc, of(self.value))
        a, b = map(of, self.factors)
        if isinstance(self.type, AnyFloat):
            return e.put(math.FmaOp, (a, b, acc), acc.type, NO_FASTMATH)
        return self.combine(e, acc, e.put(arith.MuliOp, (a, b), a.type, NO_WRAP))

    def start(self, e: Emitter, width: int) -> SSAValue:
        if width > 1:
            return e.splat(self.neutral, self.type, width)
        return e.constant(self.neutral, self.type)


def _steps(r: Reduce) -> list[_Step]:
    if r.combines is None:
        type_ = r.accs[0].type
        add, flags = adding(type_)
        return [_Step(add, flags, type_, number(0, type_), r.inits[0], factors=r.product)]
    return [
        _Step(type(c.op), c.op.properties, acc.type, identity(c.op, acc.type), init, c.value)
        for c, acc, init in zip(r.combines, r.accs, r.inits, strict=True)
    ]


def write_block_reduction(e: Emitter, r: Reduce) -> Sequence[SSAValue]:
    """Write a reduction in the current scope; returns its results.

    Threads that are in different iterations of a loop on which the reduction depends do it each
    on their own.
    """
    e = cast(DeviceEmitter, e)
    lane = e.lane
    if lane is not None and r.deps & lane.loop.deps:
        return write_sequence(e, r, lane.width)
    if e.threads < WARP or r.deps & e.spread or not is_shared(r):
        return write_sequence(e, r, None)
    if e.groups > 1:
        return _by_groups(e, r)
    steps, inner = _steps(r), r.loops[-1]
    width = vector_width(e.target, inner, walk(*values_of(r)))
    again = not e.at_block_level
    before, e.spread = e.spread, e.spread | inner.deps
    partial = _nest(e, steps, r.loops, [s.start(e, width) for s in steps], width)
    e.spread = before
    results = []
    for s, part in zip(steps, partial, strict=True):
        total = _across_threads(e, s, _across_lanes(e, s, part), again)
        results.append(_begun(e, s, total))
    return results


def _by_groups(e: DeviceEmitter, r: Reduce) -> Sequence[SSAValue]:
    """Write a reduction of columns: the groups of threads take turns with its longest loop."""
    steps = _steps(r)
    shared = max(r.loops, key=lambda x: x.extent.constant or 1 << 30)
    before, e.spread = e.spread, e.spread | shared.deps
    parts = _rows(e, steps, r.loops, shared, [s.start(e, 1) for s in steps])
    e.spread = before
    again = not e.at_block_level
    totals = [_across_groups(e, s, part, again) for s, part in zip(steps, parts, strict=True)]
    return [_begun(e, s, total) for s, total in zip(steps, totals, strict=True)]


def _rows(
    e: DeviceEmitter,
    steps: Sequence[_Step],
    loops: Sequence[Atom],
    shared: Atom,
    accs: Sequence[SSAValue],
) -> Sequence[SSAValue]:
    if not loops:
        return [s.accumulate(e, acc, 1) for s, acc in zip(steps, accs, strict=True)]
    loop, end = loops[0], e.index(loops[0].extent)
    start, step = (e.group, e.groups) if loop is shared else (e.int_(0), 1)
    bounds = (start, end, e.int_(step))
    return e.for_(bounds, loop, accs, lambda _, *a: _rows(e, steps, loops[1:], shared, a))


def _across_groups(e: DeviceEmitter, s: _Step, value: SSAValue, again: bool) -> SSAValue:
    """Combine the groups' results, column by column, halving the number of groups."""
    cell = i8 if s.type == IntegerType(1) else s.type
    memory = e.shared(cell, [e.groups, e.columns])
    if again:
        e.do(BarrierOp())

    def load(group: SSAValue) -> SSAValue:
        found = e.put(memref.LoadOp, (memory, group, e.slot), cell)
        return found if cell == s.type else e.put(arith.TruncIOp, (found,), s.type, NO_WRAP)

    def store(value: SSAValue) -> None:
        made = _as_cell(e, value, cell)
        e.do(memref.StoreOp.create(operands=(made, memory, e.group, e.slot)))

    def combine(distance: int) -> Sequence[SSAValue]:
        other = load(e.add(e.group, e.int_(distance)))
        store(s.combine(e, load(e.group), other))
        return ()

    store(value)
    e.do(BarrierOp())
    distance = e.groups // 2
    while distance:
        e.if_(e.less(e.group, e.int_(distance)), lambda d=distance: combine(d))
        e.do(BarrierOp())
        distance //= 2
    return load(e.int_(0))


def _begun(e: DeviceEmitter, s: _Step, total: SSAValue) -> SSAValue:
    """The result together with the initial value."""
    if isinstance(s.init, Const) and s.init.value == s.neutral:
        return total
    return s.combine(e, e.value(s.init), total)


def _nest(
    e: DeviceEmitter,
    steps: Sequence[_Step],
    loops: Sequence[Atom],
    accs: Sequence[SSAValue],
    width: int,
) -> Sequence[SSAValue]:
    """The outer loops in full, the innermost one in strides of all threads."""
    loop, end = loops[0], e.index(loops[0].extent)
    if len(loops) > 1:
        bounds = (e.int_(0), end, e.int_(1))
        return e.for_(bounds, loop, accs, lambda _, *a: _nest(e, steps, loops[1:], a, width))

    def body(_: SSAValue, *carried: SSAValue) -> Sequence[SSAValue]:
        return [s.accumulate(e, acc, width) for s, acc in zip(steps, carried, strict=True)]

    start = e.scaled(e.thread, width)
    lane = Lane(loop, width, None) if width > 1 else None
    return e.for_((start, end, e.int_(e.threads * width)), loop, accs, body, lane)


def _across_lanes(e: Emitter, s: _Step, value: SSAValue) -> SSAValue:
    if not isinstance(value.type, VectorType):
        return value
    kind = vector.CombiningKindAttr(KINDS[s.combiner])
    properties: Properties = {"kind": kind, **NO_FASTMATH}
    return e.put(vector.ReductionOp, (value,), s.type, properties)


def _across_threads(e: DeviceEmitter, s: _Step, value: SSAValue, again: bool) -> SSAValue:
    """Every thread gets the result. With `again` this code runs more than once, so the shared
    memory may still be read from the time before."""
    value = _butterfly(e, s, value, WARP)
    warps = e.threads // WARP
    if warps == 1:
        return value
    cell = i8 if s.type == IntegerType(1) else s.type
    memory = e.shared(cell, [warps])
    if again:
        e.do(BarrierOp())
    warp = e.put(arith.DivUIOp, (e.thread, e.int_(WARP)), INDEX)
    e.do(memref.StoreOp.create(operands=(_as_cell(e, value, cell), memory, warp)))
    e.do(BarrierOp())
    mine = e.put(arith.RemUIOp, (e.thread, e.int_(warps)), INDEX)
    found = e.put(memref.LoadOp, (memory, mine), cell)
    if cell != s.type:
        found = e.put(arith.TruncIOp, (found,), s.type, NO_WRAP)
    return _butterfly(e, s, found, warps)


def _as_cell(e: Emitter, value: SSAValue, cell: Attribute) -> SSAValue:
    return value if value.type == cell else e.put(arith.ExtUIOp, (value,), cell)


def _butterfly(e: Emitter, s: _Step, value: SSAValue, count: int) -> SSAValue:
    """Combine the values of `count` neighbouring threads, in each of them."""
    distance = count // 2
    while distance:
        value = s.combine(e, value, _exchange(e, value, distance))
        distance //= 2
    return value


def _exchange(e: Emitter, value: SSAValue, distance: int) -> SSAValue:
    """The value of the thread at a distance, through a type that can be shuffled."""
    type_ = value.type
    if isinstance(type_, IndexType):
        word = e.put(arith.IndexCastOp, (value,), i64)
        return e.put(arith.IndexCastOp, (e.do(ShuffleOp.get(word, distance)).results[0],), type_)
    bits = type_.bitwidth if isinstance(type_, AnyFloat | IntegerType) else 32
    if bits >= 32:
        return e.do(ShuffleOp.get(value, distance)).results[0]
    raw = value
    if isinstance(type_, AnyFloat):
        raw = e.put(arith.BitcastOp, (value,), i16)
    word = e.put(arith.ExtUIOp, (raw,), i32)
    word = e.do(ShuffleOp.get(word, distance)).results[0]
    word = e.put(arith.TruncIOp, (word,), raw.type, NO_WRAP)
    return e.put(arith.BitcastOp, (word,), type_) if isinstance(type_, AnyFloat) else word
