"""Arithmetic on the lanes of one floating-point type, for writing expansions as formulas.

`Lanes` wraps the builder for one type, scalar or vector of any width: operands are SSA names or
Python numbers, which become (splat) constants. All of it is IEEE arithmetic, lane by lane, so an
expansion gives the same bits at every width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .llvm import Fn, const, const_bits, integer_like, lanes, suffix, vector

Value = str | float
"""An SSA name or a number."""

Pair = tuple[float, float]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: its shape, the constants split into parts of its precision,
    and the polynomials that reach it. What only the other format uses is left out."""

    element: str
    mantissa: int
    exponent: int
    ln2: Pair
    log2_e: Pair
    log10_e: Pair
    log10_2: Pair
    half_pi: tuple[float, float, float]
    two_thirds: Pair
    cbrt_2: float
    exp: tuple[float, ...]
    expm1: tuple[float, ...]
    exp2: tuple[float, ...]
    sin: tuple[float, ...]
    cos: tuple[float, ...]
    asin: tuple[float, ...]
    atan: tuple[float, ...]
    sinh: tuple[float, ...]
    erf: tuple[float, ...]
    erfc_log: tuple[float, ...]
    cbrt: tuple[float, ...]
    log: tuple[float, ...] = ()
    log_ratio: tuple[float, ...] = ()
    log_pow: tuple[float, ...] = ()
    tanh: tuple[float, ...] = ()
    powf_log: tuple[float, ...] = ()
    powf_exp2: tuple[float, ...] = ()

    @property
    def bits(self) -> int:
        return 1 + self.exponent + self.mantissa

    @property
    def bias(self) -> int:
        return (1 << (self.exponent - 1)) - 1

    @property
    def magic(self) -> float:
        """1.5 * 2^mantissa: adding it rounds a small number to an integer, in its low bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def magic_bits(self) -> int:
        """The bits of `magic`."""
        return ((self.bias + self.mantissa) << self.mantissa) | 1 << (self.mantissa - 1)

    @property
    def two_over_pi(self) -> float:
        return 0.6366197723675814

    @property
    def tiny(self) -> float:
        """Below it, x + x^2 is x."""
        return 2.0 ** -(self.mantissa + 2)

    @property
    def normal(self) -> float:
        """The least normal number."""
        return 2.0 ** (1 - self.bias)

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << (self.bits - 1)


class Lanes:
    """The operations of one type `ty` of format `fmt`, written to `f`."""

    def __init__(self, f: Fn, fmt: Format, ty: str) -> None:
        self.f, self.fmt, self.ty = f, fmt, ty
        self.word = integer_like(ty)
        self.flag = vector("i1", lanes(ty))

    def _v(self, x: Value) -> str:
        return x if isinstance(x, str) else const(self.ty, x)

    def _i(self, x: str | int) -> str:
        if isinstance(x, str):
            return x
        half = 1 << (self.fmt.bits - 1)
        return const(self.word, (x + half) % (2 * half) - half)

    @property
    def nan(self) -> str:
        return const(self.ty, float("nan"))

    # -- arithmetic -------------------------------------------------------------------------

    def add(self, a: Value, b: Value) -> str:
        return self.f.fadd(self.ty, self._v(a), self._v(b))

    def sub(self, a: Value, b: Value) -> str:
        return self.f.fsub(self.ty, self._v(a), self._v(b))

    def mul(self, a: Value, b: Value) -> str:
        return self.f.fmul(self.ty, self._v(a), self._v(b))

    def div(self, a: Value, b: Value) -> str:
        return self.f.fdiv(self.ty, self._v(a), self._v(b))

    def fma(self, a: Value, b: Value, c: Value) -> str:
        """a * b + c, rounded once."""
        return self.f.fma(self.ty, self._v(a), self._v(b), self._v(c))

    def neg(self, a: str) -> str:
        return self.f.fneg(self.ty, a)

    def abs(self, a: str) -> str:
        return self.f.fabs(self.ty, a)

    def sqrt(self, a: str) -> str:
        return self.f.sqrt(self.ty, a)

    def trunc(self, a: str) -> str:
        return self.f.ftrunc(self.ty, a)

    def copysign(self, magnitude: Value, sign: str) -> str:
        return self.f.copysign(self.ty, self._v(magnitude), sign)

    def poly(self, x: str, coefficients: Sequence[float]) -> str:
        """The polynomial with the given coefficients, lowest degree first, by Horner's rule."""
        value = self._v(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            value = self.fma(value, x, c)
        return value

    # -- choices ----------------------------------------------------------------------------

    def cmp(self, predicate: str, a: Value, b: Value) -> str:
        """A flag per lane; predicates as in LLVM: "olt" is false for NaN, "ult" true."""
        return self.f.fcmp(predicate, self.ty, self._v(a), self._v(b))

    def select(self, condition: str, a: Value, b: Value) -> str:
        return self.f.select(self.ty, condition, self._v(a), self._v(b))

    def both(self, a: str, b: str) -> str:
        return self.f.and_(self.flag, a, b)

    def either(self, a: str, b: str) -> str:
        return self.f.or_(self.flag, a, b)

    def unless(self, a: str, b: str) -> str:
        """a and not b."""
        return self.f.and_(self.flag, a, self.f.xor(self.flag, b, const(self.flag, 1)))

    def any(self, flags: str) -> str:
        """i1: whether some lane's flag is set."""
        if not lanes(self.flag):
            return flags
        name = f"llvm.vector.reduce.or.{suffix(self.flag)}"
        return self.f.call("i1", name, [(self.flag, flags)])

    def at_most(self, x: str, bound: float) -> str:
        """min(x, bound), where a NaN stays."""
        return self.select(self.cmp("ogt", x, bound), bound, x)

    def at_least(self, x: str, bound: float) -> str:
        """max(x, bound), where a NaN stays."""
        return self.select(self.cmp("olt", x, bound), bound, x)

    # -- bits -------------------------------------------------------------------------------

    def bits(self, x: str) -> str:
        return self.f.bitcast(self.ty, x, self.word)

    def from_bits(self, word: str) -> str:
        return self.f.bitcast(self.word, word, self.ty)

    def pattern(self, bits: int) -> str:
        """The constant with the given bits."""
        return const_bits(self.ty, bits)

    def iadd(self, a: str, b: str | int) -> str:
        return self.f.add(self.word, a, self._i(b))

    def isub(self, a: str | int, b: str | int) -> str:
        return self.f.sub(self.word, self._i(a), self._i(b))

    def imin(self, a: str, b: int) -> str:
        return self.f.smin(self.word, a, self._i(b))

    def iand(self, a: str, b: str | int) -> str:
        return self.f.and_(self.word, a, self._i(b))

    def ixor(self, a: str, b: str | int) -> str:
        return self.f.xor(self.word, a, self._i(b))

    def shl(self, a: str, count: int) -> str:
        return self.f.shl(self.word, a, self._i(count))

    def shr(self, a: str, count: int) -> str:
        return self.f.lshr(self.word, a, self._i(count))

    def sar(self, a: str, count: int) -> str:
        return self.f.ashr(self.word, a, self._i(count))

    def icmp(self, predicate: str, a: str, b: str | int) -> str:
        return self.f.icmp(predicate, self.word, a, self._i(b))

    def iselect(self, condition: str, a: str | int, b: str | int) -> str:
        return self.f.select(self.word, condition, self._i(a), self._i(b))

    def flip(self, x: str, sign: str) -> str:
        """x with its sign flipped where the sign bit of the word `sign` is set."""
        return self.from_bits(self.ixor(self.bits(x), sign))

    def sign_of(self, x: str) -> str:
        """The word that holds only the sign bit of x."""
        return self.iand(self.bits(x), self.fmt.sign)

    # -- integers in floating point ----------------------------------------------------------

    def nearest(self, x: str, factor: Value) -> tuple[str, str]:
        """x * factor rounded to an integer: as a word whose low bits hold it, and as a float.
        Its magnitude must be under 2^(mantissa - 1)."""
        magic = self.fmt.magic
        shifted = self.add(x, magic) if factor == 1.0 else self.fma(x, factor, magic)
        return self.bits(shifted), self.sub(shifted, magic)

    def from_int(self, word: str) -> str:
        """A small integer as a float."""
        shifted = self.from_bits(self.iadd(word, self.fmt.magic_bits))
        return self.sub(shifted, self.fmt.magic)

    def pow2(self, word: str, offset: int = 0) -> str:
        """2^(n + offset) for the integer n in the low bits of a word; the result is normal."""
        return self.from_bits(self.shl(self.iadd(word, self.fmt.bias + offset), self.fmt.mantissa))

    def times_pow2(self, x: str, word: str) -> str:
        """x * 2^n for the integer n in the low bits of a word; 2^n is normal."""
        return self.mul(x, self.pow2(word))

    def scale(self, x: str, n: str) -> str:
        """x * 2^n for an integral float |n| < 2 * bias and a normal x near 1, rounded once.

        Two factors: the first product is exact, the second overflows or rounds to a subnormal.
        AVX-512 has an instruction that gives the same bits.
        """
        name = self._scalef()
        if name:
            return self._call_scalef(name, x, n)
        word = self.isub(self.bits(self.add(n, self.fmt.magic)), self.fmt.magic_bits)
        half = self.sar(word, 1)
        return self.mul(self.mul(x, self.pow2(half)), self.pow2(self.isub(word, half)))

    def _scalef(self) -> str:
        """The name of the scaling instruction for this type, if the target has one."""
        target, width = self.f.target, lanes(self.ty) * self.fmt.bits
        if target is None or width not in (128, 256, 512) or not target.has("avx512f"):
            return ""
        if width < 512 and not target.has("avx512vl"):
            return ""
        kind = "ps" if self.fmt.bits == 32 else "pd"
        return f"llvm.x86.avx512.mask.scalef.{kind}.{width}"

    def _call_scalef(self, name: str, x: str, n: str) -> str:
        ty, mask = self.ty, "i16" if lanes(self.ty) == 16 else "i8"
        args = [(ty, x), (ty, n), (ty, "poison"), (mask, "-1")]
        if name.endswith("512"):
            args.append(("i32", "4"))  # the current rounding mode
        return self.f.call(ty, name, args)
