"""Methods of `Tensor` that copy, cast, detach, and make tensors like this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import dtype as dt
from ..ir import ops
from ..ir.dtype import DType
from . import functions as fn
from .methods_base import TensorBase, this

if TYPE_CHECKING:
    from .tensor import Tensor


class Conversions(TensorBase):
    """Copies, dtypes, devices, history, new tensors."""

    # ---- copies and history ---------------------------------------------------------------

    def clone(self) -> Tensor:
        """A copy with memory of its own; gradients flow through it."""
        return fn.clone(this(self))

    def contiguous(self) -> Tensor:
        """This tensor where it is row-major, else a copy that is."""
        return this(self) if self.is_contiguous() else fn.clone(this(self))

    def detach(self) -> Tensor:
        """The same memory without history."""
        return ops.detach(self)

    def detach_(self) -> Tensor:
        """Forget this tensor's history."""
        return fn.detach_(this(self))

    # ---- dtype and device -----------------------------------------------------------------

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """Another dtype or device: `to(dtype)`, `to(device)`, `to(other)`."""
        from .devices import to

        return to(this(self), *args, **kwargs)

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def type_as(self, other: Tensor) -> Tensor:
        """As the dtype of `other`."""
        return ops.cast(self, other.dtype)

    def type(self, dtype: DType) -> Tensor:
        """As another dtype."""
        return ops.cast(self, dtype)

    # ---- tensors like this one ------------------------------------------------------------

    def new_tensor(self, data: Any, *, dtype: DType | None = None) -> Tensor:
        """`data` with this tensor's dtype and device."""
        from .creation import tensor

        return tensor(data, dtype=dtype or self.dtype, device=self.device)

    def new_zeros(self, *size: Any, dtype: DType | None = None) -> Tensor:
        """Zeros with this tensor's dtype and device."""
        from .creation import zeros

        return zeros(*size, dtype=dtype or self.dtype, device=self.device)

    def new_ones(self, *size: Any, dtype: DType | None = None) -> Tensor:
        """Ones with this tensor's dtype and device."""
        from .creation import ones

        return ones(*size, dtype=dtype or self.dtype, device=self.device)

    def new_empty(self, *size: Any, dtype: DType | None = None) -> Tensor:
        """Unspecified content with this tensor's dtype and device."""
        from .creation import empty

        return empty(*size, dtype=dtype or self.dtype, device=self.device)

    def new_full(self, size: Any, fill_value: Any, *, dtype: DType | None = None) -> Tensor:
        """One value with this tensor's dtype and device."""
        from .creation import full

        return full(size, fill_value, dtype=dtype or self.dtype, device=self.device)

    # ---- dtypes by name; last, because they hide Python's types from this class -----------

    def double(self) -> Tensor:
        """As float64."""
        return ops.cast(self, dt.float64)

    def half(self) -> Tensor:
        """As float16."""
        return ops.cast(self, dt.float16)

    def bfloat16(self) -> Tensor:
        """As bfloat16."""
        return ops.cast(self, dt.bfloat16)

    def long(self) -> Tensor:
        """As int64."""
        return ops.cast(self, dt.int64)

    def float(self) -> Tensor:
        """As float32."""
        return ops.cast(self, dt.float32)

    def int(self) -> Tensor:
        """As int32."""
        return ops.cast(self, dt.int32)

    def bool(self) -> Tensor:
        """As bool."""
        return ops.cast(self, dt.bool_)
