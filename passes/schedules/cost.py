"""What an iteration of a parallel loop costs, roughly: one sum of instruction costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xdsl.dialects import arith, math, memref, scf, vector
from xdsl.dialects.builtin import AnyFloat, IntegerAttr, IntegerType, VectorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from ...ir.target import Target
from ...ir.tile import GatherOp, MatmulOp


@dataclass(frozen=True, slots=True)
class Span:
    """How far a loop runs: a value known before the parallel loop, at most `cap`."""

    limit: SSAValue
    cap: int | None = None


Cost = dict[tuple[Span, ...], float]
"""Picoseconds: a weight for each product of loop lengths."""

INSTRUCTION, ACCESS, FUNCTION, GATHER, DIVISION = 250.0, 800.0, 4000.0, 700.0, 2000.0
UNKNOWN = 64
"""Length assumed for loops whose bounds are computed inside."""

_ACCESSES = (
    memref.LoadOp, memref.StoreOp, vector.LoadOp, vector.StoreOp, vector.MaskedLoadOp,
    vector.MaskedStoreOp,
)  # fmt: skip
_DIVISIONS = (
    arith.DivfOp, arith.DivSIOp, arith.DivUIOp, arith.RemSIOp, arith.RemUIOp, arith.FloorDivSIOp,
    math.SqrtOp, math.RsqrtOp,
)  # fmt: skip
_FREE = (arith.ConstantOp, scf.YieldOp, scf.ReduceOp)
_FUNCTIONS = tuple(
    op for op in math.Math.operations if op not in (math.FmaOp, math.AbsFOp, math.SqrtOp)
)


class CostModel:
    """The cost of one iteration of `op`."""

    def __init__(self, op: scf.ParallelOp, target: Target) -> None:
        self.op = op
        self.target = target
        self._outside = op.parent
        self._starts = dict(zip(op.body.block.args, op.step, strict=True))

    def iteration(self) -> Cost:
        cost: Cost = {}
        self._block(self.op.body.block, (), 1.0, cost)
        return cost

    def _block(self, block: Block, spans: tuple[Span, ...], times: float, cost: Cost) -> None:
        for op in block.ops:
            if isinstance(op, scf.ForOp):
                span, count = self._span(op)
                inner = spans if span is None else (*spans, span)
                self._block(op.body.block, inner, times * count, cost)
            elif isinstance(op, scf.IfOp):
                # Both sides are rarely equally likely; the first one counts.
                self._block(op.true_region.block, spans, times, cost)
            elif op.regions and not isinstance(op, MatmulOp):
                for region in op.regions:
                    for inner_block in region.blocks:
                        self._block(inner_block, spans, times * UNKNOWN, cost)
            elif not isinstance(op, _FREE):
                self._operation(op, spans, times, cost)

    def _operation(self, op: Operation, spans: tuple[Span, ...], times: float, cost: Cost) -> None:
        if isinstance(op, MatmulOp):
            k = _constant(op.k)
            element: Any = op.c.type
            per = op.mr.value.data * op.nr.value.data / self._per_register(element.element_type)
            weight = per * INSTRUCTION / 2
            if k is None:
                span, count = self._bounded(op.k)
                inner = spans if span is None else (*spans, span)
                cost[inner] = cost.get(inner, 0.0) + times * count * weight
            else:
                cost[spans] = cost.get(spans, 0.0) + times * weight * k
            return
        cost[spans] = cost.get(spans, 0.0) + times * self._weight(op)

    def _weight(self, op: Operation) -> float:
        type_: Attribute | None = op.results[0].type if op.results else None
        if type_ is None and op.operands:
            types = [v.type for v in op.operands if isinstance(v.type, VectorType)]
            type_ = types[-1] if types else op.operands[0].type
        registers, lanes = 1.0, 1
        if isinstance(type_, VectorType):
            lanes = type_.get_shape()[0]
            registers = max(1.0, lanes / self._per_register(type_.element_type))
        if isinstance(op, _ACCESSES):
            return ACCESS * registers if lanes > 1 else INSTRUCTION
        if isinstance(op, GatherOp):
            return GATHER * lanes
        if isinstance(op, _FUNCTIONS):
            return FUNCTION * registers
        if isinstance(op, _DIVISIONS):
            return DIVISION * registers
        return INSTRUCTION * registers

    def _per_register(self, element: Attribute) -> int:
        bits = element.bitwidth if isinstance(element, AnyFloat | IntegerType) else 64
        return self.target.width(max(8, bits))

    def _span(self, op: scf.ForOp) -> tuple[Span | None, float]:
        """The length of a loop as a value (or None) times a number."""
        step = _constant(op.step) or 1
        low, high = _constant(op.lb), _constant(op.ub)
        if low is not None and high is not None:
            return None, max(0, -(-(high - low) // step))
        span, count = self._bounded(op.ub)
        return span, count / step

    def _bounded(self, value: SSAValue) -> tuple[Span | None, float]:
        """An upper bound of a value that the loop over it starts near zero, or at an index of the
        parallel loop."""
        number = _constant(value)
        if number is not None:
            return None, number
        owner = value.owner
        if isinstance(owner, Operation) and owner.parent is not self._outside:
            if isinstance(owner, arith.SubiOp):
                return self._bounded(owner.lhs)
            if isinstance(owner, arith.MinSIOp):
                return self._minimum(owner)
            return None, UNKNOWN
        if isinstance(owner, Block) and owner is not self._outside:
            return None, UNKNOWN
        return Span(value), 1.0

    def _minimum(self, op: arith.MinSIOp) -> tuple[Span | None, float]:
        """`min(start + c, limit)` for a start that the loop begins with: at most c."""
        for a, b in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
            start = a.owner
            if isinstance(start, arith.AddiOp):
                cap = _constant(start.rhs)
                if cap is None:
                    continue
                span, count = self._bounded(b)
                if span is not None:
                    return Span(span.limit, cap), count
                return None, min(cap, count)
        return None, UNKNOWN


def _constant(value: SSAValue) -> int | None:
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return None
