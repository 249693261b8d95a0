"""PyTorch's functions on tensors where they are more than one operator: `calque.cat`, ….

Users also meet them as methods. What is exactly an operator function lives in `ir.ops`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import dtype as dt
from ..ir import ops
from ..ir.errors import runtime_error
from ..ir.op import meta
from ..ir.ops._common import broadcast_shapes, check_fits, result_type
from ..ir.sym import Dim, same
from .current import current_trace
from .gradmode import is_grad_enabled
from .inplace import assign, copy_
from .storage import reshape_strides
from .symint import unwrap

if TYPE_CHECKING:
    from .tensor import Tensor

# ---- two operands ----------------------------------------------------------------------------


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other."""
    return ops.add(input, other if _is_one(alpha) else ops.mul(other, alpha))


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other."""
    return ops.sub(input, other if _is_one(alpha) else ops.mul(other, alpha))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, rounded by "trunc" or "floor" where asked for."""
    if rounding_mode is None:
        return ops.div(input, other)
    if rounding_mode == "floor":
        return ops.floor_divide(input, other)
    if rounding_mode == "trunc":
        dtype = result_type(input, other)
        return ops.cast(ops.trunc(ops.div(input, other)), dtype)
    raise runtime_error(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


def _is_one(alpha: Any) -> bool:
    return isinstance(alpha, int | float) and alpha == 1


def is_tensor(obj: object) -> bool:
    """Whether an object is a tensor."""
    return hasattr(obj, "_meta") and hasattr(obj, "_storage")


def mm(input: Any, mat2: Any) -> Tensor:
    """The product of two matrices."""
    _need_rank("mm", input, 2, "self must be a matrix")
    _need_rank("mm", mat2, 2, "mat2 must be a matrix")
    return ops.matmul(input, mat2)


def bmm(input: Any, mat2: Any) -> Tensor:
    """The products of two stacks (B, N, M) and (B, M, P) of matrices."""
    _need_rank("bmm", input, 3, "batch1 must be a 3D tensor")
    _need_rank("bmm", mat2, 3, "batch2 must be a 3D tensor")
    return ops.matmul(input, mat2)


def mv(input: Any, vec: Any) -> Tensor:
    """The product of a matrix and a vector."""
    _need_rank("mv", input, 2, "input must be a matrix")
    _need_rank("mv", vec, 1, "vec must be a vector")
    return ops.matmul(input, vec)


def dot(input: Any, tensor: Any) -> Tensor:
    """The product of two vectors."""
    _need_rank("dot", input, 1, "1D tensors expected")
    _need_rank("dot", tensor, 1, "1D tensors expected")
    return ops.matmul(input, tensor)


def outer(input: Any, vec2: Any) -> Tensor:
    """The matrix of the products of the elements of two vectors."""
    return ops.outer(input, vec2)


def _need_rank(name: str, x: Any, rank: int, message: str) -> None:
    if meta(x).rank != rank:
        raise runtime_error(f"{name}: {message}, got {meta(x).rank}D")


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return ops.add(input, ops.mul(ops.sub(end, input), weight))


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    product = ops.mul(tensor1, tensor2)
    return ops.add(input, product if _is_one(value) else ops.mul(product, value))


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    quotient = ops.div(tensor1, tensor2)
    return ops.add(input, quotient if _is_one(value) else ops.mul(quotient, value))


def equal(input: Any, other: Any) -> bool:
    """Whether shapes and all elements are the same."""
    a, b = meta(input).shape, meta(other).shape
    if len(a) != len(b) or not all(map(same, a, b)):
        return False
    return bool(ops.all(ops.eq(input, other)))


def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Whether all elements agree within atol + rtol * |other|; NaN agrees with nothing."""
    near = ops.le(ops.abs(ops.sub(input, other)), ops.add(ops.mul(ops.abs(other), rtol), atol))
    return bool(ops.all(ops.logical_or(near, ops.eq(input, other))))


# ---- choices ---------------------------------------------------------------------------------


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """`value`, a number or a 0-d tensor, where the bool mask holds, else input's elements."""
    if meta(mask).dtype is not dt.bool_:
        raise runtime_error("masked_fill only supports boolean masks, but got mask with dtype "
                           f"{meta(mask).dtype.name}")  # fmt: skip
    if hasattr(value, "_meta"):
        if value._meta.rank:
            raise runtime_error(
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._meta.rank} dimension(s)."
            )
        value = ops.cast(value, meta(input).dtype)
    elif meta(input).dtype is dt.bool_:
        value = bool(value)
    elif isinstance(value, int | float) and not meta(input).dtype.is_floating_point:
        check_fits(value, meta(input).dtype)
        value = int(value)
    return ops.where(mask, value, input)


def masked_select(input: Any, mask: Any) -> Tensor:
    """The elements where a mask, broadcast with input, holds, as a vector."""
    shape = broadcast_shapes(meta(input).shape, meta(mask).shape)
    return ops.broadcast_to(input, shape)[ops.broadcast_to(mask, shape)]


def _triangle(input: Any, lower: bool, diagonal: int) -> Tensor:
    m = meta(input)
    if m.rank < 2:
        raise runtime_error("tril/triu: input tensor must have at least 2 dimensions")
    rows = ops.reshape(ops.iota(m.shape[-2], dt.int64, input), (m.shape[-2], 1))
    columns = ops.reshape(ops.iota(m.shape[-1], dt.int64, input), (1, m.shape[-1]))
    distance = ops.sub(columns, rows)
    kept = ops.le(distance, diagonal) if lower else ops.ge(distance, diagonal)
    return ops.where(kept, input, False if m.dtype is dt.bool_ else 0)


def tril(input: Any, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, zeros above a diagonal."""
    return _triangle(input, True, diagonal)


def triu(input: Any, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, zeros below a diagonal."""
    return _triangle(input, False, diagonal)


# ---- shapes ----------------------------------------------------------------------------------


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors joined along a dimension."""
    return ops.concatenate(tuple(tensors), dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    return ops.stack(tuple(tensors), dim)


def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of a size, or of the sizes in a list, along a dimension."""
    if isinstance(split_size_or_sections, list | tuple):
        return ops.split(tensor, [unwrap(s) for s in split_size_or_sections], dim)
    return ops.split(tensor, unwrap(split_size_or_sections), dim)


def t(input: Any) -> Tensor:
    """The transpose of a matrix; vectors and scalars as they are."""
    rank = meta(input).rank
    if rank > 2:
        raise runtime_error(f"t() expects a tensor with <= 2 dimensions, but self is {rank}D")
    return ops.transpose(input, 0, 1) if rank == 2 else input


def view(input: Any, shape: Sequence[Dim]) -> Tensor:
    """`reshape` that never copies. Raises RuntimeError where the strides do not allow it."""
    from .traced import strides_of

    out = ops.reshape(input, shape)
    if reshape_strides(input._meta.shape, strides_of(input), out._meta.shape) is None:
        raise runtime_error(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return out


def flip(input: Any, dims: int | Sequence[int]) -> Tensor:
    """A copy with dimensions in reverse order."""
    return clone(ops.flip(input, dims))


def repeat(input: Any, repeats: Sequence[Dim]) -> Tensor:
    """The whole tensor laid side by side along each dimension, new leading ones included; a copy
    even where nothing is repeated."""
    m = meta(input)
    lead = len(repeats) - m.rank
    if lead < 0:
        raise runtime_error(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    shape = (*[1] * lead, *m.shape)
    apart = [size for d in shape for size in (1, d)]
    spread = [size for d, n in zip(shape, repeats, strict=True) for size in (n, d)]
    wide = ops.broadcast_to(ops.reshape(input, apart), spread)
    return ops.reshape(clone(wide), [d * n for d, n in zip(shape, repeats, strict=True)])


def tile(input: Any, dims: Sequence[Any]) -> Tensor:
    """`repeat` where missing leading repeats are 1."""
    missing = meta(input).rank - len(dims)
    return repeat(input, [*[1] * missing, *map(unwrap, dims)])


# ---- by index --------------------------------------------------------------------------------


def scatter(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """input with elements along `dim` replaced at indices, by `src` or one number."""
    if not hasattr(src, "_meta"):
        src = ops.broadcast_to(ops.constant(np.asarray(src, meta(input).dtype.numpy), input),
                               meta(index).shape)  # fmt: skip
    return ops.scatter(input, dim, index, src)


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Tensor:
    """input with slices of `source` added along `dim` at indices."""
    return ops.index_add(input, dim, index, source if _is_one(alpha) else ops.mul(source, alpha))


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Tensor:
    """input with slices along `dim` at indices filled with one number."""
    m = meta(input)
    shape = list(m.shape)
    shape[dim] = meta(index).numel
    filled = value if hasattr(value, "_meta") else ops.full((), value, m.dtype, input)
    return ops.index_copy(input, dim, index, ops.broadcast_to(ops.cast(filled, m.dtype), shape))


# ---- copies and history ----------------------------------------------------------------------


def clone(input: Tensor) -> Tensor:
    """A row-major copy with memory of its own; gradients flow through it."""
    from ..ir.ops.view import BroadcastTo

    attrs = {"shape": input._meta.shape}
    trace = current_trace()
    if trace is not None:
        tracked, value = trace.tracks(input), trace.value(input)
        if tracked and not is_grad_enabled():
            tracked, value = False, trace.detached(value)
        # A value of its own, so that its gradient is told apart from that of `input`.
        return trace.wrap(trace.builder.emit(BroadcastTo, [value], attrs).results[0], tracked)
    from .autograd import record
    from .eager import contiguous

    out = contiguous(input)
    record(BroadcastTo, (input,), attrs, [out])
    return out


def detach_(input: Tensor) -> Tensor:
    """Forget a tensor's history. Raises RuntimeError for views, as PyTorch does."""
    if input._base is not None and input._grad_fn is not None:
        raise runtime_error(
            "Can't detach views in-place. Use detach() instead. If you are using DistributedData"
            "Parallel (DDP) for training, and gradient_as_bucket_view is set as True, gradients "
            "are views of DDP buckets, and hence detach_() cannot be called on these gradients."
        )
    if input._is_traced:
        assign(input, ops.detach(input))
    input._grad_fn, input._output = None, 0
    input._track(False)
    return input


def fill_(input: Tensor, value: Any) -> Tensor:
    """Write one number, or a 0-d tensor, into every element."""
    if hasattr(value, "_meta") and value._meta.rank:
        raise runtime_error(
            "fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value._meta.rank} dimensions."
        )
    if isinstance(value, float) and not input.is_floating_point():
        value = math.trunc(value)
    return copy_(input, value)


__all__ = [
    "add", "addcdiv", "addcmul", "allclose", "bmm", "cat", "clone", "div", "dot",
    "equal", "flip", "index_add", "index_fill", "is_tensor", "lerp", "masked_fill",
    "masked_select", "mm", "mv", "outer", "repeat", "scatter", "split", "stack", "sub", "t",
    "tile", "tril", "triu",
]  # fmt: skip
