"""powf, powers with integer exponents, and cbrt.

pow(x, y) = 2^(y log2|x|) with a sign. Errors of the logarithm are multiplied by up to 2^11 (f64),
so it is computed to 64 bits or more: f32 works in f64, f64 in pairs of numbers, whose sum is the
value and whose second part is at most half a unit in the last place of the first.
"""

from __future__ import annotations

from .coefficients import F64
from .lanes import Lanes
from .llvm import Fn, bits, lanes, vector
from .polynomials_log import split, split_any

Double = tuple[str, str]

_INF = float("inf")


def powf(m: Lanes, x: str, y: str) -> str:
    """C's pow, exactly in its special cases."""
    whole = m.trunc(y)
    integral = m.cmp("oeq", whole, y)
    half = m.mul(y, 0.5)
    odd = m.both(m.cmp("one", m.trunc(half), half), integral)
    magnitude = _power(m, m.abs(x), y)
    return _signed(m, x, y, magnitude, integral, odd)


def _signed(m: Lanes, x: str, y: str, magnitude: str, integral: str, odd: str) -> str:
    """pow(x, y) from |x|^y."""
    sign = m.iselect(odd, m.sign_of(x), 0)
    value = m.flip(magnitude, sign)
    negative = m.both(m.cmp("olt", x, 0.0), m.cmp("ogt", x, -_INF))
    value = m.select(m.unless(negative, integral), m.nan, value)
    unit = m.both(m.cmp("oeq", m.abs(x), 1.0), m.cmp("oeq", m.abs(y), _INF))
    one = m.either(m.either(m.cmp("oeq", x, 1.0), m.cmp("oeq", y, 0.0)), unit)
    return m.select(one, 1.0, value)


def _power(m: Lanes, a: str, y: str) -> str:
    """a^y for a >= 0 by logarithm and exponential; the cases with result 1 are the caller's."""
    if m.fmt.bits == 64:
        return _power_f64(m, a, y)
    wide = Lanes(m.f, F64, vector("double", lanes(m.ty)))
    a = m.f.cast("fpext", m.ty, a, wide.ty)
    y = m.f.cast("fpext", m.ty, y, wide.ty)
    return m.f.cast("fptrunc", wide.ty, _power_in_f64(wide, a, y), m.ty)


def _power_in_f64(m: Lanes, a: str, y: str) -> str:
    """a^y with 2^-35 of relative error, for a and y that are exact in f32 or are integers; it
    saturates well outside the range of f32."""
    word, f = split(m, a)
    k = m.from_int(word)
    s = m.div(f, m.add(f, 2.0))
    z = m.mul(s, s)
    log_f = m.mul(s, m.fma(z, m.poly(z, m.fmt.powf_log), 2.0))
    logarithm = _log_of_ends(m, a, m.fma(log_f, m.fmt.log2_e[0], k))
    p = m.at_least(m.at_most(m.mul(y, logarithm), 400.0), -400.0)
    word, n = m.nearest(p, 1.0)
    r = m.sub(p, n)
    return m.times_pow2(m.fma(r, m.poly(r, m.fmt.powf_exp2), 1.0), word)


def _log_of_ends(m: Lanes, a: str, value: str) -> str:
    """The logarithm of a >= 0, given its value for finite positive a; NaN stays."""
    value = m.select(m.cmp("olt", a, _INF), value, a)
    return m.select(m.cmp("oeq", a, 0.0), -_INF, value)


def _power_f64(m: Lanes, a: str, y: str) -> str:
    high, low = _log2_pair(m, a)
    high = _log_of_ends(m, a, high)
    product = m.mul(y, high)
    error = m.fma(y, low, m.fma(y, high, m.neg(product)))
    error = m.select(m.cmp("olt", m.abs(product), 1100.0), error, 0.0)
    product = m.at_least(m.at_most(product, 1100.0), -1100.0)
    _, n = m.nearest(product, 1.0)
    r = m.add(m.sub(product, n), error)
    return m.scale(m.fma(r, m.poly(r, m.fmt.exp2), 1.0), n)


def _product(m: Lanes, a: Double, b: Double) -> Double:
    """a * b of two pairs."""
    high = m.mul(a[0], b[0])
    low = m.fma(a[0], b[0], m.neg(high))
    return high, m.fma(a[0], b[1], m.fma(a[1], b[0], low))


def _sum(m: Lanes, a: Double, b: Double) -> Double:
    """a + b of two pairs, where a is the larger or 0."""
    high = m.add(a[0], b[0])
    low = m.add(m.sub(a[0], high), b[0])
    return high, m.add(low, m.add(a[1], b[1]))


def _log2_pair(m: Lanes, a: str) -> Double:
    """log2(a) for positive finite a, with 2^-64 of relative error.

    1 + f = (1 + s)/(1 - s), and its logarithm is 2s + s z (2/3 + z P(z)) with z = s^2.
    """

    def pair(parts: tuple[float, float]) -> Double:
        return m.f.const(m.ty, parts[0]), m.f.const(m.ty, parts[1])

    k, f = split_any(m, a)
    u = m.add(f, 2.0)
    u_low = m.sub(f, m.sub(u, 2.0))
    inverse = m.div(1.0, u)
    s = m.mul(f, inverse)
    left = m.fma(m.neg(s), u_low, m.fma(m.neg(s), u, f))
    ratio = s, m.mul(left, inverse)
    square = _product(m, ratio, ratio)
    q = m.mul(square[0], m.poly(square[0], m.fmt.log_pow))
    zero = m.f.const(m.ty, 0.0)
    bracket = _sum(m, pair(m.fmt.two_thirds), (q, zero))
    cubic = _product(m, _product(m, ratio, square), bracket)
    twice = m.add(ratio[0], ratio[0]), m.add(ratio[1], ratio[1])
    log2 = _product(m, _sum(m, twice, cubic), pair(m.fmt.log2_e))
    return _sum(m, (k, zero), log2)


def fpowi(m: Lanes, x: str, exponent: str, exponent_ty: str) -> str:
    """x to an integer power of type `exponent_ty`: pow, with the parity from the integer."""
    f = m.f
    wide = Lanes(f, F64, vector("double", lanes(m.ty)))
    y = f.cast("sitofp", exponent_ty, exponent, wide.ty)
    low_bit = f.and_(exponent_ty, exponent, f.const(exponent_ty, 1))
    odd = f.icmp("ne", exponent_ty, low_bit, f.const(exponent_ty, 0))
    a = m.abs(x)
    if m.fmt.bits == 64:
        magnitude = _power_f64(m, a, y)
    else:
        power = _power_in_f64(wide, f.cast("fpext", m.ty, a, wide.ty), y)
        magnitude = f.cast("fptrunc", wide.ty, power, m.ty)
    value = m.flip(magnitude, m.iselect(odd, m.sign_of(x), 0))
    zero = f.icmp("eq", exponent_ty, exponent, f.const(exponent_ty, 0))
    return m.select(m.either(zero, m.cmp("oeq", x, 1.0)), 1.0, value)


def cbrt(m: Lanes, x: str) -> str:
    """|x| = 2^(3q + j) m with j in -1, 0, 1: a polynomial for cbrt(m), one step of Halley's
    method (two for f64), times 2^(j/3) and 2^q."""
    a = m.abs(x)
    k, f = split_any(m, a)
    mantissa = m.add(f, 1.0)
    word, q = m.nearest(k, 1.0 / 3.0)
    j = m.fma(q, -3.0, k)
    up, down = m.cmp("ogt", j, 0.5), m.cmp("olt", j, -0.5)
    scaled = m.mul(mantissa, m.select(up, 2.0, m.select(down, 0.5, 1.0)))
    root = m.fmt.cbrt_2
    t = m.mul(m.poly(mantissa, m.fmt.cbrt), m.select(up, root, m.select(down, 1 / root, 1.0)))
    for _ in range(1 if m.fmt.bits == 32 else 2):
        square = m.mul(t, t)
        residual = m.fma(m.neg(square), t, scaled)
        slope = m.fma(m.add(square, square), t, scaled)
        t = m.fma(t, m.div(residual, slope), t)
    value = m.copysign(m.times_pow2(t, word), x)
    ordinary = m.both(m.cmp("ogt", a, 0.0), m.cmp("olt", a, _INF))
    return m.select(ordinary, value, x)


def ipowi(f: Fn, ty: str, base: str, exponent: str) -> str:
    """An integer power by repeated squaring, modulo 2^bits. With a negative exponent the result
    is that of exact division, truncated: 0 unless the base is 1 or -1 (0 for base 0 as well)."""
    flag = vector("i1", lanes(ty))
    zero, one, minus = f.const(ty, 0), f.const(ty, 1), f.const(ty, -1)
    odd = f.icmp("ne", ty, f.and_(ty, exponent, one), zero)
    carried = [(ty, one), (ty, base), (ty, exponent)]
    with f.loop("0", str(bits(ty)), carried=carried) as loop:
        result, square, left = loop.args
        take = f.icmp("ne", ty, f.and_(ty, left, one), zero)
        result = f.mul(ty, result, f.select(ty, take, square, one))
        loop.yield_([result, f.mul(ty, square, square), f.lshr(ty, left, one)])
    is_minus = f.icmp("eq", ty, base, minus)
    unit = f.or_(flag, f.icmp("eq", ty, base, one), is_minus)
    inverse = f.select(ty, unit, f.select(ty, f.and_(flag, is_minus, odd), minus, one), zero)
    negative = f.icmp("slt", ty, exponent, zero)
    return f.select(ty, negative, inverse, loop.results[0])
