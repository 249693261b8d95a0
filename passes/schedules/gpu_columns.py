"""The schedule of column reductions for a GPU: neighbouring threads take neighbouring columns, and
groups of threads take rows in turn.

A block of threads computes up to 32 columns. Group g of its threads combines the rows g, g + G,
g + 2G ...; then the groups' results are combined through shared memory. Where results have rows as
well (each column less its mean, say) the groups take turns with those too.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from ...ir.tile import WARP
from .expr import INDEX, Expr, Reduce
from .gpu_emit import DeviceEmitter
from .gpu_reduce import is_shared
from .index import Atom, Ix
from .plan import Store, score_of
from .writer import EQ

THREADS = 512
"""Threads of a block."""

ENOUGH = 1 << 15
"""Results of which each may be left to one thread: so many keep a GPU busy."""


def reduces_columns(loops: Sequence[Atom], reduces: Sequence[Reduce]) -> bool:
    """Whether groups of threads should share the reductions of columns."""
    bits = 0
    for r in reduces:
        if is_shared(r):
            bits |= r.deps
    mine = [a for a in loops if a.deps & bits]
    count = 1
    for loop in mine:
        count *= loop.extent.constant or 1
    return bool(mine) and (count < ENOUGH or len(mine) < len(loops))


def write_columns(
    e: DeviceEmitter,
    loops: Sequence[Atom],
    stores: Sequence[Store],
    expressions: Sequence[Expr],
    reduces: Sequence[Reduce],
) -> None:
    """Write results that depend on reductions of columns."""
    bits = 0
    for r in reduces:
        if is_shared(r):
            bits |= r.deps
    mine = [a for a in loops if a.deps & bits]
    inner = [a for a in loops if a not in mine]
    scores = {a: score_of(a, WARP, stores, expressions) for a in mine}
    lane = max(reversed(mine), key=lambda a: scores[a])
    blocks = [a for a in mine if a is not lane]
    columns, extent = WARP, lane.extent.constant
    while extent is not None and columns // 2 >= extent and columns > 1:
        columns //= 2
    first = Piece(lane, columns)
    with e.grid([*blocks, lane], [1] * len(blocks) + [columns], THREADS):
        at = first.column(e)
        with e.inside(e.top.block, {lane: first.existing(e, at)}):
            for r in reduces:
                if is_shared(r) and not any(r.deps & a.deps for a in inner):
                    e.value(r.values[0])
            _store(e, stores, inner, first.guard(e, at, everywhere=bool(inner)))
        e.groups = 1


class Piece:
    """The columns of a block."""

    def __init__(self, lane: Atom, columns: int) -> None:
        self.lane, self.columns = lane, columns
        extent = lane.extent.constant
        self.exact = extent is not None and extent % columns == 0

    def column(self, e: DeviceEmitter) -> SSAValue:
        """The column of a thread, which may be beyond the last; sets up the groups."""
        width = e.int_(self.columns)
        e.groups, e.columns = THREADS // self.columns, self.columns
        e.group = e.put(arith.DivUIOp, (e.thread, width), INDEX)
        e.slot = e.put(arith.RemUIOp, (e.thread, width), INDEX)
        return e.add(e.loops[self.lane], e.slot)

    def existing(self, e: DeviceEmitter, column: SSAValue) -> SSAValue:
        """The column, or the last one: all threads take part in exchanging results."""
        if self.exact:
            return column
        last = e.index(self.lane.extent - Ix.of(1))
        return e.put(arith.MinSIOp, (column, last), INDEX)

    def guard(self, e: DeviceEmitter, column: SSAValue, everywhere: bool) -> SSAValue | None:
        """Whether a thread stores: if its column exists, and but for `everywhere` if it is of the
        first group."""
        checks: list[SSAValue] = []
        if not self.exact:
            checks.append(e.less(column, e.index(self.lane.extent)))
        if not everywhere:
            checks.append(e.compare(EQ, e.group, e.int_(0), None))
        if len(checks) == 2:
            return e.put(arith.AndIOp, checks, checks[0].type)
        return checks[0] if checks else None


def _store(
    e: DeviceEmitter, stores: Sequence[Store], inner: Sequence[Atom], guard: SSAValue | None
) -> None:
    def write() -> Sequence[SSAValue]:
        _rows(e, stores, inner, e.group, e.groups)
        return ()

    if guard is None:
        write()
    else:
        e.if_(guard, write)


def _rows(
    e: DeviceEmitter, stores: Sequence[Store], inner: Sequence[Atom], start: SSAValue, step: int
) -> None:
    """The first loop in turns of the groups, the others in full."""
    if not inner:
        for s in stores:
            e.store(s.memory, s.indices, s.value)
        return
    before, e.spread = e.spread, e.spread | inner[0].deps

    def body(_: SSAValue) -> Sequence[SSAValue]:
        _rows(e, stores, inner[1:], e.int_(0), 1)
        return ()

    e.for_((start, e.index(inner[0].extent), e.int_(step)), inner[0], (), body)
    e.spread = before
