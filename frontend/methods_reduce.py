"""Methods of `Tensor` that reduce dimensions, or normalize along them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ..ir import ops
from ..ir.dtype import DType
from . import functions_reduce as fn
from .methods_base import Dims, TensorBase

if TYPE_CHECKING:
    from .functions_reduce import ValuesIndices
    from .tensor import Tensor


class Reductions(TensorBase):
    """Sums, extremes, statistics, softmax."""

    def sum(self, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
        """The sum over dimensions; integers and bools give int64."""
        return fn.sum(self, dim, keepdim, dtype=dtype)

    def prod(
        self, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
    ) -> Tensor:
        """The product over a dimension, or of all elements."""
        return fn.prod(self, dim, keepdim, dtype=dtype)

    def mean(
        self, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
    ) -> Tensor:
        """The mean over dimensions. Raises RuntimeError for integers."""
        return fn.mean(self, dim, keepdim, dtype=dtype)

    def var(
        self, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *,
        correction: int | None = None,
    ) -> Tensor:  # fmt: skip
        """The variance; `correction` (1) is taken off the count it divides by."""
        return fn.var(self, dim, unbiased, keepdim, correction=correction)

    def std(
        self, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *,
        correction: int | None = None,
    ) -> Tensor:  # fmt: skip
        """The square root of the variance."""
        return fn.std(self, dim, unbiased, keepdim, correction=correction)

    def norm(self, p: float | str = 2.0, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The p-norm over dimensions; p may be inf, -inf or "fro"."""
        return fn.norm(self, p, dim, keepdim)

    def amax(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The largest elements over dimensions; ties share the gradient."""
        return ops.amax(self, dim, keepdim)

    def amin(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The smallest elements over dimensions; ties share the gradient."""
        return ops.amin(self, dim, keepdim)

    @overload
    def max(self) -> Tensor: ...
    @overload
    def max(self, dim: int, keepdim: bool = False) -> ValuesIndices: ...
    @overload
    def max(self, dim: Tensor) -> Tensor: ...
    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element; with `dim` (values, indices); with a tensor `maximum`."""
        return fn.max(self, dim, keepdim)

    @overload
    def min(self) -> Tensor: ...
    @overload
    def min(self, dim: int, keepdim: bool = False) -> ValuesIndices: ...
    @overload
    def min(self, dim: Tensor) -> Tensor: ...
    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element; with `dim` (values, indices); with a tensor `minimum`."""
        return fn.min(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the first largest element is: int64."""
        return ops.argmax(self, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the first smallest element is: int64."""
        return ops.argmin(self, dim, keepdim)

    def any(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """Whether one element is nonzero."""
        return ops.any(self, dim, keepdim)

    def all(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """Whether all elements are nonzero."""
        return ops.all(self, dim, keepdim)

    def logsumexp(self, dim: Dims, keepdim: bool = False) -> Tensor:
        """log(sum(exp(x))) over dimensions, computed stably."""
        return ops.logsumexp(self, dim, keepdim)

    def softmax(self, dim: int, dtype: DType | None = None) -> Tensor:
        """exp(x) / sum(exp(x)) along a dimension."""
        return ops.softmax(self, dim, dtype)

    def log_softmax(self, dim: int, dtype: DType | None = None) -> Tensor:
        """log(softmax(x)), computed stably."""
        return ops.log_softmax(self, dim, dtype)
