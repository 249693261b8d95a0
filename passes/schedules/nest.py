"""Loop nests for results of one shape: which loops, in what order, which of them are vectors.

This is the schedule of everything that is no product of matrices: elementwise kernels, row
kernels such as softmax, reductions of rows and of columns, views and copies. They differ only in
where the expressions' dependences make reductions stand: a row's maximum is written once per row,
before the loop over the columns that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DenseArrayBase, MemRefType, i32
from xdsl.ir import Block, Operation, Region, SSAValue

from ...ir.target import Target
from .access import Access
from .emit import Emitter
from .expr import (
    INDEX,
    Apply,
    Expr,
    Load,
    Memory,
    Result,
    children,
    walk,
)
from .index import ONE, Atom, Ix
from .numbers import Properties
from .plan import FUNCTIONS, Nest, join, plan, reduces_of
from .streams import is_large, itemsize
from .writer import Lane


def write_results(access: Access, e: Emitter, results: Sequence[tuple[SSAValue, Memory]]) -> None:
    """Write tensors to memory. Those of one shape share a nest; nests share their outer loops
    where these are the same, and with them what is computed there, such as sums of rows."""
    groups: dict[tuple[Ix, ...], list[tuple[SSAValue, Memory]]] = {}
    for value, memory in results:
        groups.setdefault(access.shape(value), []).append((value, memory))
    nests: list[list[Nest]] = []
    for shape, group in groups.items():
        nest = plan(access, e, shape, group)
        for others in nests:
            joined = join(access, e, others[0], nest, shape, group)
            if joined is not None:
                others.append(joined)
                break
        else:
            nests.append([nest])
    for together in nests:
        scratch: list[Operation] = []
        stash = _stash(access, e.target, together, scratch)
        waiting = {load.memory.memref for load in stash.values()}
        e.start_stash(stash)
        e.streamed = {m.memref for m in _streamed(together)} - waiting
        write_nests(e, together, scratch)
        e.start_stash({})
        e.streamed = set()


def _streamed(nests: Sequence[Nest]) -> list[Memory]:
    """The large results that are not read."""
    stores = [s for nest in nests for s in nest.stores]
    return [s.memory for s in stores if is_large(s.memory) and not _reads(nests, s.memory)]


def _stash(
    access: Access, target: Target, nests: Sequence[Nest], scratch: list[Operation]
) -> dict[Expr, Load]:
    """Costly values that a reduction of a row and the results of the row both need, and where
    they wait: in the memory of the result, or where that is written around the caches in a row
    of scratch, if that stays in the cache.

    Only where it is the one result: another could still need the value when the memory has
    received what belongs there.
    """
    stash: dict[Expr, Load] = {}
    if sum(len(nest.stores) for nest in nests) != 1:
        return stash
    for nest in nests:
        lane = nest.lane
        if lane is None or nest.step:
            continue
        stores = [s for s in nest.stores if not _reads(nests, s.memory)]
        roots = [s.value for s in nest.stores]
        reduces = [r for r in reduces_of(walk(*roots)) if lane in r.loops]
        bodies = [x for r in reduces for x in children(r.values[0])]
        shared = set(walk(*bodies, reductions=False)) & set(walk(*roots, reductions=False))
        for x in _costly(shared, lane):
            place = next((s for s in stores if s.memory.element == x.type), None)
            if place is not None:
                memory, indices = place.memory, place.indices
                row = lane.extent.constant
                if row is not None and row * itemsize(x.type) <= target.l1 and is_large(memory):
                    memory, indices = _row(x, row, scratch), (Ix.of(lane),)
                elif any(i.deps & ~x.deps for i in indices):
                    continue  # the result repeats it, along loops that it is made outside of
                stores.remove(place)
                load = access.load(memory, indices, ())
                assert isinstance(load, Load)
                stash[x] = load
    return stash


def _row(x: Expr, length: int, scratch: list[Operation]) -> Memory:
    """Scratch for a row of values."""
    none: Properties = {"operandSegmentSizes": DenseArrayBase.from_list(i32, [0, 0])}
    type_ = MemRefType(x.type, [length])
    made = memref.AllocaOp.create(result_types=[type_], properties=none)
    scratch.append(made)
    return Memory(made.memref, x.type, (Ix.of(length),), (ONE,), True, deps=x.deps)


def _costly(found: set[Expr], lane: Atom) -> list[Expr]:
    """Values along the lane that functions went into, without those that others are made of."""
    costly: set[Expr] = set()
    for x in found:
        if x.deps & lane.deps and isinstance(x, Apply) and isinstance(x.op, FUNCTIONS):
            costly.add(x)
    inner = {y for x in costly for y in walk(x) if y is not x}
    return [x for x in costly if x not in inner]


def _reads(nests: Sequence[Nest], memory: Memory) -> bool:
    """Whether memory is also read."""
    base = memory.memref
    roots = [s.value for nest in nests for s in nest.stores]
    return any(isinstance(x, Load) and x.memory.memref is base for x in walk(*roots))


def write_nests(
    e: Emitter,
    nests: Sequence[Nest],
    scratch: Sequence[Operation] = (),
    *,
    parallel: bool = True,
) -> None:
    """Write the loops and the stores of nests with the same outer loops; sequentially if they
    are inside of another loop. Each task has its own `scratch`."""
    first = nests[0]
    if not parallel and first.step != first.width:
        first.outer, first.parallel, first.step = [*first.parallel, *first.outer], [], 0
    e.pending = reduces_of(walk(*[s.value for nest in nests for s in nest.stores]))
    loops = first.shared
    if loops:
        steps = [ONE] * len(first.parallel)
        steps += [Ix.of(first.step)] * (len(loops) - len(first.parallel))
        write_parallel(e, loops, steps, lambda: _bodies(e, nests, scratch))
    else:
        _bodies(e, nests, scratch)


def _bodies(e: Emitter, nests: Sequence[Nest], scratch: Sequence[Operation]) -> None:
    """What is inside of the outer loops: the nest with the fewest loops comes first."""
    lane = nests[0].lane
    for op in scratch:
        e.do(op)
    if lane is not None and nests[0].step == nests[0].width:
        _block(e, nests, lane)
        return
    for nest in sorted(nests, key=lambda n: len(n.loops)):
        rows = [*nest.parallel, *nest.outer]
        e.row = rows[-1] if rows else None
        _outer(e, nest, nest.outer)
    e.row = None


def write_parallel(
    e: Emitter, loops: Sequence[Atom], steps: Sequence[Ix], body: Callable[[], None]
) -> None:
    """An `scf.parallel` over loops."""
    block = Block(arg_types=[INDEX] * len(loops))
    with e.inside(block, dict(zip(loops, block.args, strict=True))):
        body()
        block.add_op(scf.ReduceOp.create())
    count = len(loops)
    e.do(
        scf.ParallelOp.create(
            operands=[
                *[e.int_(0)] * count,
                *[e.index(a.extent) for a in loops],
                *map(e.index, steps),
            ],
            properties={"operandSegmentSizes": DenseArrayBase.from_list(i32, [count] * 3 + [0])},
            regions=[Region(block)],
        )
    )


def _outer(e: Emitter, nest: Nest, loops: Sequence[Atom]) -> None:
    if loops:
        bounds = (e.int_(0), e.index(loops[0].extent), e.int_(1))
        e.for_(bounds, loops[0], (), lambda _: _nothing(_outer(e, nest, loops[1:])))
        return
    lane = nest.lane
    if lane is None:
        _inner(e, nest, nest.inner)
    else:
        _along(e, nest, lane)


def _along(e: Emitter, nest: Nest, lane: Atom) -> None:
    """Vectors along the lane's loop, then a masked one for what is left. Reductions that the
    loop uses stand before it, also because they may leave values for it in memory."""
    for x in walk(*[s.value for s in nest.stores], reductions=False):
        if isinstance(x, Result) and not x.deps & lane.deps:
            e.value(x)
    width, extent = nest.width, lane.extent.constant
    start, end = e.int_(0), e.index(lane.extent)
    if nest.step:
        start = e.loops[lane]
        end = e.put(arith.MinSIOp, (e.add(start, e.int_(nest.step)), end), INDEX)
    exact = extent is not None and extent % width == 0
    if extent is not None and not nest.step:
        stop = e.int_(extent - extent % width)
    elif exact:
        stop = end
    else:
        part = e.put(arith.RemUIOp, (e.sub(end, start), e.int_(width)), INDEX)
        stop = e.sub(end, part)
    if extent is None or extent >= width:
        full = Lane(lane, width, None)
        bounds = (start, stop, e.int_(width))
        e.for_(bounds, lane, (), lambda _: _nothing(_inner(e, nest, nest.inner)), full)
    if exact:
        return
    if extent is not None and not nest.step:
        _tail(e, [nest], lane, stop, end)
    else:
        e.if_(e.less(stop, end), lambda: _nothing(_tail(e, [nest], lane, stop, end)))


def _tail(e: Emitter, nests: Sequence[Nest], lane: Atom, start: SSAValue, end: SSAValue) -> None:
    """The last vector, of which not all lanes exist."""
    width = nests[0].width
    mask = e.mask(e.sub(end, start), width)
    with e.inside(e.top.block, {lane: start}, Lane(lane, width, mask)):
        for nest in nests:
            _inner(e, nest, nest.inner)


def _block(e: Emitter, nests: Sequence[Nest], lane: Atom) -> None:
    """One vector, whose loop is parallel."""
    width, extent = nests[0].width, lane.extent.constant
    start, end = e.loops[lane], e.index(lane.extent)

    def full() -> Sequence[SSAValue]:
        with e.inside(e.top.block, {lane: start}, Lane(lane, width, None)):
            for nest in nests:
                _inner(e, nest, nest.inner)
        return ()

    def tail() -> Sequence[SSAValue]:
        _tail(e, nests, lane, start, end)
        return ()

    if extent is not None and extent % width == 0:
        full()
    elif extent is not None and extent < width:
        tail()
    else:
        beyond = e.less(end, e.add(start, e.int_(width)))
        e.if_(beyond, tail, full)


def _inner(e: Emitter, nest: Nest, loops: Sequence[Atom]) -> None:
    if loops:
        bounds = (e.int_(0), e.index(loops[0].extent), e.int_(1))
        e.for_(bounds, loops[0], (), lambda _: _nothing(_inner(e, nest, loops[1:])))
        return
    for s in nest.stores:
        e.store(s.memory, s.indices, s.value)


def _nothing(_: None) -> Sequence[SSAValue]:
    return ()
