"""sin, cos, tan and their inverses.

The argument is reduced to |r| <= pi/4 and a quadrant. Up to a limit, n * pi/2 is taken off in
three fma steps with pi/2 in three parts; the first step is exact. From the limit on, the bits of
2/pi that matter for the argument's exponent are multiplied by its mantissa in integers, so every
finite argument is reduced exactly; that path runs only when a lane needs it.
"""

from __future__ import annotations

import itertools

from .coefficients import TWO_OVER_PI, TWO_OVER_PI_ZEROS
from .lanes import Lanes
from .llvm import const, lanes, vector

_LIMIT = {32: 2.0**16, 64: 2.0**30}


def _reduce(m: Lanes, a: str) -> tuple[str, str]:
    """For a >= 0: (a word with the quadrant in its low two bits, r)."""
    two_over_pi = m.fmt.two_over_pi
    word, n = m.nearest(a, two_over_pi)
    r = a
    for part in m.fmt.half_pi:
        r = m.fma(n, -part, r)
    far = m.cmp("oge", a, _LIMIT[m.fmt.bits])
    with m.f.if_else(m.any(far), (m.word, m.ty)) as branch:
        with branch.then():
            far_word, far_r = _Far(m, a).reduced()
            far_r = m.select(m.cmp("olt", a, float("inf")), far_r, m.nan)
            branch.yield_([m.iselect(far, far_word, word), m.select(far, far_r, r)])
        with branch.otherwise():
            branch.yield_([word, r])
    word, r = branch.results
    return word, r


class _Far:
    """Exact reduction of a large argument M * 2^e, M an integer.

    A window of the digits of 2/pi that starts two digits before the unit of quadrants, times M,
    modulo 2^window: its top two bits are the quadrant, the rest is the fraction. All values are
    i64 lanes that hold 32-bit digits.
    """

    def __init__(self, m: Lanes, a: str) -> None:
        self.m, self.f = m, m.f
        self.ty = vector("i64", lanes(m.ty))
        self.double = vector("double", lanes(m.ty))
        bits = m.bits(a)
        if m.fmt.bits == 32:
            bits = self.f.cast("zext", m.word, bits, self.ty)
        self.exponent = self._shr(bits, m.fmt.mantissa)
        hidden = 1 << m.fmt.mantissa
        self.mantissa = self.f.or_(self.ty, self._and(bits, hidden - 1), self._c(hidden))

    def _c(self, number: int) -> str:
        return const(self.ty, (number + 2**63) % 2**64 - 2**63)

    def _and(self, a: str, mask: int) -> str:
        return self.f.and_(self.ty, a, self._c(mask))

    def _shr(self, a: str, count: int) -> str:
        return self.f.lshr(self.ty, a, self._c(count))

    def _shl(self, a: str, count: int) -> str:
        return self.f.shl(self.ty, a, self._c(count))

    def _low(self, a: str) -> str:
        return self._and(a, 0xFFFFFFFF)

    def _add(self, *values: str) -> str:
        total = values[0]
        for value in values[1:]:
            total = self.f.add(self.ty, total, value)
        return total

    def window(self, count: int) -> list[str]:
        """`count` digits of 32 bits: the window for the lane's exponent.

        The digits are shifted by the bits of a per-lane distance, like a barrel shifter.
        """
        fmt = self.m.fmt
        start = fmt.bias + fmt.mantissa + 2 - TWO_OVER_PI_ZEROS
        offset = self.f.sub(self.ty, self.exponent, self._c(start))
        furthest = 2 * fmt.bias - start
        needed = count + 1
        top = (furthest >> 5).bit_length() - 1
        digits = [self._c(d) for d in TWO_OVER_PI[: needed + (2 << top) - 1]]
        digits += [self._c(0)] * (needed + (2 << top) - 1 - len(digits))
        flag = vector("i1", lanes(self.ty))
        for bit in range(top, -1, -1):
            chosen = self.f.icmp("ne", self.ty, self._and(offset, 32 << bit), self._c(0))
            keep = needed + (1 << bit) - 1
            pairs = zip(digits[:keep], digits[1 << bit :], strict=False)
            digits = [self.f.select(self.ty, chosen, b, a) for a, b in pairs]
        assert flag == self.m.flag and len(digits) == needed
        shift = self._and(offset, 31)
        out = []
        for high, low in itertools.pairwise(digits):
            both = self.f.or_(self.ty, self._shl(high, 32), low)
            out.append(self._shr(self.f.shl(self.ty, both, shift), 32))
        return out

    def reduced(self) -> tuple[str, str]:
        return self._single() if self.m.fmt.bits == 32 else self._double()

    def _quadrant(self, top: str) -> str:
        """The nearest quadrant, from the top 64 bits of the product."""
        return self._shr(self._add(top, self._c(1 << 61)), 62)

    def _single(self) -> tuple[str, str]:
        """f32: 24 bits times 96 digits; 62 bits of fraction leave 30 or more after the largest
        cancellation."""
        f, m = self.f, self.m
        high, middle, low = (f.mul(self.ty, w, self.mantissa) for w in self.window(3))
        top = self._add(self._shl(high, 32), middle, self._shr(low, 32))
        fraction = f.cast("sitofp", self.ty, self._shl(top, 2), self.double)
        half_pi = const(self.double, 1.5707963267948966 * 2.0**-64)
        r = f.cast("fptrunc", self.double, f.fmul(self.double, fraction, half_pi), m.ty)
        return f.cast("trunc", self.ty, self._quadrant(top), m.word), r

    def _double(self) -> tuple[str, str]:
        """f64: 53 bits times 192 digits, of which the top 128 bits are kept."""
        f, _m = self.f, self.m
        w = self.window(6)
        low, high = self._low(self.mantissa), self._shr(self.mantissa, 32)
        by_low = [f.mul(self.ty, low, d) for d in w]
        by_high = [f.mul(self.ty, high, d) for d in w]
        columns, carry = [], self._c(0)
        for d in range(4, -1, -1):
            terms = [self._low(by_low[d]), self._shr(by_low[d + 1], 32), self._low(by_high[d + 1])]
            if d + 2 < len(w):
                terms.append(self._shr(by_high[d + 2], 32))
            total = self._add(*terms, carry)
            columns.append(self._low(total))
            carry = self._shr(total, 32)
        _, fourth, third, second, first = columns
        top = f.or_(self.ty, self._shl(first, 32), second)
        rest = f.or_(self.ty, self._shl(third, 32), fourth)
        return self._quadrant(top), self._fraction(top, rest)

    def _fraction(self, top: str, rest: str) -> str:
        """r from 128 bits of product: the magnitude of the fraction in two parts times pi/2."""
        f, m = self.f, self.m
        upper = f.or_(self.ty, self._shl(top, 2), self._shr(rest, 62))
        sign = f.ashr(self.ty, upper, self._c(63))
        upper = f.xor(self.ty, upper, sign)
        lower = f.xor(self.ty, self._shl(rest, 2), sign)
        large = f.cast("uitofp", self.ty, self._and(upper, -2048), self.double)
        small = f.cast("uitofp", self.ty, self._and(upper, 2047), self.double)
        small = m.fma(f.cast("uitofp", self.ty, lower, self.double), 2.0**-64, small)
        first, second, _ = (part * 2.0**-64 for part in m.fmt.half_pi)
        r = m.fma(large, first, m.fma(large, second, m.mul(small, first)))
        return m.flip(r, self._and(sign, 1 << 63))


def _sin_cos(m: Lanes, r: str) -> tuple[str, str]:
    """sin(r) = r + r^3 S(r^2) and cos(r) = 1 - r^2/2 + r^4 C(r^2)."""
    z = m.mul(r, r)
    sine = m.fma(m.mul(r, z), m.poly(z, m.fmt.sin), r)
    cosine = m.fma(z, m.fma(z, m.poly(z, m.fmt.cos), -0.5), 1.0)
    return sine, cosine


def _odd(m: Lanes, word: str) -> str:
    """Flags of the odd quadrants."""
    return m.icmp("ne", m.iand(word, 1), 0)


def _negative(m: Lanes, word: str) -> str:
    """The sign bit, set in quadrants 2 and 3."""
    return m.shl(m.iand(word, 2), m.fmt.bits - 2)


def sin(m: Lanes, x: str) -> str:
    word, r = _reduce(m, m.abs(x))
    sine, cosine = _sin_cos(m, r)
    value = m.select(_odd(m, word), cosine, sine)
    return m.flip(value, m.ixor(_negative(m, word), m.sign_of(x)))


def cos(m: Lanes, x: str) -> str:
    word, r = _reduce(m, m.abs(x))
    sine, cosine = _sin_cos(m, r)
    value = m.select(_odd(m, word), sine, cosine)
    return m.flip(value, _negative(m, m.iadd(word, 1)))


def tan(m: Lanes, x: str) -> str:
    """sin/cos, or -cos/sin in odd quadrants."""
    word, r = _reduce(m, m.abs(x))
    sine, cosine = _sin_cos(m, r)
    odd = _odd(m, word)
    value = m.div(m.select(odd, cosine, sine), m.select(odd, sine, cosine))
    return m.flip(value, m.ixor(m.shl(word, m.fmt.bits - 1), m.sign_of(x)))


def _asin_core(m: Lanes, a: str, near: str) -> tuple[str, str]:
    """(s, asin(s) - s) with s = a in the lanes of the flag `near` (a <= 1/2), and
    s = sqrt((1 - a)/2) in the others."""
    z = m.select(near, m.mul(a, a), m.fma(a, -0.5, 0.5))
    s = m.select(near, a, m.sqrt(z))
    return s, m.mul(m.mul(s, z), m.poly(z, m.fmt.asin))


def asin(m: Lanes, x: str) -> str:
    """pi/2 - 2 asin(sqrt((1 - |x|)/2)) beyond 1/2."""
    a = m.abs(x)
    near = m.cmp("ole", a, 0.5)
    s, rest = _asin_core(m, a, near)
    high, low, _ = m.fmt.half_pi
    sum_ = m.fma(s, -2.0, high)
    lost = m.fma(s, -2.0, m.sub(high, sum_))
    far = m.add(sum_, m.add(lost, m.fma(rest, -2.0, low)))
    return m.copysign(m.select(near, m.add(s, rest), far), x)


def acos(m: Lanes, x: str) -> str:
    a = m.abs(x)
    near = m.cmp("ole", a, 0.5)
    s, rest = _asin_core(m, a, near)
    core = m.add(s, rest)
    high, low, _ = m.fmt.half_pi
    middle = m.sub(high, m.sub(m.copysign(core, x), low))
    twice = m.add(core, core)
    below = m.sub(2.0 * high, m.sub(twice, 2.0 * low))
    far = m.select(m.cmp("olt", x, 0.0), below, twice)
    return m.select(near, middle, far)


def _atan_quotient(m: Lanes, a: str, b: str) -> str:
    """atan(a / b) for a, b >= 0, not both zero or infinite.

    The angle is an offset of 0, pi/4 or pi/2 and the arctangent of a quotient of at most 1/2,
    all with the same division.
    """
    above = m.cmp("ogt", a, m.mul(b, 0.5))
    steep = m.cmp("ogt", a, m.mul(b, 2.0))
    numerator = m.select(steep, m.neg(b), m.select(above, m.sub(a, b), a))
    denominator = m.select(steep, a, m.select(above, m.add(a, b), b))
    t = m.div(numerator, denominator)
    z = m.mul(t, t)
    high, low, _ = m.fmt.half_pi
    offset = m.select(steep, high, m.select(above, high / 2, 0.0))
    offset_low = m.select(steep, low, m.select(above, low / 2, 0.0))
    rest = m.fma(m.mul(t, z), m.poly(z, m.fmt.atan), offset_low)
    return m.add(offset, m.add(t, rest))


def atan(m: Lanes, x: str) -> str:
    return m.copysign(_atan_quotient(m, m.abs(x), m.f.const(m.ty, 1.0)), x)


def atan2(m: Lanes, y: str, x: str) -> str:
    """The angle of (x, y). Two infinities count as equal, two zeros as 0 over 1; large values
    are divided by 8, lest sums overflow."""
    a, b = m.abs(y), m.abs(x)
    infinity, large = float("inf"), 2.0 ** (m.fmt.bias - 3)
    infinite = m.both(m.cmp("oeq", a, infinity), m.cmp("oeq", b, infinity))
    zero = m.both(m.cmp("oeq", a, 0.0), m.cmp("oeq", b, 0.0))
    factor = m.select(m.either(m.cmp("ogt", a, large), m.cmp("ogt", b, large)), 0.125, 1.0)
    first = m.select(infinite, 1.0, m.mul(a, factor))
    second = m.select(m.either(infinite, zero), 1.0, m.mul(b, factor))
    angle = _atan_quotient(m, first, second)
    high, low, _ = m.fmt.half_pi
    left = m.icmp("slt", m.bits(x), 0)
    angle = m.select(left, m.sub(2.0 * high, m.sub(angle, 2.0 * low)), angle)
    nan = m.cmp("uno", x, y)
    return m.select(nan, m.nan, m.copysign(angle, y))
