"""The memory behind concrete tensors, and views as (offset, sizes, strides) on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.dtype import DType
from ..ir.errors import runtime_error
from ..ir.sym import less, same
from ..ir.types import TensorMeta
from ..runtime.memory import Buffer

if TYPE_CHECKING:
    from .traced import TracedStorage

Ints = tuple[int, ...]


class Storage:
    """A block of memory shared by a tensor and its views.

    `version` counts writes, `rebased` those that gradients follow: a view has a new history then.
    """

    __slots__ = ("__weakref__", "buffer", "rebased", "version")

    def __init__(self, buffer: Buffer | None) -> None:
        self.buffer = buffer
        self.version = self.rebased = 0

    @property
    def memory(self) -> Buffer:
        """The buffer of what is no meta tensor."""
        buffer = self.buffer
        if buffer is None:
            raise runtime_error("a meta tensor has no data")
        return buffer

    @property
    def pointer(self) -> int:
        """The address of the memory, which it does not keep alive."""
        return self.memory.ptr


class Fields:
    """What every tensor has, at places where native code finds it."""

    __slots__ = ("_meta", "_offset", "_requires_grad", "_storage", "_strides")

    _meta: TensorMeta
    _storage: Storage | TracedStorage
    _strides: Ints
    _offset: int
    _requires_grad: bool


def contiguous_strides(shape: Sequence[Any]) -> tuple[Any, ...]:
    """Row-major strides in elements; of symbolic sizes too."""
    strides: list[Any] = []
    step: Any = 1
    for size in reversed(shape):
        strides.append(step)
        if size != 0:
            step = step * size
    return tuple(reversed(strides))


def is_contiguous(shape: Sequence[Any], strides: Sequence[Any]) -> bool:
    """Whether elements lie row-major without gaps; strides of size-1 dimensions do not matter."""
    step: Any = 1
    if 0 in shape:
        return True
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 1:
            continue
        if stride != step and not same(stride, step):
            if not same(size, 1):
                return False
            continue
        step = step * size
    return True


def view_geometry(
    op_name: str, attrs: dict[str, Any], shape: Ints, strides: Ints, offset: int
) -> tuple[Ints, Ints, int] | None:
    """Shape, strides and offset of a view operator's result; None where elements must move."""
    out = view_strides(op_name, attrs, shape, strides)
    if out is None:
        return None
    match op_name:
        case "calque.transpose":
            return tuple(shape[p] for p in attrs["perm"]), out, offset
        case "calque.slice":
            starts, limits, steps = attrs["starts"], attrs["limits"], attrs["strides"]
            sizes = tuple(
                len(range(a, b, s)) for a, b, s in zip(starts, limits, steps, strict=True)
            )
            moved = sum(a * st for a, st, n in zip(starts, strides, sizes, strict=True) if n)
            return sizes, out, offset + (moved if 0 not in sizes else 0)
        case "calque.as_strided":
            return tuple(attrs["shape"]), out, offset + strides[0] * attrs["offset"]
    return tuple(attrs["shape"]), out, offset


def view_strides(
    op_name: str, attrs: dict[str, Any], shape: Sequence[Any], strides: Sequence[Any]
) -> tuple[Any, ...] | None:
    """Strides of a view operator's result, of symbolic sizes too; None where elements must move."""
    match op_name:
        case "calque.broadcast_to":
            target = attrs["shape"]
            lead = len(target) - len(shape)
            kept = zip(shape, strides, target[lead:], strict=True)
            return (0,) * lead + tuple(
                0 if size == 1 and wanted != 1 else st for size, st, wanted in kept
            )
        case "calque.transpose":
            return tuple(strides[p] for p in attrs["perm"])
        case "calque.slice":
            return tuple(st * s for st, s in zip(strides, attrs["strides"], strict=True))
        case "calque.as_strided":
            # It counts elements of a vector, which may itself be strided.
            (step,) = strides
            return tuple(step * s for s in attrs["strides"])
        case "calque.reshape":
            return reshape_strides(shape, strides, tuple(attrs["shape"]))
    return None


def reshape_strides(
    shape: Sequence[Any], strides: Sequence[Any], target: Sequence[Any]
) -> tuple[Any, ...] | None:
    """Strides under which a reshape is a view, or None where it has to copy."""
    if is_contiguous(shape, strides):
        return contiguous_strides(target)
    # Merge dimensions of the source that are contiguous with each other into chunks.
    chunks: list[list[Any]] = []  # [size, stride of the last dimension]
    for size, stride in zip(shape, strides, strict=True):
        if same(size, 1):
            continue
        if chunks and same(chunks[-1][1], size * stride):
            chunks[-1] = [chunks[-1][0] * size, stride]
        else:
            chunks.append([size, stride])
    out: list[Any] = [0] * len(target)
    i = len(target) - 1
    for chunk_size, chunk_stride in reversed(chunks):
        done: Any = 1
        while less(done, chunk_size):
            if i < 0:
                return None
            out[i] = chunk_stride * done
            done = done * target[i]
            i -= 1
        if not same(done, chunk_size):
            return None
    while i >= 0:
        if not same(target[i], 1):
            return None
        out[i] = 1
        i -= 1
    return tuple(out)


def as_numpy(storage: Storage, dtype: DType, shape: Ints, strides: Ints, offset: int) -> np.ndarray:
    """The elements as an array that shares the memory."""
    if storage.buffer is None:
        raise runtime_error("Cannot copy out of meta tensor; no data!")
    return storage.buffer.view_numpy(dtype.numpy, shape, strides, offset)
