"""Memory for tensors and for the arenas of executables, recycled within the process.

Fresh memory is the slowest memory there is: the system zeroes each page at its first touch, at a
fraction of a GB/s on 4 KiB pages. So blocks are cut once, from 2 MiB-aligned areas in huge pages,
and then recycled by size class: from the second step of a training loop on nothing is asked from
the system, which `stats().system_allocations` lets tests assert.

Threads: any thread may allocate and free. A `Buffer` is freed wherever its last reference happens
to go away, which may be a garbage collection or a signal handler in the middle of an allocation
by the same thread. So freeing takes no lock: it appends to a queue, which is atomic, and the next
allocation collects the queue. Where native code counts (`count_natively`), and does so atomically,
blocks without a mapping of their own skip the queue: they go straight to the list of their class,
and come from it without the lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .cgroup import memory_limit

ALIGNMENT = 64  # a cache line, and the widest vector
HUGE_PAGE = 2 << 20
_AREA = 64 << 20  # blocks are cut from areas of this size: address space only until touched
_OWN_MAPPING = 16 << 20  # from this size on a block has an area to itself


class OutOfMemory(MemoryError):
    """The system refused memory even after unused blocks were given back."""


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of the allocator.

    `system_allocations`: blocks made of fresh memory so far (everything else was recycled);
    `live_bytes`: in use now, rounded up to size classes; `peak_bytes`: the most that was ever in
    use at once since `reset_peak`; `reserved_bytes`: cut from the system, live or waiting for
    reuse.
    """

    system_allocations: int
    live_bytes: int
    peak_bytes: int
    reserved_bytes: int


class _Block(NamedTuple):
    """A piece of memory of `size` bytes, a size class. `mapping` is set if it has its own."""

    ptr: int
    size: int
    mapping: mmap.mmap | None


@lru_cache(maxsize=4096)  # programs ask for few sizes, very often
def size_class(nbytes: int) -> int:
    """The block size that serves `nbytes`: eight classes per doubling, so at most 12.5 % goes
    unused; multiples of 64 bytes, and of a huge page for blocks with a mapping of their own."""
    if nbytes <= 8 * ALIGNMENT:
        return max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)
    step = 1 << ((nbytes - 1).bit_length() - 4)
    if nbytes > _OWN_MAPPING:
        step = max(step, HUGE_PAGE)
    return -(-nbytes // step) * step


def _map(nbytes: int) -> tuple[mmap.mmap, int]:
    """Fresh zeroed memory and its first huge-page boundary, with `nbytes` bytes behind it."""
    # Private: shared memory gets no huge pages, and a forked child would write into its parent's.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mapping = mmap.mmap(-1, nbytes + HUGE_PAGE, flags=flags)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages: slower, that is all
            mapping.madvise(mmap.MADV_HUGEPAGE)
    # Only `close` unmaps: when Python exits, a daemon thread may still compute in this memory.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(mapping))
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    return mapping, -(-start // HUGE_PAGE) * HUGE_PAGE


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 << 30  # a system that does not say


class _Pool:
    """Free lists by size class over areas that are cut from front to back."""

    def __init__(self) -> None:
        # Reentrant, because a collection or a signal may allocate in the midst of an allocation.
        self.lock = threading.RLock()
        self.freed: deque[_Block] = deque()  # by any thread, not collected yet
        self.free: dict[int, list[_Block]] = {}
        self.cursor = self.end = 0  # what is left of the newest area
        self.made = self.reserved = self.cached_large = 0
        self.usage = (ctypes.c_int64 * 2)()  # bytes in use, and the most there were
        self.account: Callable[[int], None] = self._account
        # Makes a buffer of some bytes from a list of blocks, where native code counts.
        self.make: Callable[[int, list[_Block]], Buffer] | None = None
        memory = _physical_memory()
        self.cache_limit = min(memory, memory_limit() or memory) // 4

    def allocate(self, nbytes: int) -> _Block:
        if nbytes < 0:
            raise ValueError(f"a buffer cannot have {nbytes} bytes")
        size = size_class(nbytes)
        try:  # what was freed last is often what is asked for: then nothing changes in all
            block = self.freed.pop()
        except IndexError:
            pass
        else:
            if block.size == size:
                return block
            self.freed.append(block)
        with self.lock:
            if self.freed:
                self._collect()
            block = self._take(size) or self._near_fit(size) or self._make(size)
            self.account(block.size)
            return block

    def _account(self, size: int) -> None:
        """Count bytes that are in use from now on, or, below 0, no more. With the lock held."""
        usage = self.usage
        usage[0] += size
        if usage[0] > usage[1]:
            usage[1] = usage[0]

    def home(self, size: int) -> list[_Block] | deque[_Block]:
        """Where a block of a class goes when it is freed."""
        if self.make is None or size > _OWN_MAPPING:
            return self.freed
        return self.free.setdefault(size, [])

    def _collect(self) -> None:
        """Puts the blocks that were freed meanwhile on their lists."""
        freed = self.freed
        while freed:
            try:
                block = freed.popleft()
            except IndexError:
                return  # an allocation in the midst of this one was faster
            self.account(-block.size)
            if block.mapping is not None:
                if self.cached_large + block.size > self.cache_limit:
                    self._unmap(block)
                    continue
                self.cached_large += block.size
            self.free.setdefault(block.size, []).append(block)

    def _take(self, size: int) -> _Block | None:
        """A free block of exactly this class."""
        try:
            block = self.free[size].pop()
        except (KeyError, IndexError):
            return None
        if block.mapping is not None:
            self.cached_large -= size
        return block

    def _near_fit(self, size: int) -> _Block | None:
        """A free large block that is at most a quarter larger than asked for."""
        if size <= _OWN_MAPPING:
            return None
        for larger in sorted(self.free):
            if size < larger <= size + size // 4 and (block := self._take(larger)):
                return block
        return None

    def _make(self, size: int) -> _Block:
        """A block of fresh memory."""
        if size > _OWN_MAPPING:
            mapping, ptr = self._map(size)
            block = _Block(ptr, size, mapping)
        else:
            if self.cursor + size > self.end:
                _, self.cursor = self._map(_AREA)
                self.end = self.cursor + _AREA
            block = _Block(self.cursor, size, None)
            self.cursor += size
        self.made += 1
        self.reserved += size
        return block

    def _map(self, size: int) -> tuple[mmap.mmap, int]:
        try:
            return _map(size)
        except (OSError, OverflowError):
            self.trim()
        try:
            return _map(size)
        except (OSError, OverflowError) as error:
            raise OutOfMemory(
                f"cannot allocate {size} bytes; {self.usage[0]} bytes are in use"
            ) from error

    def _unmap(self, block: _Block) -> None:
        assert block.mapping is not None
        self.reserved -= block.size
        block.mapping.close()

    def trim(self) -> None:
        with self.lock:
            self._collect()
            for size in [s for s in sorted(self.free) if s > _OWN_MAPPING]:
                while (block := self._take(size)) is not None:
                    self._unmap(block)

    def stats(self) -> Stats:
        with self.lock:
            self._collect()
            live, peak = self.usage
            return Stats(self.made, live, peak, self.reserved)

    def reset_peak(self) -> None:
        with self.lock:
            self._collect()
            self.usage[1] = self.usage[0]


_pool = _Pool()


def count_natively(
    usage: ctypes.Array[ctypes.c_int64],
    account: Callable[[int], None],
    make: Callable[[int, list[_Block]], Buffer],
    release: Any,
) -> None:
    """Let native code count what is in use, in `usage`, by `account`, which does what
    `_Pool._account` does; make buffers of free blocks; and free them by `release`, which does what
    `Buffer.__del__` does, and counts what it adds to a list.
    """
    with _pool.lock:
        _pool._collect()
        usage[:] = _pool.usage[:]
        _pool.usage, _pool.account = usage, account
        Buffer.__del__ = release
        _pool.make = make


def blocks(nbytes: int) -> list[Any] | None:
    """The free blocks that serve `nbytes`, for native code to take from; None for large ones, and
    where nothing counts natively."""
    home = _pool.home(size_class(nbytes))
    return home if isinstance(home, list) else None


def stats() -> Stats:
    """The state of the process-wide pool."""
    return _pool.stats()


def reset_peak() -> None:
    """Makes `stats().peak_bytes` start over from what is in use now."""
    _pool.reset_peak()


def trim() -> None:
    """Gives the unused blocks above 16 MiB back to the system."""
    arenas.clear()
    _pool.trim()


class Buffer:
    """Memory at `ptr` of (at least) `nbytes` bytes, aligned to 64 unless wrapped.

    It is freed with the last reference to the object. Numbers taken from `ptr` do not keep it
    alive, arrays made by `view_numpy` do.
    """

    __slots__ = ("__weakref__", "_block", "_freed", "_owner", "nbytes", "ptr", "readonly")

    ptr: int
    nbytes: int
    readonly: bool

    def __new__(cls) -> Buffer:
        raise TypeError("use Buffer.empty(nbytes) or Buffer.wrap(array)")

    @classmethod
    def empty(cls, nbytes: int) -> Buffer:
        """Memory with arbitrary contents. OutOfMemory if the system has none left."""
        if _pool.make is not None and 0 <= nbytes <= _OWN_MAPPING:
            free = _pool.free.get(size_class(nbytes))
            if free:
                return _pool.make(nbytes, free)
        block = _pool.allocate(nbytes)
        self = object.__new__(cls)
        self._block = block
        self._freed = _pool.home(block.size)
        self._owner = None
        self.ptr = block.ptr
        self.nbytes = nbytes
        self.readonly = False
        return self

    @classmethod
    def wrap(cls, array: np.ndarray[Any, Any]) -> Buffer:
        """The memory of `array`, which is kept alive: from its first element to the end of its
        last. The alignment is the array's. ValueError for negative strides."""
        if any(stride < 0 for stride in array.strides):
            raise ValueError("an array with negative strides cannot be shared; copy it first")
        self = object.__new__(cls)
        self._block = None
        self._owner = array
        self.ptr = array.__array_interface__["data"][0]
        last = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
        self.nbytes = last + array.itemsize if array.size else 0
        self.readonly = not array.flags.writeable
        return self

    def __del__(self) -> None:
        # `_freed` is held by the object because module globals may be gone at exit.
        if self._block is not None:
            self._freed.append(self._block)

    def __repr__(self) -> str:
        return f"Buffer(ptr={self.ptr:#x}, nbytes={self.nbytes})"

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The bytes, for NumPy."""
        return {
            "version": 3,
            "shape": (self.nbytes,),
            "typestr": "|u1",
            "data": (self.ptr, self.readonly),
        }

    def view_numpy(
        self,
        dtype: np.dtype[Any] | type,
        shape: Sequence[int],
        strides: Sequence[int] | None = None,
        offset: int = 0,
    ) -> np.ndarray[Any, Any]:
        """An array over this memory, sharing it and keeping it alive.

        `strides` and `offset` count elements; without strides the array is row-major. Raises
        ValueError if an element would lie outside of the buffer.
        """
        dtype = np.dtype(dtype)
        size = dtype.itemsize
        steps = None if strides is None else tuple(s * size for s in strides)
        if 0 in shape:  # has no elements; NumPy would still ask where they are
            return np.empty(tuple(shape), dtype)
        data = np.asarray(self)
        try:
            return np.ndarray(tuple(shape), dtype, data, offset * size, steps)
        except TypeError as error:  # what NumPy raises where strides are not to blame
            raise ValueError(str(error)) from error


def lease(nbytes: int) -> Buffer:
    """Scratch memory for the time of a call, to be given back with `give_back`.

    All executables lease from one process-wide set of arenas, so a process that runs many of
    them holds memory for the largest only, and each finds the others' memory warm in the caches.
    Concurrent and nested leases get different arenas. The contents are arbitrary.
    """
    try:
        buffer = arenas.pop()  # the one given back last: its memory is warm
    except IndexError:
        return Buffer.empty(nbytes)
    if buffer.nbytes >= nbytes:
        return buffer
    del buffer  # goes back to the pool first: it may be what the others wait for
    return Buffer.empty(nbytes)


def give_back(arena: Buffer) -> None:
    """End a lease."""
    arenas.append(arena)


# Arenas that wait for the next call; list operations are atomic, so it needs no lock.
arenas: list[Buffer] = []


if hasattr(os, "register_at_fork"):
    # A child must not find the lock held by a thread that exists in the parent only.
    os.register_at_fork(
        before=_pool.lock.acquire,
        after_in_parent=_pool.lock.release,
        after_in_child=_pool.lock.release,
    )
