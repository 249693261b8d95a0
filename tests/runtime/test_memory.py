from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from calque.runtime import memory
from calque.runtime.memory import Buffer, give_back, lease, size_class, stats
from together import together


@pytest.mark.parametrize("nbytes", [0, 1, 64, 65, 1000, 4096, 1 << 20, (1 << 20) + 1, 70 << 20])
def test_size_class_holds_the_request_without_much_waste(nbytes: int) -> None:
    size = size_class(nbytes)
    assert size >= max(nbytes, 1)
    assert size % memory.ALIGNMENT == 0
    assert size <= max(nbytes * 1.125, nbytes + memory.ALIGNMENT)
    assert size_class(size) == size


def test_size_classes_are_few() -> None:
    assert len({size_class(n) for n in range(1 << 20, 2 << 20, 1000)}) <= 9


@pytest.mark.parametrize("nbytes", [0, 8, 3 << 20, 20 << 20])
def test_buffers_are_aligned_and_writable(nbytes: int) -> None:
    buffer = Buffer.empty(nbytes)
    assert buffer.ptr % memory.ALIGNMENT == 0
    view = buffer.view_numpy(np.uint8, [nbytes])
    view[...] = 7
    assert (view == 7).all()


def test_large_blocks_start_at_a_huge_page() -> None:
    assert Buffer.empty(20 << 20).ptr % memory.HUGE_PAGE == 0


def test_live_buffers_do_not_overlap() -> None:
    sizes = [1, 64, 100, 5000, 1 << 20, 3 << 20, 17 << 20] * 3
    buffers = sorted((Buffer.empty(n) for n in sizes), key=lambda b: b.ptr)
    for a, b in pairwise(buffers):
        assert a.ptr + a.nbytes <= b.ptr


@pytest.mark.parametrize("nbytes", [100, 3 << 20, 40 << 20])
def test_a_freed_block_is_recycled(nbytes: int) -> None:
    buffer = Buffer.empty(nbytes)
    before = stats()
    ptr = buffer.ptr
    del buffer
    assert stats().live_bytes < before.live_bytes
    again = Buffer.empty(nbytes - 1)
    assert again.ptr == ptr
    assert stats().system_allocations == before.system_allocations


def test_a_large_block_serves_a_slightly_smaller_request() -> None:
    memory.trim()
    buffer = Buffer.empty(96 << 20)
    ptr = buffer.ptr
    del buffer
    assert Buffer.empty(80 << 20).ptr == ptr


def test_trim_gives_large_blocks_back() -> None:
    Buffer.empty(33 << 20)
    reserved = stats().reserved_bytes
    memory.trim()
    assert stats().reserved_bytes <= reserved - (33 << 20)


def test_peak() -> None:
    memory.reset_peak()
    start = stats().peak_bytes
    buffers = [Buffer.empty(1 << 20) for _ in range(3)]
    del buffers
    assert stats().peak_bytes == start + (3 << 20)


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        Buffer.empty(-1)


def test_out_of_memory_is_an_error_not_a_crash() -> None:
    with pytest.raises(memory.OutOfMemory, match="bytes are in use"):
        Buffer.empty(1 << 62)
    assert Buffer.empty(8).nbytes == 8


def test_views_have_strides_and_offsets_in_elements() -> None:
    buffer = Buffer.empty(12 * 4)
    base = buffer.view_numpy(np.float32, (3, 4))
    base[...] = np.arange(12).reshape(3, 4)
    column = buffer.view_numpy(np.float32, (3,), (4,), 1)
    assert column.tolist() == [1, 5, 9]
    assert buffer.view_numpy(np.float32, (2, 2), (0, 1), 10).tolist() == [[10, 11], [10, 11]]
    assert buffer.view_numpy(np.float32, (), (), 5) == 5
    column[0] = -1
    assert base[0, 1] == -1


def test_views_cannot_leave_the_buffer() -> None:
    buffer = Buffer.empty(16)
    for shape, strides, offset in [((5,), None, 0), ((2,), (4,), 0), ((1,), None, 4)]:
        with pytest.raises(ValueError):
            buffer.view_numpy(np.float32, shape, strides, offset)
    assert buffer.view_numpy(np.float32, (0, 5)).shape == (0, 5)


def test_a_view_keeps_the_buffer_alive() -> None:
    buffer = Buffer.empty(1000)
    view = buffer.view_numpy(np.uint8, (1000,))
    live = stats().live_bytes
    del buffer
    assert stats().live_bytes == live
    del view
    assert stats().live_bytes < live


def test_wrapping_shares_and_keeps_the_array() -> None:
    array = np.arange(6.0).reshape(2, 3)
    buffer = Buffer.wrap(array)
    assert (buffer.ptr, buffer.nbytes) == (array.ctypes.data, array.nbytes)
    buffer.view_numpy(np.float64, (2, 3))[1, 2] = -1
    assert array[1, 2] == -1
    columns = Buffer.wrap(array[:, :2])
    assert columns.nbytes == 5 * 8
    with pytest.raises(ValueError, match="negative strides"):
        Buffer.wrap(array[::-1])
    array.flags.writeable = False
    frozen = Buffer.wrap(array).view_numpy(np.float64, (6,))
    assert not frozen.flags.writeable
    del buffer, columns, array
    gc.collect()
    assert frozen[5] == -1


def test_buffers_are_made_by_their_factories() -> None:
    with pytest.raises(TypeError, match=r"Buffer\.empty"):
        Buffer()


def test_leases_are_reused_and_reentrant() -> None:
    first = lease(1 << 20)
    give_back(first)
    allocations = stats().system_allocations
    outer = lease(1 << 20)
    assert outer is first
    inner = lease(100)
    assert inner.ptr != outer.ptr
    give_back(inner)
    give_back(outer)
    again = lease(1000)
    assert again is first
    give_back(again)
    held = [lease(1 << 20), lease(100)]
    for arena in held:
        give_back(arena)
    assert stats().system_allocations <= allocations + 1  # the inner one, the first time


def test_what_was_freed_last_is_recycled_first() -> None:
    kept = Buffer.empty(5000)
    ptr = kept.ptr
    live = stats().live_bytes
    del kept
    again = Buffer.empty(5000)
    assert again.ptr == ptr
    assert stats().live_bytes == live
    del again
    other = Buffer.empty(300)  # of another size: it is not taken for that
    assert other.ptr != ptr
    assert stats().live_bytes < live


def test_threads_share_the_pool() -> None:
    failures: list[str] = []

    def work(seed: int) -> None:
        held: list[np.ndarray] = []
        for i in range(300):
            array = Buffer.empty(100 + i % 7 * 1000).view_numpy(np.uint8, (100,))
            array[...] = seed
            held.append(array)
            if i % 3 == 0:
                old = held.pop(0)
                if not (old == seed).all():
                    failures.append(f"a block of thread {seed} was given to another")

    together(work)
    assert not failures


def test_a_buffer_in_a_cycle_is_freed_by_the_collector() -> None:
    gc.collect()
    live = stats().live_bytes
    cycle: list[object] = [Buffer.empty(1 << 20)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert stats().live_bytes == live


def test_fork_while_another_thread_allocates() -> None:
    """The child must not wait for a lock whose holder does not exist in it."""
    stop = threading.Event()

    def allocate() -> None:
        while not stop.is_set():
            Buffer.empty(100)

    thread = threading.Thread(target=allocate)
    thread.start()
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0 if Buffer.empty(100).nbytes == 100 else 1)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_memory_of_its_own() -> None:
    buffer = Buffer.empty(64)
    numbers = buffer.view_numpy(np.int64, (8,))
    numbers[:] = 1
    pid = os.fork()
    if pid == 0:  # the child
        numbers[:] = 2
        os._exit(0)
    os.waitpid(pid, 0)
    assert numbers.tolist() == [1] * 8


@pytest.mark.skipif("CALQUE_COUNTED" in os.environ, reason="this is what is asked for")
@pytest.mark.parametrize("counted", ["python", "native"])
def test_all_of_it_whoever_counts(counted: str) -> None:
    code = f"""
import pytest, sys
from calque.frontend.nativecall import native_code
native_code()
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", {__file__!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {"CALQUE_COUNTED": counted, "CALQUE_NATIVE_ENTRY": str(int(counted == "native"))},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
