"""Writes into tensors: functional in a trace, into memory at once outside of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import ops
from ..ir.errors import runtime_error
from ..ir.ops._common import sizes
from ..ir.ops._elementwise import torch_name
from ..ir.ops.view import REPEATED, View
from ..ir.types import meta_of
from .current import current_trace
from .gradmode import is_grad_enabled

if TYPE_CHECKING:
    from .tensor import Tensor


def copy_(target: Tensor, src: Any) -> Tensor:
    """Write `src`, cast and broadcast, into `target`. Raises where the shapes do not fit."""
    if not hasattr(src, "_meta"):
        from .creation import as_tensor

        src = as_tensor(src, dtype=target.dtype)
    src = ops.broadcast_to(ops.cast(src, target.dtype), target._meta.shape)
    return overwrite(target, src)


def overwrite(target: Tensor, new: Tensor) -> Tensor:
    """`assign` what is not computed from `target`: its old value stays in the history.

    As in PyTorch, `target` goes on requiring a gradient, and that of its old value is zero. Where
    `target` is a part of its memory, the rest of it keeps that history anyhow.
    """
    check_writable(target, new)
    if is_grad_enabled() and target.requires_grad and _is_whole(target):
        _keep_saved(target, new)
        new = ops.slice_update(target, new, [0] * target.dim())
    return assign(target, new)


def assign(target: Tensor, new: Tensor) -> Tensor:
    """Make `target`, and all that shares its memory, hold `new`; returns `target`."""
    check_writable(target, new)
    trace = current_trace()
    if trace is not None:
        trace.write(target, ops.cast(new, target.dtype))
        return target
    new = ops.cast(new, target.dtype)
    if is_grad_enabled() and (new.requires_grad or target.requires_grad):
        _keep_saved(target, new)
        _rebase(target, new)
    store(target, new)
    return target


def _keep_saved(target: Tensor, new: Tensor) -> None:
    """Let the rule that made `new` keep what it reads of the memory that is to be written."""
    keep = getattr(new._grad_fn, "keep", None)
    if keep is not None:
        keep(target._storage)


def check_writable(target: Tensor, new: Tensor) -> None:
    """Raise in PyTorch's words where an in-place write is not allowed."""
    if new._meta.shape != target._meta.shape:
        raise runtime_error(
            f"output with shape {sizes(target._meta.shape)} doesn't match the broadcast shape "
            f"{sizes(new._meta.shape)}"
        )
    old, kind = target.dtype.kind, new.dtype.kind
    if (kind == "f" and old != "f") or (old == "b" and kind != "b"):
        raise runtime_error(
            f"result type {torch_name(new.dtype)} can't be cast to the desired output type "
            f"{torch_name(target.dtype)}"
        )
    if not target._is_traced and repeats(target):
        raise runtime_error(REPEATED)
    if is_grad_enabled() and target.requires_grad:
        if target.is_leaf:
            raise runtime_error(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        if _views_leaf(target):
            raise runtime_error(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )


def repeats(x: Tensor) -> bool:
    """Whether elements of a concrete tensor lie in one place, as those that `expand` made."""
    return 0 in x._strides and any(
        s == 0 and d > 1 for s, d in zip(x._strides, x._sizes, strict=True)
    )


def _is_whole(target: Tensor) -> bool:
    from .traced import TracedStorage, root

    storage = target._storage
    whole = meta_of(storage.value) if isinstance(storage, TracedStorage) else root(target)._meta
    return target._meta.numel == whole.numel


def _views_leaf(target: Tensor) -> bool:
    from .traced import traced_base

    base = target
    while base._base is not None and base._seen >= 0:
        base = base._base
    if base is target:
        found = traced_base(target)
        return found is not None and found._requires_grad
    return base._requires_grad and base.is_leaf


def _rebase(target: Tensor, new: Tensor) -> None:
    """Give `target`, and the tensors whose memory it is a view of, the history of the write.

    Other views of that memory see the count and get theirs when they are next used.
    """
    count = target._storage.rebased + 1  # type: ignore[union-attr]
    view, value = target, new
    while True:
        base, above = view._base, None
        if base is not None and view._view is not None and view._seen >= 0:
            op, attrs = view._view
            assert issubclass(op, View)
            above = op.unview(base, value, attrs)
        view._grad_fn, view._output = value._grad_fn, value._output
        view._track(value._requires_grad)
        if above is None or base is None:
            break
        view._seen = count if value._requires_grad else count - 1  # that of the base will do
        view, value = base, above
    if target._seen >= 0:
        target._storage.rebased = count  # type: ignore[union-attr]


def store(target: Tensor, new: Tensor) -> None:
    """Move the elements of `new` into the memory of `target`."""
    _copy_into()(target, new)
    target._storage.version += 1


@cache
def _copy_into() -> Callable[[Tensor, Tensor], None]:
    from .eager import copy_into

    return copy_into


def numpy_assign(target: Tensor, value: np.ndarray) -> None:
    """Write NumPy data into a concrete tensor (initialization, loading); a meta one has none."""
    if target.device == "meta":
        return
    np.copyto(target._array("its memory"), value.reshape(target._sizes), casting="same_kind")
    target._storage.version += 1
