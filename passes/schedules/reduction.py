"""Writing reductions: in what order values enter their accumulators.

The order is a function of sizes, types and the target alone, so that results do not depend on
what a reduction is fused with, on threads, or on whether sizes are static:

- "lanes" (the innermost axis is reduced): element e of the reduced space goes to lane
  ``e % (4 * W)`` of four vectors of W lanes, in ascending order; then
  ``(v0 + v1) + (v2 + v3)``, then halves are added until one lane is left.
- "sequence" (the innermost axis is kept): one after the other, vectorized over results.
- "dot" (products of matrices): one fma after the other from zero, the sum of every `K_BLOCK`
  elements being added to what came before.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence

from xdsl.dialects import arith, math, vector
from xdsl.dialects.builtin import (
    AnyFloat,
    IntegerType,
    VectorType,
    i1,
)
from xdsl.dialects.vector import CombiningKindFlag as Kind
from xdsl.ir import Attribute, Operation, SSAValue

from ...ir.target import Target
from .blocks import K_BLOCK, K_WHOLE
from .emit import Emitter
from .expr import Combine, Const, Reduce, Result, children, walk
from .index import ZERO, Atom, Ix
from .numbers import NO_FASTMATH, NO_WRAP, TRUE, Properties, adding, integers, number
from .selection import selected, write_selection
from .writer import Lane

ACCUMULATORS = 4

KINDS: dict[type[Operation], Kind] = {
    arith.AddfOp: Kind.ADD,
    arith.AddiOp: Kind.ADD,
    arith.MulfOp: Kind.MUL,
    arith.MuliOp: Kind.MUL,
    arith.MaximumfOp: Kind.MAXIMUMF,
    arith.MinimumfOp: Kind.MINIMUMF,
    arith.MaxnumfOp: Kind.MAXNUMF,
    arith.MinnumfOp: Kind.MINNUMF,
    arith.MaxSIOp: Kind.MAXSI,
    arith.MinSIOp: Kind.MINSI,
    arith.MaxUIOp: Kind.MAXUI,
    arith.MinUIOp: Kind.MINUI,
    arith.AndIOp: Kind.AND,
    arith.OrIOp: Kind.OR,
    arith.XOrIOp: Kind.XOR,
}


def lanes_of(target: Target, element: Attribute) -> int:
    """Lanes of the interleaved partial results of a reduction in a type."""
    bits = element.bitwidth if isinstance(element, AnyFloat | IntegerType) else 64
    return ACCUMULATORS * target.width(min(64, max(32, bits)))


def write_reduction(e: Emitter, r: Reduce) -> Sequence[SSAValue]:
    """Write a reduction in the current scope; returns its results.

    Reductions that run over the same loops and are wanted later in this scope are written with it.
    """
    lane = e.lane
    width = lane.width if lane is not None and r.deps & lane.loop.deps else None
    if r.order == "dot":
        return [_dot(e, r, width)]
    if width is None and r.order == "lanes" and r.combines is None and len(r.loops) == 1:
        leaves = selected(r)
        if leaves is not None:
            return write_selection(e, r, leaves, lanes_of(e.target, r.accs[0].type))
    siblings = [r, *_siblings(e, r)]
    if width is None and r.order == "lanes" and r.combines is not None:
        found = _lanes(e, siblings)
    else:
        inits = [i for s in siblings for i in s.inits]
        carried = [e.value(i) if width is None else e.wide(i, width) for i in inits]
        found = _nest(e, siblings, r.loops, carried, width)
    e.keep_stored()
    for s in siblings:
        e.top.values[s], found = found[: len(s.accs)], found[len(s.accs) :]
    return e.top.values[r]


def _siblings(e: Emitter, r: Reduce) -> list[Reduce]:
    """Reductions still to be written in this scope that can share the loops of `r`: they need
    nothing that is not known yet, and no loop that is not open here."""
    found: list[Reduce] = []
    count = len(r.accs)
    closed = ~e.bound
    for s in e.pending:
        if s is r or s.loops != r.loops or s.order != r.order or s in e.top.values:
            continue
        if lanes_of(e.target, s.accs[0].type) != lanes_of(e.target, r.accs[0].type):
            continue
        if s.deps & closed or e.scope_of(s.deps) is not e.top:
            continue
        if (s.combines is None) != (r.combines is None):
            continue
        if count + len(s.accs) <= ACCUMULATORS and _is_ready(e, s):
            found.append(s)
            count += len(s.accs)
    return found


def _is_ready(e: Emitter, s: Reduce) -> bool:
    """Whether the reductions that a reduction depends on are written."""
    bits = 0
    for loop in s.loops:
        bits |= loop.deps
    for x in walk(*children(s.values[0])):
        if not isinstance(x, Result) or x.deps & bits:
            continue
        if x.reduce not in e.scope_of(x.deps).values:
            return False
    return True


# ---- one after the other ------------------------------------------------------------------------


def write_sequence(e: Emitter, r: Reduce, width: int | None) -> Sequence[SSAValue]:
    """One reduction in ascending order; vectors of results where `width` is given."""
    if r.order == "dot":
        return [_dot(e, r, width)]
    inits = [e.value(i) if width is None else e.wide(i, width) for i in r.inits]
    return _nest(e, [r], r.loops, inits, width)


def _nest(
    e: Emitter,
    siblings: Sequence[Reduce],
    loops: Sequence[Atom],
    carried: Sequence[SSAValue],
    width: int | None,
) -> Sequence[SSAValue]:
    """Ascending order; vectors of results where `width` is given."""
    if not loops:
        out: list[SSAValue] = []
        for s in siblings:
            out += _step(e, s, carried[len(out) : len(out) + len(s.accs)], width)
        return out
    loop = loops[0]
    bounds = (e.int_(0), e.index(loop.extent), e.int_(1))
    return e.for_(
        bounds, loop, carried, lambda _, *accs: _nest(e, siblings, loops[1:], accs, width)
    )


def _step(e: Emitter, r: Reduce, accs: Sequence[SSAValue], width: int | None) -> Sequence[SSAValue]:
    """The next values of the accumulators."""
    if r.combines is None:
        for acc, value in zip(r.accs, accs, strict=True):
            e.top.values[acc] = value
        return [e.value(x) if width is None else e.wide(x, width) for x in r.results]
    return [_combined(e, c, acc, width) for c, acc in zip(r.combines, accs, strict=True)]


def _combined(e: Emitter, c: Combine, acc: SSAValue, width: int | None) -> SSAValue:
    value = e.value(c.value) if width is None else e.wide(c.value, width)
    return e.put(type(c.op), (acc, value), acc.type, c.op.properties)


def _dot(e: Emitter, r: Reduce, width: int | None) -> SSAValue:
    """A sum of products, in blocks along the innermost loop where that is long."""
    assert r.product is not None
    (acc,) = r.accs
    start = _splat(e, number(0, acc.type), acc.type, width)
    *outer, loop = r.loops
    extent = loop.extent.constant
    if outer or (extent is not None and extent <= K_WHOLE):
        total = _dot_loops(e, r, r.loops, start, width)
    else:
        total = _dot_blocks(e, r, loop, start, width)
    return plus_init(e, r, total, width)


def plus_init(e: Emitter, r: Reduce, total: SSAValue, width: int | None) -> SSAValue:
    """A sum of products with what it begins with."""
    (init,) = r.inits
    if begins_with_zero(r):
        return total
    first = e.value(init) if width is None else e.wide(init, width)
    add, flags = adding(init.type)
    return e.put(add, (first, total), total.type, flags)


def begins_with_zero(r: Reduce) -> bool:
    """Whether a sum of products begins with nothing."""
    (init,) = r.inits
    return isinstance(init, Const) and init.value == number(0, init.type)


def _dot_loops(
    e: Emitter, r: Reduce, loops: Sequence[Atom], acc: SSAValue, width: int | None
) -> SSAValue:
    if not loops:
        return _fma(e, r, acc, width)
    bounds = (e.int_(0), e.index(loops[0].extent), e.int_(1))
    return e.for_(bounds, loops[0], [acc], lambda _, x: [_dot_loops(e, r, loops[1:], x, width)])[0]


def _dot_blocks(e: Emitter, r: Reduce, loop: Atom, zero: SSAValue, width: int | None) -> SSAValue:
    end, one = e.index(loop.extent), e.int_(1)
    block = dot_block(e, loop.extent)

    def partial(start: SSAValue, total: SSAValue) -> Sequence[SSAValue]:
        stop = e.put(arith.MinSIOp, (e.add(start, block), end), end.type)
        (part,) = e.for_((start, stop, one), loop, [zero], lambda _, x: [_fma(e, r, x, width)])
        add, flags = adding(r.accs[0].type)
        return [e.put(add, (part, total), part.type, flags)]

    return e.for_((e.int_(0), end, block), None, [zero], partial)[0]


def dot_block(e: Emitter, extent: Ix) -> SSAValue:
    """After how many products a sum starts again."""
    number = extent.constant
    if number is not None:
        return e.int_(max(1, number) if number <= K_WHOLE else K_BLOCK)
    long = e.less(e.int_(K_WHOLE), e.index(extent))
    return e.put(arith.SelectOp, (long, e.int_(K_BLOCK), e.int_(K_WHOLE)), e.int_(0).type)


def _fma(e: Emitter, r: Reduce, acc: SSAValue, width: int | None) -> SSAValue:
    assert r.product is not None
    a, b = (e.value(x) if width is None else e.wide(x, width) for x in r.product)
    if isinstance(r.accs[0].type, IntegerType):
        product = e.put(arith.MuliOp, (a, b), a.type, NO_WRAP)
        return e.put(arith.AddiOp, (product, acc), a.type, NO_WRAP)
    return e.put(math.FmaOp, (a, b, acc), acc.type, NO_FASTMATH)


# ---- interleaved --------------------------------------------------------------------------------


def _lanes(e: Emitter, siblings: Sequence[Reduce]) -> Sequence[SSAValue]:
    """Over interleaved partial results along the innermost loop."""
    r = siblings[0]
    width = lanes_of(e.target, r.accs[0].type)
    combines = [c for s in siblings for c in s.combines or ()]
    inits = [i for s in siblings for i in s.inits]
    starts = [_splat(e, identity(c.op, c.value.type), c.value.type, width) for c in combines]
    vectors = _lane_nest(e, combines, r.loops, starts, width, ZERO)
    results = []
    for c, init, v in zip(combines, inits, vectors, strict=True):
        total = _across(e, c, v, width)
        if not (isinstance(init, Const) and init.value == identity(c.op, init.type)):
            total = e.put(type(c.op), (e.value(init), total), init.type, c.op.properties)
        results.append(total)
    return results


def _lane_nest(
    e: Emitter,
    combines: Sequence[Combine],
    loops: Sequence[Atom],
    accs: Sequence[SSAValue],
    width: int,
    row: Ix,
) -> Sequence[SSAValue]:
    """The accumulators after the loops of row `row` of the loops outside of these."""
    loop, *inner = loops
    if inner:
        here = row * loop.extent + Ix.of(loop)
        bounds = (e.int_(0), e.index(loop.extent), e.int_(1))
        return e.for_(
            bounds, loop, accs, lambda _, *a: _lane_nest(e, combines, inner, a, width, here)
        )
    extent, end = loop.extent.constant, e.index(loop.extent)
    if row.terms and (extent is None or extent % width):
        return _shifted(e, combines, loop, accs, width, row)
    if extent is None:
        part = e.put(arith.RemUIOp, (end, e.int_(width)), end.type)
        stop = e.sub(end, part)
    else:
        stop = e.int_(extent - extent % width)

    def body(_: SSAValue, *carried: SSAValue) -> Sequence[SSAValue]:
        return [_combined(e, c, a, width) for c, a in zip(combines, carried, strict=True)]

    if extent is None or extent >= width:
        full = Lane(loop, width, None)
        accs = e.for_((e.int_(0), stop, e.int_(width)), loop, accs, body, full)
    if extent is None:
        some = e.less(stop, end)
        return e.if_(some, lambda: _tail(e, combines, loop, stop, accs, width), lambda: accs)
    return _tail(e, combines, loop, stop, accs, width) if extent % width else accs


def _shifted(
    e: Emitter,
    combines: Sequence[Combine],
    loop: Atom,
    accs: Sequence[SSAValue],
    width: int,
    row: Ix,
) -> Sequence[SSAValue]:
    """A row that begins at any lane: vectors begin where lane 0 is, the first before the row."""
    begin = e.index(row * loop.extent)
    phase = e.put(arith.RemUIOp, (begin, e.int_(width)), begin.type)
    stop = e.add(phase, e.index(loop.extent))

    def body(i: SSAValue, *carried: SSAValue) -> Sequence[SSAValue]:
        before = e.mask(e.sub(phase, i), width)
        present = e.put(arith.XOrIOp, (before, e.splat(TRUE, i1, width)), before.type)
        mask = e.put(arith.AndIOp, (present, e.mask(e.sub(stop, i), width)), before.type)
        lane = Lane(loop, width, mask, aligned=False)
        return _masked(e, combines, e.sub(i, phase), carried, lane, mask)

    return e.for_((e.int_(0), stop, e.int_(width)), None, accs, body)


def _tail(
    e: Emitter,
    combines: Sequence[Combine],
    loop: Atom,
    start: SSAValue,
    accs: Sequence[SSAValue],
    width: int,
) -> Sequence[SSAValue]:
    """The last elements, fewer than lanes."""
    mask = e.mask(e.sub(e.index(loop.extent), start), width)
    return _masked(e, combines, start, accs, Lane(loop, width, mask), mask)


def _masked(
    e: Emitter,
    combines: Sequence[Combine],
    start: SSAValue,
    accs: Sequence[SSAValue],
    lane: Lane,
    mask: SSAValue,
) -> Sequence[SSAValue]:
    """The elements from `start` on that the mask has; other lanes combine with the identity."""
    width = lane.width
    with e.inside(e.top.block, {lane.loop: start}, lane):
        out = []
        for c, acc in zip(combines, accs, strict=True):
            value = e.wide(c.value, width)
            element = c.value.type
            neutral = _splat(e, identity(c.op, element), element, width)
            value = e.put(arith.SelectOp, (mask, value, neutral), value.type)
            out.append(e.put(type(c.op), (acc, value), acc.type, c.op.properties))
        return out


def _across(e: Emitter, c: Combine, value: SSAValue, width: int) -> SSAValue:
    """(v0 + v1) + (v2 + v3), then halves until one lane is left."""
    type_ = value.type
    assert isinstance(type_, VectorType)
    step = width // ACCUMULATORS
    even = [*range(step), *range(2 * step, 3 * step)]
    halves = []
    for lanes in (even, [i + step for i in even]):
        mask = Properties(mask=integers(lanes))
        half = e.vector(type_.element_type, 2 * step)
        halves.append(e.put(vector.ShuffleOp, (value, value), half, mask))
    both = e.put(type(c.op), halves, halves[0].type, c.op.properties)
    kind: Properties = {
        "kind": vector.CombiningKindAttr(KINDS[type(c.op)]),
        "fastmath": NO_FASTMATH["fastmath"],
    }
    return e.put(vector.ReductionOp, (both,), type_.element_type, kind)


def identity(op: Operation, element: Attribute) -> Attribute:
    """The value that changes nothing when combined."""
    match op:
        case arith.MulfOp() | arith.MuliOp():
            return number(1, element)
        case arith.MaximumfOp() | arith.MaxnumfOp():
            return number(-pymath.inf, element)
        case arith.MinimumfOp() | arith.MinnumfOp():
            return number(pymath.inf, element)
    if isinstance(element, IntegerType):
        bits = element.width.data
        match op:
            case arith.MaxSIOp():
                return number(-(1 << (bits - 1)), element)
            case arith.MinSIOp():
                return number((1 << (bits - 1)) - 1, element)
            case arith.AndIOp() | arith.MinUIOp():
                return number(-1, element)
    return number(0, element)


def _splat(e: Emitter, value: Attribute, element: Attribute, width: int | None) -> SSAValue:
    return e.constant(value, element) if width is None else e.splat(value, element, width)
