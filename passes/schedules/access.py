"""From tensors to elements: what a tensor of a kernel holds at an index, as an expression.

Nothing is computed into temporary tensors. Asked for an element, `Access.at` goes back through
the operations that make it: a `linalg.generic` maps the index and inlines its body, a slice adds
its offset, a pad chooses between the border and a guarded element, a reshape renumbers. What is
left are loads from the kernel's memrefs, arithmetic, and reductions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from xdsl.dialects import arith, bufferization, cf, math, memref, tensor
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, Block, Operation, SSAValue

from .expr import Check, Expr, Guards, Memory
from .generic import Generic
from .index import ZERO, Space
from .moves import MOVES, constant, extract
from .scalars import Env, Indices, ScheduleError, holds, scalar_operands
from .shapes import Shapes, divides


class Access(Shapes):
    """The elements of a kernel's tensors. `lanes` gives the number of lanes over which a
    reduction in a type is interleaved, and `contract` whether sums of products are products of
    matrices (None: not known)."""

    def __init__(
        self,
        space: Space,
        lanes: Callable[[Attribute], int],
        contract: bool | None = None,
    ) -> None:
        super().__init__(space)
        self.lanes = lanes
        self.contract = contract
        self._generics: dict[Operation, Generic] = {}

    def operation(self, op: Operation, args: list[Expr], guards: Guards) -> Expr:
        match op:
            case tensor.DimOp() | memref.DimOp():
                index = self.as_index(self.scalar(op.index)).constant
                if index is None:
                    raise ScheduleError(op, "the dimension must be a constant")
                return self.index(self.shape(op.source)[index])
            case tensor.ExtractOp():
                return extract(self, op, [self.as_index(a) for a in args], guards)
            case _:
                return super().operation(op, args, guards)

    def at(self, value: SSAValue, indices: Indices, guards: Guards = ()) -> Expr:
        """The element of a tensor at `indices`; where a guard does not hold, anything."""
        known = self.memory.get(value)
        if known is not None:
            return self.read(known, indices, guards)
        key = (value, indices, guards)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self._element(value, indices, guards)
        return found

    def pieces(self, value: SSAValue, memory: Memory) -> list[tuple[SSAValue, Memory]]:
        """The tensors that a result is joined from, each with the part of memory that it fills."""
        op = value.owner
        if not isinstance(op, tensor.ConcatOp) or value in self.memory:
            return [(value, memory)]
        axis = op.dim.value.data
        origin = list(memory.origin or [ZERO] * len(memory.shape))
        found: list[tuple[SSAValue, Memory]] = []
        for part in op.inputs:
            found += self.pieces(part, replace(memory, origin=tuple(origin)))
            origin[axis] = origin[axis] + self.shape(part)[axis]
        return found

    def read(self, memory: Memory, indices: Indices, guards: Guards) -> Expr:
        """An element in memory. Dimensions that a loop runs through as one become one."""
        if any(divides(i) for i in indices) and memory.contiguous:
            memory, indices = self.collapsed(memory, indices)
        return self.load(memory, indices, tuple(g for g in guards if not holds(g)))

    def _element(self, value: SSAValue, indices: Indices, guards: Guards) -> Expr:
        op = value.owner
        type_ = value.type
        assert isinstance(op, Operation) and isinstance(type_, TensorType)
        match op:
            case bufferization.ToTensorOp():
                return self.read(self.memref(op.memref), indices, guards)
            case linalg.FillOp():
                return self.scalar(op.inputs[0])
            case tensor.SplatOp():
                return self.scalar(op.input)
            case LinalgStructuredOperation():
                return self.generic(op).results(op.results.index(value), indices, guards)
            case tensor.CastOp():
                return self.at(op.source, indices, guards)
            case tensor.EmptyOp():
                return self.number(0, type_.element_type)
            case arith.ConstantOp():
                return constant(self, op, indices)
            case _ if type(op) in MOVES:
                return MOVES[type(op)](self, op, indices, guards)
            case _ if type(op) in _ARITHMETIC:
                args = tuple(self.at(v, indices, guards) for v in op.operands)
                return self.apply(op, args, type_.element_type)
            case _:
                raise ScheduleError(op, "is not supported in a kernel")

    def generic(self, op: LinalgStructuredOperation) -> Generic:
        found = self._generics.get(op)
        if found is None:
            found = self._generics[op] = Generic(self, op)
        return found

    def body(self, block: Block, env: Env, loops: Indices, guards: Guards) -> list[Expr]:
        """Inline a block whose arguments are `env`; returns what it yields."""
        checks: list[tuple[Expr, Operation]] = []
        for op in block.ops:
            if isinstance(op, linalg.YieldOp | tensor.YieldOp):
                yielded = [self.scalar(v, env) for v in op.operands]
                return [self._checked(y, checks, guards) for y in yielded]
            if isinstance(op, cf.AssertOp):
                checks.append((self.scalar(op.arg, env), op))
            elif isinstance(op, linalg.IndexOp):
                env[op.result] = self.index(loops[op.dim.value.data])
            else:
                args = [self.scalar(v, env) for v in scalar_operands(op)]
                env[op.results[0]] = self.operation(op, args, guards)
        raise AssertionError("a body without terminator")

    def _checked(self, value: Expr, checks: list[tuple[Expr, Operation]], guards: Guards) -> Expr:
        for condition, message in checks:
            if guards:
                true = self.number(1, condition.type)
                condition = self.choose(guards, condition, true)
            value = Check(value.type, value.deps | condition.deps, condition, message, value)
        return value


_ARITHMETIC = {
    *(op for op in arith.Arith.operations if op is not arith.ConstantOp),
    *math.Math.operations,
}
