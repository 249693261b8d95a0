"""Scratch memory of kernels: what is too large for a stack lies in memory of the call.

A kernel runs on the stack of whoever calls it, which may be small, and its tasks on those of the
pool's threads. So each of the two takes `STACK` bytes of stack, and further allocas are addresses
in memory that the caller of the program provides:

    | the kernel's own | of tasks on thread 0 | of tasks on thread 1 | ...

The parallel loops of a kernel run one after the other and share the parts of the threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

from xdsl.dialects import func, memref, scf
from xdsl.dialects.builtin import MemRefType, StringAttr
from xdsl.ir import Operation, Region

from .errors import CodegenError
from .llvm import Fn, lanes, size
from .types import element_type

STACK = 16 << 10
"""What a function keeps on the stack: some thousand floats, a small part even of the 128 KiB that
some systems give to a thread."""

ALIGNMENT = 64
PAGE = 4 << 10  # threads share no cache lines, and none that are fetched together

MAP = "calque.map"
THREADS = StringAttr("threads")


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where the allocas of a kernel are, seen from the function that is being written.

    `offsets` of allocas that are not on the stack count from `own`. `call` bytes are the
    kernel's own, `thread` those of each thread. `base` is the address of all of it and
    `threads`, an i64, the number of threads that it is for; tasks have `own` only.
    """

    offsets: dict[memref.AllocaOp, int] = field(default_factory=dict)
    call: int = 0
    thread: int = 0
    base: str = ""
    threads: str = ""
    own: str = ""

    def receive(self, f: Fn) -> Scratch:
        """As the kernel sees it: a context holds the address and the number of threads."""
        if not self.call and not self.thread:
            return self
        base = f.load("ptr", "%context")
        threads = f.load("i64", f.gep("i64", "%context", "1")) if self.thread else ""
        return replace(self, base=base, threads=threads, own=_own(f, base) if self.call else "")

    def of_task(self, task: Fn, base: str) -> Scratch:
        """As a task on `%thread` sees it."""
        part = task.add("i64", task.mul("i64", "%thread", str(self.thread)), str(self.call))
        return replace(self, base="", own=_own(task, task.gep("i8", base, part)))


def _own(f: Fn, address: str) -> str:
    """The address, as one that LLVM takes for a memory object of its own, like an alloca's."""
    return f.emit(f'call noalias align {ALIGNMENT} ptr asm "", "=r,0"(ptr {address})')


def layout(kernel: func.FuncOp) -> Scratch:
    """Where a kernel's allocas are to be."""
    offsets: dict[memref.AllocaOp, int] = {}
    tasks: list[scf.ParallelOp] = []
    call = _place(_allocas(kernel.body, tasks), offsets)
    thread = max((_place(_allocas(task.body, None), offsets) for task in tasks), default=0)
    return Scratch(offsets, call, thread)


def _allocas(region: Region, tasks: list[scf.ParallelOp] | None) -> Iterator[memref.AllocaOp]:
    """The allocas of one function; loops that become tasks are put on the list instead."""
    for block in region.blocks:
        for op in block.ops:
            if isinstance(op, memref.AllocaOp):
                yield op
            elif tasks is not None and is_threaded(op):
                assert isinstance(op, scf.ParallelOp)
                tasks.append(op)
            else:
                for inner in op.regions:
                    yield from _allocas(inner, tasks)


def is_threaded(op: Operation) -> bool:
    """Whether an op is a loop over threads."""
    return isinstance(op, scf.ParallelOp) and op.attributes.get(MAP) == THREADS


def _place(allocas: Iterator[memref.AllocaOp], offsets: dict[memref.AllocaOp, int]) -> int:
    """Give offsets to the allocas of one function that the stack has no room for; returns the
    bytes that they take."""
    stack = end = 0
    for op in allocas:
        nbytes = _bytes(op)
        if stack + nbytes <= STACK:
            stack += nbytes
        else:
            offsets[op] = end
            end += nbytes
    return -(-end // PAGE) * PAGE


def _bytes(op: memref.AllocaOp) -> int:
    """The size of an alloca, 0 if it is dynamic: that is refused when it is written."""
    ty = op.memref.type
    assert isinstance(ty, MemRefType)
    if not ty.has_static_shape():
        return 0
    try:
        element = element_type(ty)
    except CodegenError as error:
        raise CodegenError.at(op, str(error)) from None
    nbytes = prod(ty.get_shape()) * max(1, lanes(element)) * size(element)
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
