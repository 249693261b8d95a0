"""PyTorch's reductions where they are more than one operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from ..ir import ops
from ..ir.dtype import DType
from ..ir.errors import runtime_error
from ..ir.op import meta

if TYPE_CHECKING:
    from .tensor import Tensor

Dims = int | Sequence[int] | None


class ValuesIndices(NamedTuple):
    """What reductions along one dimension return: the elements, and where they were."""

    values: Tensor
    indices: Tensor


def sum(
    input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over dimensions; integers and bools give int64."""
    return ops.sum(input, dim, keepdim, dtype)


def prod(
    input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product over a dimension, or of all elements."""
    return ops.prod(input, dim, keepdim, dtype)


def mean(
    input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over dimensions. Raises RuntimeError for integers."""
    return ops.mean(input, dim, keepdim, dtype)


def var(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
    correction: int | float | None = None,
) -> Tensor:  # fmt: skip
    """The variance over dimensions; `var(x, False)` is the biased one of all elements."""
    dim, taken = _correction(dim, unbiased, correction)
    return ops.var(input, dim, taken, keepdim)


def std(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
    correction: int | float | None = None,
) -> Tensor:  # fmt: skip
    """The square root of the variance over dimensions."""
    dim, taken = _correction(dim, unbiased, correction)
    return ops.std(input, dim, taken, keepdim)


def _correction(dim: Any, unbiased: bool, correction: Any) -> tuple[Dims, Any]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return dim, correction if correction is not None else int(unbiased)


def norm(input: Any, p: float | str = 2.0, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The p-norm over dimensions; p may be inf, -inf or "fro"."""
    if p == "fro":
        p = 2.0
    if isinstance(p, str):
        raise runtime_error(f"norm of order '{p}' is not known: p is a number, inf, -inf or 'fro'")
    if p == 2.0:
        return ops.sqrt(ops.sum(ops.mul(input, input), dim, keepdim))
    size = ops.abs(input)
    if p == math.inf:
        return ops.amax(size, dim, keepdim)
    if p == -math.inf:
        return ops.amin(size, dim, keepdim)
    if p == 1.0:
        return ops.sum(size, dim, keepdim)
    if p == 0.0:
        return ops.sum(ops.cast(ops.ne(input, 0), meta(input).dtype), dim, keepdim)
    return ops.pow(ops.sum(ops.pow(size, p), dim, keepdim), 1.0 / p)


@overload
def max(input: Any) -> Tensor: ...
@overload
def max(input: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
@overload
def max(input: Any, dim: Tensor) -> Tensor: ...
def max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with `dim` (values, indices); with a tensor `maximum`."""
    if dim is None:
        return ops.amax(input)
    if hasattr(dim, "_meta"):
        return ops.maximum(input, dim)
    return _along(ops.argmax, input, dim, keepdim)


@overload
def min(input: Any) -> Tensor: ...
@overload
def min(input: Any, dim: int, keepdim: bool = False) -> ValuesIndices: ...
@overload
def min(input: Any, dim: Tensor) -> Tensor: ...
def min(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with `dim` (values, indices); with a tensor `minimum`."""
    if dim is None:
        return ops.amin(input)
    if hasattr(dim, "_meta"):
        return ops.minimum(input, dim)
    return _along(ops.argmin, input, dim, keepdim)


def _along(find: Any, input: Any, dim: int, keepdim: bool) -> ValuesIndices:
    """Elements by their index, so that the gradient goes to the one that was taken."""
    if not meta(input).rank:
        return ValuesIndices(input, find(input, dim))
    indices = find(input, dim, True)
    values = ops.gather(input, dim, indices)
    if keepdim:
        return ValuesIndices(values, indices)
    return ValuesIndices(ops.squeeze(values, dim), ops.squeeze(indices, dim))


def amax(input: Any, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest elements over dimensions; ties share the gradient."""
    return ops.amax(input, dim, keepdim)


def amin(input: Any, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest elements over dimensions; ties share the gradient."""
    return ops.amin(input, dim, keepdim)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the first largest element is: int64."""
    return ops.argmax(input, dim, keepdim)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the first smallest element is: int64."""
    return ops.argmin(input, dim, keepdim)


def any(input: Any, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether one element is nonzero."""
    return ops.any(input, dim, keepdim)


def all(input: Any, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are nonzero."""
    return ops.all(input, dim, keepdim)


def logsumexp(input: Any, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over dimensions, computed stably."""
    return ops.logsumexp(input, dim, keepdim)


__all__ = [
    "ValuesIndices", "all", "amax", "amin", "any", "argmax", "argmin", "logsumexp", "max", "mean",
    "min", "norm", "prod", "std", "sum", "var",
]  # fmt: skip
