"""`arith` to LLVM IR: scalars and vectors alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr
from xdsl.ir import Operation

from .errors import CodegenError
from .llvm import bits, const, const_vector, lanes, vector
from .narrow import from_float, to_float

if TYPE_CHECKING:
    from .emit import Emitter, Handler


def constant(e: Emitter, op: arith.ConstantOp) -> None:
    ty = e.type(op.result)
    value = op.value
    match value:
        case IntegerAttr() | FloatAttr():
            e.set(op, const(ty, value.value.data))
        case DenseIntOrFPElementsAttr() if value.is_splat():
            e.set(op, const(ty, value.get_values()[0]))  # pyright: ignore[reportArgumentType]
        case DenseIntOrFPElementsAttr():
            e.set(op, const_vector(ty, value.get_values()))  # pyright: ignore[reportArgumentType]
        case _:
            raise CodegenError.at(op, "only dense constants are supported")


def _binary(opcode: str) -> Handler:
    def emit(e: Emitter, op: Any) -> None:
        a, b = op.operands
        ty = e.type(a)
        e.check_wide(op, ty)
        e.set(op, e.f.emit(f"{opcode} {ty} {e.values[a]}, {e.values[b]}"))

    return emit


def _folding(method: str) -> Handler:
    """Integer ops that the builder folds on literals."""

    def emit(e: Emitter, op: Any) -> None:
        a, b = op.operands
        e.set(op, getattr(e.f, method)(e.type(a), e.values[a], e.values[b]))

    return emit


def _intrinsic(name: str) -> Handler:
    def emit(e: Emitter, op: Any) -> None:
        a, b = op.operands
        ty = e.type(a)
        e.check_wide(op, ty)
        e.set(op, e.f.intrinsic(name, ty, e.values[a], e.values[b]))

    return emit


def negf(e: Emitter, op: arith.NegfOp) -> None:
    e.set(op, e.f.fneg(e.type(op.operand), e.values[op.operand]))


def floordivsi(e: Emitter, op: arith.FloorDivSIOp) -> None:
    """q - 1 where the remainder is not zero and the signs differ."""
    f, ty = e.f, e.type(op.lhs)
    a, b = e.values[op.lhs], e.values[op.rhs]
    if b == "1":
        e.set(op, a)
        return
    quotient, remainder = f.sdiv(ty, a, b), f.srem(ty, a, b)
    flag = vector("i1", lanes(ty))
    inexact = f.icmp("ne", ty, remainder, const(ty, 0))
    opposite = f.icmp("slt", ty, f.xor(ty, a, b), const(ty, 0))
    down = f.cast("sext", flag, f.and_(flag, inexact, opposite), ty)
    e.set(op, f.add(ty, quotient, down))


def ceildivsi(e: Emitter, op: arith.CeilDivSIOp) -> None:
    """q + 1 where the remainder is not zero and the signs agree."""
    f, ty = e.f, e.type(op.lhs)
    a, b = e.values[op.lhs], e.values[op.rhs]
    if b == "1":
        e.set(op, a)
        return
    quotient, remainder = f.sdiv(ty, a, b), f.srem(ty, a, b)
    flag = vector("i1", lanes(ty))
    inexact = f.icmp("ne", ty, remainder, const(ty, 0))
    same = f.icmp("sge", ty, f.xor(ty, a, b), const(ty, 0))
    up = f.cast("zext", flag, f.and_(flag, inexact, same), ty)
    e.set(op, f.add(ty, quotient, up))


def ceildivui(e: Emitter, op: arith.CeilDivUIOp) -> None:
    f, ty = e.f, e.type(op.lhs)
    a, b = e.values[op.lhs], e.values[op.rhs]
    quotient = f.emit(f"udiv {ty} {a}, {b}")
    remainder = f.emit(f"urem {ty} {a}, {b}")
    inexact = f.icmp("ne", ty, remainder, const(ty, 0))
    e.set(op, f.add(ty, quotient, f.cast("zext", vector("i1", lanes(ty)), inexact, ty)))


def _extended_product(extend: str) -> Handler:
    """Low and high half of a product, through an integer of twice the width."""

    def emit(e: Emitter, op: Any) -> None:
        f, ty = e.f, e.type(op.lhs)
        width = bits(ty)
        wide = vector(f"i{2 * width}", lanes(ty))
        a = f.cast(extend, ty, e.values[op.lhs], wide)
        b = f.cast(extend, ty, e.values[op.rhs], wide)
        product = f.mul(wide, a, b)
        high = f.lshr(wide, product, const(wide, width))
        e.values[op.results[0]] = f.cast("trunc", wide, product, ty)
        e.values[op.results[1]] = f.cast("trunc", wide, high, ty)

    return emit


def addui_extended(e: Emitter, op: arith.AddUIExtendedOp) -> None:
    f, ty = e.f, e.type(op.lhs)
    a = e.values[op.lhs]
    total = f.add(ty, a, e.values[op.rhs])
    e.values[op.sum] = total
    e.values[op.overflow] = f.icmp("ult", ty, total, a)


def cmpi(e: Emitter, op: arith.CmpiOp) -> None:
    predicate = arith.CMPI_COMPARISON_OPERATIONS[op.predicate.value.data]
    a, b = op.lhs, op.rhs
    e.set(op, e.f.icmp(predicate, e.type(a), e.values[a], e.values[b]))


def cmpf(e: Emitter, op: arith.CmpfOp) -> None:
    predicate = arith.CMPF_COMPARISON_OPERATIONS[op.predicate.value.data]
    a, b = op.lhs, op.rhs
    ty = e.type(a)
    e.check_wide(op, ty)
    e.set(op, e.f.fcmp(predicate, ty, e.values[a], e.values[b]))


def select(e: Emitter, op: arith.SelectOp) -> None:
    """The condition may be scalar for vector operands."""
    ty, condition = e.type(op.lhs), e.type(op.cond)
    c, a, b = e.operands(op.operands)
    e.set(op, e.f.emit(f"select {condition} {c}, {ty} {a}, {ty} {b}"))


def _convert(opcode: str) -> Handler:
    def emit(e: Emitter, op: Any) -> None:
        source, result = op.operands[0], op.results[0]
        e.set(op, e.f.cast(opcode, e.type(source), e.values[source], e.type(result)))

    return emit


def _to_integer(opcode: str) -> Handler:
    """From f16 and bf16 through f32, which holds them exactly."""

    def emit(e: Emitter, op: Any) -> None:
        ty, value = to_float(e.f, e.type(op.operands[0]), e.operand(op, 0))
        e.set(op, e.f.cast(opcode, ty, value, e.type(op.results[0])))

    return emit


def _from_integer(opcode: str) -> Handler:
    """To f16 and bf16 through f32, as PyTorch does."""

    def emit(e: Emitter, op: Any) -> None:
        source, result = e.type(op.operands[0]), e.type(op.results[0])
        wide = vector("float", lanes(result)) if bits(result) == 16 else result
        value = e.f.cast(opcode, source, e.operand(op, 0), wide)
        e.set(op, from_float(e.f, wide, value, result))

    return emit


def extf(e: Emitter, op: arith.ExtFOp) -> None:
    result = e.type(op.result)
    ty, value = to_float(e.f, e.type(op.input), e.values[op.input])
    e.set(op, value if ty == result else e.f.cast("fpext", ty, value, result))


def truncf(e: Emitter, op: arith.TruncFOp) -> None:
    e.set(op, from_float(e.f, e.type(op.input), e.values[op.input], e.type(op.result)))


def index_cast(e: Emitter, op: arith.IndexCastOp) -> None:
    source, result = e.type(op.input), e.type(op.result)
    value = e.values[op.input]
    if bits(source) == bits(result):
        e.set(op, value)
    else:
        opcode = "sext" if bits(source) < bits(result) else "trunc"
        e.set(op, e.f.cast(opcode, source, value, result))


def bitcast(e: Emitter, op: arith.BitcastOp) -> None:
    e.set(op, e.f.bitcast(e.type(op.input), e.values[op.input], e.type(op.result)))


_INTRINSICS: dict[type[Operation], str] = {
    arith.MaximumfOp: "llvm.maximum",
    arith.MinimumfOp: "llvm.minimum",
    arith.MaxnumfOp: "llvm.maxnum",
    arith.MinnumfOp: "llvm.minnum",
    arith.MaxUIOp: "llvm.umax",
    arith.MinUIOp: "llvm.umin",
}

_BINARY: dict[type[Operation], str] = {
    arith.AddfOp: "fadd",
    arith.SubfOp: "fsub",
    arith.MulfOp: "fmul",
    arith.DivfOp: "fdiv",
    arith.DivUIOp: "udiv",
    arith.RemUIOp: "urem",
    arith.AndIOp: "and",
    arith.OrIOp: "or",
    arith.XOrIOp: "xor",
    arith.ShLIOp: "shl",
    arith.ShRUIOp: "lshr",
    arith.ShRSIOp: "ashr",
}

_FOLDING: dict[type[Operation], str] = {
    arith.AddiOp: "add",
    arith.SubiOp: "sub",
    arith.MuliOp: "mul",
    arith.DivSIOp: "sdiv",
    arith.RemSIOp: "srem",
    arith.MinSIOp: "smin",
    arith.MaxSIOp: "smax",
}

HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    arith.ConstantOp: constant,
    **{op: _binary(opcode) for op, opcode in _BINARY.items()},
    **{op: _folding(method) for op, method in _FOLDING.items()},
    **{op: _intrinsic(name) for op, name in _INTRINSICS.items()},
    arith.NegfOp: negf,
    arith.FloorDivSIOp: floordivsi,
    arith.CeilDivSIOp: ceildivsi,
    arith.CeilDivUIOp: ceildivui,
    arith.MulSIExtendedOp: _extended_product("sext"),
    arith.MulUIExtendedOp: _extended_product("zext"),
    arith.AddUIExtendedOp: addui_extended,
    arith.CmpiOp: cmpi,
    arith.CmpfOp: cmpf,
    arith.SelectOp: select,
    arith.ExtSIOp: _convert("sext"),
    arith.ExtUIOp: _convert("zext"),
    arith.TruncIOp: _convert("trunc"),
    arith.FPToSIOp: _to_integer("fptosi"),
    arith.FPToUIOp: _to_integer("fptoui"),
    arith.SIToFPOp: _from_integer("sitofp"),
    arith.UIToFPOp: _from_integer("uitofp"),
    arith.ExtFOp: extf,
    arith.TruncFOp: truncf,
    arith.IndexCastOp: index_cast,
    arith.BitcastOp: bitcast,
}
