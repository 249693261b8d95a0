"""Scratch that is too large for a stack lies in memory of the call."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from calque.codegen import CodegenError, compile_module, llvm_text
from calque.ir.target import Target
from calque.runtime import memory, threads
from calque.runtime.artifact import Artifact
from calque.runtime.executable import Executable

from .machine import Kernel, parse

ROWS, COLUMNS, LARGE = 64, 1000, 400_000

# Each row of x is copied to the end of 1.6 MB that belong to its task, over a mebibyte of the
# kernel's own that holds a row of ones, and added to that row on its way out.
KERNEL = f"""
func.func private @k(%x: memref<{ROWS}x{COLUMNS}xf32>, %y: memref<{ROWS}x{COLUMNS}xf32>)
    attributes {{calque.kernel}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %rows = arith.constant {ROWS} : index
  %columns = arith.constant {COLUMNS} : index
  %far = arith.constant {LARGE - COLUMNS} : index
  %one = arith.constant 1.0 : f32
  %ones = memref.alloca() : memref<262144xf32>
  scf.for %j = %c0 to %columns step %c1 {{
    memref.store %one, %ones[%j] : memref<262144xf32>
  }}
  "scf.parallel"(%c0, %rows, %c1) <{{operandSegmentSizes = array<i32: 1, 1, 1, 0>}}> ({{
  ^bb0(%i: index):
    %small = memref.alloca() : memref<16xf32>
    %panel = memref.alloca() : memref<{LARGE}xf32>
    %i32 = arith.index_cast %i : index to i32
    %number = arith.sitofp %i32 : i32 to f32
    memref.store %number, %small[%c0] : memref<16xf32>
    scf.for %j = %c0 to %columns step %c1 {{
      %at = arith.addi %j, %far : index
      %v = memref.load %x[%i, %j] : memref<{ROWS}x{COLUMNS}xf32>
      memref.store %v, %panel[%at] : memref<{LARGE}xf32>
    }}
    scf.for %j = %c0 to %columns step %c1 {{
      %at = arith.addi %j, %far : index
      %v = memref.load %panel[%at] : memref<{LARGE}xf32>
      %s = memref.load %small[%c0] : memref<16xf32>
      %u = memref.load %ones[%j] : memref<262144xf32>
      %w = arith.addf %v, %s : f32
      %z = arith.addf %w, %u : f32
      memref.store %z, %y[%i, %j] : memref<{ROWS}x{COLUMNS}xf32>
    }}
    scf.reduce
  }}) {{calque.map = "threads"}} : (index, index, index) -> ()
  func.return
}}
"""

MAIN = f"""
func.func @main(
    %x: memref<{ROWS}x{COLUMNS}xf32>,
    %y: memref<{ROWS}x{COLUMNS}xf32> {{calque.role = "output"}}, %arena: memref<?xi8>) {{
  %c0 = arith.constant 0 : index
  %t = memref.view %arena[%c0][] : memref<?xi8> to memref<{ROWS}x{COLUMNS}xf32>
  func.call @k(%x, %t) : (memref<{ROWS}x{COLUMNS}xf32>, memref<{ROWS}x{COLUMNS}xf32>) -> ()
  func.call @k(%t, %y) : (memref<{ROWS}x{COLUMNS}xf32>, memref<{ROWS}x{COLUMNS}xf32>) -> ()
  func.return
}}
func.func @main.plan() -> index attributes {{calque.plan}} {{
  %bytes = arith.constant {ROWS * COLUMNS * 4 + 4} : index
  func.return %bytes : index
}}
"""

PER_THREAD = -(-LARGE * 4 // 4096) * 4096


@pytest.fixture(scope="module")
def executable() -> Executable:
    artifact = compile_module(parse(KERNEL + MAIN), Target.host())
    return Executable(Artifact.from_bytes(artifact.to_bytes()))


@pytest.fixture(params=[1, 2, 3])
def count(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many threads, where there are threads."""
    before = threads.get_num_threads()
    threads.set_num_threads(request.param if threads.supported() else 1)
    yield threads.get_num_threads()
    threads.set_num_threads(before)


def run(executable: Executable, seed: int = 0) -> None:
    x = np.random.default_rng(seed).integers(0, 1000, (ROWS, COLUMNS)).astype("f4")
    y = np.zeros_like(x)
    executable.run([x.ctypes.data, y.ctypes.data])
    np.testing.assert_array_equal(y, x + 2 * np.arange(ROWS)[:, None] + 2)


def in_threads(executable: Executable, python_threads: int, repeats: int) -> None:
    """Run on Python threads with stacks of 256 KiB."""
    failures: list[Exception] = []

    def work(seed: int) -> None:
        try:
            for i in range(repeats):
                run(executable, repeats * seed + i)
        except Exception as error:
            failures.append(error)

    before = threading.stack_size(256 << 10)
    try:
        running = [threading.Thread(target=work, args=(i,)) for i in range(python_threads)]
        for thread in running:
            thread.start()
    finally:
        threading.stack_size(before)
    for thread in running:
        thread.join()
    assert not failures


def test_calls_from_small_stacks(executable: Executable, count: int) -> None:
    assert executable.prepare(()).scratch_bytes == (1 << 20) + count * PER_THREAD
    in_threads(executable, 1, 3)


def test_calls_from_two_threads_at_once(executable: Executable, count: int) -> None:
    in_threads(executable, 2, 20)


def test_the_number_of_threads_changes_between_and_during_calls(executable: Executable) -> None:
    before = threads.get_num_threads()
    running = threading.Thread(target=in_threads, args=(executable, 2, 30))
    try:
        running.start()
        while running.is_alive():
            for n in (1, 3, 2, 4) if threads.supported() else (1,):
                threads.set_num_threads(n)
        running.join()
    finally:
        threads.set_num_threads(before)


def test_steady_calls_allocate_nothing(executable: Executable, count: int) -> None:
    run(executable)
    before = memory.stats().system_allocations
    run(executable)
    assert memory.stats().system_allocations == before


def test_a_kernel_says_what_it_needs() -> None:
    kernel = Kernel(KERNEL)
    assert (kernel.source.scratch, kernel.source.thread_scratch) == (1 << 20, PER_THREAD)
    assert re.findall(r"alloca float.*", kernel.source.text) == ["alloca float, i64 16, align 64"]
    x = np.ones((ROWS, COLUMNS), "f4")
    y = np.zeros_like(x)
    assert kernel(x, y) == 0
    np.testing.assert_array_equal(y, x + np.arange(ROWS)[:, None] + 1)


def test_the_stack_holds_what_fits_in_order() -> None:
    sizes = (2000, 3000, 1000, 1096, 8)  # floats: 8000 bytes, 12000, 4000, 4384, 64
    allocas = "\n".join(f"%m{i} = memref.alloca() : memref<{n}xf32>" for i, n in enumerate(sizes))
    stores = "\n".join(
        f"memref.store %v, %m{i}[%c0] : memref<{n}xf32>" for i, n in enumerate(sizes)
    )
    kernel = Kernel(
        f"""func.func @k(%x: memref<f32>) {{
          %c0 = arith.constant 0 : index
          %v = memref.load %x[] : memref<f32>
          {allocas}
          {stores}
          func.return
        }}"""
    )
    found = re.findall(r"alloca float, i64 (\d+)", kernel.source.text)
    assert found == ["2000", "1000", "8"]
    assert (kernel.source.scratch, kernel.source.thread_scratch) == (5 * 4096, 0)
    assert kernel(np.ones((), "f4")) == 0


def test_kernels_without_large_scratch_do_not_look_for_it() -> None:
    (text,) = llvm_text(
        parse("func.func @k() { %m = memref.alloca() : memref<4096xf32> func.return }"),
        Target.host(),
    ).values()
    assert "ptr %context" in text.splitlines()[0]
    assert text.count("%context") == 1


def test_a_loop_over_threads_in_a_task_shares_its_scratch() -> None:
    kernel = Kernel(
        """func.func @k(%x: memref<8x8xf32>) {
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %c8 = arith.constant 8 : index
          "scf.parallel"(%c0, %c8, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
          ^bb0(%i: index):
            %outer = memref.alloca() : memref<8192xf32>
            "scf.parallel"(%c0, %c8, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
            ^bb1(%j: index):
              %inner = memref.alloca() : memref<8192xf32>
              %v = memref.load %x[%i, %j] : memref<8x8xf32>
              memref.store %v, %outer[%j] : memref<8192xf32>
              memref.store %v, %inner[%j] : memref<8192xf32>
              %a = memref.load %outer[%j] : memref<8192xf32>
              %b = memref.load %inner[%j] : memref<8192xf32>
              %s = arith.addf %a, %b : f32
              memref.store %s, %x[%i, %j] : memref<8x8xf32>
              scf.reduce
            }) {calque.map = "threads"} : (index, index, index) -> ()
            scf.reduce
          }) {calque.map = "threads"} : (index, index, index) -> ()
          func.return
        }"""
    )
    assert (kernel.source.scratch, kernel.source.thread_scratch) == (0, 2 * 8192 * 4)
    assert kernel.source.text.count("call void @calque_parallel_for") == 1
    x = np.arange(64, dtype="f4").reshape(8, 8)
    expected = 2 * x
    assert kernel(x) == 0
    np.testing.assert_array_equal(x, expected)


def test_a_host_function_uses_its_arena() -> None:
    text = MAIN.replace("%c0 =", "%m = memref.alloca() : memref<8192xf32>\n  %c0 =", 1)
    with pytest.raises(CodegenError, match="large scratch from its arena"):
        llvm_text(parse(KERNEL + text), Target.host())
