"""The instructions of the LLVM IR builder (see `llvm` for the whole)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .llvmtypes import (
    bits,
    const,
    const_vector,
    element,
    is_literal,
    lanes,
    size,
    suffix,
    vector,
    zero,
)

Typed = tuple[str, str]
"""A (type, value) pair."""


class Instructions:
    """Methods that append one instruction (or a few) and return its SSA name.

    Operands are strings: names ("%3", "%x") or literals. A method whose name is an LLVM opcode
    takes the type first, then the operands.
    """

    def __init__(self, declares: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._declares = declares
        self._entry: list[str] = []
        self._count = 0

    # -- raw text ---------------------------------------------------------------------------

    def emit(self, text: str) -> str:
        """Append an instruction that has a value; returns its name."""
        n = self._count
        self._count = n + 1
        self.lines.append(f"  %v{n} = {text}")
        return f"%v{n}"

    def do(self, text: str) -> None:
        """Append an instruction without value."""
        self.lines.append(f"  {text}")

    def comment(self, text: str) -> None:
        self.lines.append(f"  ; {text}")

    def name(self) -> str:
        """A fresh name, for a value that the caller defines."""
        n = self._count
        self._count = n + 1
        return f"%v{n}"

    def _declare(self, name: str, result: str, params: Iterable[str]) -> None:
        if name not in self._declares:
            self._declares[name] = f"declare {result} @{name}({', '.join(params)})"

    # -- memory -----------------------------------------------------------------------------

    def alloca(self, ty: str, count: int = 1, align: int = 64) -> str:
        """Stack memory for the whole function, allocated at its entry."""
        name = self.name()
        amount = f", i64 {count}" if count != 1 else ""
        self._entry.append(f"  {name} = alloca {ty}{amount}, align {align}")
        return name

    def var(self, ty: str) -> str:
        """A local variable, which LLVM turns into registers; see `get` and `set`."""
        name = self.name()
        self._entry.append(f"  {name} = alloca {ty}")
        return name

    def get(self, ty: str, variable: str) -> str:
        return self.emit(f"load {ty}, ptr {variable}")

    def set(self, ty: str, variable: str, value: str) -> None:
        self.lines.append(f"  store {ty} {value}, ptr {variable}")

    def gep(self, ty: str, pointer: str, index: str, inbounds: bool = True) -> str:
        """The address `index` (i64) elements of type `ty` after `pointer`."""
        if index == "0":
            return pointer
        flag = "inbounds " if inbounds else ""
        return self.emit(f"getelementptr {flag}{ty}, ptr {pointer}, i64 {index}")

    def load(self, ty: str, pointer: str, align: int = 0, metadata: str = "") -> str:
        """Load; without `align`, the alignment of one element of the type."""
        return self.emit(f"load {ty}, ptr {pointer}, align {align or size(ty)}{metadata}")

    def store(self, ty: str, value: str, pointer: str, align: int = 0, metadata: str = "") -> None:
        """Store; without `align`, the alignment of one element of the type."""
        align = align or size(ty)
        self.lines.append(f"  store {ty} {value}, ptr {pointer}, align {align}{metadata}")

    def masked_load(self, ty: str, pointer: str, mask: str, other: str = "", align: int = 0) -> str:
        """Load the lanes whose mask (<n x i1>) is set, take `other` (default 0) elsewhere."""
        name = f"llvm.masked.load.{suffix(ty)}.p0"
        mask_ty = vector("i1", lanes(ty))
        self._declare(name, ty, ("ptr", mask_ty, ty))
        return self.emit(
            f"call {ty} @{name}(ptr align {align or size(ty)} {pointer}, {mask_ty} {mask}, "
            f"{ty} {other or zero(ty)})"
        )

    def masked_store(self, ty: str, value: str, pointer: str, mask: str, align: int = 0) -> None:
        """Store the lanes whose mask (<n x i1>) is set."""
        name = f"llvm.masked.store.{suffix(ty)}.p0"
        mask_ty = vector("i1", lanes(ty))
        self._declare(name, "void", (ty, "ptr", mask_ty))
        self.lines.append(
            f"  call void @{name}({ty} {value}, ptr align {align or size(ty)} {pointer}, "
            f"{mask_ty} {mask})"
        )

    def gather(self, ty: str, pointers: str, mask: str) -> str:
        """Load each lane from its own pointer (a vector of ptr); masked-off lanes are 0."""
        name = f"llvm.masked.gather.{suffix(ty)}.v{lanes(ty)}p0"
        ptr_ty, mask_ty = vector("ptr", lanes(ty)), vector("i1", lanes(ty))
        self._declare(name, ty, (ptr_ty, mask_ty, ty))
        return self.emit(
            f"call {ty} @{name}({ptr_ty} align {size(ty)} {pointers}, {mask_ty} {mask}, "
            f"{ty} {zero(ty)})"
        )

    def prefetch(self, pointer: str, locality: int = 3, write: bool = False) -> None:
        """Ask for a cache line; locality 3 keeps it in all caches, 0 is for streaming."""
        self._declare("llvm.prefetch.p0", "void", ("ptr", "i32", "i32", "i32"))
        self.do(
            f"call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(write)}, i32 {locality}, i32 1)"
        )

    # -- vectors ----------------------------------------------------------------------------

    def splat(self, ty: str, scalar: str) -> str:
        """Broadcast a scalar over the lanes of the vector type `ty`; a scalar type passes."""
        if ty[0] != "<":
            return scalar
        kind = element(ty)
        if scalar[0] != "%":
            return f"splat ({kind} {scalar})"
        one = self.emit(f"insertelement {ty} poison, {kind} {scalar}, i64 0")
        indices = vector("i32", lanes(ty))
        return self.emit(f"shufflevector {ty} {one}, {ty} poison, {indices} zeroinitializer")

    def shuffle(self, ty: str, a: str, b: str, indices: Sequence[int]) -> str:
        """Lanes of a and b (numbered on), both of type `ty`; -1 leaves a lane undefined."""
        mask = ", ".join(f"i32 {i}" if i >= 0 else "i32 poison" for i in indices)
        mask_ty = vector("i32", len(indices))
        return self.emit(f"shufflevector {ty} {a}, {ty} {b}, {mask_ty} <{mask}>")

    def extract(self, ty: str, value: str, lane: str) -> str:
        return self.emit(f"extractelement {ty} {value}, i64 {lane}")

    def insert(self, ty: str, value: str, scalar: str, lane: str) -> str:
        return self.emit(f"insertelement {ty} {value}, {element(ty)} {scalar}, i64 {lane}")

    def mask(self, width: int, count: str) -> str:
        """<width x i1> whose lane i is set when i < count (i64, any value, signed)."""
        if is_literal(count) and int(count) >= width:
            return "splat (i1 true)"
        clamped = self.smin("i64", self.smax("i64", count, "0"), str(width))
        small = self.trunc("i64", clamped, "i32")
        ty = vector("i32", width)
        return self.icmp("slt", ty, const_vector(ty, range(width)), self.splat(ty, small))

    # -- calls ------------------------------------------------------------------------------

    def call(self, result: str, name: str, args: Sequence[Typed], flags: str = "") -> str:
        """Call a function, declared if it is not defined here; "" when it returns void."""
        self._declare(name, result, [ty for ty, _ in args])
        text = f"call {flags + ' ' if flags else ''}{result} @{name}("
        text += ", ".join(f"{ty} {value}" for ty, value in args) + ")"
        if result == "void":
            self.do(text)
            return ""
        return self.emit(text)

    def intrinsic(self, name: str, ty: str, *args: str) -> str:
        """An intrinsic whose operands and result all have type `ty`:
        ``f.intrinsic("llvm.copysign", ty, x, y)``."""
        full = f"{name}.{suffix(ty)}"
        if full not in self._declares:
            self._declare(full, ty, [ty] * len(args))
        operands = ", ".join(f"{ty} {arg}" for arg in args)
        return self.emit(f"call {ty} @{full}({operands})")

    # -- floating point ---------------------------------------------------------------------

    def fadd(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"fadd {ty} {a}, {b}")

    def fsub(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"fsub {ty} {a}, {b}")

    def fmul(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"fmul {ty} {a}, {b}")

    def fdiv(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"fdiv {ty} {a}, {b}")

    def frem(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"frem {ty} {a}, {b}")

    def fneg(self, ty: str, a: str) -> str:
        return self.emit(f"fneg {ty} {a}")

    def fma(self, ty: str, a: str, b: str, c: str) -> str:
        """a * b + c, rounded once."""
        return self.intrinsic("llvm.fma", ty, a, b, c)

    def fabs(self, ty: str, a: str) -> str:
        return self.intrinsic("llvm.fabs", ty, a)

    def sqrt(self, ty: str, a: str) -> str:
        return self.intrinsic("llvm.sqrt", ty, a)

    def copysign(self, ty: str, magnitude: str, sign: str) -> str:
        return self.intrinsic("llvm.copysign", ty, magnitude, sign)

    def floor(self, ty: str, a: str) -> str:
        return self.intrinsic("llvm.floor", ty, a)

    def ceil(self, ty: str, a: str) -> str:
        return self.intrinsic("llvm.ceil", ty, a)

    def ftrunc(self, ty: str, a: str) -> str:
        return self.intrinsic("llvm.trunc", ty, a)

    def roundeven(self, ty: str, a: str) -> str:
        return self.intrinsic("llvm.roundeven", ty, a)

    def maximum(self, ty: str, a: str, b: str) -> str:
        """NaN if either is NaN."""
        return self.intrinsic("llvm.maximum", ty, a, b)

    def minimum(self, ty: str, a: str, b: str) -> str:
        return self.intrinsic("llvm.minimum", ty, a, b)

    def maxnum(self, ty: str, a: str, b: str) -> str:
        """The other one if one is NaN."""
        return self.intrinsic("llvm.maxnum", ty, a, b)

    def minnum(self, ty: str, a: str, b: str) -> str:
        return self.intrinsic("llvm.minnum", ty, a, b)

    def fcmp(self, predicate: str, ty: str, a: str, b: str) -> str:
        """i1 (or a vector of them): ``f.fcmp("olt", ty, a, b)``."""
        return self.emit(f"fcmp {predicate} {ty} {a}, {b}")

    # -- integers ---------------------------------------------------------------------------

    def add(self, ty: str, a: str, b: str, flags: str = "") -> str:
        if b == "0":
            return a
        if a == "0":
            return b
        if ty == "i64" and is_literal(a) and is_literal(b):
            return _wrap(int(a) + int(b))
        return self.emit(f"add {flags}{' ' if flags else ''}{ty} {a}, {b}")

    def sub(self, ty: str, a: str, b: str, flags: str = "") -> str:
        if b == "0":
            return a
        if ty == "i64" and is_literal(a) and is_literal(b):
            return _wrap(int(a) - int(b))
        return self.emit(f"sub {flags}{' ' if flags else ''}{ty} {a}, {b}")

    def mul(self, ty: str, a: str, b: str, flags: str = "") -> str:
        if ty[0] != "<":
            if b == "1" or a == "0":
                return a
            if a == "1" or b == "0":
                return b
        if ty == "i64" and is_literal(a) and is_literal(b):
            return _wrap(int(a) * int(b))
        return self.emit(f"mul {flags}{' ' if flags else ''}{ty} {a}, {b}")

    def sdiv(self, ty: str, a: str, b: str) -> str:
        return a if b == "1" else self.emit(f"sdiv {ty} {a}, {b}")

    def srem(self, ty: str, a: str, b: str) -> str:
        return "0" if b == "1" else self.emit(f"srem {ty} {a}, {b}")

    def and_(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"and {ty} {a}, {b}")

    def or_(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"or {ty} {a}, {b}")

    def xor(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"xor {ty} {a}, {b}")

    def shl(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"shl {ty} {a}, {b}")

    def lshr(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"lshr {ty} {a}, {b}")

    def ashr(self, ty: str, a: str, b: str) -> str:
        return self.emit(f"ashr {ty} {a}, {b}")

    def smin(self, ty: str, a: str, b: str) -> str:
        if ty[0] != "<" and is_literal(a) and is_literal(b):
            return a if int(a) <= int(b) else b
        return self.intrinsic("llvm.smin", ty, a, b)

    def smax(self, ty: str, a: str, b: str) -> str:
        if ty[0] != "<" and is_literal(a) and is_literal(b):
            return a if int(a) >= int(b) else b
        return self.intrinsic("llvm.smax", ty, a, b)

    def icmp(self, predicate: str, ty: str, a: str, b: str) -> str:
        """i1 (or a vector of them): ``f.icmp("slt", "i64", a, b)``."""
        return self.emit(f"icmp {predicate} {ty} {a}, {b}")

    # -- both -------------------------------------------------------------------------------

    def select(self, ty: str, condition: str, a: str, b: str) -> str:
        """Lane by lane for a vector type: the condition then is a vector of i1."""
        cond_ty = vector("i1", lanes(ty)) if ty[0] == "<" else "i1"
        return self.emit(f"select {cond_ty} {condition}, {ty} {a}, {ty} {b}")

    def cast(self, opcode: str, source: str, value: str, result: str) -> str:
        """Any conversion instruction: ``f.cast("sitofp", "i32", x, "float")``."""
        return self.emit(f"{opcode} {source} {value} to {result}")

    def bitcast(self, source: str, value: str, result: str) -> str:
        return value if source == result else self.emit(f"bitcast {source} {value} to {result}")

    def trunc(self, source: str, value: str, result: str) -> str:
        if is_literal(value) and 0 <= int(value) < 1 << (bits(result) - 1):
            return value
        return self.emit(f"trunc {source} {value} to {result}")

    def const(self, ty: str, number: int | float) -> str:
        """The literal of a number; no instruction. See `const`, `const_bits` for patterns."""
        return const(ty, number)


def _wrap(value: int) -> str:
    """The i64 that two's complement arithmetic gives."""
    return str((value + (1 << 63)) % (1 << 64) - (1 << 63))
