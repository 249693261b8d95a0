"""PyTorch's functions that are one elementwise operator (and `matmul`), under its names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import ops

if TYPE_CHECKING:
    from .tensor import Tensor

# ---- of one tensor ----------------------------------------------------------------------------


def abs(input: Any) -> Tensor:
    """|x|."""
    return ops.abs(input)


def acos(input: Any) -> Tensor:
    """The inverse cosine."""
    return ops.acos(input)


def asin(input: Any) -> Tensor:
    """The inverse sine."""
    return ops.asin(input)


def atan(input: Any) -> Tensor:
    """The inverse tangent."""
    return ops.atan(input)


def bitwise_not(input: Any) -> Tensor:
    """All bits inverted; `not` on bools."""
    return ops.bitwise_not(input)


def ceil(input: Any) -> Tensor:
    """Rounded up."""
    return ops.ceil(input)


def cos(input: Any) -> Tensor:
    """The cosine."""
    return ops.cos(input)


def cosh(input: Any) -> Tensor:
    """The hyperbolic cosine."""
    return ops.cosh(input)


def erf(input: Any) -> Tensor:
    """The error function."""
    return ops.erf(input)


def exp(input: Any) -> Tensor:
    """e to the x."""
    return ops.exp(input)


def exp2(input: Any) -> Tensor:
    """2 to the x."""
    return ops.exp2(input)


def expm1(input: Any) -> Tensor:
    """exp(x) - 1, accurate near 0."""
    return ops.expm1(input)


def floor(input: Any) -> Tensor:
    """Rounded down."""
    return ops.floor(input)


def isfinite(input: Any) -> Tensor:
    """Whether elements are neither infinite nor NaN."""
    return ops.isfinite(input)


def isinf(input: Any) -> Tensor:
    """Whether elements are infinite."""
    return ops.isinf(input)


def isnan(input: Any) -> Tensor:
    """Whether elements are NaN."""
    return ops.isnan(input)


def log(input: Any) -> Tensor:
    """The natural logarithm."""
    return ops.log(input)


def log10(input: Any) -> Tensor:
    """The logarithm to base 10."""
    return ops.log10(input)


def log1p(input: Any) -> Tensor:
    """log(1 + x), accurate near 0."""
    return ops.log1p(input)


def log2(input: Any) -> Tensor:
    """The logarithm to base 2."""
    return ops.log2(input)


def logical_not(input: Any) -> Tensor:
    """Whether elements are zero."""
    return ops.logical_not(input)


def neg(input: Any) -> Tensor:
    """-x."""
    return ops.neg(input)


def reciprocal(input: Any) -> Tensor:
    """1 / x."""
    return ops.reciprocal(input)


def relu(input: Any) -> Tensor:
    """x where positive, else 0."""
    return ops.relu(input)


def round(input: Any) -> Tensor:
    """The nearest integer, the even one of two."""
    return ops.round(input)


def rsqrt(input: Any) -> Tensor:
    """1 / sqrt(x)."""
    return ops.rsqrt(input)


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(input)


def sign(input: Any) -> Tensor:
    """-1, 0 or 1."""
    return ops.sign(input)


def sin(input: Any) -> Tensor:
    """The sine."""
    return ops.sin(input)


def sinh(input: Any) -> Tensor:
    """The hyperbolic sine."""
    return ops.sinh(input)


def sqrt(input: Any) -> Tensor:
    """The square root."""
    return ops.sqrt(input)


def square(input: Any) -> Tensor:
    """x * x."""
    return ops.square(input)


def tan(input: Any) -> Tensor:
    """The tangent."""
    return ops.tan(input)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return ops.tanh(input)


def trunc(input: Any) -> Tensor:
    """Rounded toward zero."""
    return ops.trunc(input)


# ---- of two -----------------------------------------------------------------------------------


def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the point (other, input)."""
    return ops.atan2(input, other)


def bitwise_and(input: Any, other: Any) -> Tensor:
    """The bits that both have."""
    return ops.bitwise_and(input, other)


def bitwise_or(input: Any, other: Any) -> Tensor:
    """The bits that one of both has."""
    return ops.bitwise_or(input, other)


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """The bits in which both differ."""
    return ops.bitwise_xor(input, other)


def eq(input: Any, other: Any) -> Tensor:
    """input == other, by element."""
    return ops.eq(input, other)


def floor_divide(input: Any, other: Any) -> Tensor:
    """input / other rounded down."""
    return ops.floor_divide(input, other)


def ge(input: Any, other: Any) -> Tensor:
    """input >= other, by element."""
    return ops.ge(input, other)


def gt(input: Any, other: Any) -> Tensor:
    """input > other, by element."""
    return ops.gt(input, other)


def le(input: Any, other: Any) -> Tensor:
    """input <= other, by element."""
    return ops.le(input, other)


def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both are nonzero."""
    return ops.logical_and(input, other)


def logical_or(input: Any, other: Any) -> Tensor:
    """Whether one is nonzero."""
    return ops.logical_or(input, other)


def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether exactly one is nonzero."""
    return ops.logical_xor(input, other)


def lt(input: Any, other: Any) -> Tensor:
    """input < other, by element."""
    return ops.lt(input, other)


def matmul(input: Any, other: Any) -> Tensor:
    """The matrix product, batched over leading dimensions."""
    return ops.matmul(input, other)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two elements; NaN where one is."""
    return ops.maximum(input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two elements; NaN where one is."""
    return ops.minimum(input, other)


def mul(input: Any, other: Any) -> Tensor:
    """input * other."""
    return ops.mul(input, other)


def ne(input: Any, other: Any) -> Tensor:
    """input != other, by element."""
    return ops.ne(input, other)


def remainder(input: Any, other: Any) -> Tensor:
    """What division rounded down leaves: it has the sign of `other`."""
    return ops.remainder(input, other)


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power of `exponent`."""
    return ops.pow(input, exponent)


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """input where the condition holds, else `other`."""
    return ops.where(condition, input, other)


def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """input within [min, max]; either may be absent."""
    return ops.clamp(input, min, max)


__all__ = [
    "abs", "acos", "asin", "atan", "atan2", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "ceil", "clamp", "cos", "cosh", "eq", "erf", "exp", "exp2", "expm1", "floor",
    "floor_divide", "ge", "gt", "isfinite", "isinf", "isnan", "le", "log", "log10", "log1p",
    "log2", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "matmul",
    "maximum", "minimum", "mul", "ne", "neg", "pow", "reciprocal", "relu", "remainder", "round",
    "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
    "where",
]  # fmt: skip
