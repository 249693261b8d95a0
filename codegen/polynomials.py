"""Expansions of the `math` dialect: elementary functions as arithmetic, without library calls.

`expand(f, name, ty, args)` writes the function `name` (as the math dialect spells it) for f32
and f64, scalar or vector of any width, and gives the same bits at every width. Narrow types are
extended to f32 and rounded back. No fast-math: NaN, infinities, signed zeros and subnormals come
out as IEEE 754 and C say, and no finite argument is out of range.

`ULPS` states the greatest error of each function in units of the last place of the result, for
f32 and f64; functions that are not in it are correctly rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import polynomials_exp, polynomials_log, polynomials_pow, polynomials_trig
from .coefficients import F32, F64
from .lanes import Lanes
from .llvm import Fn, element, lanes, vector
from .narrow import from_float, to_float

ULPS: dict[str, tuple[float, float]] = {
    "exp": (2, 2),
    "exp2": (2, 2),
    "expm1": (2, 2),
    "sinh": (2, 2),
    "cosh": (2, 2),
    "tanh": (2, 3),
    "erf": (2, 2),
    "log": (2, 2),
    "log2": (2, 2),
    "log10": (2, 2),
    "log1p": (2, 2),
    "asinh": (3, 3),
    "acosh": (3, 3),
    "atanh": (3, 3),
    "sin": (2, 2),
    "cos": (2, 2),
    "tan": (4, 4),
    "asin": (2, 2),
    "acos": (2, 2),
    "atan": (2, 2),
    "atan2": (2, 2),
    "powf": (1, 2),
    "fpowi": (1, 2),
    "cbrt": (2, 2),
    "rsqrt": (1.5, 1.5),
}


def rsqrt(m: Lanes, x: str) -> str:
    """Two correctly rounded steps."""
    return m.div(1.0, m.sqrt(x))


_EXPANSIONS: dict[str, Callable[..., str]] = {
    "exp": polynomials_exp.exp,
    "exp2": polynomials_exp.exp2,
    "expm1": polynomials_exp.expm1,
    "sinh": polynomials_exp.sinh,
    "cosh": polynomials_exp.cosh,
    "tanh": polynomials_exp.tanh,
    "erf": polynomials_exp.erf,
    "log": polynomials_log.log,
    "log2": polynomials_log.log2,
    "log10": polynomials_log.log10,
    "log1p": polynomials_log.log1p,
    "asinh": polynomials_log.asinh,
    "acosh": polynomials_log.acosh,
    "atanh": polynomials_log.atanh,
    "sin": polynomials_trig.sin,
    "cos": polynomials_trig.cos,
    "tan": polynomials_trig.tan,
    "asin": polynomials_trig.asin,
    "acos": polynomials_trig.acos,
    "atan": polynomials_trig.atan,
    "atan2": polynomials_trig.atan2,
    "powf": polynomials_pow.powf,
    "cbrt": polynomials_pow.cbrt,
    "rsqrt": rsqrt,
}

_INTRINSICS = {
    "absf": "llvm.fabs",
    "ceil": "llvm.ceil",
    "copysign": "llvm.copysign",
    "floor": "llvm.floor",
    "fma": "llvm.fma",
    "round": "llvm.round",
    "roundeven": "llvm.roundeven",
    "sqrt": "llvm.sqrt",
    "trunc": "llvm.trunc",
}

NAMES = (*_EXPANSIONS, *_INTRINSICS)


def expand(f: Fn, name: str, ty: str, args: Sequence[str]) -> str:
    """Write `name` applied to `args`, all of floating-point type `ty`; returns the value.

    Raises KeyError for a function that is not in `NAMES`.
    """
    if element(ty) in ("half", "bfloat"):
        wide = vector("float", lanes(ty))
        extended = [to_float(f, ty, arg)[1] for arg in args]
        return from_float(f, wide, expand(f, name, wide, extended), ty)
    if name in _INTRINSICS:
        return f.intrinsic(_INTRINSICS[name], ty, *args)
    return _EXPANSIONS[name](lanes_of(f, ty), *args)


def expand_fpowi(f: Fn, ty: str, x: str, exponent: str, exponent_ty: str) -> str:
    """x (of type `ty`) to an integer power (of type `exponent_ty`, signed, with as many lanes)."""
    if element(ty) in ("half", "bfloat"):
        wide, value = to_float(f, ty, x)
        return from_float(f, wide, expand_fpowi(f, wide, value, exponent, exponent_ty), ty)
    return polynomials_pow.fpowi(lanes_of(f, ty), x, exponent, exponent_ty)


def lanes_of(f: Fn, ty: str) -> Lanes:
    """Arithmetic on f32 or f64 lanes."""
    return Lanes(f, F32 if element(ty) == "float" else F64, ty)
