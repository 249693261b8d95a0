"""Rounding to whole numbers, and division that rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..op import Node, Sample, Value, bind, meta
from ..scalar import ScalarBuilder
from ._elementwise import Binary, Elementwise, Function, elementwise_samples, function
from ._fold import producer
from .arithmetic import kinked, mul, neg
from .creation import full_like


class Rounding(Function):
    """Base: floats to whole floats. The gradient is zero."""

    EXACT = True

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (full_like(cotangents[0], 0),)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        (x,) = node.operands
        return x if any(producer(x, op.name) is not None for op in _ROUNDING) else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield from elementwise_samples(cls)
        halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 8388609.0], np.float32)
        yield Sample((halves,), grad=False)


class Floor(Rounding):
    """The largest whole number that is not above x."""

    name = "calque.floor"
    MATH = "floor"
    REFERENCE = np.floor


class Ceil(Rounding):
    """The smallest whole number that is not below x."""

    name = "calque.ceil"
    MATH = "ceil"
    REFERENCE = np.ceil


class Round(Rounding):
    """The nearest whole number; halves go to the even one."""

    name = "calque.round"
    MATH = "roundeven"
    REFERENCE = np.round


class Trunc(Rounding):
    """x without its fraction."""

    name = "calque.trunc"
    MATH = "trunc"
    REFERENCE = np.trunc


_ROUNDING = (Floor, Ceil, Round, Trunc)


class FloorDivide(Binary):
    """x / y rounded down, as Python's `//`.

    Integer division by zero gives 0 (PyTorch raises), and the smallest integer by -1 itself.
    """

    name = "calque.floor_divide"
    EXACT = True

    @staticmethod
    def REFERENCE(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = (x, y) if x.dtype.kind in "iu" else (_wide(x), _wide(y))
        return np.floor_divide(x, y)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        x, y = args
        if not dt.from_element(x.type).is_floating_point:
            return _integer_division(s, x, y)[0]
        quotient, rest = s.div(x, y), _fmod(s, x, y)
        whole = s.div(s.sub(x, rest), y)
        down = s.sub(whole, s.like(1.0, x))
        whole = s.select(_signs_differ(s, rest, y), down, whole)
        floor = s.math("floor", whole)
        near = s.compare("gt", s.sub(whole, floor), s.like(0.5, x))
        whole = s.select(near, s.add(floor, s.like(1.0, x)), floor)
        zero = s.math("copysign", s.like(0.0, x), quotient)
        whole = s.select(s.compare("eq", whole, s.like(0.0, x)), zero, whole)
        return s.select(s.compare("eq", y, s.like(0.0, y)), quotient, whole)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (full_like(cotangents[0], 0),) * 2

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _division_samples(cls)


class Remainder(Binary):
    """x - y * floor(x / y), as Python's `%`: it has the sign of y.

    By zero, integers give 0 (PyTorch raises) and floats NaN. Floats are exact while |x / y| is
    below 2**72 (float32) or 2**156 (float64); farther out, where neighbours of x lie many
    multiples of y apart, the result is 0.
    """

    name = "calque.remainder"
    EXACT = True
    SAVED = ((0, 1), ())

    @staticmethod
    def REFERENCE(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype.kind in "iu":
            return np.remainder(x, y)
        return _float_remainder(_wide(x), _wide(y))

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        x, y = args
        if not dt.from_element(x.type).is_floating_point:
            return _integer_division(s, x, y)[1]
        rest = _fmod(s, x, y)
        return s.select(_signs_differ(s, rest, y), s.add(rest, y), rest)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (x, y) = cotangents, node.operands
        return g, neg(mul(g, floor_divide(x, y))) if node.needs[1] else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _division_samples(cls)


def _division_samples(op: type[Elementwise]) -> Iterable[Sample]:
    yield from kinked(op)
    x = np.array([7.5, -7.5, 7.5, -7.5, 1.0, -0.0, 3.0, -5.0, 5.0, 1e20, 0.3])
    y = np.array([2.0, 2.0, -2.0, -2.0, 0.1, 3.0, 0.0, np.inf, -np.inf, 7.0, 0.1])
    for scalar in (np.float32, np.float64):
        yield Sample((x.astype(scalar), y.astype(scalar)), grad=False)
    zeros = np.array([5, -5, 0], np.int64)
    yield Sample((zeros, np.zeros(3, np.int64)))
    low = np.iinfo(np.int8).min
    yield Sample((np.array([low, low, 100], np.int8), np.array([-1, 1, -1], np.int8)))
    yield Sample((np.array([200, 7, 9], np.uint8), np.array([3, 255, 0], np.uint8)))


def _integer_division(s: ScalarBuilder, x: SSAValue, y: SSAValue) -> tuple[SSAValue, SSAValue]:
    """Quotient and remainder, rounded down; defined where the machine's division traps."""
    zero, one = s.like(0, x), s.like(1, x)
    by_zero = s.compare("eq", y, zero)
    if s.unsigned:
        safe = s.select(by_zero, one, y)
        quotient, rest = s.div(x, safe), s.rem(x, safe)
        return s.select(by_zero, zero, quotient), s.select(by_zero, zero, rest)
    by_minus = s.compare("eq", y, s.like(-1, x))
    safe = s.select(s.or_(by_zero, by_minus), one, y)
    quotient, rest = s.div(x, safe), s.rem(x, safe)
    uneven = s.and_(s.compare("ne", rest, zero), s.compare("lt", s.xor(rest, safe), zero))
    quotient = s.select(uneven, s.sub(quotient, one), quotient)
    rest = s.select(uneven, s.add(rest, safe), rest)
    quotient = s.select(by_minus, s.sub(zero, x), quotient)
    return s.select(by_zero, zero, quotient), rest


# Each step of `_fmod` takes 24 (float32) or 52 (float64) bits off the quotient.
_STEPS = 3
_REACH = {"float32": 2.0**72, "float64": 2.0**156}


def _name(x: np.ndarray) -> str:
    return "float64" if x.dtype == np.float64 else "float32"


def _wide(x: np.ndarray) -> np.ndarray:
    """16-bit floats as float32, in which their arithmetic is done."""
    return x if x.dtype == np.float64 else x.astype(np.float32)


def _float_remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    far = np.isfinite(x) & (y != 0) & (np.abs(x / y) >= _REACH[_name(x)])
    rest = np.fmod(x, y)
    rest = np.where((rest != 0) & ((y < 0) != (rest < 0)), rest + y, rest)
    return np.where(far, 0, rest)


def _far(s: ScalarBuilder, quotient: SSAValue) -> SSAValue:
    reach = _REACH["float64" if dt.from_element(quotient.type).bits == 64 else "float32"]
    return s.compare("ge", s.math("absf", quotient), s.like(reach, quotient))


def _signs_differ(s: ScalarBuilder, rest: SSAValue, y: SSAValue) -> SSAValue:
    """Whether a nonzero remainder has the other sign than y."""
    zero = s.like(0.0, y)
    other = s.compare("ne", s.compare("lt", rest, zero), s.compare("lt", y, zero))
    return s.and_(s.compare("ne", rest, zero), other)


def _fmod(s: ScalarBuilder, x: SSAValue, y: SSAValue) -> SSAValue:
    """C's fmod without a call: the remainder with the sign of x.

    x - q * y is exact in one fma when q is the rounded quotient, and about 2**24 (2**53) times
    smaller than x, so few steps reach the end. A quotient that was rounded up to a whole number
    leaves a remainder of the other sign, which the last step puts right.
    """
    zero = s.like(0.0, x)
    rest = x
    for _ in range(_STEPS):
        quotient = s.math("trunc", s.div(rest, y))
        step = s.math("fma", s.neg(quotient), y, rest)
        rest = s.select(s.compare("eq", quotient, zero), rest, step)
    other = s.compare("ne", s.compare("lt", rest, zero), s.compare("lt", x, zero))
    other = s.and_(other, s.compare("ne", rest, zero))
    rest = s.select(other, s.add(rest, s.math("copysign", y, x)), rest)
    # Keep the sign of a zero, as fmod does, and give up beyond reach.
    rest = s.select(s.compare("eq", rest, zero), s.math("copysign", zero, x), rest)
    rest = s.select(_far(s, s.div(x, y)), zero, rest)
    bad = s.or_(s.compare("eq", y, zero), s.isnan(s.sub(x, x)))
    return s.select(s.or_(bad, s.isnan(y)), s.like(float("nan"), x), rest)


def _rounding(op: type[Rounding]) -> Callable[[Value], Value]:
    def apply(x: Value) -> Value:
        return bind(op, (x,)) if meta(x).dtype.is_floating_point else x

    apply.__name__ = op.name.removeprefix("calque.")
    apply.__doc__ = f"{op.__doc__} Integers stay themselves."
    return apply


floor = _rounding(Floor)
ceil = _rounding(Ceil)
round = _rounding(Round)
trunc = _rounding(Trunc)
floor_divide = function(FloorDivide)
remainder = function(Remainder)

OPS = (Floor, Ceil, Round, Trunc, FloorDivide, Remainder)
