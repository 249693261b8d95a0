"""Choosing loops: which dimensions become one loop, in what order loops stand, which of them is
computed in vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects import math
from xdsl.dialects.builtin import AnyFloat, IntegerType, i1
from xdsl.ir import Attribute, SSAValue

from ...ir.target import Target
from .access import Access
from .emit import Emitter, is_row
from .expr import (
    Apply,
    Choose,
    Expr,
    IndexOf,
    Load,
    Memory,
    Reduce,
    Result,
    walk,
)
from .index import ZERO, Atom, Ix, coefficient, product
from .patterns import is_plain
from .steps import lane_step

UNROLL, HEAVY = 4, 24
"""Vectors computed side by side; two where a kernel has more than `HEAVY` operations, whose
intermediate values would not fit the registers."""


FUNCTIONS = tuple(op for op in math.Math.operations if op not in (math.FmaOp, math.AbsFOp))


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


def join(
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
    stores = build(access, shape, results, nest.runs, loops)[1]
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
        loops, stores = build(access, shape, results, [long])
        values = [s.value for s in stores]
        if not reduces_of(walk(*values)) and _is_clean(stores, loops):
            return loops, stores, [long]
    runs = [[d] for d in long]
    loops, stores = build(access, shape, results, runs)
    merged = _merge(runs, loops, stores) if runs else runs
    if len(merged) < len(runs):
        fewer, fewer_stores = build(access, shape, results, merged)
        if _is_clean(fewer_stores, fewer):
            return fewer, fewer_stores, merged
    return loops, stores, runs


def build(
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
        if memory.origin:
            position = tuple(i + o for i, o in zip(at, memory.origin, strict=True))
        if memory.contiguous and any(len(run) > 1 for run in runs):
            where, position = access.collapsed(memory, position)
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
            operations += 8 if isinstance(x.op, FUNCTIONS) else 1
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
            nest.step = max(1, chunk // nest.width) * nest.width
        return
    common = dependent[0]
    for d in dependent[1:]:
        common &= d
    counts = {a: sum(bool(d & a.deps) for d in dependent) for a in others}
    others.sort(key=lambda a: -counts[a])
    nest.parallel = [a for a in others if a.deps & common] or others[:1]
    nest.outer = [a for a in others if a not in nest.parallel]
