"""The memory behind concrete tensors, and views as (offset, sizes, strides) on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.dtype import DType
from ..runtime.memory import Buffer

Ints = tuple[int, ...]


class Storage:
    """A block of memory shared by a tensor and its views; `version` counts writes."""

    __slots__ = ("__weakref__", "buffer", "version")

    def __init__(self, buffer: Buffer | None) -> None:
        self.buffer = buffer
        self.version = 0

    @property
    def pointer(self) -> int:
        if self.buffer is None:
            raise RuntimeError("a meta tensor has no data")
        return self.buffer.ptr


def contiguous_strides(shape: Sequence[int]) -> Ints:
    """Row-major strides in elements."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements lie row-major without gaps; strides of size-1 dimensions do not matter."""
    step = 1
    if 0 in shape:
        return True
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


def view_geometry(
    op_name: str, attrs: dict[str, Any], shape: Ints, strides: Ints, offset: int
) -> tuple[Ints, Ints, int] | None:
    """Shape, strides and offset of a view operator's result; None where elements must move."""
    match op_name:
        case "calque.broadcast_to":
            target = tuple(attrs["shape"])
            lead = len(target) - len(shape)
            out = [0] * lead
            out += [
                stride if size == target[lead + i] else 0
                for i, (size, stride) in enumerate(zip(shape, strides, strict=True))
            ]
            return target, tuple(out), offset
        case "calque.transpose":
            perm = attrs["perm"]
            return tuple(shape[p] for p in perm), tuple(strides[p] for p in perm), offset
        case "calque.slice":
            starts, limits, steps = attrs["starts"], attrs["limits"], attrs["strides"]
            sizes = tuple(
                len(range(a, b, s)) for a, b, s in zip(starts, limits, steps, strict=True)
            )
            moved = sum(a * st for a, st, n in zip(starts, strides, sizes, strict=True) if n)
            out_strides = tuple(st * s for st, s in zip(strides, steps, strict=True))
            return sizes, out_strides, offset + (moved if 0 not in sizes else 0)
        case "calque.as_strided":
            # It counts elements of a vector, which may itself be strided.
            (step,) = strides
            moved = tuple(step * s for s in attrs["strides"])
            return tuple(attrs["shape"]), moved, offset + step * attrs["offset"]
        case "calque.reshape":
            target = tuple(attrs["shape"])
            found = reshape_strides(shape, strides, target)
            return None if found is None else (target, found, offset)
    return None


def reshape_strides(shape: Ints, strides: Ints, target: Ints) -> Ints | None:
    """Strides under which a reshape is a view, or None where it has to copy."""
    if 0 in shape:
        return contiguous_strides(target)
    # Merge dimensions of the source that are contiguous with each other into chunks.
    chunks: list[list[int]] = []  # [size, stride of the last dimension]
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if chunks and chunks[-1][1] == size * stride:
            chunks[-1] = [chunks[-1][0] * size, stride]
        else:
            chunks.append([size, stride])
    out: list[int] = [0] * len(target)
    i = len(target) - 1
    for chunk_size, chunk_stride in reversed(chunks):
        done = 1
        while done < chunk_size:
            if i < 0:
                return None
            out[i] = chunk_stride * done
            done *= target[i]
            i -= 1
        if done != chunk_size:
            return None
    while i >= 0:
        if target[i] != 1:
            return None
        out[i] = 1
        i -= 1
    return tuple(out)


def as_numpy(storage: Storage, dtype: DType, shape: Ints, strides: Ints, offset: int) -> np.ndarray:
    """The elements as an array that shares the memory."""
    if storage.buffer is None:
        raise RuntimeError("Cannot copy out of meta tensor; no data!")
    return storage.buffer.view_numpy(dtype.numpy, shape, strides, offset)
