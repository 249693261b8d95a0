"""`math` to LLVM IR: instructions where processors have them, expansions elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdsl.dialects import math
from xdsl.ir import Operation

from . import polynomials_pow
from .llvm import suffix
from .polynomials import expand, expand_fpowi

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


def _expansion(name: str) -> Handler:
    def emit(e: Emitter, op: Any) -> None:
        e.set(op, expand(e.f, name, e.type(op.results[0]), e.operands(op.operands)))

    return emit


def fpowi(e: Emitter, op: math.FPowIOp) -> None:
    x, exponent = e.operands(op.operands)
    e.set(op, expand_fpowi(e.f, e.type(op.result), x, exponent, e.type(op.rhs)))


def ipowi(e: Emitter, op: math.IPowIOp) -> None:
    base, exponent = e.operands(op.operands)
    e.set(op, polynomials_pow.ipowi(e.f, e.type(op.result), base, exponent))


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

_EXPANSIONS: dict[type[Operation], str] = {
    math.AcosOp: "acos",
    math.AcoshOp: "acosh",
    math.AsinOp: "asin",
    math.AsinhOp: "asinh",
    math.Atan2Op: "atan2",
    math.AtanhOp: "atanh",
    math.AtanOp: "atan",
    math.CbrtOp: "cbrt",
    math.CosOp: "cos",
    math.CoshOp: "cosh",
    math.ErfOp: "erf",
    math.Exp2Op: "exp2",
    math.ExpM1Op: "expm1",
    math.ExpOp: "exp",
    math.Log10Op: "log10",
    math.Log1pOp: "log1p",
    math.Log2Op: "log2",
    math.LogOp: "log",
    math.PowFOp: "powf",
    math.RsqrtOp: "rsqrt",
    math.SinOp: "sin",
    math.SinhOp: "sinh",
    math.TanOp: "tan",
    math.TanhOp: "tanh",
}

HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    **{op: _intrinsic(name) for op, name in _INTRINSICS.items()},
    math.AbsIOp: _flagged("llvm.abs"),
    math.CountLeadingZerosOp: _flagged("llvm.ctlz"),
    math.CountTrailingZerosOp: _flagged("llvm.cttz"),
    math.FPowIOp: fpowi,
    math.IPowIOp: ipowi,
    **{op: _expansion(name) for op, name in _EXPANSIONS.items()},
}
