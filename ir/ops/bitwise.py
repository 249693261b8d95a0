"""Operators on the bits of integers, and logic on bools."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..op import Node, Value
from ..scalar import ScalarBuilder
from ._elementwise import Binary, Elementwise, function
from ._fold import producer, uniform
from .comparison import truth


class Bitwise(Binary):
    """Base of the operators on bits of two operands."""

    KINDS = "iub"
    EXACT = True

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, y = node.operands
        return x if x is y else None


class BitwiseAnd(Bitwise):
    """x & y."""

    name = "calque.bitwise_and"
    REFERENCE = np.bitwise_and

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.and_(*args)


class BitwiseOr(Bitwise):
    """x | y."""

    name = "calque.bitwise_or"
    REFERENCE = np.bitwise_or

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.or_(*args)


class BitwiseXor(Bitwise):
    """x ^ y."""

    name = "calque.bitwise_xor"
    REFERENCE = np.bitwise_xor

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.xor(*args)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        for x, y in (node.operands, node.operands[::-1]):
            known = uniform(y)
            if known is not None and not known:
                return x
        return None


class BitwiseNot(Elementwise):
    """~x; not on bools."""

    name = "calque.bitwise_not"
    KINDS = "iub"
    EXACT = True
    REFERENCE = np.invert

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        (x,) = args
        return s.xor(x, s.like(True if x.type == dt.bool_.element else -1, x))

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        inner = producer(node.operands[0], cls.name)
        return None if inner is None else inner.operands[0]


class ShiftLeft(Binary):
    """x << y; 0 where y is negative or not below the width, as in PyTorch."""

    name = "calque.shift_left"
    KINDS = "iu"
    EXACT = True

    @staticmethod
    def REFERENCE(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside, safe = _shifts(x, y)
        return np.where(inside, np.left_shift(x, safe), 0)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        x, y = args
        inside = _inside(s, y)
        zero = s.like(0, x)
        return s.select(inside, s.shl(x, s.select(inside, y, zero)), zero)


class ShiftRight(Binary):
    """x >> y with the sign kept; only the sign is left where y is negative or too large."""

    name = "calque.shift_right"
    KINDS = "iu"
    EXACT = True

    @staticmethod
    def REFERENCE(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside, safe = _shifts(x, y)
        return np.where(inside, np.right_shift(x, safe), np.where(x < 0, -1, 0).astype(x.dtype))

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        x, y = args
        inside, zero = _inside(s, y), s.like(0, x)
        safe = s.select(inside, y, zero)
        if s.unsigned:
            return s.select(inside, s.shr(x, safe), zero)
        sign = s.select(s.compare("lt", x, zero), s.like(-1, x), zero)
        return s.select(inside, s.emit(arith.ShRSIOp, (x, safe), x.type), sign)


def _shifts(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = (y >= 0) & (y < x.dtype.itemsize * 8)
    return inside, np.where(inside, y, 0).astype(y.dtype)


def _inside(s: ScalarBuilder, y: SSAValue) -> SSAValue:
    """Whether a shift is at least 0 and below the width, beyond which `arith` is undefined."""
    width = s.like(dt.from_element(y.type).bits, y)
    below = s.compare("lt", y, width)
    return below if s.unsigned else s.and_(below, s.compare("ge", y, s.like(0, y)))


bitwise_and = function(BitwiseAnd)
bitwise_or = function(BitwiseOr)
bitwise_xor = function(BitwiseXor)
bitwise_not = function(BitwiseNot)
shift_left = function(ShiftLeft)
shift_right = function(ShiftRight)


def logical_and(x: Value, y: Value) -> Value:
    """Whether both are nonzero."""
    return bitwise_and(truth(x), truth(y))


def logical_or(x: Value, y: Value) -> Value:
    """Whether either is nonzero."""
    return bitwise_or(truth(x), truth(y))


def logical_xor(x: Value, y: Value) -> Value:
    """Whether exactly one is nonzero."""
    return bitwise_xor(truth(x), truth(y))


def logical_not(x: Value) -> Value:
    """Whether x is zero."""
    return bitwise_not(truth(x))


OPS = (BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot, ShiftLeft, ShiftRight)
