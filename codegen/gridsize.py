"""How many blocks a loop over blocks has, as an expression that the runtime evaluates."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation, SSAValue

from .errors import CodegenError

if TYPE_CHECKING:
    from .emit import Emitter

Size = int | str
"""A number, or an expression as `runtime.sizes` has it, which can stand in any other."""


def size_name(number: int) -> str:
    """What a size of the kernel is called in expressions, and as a parameter."""
    return f"s{number}"


def grid_size(e: Emitter, loop: scf.ParallelOp) -> Size:
    """The number of iterations of a loop, over the sizes of the kernel: see `runtime.launch`.

    Raises CodegenError for bounds that are not computed from sizes.
    """
    total: Size = 1
    for lo, hi, step in zip(loop.lowerBound, loop.upperBound, loop.step, strict=True):
        first, last, by = (_expression(e, loop, v) for v in (lo, hi, step))
        total = _mul(total, _max(_ceildiv(_sub(last, first), by), 0))
    return total


def _expression(e: Emitter, loop: scf.ParallelOp, value: SSAValue) -> Size:
    known = e.values.get(value, "")
    if known.isdigit():
        return int(known)
    if known.startswith("%s") and known[2:].isdigit():
        return known[1:]
    op = value.owner
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return op.value.value.data
    if isinstance(op, arith.IndexCastOp):
        return _expression(e, loop, op.input)
    combine = _OPERATIONS.get(type(op)) if isinstance(op, Operation) else None
    if combine is not None and isinstance(op, Operation):
        return combine(*[_expression(e, loop, operand) for operand in op.operands])
    what = op.name if isinstance(op, Operation) else f"an argument of type {value.type}"
    raise CodegenError.at(loop, f"the number of blocks cannot depend on {what}")


_Combine = Callable[[Size, Size], Size]


def _operation(compute: Callable[[int, int], int], text: str, unit: int | None = None) -> _Combine:
    """An operation on sizes, done at once on numbers; `unit` is a right operand that changes
    nothing."""

    def apply(a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return compute(a, b)
        return a if b == unit else text.format(a, b)

    return apply


_add = _operation(operator.add, "({} + {})", 0)
_sub = _operation(operator.sub, "({} - {})", 0)
_product = _operation(operator.mul, "{} * {}", 1)
_floordiv = _operation(operator.floordiv, "floordiv({}, {})", 1)
_max = _operation(max, "max({}, {})")


def _mul(a: Size, b: Size) -> Size:
    return b if a == 1 else _product(a, b)


def _ceildiv(a: Size, b: Size) -> Size:
    return _floordiv(_add(a, _sub(b, 1)), b)


_OPERATIONS: dict[type[Operation], _Combine] = {
    arith.AddiOp: _add,
    arith.SubiOp: _sub,
    arith.MuliOp: _mul,
    arith.FloorDivSIOp: _floordiv,
    arith.CeilDivSIOp: _ceildiv,
    arith.CeilDivUIOp: _ceildiv,
    arith.DivUIOp: _floordiv,
    arith.RemUIOp: _operation(operator.mod, "mod({}, {})"),
    arith.MinSIOp: _operation(min, "min({}, {})"),
    arith.MaxSIOp: _max,
}
"""Those on sizes that are not negative."""
