"""Expressions to operations of the kernel stage, scalar or vector.

In a scope with a lane, values that depend on the lane's loop are vectors over consecutive
iterations of that loop; all others stay scalars and are broadcast where they meet vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import arith, cf, memref, scf, vector
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    IntegerAttr,
    MemRefType,
    VectorType,
    i1,
    i64,
)
from xdsl.ir import Attribute, Block, Region, SSAValue

from ...ir.target import Target
from ...ir.tile import GatherOp, PrefetchOp
from .conditions import ConditionWriter
from .expr import (
    Acc,
    Apply,
    Check,
    Choose,
    Const,
    Expr,
    IndexOf,
    Load,
    Memory,
    Param,
    Reduce,
    Result,
)
from .index import ONE, Atom, Ix
from .numbers import FALSE, TRUE, Properties, integers, number
from .options import Blocking
from .streams import LINE, is_aligned, is_large, itemsize
from .writer import Lane

_DIVIDES = (
    arith.DivSIOp,
    arith.DivUIOp,
    arith.RemSIOp,
    arith.RemUIOp,
    arith.FloorDivSIOp,
    arith.CeilDivSIOp,
    arith.CeilDivUIOp,
)
_AND = vector.CombiningKindAttr(vector.CombiningKindFlag.AND)


class Emitter(ConditionWriter):
    """Writes one kernel. `reduce` is called to write reductions."""

    def __init__(
        self,
        block: Block,
        target: Target,
        reduce: Callable[[Emitter, Reduce], Sequence[SSAValue]],
        blocking: Blocking,
    ) -> None:
        super().__init__(block, target)
        self.blocking = blocking
        # Reductions of the results that are being written.
        self.pending: list[Reduce] = []
        # Values that the first loop to compute them also writes to memory, as loads from there;
        # later loops read them. `_stored` are those that are written by now.
        self.stash: dict[Expr, Load] = {}
        self._storing: set[Expr] = set()
        self._stored: set[Expr] = set()
        # Memory written around the caches, and the loop over the rows that are read repeatedly.
        self.streamed: set[SSAValue] = set()
        self.row: Atom | None = None
        self._reads: dict[Load, int] = {}
        self._reduce = reduce

    def value(self, e: Expr) -> SSAValue:
        """The value of an expression: a vector if it varies over the current lane."""
        scope = self.scope_of(e.deps)
        found = scope.values.get(e)
        if found is None:
            stash = self.stash.get(e)
            if stash is not None and e in self._stored:
                return self.value(stash)
            with self.focus(scope):
                found = scope.values[e] = _WRITERS[type(e)](self, e)
                if stash is not None and scope.lane is not None:
                    self.store(stash.memory, stash.indices, e)
                    self._storing.add(e)
        return found

    def keep_stored(self) -> None:
        """A loop is complete: what it stored may be read from now on."""
        self._stored |= self._storing
        self._storing = set()

    def start_stash(self, stash: dict[Expr, Load]) -> None:
        """Keep other values from here on."""
        self.stash, self._storing, self._stored = stash, set(), set()

    def wide(self, e: Expr, width: int) -> SSAValue:
        """The value of an expression in all lanes."""
        if isinstance(e, Const):
            return self.splat(e.value, e.type, width)
        value = self.value(e)
        if isinstance(value.type, VectorType):
            return value
        scope = self.scope_of(e.deps)
        key = ("wide", e, width)
        found = scope.values.get(key)
        if found is None:
            found = scope.values[key] = self.broadcast(value, width, scope)
        return found

    def varies(self, e: Expr) -> Lane | None:
        """The lane over which an expression is a vector, None for scalars."""
        lane = self.lane
        return lane if lane is not None and e.deps & lane.loop.deps else None

    def _const(self, e: Const) -> SSAValue:
        return self.constant(e.value, e.type)

    def _param(self, e: Param) -> SSAValue:
        return e.ssa

    def _index_of(self, e: IndexOf) -> SSAValue:
        lane = self.varies(e)
        return self.index(e.index) if lane is None else self.lanes(e.index, lane.width)

    def _apply(self, e: Apply) -> SSAValue:
        lane = self.varies(e)
        op = e.op
        if lane is None:
            operands = [self.value(a) for a in e.args]
            type_ = e.type
        else:
            operands = [self.wide(a, lane.width) for a in e.args]
            type_ = self.vector(e.type, lane.width)
            if isinstance(op, arith.SelectOp) and e.args[0].deps & lane.loop.deps == 0:
                operands[0] = self.value(e.args[0])
            elif isinstance(op, _DIVIDES) and lane.mask is not None:
                # Lanes that do not exist must not divide by zero.
                one = self.splat(number(1, e.args[1].type), e.args[1].type, lane.width)
                chosen = (lane.mask, operands[1], one)
                operands[1] = self.put(arith.SelectOp, chosen, operands[1].type)
        return self.put(type(op), operands, type_, op.properties)

    def _choose(self, e: Choose) -> SSAValue:
        lane = self.varies(e)
        width = None if lane is None else lane.width
        condition = self.guard(e.guards, width)
        if width is None:
            arms = (self.value(e.inside), self.value(e.outside))
        else:
            arms = (self.wide(e.inside, width), self.wide(e.outside, width))
        return self.put(arith.SelectOp, (condition, *arms), arms[0].type)

    def _check(self, e: Check) -> SSAValue:
        scope = self.scope_of(e.condition.deps)
        key = ("checked", e.condition, e.message)
        if key not in scope.values:
            scope.values[key] = True
            with self.focus(scope):
                self._assert(e)
        return self.value(e.value)

    def _assert(self, e: Check) -> None:
        condition = self.value(e.condition)
        lane = self.lane
        if isinstance(condition.type, VectorType):
            assert lane is not None
            if lane.mask is not None:
                true = self.splat(TRUE, i1, lane.width)
                chosen = (lane.mask, condition, true)
                condition = self.put(arith.SelectOp, chosen, condition.type)
            condition = self.put(vector.ReductionOp, (condition,), i1, {"kind": _AND})
        self.do(cf.AssertOp.create(operands=(condition,), properties=e.message.properties))

    def _acc(self, e: Acc) -> SSAValue:
        raise AssertionError("an accumulator outside of its reduction")

    def _result(self, e: Result) -> SSAValue:
        scope = self.top
        found = scope.values.get(e.reduce)
        if found is None:
            found = scope.values[e.reduce] = self._reduce(self, e.reduce)
        return found[e.number]

    # ---- memory ---------------------------------------------------------------------------------

    def memref(self, memory: Memory) -> SSAValue:
        """The memref of memory, reshaped where the memory is."""
        if memory.source is None:
            return memory.memref
        known = self.stack[0].values
        found = known.get(("memref", id(memory)))
        if found is None:
            shape = [DYNAMIC_INDEX if (n := e.constant) is None else n for e in memory.shape]
            runs = ArrayAttr([ArrayAttr([IntegerAttr(d, i64) for d in r]) for r in memory.runs])
            source, type_ = self.memref(memory.source), MemRefType(memory.element, shape)
            properties: dict[str, Attribute] = {"reassociation": runs}
            if len(memory.shape) > len(memory.source.shape):
                dynamic = [self.index(n) for n in memory.shape if n.constant is None]
                properties["static_output_shape"] = DenseArrayBase.from_list(i64, shape)
                op, operands = memref.ExpandShapeOp, [source, *dynamic]
            else:
                op, operands = memref.CollapseShapeOp, [source]
            found = self.put(op, operands, type_, properties, self.stack[0])
            known["memref", id(memory)] = found
        return found

    def _load(self, e: Load) -> SSAValue:
        lane = self.varies(e)
        if lane is None:
            return self._load_scalar(e)
        mask = lane.mask
        if e.guards:
            inside = self.guard(e.guards, lane.width)
            if not isinstance(inside.type, VectorType):
                inside = self.broadcast(inside, lane.width)
            mask = inside if mask is None else self.put(arith.AndIOp, (mask, inside), mask.type)
        base, indices = self.memref(e.memory), e.indices
        type_ = self.vector(e.type, lane.width)
        steps = [lane.step(i) for i in indices]
        if is_row(e.memory, steps):
            operands = [base, *map(self.index, indices)]
            if mask is None:
                self._ask(e, lane)
                return self.put(vector.LoadOp, operands, type_)
            other = self.splat(number(0, e.type), e.type, lane.width)
            return self.put(vector.MaskedLoadOp, [*operands, mask, other], type_)
        if steps and steps[-1] == Ix.of(2) and is_row(e.memory, [*steps[:-1], ONE]):
            return self._every_second(e, lane, mask)
        if mask is None:
            mask = self.splat(TRUE, i1, lane.width)
        known = [s for s in steps if s is not None]
        if len(known) == len(steps):
            stride = Ix(())
            for s, m in zip(known, e.memory.strides, strict=True):
                stride = stride + s * m
            if not stride.terms and not e.guards:
                one = self.put(memref.LoadOp, [base, *map(self.index, indices)], e.type)
                return self.broadcast(one, lane.width)
            offsets, at = self._steps(stride, lane.width), indices
        else:
            flat = Ix(())
            for i, m in zip(indices, e.memory.strides, strict=True):
                flat = flat + i * m
            offsets, at = self.lanes(flat, lane.width), [Ix(())] * len(indices)
        op = GatherOp.create(
            operands=[base, *map(self.index, at), offsets, mask], result_types=[type_]
        )
        return self.do(op).results[0]

    def _every_second(self, e: Load, lane: Lane, mask: SSAValue | None) -> SSAValue:
        """Every second element of a row, out of two vectors that end with the last one."""
        width = lane.width
        lanes = range(width)
        halves = []
        for first, odd in ((0, 0), (width - 1, 1)):
            *outer, column = map(self.index, e.indices)
            operands = [self.memref(e.memory), *outer, self.add(column, self.int_(first))]
            type_ = self.vector(e.type, width)
            if mask is None:
                halves.append(self.put(vector.LoadOp, operands, type_))
                continue
            nothing = self.splat(FALSE, i1, width)
            wanted = [(first + j) // 2 if j % 2 == odd else width for j in lanes]
            some = Properties(mask=integers(wanted))
            there = self.put(vector.ShuffleOp, (mask, nothing), mask.type, some)
            other = self.splat(number(0, e.type), e.type, width)
            halves.append(self.put(vector.MaskedLoadOp, [*operands, there, other], type_))
        order = Properties(mask=integers([2 * j + (2 * j >= width) for j in lanes]))
        return self.put(vector.ShuffleOp, halves, halves[0].type, order)

    def _ask(self, e: Load, lane: Lane) -> None:
        """Prefetch the next row of large memory when a row is read for the second time."""
        row = self.row
        if row is None or not e.deps & row.deps or not is_large(e.memory):
            return
        self._reads[e] = self._reads.get(e, 0) + 1
        if self._reads[e] != 2:
            return
        with self.inside(self.top.block, {row: self.add(self.loops[row], self.int_(1))}):
            *outer, column = map(self.index, e.indices)
            for n in range(0, lane.width, LINE // itemsize(e.memory.element)):
                at = [*outer, self.add(column, self.int_(n))]
                self.do(PrefetchOp.get(self.memref(e.memory), at))

    def _load_scalar(self, e: Load) -> SSAValue:
        operands = [self.memref(e.memory), *map(self.index, e.indices)]
        if not e.guards:
            return self.put(memref.LoadOp, operands, e.type)
        condition = self.guard(e.guards, None)
        nothing = self.constant(number(0, e.type), e.type)
        then, other = Block(), Block()
        load = memref.LoadOp.create(operands=operands, result_types=(e.type,))
        then.add_ops([load, scf.YieldOp.create(operands=load.results)])
        other.add_op(scf.YieldOp.create(operands=(nothing,)))
        return self.do(
            scf.IfOp.create(
                operands=(condition,),
                result_types=(e.type,),
                regions=[Region(then), Region(other)],
            )
        ).results[0]

    def store(self, memory: Memory, indices: Sequence[Ix], e: Expr) -> None:
        """Write an element, or a vector of them along the current lane."""
        lane = self.lane
        base = self.memref(memory)
        if lane is None:
            value = self.value(e)
            self.do(memref.StoreOp.create(operands=[value, base, *map(self.index, indices)]))
            return
        value = self.wide(e, lane.width)
        steps = [lane.step(i) for i in indices]
        at = list(map(self.index, indices))
        if not is_row(memory, steps):
            self._scatter(base, indices, value, lane)
        elif lane.mask is None:
            stored = self.do(vector.StoreOp.create(operands=[value, base, *at]))
            if memory.memref in self.streamed and is_aligned(memory, indices, lane):
                stored.properties["nontemporal"] = TRUE
        else:
            self.do(vector.MaskedStoreOp.create(operands=[base, *at, lane.mask, value]))

    def _scatter(self, base: SSAValue, indices: Sequence[Ix], value: SSAValue, lane: Lane) -> None:
        """Store lane by lane."""
        assert isinstance(value.type, VectorType)
        numbers = [self.lanes(i, lane.width) for i in indices]
        for n in range(lane.width):
            block = Block()
            with self.inside(block) as scope:
                at = [self.extract(v, n, scope) for v in numbers]
                one = self.extract(value, n, scope)
                self.do(memref.StoreOp.create(operands=[one, base, *at]))
            if lane.mask is None:
                for op in list(block.ops):
                    op.detach()
                    self.do(op)
                continue
            there = self.extract(lane.mask, n)
            block.add_op(scf.YieldOp.create())
            self.do(scf.IfOp.create(operands=(there,), regions=[Region(block), Region()]))


def is_row(memory: Memory, steps: Sequence[Ix | None]) -> bool:
    """Whether consecutive lanes are consecutive elements of the last dimension."""
    if not steps or steps[-1] != ONE or memory.strides[-1] != ONE:
        return False
    return all(s is not None and not s.terms for s in steps[:-1])


_WRITERS: dict[type[Expr], Callable[[Emitter, Any], SSAValue]] = {
    Const: Emitter._const,
    Param: Emitter._param,
    IndexOf: Emitter._index_of,
    Load: Emitter._load,
    Apply: Emitter._apply,
    Choose: Emitter._choose,
    Check: Emitter._check,
    Acc: Emitter._acc,
    Result: Emitter._result,
}
