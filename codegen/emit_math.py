"""`math` to LLVM IR: instructions where processors have them, expansions elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdsl.dialects import math
from xdsl.ir import Operation

from .llvm import const, suffix

if TYPE_CHECKING:
    from .emit import Emitter, Handler


def _intrinsic(name: str) -> Handler:
    def emit(e: Emitter, op: Any) -> None:
        ty = e.type(op.results[0])
        e.check_wide(op, ty)
        e.set(op, e.f.intrinsic(name, ty, *e.operands(op.operands)))

    return emit


def _flagged(name: str) -> Handler:
    """Intrinsics with a second operand that makes the result for zero (or the smallest integer)
    undefined; it is always false."""

    def emit(e: Emitter, op: Any) -> None:
        f, ty = e.f, e.type(op.results[0])
        args = [(ty, e.operand(op, 0)), ("i1", "false")]
        e.set(op, f.call(ty, f"{name}.{suffix(ty)}", args))

    return emit


def rsqrt(e: Emitter, op: math.RsqrtOp) -> None:
    """Two correctly rounded steps; no processor's estimate is exact."""
    f, ty = e.f, e.type(op.result)
    e.check_wide(op, ty)
    e.set(op, f.fdiv(ty, const(ty, 1.0), f.sqrt(ty, e.operand(op, 0))))


_INTRINSICS: dict[type[Operation], str] = {
    math.AbsFOp: "llvm.fabs",
    math.CeilOp: "llvm.ceil",
    math.CopySignOp: "llvm.copysign",
    math.CtPopOp: "llvm.ctpop",
    math.FloorOp: "llvm.floor",
    math.FmaOp: "llvm.fma",
    math.RoundEvenOp: "llvm.roundeven",
    math.RoundOp: "llvm.round",
    math.SqrtOp: "llvm.sqrt",
    math.TruncOp: "llvm.trunc",
}

HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    **{op: _intrinsic(name) for op, name in _INTRINSICS.items()},
    math.AbsIOp: _flagged("llvm.abs"),
    math.CountLeadingZerosOp: _flagged("llvm.ctlz"),
    math.CountTrailingZerosOp: _flagged("llvm.cttz"),
    math.RsqrtOp: rsqrt,
}
