"""Trigonometric and hyperbolic functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from ..op import Node, Value
from ..scalar import ScalarBuilder
from ._elementwise import Binary, Function, float_function
from .arithmetic import add, div, mul, neg, sub
from .exponential import rsqrt


class Sin(Function):
    """The sine of x in radians."""

    name = "calque.sin"
    MATH = "sin"
    SAVED = ((0,), ())
    REFERENCE = np.sin

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(cotangents[0], cos(node.operands[0])),)


class Cos(Function):
    """The cosine of x in radians."""

    name = "calque.cos"
    MATH = "cos"
    SAVED = ((0,), ())
    REFERENCE = np.cos

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (neg(mul(cotangents[0], sin(node.operands[0]))),)


class Tan(Function):
    """The tangent of x in radians."""

    name = "calque.tan"
    MATH = "tan"
    DOMAIN = (-1.2, 1.2)
    SAVED = ((), (0,))
    REFERENCE = np.tan

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (out,) = node.results
        return (mul(cotangents[0], add(mul(out, out), 1)),)


class Tanh(Function):
    """The hyperbolic tangent."""

    name = "calque.tanh"
    MATH = "tanh"
    SAVED = ((), (0,))
    REFERENCE = np.tanh

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (out,) = node.results
        return (mul(cotangents[0], sub(1, mul(out, out))),)


class Asin(Function):
    """The inverse sine; NaN beyond -1 and 1."""

    name = "calque.asin"
    MATH = "asin"
    DOMAIN = (-0.8, 0.8)
    SAVED = ((0,), ())
    REFERENCE = np.arcsin

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (x,) = node.operands
        return (mul(cotangents[0], rsqrt(sub(1, mul(x, x)))),)


class Acos(Function):
    """The inverse cosine; NaN beyond -1 and 1."""

    name = "calque.acos"
    MATH = "acos"
    DOMAIN = (-0.8, 0.8)
    SAVED = ((0,), ())
    REFERENCE = np.arccos

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (x,) = node.operands
        return (neg(mul(cotangents[0], rsqrt(sub(1, mul(x, x))))),)


class Atan(Function):
    """The inverse tangent."""

    name = "calque.atan"
    MATH = "atan"
    SAVED = ((0,), ())
    REFERENCE = np.arctan

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (x,) = node.operands
        return (div(cotangents[0], add(mul(x, x), 1)),)


class Sinh(Function):
    """The hyperbolic sine."""

    name = "calque.sinh"
    MATH = "sinh"
    SAVED = ((0,), ())
    REFERENCE = np.sinh

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(cotangents[0], cosh(node.operands[0])),)


class Cosh(Function):
    """The hyperbolic cosine."""

    name = "calque.cosh"
    MATH = "cosh"
    SAVED = ((0,), ())
    REFERENCE = np.cosh

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(cotangents[0], sinh(node.operands[0])),)


class Atan2(Binary):
    """The angle of the point (y, x), from -pi to pi."""

    name = "calque.atan2"
    KINDS = "f"
    SAVED = ((0, 1), ())
    REFERENCE = np.arctan2

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.math("atan2", *args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        y, x = node.operands
        scaled = div(cotangents[0], add(mul(x, x), mul(y, y)))
        return mul(scaled, x), neg(mul(scaled, y)) if node.needs[1] else None


sin = float_function(Sin)
cos = float_function(Cos)
tan = float_function(Tan)
tanh = float_function(Tanh)
asin = float_function(Asin)
acos = float_function(Acos)
atan = float_function(Atan)
sinh = float_function(Sinh)
cosh = float_function(Cosh)
atan2 = float_function(Atan2)

OPS = (Sin, Cos, Tan, Tanh, Asin, Acos, Atan, Sinh, Cosh, Atan2)
