"""How many blocks a loop over blocks has, as an expression that the runtime evaluates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation, SSAValue

from .errors import CodegenError

if TYPE_CHECKING:
    from .emit import Emitter

_FORMATS: dict[type[Operation], str] = {
    arith.AddiOp: "({} + {})",
    arith.SubiOp: "({} - {})",
    arith.MuliOp: "{} * {}",
    arith.FloorDivSIOp: "floordiv({}, {})",
    arith.CeilDivSIOp: "-floordiv(-({}), {})",
    arith.CeilDivUIOp: "-floordiv(-({}), {})",
    arith.DivUIOp: "floordiv({}, {})",
    arith.RemUIOp: "mod({}, {})",
    arith.MinSIOp: "min({}, {})",
    arith.MaxSIOp: "max({}, {})",
}
"""Operations on index values that are not negative."""


def size_name(number: int) -> str:
    """What a size of the kernel is called in expressions, and as a parameter."""
    return f"s{number}"


def grid_size(e: Emitter, loop: scf.ParallelOp) -> int | str:
    """The number of iterations of a loop, over the sizes of the kernel: see `runtime.launch`.

    Raises CodegenError for bounds that are not computed from sizes.
    """
    total: list[str] = []
    for lo, hi, step in zip(loop.lowerBound, loop.upperBound, loop.step, strict=True):
        first, last, by = (_expression(e, loop, v) for v in (lo, hi, step))
        span = last if first == "0" else f"({last} - ({first}))"
        count = span if by == "1" else f"-floordiv(-({span}), {by})"
        if count.isdigit():
            total.append(count)
        else:
            total.append(f"max({count}, 0)")
    if all(count.isdigit() for count in total):
        product = 1
        for count in total:
            product *= int(count)
        return product
    return " * ".join(total)


def _expression(e: Emitter, loop: scf.ParallelOp, value: SSAValue) -> str:
    known = e.values.get(value, "")
    if known.isdigit():
        return known
    if known.startswith("%s") and known[2:].isdigit():
        return known[1:]
    op = value.owner
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return f"({op.value.value.data})"
    if isinstance(op, arith.IndexCastOp):
        return _expression(e, loop, op.input)
    if isinstance(op, Operation) and type(op) in _FORMATS:
        operands = [_expression(e, loop, operand) for operand in op.operands]
        return _FORMATS[type(op)].format(*operands)
    what = op.name if isinstance(op, Operation) else f"an argument of type {value.type}"
    raise CodegenError.at(loop, f"the number of blocks cannot depend on {what}")
