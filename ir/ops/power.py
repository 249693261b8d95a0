"""Powers, of floats and of integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..errors import runtime_error
from ..op import Node, Sample, Value, meta
from ..scalar import ScalarBuilder
from ._common import Number, adopted, is_number, result_type
from ._elementwise import Binary, elementwise_samples, function
from ._fold import is_uniform
from .arithmetic import div, mul, reciprocal, square, sub
from .bitwise import bitwise_and
from .casting import cast, where
from .comparison import eq, ge
from .creation import full_like
from .exponential import log, rsqrt, sqrt


class Pow(Binary):
    """x to the y.

    Integers wrap around; to a negative power they are 0, except for 1 and -1.
    """

    name = "calque.pow"
    SAVED = ((0, 1), (0,))

    @staticmethod
    def REFERENCE(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype.kind not in "iu":
            return np.power(x, y)
        positive = np.power(x, np.maximum(y, 0))
        odd = (y & 1) == 1
        unit = np.where(x == 1, 1, np.where(x == -1, np.where(odd, -1, 1), 0))
        return np.where(y < 0, unit, positive)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        x, y = args
        if dt.from_element(x.type).is_floating_point:
            return s.math("powf", x, y)
        return _integer_power(s, x, y)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (x, y) = cotangents, node.operands
        gx = gy = None
        # Both rules choose harmless operands where they do not count, so that no infinity of an
        # unused branch turns into a NaN when the rule itself is differentiated.
        if node.needs[0]:
            constant = eq(y, 0)
            exponent = where(constant, 1, y)
            slope = mul(exponent, pow(x, sub(exponent, 1)))
            gx = where(constant, 0, mul(g, slope))
        if node.needs[1]:
            flat = bitwise_and(eq(x, 0), ge(y, 0))
            gy = mul(g, mul(node.results[0], log(where(flat, 1, x))))
        return gx, gy

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, y = node.operands
        if is_uniform(y, 1):
            return x
        return full_like(x, 1) if is_uniform(y, 0) or is_uniform(y, -0.0) else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(1)
        for sample in elementwise_samples(cls):
            if sample.error is None and sample.grad and sample.args[0].dtype.kind not in "iu":
                x, y = sample.args
                yield Sample((np.abs(x) + np.asarray(0.2, x.dtype), y))
            else:
                yield sample
        for scalar in (np.int64, np.int32, np.int8):
            x, y = rng.integers(-9, 9, 40), rng.integers(-3, 70, 40)
            yield Sample((x.astype(scalar), y.astype(scalar)))
        x, y = np.array([0.0, 2.0, -2.0, -2.0]), np.array([2.0, 3.0, 3.0, -2.0])
        yield Sample((x, y), grad=False)


def _integer_power(s: ScalarBuilder, x: SSAValue, y: SSAValue) -> SSAValue:
    """Square and multiply, over every bit of the exponent."""
    bits = dt.from_element(x.type).bits - (not s.unsigned)
    zero, one = s.like(0, x), s.like(1, x)
    result, base = one, x
    for bit in range(bits):
        # An arithmetic shift by less than the width is always defined.
        on = s.compare("ne", s.and_(s.shr(y, s.like(bit, y)), one), zero)
        result = s.select(on, s.mul(result, base), result)
        base = s.mul(base, base)
    if s.unsigned:
        return result
    odd = s.compare("ne", s.and_(y, one), zero)
    minus = s.select(odd, s.like(-1, x), one)
    unit = s.select(s.compare("eq", x, s.like(-1, x)), minus, zero)
    unit = s.select(s.compare("eq", x, one), one, unit)
    return s.select(s.compare("lt", y, zero), unit, result)


_power = function(Pow)


def pow(x: Value | Number, y: Value | Number) -> Value:
    """x to the y, promoted and broadcast.

    As in PyTorch, the numbers 0, 1, 2, 3, 0.5, -0.5, -1 and -2 as exponents become products, roots
    and quotients. Raises RuntimeError for a negative number as the exponent of integers.
    """
    x, y = adopted((x, y))
    if is_number(y) and not is_number(x):
        dtype = result_type(x, y)
        if not dtype.is_floating_point:
            if y < 0:
                raise runtime_error("Integers to negative integer powers are not allowed.")
            return _whole_power(cast(x, dtype), int(y))
        found = _special_power(cast(x, dtype), float(y))
        if found is not None:
            return found
    return _power(x, y)


def _special_power(x: Value, y: float) -> Value | None:
    match y:
        case 0.0:
            return full_like(x, 1)
        case 1.0:
            return x
        case 2.0:
            return square(x)
        case 3.0:
            return mul(square(x), x)
        case 0.5:
            return sqrt(x)
        case -0.5:
            return rsqrt(x)
        case -1.0:
            return reciprocal(x)
        case -2.0:
            return div(1, square(x))
    return None


def _whole_power(x: Value, y: int) -> Value:
    """Integers to a known power of at least 0, by squaring."""
    if meta(x).dtype.kind == "b":
        return x if y else full_like(x, True)
    result = None
    while y:
        if y & 1:
            result = x if result is None else mul(result, x)
        y >>= 1
        if y:
            x = square(x)
    return full_like(x, 1) if result is None else result


OPS = (Pow,)
