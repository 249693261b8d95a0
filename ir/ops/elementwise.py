"""Elementwise operators: arithmetic, comparison, selection, casts, transcendentals.

Each is strict: operands have one shape and dtype. The functions bring them there, as PyTorch does.
The operators live in files by topic; this is their table of contents.
"""

from __future__ import annotations

from ..op import Op
from . import (
    activation,
    arithmetic,
    bitwise,
    casting,
    comparison,
    exponential,
    power,
    rounding,
    trigonometric,
)
from ._elementwise import Binary, Comparison, Elementwise, Function
from .activation import clamp, gelu, relu, silu, softplus
from .arithmetic import (
    abs,
    add,
    div,
    maximum,
    minimum,
    mul,
    neg,
    reciprocal,
    sign,
    square,
    sub,
)
from .bitwise import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    shift_left,
    shift_right,
)
from .casting import bitcast, cast, detach, where
from .comparison import eq, ge, gt, isfinite, isinf, isnan, le, lt, ne, truth
from .exponential import (
    erf,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    log10,
    rsqrt,
    sigmoid,
    sqrt,
)
from .power import pow
from .rounding import ceil, floor, floor_divide, remainder, round, trunc
from .trigonometric import acos, asin, atan, atan2, cos, cosh, sin, sinh, tan, tanh

OPS: tuple[type[Op], ...] = (
    *arithmetic.OPS,
    *comparison.OPS,
    *casting.OPS,
    *bitwise.OPS,
    *exponential.OPS,
    *trigonometric.OPS,
    *rounding.OPS,
    *power.OPS,
    *activation.OPS,
)

__all__ = [
    # base classes
    "Binary", "Comparison", "Elementwise", "Function",
    # arithmetic
    "abs", "add", "div", "floor_divide", "maximum", "minimum", "mul", "neg", "pow", "reciprocal",
    "remainder", "sign", "square", "sub",
    # comparison and choice
    "clamp", "eq", "ge", "gt", "isfinite", "isinf", "isnan", "le", "lt", "ne", "truth", "where",
    # dtypes and gradients
    "bitcast", "cast", "detach",
    # bits and logic
    "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "logical_and", "logical_not",
    "logical_or", "logical_xor", "shift_left", "shift_right",
    # functions
    "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "erf", "exp", "exp2", "expm1", "floor",
    "log", "log10", "log1p", "log2", "round", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan",
    "tanh", "trunc",
    # activations
    "gelu", "relu", "silu", "softplus",
]  # fmt: skip
