"""Parallel loops over threads, in tasks that are worth the hand-over."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, func, scf
from xdsl.dialects.builtin import DenseArrayBase, IndexType, IntegerAttr, ModuleOp, StringAttr, i32
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from ..ir.target import Target
from .schedules.cost import Cost, CostModel
from .schedules.options import adjusted
from .stages import require_kernels

KERNEL, MAP = "calque.kernel", "calque.map"
THREADS = StringAttr("threads")

TASK = 4_000_000
"""Picoseconds of work that justify a task of their own."""

TASKS_PER_THREAD = 8
"""So many tasks at most for each thread, to balance the load without handing over too often."""

_INDEX = IndexType()
_NO_WRAP = arith.IntegerOverflowAttr("none")


@dataclass(frozen=True)
class Parallelize(ModulePass):
    """Run the outermost parallel loops of kernels on threads, with a grain from their cost.

    The target is this machine, apart from `vector_bits` and `threads` where they are not 0.
    """

    name = "parallelize"
    vector_bits: int = 0
    threads: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_kernels(op, self.name, tiled=True)
        parallelize_module(op, adjusted(Target.host(), self.vector_bits, 0, self.threads))


def parallelize_module(module: ModuleOp, target: Target) -> None:
    """Mark the parallel loops of all kernels of a module."""
    for kernel in list(module.ops):
        if isinstance(kernel, func.FuncOp) and KERNEL in kernel.attributes:
            parallelize(kernel, target)


def parallelize(kernel: func.FuncOp, target: Target) -> None:
    """Mark the outermost parallel loops of one kernel, in place.

    Iterations are put together until a task takes a few microseconds; loops too short for two
    tasks stay sequential. The cost of sizes known at run time is computed there.
    """
    if target.kind != "cpu" or target.threads < 2:
        return
    for op in list(kernel.body.block.ops):
        if isinstance(op, scf.ParallelOp) and not op.initVals and MAP not in op.attributes:
            _threads(op, target)


def _threads(op: scf.ParallelOp, target: Target) -> None:
    b = _Before(op)
    counts = [
        b.ceildiv(b.sub(b.of(hi), b.of(lo)), b.of(step))
        for lo, hi, step in zip(op.lowerBound, op.upperBound, op.step, strict=True)
    ]
    total: _Value = 1
    for count in counts:
        total = b.mul(total, count)
    cost = b.cost(CostModel(op, target).iteration())
    if isinstance(total, int) and isinstance(cost, int) and total * cost < 2 * TASK:
        return
    most = target.threads * TASKS_PER_THREAD
    grain = b.max(b.ceildiv(TASK, b.max(cost, 1)), b.ceildiv(total, most))
    _coarsen(op, b, counts, grain)


def _coarsen(op: scf.ParallelOp, b: _Before, counts: list[_Value], grain: _Value) -> None:
    """Give each task `grain` iterations: whole inner loops first."""
    grains: list[_Value] = []
    for count in reversed(counts):
        here = b.max(b.min(grain, count), 1)
        grains.append(here)
        grain = b.ceildiv(grain, here)
    grains.reverse()
    old = op.body.block
    lows, highs, steps = list(op.lowerBound), list(op.upperBound), list(op.step)
    block = Block(arg_types=[_INDEX] * len(counts))
    inner, indices = block, list(block.args)
    wide: list[SSAValue] = []
    for d, (grain, step) in enumerate(zip(grains, steps, strict=True)):
        if grain == 1:
            wide.append(step)
            continue
        wide.append(b.value(b.mul(grain, b.of(step))))
        body = Block(arg_types=[_INDEX])
        stop = _add(inner, indices[d], wide[-1])
        stop = _put(inner, arith.MinSIOp, stop, highs[d])
        inner.add_op(scf.ForOp.create(operands=[indices[d], stop, step], regions=[Region(body)]))
        if inner is block:
            block.add_op(scf.ReduceOp.create())
        else:
            inner.add_op(scf.YieldOp.create())
        indices[d], inner = body.args[0], body
    for arg, index in zip(list(old.args), indices, strict=True):
        arg.replace_all_uses_with(index)
    for inner_op in list(old.ops):
        inner_op.detach()
        if inner is block or not isinstance(inner_op, scf.ReduceOp):
            inner.add_op(inner_op)
    if inner is not block:
        inner.add_op(scf.YieldOp.create())
    made = scf.ParallelOp.create(
        operands=[*lows, *highs, *wide],
        properties={"operandSegmentSizes": DenseArrayBase.from_list(i32, [len(lows)] * 3 + [0])},
        attributes={MAP: THREADS},
        regions=[Region(block)],
    )
    parent = op.parent
    assert parent is not None
    parent.insert_op_before(made, op)
    op.detach()
    op.erase()


def _put(block: Block, op: type[Operation], a: SSAValue, b: SSAValue) -> SSAValue:
    made = op.create(operands=(a, b), result_types=(_INDEX,))
    block.add_op(made)
    return made.results[0]


def _add(block: Block, a: SSAValue, b: SSAValue) -> SSAValue:
    made = arith.AddiOp.create(
        operands=(a, b), result_types=(_INDEX,), properties={"overflowFlags": _NO_WRAP}
    )
    block.add_op(made)
    return made.results[0]


_Value = int | SSAValue


class _Before:
    """Arithmetic on sizes, before an operation; what is known is computed now."""

    def __init__(self, anchor: Operation) -> None:
        self._anchor = anchor

    def _emit(self, op: type[Operation], a: _Value, b: _Value, flags: bool = False) -> SSAValue:
        return self._insert(
            op.create(
                operands=(self.value(a), self.value(b)),
                result_types=(_INDEX,),
                properties={"overflowFlags": _NO_WRAP} if flags else {},
            )
        )

    def _insert(self, made: Operation) -> SSAValue:
        block = self._anchor.parent
        assert block is not None
        block.insert_op_before(made, self._anchor)
        return made.results[0]

    def of(self, value: SSAValue) -> _Value:
        """The number behind a value, if it is a constant."""
        owner = value.owner
        if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
            return owner.value.value.data
        return value

    def value(self, x: _Value) -> SSAValue:
        if not isinstance(x, int):
            return x
        attr = {"value": IntegerAttr(x, _INDEX)}
        return self._insert(arith.ConstantOp.create(result_types=(_INDEX,), properties=attr))

    def mul(self, a: _Value, b: _Value) -> _Value:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1:
            return b
        return a if b == 1 else self._emit(arith.MuliOp, a, b, True)

    def add(self, a: _Value, b: _Value) -> _Value:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        return a if b == 0 else self._emit(arith.AddiOp, a, b, True)

    def sub(self, a: _Value, b: _Value) -> _Value:
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self._emit(arith.SubiOp, a, b, True)

    def ceildiv(self, a: _Value, b: _Value) -> _Value:
        if isinstance(a, int) and isinstance(b, int):
            return -(-a // b)
        return a if b == 1 else self._emit(arith.CeilDivSIOp, a, b)

    def max(self, a: _Value, b: _Value) -> _Value:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return self._emit(arith.MaxSIOp, a, b)

    def min(self, a: _Value, b: _Value) -> _Value:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self._emit(arith.MinSIOp, a, b)

    def cost(self, cost: Cost) -> _Value:
        """The value of a cost in picoseconds."""
        total: _Value = 0
        for spans, weight in cost.items():
            if len(spans) == 0:
                total = self.add(total, round(weight))
                continue
            term: _Value = 1
            for span in spans:
                term = self.mul(term, span.limit if span.cap is None else self._capped(span))
            # Weights below one picosecond a step still count.
            shift = 1000 if weight < 100 else 1
            term = self.mul(term, max(1, round(weight * shift)))
            total = self.add(total, self.ceildiv(term, shift))
        return total

    def _capped(self, span: object) -> _Value:
        return self.min(span.limit, span.cap)  # pyright: ignore[reportAttributeAccessIssue]


__all__ = ["Parallelize", "parallelize"]
