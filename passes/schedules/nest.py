"""Loop nests for results of one shape: which loops, in what order, which of them are vectors.

This is the schedule of everything that is no product of matrices: elementwise kernels, row
kernels such as softmax, reductions of rows and of columns, views and copies. They differ only in
where the expressions' dependences make reductions stand: a row's maximum is written once per row,
before the loop over the columns that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.dialects import arith, math, scf
from xdsl.dialects.builtin import AnyFloat, DenseArrayBase, IntegerType, i1, i32
from xdsl.ir import Attribute, Block, Region, SSAValue

from ...ir.target import Target
from .access import Access
from .emit import Emitter, is_row
from .expr import (
    INDEX,
    Apply,
    Choose,
    Expr,
    IndexOf,
    Load,
    Memory,
    Reduce,
    Result,
    children,
    walk,
)
from .generic import is_plain
from .index import ZERO, Atom, Ix, coefficient, lane_step, product
from .writer import Lane

UNROLL, HEAVY = 4, 24
"""Vectors computed side by side; two where a kernel has more than `HEAVY` operations, whose
intermediate values would not fit the registers."""


_FUNCTIONS = tuple(op for op in math.Math.operations if op not in (math.FmaOp, math.AbsFOp))


@dataclass(slots=True)
class Store:
    """One result: where it is written, and what."""

    memory: Memory
    indices: tuple[Ix, ...]
    value: Expr


@dataclass(slots=True)
class Nest:
    """Loops around stores. `parallel` loops are outermost, then `outer`, then the lane's loop
    (vectors of `width`), then `inner`. With `step` the lane's loop is parallel too, in pieces."""

    stores: list[Store]
    parallel: list[Atom] = field(default_factory=list)
    outer: list[Atom] = field(default_factory=list)
    lane: Atom | None = None
    inner: list[Atom] = field(default_factory=list)
    width: int = 1
    step: int = 0
    # The loops in the order of the dimensions, and the dimensions that each runs through.
    loops: list[Atom] = field(default_factory=list)
    runs: list[list[int]] = field(default_factory=list)

    @property
    def shared(self) -> list[Atom]:
        """The loops that run in parallel."""
        return [*self.parallel, self.lane] if self.step and self.lane else self.parallel

    @property
    def by_chunks(self) -> bool:
        """Whether the lane's loop is parallel in pieces of several vectors."""
        return bool(self.step) and self.step != self.width


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
            joined = _join(access, e, others[0], nest, shape, group)
            if joined is not None:
                others.append(joined)
                break
        else:
            nests.append([nest])
    for together in nests:
        e.start_stash(_stash(access, together))
        write_nests(e, together)
        e.start_stash({})


def _stash(access: Access, nests: Sequence[Nest]) -> dict[Expr, Load]:
    """Costly values that a reduction of a row and the results of the row both need, and the
    result in whose memory they can wait."""
    stash: dict[Expr, Load] = {}
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
                stores.remove(place)
                load = access.load(place.memory, place.indices, ())
                assert isinstance(load, Load)
                stash[x] = load
    return stash


def _costly(found: set[Expr], lane: Atom) -> list[Expr]:
    """Values along the lane that functions went into, without those that others are made of."""
    costly: set[Expr] = set()
    for x in found:
        if x.deps & lane.deps and isinstance(x, Apply) and isinstance(x.op, _FUNCTIONS):
            costly.add(x)
    inner = {y for x in costly for y in walk(x) if y is not x}
    return [x for x in costly if x not in inner]


def _reads(nests: Sequence[Nest], memory: Memory) -> bool:
    """Whether memory is also read."""
    base = memory.memref
    roots = [s.value for nest in nests for s in nest.stores]
    return any(isinstance(x, Load) and x.memory.memref is base for x in walk(*roots))


# ---- planning -----------------------------------------------------------------------------------


def plan(
    access: Access,
    e: Emitter,
    shape: tuple[Ix, ...],
    results: Sequence[tuple[SSAValue, Memory]],
) -> Nest:
    """Choose the loops for results of a shape."""
    loops, stores, runs = choose_loops(access, shape, results)
    nest = plan_stores(e, loops, stores)
    nest.loops, nest.runs = loops, runs
    return nest


def _join(
    access: Access,
    e: Emitter,
    first: Nest,
    nest: Nest,
    shape: tuple[Ix, ...],
    results: Sequence[tuple[SSAValue, Memory]],
) -> Nest | None:
    """A nest with the outer loops of another one as its own, None where they differ."""
    pairs = list(zip(nest.shared, first.shared, strict=False))
    if not pairs or len(nest.shared) != len(first.shared) or nest.by_chunks or first.by_chunks:
        return None
    if any(a.extent != b.extent for a, b in pairs):
        return None
    if nest.step and (nest.step, nest.width) != (first.step, first.width):
        return None
    same = dict(pairs)
    loops = [same.get(a, a) for a in nest.loops]
    stores = _build(access, shape, results, nest.runs, loops)[1]
    made = plan_stores(e, loops, stores)
    return made if made.shared == first.shared and made.step == first.step else None


def plan_stores(e: Emitter, loops: Sequence[Atom], stores: list[Store]) -> Nest:
    """Choose order and vectors of given loops."""
    nest = Nest(stores)
    if not loops:
        return nest
    expressions = walk(*[s.value for s in stores])
    reduces = reduces_of(expressions)
    blocked = 0
    for r in reduces:
        if r.order == "lanes":
            blocked |= r.deps
    candidates = [a for a in loops if not a.deps & blocked]
    if candidates:
        register = _register(e.target, stores, expressions)
        scores = {a: score_of(a, register, stores, expressions) for a in candidates}
        nest.lane = max(reversed(candidates), key=lambda a: scores[a])
        nest.width = _width(register, nest.lane, stores, expressions)
    _order(nest, loops, reduces, e.blocking.chunk)
    return nest


def choose_loops(
    access: Access, shape: tuple[Ix, ...], results: Sequence[tuple[SSAValue, Memory]]
) -> tuple[list[Atom], list[Store], list[list[int]]]:
    """Loops over a shape, adjacent dimensions made one where no access tells them apart: the
    loops, what is stored, and the dimensions of each loop."""
    long = [d for d, extent in enumerate(shape) if extent.constant != 1]
    if len(long) > 1:
        loops, stores = _build(access, shape, results, [long])
        values = [s.value for s in stores]
        if not reduces_of(walk(*values)) and _is_clean(stores, loops):
            return loops, stores, [long]
    runs = [[d] for d in long]
    loops, stores = _build(access, shape, results, runs)
    merged = _merge(runs, loops, stores) if runs else runs
    if len(merged) < len(runs):
        fewer, fewer_stores = _build(access, shape, results, merged)
        if _is_clean(fewer_stores, fewer):
            return fewer, fewer_stores, merged
    return loops, stores, runs


def _build(
    access: Access,
    shape: tuple[Ix, ...],
    results: Sequence[tuple[SSAValue, Memory]],
    runs: Sequence[Sequence[int]],
    given: Sequence[Atom] = (),
) -> tuple[list[Atom], list[Store]]:
    """The stores where each run of dimensions is one loop: a new one, or one of `given`."""
    loops: list[Atom] = []
    indices = [ZERO] * len(shape)
    taken = 0
    for n, run in enumerate(runs):
        extents = [shape[d] for d in run]
        loop = given[n] if given else access.space.loops([product(extents)], taken)[0]
        taken |= loop.deps
        loops.append(loop)
        for d, i in zip(run, access.space.delinearize(Ix.of(loop), extents), strict=True):
            indices[d] = i
    at = tuple(indices)
    stores = []
    for value, memory in results:
        where, position = memory, at
        if memory.contiguous and any(len(run) > 1 for run in runs):
            where, position = access.collapsed(memory, at)
        stores.append(Store(where, position, access.at(value, at)))
    return loops, stores


def _is_clean(stores: Sequence[Store], loops: Sequence[Atom]) -> bool:
    """Whether no index divides a loop."""
    bits = 0
    for loop in loops:
        bits |= loop.deps
    for s in stores:
        for i in s.indices:
            if any(a.deps & bits and a.kind != "loop" for m, _ in i.terms for a in m):
                return False
    return is_plain([s.value for s in stores], bits)


def _merge(
    runs: list[list[int]], loops: Sequence[Atom], stores: Sequence[Store]
) -> list[list[int]]:
    """Runs of dimensions that can be one loop, judged from the accesses of single loops."""
    offsets: list[Ix] = []
    fixed = 0
    for memory, indices in _accesses(stores):
        if memory.contiguous:
            offset = ZERO
            for index, stride in zip(indices, memory.strides, strict=True):
                offset = offset + index * stride
            offsets.append(offset)
        else:
            for index in indices:
                fixed |= index.deps
    for x in walk(*[s.value for s in stores]):
        if isinstance(x, IndexOf):
            fixed |= x.deps
        elif isinstance(x, Choose | Load):
            for g in x.guards:
                fixed |= g.deps
    out = [list(runs[0])]
    for n in range(1, len(runs)):
        a, b = loops[n - 1], loops[n]
        if not (a.deps | b.deps) & fixed and _continues(offsets, a, b):
            out[-1] += runs[n]
        else:
            out.append(list(runs[n]))
    return out


def _continues(offsets: Sequence[Ix], a: Atom, b: Atom) -> bool:
    for offset in offsets:
        x, y = coefficient(offset, a), coefficient(offset, b)
        if x is None or y is None or x != y * b.extent:
            return False
    return True


def _accesses(stores: Sequence[Store]) -> list[tuple[Memory, tuple[Ix, ...]]]:
    found = [(s.memory, s.indices) for s in stores]
    loads = [x for x in walk(*[s.value for s in stores]) if isinstance(x, Load)]
    return found + [(x.memory, x.indices) for x in loads]


def reduces_of(expressions: Sequence[Expr]) -> list[Reduce]:
    found: dict[int, Reduce] = {}
    for x in expressions:
        if isinstance(x, Result):
            found.setdefault(id(x.reduce), x.reduce)
    return list(found.values())


def score(loop: Atom, width: int, *roots: Expr) -> int:
    """How well a loop suits as vectors for computing some expressions."""
    return score_of(loop, width, (), walk(*roots))


def score_of(loop: Atom, width: int, stores: Sequence[Store], expressions: Sequence[Expr]) -> int:
    """How well a loop suits as vectors of `width`: contiguous accesses against scattered ones."""
    score = 0
    for s in stores:
        steps = [lane_step(i, loop, width) for i in s.indices]
        score += 2 if is_row(s.memory, steps) else -8
    for x in expressions:
        if isinstance(x, Load) and x.deps & loop.deps:
            steps = [lane_step(i, loop, width) for i in x.indices]
            score += 1 if is_row(x.memory, steps) else -2
    return score


def _register(target: Target, stores: Sequence[Store], expressions: Sequence[Expr]) -> int:
    """Lanes of a register of the widest type computed with."""
    bits = [_bits(x.type) for x in expressions if isinstance(x, Apply | Load)]
    bits += [_bits(s.memory.element) for s in stores]
    floats = [_bits(x.type) for x in expressions if isinstance(x.type, AnyFloat)]
    return target.width(max(floats or bits, default=32))


def _width(register: int, lane: Atom, stores: Sequence[Store], expressions: Sequence[Expr]) -> int:
    """Lanes of the vectors along a loop: a few registers, fewer where more accesses are
    contiguous then, or where the loop is short."""
    operations = 0
    for x in expressions:
        if isinstance(x, Apply):
            operations += 8 if isinstance(x.op, _FUNCTIONS) else 1
    width = register * (UNROLL if operations <= HEAVY else UNROLL // 2)
    extent = lane.extent.constant
    while width > register:
        short = extent is not None and (extent < width or extent % width)
        if not short and score_of(lane, width, stores, expressions) == score_of(
            lane, register, stores, expressions
        ):
            break
        width //= 2
    return width


def _bits(type_: Attribute) -> int:
    if type_ == i1:
        return 8
    return type_.bitwidth if isinstance(type_, AnyFloat | IntegerType) else 32


def _order(nest: Nest, loops: Sequence[Atom], reduces: Sequence[Reduce], chunk: int) -> None:
    """Put loops on which reductions depend outside, those that run in parallel first."""
    lane = nest.lane
    others = [a for a in loops if a is not lane]
    dependent = [r.deps for r in reduces if any(r.deps & a.deps for a in loops)]
    if lane is not None and any(d & lane.deps for d in dependent):
        # Columns: the reductions are written per vector, what they do not need goes inside.
        together = 0
        for d in dependent:
            together |= d
        nest.parallel = [a for a in others if a.deps & together]
        nest.inner = [a for a in others if not a.deps & together]
        nest.step = nest.width
        return
    if not dependent:
        nest.parallel = others
        extent = None if lane is None else lane.extent.constant
        if lane is not None and (extent is None or extent > chunk):
            nest.step = chunk
        return
    common = dependent[0]
    for d in dependent[1:]:
        common &= d
    counts = {a: sum(bool(d & a.deps) for d in dependent) for a in others}
    others.sort(key=lambda a: -counts[a])
    nest.parallel = [a for a in others if a.deps & common] or others[:1]
    nest.outer = [a for a in others if a not in nest.parallel]


# ---- writing ------------------------------------------------------------------------------------


def write_nests(e: Emitter, nests: Sequence[Nest], *, parallel: bool = True) -> None:
    """Write the loops and the stores of nests with the same outer loops; sequentially if they
    are inside of another loop."""
    first = nests[0]
    if not parallel and first.step != first.width:
        first.outer, first.parallel, first.step = [*first.parallel, *first.outer], [], 0
    e.pending = reduces_of(walk(*[s.value for nest in nests for s in nest.stores]))
    loops = first.shared
    if loops:
        steps = [1] * len(first.parallel) + [first.step] * (len(loops) - len(first.parallel))
        write_parallel(e, loops, steps, lambda: _bodies(e, nests))
    else:
        _bodies(e, nests)


def _bodies(e: Emitter, nests: Sequence[Nest]) -> None:
    """What is inside of the outer loops: the nest with the fewest loops comes first."""
    lane = nests[0].lane
    if lane is not None and nests[0].step == nests[0].width:
        _block(e, nests, lane)
        return
    for nest in sorted(nests, key=lambda n: len(n.loops)):
        _outer(e, nest, nest.outer)


def write_parallel(
    e: Emitter, loops: Sequence[Atom], steps: Sequence[int], body: Callable[[], None]
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
                *map(e.int_, steps),
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
