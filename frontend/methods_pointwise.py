"""Methods of `Tensor` that compute each element from the element at the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import ops
from . import functions as fn
from .methods_base import TensorBase

if TYPE_CHECKING:
    from .tensor import Tensor


class Pointwise(TensorBase):
    """Functions of one element, choices between elements."""

    # ---- signs, roundings, powers ---------------------------------------------------------

    def neg(self) -> Tensor:
        """-x."""
        return ops.neg(self)

    def abs(self) -> Tensor:
        """|x|."""
        return ops.abs(self)

    def sign(self) -> Tensor:
        """-1, 0 or 1."""
        return ops.sign(self)

    def floor(self) -> Tensor:
        """Rounded down."""
        return ops.floor(self)

    def ceil(self) -> Tensor:
        """Rounded up."""
        return ops.ceil(self)

    def round(self) -> Tensor:
        """The nearest integer, the even one of two."""
        return ops.round(self)

    def trunc(self) -> Tensor:
        """Rounded toward zero."""
        return ops.trunc(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ops.sqrt(self)

    def rsqrt(self) -> Tensor:
        """1 / sqrt(x)."""
        return ops.rsqrt(self)

    def square(self) -> Tensor:
        """x * x."""
        return ops.square(self)

    def reciprocal(self) -> Tensor:
        """1 / x."""
        return ops.reciprocal(self)

    # ---- exponentials ---------------------------------------------------------------------

    def exp(self) -> Tensor:
        """e to the x."""
        return ops.exp(self)

    def exp2(self) -> Tensor:
        """2 to the x."""
        return ops.exp2(self)

    def expm1(self) -> Tensor:
        """exp(x) - 1, accurate near 0."""
        return ops.expm1(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def log2(self) -> Tensor:
        """The logarithm to base 2."""
        return ops.log2(self)

    def log10(self) -> Tensor:
        """The logarithm to base 10."""
        return ops.log10(self)

    def log1p(self) -> Tensor:
        """log(1 + x), accurate near 0."""
        return ops.log1p(self)

    # ---- trigonometry ---------------------------------------------------------------------

    def sin(self) -> Tensor:
        """The sine."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """The cosine."""
        return ops.cos(self)

    def tan(self) -> Tensor:
        """The tangent."""
        return ops.tan(self)

    def asin(self) -> Tensor:
        """The inverse sine."""
        return ops.asin(self)

    def acos(self) -> Tensor:
        """The inverse cosine."""
        return ops.acos(self)

    def atan(self) -> Tensor:
        """The inverse tangent."""
        return ops.atan(self)

    def sinh(self) -> Tensor:
        """The hyperbolic sine."""
        return ops.sinh(self)

    def cosh(self) -> Tensor:
        """The hyperbolic cosine."""
        return ops.cosh(self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(self)

    # ---- functions of networks ------------------------------------------------------------

    def erf(self) -> Tensor:
        """The error function."""
        return ops.erf(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """x where positive, else 0."""
        return ops.relu(self)

    # ---- tests and choices ----------------------------------------------------------------

    def isnan(self) -> Tensor:
        """Whether elements are NaN."""
        return ops.isnan(self)

    def isinf(self) -> Tensor:
        """Whether elements are infinite."""
        return ops.isinf(self)

    def isfinite(self) -> Tensor:
        """Whether elements are neither infinite nor NaN."""
        return ops.isfinite(self)

    def logical_not(self) -> Tensor:
        """Whether elements are zero."""
        return ops.logical_not(self)

    def bitwise_not(self) -> Tensor:
        """All bits inverted."""
        return ops.bitwise_not(self)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """x within [min, max]; either may be absent."""
        return ops.clamp(self, min, max)

    clip = clamp

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """x where the condition holds, else `other`."""
        return ops.where(condition, self, other)

    def masked_fill(self, mask: Tensor, value: Any) -> Tensor:
        """`value` where the mask holds, else x."""
        return fn.masked_fill(self, mask, value)

    def lerp(self, end: Tensor, weight: Any) -> Tensor:
        """x + weight * (end - x)."""
        return fn.lerp(self, end, weight)

    def addcmul(self, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        """x + value * tensor1 * tensor2."""
        return fn.addcmul(self, tensor1, tensor2, value=value)

    def addcdiv(self, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        """x + value * tensor1 / tensor2."""
        return fn.addcdiv(self, tensor1, tensor2, value=value)
