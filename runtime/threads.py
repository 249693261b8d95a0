"""The thread pool that parallel loops of generated code run on.

It is generated code itself: `pool.ll`, which explains how it works, is compiled when a program
first needs it, and comes from the disk cache from then on. Worker threads start with the first
parallel loop. They are joined when Python exits and started anew in a child process after `fork`.

There is one pool per process, of as many threads (the caller's among them) as there are
processors that the process may use. `CALQUE_NUM_THREADS` or `set_num_threads` set another number.
Results do not depend on it.

The pool is written for Linux on x86-64. Elsewhere loops run in the calling thread: programs work,
`get_num_threads()` is 1, and asking for more is an error.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import sys
import threading
from functools import lru_cache

from . import jit, llvmtext
from .cgroup import cpu_quota

MAX_THREADS = 1024  # the workers that pool.ll has room for

_SERIAL = """
@calque_pool_wanted = global i64 0
define void @calque_pool_resize(i64 %wanted) {
  ret void
}
define void @calque_pool_forget() {
  ret void
}
define void @calque_parallel_for(ptr %function, ptr %argument, i64 %count, i64 %threads) {
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %task]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %task, label %done
task:
  call void %function(ptr %argument, i64 %i, i64 0)
  %i1 = add i64 %i, 1
  br label %head
done:
  ret void
}
"""
_EXPORTS = (
    "calque_parallel_for",
    "calque_pool_forget",
    "calque_pool_resize",
    "calque_pool_wanted",
)


@lru_cache(maxsize=1)
def supported() -> bool:
    """Whether this platform has the thread pool."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize == 2**63 - 1


class _Pool:
    """The loaded pool. There is one, from its first use to the end of the process."""

    def __init__(self, threads: int) -> None:
        text = _SERIAL
        if supported():
            text = llvmtext.source("pool.ll")
        code = llvmtext.compiled(text)
        process = ctypes.CDLL(None)
        addresses = {
            name: ctypes.cast(process[name], ctypes.c_void_p).value or 0
            for name in jit.undefined_symbols(code) or ()
        }
        self.library = jit.load({"the thread pool": code}, addresses, _EXPORTS)
        address = self.library.address
        self.parallel_for = address("calque_parallel_for")
        self.wanted = ctypes.c_int64.from_address(address("calque_pool_wanted"))
        self.resize = ctypes.CFUNCTYPE(None, ctypes.c_int64)(address("calque_pool_resize"))
        self.wanted.value = threads - 1
        self.forget = ctypes.CFUNCTYPE(None)(address("calque_pool_forget"))
        # What is called at the end holds the pool, and with it the code that runs then.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)
        # Workers must be gone before the interpreter frees what they execute.
        atexit.register(self._end)

    def _forget(self) -> None:
        self.forget()

    def _end(self) -> None:
        self.resize(0)


class _Settings:
    """What is known of the pool: the number of threads asked for, and the pool once it is used."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.threads: int | None = None
        self.pool: _Pool | None = None


_settings = _Settings()


def _checked(n: int, what: str) -> int:
    if n < 1:
        raise ValueError(f"{what} expects a positive number of threads, got {n}")
    if n > 1 and not supported():
        raise ValueError(
            f"{what} asks for {n} threads, but there is only one on "
            f"{sys.platform}/{platform.machine()}: the thread pool is for Linux on x86-64"
        )
    return min(n, MAX_THREADS)


def _default_threads() -> int:
    """The processors that this process may use, by affinity and by its control group's quota."""
    asked = os.environ.get("CALQUE_NUM_THREADS")
    if asked:
        try:
            n = int(asked)
        except ValueError:
            raise ValueError(f"CALQUE_NUM_THREADS must be a number, not '{asked}'") from None
        return _checked(n, "CALQUE_NUM_THREADS")
    if not supported():
        return 1
    # By process id, that is, of the main thread: the current one may be bound to a few.
    available = len(os.sched_getaffinity(os.getpid()))
    return min(available, cpu_quota() or available, MAX_THREADS)


def _pool() -> _Pool:
    with _settings.lock:
        if _settings.pool is None:
            _settings.pool = _Pool(get_num_threads())
        return _settings.pool


def parallel_for_address() -> int:
    """Where `void calque_parallel_for(ptr fn, ptr arg, i64 n, i64 threads)` is: it calls
    `fn(arg, i, tid)` for every i below n, with tid below `threads` (unsigned), and returns when all
    calls have. The address is valid forever."""
    return _pool().parallel_for


def workers() -> ctypes.c_int64:
    """The number of threads beside the caller, whose value is always the current one: asking
    costs next to nothing."""
    return _pool().wanted


def get_num_threads() -> int:
    """How many threads run a parallel loop, the caller's among them."""
    with _settings.lock:
        if _settings.pool is not None:
            return _settings.pool.wanted.value + 1
        if _settings.threads is None:
            _settings.threads = _default_threads()
        return _settings.threads


def set_num_threads(n: int) -> None:
    """Makes parallel loops use `n` threads, the caller's among them; at most 1024.

    Waits for the loop that is running, if one is. ValueError for n < 1, and for n > 1 where
    the platform has no thread pool.
    """
    n = _checked(n, "set_num_threads")
    with _settings.lock:
        _settings.threads = n
        pool = _settings.pool
    if pool is not None:
        pool.resize(n - 1)


if hasattr(os, "register_at_fork"):
    # A child must not find the lock held by a thread that exists in the parent only.
    os.register_at_fork(
        before=_settings.lock.acquire,
        after_in_parent=_settings.lock.release,
        after_in_child=_settings.lock.release,
    )
