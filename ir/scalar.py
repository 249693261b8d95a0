"""Scalar arithmetic for operator bodies: one method per operation, float or integer by type.

The `body` of an elementwise operator is written against this builder; it emits `arith` and `math`
operations, which stay the same through the `linalg` and `kernel` stages.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    i1,
)
from xdsl.ir import Attribute, Operation, SSAValue

_CMPF = {"eq": 1, "gt": 2, "ge": 3, "lt": 4, "le": 5, "ne": 13}
_CMPI_SIGNED = {"eq": 0, "ne": 1, "lt": 2, "le": 3, "gt": 4, "ge": 5}
_CMPI_UNSIGNED = {"eq": 0, "ne": 1, "lt": 6, "le": 7, "gt": 8, "ge": 9}
_NO_FASTMATH = {"fastmath": arith.FastMathFlagsAttr("none")}
_NO_OVERFLOW = {"overflowFlags": arith.IntegerOverflowAttr("none")}


_constants: dict[tuple[str, Attribute], Attribute] = {}


def _constant(value: bool | int | float, type_: Attribute) -> Attribute:
    """The attribute of a scalar constant."""
    if type_ == i1:
        return IntegerAttr(-1 if value else 0, i1)
    if isinstance(type_, IntegerType | IndexType):
        return IntegerAttr(int(value), type_)
    assert isinstance(type_, AnyFloat)
    return FloatAttr(float(value), type_)


class ScalarBuilder:
    """Emits scalar operations through `insert`; values are scalar SSA values.

    `unsigned` says how integers narrower than the type system's signless ones compare and extend.
    """

    def __init__(self, insert: Callable[[Operation], object], *, unsigned: bool = False) -> None:
        self._insert = insert
        self.unsigned = unsigned

    def insert(self, op: Operation) -> None:
        """Add an operation that was made elsewhere."""
        self._insert(op)

    def emit(
        self,
        op: type[Operation],
        operands: tuple[SSAValue, ...],
        result: Attribute,
        properties: dict[str, Attribute] | None = None,
    ) -> SSAValue:
        """Create one operation with one result and insert it."""
        made = op.create(operands=operands, result_types=(result,), properties=properties or {})
        self._insert(made)
        return made.results[0]

    def constant(self, value: bool | int | float, type_: Attribute) -> SSAValue:
        """A constant of a scalar type."""
        key = (repr(value), type_)
        attr = _constants.get(key)
        if attr is None:
            attr = _constants[key] = _constant(value, type_)
        return self.emit(arith.ConstantOp, (), type_, {"value": attr})

    def like(self, value: bool | int | float, x: SSAValue) -> SSAValue:
        """A constant of x's type."""
        return self.constant(value, x.type)

    def _binary(self, f: type[Operation], i: type[Operation], x: SSAValue, y: SSAValue) -> SSAValue:
        if isinstance(x.type, IntegerType | IndexType):
            flags = _NO_OVERFLOW if i in _FLAGGED else {}
            return self.emit(i, (x, y), x.type, dict(flags))
        return self.emit(f, (x, y), x.type, dict(_NO_FASTMATH))

    def add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self._binary(arith.AddfOp, arith.AddiOp, x, y)

    def sub(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self._binary(arith.SubfOp, arith.SubiOp, x, y)

    def mul(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self._binary(arith.MulfOp, arith.MuliOp, x, y)

    def div(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """Division; integers truncate toward zero."""
        return self._binary(arith.DivfOp, arith.DivUIOp if self.unsigned else arith.DivSIOp, x, y)

    def floordiv(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """Integer division rounding down."""
        return self.emit(arith.FloorDivSIOp, (x, y), x.type)

    def rem(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """Integer remainder with the sign of x."""
        return self.emit(arith.RemUIOp if self.unsigned else arith.RemSIOp, (x, y), x.type)

    def neg(self, x: SSAValue) -> SSAValue:
        if isinstance(x.type, IntegerType):
            return self.sub(self.like(0, x), x)
        return self.emit(arith.NegfOp, (x,), x.type, dict(_NO_FASTMATH))

    def maximum(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """The larger, NaN if either is."""
        i = arith.MaxUIOp if self.unsigned else arith.MaxSIOp
        return self._binary(arith.MaximumfOp, i, x, y)

    def minimum(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """The smaller, NaN if either is."""
        i = arith.MinUIOp if self.unsigned else arith.MinSIOp
        return self._binary(arith.MinimumfOp, i, x, y)

    def and_(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.emit(arith.AndIOp, (x, y), x.type)

    def or_(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.emit(arith.OrIOp, (x, y), x.type)

    def xor(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.emit(arith.XOrIOp, (x, y), x.type)

    def shl(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.emit(arith.ShLIOp, (x, y), x.type, dict(_NO_OVERFLOW))

    def shr(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """Logical shift right."""
        return self.emit(arith.ShRUIOp, (x, y), x.type)

    def compare(self, predicate: str, x: SSAValue, y: SSAValue) -> SSAValue:
        """`predicate` in eq ne lt le gt ge; ordered on floats, except that ne holds for NaN."""
        if isinstance(x.type, IntegerType | IndexType):
            # An i1 true is -1 as a signed number, so bools compare unsigned.
            table = _CMPI_UNSIGNED if self.unsigned or x.type == i1 else _CMPI_SIGNED
            code = IntegerAttr(table[predicate], 64)
            return self.emit(arith.CmpiOp, (x, y), i1, {"predicate": code})
        code = IntegerAttr(_CMPF[predicate], 64)
        return self.emit(arith.CmpfOp, (x, y), i1, {"predicate": code, **_NO_FASTMATH})

    def select(self, condition: SSAValue, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.emit(arith.SelectOp, (condition, x, y), x.type)

    def isnan(self, x: SSAValue) -> SSAValue:
        return self.compare("ne", x, x)

    def math(self, name: str, *args: SSAValue) -> SSAValue:
        """A function of the `math` dialect by its name there: exp, log, tanh, erf, powf, …"""
        op = _MATH[name]
        return self.emit(op, args, args[0].type, dict(_NO_FASTMATH))

    def cast(self, x: SSAValue, to: Attribute, *, unsigned_to: bool = False) -> SSAValue:
        """Convert between element types: floats truncate toward zero, anything != 0 is true."""
        source = x.type
        if source == to:
            return x
        from_int = isinstance(source, IntegerType | IndexType)
        if to == i1:
            return self.compare("ne", x, self.like(0, x))
        if isinstance(source, IndexType) or isinstance(to, IndexType):
            if isinstance(to, IndexType) and not from_int:
                raise TypeError("a float is no index")
            if isinstance(source, IndexType) and not isinstance(to, IntegerType):
                from xdsl.dialects.builtin import i64

                return self.cast(self.emit(arith.IndexCastOp, (x,), i64), to)
            return self.emit(arith.IndexCastOp, (x,), to)
        unsigned = self.unsigned or source == i1
        if from_int and isinstance(to, IntegerType):
            assert isinstance(source, IntegerType)
            if to.width.data < source.width.data:
                return self.emit(arith.TruncIOp, (x,), to)
            if to.width.data == source.width.data:
                return x
            return self.emit(arith.ExtUIOp if unsigned else arith.ExtSIOp, (x,), to)
        if from_int:
            return self.emit(arith.UIToFPOp if unsigned else arith.SIToFPOp, (x,), to)
        if isinstance(to, IntegerType):
            return self.emit(arith.FPToUIOp if unsigned_to else arith.FPToSIOp, (x,), to)
        assert isinstance(source, AnyFloat) and isinstance(to, AnyFloat)
        if to.bitwidth > source.bitwidth:
            return self.emit(arith.ExtFOp, (x,), to)
        if to.bitwidth < source.bitwidth:
            return self.emit(arith.TruncFOp, (x,), to)
        from xdsl.dialects.builtin import f32

        return self.cast(self.cast(x, f32), to)

    def bitcast(self, x: SSAValue, to: Attribute) -> SSAValue:
        """The same bits as another type of the same width."""
        return self.emit(arith.BitcastOp, (x,), to)

    def infinity(self, x: SSAValue, sign: int = 1) -> SSAValue:
        """The largest (or with sign -1 the smallest) value of x's type."""
        if isinstance(x.type, IntegerType):
            width = x.type.width.data
            if width == 1:
                return self.like(sign > 0, x)
            top = (1 << width) - 1 if self.unsigned else (1 << (width - 1)) - 1
            bottom = 0 if self.unsigned else -(1 << (width - 1))
            return self.like(top if sign > 0 else bottom, x)
        return self.like(pymath.inf * sign, x)


_FLAGGED = {arith.AddiOp, arith.SubiOp, arith.MuliOp, arith.ShLIOp}
_MATH: dict[str, type[Operation]] = {
    op.name.removeprefix("math."): op
    for op in (
        math.AbsFOp, math.AbsIOp, math.AcosOp, math.AcoshOp, math.AsinOp, math.AsinhOp,
        math.AtanOp, math.Atan2Op, math.AtanhOp, math.CbrtOp, math.CeilOp, math.CopySignOp,
        math.CosOp, math.CoshOp, math.ErfOp, math.Exp2Op, math.ExpM1Op, math.ExpOp, math.FloorOp,
        math.FmaOp, math.IPowIOp, math.Log10Op, math.Log1pOp, math.Log2Op, math.LogOp,
        math.PowFOp, math.RoundEvenOp, math.RoundOp, math.RsqrtOp, math.SinOp, math.SinhOp,
        math.SqrtOp, math.TanOp, math.TanhOp, math.TruncOp,
    )
}  # fmt: skip
