"""`x[...]` and `x[...] = v`: integers, slices, None, Ellipsis, index and mask tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..ir import dtype as dt
from ..ir import ops
from ..ir.dtype import DType
from ..ir.errors import index_error, runtime_error, value_error
from ..ir.op import bind
from ..ir.ops._common import sizes
from ..ir.ops._extent import strided_extent
from ..ir.ops.slice import Slice
from ..ir.ops.view import Reshape
from ..ir.ops.viewing import clamped
from ..ir.sym import Dim, less
from . import inplace
from .current import current_trace
from .masked import Masked
from .methods_base import TensorBase, this
from .symint import unwrap

if TYPE_CHECKING:
    from .tensor import Tensor


def get(x: Tensor, index: Any) -> Tensor:
    """The elements that an index selects; a view where it has no tensors."""
    view, picks = _basic(x, _expand(x, index))
    if not picks:
        return view
    trace = current_trace()
    if trace is not None and _is_masked(picks) and picks[0][1]._is_traced:
        return cast("Tensor", Masked(view, _spread(view, *picks[0]), trace))
    return ops.index(view, _indices(view, picks))


def set_(x: Tensor, index: Any, value: Any) -> None:
    """Write `value`, broadcast, into the elements that an index selects."""
    index = _expand(x, index)
    view, picks = _basic(x, index)
    if isinstance(value, Masked) and _is_masked(picks):
        inplace.assign(view, value.written_into(view, _spread(view, *picks[0])))
        return
    value = this(value) if isinstance(value, TensorBase) else _as_tensor(value, x.dtype)
    if not picks:
        inplace.copy_(view, value)
        return
    if _is_masked(picks) and _set_mask(view, *picks[0], value):
        return
    indices = _indices(view, picks)
    inplace.assign(view, ops.index_put(view, indices, ops.cast(value, view.dtype)))


def _is_masked(picks: list[tuple[int, Tensor]]) -> bool:
    return len(picks) == 1 and picks[0][1].dtype is dt.bool_


def _set_mask(view: Tensor, dim: int, mask: Tensor, value: Tensor) -> bool:
    """Write what all selected elements get; False where each gets its own, and data say where."""
    spread = _spread(view, dim, mask)
    rest = view.dim() - dim - mask.dim()
    while value.dim() > rest and value._meta.shape[0] == 1:
        value = ops.reshape(value, value._meta.shape[1:])
    if value.dim() > rest:
        if not mask._is_traced:
            return False
        raise runtime_error(
            "shape mismatch: while tracing, a mask assigns one value, or one of the shape of the "
            "unmasked dimensions, to all selected elements, or what the same mask selected; got a "
            f"value of shape {sizes(value._meta.shape)}. Write with calque.where instead."
        )
    inplace.assign(view, ops.where(spread, ops.cast(value, view.dtype), view))
    return True


def _spread(view: Tensor, dim: int, mask: Tensor) -> Tensor:
    """The mask with dimensions after its own, so that it broadcasts to the view."""
    _check_mask(view, dim, mask)
    rest = view.dim() - dim - mask.dim()
    return ops.reshape(mask, (*mask._meta.shape, *[1] * rest))


def _check_mask(view: Tensor, dim: int, mask: Tensor) -> None:
    from ..ir.sym import same

    shape = view._meta.shape
    for i, size in enumerate(mask._meta.shape):
        if dim + i >= len(shape) or not same(size, shape[dim + i]):
            raise index_error(
                f"The shape of the mask {sizes(mask._meta.shape)} at index {i} does not match "
                f"the shape of the indexed tensor {sizes(view._meta.shape)} at index {dim + i}"
            )


def _expand(x: Tensor, index: Any) -> list[Any]:
    """The index as a list with one entry per dimension (and Nones), Ellipsis resolved."""
    items = list(index) if isinstance(index, tuple) else [index]
    items = [_as_tensor(i) if isinstance(i, (list, np.ndarray)) else i for i in items]
    used = sum(
        i.dim() if isinstance(i, TensorBase) and i.dtype is dt.bool_ and i.dim() else 1
        for i in items
        if i is not None and i is not Ellipsis
    )
    if used > x.dim():
        raise index_error(f"too many indices for tensor of dimension {x.dim()}")
    fill = [slice(None)] * (x.dim() - used)
    places = [k for k, i in enumerate(items) if i is Ellipsis]
    if len(places) > 1:
        raise index_error("an index can only have a single ellipsis ('...')")
    if places:
        return items[: places[0]] + fill + items[places[0] + 1 :]
    return items + fill


def _as_tensor(data: Any, dtype: DType | None = None) -> Tensor:
    from .creation import as_tensor

    return as_tensor(data, dtype)


def _basic(x: Tensor, items: list[Any]) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """Apply integers, slices and Nones; (the view, [(dimension in it, index tensor)])."""
    shape = x._meta.shape
    starts: list[Dim] = []
    limits: list[Dim] = []
    steps: list[int] = []
    kept: list[Dim] = []
    picks: list[tuple[int, Tensor]] = []
    d = 0
    for item in items:
        if item is None:
            kept.append(1)
            continue
        if isinstance(item, TensorBase) and (
            item.dim() or item.dtype is dt.bool_ or item._is_traced
        ):
            span = item.dim() if item.dtype is dt.bool_ else 1
            picks.append((len(kept), this(item)))
            for size in shape[d : d + span]:
                starts.append(0)
                limits.append(size)
                steps.append(1)
                kept.append(size)
            d += span
            continue
        size = shape[d]
        if isinstance(item, slice):
            start, limit, step, count = _slice(item, size)
            kept.append(count)
        else:
            start = _integer(item, size, d)
            limit, step = start + 1, 1
        starts.append(start)
        limits.append(limit)
        steps.append(step)
        d += 1
    if any(s != 0 for s in starts) or tuple(limits) != shape or any(s != 1 for s in steps):
        attrs = {"starts": tuple(starts), "limits": tuple(limits), "strides": tuple(steps)}
        x = bind(Slice, (x,), attrs)
    if x._meta.shape != tuple(kept):
        x = bind(Reshape, (x,), {"shape": tuple(kept)})
    elif x._base is None and not picks:
        x = ops.reshape(x, tuple(kept))
    return x, picks


def _integer(item: Any, size: Dim, dim: int) -> Dim:
    item = item.item() if hasattr(item, "_meta") else item
    try:
        index = unwrap(item)
    except TypeError:
        raise index_error(
            "only integers, slices (`:`), ellipsis (`...`), None and integer or bool tensors are "
            f"valid indices (got {type(item).__name__})"
        ) from None
    if isinstance(index, int) and isinstance(size, int) and not -size <= index < size:
        raise index_error(f"index {index} is out of bounds for dimension {dim} with size {size}")
    if isinstance(index, int) and index < 0:
        return size + index
    return index


def _slice(item: slice, size: Dim) -> tuple[Dim, Dim, int, Dim]:
    """Start, limit, step and count of a Python slice of a dimension."""
    step = 1 if item.step is None else int(item.step)
    if step <= 0:
        raise value_error("step must be greater than zero")

    def clamp(bound: Any, default: Dim) -> Dim:
        if bound is None:
            return default
        value = unwrap(bound.item() if hasattr(bound, "_meta") else bound)
        return clamped(value, size)

    start, limit = clamp(item.start, 0), clamp(item.stop, size)
    if isinstance(start, int) and isinstance(limit, int):
        limit = max(start, limit)
    elif less(limit, start):
        limit = start
    return start, limit, step, strided_extent(limit - start, step)


def _indices(view: Tensor, picks: list[tuple[int, Tensor]]) -> list[Tensor | None]:
    """An index tensor or None per dimension; concrete masks become positions."""
    from .creation import from_array

    out: list[Tensor | None] = [None] * view.dim()
    for dim, index in picks:
        if index.dtype is dt.bool_:
            _check_mask(view, dim, index)
            for i, p in enumerate(np.nonzero(index._read("indexing by a mask"))):
                out[dim + i] = from_array(p.astype(np.int64))
        elif index.dtype.kind not in "iu":
            raise index_error("tensors used as indices must be long, int, byte or bool tensors")
        else:
            out[dim] = index
    while out and out[-1] is None:
        out.pop()
    return out
