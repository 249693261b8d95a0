"""Writing operations into nested loops: scopes, constants, loops.

There is one scope per loop that is being written. A value is written in the deepest scope on whose
loop it depends, once: what is invariant in an inner loop stands outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from xdsl.dialects import arith, scf, vector
from xdsl.dialects.builtin import (
    IntegerAttr,
    VectorType,
    i1,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from ...ir.target import Target
from .expr import INDEX, Expr
from .index import Atom, Ix
from .numbers import NO_WRAP, dense, integers, value_of
from .steps import lane_step

EQ, SLT, SGE = (IntegerAttr(code, i64) for code in (0, 2, 5))


@dataclass(slots=True)
class Lane:
    """`width` iterations of a loop, computed as one vector; `mask` tells which of them exist.
    `aligned` says that the first is a multiple of the width."""

    loop: Atom
    width: int
    mask: SSAValue | None
    aligned: bool = True

    def step(self, index: Ix) -> Ix | None:
        """How much an index grows from lane to lane, None where the steps differ."""
        return lane_step(index, self.loop, self.width if self.aligned else 0)


@dataclass(slots=True)
class Scope:
    """A block being written, in a loop over the atoms of `bits`."""

    block: Block
    bits: int
    lane: Lane | None = None
    values: dict[Any, Any] = field(default_factory=dict)


class Writer:
    """Writes into `block` and the loops inside of it."""

    def __init__(self, block: Block, target: Target) -> None:
        self.target = target
        self.stack = [Scope(block, 0)]
        self.loops: dict[Atom, SSAValue] = {}
        self._vectors: dict[tuple[Attribute, int], VectorType[Attribute]] = {}

    # ---- scopes ---------------------------------------------------------------------------------

    @property
    def top(self) -> Scope:
        return self.stack[-1]

    @property
    def lane(self) -> Lane | None:
        """The lane that vectors in the current scope run over."""
        for scope in reversed(self.stack):
            if scope.lane is not None:
                return scope.lane
        return None

    @property
    def bound(self) -> int:
        """The loops (bits) that are open where the current scope is."""
        return reduce(or_, (scope.bits for scope in self.stack))

    def scope_of(self, deps: int) -> Scope:
        """Where a value with these dependences is written."""
        for scope in reversed(self.stack):
            if scope.bits & deps:
                return scope
        return self.stack[0]

    @contextmanager
    def focus(self, scope: Scope) -> Iterator[None]:
        """Write into an outer scope for a while, as if the inner ones were not open."""
        before = self.stack
        self.stack = before[: before.index(scope) + 1]
        try:
            yield
        finally:
            self.stack = before

    @contextmanager
    def inside(
        self, block: Block, loops: dict[Atom, SSAValue] | None = None, lane: Lane | None = None
    ) -> Iterator[Scope]:
        """Write into a block that binds some loops."""
        bits = 0
        before = self.loops
        if loops:
            self.loops = {**before, **loops}
            for atom in loops:
                bits |= atom.deps
        scope = Scope(block, bits, lane)
        self.stack = [*self.stack, scope]
        try:
            yield scope
        finally:
            self.stack = self.stack[:-1]
            self.loops = before

    def forget(self) -> None:
        """Compute values anew from here on, because memory has changed."""
        for scope in self.stack:
            for key in [k for k in scope.values if isinstance(k, Expr)]:
                del scope.values[key]

    # ---- operations -----------------------------------------------------------------------------

    def put(
        self,
        op: type[Operation],
        operands: Sequence[SSAValue],
        result: Attribute,
        properties: dict[str, Attribute] | None = None,
        scope: Scope | None = None,
    ) -> SSAValue:
        """Append an operation with one result."""
        made = op.create(operands=operands, result_types=(result,), properties=properties or {})
        (scope or self.top).block.add_op(made)
        return made.results[0]

    def do(self, op: Operation) -> Operation:
        """Append an operation."""
        self.top.block.add_op(op)
        return op

    def vector(self, element: Attribute, width: int) -> VectorType[Attribute]:
        found = self._vectors.get((element, width))
        if found is None:
            found = self._vectors[element, width] = VectorType(element, [width])
        return found

    def constant(self, value: Attribute, type_: Attribute) -> SSAValue:
        """A constant, written once at the top of the kernel."""
        known = self.stack[0].values
        found = known.get((value, type_))
        if found is None:
            made = arith.ConstantOp.create(result_types=(type_,), properties={"value": value})
            block = self.stack[0].block
            if block.first_op is None:
                block.add_op(made)
            else:
                block.insert_op_before(made, block.first_op)
            found = known[value, type_] = made.result
        return found

    def int_(self, value: int) -> SSAValue:
        """An index constant."""
        known = self.stack[0].values
        found = known.get(value)
        if found is None:
            found = known[value] = self.constant(IntegerAttr(value, INDEX), INDEX)
        return found

    def splat(self, value: Attribute, element: Attribute, width: int) -> SSAValue:
        """A constant repeated in all lanes."""
        known = self.stack[0].values
        found = known.get((value, element, width))
        if found is None:
            type_ = self.vector(element, width)
            lanes = dense([value_of(value)], type_)
            found = known[value, element, width] = self.constant(lanes, type_)
        return found

    def iota(self, width: int, step: int, start: int = 0) -> SSAValue:
        """start, start + step, start + 2 * step, ... as indices."""
        known = self.stack[0].values
        found = known.get(("iota", width, step, start))
        if found is None:
            type_ = self.vector(INDEX, width)
            lanes = dense([start + i * step for i in range(width)], type_)
            found = known["iota", width, step, start] = self.constant(lanes, type_)
        return found

    def broadcast(self, value: SSAValue, width: int, scope: Scope | None = None) -> SSAValue:
        return self.put(vector.BroadcastOp, (value,), self.vector(value.type, width), scope=scope)

    def add(self, a: SSAValue, b: SSAValue, scope: Scope | None = None) -> SSAValue:
        return self.put(arith.AddiOp, (a, b), a.type, NO_WRAP, scope)

    def sub(self, a: SSAValue, b: SSAValue, scope: Scope | None = None) -> SSAValue:
        return self.put(arith.SubiOp, (a, b), a.type, NO_WRAP, scope)

    def mul(self, a: SSAValue, b: SSAValue, scope: Scope | None = None) -> SSAValue:
        return self.put(arith.MuliOp, (a, b), a.type, NO_WRAP, scope)

    def mask(self, count: SSAValue, width: int) -> SSAValue:
        """The first `count` of `width` lanes."""
        return self.put(vector.CreateMaskOp, (count,), self.vector(i1, width))

    def less(self, a: SSAValue, b: SSAValue, scope: Scope | None = None) -> SSAValue:
        return self.compare(SLT, a, b, scope)

    def compare(
        self, predicate: IntegerAttr, a: SSAValue, b: SSAValue, scope: Scope | None
    ) -> SSAValue:
        type_ = a.type
        flag = self.vector(i1, type_.get_shape()[0]) if isinstance(type_, VectorType) else i1
        return self.put(arith.CmpiOp, (a, b), flag, {"predicate": predicate}, scope)

    def extract(self, value: SSAValue, lane: int, scope: Scope | None = None) -> SSAValue:
        assert isinstance(value.type, VectorType)
        return self.put(
            vector.ExtractOp, (value,), value.type.element_type,
            {"static_position": integers([lane])}, scope,
        )  # fmt: skip

    # ---- loops ----------------------------------------------------------------------------------

    def for_(
        self,
        bounds: tuple[SSAValue, SSAValue, SSAValue],
        loop: Atom | None,
        inits: Sequence[SSAValue],
        body: Callable[..., Sequence[SSAValue]],
        lane: Lane | None = None,
    ) -> Sequence[SSAValue]:
        """An `scf.for`: `body(index, *carried)` gives the next carried values."""
        block = Block(arg_types=[INDEX, *[v.type for v in inits]])
        with self.inside(block, {} if loop is None else {loop: block.args[0]}, lane):
            block.add_op(scf.YieldOp.create(operands=body(*block.args)))
        made = scf.ForOp.create(
            operands=[*bounds, *inits],
            result_types=[v.type for v in inits],
            regions=[Region(block)],
        )
        return self.do(made).results

    def if_(
        self,
        condition: SSAValue,
        then: Callable[[], Sequence[SSAValue]],
        otherwise: Callable[[], Sequence[SSAValue]] | None = None,
    ) -> Sequence[SSAValue]:
        """An `scf.if`; the results are what both sides give."""
        regions, types = [], []
        for side in (then, otherwise):
            if side is None:
                regions.append(Region())
                continue
            block = Block()
            with self.inside(block):
                values = side()
                block.add_op(scf.YieldOp.create(operands=values))
            types = [v.type for v in values]
            regions.append(Region(block))
        made = scf.IfOp.create(operands=(condition,), result_types=types, regions=regions)
        return self.do(made).results
