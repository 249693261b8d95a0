"""Writes into tensors: functional in a trace, into memory at once outside of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import ops
from ..ir.ops.view import View
from .gradmode import is_grad_enabled, no_grad

if TYPE_CHECKING:
    from .tensor import Tensor


def copy_(target: Tensor, src: Any) -> Tensor:
    """Write `src`, cast and broadcast, into `target`. Raises where the shapes do not fit."""
    from .creation import as_tensor

    if not hasattr(src, "_meta"):
        src = as_tensor(src, dtype=target.dtype)
    src = ops.broadcast_to(ops.cast(src, target.dtype), target._meta.shape)
    return assign(target, src)


def assign(target: Tensor, new: Tensor) -> Tensor:
    """Make `target`, and all that shares its memory, hold `new`; returns `target`."""
    from .trace import current_trace

    check_writable(target, new)
    trace = current_trace()
    if trace is not None:
        new_value = trace.value(ops.cast(new, target.dtype))
        trace.write(target, new_value)
        if new._requires_grad and not target._requires_grad:
            target._requires_grad = True
        return target
    new = ops.cast(new, target.dtype)
    if is_grad_enabled() and (new._requires_grad or target._requires_grad):
        _rebase(target, new)
    store(target, new)
    return target


def check_writable(target: Tensor, new: Tensor) -> None:
    """Raise in PyTorch's words where an in-place write is not allowed."""
    if new._meta.shape != target._meta.shape:
        raise RuntimeError(
            f"output with shape {list(target.shape)} doesn't match the broadcast shape "
            f"{list(new.shape)}"
        )
    if target.dtype is not new.dtype and new.dtype.kind == "f" and target.dtype.kind != "f":
        raise RuntimeError(
            f"result type {new.dtype.name} can't be cast to the desired output type "
            f"{target.dtype.name}"
        )
    if is_grad_enabled() and target._requires_grad:
        if target.is_leaf:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        if _views_leaf(target):
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )


def _views_leaf(target: Tensor) -> bool:
    from .trace import traced_base

    base = target
    while base._base is not None:
        base = base._base
    if base is target:
        found = traced_base(target)
        return found is not None and found._requires_grad
    return base._requires_grad and base.is_leaf


def _rebase(target: Tensor, new: Tensor) -> None:
    """Give `target`, and the tensor whose memory it is a view of, the history of the write."""
    target._grad_fn, target._output = new._grad_fn, new._output
    target._requires_grad = new._requires_grad
    view, value = target, new
    while view._base is not None and view._view is not None:
        op, attrs = view._view
        assert issubclass(op, View)
        base = view._base
        value = op.unview(base, value, attrs)
        base._grad_fn, base._output = value._grad_fn, value._output
        base._requires_grad = value._requires_grad
        view = base


def store(target: Tensor, new: Tensor) -> None:
    """Move the elements of `new` into the memory of `target`."""
    from .eager import copy_into

    with no_grad():
        copy_into(target, new)
    target._storage.version += 1


def numpy_assign(target: Tensor, value: np.ndarray) -> None:
    """Write NumPy data into a concrete tensor (initialization, loading); a meta one has none."""
    if target.device == "meta":
        return
    np.copyto(target._array("its memory"), value.reshape(target._sizes), casting="same_kind")
    target._storage.version += 1
