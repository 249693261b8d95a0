"""PyTorch's functions that arrange and select elements, under its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir import ops
from ..ir.dtype import DType
from .symint import sizes, unwrap

if TYPE_CHECKING:
    from .tensor import Tensor


def detach(input: Any) -> Tensor:
    """The same memory without history."""
    return ops.detach(input)


def reshape(input: Any, shape: Sequence[Any]) -> Tensor:
    """The same elements in another shape; one size may be -1."""
    return ops.reshape(input, sizes(tuple(shape)))


def permute(input: Any, dims: Sequence[int]) -> Tensor:
    """Dimensions in another order."""
    return ops.permute(input, dims)


def transpose(input: Any, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    return ops.transpose(input, dim0, dim1)


def movedim(input: Any, source: int, destination: int) -> Tensor:
    """A dimension moved to another place."""
    return ops.movedim(input, source, destination)


def squeeze(input: Any, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without dimensions of size 1: all of them, or those given."""
    return ops.squeeze(input, dim)


def unsqueeze(input: Any, dim: int) -> Tensor:
    """With a new dimension of size 1."""
    return ops.unsqueeze(input, dim)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """A range of dimensions merged into one."""
    return ops.flatten(input, start_dim, end_dim)


def unflatten(input: Any, dim: int, sizes: Sequence[Any]) -> Tensor:
    """A dimension split into several; one size may be -1."""
    return ops.unflatten(input, dim, tuple(map(unwrap, sizes)))


def broadcast_to(input: Any, size: Sequence[Any]) -> Tensor:
    """Size-1 and missing leading dimensions repeated."""
    return ops.broadcast_to(input, tuple(map(unwrap, size)))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """About `chunks` equal parts along a dimension."""
    return ops.chunk(input, chunks.__index__(), dim)


def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along a dimension."""
    return ops.unbind(input, dim)


def narrow(input: Any, dim: int, start: Any, length: Any) -> Tensor:
    """`length` elements along a dimension from `start` on."""
    return ops.narrow(input, dim, unwrap(start), unwrap(length))


def select(input: Any, dim: int, index: Any) -> Tensor:
    """One slice along a dimension, which goes away."""
    return ops.select(input, dim, unwrap(index))


def gather(input: Any, dim: int, index: Any) -> Tensor:
    """One element along `dim` per index."""
    return ops.gather(input, dim, index)


def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """Slices along `dim` at a vector of indices."""
    return ops.index_select(input, dim, index)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Tensor:
    """With slices along `dim` replaced at indices."""
    return ops.index_copy(input, dim, index, source)


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """With elements of `src` added along `dim` at indices."""
    return ops.scatter_add(input, dim, index, src)


def softmax(input: Any, dim: int, dtype: DType | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along a dimension."""
    return ops.softmax(input, dim, dtype)


def log_softmax(input: Any, dim: int, dtype: DType | None = None) -> Tensor:
    """log(softmax(x)), computed stably."""
    return ops.log_softmax(input, dim, dtype)


__all__ = [
    "broadcast_to", "chunk", "detach", "flatten", "gather", "index_copy", "index_select",
    "log_softmax", "movedim", "narrow", "permute", "reshape", "scatter_add", "select", "softmax",
    "squeeze", "transpose", "unbind", "unflatten", "unsqueeze",
]  # fmt: skip
