"""Python's operators on tensors, and the named functions of two operands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import ops
from . import functions as fn
from . import indexing, inplace
from .methods_base import TensorBase, this

if TYPE_CHECKING:
    from .tensor import Tensor


class Operators(TensorBase):
    """Arithmetic, comparison, logic, products of matrices, indexing."""

    # ---- arithmetic -----------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __pos__(self) -> Tensor:
        return this(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __invert__(self) -> Tensor:
        return ops.bitwise_not(self)

    def __and__(self, other: Any) -> Tensor:
        return ops.bitwise_and(self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Tensor:
        return ops.bitwise_or(self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Tensor:
        return ops.bitwise_xor(self, other)

    __rxor__ = __xor__

    def __lshift__(self, other: Any) -> Tensor:
        return ops.shift_left(self, other)

    def __rshift__(self, other: Any) -> Tensor:
        return ops.shift_right(self, other)

    # ---- comparison -----------------------------------------------------------------------

    def __eq__(self, other: Any) -> Tensor:
        return NotImplemented if other is None else ops.eq(self, other)

    def __ne__(self, other: Any) -> Tensor:
        return NotImplemented if other is None else ops.ne(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.le(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.ge(self, other)

    __hash__ = object.__hash__

    def eq(self, other: Any) -> Tensor:
        """self == other, by element."""
        return ops.eq(self, other)

    def ne(self, other: Any) -> Tensor:
        """self != other, by element."""
        return ops.ne(self, other)

    def lt(self, other: Any) -> Tensor:
        """self < other, by element."""
        return ops.lt(self, other)

    def le(self, other: Any) -> Tensor:
        """self <= other, by element."""
        return ops.le(self, other)

    def gt(self, other: Any) -> Tensor:
        """self > other, by element."""
        return ops.gt(self, other)

    def ge(self, other: Any) -> Tensor:
        """self >= other, by element."""
        return ops.ge(self, other)

    def equal(self, other: Tensor) -> bool:
        """Whether shape and all elements are the same."""
        return fn.equal(self, other)

    def allclose(self, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
        """Whether all elements agree within atol + rtol * |other|."""
        return fn.allclose(self, other, rtol, atol)

    # ---- named functions of two operands --------------------------------------------------

    def add(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """self + alpha * other."""
        return fn.add(self, other, alpha=alpha)

    def sub(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """self - alpha * other."""
        return fn.sub(self, other, alpha=alpha)

    def mul(self, other: Any) -> Tensor:
        """self * other."""
        return ops.mul(self, other)

    def div(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """self / other, rounded by "trunc" or "floor" where asked for."""
        return fn.div(self, other, rounding_mode=rounding_mode)

    def floor_divide(self, other: Any) -> Tensor:
        """self / other rounded down."""
        return ops.floor_divide(self, other)

    def remainder(self, other: Any) -> Tensor:
        """What division rounded down leaves: it has the sign of `other`."""
        return ops.remainder(self, other)

    def pow(self, exponent: Any) -> Tensor:
        """self to the power of `exponent`."""
        return ops.pow(self, exponent)

    def maximum(self, other: Any) -> Tensor:
        """The larger of two elements; NaN where one is."""
        return ops.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of two elements; NaN where one is."""
        return ops.minimum(self, other)

    def atan2(self, other: Any) -> Tensor:
        """The angle of the point (other, self)."""
        return ops.atan2(self, other)

    def logical_and(self, other: Any) -> Tensor:
        """Whether both are nonzero."""
        return ops.logical_and(self, other)

    def logical_or(self, other: Any) -> Tensor:
        """Whether one is nonzero."""
        return ops.logical_or(self, other)

    def logical_xor(self, other: Any) -> Tensor:
        """Whether exactly one is nonzero."""
        return ops.logical_xor(self, other)

    def bitwise_and(self, other: Any) -> Tensor:
        """The bits that both have."""
        return ops.bitwise_and(self, other)

    def bitwise_or(self, other: Any) -> Tensor:
        """The bits that one of both has."""
        return ops.bitwise_or(self, other)

    def bitwise_xor(self, other: Any) -> Tensor:
        """The bits in which both differ."""
        return ops.bitwise_xor(self, other)

    # ---- products -------------------------------------------------------------------------

    def matmul(self, other: Tensor) -> Tensor:
        """The matrix product, batched over leading dimensions."""
        return ops.matmul(self, other)

    def mm(self, mat2: Tensor) -> Tensor:
        """The product of two matrices."""
        return fn.mm(self, mat2)

    def bmm(self, mat2: Tensor) -> Tensor:
        """The products of two stacks of matrices."""
        return fn.bmm(self, mat2)

    def mv(self, vec: Tensor) -> Tensor:
        """The product of a matrix and a vector."""
        return fn.mv(self, vec)

    def dot(self, tensor: Tensor) -> Tensor:
        """The product of two vectors."""
        return fn.dot(self, tensor)

    def outer(self, vec2: Tensor) -> Tensor:
        """The matrix of the products of the elements of two vectors."""
        return fn.outer(self, vec2)

    # ---- in place -------------------------------------------------------------------------

    def __iadd__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.add(self, other))

    def __isub__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.sub(self, other))

    def __imul__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.mul(self, other))

    def __itruediv__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.div(self, other))

    def __ifloordiv__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.floor_divide(self, other))

    def __imod__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.remainder(self, other))

    def __ipow__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.pow(self, other))

    def __iand__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.bitwise_and(self, other))

    def __ior__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.bitwise_or(self, other))

    def __ixor__(self, other: Any) -> Tensor:
        return inplace.assign(this(self), ops.bitwise_xor(self, other))

    # ---- indexing -------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return indexing.get(this(self), index)

    def __setitem__(self, index: Any, value: Any) -> None:
        indexing.set_(this(self), index, value)
