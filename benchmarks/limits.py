"""What the machine can do at most: FMA throughput and copy bandwidth, on all threads.

They are timed like candidates, in the same rounds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from calque.codegen import cpu
from calque.ir.target import Target
from calque.runtime import jit, threads
from calque.runtime.memory import Buffer

# Sixteen independent chains cover the latency of a fused multiply-add on two ports.
_CHAINS = 16
_STEPS = 20_000


def peak_flops(target: Target) -> tuple[Callable[[], None], float]:
    """A call that only computes, on all threads, and the operations that it does."""
    width = target.vector_bits // 32
    vector = f"<{width} x float>"
    chains = range(_CHAINS)
    phis = "\n".join(
        f"  %a{i} = phi {vector} [ splat (float {i}.0), %entry ], [ %b{i}, %loop ]" for i in chains
    )
    fmas = "\n".join(
        f"  %b{i} = call {vector} @llvm.fma.v{width}f32({vector} %a{i}, {vector} %x, {vector} %x)"
        for i in chains
    )
    total = "\n".join(
        f"  %s{i} = fadd {vector} %{'b0' if i == 1 else f's{i - 1}'}, %b{i}" for i in chains if i
    )
    text = f"""
declare void @calque_parallel_for(ptr, ptr, i64, i64)
declare {vector} @llvm.fma.v{width}f32({vector}, {vector}, {vector})
define void @task(ptr %out, i64 %i, i64 %tid) {{
entry:
  %x = load {vector}, ptr %out, align 4
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %loop ]
{phis}
{fmas}
  %k1 = add i64 %k, 1
  %more = icmp slt i64 %k1, {_STEPS}
  br i1 %more, label %loop, label %done
done:
{total}
  %offset = mul i64 %i, {width}
  %at = getelementptr float, ptr %out, i64 %offset
  store {vector} %s{_CHAINS - 1}, ptr %at, align 4
  ret void
}}
define void @run(ptr %out) {{
  call void @calque_parallel_for(ptr @task, ptr %out, i64 {threads.get_num_threads()}, i64 -1)
  ret void
}}
"""
    run = _load(text, target)
    out = np.zeros(width * threads.get_num_threads() + 16, np.float32)
    operations = 2.0 * width * _CHAINS * _STEPS * threads.get_num_threads()
    return lambda: run(out.ctypes.data), operations


def copy_bandwidth(target: Target) -> tuple[Callable[[], None], float]:
    """A call that copies 64 MiB on all threads, and the bytes that it reads and writes."""
    size, parts = 1 << 26, 64
    text = f"""
declare void @calque_parallel_for(ptr, ptr, i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @task(ptr %at, i64 %i, i64 %tid) {{
  %offset = mul i64 %i, {size // parts}
  %to = getelementptr i8, ptr %at, i64 %offset
  %from = getelementptr i8, ptr %to, i64 {size}
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 {size // parts}, i1 false)
  ret void
}}
define void @run(ptr %at) {{
  call void @calque_parallel_for(ptr @task, ptr %at, i64 {parts}, i64 -1)
  ret void
}}
"""
    run = _load(text, target)
    memory = Buffer.empty(2 * size)
    ctypes.memset(memory.ptr, 1, 2 * size)
    return lambda: run(memory.ptr), 2.0 * size


def _load(text: str, target: Target) -> Callable[[int], None]:
    """The function `run(pointer)` of a module of LLVM text."""
    library = jit.load(
        {"limit": cpu.compile_text(text, target)},
        {"calque_parallel_for": threads.parallel_for_address()},
        ["run"],
    )
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address("run"))

    def run(pointer: int, keep: object = library) -> None:
        function(pointer)

    return run
