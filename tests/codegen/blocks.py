"""Run GPU kernels on this machine: what is emitted for NVPTX, with each thread of a block on a
stack of its own.

The intrinsics of the GPU are replaced by functions that switch back to a scheduler here, which
runs the threads one at a time, each until it waits. Running them in both orders shows a missing
barrier, unless it makes no difference.
"""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from xdsl.dialects import builtin, func

from calque.codegen.abi import argument_counts
from calque.codegen.cpu import compile_text
from calque.codegen.host import host_text as host_text_of
from calque.codegen.nvptx import DeviceText, device_text
from calque.codegen.signature import signature
from calque.ir.target import Target
from calque.ir.tile import WARP
from calque.runtime.artifact import Artifact, KernelObject
from calque.runtime.executable import Executable
from calque.runtime.launch import Launch

from .machine import ENTRY, Linked, functions, parse

STACK = 1 << 16
CONTEXT = 1 << 13  # more than a ucontext_t has
THREADS = 1024

FINISHED, AT_BARRIER, AT_SHUFFLE = range(3)

NAMES = {
    "llvm.nvvm.read.ptx.sreg.tid.x": "emulated.thread",
    "llvm.nvvm.read.ptx.sreg.ctaid.x": "emulated.block",
    "llvm.nvvm.barrier.cta.sync.aligned.all": "emulated.barrier",
    "llvm.nvvm.shfl.sync.bfly.i32": "emulated.shuffle",
}

SUPPORT = f"""
@emulated.state = global [3 x i32] zeroinitializer
@emulated.contexts = global ptr null
@emulated.arguments = global ptr null
@emulated.values = internal global [{THREADS} x i32] zeroinitializer
declare i32 @swapcontext(ptr, ptr)
define internal i32 @emulated.block() {{
  %v = load i32, ptr @emulated.state
  ret i32 %v
}}
define internal i32 @emulated.thread() {{
  %p = getelementptr i32, ptr @emulated.state, i64 1
  %v = load i32, ptr %p
  ret i32 %v
}}
define internal void @emulated.wait(i32 %reason) noinline {{
  %p = getelementptr i32, ptr @emulated.state, i64 2
  store i32 %reason, ptr %p
  %scheduler = load ptr, ptr @emulated.contexts
  %thread = call i32 @emulated.thread()
  %number = add i32 %thread, 1
  %own = getelementptr [{CONTEXT} x i8], ptr %scheduler, i32 %number
  %r = call i32 @swapcontext(ptr %own, ptr %scheduler)
  ret void
}}
define internal void @emulated.barrier(i32 %id) {{
  call void @emulated.wait(i32 {AT_BARRIER})
  ret void
}}
define internal i32 @emulated.shuffle(i32 %members, i32 %value, i32 %mask, i32 %clamp) {{
  %thread = call i32 @emulated.thread()
  %own = getelementptr i32, ptr @emulated.values, i32 %thread
  store i32 %value, ptr %own
  call void @emulated.wait(i32 {AT_SHUFFLE})
  %other = xor i32 %thread, %mask
  %theirs = getelementptr i32, ptr @emulated.values, i32 %other
  %result = load i32, ptr %theirs
  call void @emulated.wait(i32 {AT_SHUFFLE})
  ret i32 %result
}}
"""


SCHEDULER = f"""
declare i32 @getcontext(ptr)
declare void @makecontext(ptr, ptr, i32, ...)
declare i32 @swapcontext(ptr, ptr)
define void @emulated.start(ptr %contexts, ptr %stacks, i64 %count, ptr %entry) {{
  br label %loop
loop:
  %thread = phi i64 [ 0, %0 ], [ %number, %body ]
  %more = icmp slt i64 %thread, %count
  br i1 %more, label %body, label %done
body:
  %number = add i64 %thread, 1
  %own = getelementptr [{CONTEXT} x i8], ptr %contexts, i64 %number
  %stack = getelementptr [{STACK} x i8], ptr %stacks, i64 %thread
  %r = call i32 @getcontext(ptr %own)
  %begin = getelementptr i64, ptr %own, i64 2 ; uc_stack
  store ptr %stack, ptr %begin
  %size = getelementptr i64, ptr %own, i64 4
  store i64 {STACK}, ptr %size
  call void (ptr, ptr, i32, ...) @makecontext(ptr %own, ptr %entry, i32 0)
  br label %loop
done:
  ret void
}}
define void @emulated.turn(ptr %state, ptr %contexts, ptr %order, i64 %count, ptr %reasons) {{
  %current = getelementptr i32, ptr %state, i64 1
  %reason = getelementptr i32, ptr %state, i64 2
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %next, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %place = getelementptr i32, ptr %order, i64 %i
  %thread = load i32, ptr %place
  store i32 %thread, ptr %current
  %number = add i32 %thread, 1
  %own = getelementptr [{CONTEXT} x i8], ptr %contexts, i32 %number
  %r = call i32 @swapcontext(ptr %contexts, ptr %own)
  %why = load i32, ptr %reason
  %told = getelementptr i32, ptr %reasons, i32 %thread
  store i32 %why, ptr %told
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}}
"""


def host_text(kernel: DeviceText) -> str:
    """A kernel's text for this machine, with an `emulated.NAME` for each entry that takes its
    arguments from an array of 8-byte slots."""
    text = re.sub(r"^declare .*@llvm\.nvvm.*\n", "", kernel.text, flags=re.MULTILINE)
    for name, function in NAMES.items():
        text = text.replace(f"@{name}(", f"@{function}(")
    assert "llvm.nvvm" not in text
    parts = [text.replace("ptx_kernel ", ""), SUPPORT]
    for launch in kernel.launches:
        head = re.search(rf"define ptx_kernel void @{launch.entry}\((.*)\)", kernel.text)
        assert head is not None
        types = [re.sub(r" align \d+", "", p).rsplit(" ", 1)[0] for p in head[1].split(", ")]
        lines, call = [f"define void @emulated.{launch.entry}() {{"], []
        lines.append("  %slots = load ptr, ptr @emulated.arguments")
        for i, ty in enumerate(types):
            lines.append(f"  %p{i} = getelementptr i64, ptr %slots, i64 {i}")
            lines.append(f"  %v{i} = load {ty}, ptr %p{i}")
            call.append(f"{ty} %v{i}")
        lines.append(f"  call void @{launch.entry}({', '.join(call)})")
        lines.append(f"  call void @emulated.wait(i32 {FINISHED})\n  unreachable\n}}\n")
        parts.append("\n".join(lines))
    return "\n".join(parts)


class Emulated:
    """A kernel for a GPU, ready to run here."""

    def __init__(self, source: DeviceText) -> None:
        if sys.platform != "linux":
            pytest.skip("the emulation of GPU threads needs Linux")
        self.source = source
        entries = [f"emulated.{launch.entry}" for launch in source.launches]
        globals_ = ["emulated.state", "emulated.contexts", "emulated.arguments"]
        code = compile_text(host_text(source), Target.host())
        self._linked = Linked([code], [*entries, *globals_])
        self._entries = dict(zip(source.launches, entries, strict=True))

    def run(self, slots: np.ndarray, sizes: Sequence[int], backwards: bool) -> int:
        """Run all launches. `slots` (i64) hold pointers, sizes and scalars, and room for one
        more. Returns the status: 0, or 1 + the number of the failed assertion."""
        status = np.full(1, -1, "i4")
        slots[-1] = status.ctypes.data
        self._write("emulated.arguments", slots.ctypes.data)
        for launch in self.source.launches:
            self._launch(launch, launch.blocks(sizes), backwards)
        return int(status[0]) + 1

    def _write(self, symbol: str, address: int) -> None:
        ctypes.c_uint64.from_address(self._linked.address(symbol)).value = address

    def _launch(self, launch: Launch, blocks: int, backwards: bool) -> None:
        state = self._linked.address("emulated.state")
        threads = _Threads(launch.block, state)
        self._write("emulated.contexts", threads.contexts.ctypes.data)
        entry = self._linked.address(self._entries[launch])
        for block in reversed(range(blocks)) if backwards else range(blocks):
            ctypes.c_uint32.from_address(state).value = block
            threads.run(entry, backwards)


class DeviceKernel:
    """A kernel for a GPU, callable with arrays, sizes and scalars in the order of the ABI."""

    def __init__(self, text: str, arch: str = "sm_80") -> None:
        (op,) = functions(parse(text)).values()
        self._emulated = Emulated(device_text(op, Target.nvptx(arch)))
        self.source = self._emulated.source

    def __call__(
        self,
        *pointers: np.ndarray,
        sizes: Sequence[int] = (),
        scalars: Sequence[np.generic] = (),
        backwards: bool = False,
    ) -> int:
        slots = np.zeros(len(pointers) + len(sizes) + len(scalars) + 1, "i8")
        values = [p.ctypes.data for p in pointers] + list(sizes)
        slots[: len(values)] = values
        for i, scalar in enumerate(scalars):
            raw = np.frombuffer(scalar.tobytes(), "u1")
            slots[len(values) + i :].view("u1")[: raw.size] = raw
        return self._emulated.run(slots, sizes, backwards)


class DeviceProgram:
    """A kernel-stage module for a GPU: its host function runs here, and so do its kernels."""

    def __init__(self, module: builtin.ModuleOp, target: Target, backwards: bool = False) -> None:
        found = functions(module)
        main, plan = found.pop("main"), found.pop("main.plan")
        self._callbacks = []
        self.kernels = {name: device_text(op, target) for name, op in found.items()}
        objects = []
        for name, op in found.items():
            callback = self._callback(op, Emulated(self.kernels[name]), backwards)
            self._callbacks.append(callback)
            code = compile_text(_stub(callback), Target.host())
            objects.append(KernelObject(name, code, self.kernels[name].messages))
        host = host_text_of(main, plan, found, Target.host())
        params, symbols, scalars = signature(main)
        self.executable = Executable(
            Artifact(
                kernels=tuple(objects),
                host=compile_text(host.text, Target.host()),
                call_names=host.calls,
                host_messages=host.messages,
                params=params,
                symbols=symbols,
                scalars=scalars,
            )
        )

    @staticmethod
    def _callback(op: func.FuncOp, kernel: Emulated, backwards: bool) -> Any:
        counts = argument_counts([arg.type for arg in op.body.block.args])

        def call(_: int, pointers: int, sizes: int, scalars: int) -> int:
            slots = np.zeros(sum(counts) + 1, "i8")
            at = 0
            for source, count in zip((pointers, sizes, scalars), counts, strict=True):
                if count:
                    slots[at : at + count] = (ctypes.c_int64 * count).from_address(source)
                at += count
            return kernel.run(slots, slots[counts[0] :][: counts[1]].tolist(), backwards)

        return ENTRY(call)

    def __call__(self, *inputs: np.ndarray, sizes: Sequence[int] = ()) -> list[np.ndarray]:
        """The outputs for C-contiguous inputs and the values of the size symbols. State is
        overwritten."""
        call = self.executable.prepare(sizes)
        params = self.executable.artifact.params[len(inputs) :]
        outputs = [
            np.zeros(shape, _DTYPES[p.dtype]) if p.alias is None else inputs[p.alias]
            for p, shape in zip(params, call.shapes[len(inputs) :], strict=True)
        ]
        call.run([a.ctypes.data for a in (*inputs, *outputs)])
        return outputs


_DTYPES = {
    "f32": "f4", "f64": "f8", "f16": "f2", "bf16": ml_dtypes.bfloat16,
    "i64": "i8", "i32": "i4", "i16": "i2", "i8": "i1", "u8": "u1", "bool": "?",
}  # fmt: skip


def _stub(callback: Any) -> str:
    """A kernel that passes its arguments on."""
    address = ctypes.cast(callback, ctypes.c_void_p).value
    return f"""
define i32 @kernel(ptr %a, ptr %b, ptr %c, ptr %d) {{
  %f = inttoptr i64 {address} to ptr
  %r = call i32 %f(ptr %a, ptr %b, ptr %c, ptr %d)
  ret i32 %r
}}
"""


class _Threads:
    """The threads of a block: a context and a stack each; context 0 is the scheduler's."""

    def __init__(self, count: int, state: int) -> None:
        self._count, self._state = count, state
        self.contexts = np.zeros((count + 1, CONTEXT), "u1")
        self._stacks = np.empty((count, STACK), "u1")
        self._start, self._turn = _scheduler()[1:]

    def run(self, entry: int, backwards: bool) -> None:
        """Run one block to its end."""
        contexts = self.contexts.ctypes.data
        self._start(contexts, self._stacks.ctypes.data, self._count, entry)
        reasons = np.full(self._count, AT_SHUFFLE, "u4")
        while reasons.any():
            ready = _ready(reasons)
            assert ready.size, "some threads of the block wait at a barrier, others at a shuffle"
            order = np.ascontiguousarray(ready[::-1] if backwards else ready, "u4")
            self._turn(self._state, contexts, order.ctypes.data, order.size, reasons.ctypes.data)


@functools.cache
def _scheduler() -> tuple[Linked, Any, Any]:
    """What sets the contexts of threads up, and what gives each of some threads a turn."""
    linked = Linked([compile_text(SCHEDULER, Target.host())], ["emulated.start", "emulated.turn"])
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    start = ctypes.PYFUNCTYPE(None, pointer, pointer, number, pointer)
    turn = ctypes.PYFUNCTYPE(None, pointer, pointer, pointer, number, pointer)
    return linked, start(linked.address("emulated.start")), turn(linked.address("emulated.turn"))


def _ready(reasons: np.ndarray) -> np.ndarray:
    """The threads that may go on: whole warps at a shuffle, or the whole block at a barrier.
    Like the hardware, neither waits for threads that have finished."""
    at_shuffle = reasons == AT_SHUFFLE
    if not at_shuffle.any():
        assert reasons.all(), "not all threads of the block come to the barrier"
        return np.arange(reasons.size)
    starts = np.arange(0, reasons.size, WARP)
    some = np.logical_or.reduceat(at_shuffle, starts)
    over = np.logical_or.reduceat(reasons == FINISHED, starts)
    assert not (some & over).any(), "threads miss a shuffle"
    whole = np.logical_and.reduceat(at_shuffle, starts)
    return np.flatnonzero(whole.repeat(WARP)[: reasons.size])
