"""Activations: `relu`, which keeps only its result for the gradient, and compositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from ..errors import runtime_error
from ..op import Node, Value
from ..scalar import ScalarBuilder
from ._common import Number
from ._elementwise import Elementwise, function
from ._fold import producer
from .arithmetic import add, div, mul, square
from .casting import where
from .comparison import gt, le, lt
from .exponential import erf, exp, log1p, sigmoid
from .trigonometric import tanh


class Relu(Elementwise):
    """x where it is positive (or NaN), else 0; the gradient at 0 is 0."""

    name = "calque.relu"
    EXACT = True
    SAVED = ((), (0,))

    @staticmethod
    def REFERENCE(x: np.ndarray) -> np.ndarray:
        return np.where(x <= 0, np.zeros_like(x), x)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        (x,) = args
        zero = s.like(0, x)
        return s.select(s.compare("le", x, zero), zero, x)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (where(le(node.results[0], 0), 0, cotangents[0]),)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        (x,) = node.operands
        return x if producer(x, cls.name) is not None else None


relu = function(Relu)


def silu(x: Value) -> Value:
    """x * sigmoid(x)."""
    return mul(x, sigmoid(x))


def gelu(x: Value, approximate: str = "none") -> Value:
    """x times the normal distribution function of x; exact by `erf`, or its tanh approximation.

    Raises RuntimeError for an `approximate` other than "none" and "tanh".
    """
    if approximate == "none":
        return mul(mul(x, 0.5), add(erf(mul(x, math.sqrt(0.5))), 1))
    if approximate != "tanh":
        raise runtime_error("approximate argument must be either none or tanh.")
    inner = mul(add(mul(mul(square(x), x), 0.044715), x), math.sqrt(2 / math.pi))
    return mul(mul(x, 0.5), add(tanh(inner), 1))


def softplus(x: Value, beta: Number = 1.0, threshold: Number = 20.0) -> Value:
    """log(1 + e to the (beta * x)) / beta; x itself where beta * x is above the threshold."""
    scaled = mul(x, beta) if beta != 1 else x
    linear = gt(scaled, threshold)
    # The exponent is made harmless where it does not count: its infinity would become NaN in the
    # gradient.
    smooth = log1p(exp(where(linear, 0, scaled)))
    return where(linear, x, div(smooth, beta) if beta != 1 else smooth)


def clamp(x: Value, low: Value | Number | None = None, high: Value | Number | None = None) -> Value:
    """x within [low, high], `high` where they cross; NaN stays. At an end the gradient is x's.

    Raises RuntimeError where both ends are None.
    """
    if low is None and high is None:
        raise runtime_error("clamp: At least one of 'min' or 'max' must not be None")
    if low is not None:
        x = where(lt(x, low), low, x)
    if high is not None:
        x = where(gt(x, high), high, x)
    return x


OPS = (Relu,)
