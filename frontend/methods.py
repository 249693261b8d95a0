"""The methods of `Tensor`: PyTorch's names and signatures over the operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir import dtype as dt
from ..ir import ops
from ..ir.dtype import DType
from . import indexing, inplace
from .symint import sizes

if TYPE_CHECKING:
    from .tensor import Tensor

Dims = int | Sequence[int] | None


class Methods:
    """Mixin: every method is one operator or a short composition."""

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
        return self  # type: ignore[return-value]

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

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.eq(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.ne(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.le(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.ge(self, other)

    # ---- in place -------------------------------------------------------------------------

    def __iadd__(self, other: Any) -> Tensor:
        return inplace.assign(self, ops.add(self, other))

    def __isub__(self, other: Any) -> Tensor:
        return inplace.assign(self, ops.sub(self, other))

    def __imul__(self, other: Any) -> Tensor:
        return inplace.assign(self, ops.mul(self, other))

    def __itruediv__(self, other: Any) -> Tensor:
        return inplace.assign(self, ops.div(self, other))

    def copy_(self, src: Any, non_blocking: bool = False) -> Tensor:
        """Write the elements of `src`, cast and broadcast, into this tensor."""
        return inplace.copy_(self, src)

    def fill_(self, value: Any) -> Tensor:
        """Write one value into every element."""
        return inplace.assign(self, ops.full_like(self, value))

    def zero_(self) -> Tensor:
        """Write zeros."""
        return self.fill_(0)

    # ---- indexing -------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return indexing.get(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        indexing.set_(self, index, value)

    # ---- shape ----------------------------------------------------------------------------

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix; all dimensions reversed in general."""
        return ops.permute(self, tuple(reversed(range(self.dim()))))  # type: ignore[attr-defined]

    @property
    def mT(self) -> Tensor:
        """The last two dimensions exchanged."""
        return ops.transpose(self, -2, -1)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return ops.reshape(self, sizes(shape))

    def view(self, *shape: Any) -> Tensor:
        """`reshape` that never copies. Raises where the strides do not allow it."""
        out = ops.reshape(self, sizes(shape))
        if not out._is_traced and out._storage is not self._storage:  # type: ignore[attr-defined]
            raise RuntimeError(
                "view size is not compatible with input tensor's size and stride (at least one "
                "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
            )
        return out

    def permute(self, *dims: Any) -> Tensor:
        """Dimensions in another order."""
        return ops.permute(
            self, dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
        )

    def expand(self, *shape: Any) -> Tensor:
        """Size-1 dimensions repeated without copying; -1 keeps a size."""
        return ops.expand(self, sizes(shape))

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """Another dtype or device: `to(dtype)`, `to(device)`, `to(other)`."""
        from .devices import to

        return to(self, *args, **kwargs)

    def float(self) -> Tensor:
        """As float32."""
        return ops.cast(self, dt.float32)

    def double(self) -> Tensor:
        """As float64."""
        return ops.cast(self, dt.float64)

    def long(self) -> Tensor:
        """As int64."""
        return ops.cast(self, dt.int64)

    def int(self) -> Tensor:
        """As int32."""
        return ops.cast(self, dt.int32)

    def bool(self) -> Tensor:
        """As bool."""
        return ops.cast(self, dt.bool_)

    def type(self, dtype: DType) -> Tensor:
        """As another dtype."""
        return ops.cast(self, dtype)

    def type_as(self, other: Tensor) -> Tensor:
        """As the dtype of `other`."""
        return ops.cast(self, other.dtype)
