"""Exponentials and what is made of them: exp, exp2, expm1, sinh, cosh, tanh, erf.

exp(x) = 2^n exp(r) with n = round(x / ln 2) and |r| <= ln(2)/2. The product n * ln2 is taken off
in two fma steps, the first of which is exact. Powers of two are applied such that subnormal
results are rounded once.
"""

from __future__ import annotations

from .lanes import Lanes


def _reduce(m: Lanes, x: str) -> tuple[str, str, str]:
    """(n as a word, n as a float, r)."""
    high, low = m.fmt.ln2
    word, n = m.nearest(x, m.fmt.log2_e[0])
    r = m.fma(n, -low, m.fma(n, -high, x))
    return word, n, r


def _exp_reduced(m: Lanes, r: str) -> str:
    """exp(r) = 1 + (r + r^2 q(r))."""
    tail = m.fma(m.poly(r, m.fmt.exp), m.mul(r, r), r)
    return m.add(tail, 1.0)


def _expm1_reduced(m: Lanes, r: str) -> str:
    """exp(r) - 1, accurate relative to itself."""
    return m.fma(m.poly(r, m.fmt.expm1), m.mul(r, r), r)


def exp_range(m: Lanes) -> tuple[float, float]:
    """Below the first exp is 0, above the second it is infinite; n stays within reach of
    `Lanes.scale` in between."""
    return (-104.0, 89.0) if m.fmt.bits == 32 else (-746.0, 710.0)


def exp(m: Lanes, x: str) -> str:
    low, high = exp_range(m)
    _, n, r = _reduce(m, m.at_least(m.at_most(x, high), low))
    return m.scale(_exp_reduced(m, r), n)


def exp2(m: Lanes, x: str) -> str:
    low, high = (-151.0, 129.0) if m.fmt.bits == 32 else (-1076.0, 1025.0)
    x = m.at_least(m.at_most(x, high), low)
    _, n = m.nearest(x, 1.0)
    r = m.sub(x, n)
    return m.scale(m.fma(r, m.poly(r, m.fmt.exp2), 1.0), n)


def expm1(m: Lanes, x: str) -> str:
    """2^n (exp(r) - 1) + (2^n - 1), all of it halved, so that 2^n does not overflow first."""
    high = exp_range(m)[1]
    low = -25.0 if m.fmt.bits == 32 else -45.0
    word, _, r = _reduce(m, m.at_least(m.at_most(x, high), low))
    half = m.pow2(word, -1)
    value = m.fma(half, _expm1_reduced(m, r), m.sub(half, 0.5))
    return m.select(m.cmp("olt", m.abs(x), m.fmt.tiny), x, m.add(value, value))


def _half_exp(m: Lanes, a: str) -> str:
    """exp(a) / 2 for a >= 1, which overflows as sinh and cosh do."""
    _, n, r = _reduce(m, m.at_most(a, exp_range(m)[1] + 2.0))
    return m.scale(_exp_reduced(m, r), m.sub(n, 1.0))


def sinh(m: Lanes, x: str) -> str:
    """x + x^3 S(x^2) up to 1, then (exp(|x|) - exp(-|x|)) / 2."""
    a = m.abs(x)
    z = m.mul(a, a)
    small = m.fma(m.mul(a, z), m.poly(z, m.fmt.sinh), a)
    e = _half_exp(m, a)
    large = m.sub(e, m.div(0.25, e))
    return m.copysign(m.select(m.cmp("olt", a, 1.0), small, large), x)


def cosh(m: Lanes, x: str) -> str:
    e = _half_exp(m, m.abs(x))
    return m.add(e, m.div(0.25, e))


def tanh(m: Lanes, x: str) -> str:
    return _tanh_f32(m, x) if m.fmt.tanh else _tanh_f64(m, x)


def _tanh_f32(m: Lanes, x: str) -> str:
    """x + x^3 T(x^2) up to 0.6, then 1 - 2e/(1 + e) with e = exp(-2|x|); it is 1 from 9.02 on,
    so e needs no care for its range."""
    a = m.abs(x)
    z = m.mul(a, a)
    small = m.fma(m.mul(z, m.poly(z, m.fmt.tanh)), a, a)
    word, _, r = _reduce(m, m.mul(m.at_most(a, 10.0), -2.0))
    e = m.times_pow2(_exp_reduced(m, r), word)
    large = m.sub(1.0, m.div(m.add(e, e), m.add(e, 1.0)))
    return m.copysign(m.select(m.cmp("ole", a, 0.6), small, large), x)


def _tanh_f64(m: Lanes, x: str) -> str:
    """-e/(e + 2) with e = expm1(-2|x|) up to 0.6, then 1 - 2e/(1 + e) with e = exp(-2|x|), all
    with the same division."""
    a = m.abs(x)
    word, _, r = _reduce(m, m.mul(m.at_most(a, 22.0), -2.0))
    power, rest = m.pow2(word), _expm1_reduced(m, r)
    e = m.fma(power, rest, power)
    e1 = m.fma(power, rest, m.sub(power, 1.0))
    near = m.cmp("ole", a, 0.6)
    numerator = m.select(near, m.neg(e1), m.add(e, e))
    quotient = m.div(numerator, m.select(near, m.add(e1, 2.0), m.add(e, 1.0)))
    return m.copysign(m.select(near, quotient, m.sub(1.0, quotient)), x)


def erf(m: Lanes, x: str) -> str:
    """x + x E(x^2) up to 0.93, then 1 - erfc(|x|), with a polynomial for log(erfc)."""
    a = m.abs(x)
    small = m.fma(m.poly(m.mul(a, a), m.fmt.erf), a, a)
    t = m.at_most(a, 4.0 if m.fmt.bits == 32 else 6.0)
    word, _, r = _reduce(m, m.fma(m.poly(t, m.fmt.erfc_log), t, m.neg(t)))
    large = m.sub(1.0, m.times_pow2(_exp_reduced(m, r), word))
    return m.copysign(m.select(m.cmp("ole", a, 0.93), small, large), x)
