"""Reductions that select: the largest element and where it is, over interleaved lanes.

The body of such a reduction is one condition between an element and the accumulators, and
selects by it: ``acc = select(c, new, acc)`` for a value and for its index. Because the condition
compares indices where values are equal it is a total order, so that partial results can be
compared with each other by the same body, whatever their order.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, vector
from xdsl.dialects.builtin import IndexType, IntegerType, VectorType
from xdsl.ir import SSAValue

from .emit import Emitter
from .expr import Apply, Const, Expr, Reduce
from .numbers import Properties, integers
from .writer import Lane


def selected(r: Reduce) -> tuple[Expr, ...] | None:
    """What each accumulator is compared with, None if the body does not select by an order."""
    leaves: list[Expr] = []
    condition: Expr | None = None
    for acc, y in zip(r.accs, r.results, strict=True):
        if not isinstance(y, Apply) or not isinstance(y.op, arith.SelectOp):
            return None
        chosen, new, old = y.args
        if old is not acc or condition not in (None, chosen):
            return None
        condition = chosen
        leaves.append(new)
    if condition is None or not _is_order(condition, r, leaves):
        return None
    if len(set(map(id, leaves))) < len(leaves):
        return None  # the value is its own index: partial results could not be told apart
    return tuple(leaves)


def _is_order(condition: Expr, r: Reduce, leaves: Sequence[Expr]) -> bool:
    """Whether a condition depends on nothing but the pairs, and compares integers of one."""
    pairs = list(zip(leaves, r.accs, strict=True))
    known = {id(x) for pair in pairs for x in pair}
    breaks_ties = False
    stack = [condition]
    while stack:
        x = stack.pop()
        if id(x) in known or isinstance(x, Const):
            continue
        if not isinstance(x, Apply):
            return False
        if isinstance(x.op, arith.CmpiOp) and any(set(map(id, x.args)) == {id(a), id(b)}
                                                  for a, b in pairs):  # fmt: skip
            breaks_ties = breaks_ties or isinstance(x.args[0].type, IntegerType | IndexType)
        stack += x.args
    return breaks_ties


def write_selection(
    e: Emitter, r: Reduce, leaves: Sequence[Expr], width: int
) -> Sequence[SSAValue]:
    """Write the reduction with `width` partial results; returns its results."""
    accs = [e.broadcast(e.value(i), width) for i in r.inits]
    accs = list(_along(e, r, accs, width))
    while width > 1:
        width //= 2
        halves = [_halves(e, a, width) for a in accs]
        accs = _compared(e, r, leaves, [h[0] for h in halves], [h[1] for h in halves], width)
    return [e.extract(a, 0) for a in accs]


def _along(e: Emitter, r: Reduce, accs: Sequence[SSAValue], width: int) -> Sequence[SSAValue]:
    """All elements, `width` at a time."""
    (loop,) = r.loops
    extent, end = loop.extent.constant, e.index(loop.extent)
    if extent is None:
        stop = e.sub(end, e.put(arith.RemUIOp, (end, e.int_(width)), end.type))
    else:
        stop = e.int_(extent - extent % width)

    def step(_: SSAValue, *carried: SSAValue) -> Sequence[SSAValue]:
        for acc, value in zip(r.accs, carried, strict=True):
            e.top.values[acc] = value
        return [e.wide(y, width) for y in r.results]

    def tail() -> Sequence[SSAValue]:
        mask = e.mask(e.sub(end, stop), width)
        with e.inside(e.top.block, {loop: stop}, Lane(loop, width, mask)):
            new = step(stop, *accs)
            return [
                e.put(arith.SelectOp, (mask, n, a), a.type)
                for n, a in zip(new, accs, strict=True)
            ]  # fmt: skip

    if extent is None or extent >= width:
        bounds = (e.int_(0), stop, e.int_(width))
        accs = e.for_(bounds, loop, accs, step, Lane(loop, width, None))
    if extent is None:
        before = accs
        return e.if_(e.less(stop, end), tail, lambda: before)
    return tail() if extent % width else accs


def _halves(e: Emitter, value: SSAValue, width: int) -> tuple[SSAValue, SSAValue]:
    type_ = value.type
    assert isinstance(type_, VectorType)
    half = e.vector(type_.element_type, width)
    low, high = (
        e.put(
            vector.ShuffleOp,
            (value, value),
            half,
            Properties(mask=integers(range(start, start + width))),
        )
        for start in (0, width)
    )
    return low, high


def _compared(
    e: Emitter,
    r: Reduce,
    leaves: Sequence[Expr],
    old: Sequence[SSAValue],
    new: Sequence[SSAValue],
    width: int,
) -> list[SSAValue]:
    """The body applied to two sets of partial results."""
    known: dict[int, SSAValue] = {}
    for leaf, acc, n, o in zip(leaves, r.accs, new, old, strict=True):
        known[id(leaf)], known[id(acc)] = n, o
    return [_evaluate(e, y, known, width) for y in r.results]


def _evaluate(e: Emitter, x: Expr, known: dict[int, SSAValue], width: int) -> SSAValue:
    found = known.get(id(x))
    if found is None:
        if isinstance(x, Const):
            return e.splat(x.value, x.type, width)
        assert isinstance(x, Apply)
        operands = [_evaluate(e, a, known, width) for a in x.args]
        found = e.put(type(x.op), operands, e.vector(x.type, width), x.op.properties)
        known[id(x)] = found
    return found
