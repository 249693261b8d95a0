"""Schedules for a GPU of everything that is no product of matrices.

- elements: each thread computes an element of the results, or a vector of neighbours, on its own;
- columns: see `gpu_columns`;
- rows: where rows are reduced, a block of threads computes a row: the reductions together, then
  what depends on their results, spread over the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from ...ir.tile import WARP
from .access import Access
from .expr import INDEX, Expr, Memory, Reduce, walk
from .gpu_columns import reduces_columns, write_columns
from .gpu_emit import DeviceEmitter
from .gpu_reduce import is_shared, values_of
from .gpu_vectors import vector_width
from .index import Atom, Ix, product
from .plan import Store, choose_loops, reduces_of, score, score_of
from .writer import EQ, Lane

THREADS = 256
"""Threads of a block, unless the sizes are known to be small."""

MOST_THREADS = 1024


def write_results_gpu(
    access: Access, e: DeviceEmitter, results: Sequence[tuple[SSAValue, Memory]]
) -> None:
    """Write tensors of one shape to memory, in one loop over blocks."""
    loops, stores, _ = choose_loops(access, access.shape(results[0][0]), results)
    expressions = walk(*[s.value for s in stores])
    reduces = reduces_of(expressions)
    together = [r for r in reduces if _by_rows(r, loops)]
    if together:
        _rows(e, loops, stores, expressions, together)
    elif reduces_columns(loops, reduces):
        write_columns(e, loops, stores, expressions, reduces)
    else:
        _elements(access, e, loops, stores, expressions)


def _by_rows(r: Reduce, loops: Sequence[Atom]) -> bool:
    """Whether neighbouring threads read neighbouring elements if they share a reduction."""
    if not is_shared(r):
        return False
    if r.order == "lanes" or not r.deps:
        return True
    along = score(r.loops[-1], WARP, *values_of(r))
    mine = [a for a in loops if a.deps & r.deps]
    return r.order == "dot" and all(score(a, WARP, *values_of(r)) < along for a in mine)


def _store(e: DeviceEmitter, stores: Sequence[Store]) -> None:
    for s in stores:
        e.store(s.memory, s.indices, s.value)


# ---- elements -----------------------------------------------------------------------------------


def _elements(
    access: Access,
    e: DeviceEmitter,
    loops: Sequence[Atom],
    stores: Sequence[Store],
    expressions: Sequence[Expr],
) -> None:
    if not loops:
        with e.grid([], [], 1):
            _store(e, stores)
        return
    scores = {a: score_of(a, WARP, stores, expressions) for a in loops}
    lane = max(reversed(loops), key=lambda a: scores[a])
    places = [(s.memory, s.indices) for s in stores]
    width = vector_width(e.target, lane, expressions, places, tail=True)
    others = [a for a in loops if a is not lane]
    if lane.extent.constant is None:
        _pieces(e, others, lane, width, stores)
    else:
        _items(access, e, others, lane, width, stores)


def _pieces(
    e: DeviceEmitter, others: Sequence[Atom], lane: Atom, width: int, stores: Sequence[Store]
) -> None:
    """A loop of unknown length in pieces, whose vectors the threads of a block take."""
    with e.grid([*others, lane], [1] * len(others) + [THREADS * width], THREADS):
        e.spread = lane.deps
        start = e.add(e.loops[lane], e.scaled(e.thread, width))

        def body() -> Sequence[SSAValue]:
            _vector(e, lane, start, width, stores)
            return ()

        e.if_(e.less(start, e.index(lane.extent)), body)


def _vector(
    e: DeviceEmitter, lane: Atom, start: SSAValue, width: int, stores: Sequence[Store]
) -> None:
    """One vector, or one by one what is left of the loop."""

    def full() -> Sequence[SSAValue]:
        with e.inside(e.top.block, {lane: start}, Lane(lane, width, None) if width > 1 else None):
            _store(e, stores)
        return ()

    def one(_: SSAValue) -> Sequence[SSAValue]:
        _store(e, stores)
        return ()

    def tail() -> Sequence[SSAValue]:
        e.for_((start, end, e.int_(1)), lane, (), one)
        return ()

    if width == 1:
        full()
        return
    end = e.index(lane.extent)
    e.if_(e.less(end, e.add(start, e.int_(width))), tail, full)


def _items(
    access: Access,
    e: DeviceEmitter,
    others: Sequence[Atom],
    lane: Atom,
    width: int,
    stores: Sequence[Store],
) -> None:
    """The vectors of all rows, numbered through: a row has a known number of them."""
    length = lane.extent.constant
    assert length is not None
    extents = [*[a.extent for a in others], Ix.of(length // width)]
    flat = access.space.loop(product(extents))
    total = flat.extent.constant
    threads = THREADS if total is None else min(THREADS, _threads_for(total))
    with e.grid([flat], [threads], threads):
        number = e.add(e.loops[flat], e.thread)

        def body() -> Sequence[SSAValue]:
            rest, indices = number, []
            for extent in reversed(extents[1:]):
                divisor = e.index(extent)
                indices.append(e.put(arith.RemUIOp, (rest, divisor), INDEX))
                rest = e.put(arith.DivUIOp, (rest, divisor), INDEX)
            indices.append(rest)
            last, *outer = indices
            bound = dict(zip(reversed(others), outer, strict=True))
            for atom in (*others, lane):
                e.spread |= atom.deps
            # What does not depend on the lane, reductions in particular, is no vector.
            with (
                e.inside(e.top.block, bound),
                e.inside(
                    e.top.block,
                    {lane: e.scaled(last, width)},
                    Lane(lane, width, None) if width > 1 else None,
                ),
            ):
                _store(e, stores)
            return ()

        if total is not None and total % threads == 0:
            body()
        else:
            e.if_(e.less(number, e.index(flat.extent)), body)


def _threads_for(count: int) -> int:
    """The least power of two, but at least a warp, that reaches a number."""
    threads = WARP
    while threads < count:
        threads *= 2
    return threads


# ---- rows ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Rows:
    """Loops of a kernel that reduces rows: one block for each iteration of `blocks`, inside of
    which `outer` run in full and `lane` is spread over the threads."""

    blocks: list[Atom]
    outer: list[Atom]
    lane: Atom | None
    stores: Sequence[Store]


def _rows(
    e: DeviceEmitter,
    loops: Sequence[Atom],
    stores: Sequence[Store],
    expressions: Sequence[Expr],
    together: Sequence[Reduce],
) -> None:
    common, reduced = -1, 0
    for r in together:
        common &= r.deps
        reduced |= r.deps
    blocks = [a for a in loops if a.deps & common]
    rest = [a for a in loops if a not in blocks]
    candidates = [a for a in rest if not a.deps & reduced]
    lane = None
    if candidates:
        scores = {a: score_of(a, WARP, stores, expressions) for a in candidates}
        lane = max(reversed(candidates), key=lambda a: scores[a])
    outer = [a for a in rest if a is not lane]
    outer.sort(key=lambda a: -sum(bool(r.deps & a.deps) for r in together))
    plan = _Rows(blocks, outer, lane, stores)
    with e.grid(blocks, [1] * len(blocks), _threads_of(e, plan, together)):
        _outer(e, plan, outer, expressions)


def _threads_of(e: DeviceEmitter, plan: _Rows, together: Sequence[Reduce]) -> int:
    """As many as the longest loop that is spread over them keeps busy."""
    longest = 0
    for loop, values in [(r.loops[-1], values_of(r)) for r in together]:
        if loop.extent.constant is None:
            return THREADS if plan.blocks else MOST_THREADS
        longest = max(longest, loop.extent.constant // vector_width(e.target, loop, walk(*values)))
    if plan.lane is not None and plan.lane.extent.constant is not None:
        longest = max(longest, plan.lane.extent.constant // 4)
    return min(_threads_for(longest), MOST_THREADS // 2 if plan.blocks else MOST_THREADS)


def _outer(
    e: DeviceEmitter, plan: _Rows, loops: Sequence[Atom], expressions: Sequence[Expr]
) -> None:
    if loops:

        def body(_: SSAValue) -> Sequence[SSAValue]:
            _outer(e, plan, loops[1:], expressions)
            return ()

        e.for_((e.int_(0), e.index(loops[0].extent), e.int_(1)), loops[0], (), body)
        return
    for r in reduces_of(expressions):
        _compute_first(e, plan, r)
    if plan.lane is None:
        _by_one_thread(e, lambda: _store(e, plan.stores))
    else:
        _spread(e, plan.lane, plan.stores, expressions)


def _compute_first(e: DeviceEmitter, plan: _Rows, r: Reduce) -> None:
    """Write the reductions that all threads share where all of them are together."""
    here = 0
    for atom in [*plan.blocks, *plan.outer]:
        here |= atom.deps
    if is_shared(r) and not r.deps & ~here:
        e.value(r.values[0])


def _by_one_thread(e: DeviceEmitter, body: Callable[[], None]) -> None:
    def then() -> Sequence[SSAValue]:
        body()
        return ()

    e.if_(e.compare(EQ, e.thread, e.int_(0), None), then)


def _spread(
    e: DeviceEmitter, lane: Atom, stores: Sequence[Store], expressions: Sequence[Expr]
) -> None:
    """The iterations of a loop, thread by thread."""
    width = vector_width(e.target, lane, expressions, [(s.memory, s.indices) for s in stores])
    before, e.spread = e.spread, e.spread | lane.deps
    bounds = (e.scaled(e.thread, width), e.index(lane.extent), e.int_(e.threads * width))

    def body(_: SSAValue) -> Sequence[SSAValue]:
        _store(e, stores)
        return ()

    e.for_(bounds, lane, (), body, Lane(lane, width, None) if width > 1 else None)
    e.spread = before
