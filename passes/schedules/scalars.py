"""Scalar operations of a kernel as expressions, arithmetic on indices as indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    IndexType,
    IntegerAttr,
    MemRefType,
    TensorType,
    i1,
)
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from .expr import (
    INDEX,
    Apply,
    Choose,
    Const,
    Expr,
    Guards,
    IndexOf,
    Load,
    Memory,
    Param,
    Range,
)
from .index import ONE, Ix, Space, fits
from .numbers import number, value_of

Indices = tuple[Ix, ...]
Env = dict[SSAValue, Expr]


class ScheduleError(Exception):
    """A kernel that the schedules cannot compile; `op` is the operation at fault."""

    def __init__(self, op: Operation, message: str) -> None:
        super().__init__(f"{op.name}: {message}")
        self.op = op


class Scalars:
    """Makes the expressions of a kernel; equal ones are the same object."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._values: dict[Any, Expr] = {}

    def const(self, value: Attribute, type_: Attribute) -> Expr:
        key = (Const, value, type_)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = Const(type_, 0, value)
        return found

    def number(self, value: int | float, type_: Attribute) -> Expr:
        """A constant of a scalar type."""
        return self.const(number(value, type_), type_)

    def index(self, index: Ix) -> Expr:
        key = (IndexOf, index)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = IndexOf(INDEX, index.deps, index)
        return found

    def load(self, memory: Memory, indices: Indices, guards: Guards) -> Expr:
        key = (Load, id(memory), memory.deps, indices, guards)
        found = self._values.get(key)
        if found is None:
            deps = memory.deps
            for i in indices:
                deps |= i.deps
            for g in guards:
                deps |= g.deps
            found = self._values[key] = Load(memory.element, deps, memory, indices, guards)
        return found

    def apply(self, op: Operation, args: tuple[Expr, ...], type_: Attribute) -> Expr:
        key = (Apply, type(op), type_, tuple(op.properties.values()), args)
        found = self._values.get(key)
        if found is None:
            deps = 0
            for a in args:
                deps |= a.deps
            found = self._values[key] = Apply(type_, deps, op, args)
        return found

    def choose(self, guards: Guards, inside: Expr, outside: Expr) -> Expr:
        kept = tuple(g for g in guards if not holds(g))
        if not kept:
            return inside
        if isinstance(inside, Load) and set(kept) <= set(inside.guards) and _is_zero(outside):
            return inside  # which is 0 where a guard does not hold
        key = (Choose, kept, inside, outside)
        found = self._values.get(key)
        if found is None:
            deps = inside.deps | outside.deps
            for g in kept:
                deps |= g.deps
            found = self._values[key] = Choose(inside.type, deps, kept, inside, outside)
        return found

    # ---- scalars ------------------------------------------------------------------------------

    def scalar(self, value: SSAValue, env: Env | None = None) -> Expr:
        """A scalar SSA value outside of bodies, or inside of one with values `env`."""
        if env is not None:
            found = env.get(value)
            if found is not None:
                return found
        key = (Param, value)
        found = self._values.get(key)
        if found is not None:
            return found
        owner = value.owner
        if isinstance(value, BlockArgument):
            if isinstance(value.type, IndexType):
                made = self.index(self.space.value(value))
            else:
                made = Param(value.type, 0, value)
        else:
            assert isinstance(owner, Operation)
            made = self.operation(owner, [self.scalar(v, env) for v in scalar_operands(owner)], ())
        self._values[key] = made
        return made

    def bind(self, value: SSAValue, e: Expr) -> None:
        """Say what a scalar is: an index of a loop, for example."""
        self._values[Param, value] = e

    def as_index(self, e: Expr) -> Ix:
        """An expression of type index as an index."""
        match e:
            case IndexOf():
                return e.index
            case Const(value=IntegerAttr()):
                return Ix.of(value_of(e.value))
            case Apply(op=arith.IndexCastOp(), args=(Apply(op=arith.IndexCastOp(), args=(x,)),)):
                if isinstance(x, IndexOf):
                    return x.index
        return self.space.data(e)

    def index_of(self, value: SSAValue, env: Env | None = None) -> Ix:
        return self.as_index(self.scalar(value, env))

    def operation(self, op: Operation, args: list[Expr], guards: Guards) -> Expr:
        """The result of a scalar operation; what it reads from tensors needs the guards only."""
        if isinstance(op, arith.ConstantOp):
            if isinstance(op.value, IntegerAttr) and isinstance(op.result.type, IndexType):
                return self.index(Ix.of(op.value.value.data))
            return self.const(op.value, op.result.type)
        type_ = op.results[0].type
        if isinstance(type_, IndexType):
            folded = self._index_arithmetic(op, args)
            if folded is not None:
                return self.index(folded)
        if isinstance(op, arith.TruncIOp) and type_ == i1:
            (x,) = args
            if isinstance(x, Apply) and isinstance(x.op, arith.ExtUIOp) and x.args[0].type == i1:
                return x.args[0]
            if isinstance(x, Const) and isinstance(x.value, IntegerAttr):
                return self.number(x.value.value.data & 1, i1)
        if isinstance(op, arith.IndexCastOp) and isinstance(args[0], Const):
            found = args[0].value
            assert isinstance(found, IntegerAttr)
            if isinstance(type_, IndexType):
                return self.index(Ix.of(found.value.data))
            return self.number(found.value.data, type_)
        if op.regions or len(op.results) != 1:
            raise ScheduleError(op, "is not supported in a kernel")
        return self.apply(op, tuple(args), type_)

    def _index_arithmetic(self, op: Operation, args: list[Expr]) -> Ix | None:
        """The polynomial for arithmetic on indices; None where it has none."""
        if isinstance(op, arith.IndexCastOp):
            x = args[0]
            if not isinstance(x, Apply) or not isinstance(x.op, arith.IndexCastOp):
                return None
            inner = x.args[0]
            return inner.index if isinstance(inner, IndexOf) else None
        if len(args) != 2 or not all(isinstance(a, IndexOf) for a in args):
            return None
        x, y = (self.as_index(a) for a in args)
        match op:
            case arith.AddiOp():
                return x + y
            case arith.SubiOp():
                return x - y
            case arith.MuliOp():
                return x * y
            case arith.FloorDivSIOp() | arith.DivUIOp() | arith.DivSIOp():
                return self.space.floordiv(x, y)
            case arith.CeilDivSIOp() | arith.CeilDivUIOp():
                return self.space.floordiv(x + y - ONE, y)
            case arith.RemUIOp() | arith.RemSIOp():
                return self.space.mod(x, y)
            case arith.MinSIOp() | arith.MinUIOp():
                return self.space.minimum(x, y)
            case arith.MaxSIOp() | arith.MaxUIOp():
                return self.space.maximum(x, y)
            case _:
                return None


def holds(guard: Range) -> bool:
    """Whether a condition is certain."""
    return fits(guard.index - guard.low, guard.high - guard.low)


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Const) and e.value == number(0, e.type)


def scalar_operands(op: Operation) -> Sequence[SSAValue]:
    """The operands of a scalar operation that are scalars."""
    return [v for v in op.operands if not isinstance(v.type, TensorType | MemRefType)]
