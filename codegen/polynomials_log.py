"""Logarithms and what is made of them: log, log2, log10, log1p, asinh, acosh, atanh.

x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), found with integer operations; f is exact.
log(1 + f) = f + tail(f), and k ln2 is added largest part last.
"""

from __future__ import annotations

from .lanes import Format, Lanes, Pair

_SQRT_HALF = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}


def split(m: Lanes, x: str) -> tuple[str, str]:
    """(k as a word, f) for a normal x."""
    base = _SQRT_HALF[m.fmt.bits]
    shifted = m.isub(m.bits(x), base)
    fraction = m.iand(shifted, (1 << m.fmt.mantissa) - 1)
    return m.sar(shifted, m.fmt.mantissa), m.sub(m.from_bits(m.iadd(fraction, base)), 1.0)


def split_any(m: Lanes, x: str) -> tuple[str, str]:
    """(k as a float, f) for any positive finite x."""
    shift = m.fmt.mantissa + 1
    small = m.cmp("olt", x, m.fmt.normal)
    word, f = split(m, m.select(small, m.mul(x, 2.0**shift), x))
    return m.from_int(m.iselect(small, m.isub(word, shift), word)), f


def tail(m: Lanes, f: str) -> str:
    """log(1 + f) - f.

    f32: f^2 times a polynomial. f64: with s = f/(2 + f), log(1 + f) = 2s + s R(s^2) and
    2s = f - s f, so the large term f stays exact.
    """
    square = m.mul(f, f)
    if m.fmt.log:
        return m.mul(square, m.poly(f, m.fmt.log))
    s = m.div(f, m.add(f, 2.0))
    z = m.mul(s, s)
    half = m.mul(square, 0.5)
    rest = m.fma(z, m.poly(z, m.fmt.log_ratio), half)
    return m.fma(s, rest, m.neg(half))


def _finish(m: Lanes, x: str, value: str) -> str:
    """The special cases of a logarithm of x: +inf and NaN stay, 0 gives -inf, below is NaN."""
    value = m.select(m.cmp("olt", x, float("inf")), value, x)
    special = m.select(m.cmp("oeq", x, 0.0), float("-inf"), m.nan)
    return m.select(m.cmp("ogt", x, 0.0), value, special)


def _join(m: Lanes, k: str, step: Pair, f: str, rest: str) -> str:
    """k * step + (f + rest)."""
    return m.fma(k, step[0], m.add(f, m.fma(k, step[1], rest)))


def log(m: Lanes, x: str) -> str:
    k, f = split_any(m, x)
    return _finish(m, x, _join(m, k, m.fmt.ln2, f, tail(m, f)))


def _scaled(m: Lanes, f: str, factor: Pair) -> str:
    """log(1 + f) * factor, where the large term f is multiplied by both parts."""
    return m.fma(f, factor[0], m.fma(tail(m, f), factor[0], m.mul(f, factor[1])))


def log2(m: Lanes, x: str) -> str:
    k, f = split_any(m, x)
    return _finish(m, x, m.add(k, _scaled(m, f, m.fmt.log2_e)))


def log10(m: Lanes, x: str) -> str:
    k, f = split_any(m, x)
    step = m.fmt.log10_2
    value = m.fma(k, step[0], m.fma(k, step[1], _scaled(m, f, m.fmt.log10_e)))
    return _finish(m, x, value)


def _log1p(m: Lanes, x: str, doublings: str | None = None) -> str:
    """log(1 + x), plus ln2 in the lanes whose flag `doublings` is set, for finite x > -1.

    1 + x = u + c exactly; f takes c up, so nothing is lost where 1 + x rounds.
    """
    u = m.add(x, 1.0)
    back = m.sub(u, 1.0)
    c = m.add(m.sub(1.0, m.sub(u, back)), m.sub(x, back))
    word, f = split(m, u)
    limit = m.fmt.bias - 4  # beyond it c does not matter, but 2^-k must stay normal
    inverse = m.pow2(m.isub(0, m.imin(word, limit)))
    f = m.fma(c, inverse, f)
    if doublings is not None:
        word = m.isub(word, m.f.cast("sext", m.flag, doublings, m.word))
    return _join(m, m.from_int(word), m.fmt.ln2, f, tail(m, f))


def log1p(m: Lanes, x: str) -> str:
    value = _log1p(m, x)
    value = m.select(m.cmp("olt", x, float("inf")), value, x)
    special = m.select(m.cmp("oeq", x, -1.0), float("-inf"), m.nan)
    value = m.select(m.cmp("ogt", x, -1.0), value, special)
    return m.select(m.cmp("olt", m.abs(x), m.fmt.tiny), x, value)


def _large(fmt: Format) -> float:
    """From here on asinh(x) and acosh(x) are log(2x), and so is log1p(x) + ln2."""
    return 2.0 ** (fmt.mantissa + 4)


def asinh(m: Lanes, x: str) -> str:
    """log1p(a + a^2 / (1 + sqrt(a^2 + 1))) with a = |x|."""
    a = m.abs(x)
    large = m.cmp("oge", a, _large(m.fmt))
    square = m.mul(a, a)
    rest = m.div(square, m.add(m.sqrt(m.add(square, 1.0)), 1.0))
    value = _log1p(m, m.select(large, a, m.add(a, rest)), large)
    value = m.select(m.cmp("olt", a, float("inf")), value, a)
    return m.copysign(m.select(m.cmp("olt", a, 2.0**-m.fmt.mantissa), a, value), x)


def acosh(m: Lanes, x: str) -> str:
    """log1p(t + sqrt(2t + t^2)) with t = x - 1."""
    large = m.cmp("oge", x, _large(m.fmt))
    t = m.sub(x, 1.0)
    argument = m.add(t, m.sqrt(m.mul(t, m.add(t, 2.0))))
    value = _log1p(m, m.select(large, x, argument), large)
    value = m.select(m.cmp("olt", x, float("inf")), value, x)
    return m.select(m.cmp("oge", x, 1.0), value, m.nan)


def atanh(m: Lanes, x: str) -> str:
    """log1p(2a / (1 - a)) / 2 with a = |x|."""
    a = m.abs(x)
    value = m.mul(_log1p(m, m.div(m.add(a, a), m.sub(1.0, a))), 0.5)
    value = m.select(m.cmp("oeq", a, 1.0), float("inf"), value)
    value = m.select(m.cmp("ole", a, 1.0), value, m.nan)
    return m.copysign(m.select(m.cmp("olt", a, 2.0**-m.fmt.mantissa), a, value), x)
