"""LLVM types and literals as text: what the builder and the expansions ask about them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

_FLOAT_SUFFIX = {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}
_BITS = {"half": 16, "bfloat": 16, "float": 32, "double": 64, "ptr": 64}


@cache
def vector(element: str, lanes: int) -> str:
    """The type of a vector; 0 lanes mean the scalar itself: ``vector("float", 16)``."""
    return f"<{lanes} x {element}>" if lanes else element


@cache
def element(ty: str) -> str:
    """Element type of a vector type, or the scalar type itself."""
    return ty[ty.index(" x ") + 3 : -1] if ty[0] == "<" else ty


@cache
def lanes(ty: str) -> int:
    """Number of lanes of a vector type, 0 for a scalar."""
    return int(ty[1 : ty.index(" x ")]) if ty[0] == "<" else 0


@cache
def bits(ty: str) -> int:
    """Bits of one element of a scalar or vector type."""
    scalar = element(ty)
    return int(scalar[1:]) if scalar[0] == "i" else _BITS[scalar]


@cache
def size(ty: str) -> int:
    """Bytes in memory of one element of a scalar or vector type (an i1 takes one)."""
    return max(1, bits(ty) // 8)


@cache
def suffix(ty: str) -> str:
    """How intrinsic names spell a type: "v16f32" for <16 x float>."""
    scalar = element(ty)
    name = _FLOAT_SUFFIX.get(scalar, scalar)
    return f"v{lanes(ty)}{name}" if ty[0] == "<" else name


@cache
def is_float(ty: str) -> bool:
    """Whether the elements of a type are floating point."""
    return element(ty) in ("float", "double", "half", "bfloat")


@cache
def integer_like(ty: str) -> str:
    """The integer type with the bits and the lanes of `ty`: <16 x i32> for <16 x float>."""
    return vector(f"i{bits(ty)}", lanes(ty))


def const(ty: str, number: int | float) -> str:
    """The literal of a number, rounded to nearest, splatted over the lanes of a vector type."""
    scalar = element(ty)
    literal = _LITERALS[scalar](number) if scalar in _LITERALS else str(int(number))
    return f"splat ({scalar} {literal})" if ty[0] == "<" else literal


def const_bits(ty: str, pattern: int) -> str:
    """The float literal with a given bit pattern, for NaNs with payload and exact tables."""
    width = bits(ty)
    scalar = element(ty)
    if scalar == "float":
        value = struct.unpack("<f", struct.pack("<I", pattern))[0]
        literal = f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    else:
        prefix = {"double": "", "half": "H", "bfloat": "R"}[scalar]
        literal = f"0x{prefix}{pattern:0{width // 4}X}"
    return f"splat ({scalar} {literal})" if ty[0] == "<" else literal


def const_vector(ty: str, numbers: Sequence[int | float]) -> str:
    """The literal of a vector with the given lanes."""
    scalar = element(ty)
    return "<" + ", ".join(f"{scalar} {const(scalar, x)}" for x in numbers) + ">"


def zero(ty: str) -> str:
    """The (positive) zero of any type."""
    if ty[0] == "<":
        return "zeroinitializer"
    return {"ptr": "null", "float": "0.0", "double": "0.0"}.get(ty) or const(ty, 0)


def _double_literal(number: float) -> str:
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def _float_literal(number: float) -> str:
    """LLVM writes a float as the double of the same value."""
    try:
        return _double_literal(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return _double_literal(float("inf") if number > 0 else float("-inf"))


def _half_literal(number: float) -> str:
    try:
        return f"0xH{struct.unpack('<H', struct.pack('<e', number))[0]:04X}"
    except OverflowError:
        return "0xH7C00" if number > 0 else "0xHFC00"


def _bfloat_literal(number: float) -> str:
    """The bits of the float, rounded to nearest even."""
    if number != number:
        return "0xR7FC0"
    pattern = struct.unpack("<I", struct.pack("<f", number))[0]
    pattern += 0x7FFF + ((pattern >> 16) & 1)
    return f"0xR{(pattern >> 16) & 0xFFFF:04X}"


_LITERALS = {
    "float": _float_literal,
    "double": _double_literal,
    "half": _half_literal,
    "bfloat": _bfloat_literal,
    "i1": lambda number: "true" if number else "false",
}


def is_literal(value: str) -> bool:
    """Whether a value is an integer literal."""
    return value[0] != "%" and value.lstrip("-").isdigit()
