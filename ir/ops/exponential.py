"""Exponentials, logarithms, roots, and what is built on them: erf and sigmoid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from ..op import Node, Value
from ..scalar import ScalarBuilder
from ._elementwise import Elementwise, Function, float_function
from .arithmetic import add, div, mul, neg, sub


class Exp(Function):
    """e to the x."""

    name = "calque.exp"
    MATH = "exp"
    SAVED = ((), (0,))
    REFERENCE = np.exp

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(cotangents[0], node.results[0]),)


class Exp2(Function):
    """2 to the x."""

    name = "calque.exp2"
    MATH = "exp2"
    SAVED = ((), (0,))
    REFERENCE = np.exp2

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(mul(cotangents[0], node.results[0]), math.log(2)),)


class Expm1(Function):
    """e to the x, less 1, without cancellation near 0."""

    name = "calque.expm1"
    MATH = "expm1"
    SAVED = ((), (0,))
    REFERENCE = np.expm1

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(cotangents[0], add(node.results[0], 1)),)


class Log(Function):
    """The natural logarithm."""

    name = "calque.log"
    MATH = "log"
    DOMAIN = (0.1, 3.0)
    SAVED = ((0,), ())
    REFERENCE = np.log

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (div(cotangents[0], node.operands[0]),)


class Log2(Function):
    """The logarithm to base 2."""

    name = "calque.log2"
    MATH = "log2"
    DOMAIN = (0.1, 3.0)
    SAVED = ((0,), ())
    REFERENCE = np.log2

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (div(cotangents[0], mul(node.operands[0], math.log(2))),)


class Log10(Function):
    """The logarithm to base 10."""

    name = "calque.log10"
    MATH = "log10"
    DOMAIN = (0.1, 3.0)
    SAVED = ((0,), ())
    REFERENCE = np.log10

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (div(cotangents[0], mul(node.operands[0], math.log(10))),)


class Log1p(Function):
    """The logarithm of 1 + x, without cancellation near 0."""

    name = "calque.log1p"
    MATH = "log1p"
    DOMAIN = (-0.8, 3.0)
    SAVED = ((0,), ())
    REFERENCE = np.log1p

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (div(cotangents[0], add(node.operands[0], 1)),)


class Sqrt(Function):
    """The square root."""

    name = "calque.sqrt"
    MATH = "sqrt"
    DOMAIN = (0.1, 3.0)
    EXACT = True
    SAVED = ((), (0,))
    REFERENCE = np.sqrt

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (div(cotangents[0], mul(node.results[0], 2)),)


class Rsqrt(Function):
    """1 over the square root."""

    name = "calque.rsqrt"
    MATH = "rsqrt"
    DOMAIN = (0.2, 3.0)
    SAVED = ((), (0,))

    @staticmethod
    def REFERENCE(x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        return np.where(x == 0, np.copysign(np.inf, wide), 1 / np.sqrt(wide))

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (out,) = node.results
        return (mul(mul(cotangents[0], -0.5), mul(out, mul(out, out))),)


class Erf(Function):
    """The error function."""

    name = "calque.erf"
    MATH = "erf"
    SAVED = ((0,), ())
    REFERENCE = np.vectorize(math.erf, otypes=[np.float64])

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (x,) = node.operands
        return (mul(cotangents[0], mul(exp(neg(mul(x, x))), 2 / math.sqrt(math.pi))),)


class Sigmoid(Elementwise):
    """1 / (1 + e to the -x)."""

    name = "calque.sigmoid"
    KINDS = "f"
    SAVED = ((), (0,))

    @staticmethod
    def REFERENCE(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x.astype(np.float64)))

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        # Far to the left the exponential is infinite and the quotient 0, as it should be.
        (x,) = args
        one = s.like(1.0, x)
        return s.div(one, s.add(one, s.math("exp", s.neg(x))))

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (out,) = node.results
        return (mul(cotangents[0], mul(out, sub(1, out))),)


exp = float_function(Exp)
exp2 = float_function(Exp2)
expm1 = float_function(Expm1)
log = float_function(Log)
log2 = float_function(Log2)
log10 = float_function(Log10)
log1p = float_function(Log1p)
sqrt = float_function(Sqrt)
rsqrt = float_function(Rsqrt)
erf = float_function(Erf)
sigmoid = float_function(Sigmoid)

OPS = (Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sqrt, Rsqrt, Erf, Sigmoid)
