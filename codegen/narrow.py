"""Conversions of f16 and bf16, correctly rounded, without library calls.

Where processors convert bf16 they flush denormals, and from f64 they have no conversion at
all, so those are spelled out with integers: a handful of instructions.
"""

from __future__ import annotations

from .llvm import Fn, const, element, lanes, vector


def to_float(f: Fn, ty: str, value: str) -> tuple[str, str]:
    """Widen f16 and bf16 (scalar or vector) to f32, exactly; other types pass through.

    Returns the resulting (type, value).
    """
    kind, n = element(ty), lanes(ty)
    wide, word = vector("float", n), vector("i32", n)
    if kind == "half":
        return wide, f.cast("fpext", ty, value, wide)
    if kind == "bfloat":
        short = vector("i16", n)
        pattern = f.cast("zext", short, f.bitcast(ty, value, short), word)
        return wide, f.bitcast(word, f.shl(word, pattern, const(word, 16)), wide)
    return ty, value


def from_float(f: Fn, ty: str, value: str, result: str) -> str:
    """Round a float type to a narrower or equal one, to nearest even."""
    kind, n = element(result), lanes(result)
    if ty == result:
        return value
    if kind == "float":
        return f.cast("fptrunc", ty, value, result)
    if element(ty) == "bfloat" or element(ty) == "half":
        ty, value = to_float(f, ty, value)
    single = vector("float", n)
    if element(ty) == "double":
        value = _round_to_odd(f, ty, value, single)
    if kind == "half":
        return f.cast("fptrunc", single, value, result)
    return _round_to_bfloat(f, single, value, result)


def _round_to_bfloat(f: Fn, single: str, value: str, result: str) -> str:
    """Add half a unit in the last place, ties to even, and keep the upper half of the bits; a
    NaN is made quiet instead, lest it turn into infinity."""
    n = lanes(single)
    word, short = vector("i32", n), vector("i16", n)
    pattern = f.bitcast(single, value, word)
    upper = f.lshr(word, pattern, const(word, 16))
    bias = f.add(word, f.and_(word, upper, const(word, 1)), const(word, 0x7FFF))
    rounded = f.lshr(word, f.add(word, pattern, bias), const(word, 16))
    quiet = f.or_(word, upper, const(word, 0x40))
    nan = f.fcmp("uno", single, value, value)
    kept = f.cast("trunc", word, f.select(word, nan, quiet, rounded), short)
    return f.bitcast(short, kept, result)


def _round_to_odd(f: Fn, ty: str, value: str, single: str) -> str:
    """f64 to f32 such that a second rounding gives what one rounding would: towards zero, with
    the last bit set if anything was lost."""
    n = lanes(ty)
    word, flag = vector("i32", n), vector("i1", n)
    near = f.cast("fptrunc", ty, value, single)
    back = f.cast("fpext", single, near, ty)
    inexact = f.fcmp("one", ty, back, value)
    over = f.fcmp("ogt", ty, f.fabs(ty, back), f.fabs(ty, value))
    pattern = f.bitcast(single, near, word)
    down = f.add(word, pattern, f.cast("sext", flag, over, word))
    odd = f.or_(word, down, f.cast("zext", flag, inexact, word))
    return f.bitcast(word, odd, single)
