"""Writes `codegen/coefficients.py`: fits its polynomials and splits its constants.

Every fit is a weighted minimax (Remez exchange on a dense grid) in `decimal` arithmetic with 60
digits, so that the result depends on no machine's floating point. Coefficients are rounded to the
target format one by one, lowest degree first, and the rest is fitted again around what rounding
left over.

    python tools/fit_polynomials.py > codegen/coefficients.py
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal as D
from decimal import getcontext

import numpy as np
from minimax import ONE, ZERO, Fit, Fn, rounded, run

getcontext().prec = 60
TWO = D(2)
LN2 = TWO.ln()


def series(first: D, ratio: Callable[[int], D]) -> D:
    """Sum of first * ratio(1) * ratio(2) ... until the terms vanish."""
    term, total, n = first, first, 0
    while term and abs(term) > abs(total) * D("1e-58"):
        n += 1
        term *= ratio(n)
        total += term
    return total


def sin(x: D) -> D:
    return series(x, lambda n: -x * x / (2 * n * (2 * n + 1)))


def cos(x: D) -> D:
    return series(ONE, lambda n: -x * x / ((2 * n - 1) * 2 * n))


def sinh(x: D) -> D:
    return series(x, lambda n: x * x / (2 * n * (2 * n + 1)))


def tanh(x: D) -> D:
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


def atan(x: D) -> D:
    """Three halvings of the angle, then the Taylor series."""
    for _ in range(3):
        x = x / (1 + (1 + x * x).sqrt())
    return 8 * series(x, lambda n: -x * x * (2 * n - 1) / (2 * n + 1))


def asin(x: D) -> D:
    return atan(x / (1 - x * x).sqrt())


def machin() -> D:
    """pi, to the current precision."""

    def arctan(inverse: int) -> D:
        total, term, n = ZERO, ONE / inverse, 1
        while term > D(10) ** -(getcontext().prec + 2):
            total += term / n if n % 4 == 1 else -term / n
            term /= inverse * inverse
            n += 2
        return total

    return 16 * arctan(5) - 4 * arctan(239)


PI = machin()


def erf(x: D) -> D:
    odd = series(x, lambda n: 2 * x * x / (2 * n + 1))  # erf = 2/sqrt(pi) exp(-x^2) * odd
    return TWO / PI.sqrt() * (-x * x).exp() * odd


def erfc(x: D) -> D:
    return ONE - erf(x)  # at most 6 here: 17 of the 60 digits cancel


def over(numerator: Fn, power: int) -> Fn:
    """numerator(r) / r**power; 60 digits leave enough near zero."""
    return lambda r: numerator(r) / r**power


def odd(function: Fn) -> Fn:
    """(function(x)/x - 1)/x^2 as a function of z = x^2: the tail of an odd function."""

    def tail(z: D) -> D:
        x = z.sqrt()
        return (function(x) / x - 1) / z

    return tail


def odd_weight(function: Fn) -> Fn:
    """Relative error of x + x^3 tail(x^2)."""
    return lambda z: z * z.sqrt() / function(z.sqrt())


def cbrt(x: D) -> D:
    return (x.ln() / 3).exp()


def log_ratio(s: D) -> D:
    """log((1 + s)/(1 - s)) = 2 atanh(s)."""
    return ((1 + s) / (1 - s)).ln()


HALF_LN2 = LN2 / 2 * D("1.001")
QUARTER_PI = (PI / 4 * D("1.005")) ** 2
LOG_LO, LOG_HI = D("0.5").sqrt() - 1, D(2).sqrt() - 1
RATIO_MAX = (LOG_HI / (2 + LOG_HI)) ** 2 * D("1.0001")
TINY = D("1e-8")


def both(
    name: str, meaning: str, target: Fn, lo: D, hi: D, degrees: tuple[int, int], weight: Fn
) -> list[Fit]:
    """The fits of f32 and of f64; degree 0 leaves one out."""
    return [
        Fit(name, fmt, meaning, target, lo, hi, degree, weight)
        for fmt, degree in zip(("f32", "f64"), degrees, strict=True)
        if degree
    ]


# z means the square of the reduced argument r.


exp2_tail = over(lambda r: (r * LN2).exp() - 1, 1)


def ratio(z: D) -> D:
    return (log_ratio(z.sqrt()) / z.sqrt() - 2) / z


def exponentials() -> list[Fit]:
    exp_tail = over(lambda r: r.exp() - 1 - r, 2)
    return [
        *both(
            "exp",
            "(exp(r) - 1 - r)/r^2",
            exp_tail,
            -HALF_LN2,
            HALF_LN2,
            (4, 9),
            lambda r: r * r / r.exp(),
        ),
        *both(
            "expm1",
            "(exp(r) - 1 - r)/r^2, relative to expm1(r)",
            exp_tail,
            -HALF_LN2,
            HALF_LN2,
            (5, 10),
            lambda r: abs(r * r / (r.exp() - 1)),
        ),
        *both(
            "exp2",
            "(2^r - 1)/r",
            exp2_tail,
            -D("0.5005"),
            D("0.5005"),
            (5, 11),
            lambda r: abs(r) / (r * LN2).exp(),
        ),
    ]


def logarithms() -> list[Fit]:
    log_tail = over(lambda f: (1 + f).ln() - f, 2)

    def ratio2(z: D) -> D:
        return (ratio(z) - TWO / 3) / z

    return [
        *both(
            "log",
            "(log(1 + f) - f)/f^2",
            log_tail,
            LOG_LO,
            LOG_HI,
            (8, 0),
            lambda f: f * f / abs((1 + f).ln()),
        ),
        *both(
            "log_ratio",
            "(log((1 + s)/(1 - s))/s - 2)/z",
            ratio,
            TINY,
            RATIO_MAX,
            (0, 6),
            lambda z: z / 2,
        ),
        *both(
            "log_pow",
            "((log((1 + s)/(1 - s))/s - 2)/z - 2/3)/z",
            ratio2,
            TINY,
            RATIO_MAX,
            (0, 8),
            lambda z: z * z / 2,
        ),
    ]


def circular() -> list[Fit]:
    cos_tail: Fn = lambda z: (cos(z.sqrt()) - 1 + z / 2) / z**2  # noqa: E731
    return [
        *both("sin", "(sin(r)/r - 1)/z", odd(sin), TINY, QUARTER_PI, (2, 5), odd_weight(sin)),
        *both(
            "cos",
            "(cos(r) - 1 + z/2)/z^2",
            cos_tail,
            TINY,
            QUARTER_PI,
            (2, 5),
            lambda z: z * z / cos(z.sqrt()),
        ),
        *both("asin", "(asin(x)/x - 1)/z", odd(asin), TINY, D("0.2501"), (4, 12), odd_weight(asin)),
        *both("atan", "(atan(x)/x - 1)/z", odd(atan), TINY, D("0.2501"), (5, 13), odd_weight(atan)),
        *both("sinh", "(sinh(x)/x - 1)/z", odd(sinh), TINY, D(1), (3, 6), odd_weight(sinh)),
        *both("tanh", "(tanh(x)/x - 1)/z", odd(tanh), TINY, D("0.361"), (4, 0), odd_weight(tanh)),
    ]


def error_functions() -> list[Fit]:
    erf_tail: Fn = lambda z: erf(z.sqrt()) / z.sqrt() - 1  # noqa: E731
    erfc_log: Fn = lambda t: erfc(t).ln() / t + 1  # noqa: E731
    out = [
        *both(
            "erf",
            "erf(x)/x - 1",
            erf_tail,
            TINY,
            D("0.87"),
            (5, 11),
            lambda z: z.sqrt() / erf(z.sqrt()),
        ),
    ]
    for fmt, degree, top, floor in (("f32", 6, "3.95", "2e-9"), ("f64", 18, "5.95", "1e-18")):
        out.append(
            Fit(
                "erfc_log",
                fmt,
                "log(erfc(x))/x + 1, as erf(x) sees it",
                erfc_log,
                D("0.92"),
                D(top),
                degree,
                lambda x, floor=floor: x * erfc(x) / erf(x) + D(floor),
            )
        )
    return out


def powers() -> list[Fit]:
    return [
        *both("cbrt", "cbrt(m)", cbrt, D("0.7071"), D("1.4143"), (3, 5), lambda m: 1 / cbrt(m)),
        Fit(
            "powf_log",
            "f64",
            "(log((1 + s)/(1 - s))/s - 2)/z, for powf of f32",
            ratio,
            TINY,
            RATIO_MAX,
            4,
            lambda z: z / 2,
        ),
        Fit(
            "powf_exp2",
            "f64",
            "(2^r - 1)/r, for powf of f32",
            exp2_tail,
            -D("0.5005"),
            D("0.5005"),
            7,
            lambda r: abs(r) / (r * LN2).exp(),
        ),
    ]


def fits() -> list[Fit]:
    """All fits."""
    return [
        *exponentials(), *logarithms(), *circular(), *error_functions(), *powers(),
    ]  # fmt: skip


def literal(x: D, fmt: str) -> str:
    """The shortest decimal that reads back as x rounded to the format."""
    return str(np.float32(float(x))) if fmt == "f32" else repr(float(x))


def parts(x: D, fmt: str, count: int) -> str:
    """x as a sum of `count` numbers of the format, each the rest of the ones before, rounded."""
    out = []
    for _ in range(count):
        out.append(literal(x, fmt))
        x -= rounded(x, fmt)
    return "(" + ", ".join(out) + ")"


def constants(fmt: str) -> list[str]:
    """The constants that argument reductions and reconstructions need, as keyword lines."""
    log2_e, log10_e, log10_2 = ONE / LN2, ONE / D(10).ln(), LN2 / D(10).ln()
    return [
        f"    ln2={parts(LN2, fmt, 2)},",
        f"    log2_e={parts(log2_e, fmt, 2)},",
        f"    log10_e={parts(log10_e, fmt, 2)},",
        f"    log10_2={parts(log10_2, fmt, 2)},",
        f"    half_pi={parts(PI / 2, fmt, 3)},",
        f"    two_thirds={parts(TWO / 3, fmt, 2)},",
        f"    cbrt_2={literal(cbrt(TWO), fmt)},",
    ]


def polynomial(fit: Fit) -> list[str]:
    """One tuple of coefficients, with a comment that says what it is."""
    coefficients, error = run(fit)
    where = f"[{float(fit.lo):.4g}, {float(fit.hi):.4g}]"
    exponent = float(error.log10() / TWO.log10())
    return [
        f"    # {fit.meaning}",
        f"    # on {where}, max error 2^{exponent:.1f}.",
        f"    {fit.name}=(",
        *(f"        {literal(c, fit.fmt)}," for c in coefficients),
        "    ),",
    ]


HEADER = '''"""Constants and polynomials of the expansions in `polynomials.py`.

Written by `tools/fit_polynomials.py`; do not edit. A tuple of constants is a sum, largest part
first. Coefficients run from the lowest degree up; z is the square of the reduced argument. The
stated error is that of the function served, relative to its value, with exact evaluation.
"""

from __future__ import annotations

from .lanes import Format
'''

FORMATS = {
    "f32": ['element="float"', "mantissa=23", "exponent=8"],
    "f64": ['element="double"', "mantissa=52", "exponent=11"],
}

FOOTER = """
# The binary digits of 2/pi, after {zeros} zeros, in words of 32 bits, most significant first.
# fmt: off
TWO_OVER_PI = (
{words}
)
# fmt: on
TWO_OVER_PI_ZEROS = {zeros}
"""


def two_over_pi(words: int, zeros: int) -> str:
    """The footer: enough digits for the largest double."""
    getcontext().prec = words * 10 + 40
    digits = int(TWO / machin() * D(2) ** (32 * words - zeros))
    getcontext().prec = 60
    rows = [(digits >> 32 * (words - 1 - i)) & 0xFFFFFFFF for i in range(words)]
    lines = ["    " + " ".join(f"0x{w:08X}," for w in rows[i : i + 7]) for i in range(0, words, 7)]
    return FOOTER.format(zeros=zeros, words="\n".join(lines))


def main() -> None:
    print(HEADER)
    for fmt, shape in FORMATS.items():
        print(f"{fmt.upper()} = Format(")
        print("\n".join(f"    {field}," for field in shape))
        print("\n".join(constants(fmt)))
        for fit in fits():
            if fit.fmt == fmt:
                print("\n".join(polynomial(fit)))
        print(")")
    print(two_over_pi(38, 32), end="")


if __name__ == "__main__":
    main()
