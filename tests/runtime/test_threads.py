from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from calque.runtime import cache, jit, llvmtext, threads
from calque.runtime.artifact import Artifact, KernelObject, ParamSpec
from calque.runtime.executable import Executable
from llvmtext import compile_text
from together import together

PARALLEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)

TASKS = """
declare void @calque_parallel_for(ptr, ptr, i64, i64)
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

; counts[i] += 1, not atomically: a task must run once
define void @count(ptr %counts, i64 %i, i64 %tid) {
  %p = getelementptr i64, ptr %counts, i64 %i
  %v = load i64, ptr %p
  %v1 = add i64 %v, 1
  store i64 %v1, ptr %p
  ret void
}

; returns when as many tasks as arg[1] says are in it at once
define void @meet(ptr %arg, i64 %i, i64 %tid) {
entry:
  %0 = atomicrmw add ptr %arg, i64 1 acq_rel
  %np = getelementptr i64, ptr %arg, i64 1
  %n = load i64, ptr %np
  br label %loop
loop:
  %v = load atomic i64, ptr %arg acquire, align 8
  %all = icmp sge i64 %v, %n
  br i1 %all, label %done, label %loop
done:
  ret void
}

; tids[i] = tid, as the others get time to come
define void @who(ptr %tids, i64 %i, i64 %tid) {
entry:
  br label %loop
loop:
  %n = phi i64 [0, %entry], [%n1, %loop]
  %p = getelementptr i64, ptr %tids, i64 %i
  store volatile i64 %tid, ptr %p
  %n1 = add i64 %n, 1
  %more = icmp slt i64 %n1, 20000
  br i1 %more, label %loop, label %done
done:
  ret void
}

; a loop of 10 tasks in a task
define void @nested(ptr %counts, i64 %i, i64 %tid) {
  %at = mul i64 %i, 10
  %p = getelementptr i64, ptr %counts, i64 %at
  call void @calque_parallel_for(ptr @count, ptr %p, i64 10, i64 -1)
  ret void
}

; as @meet, then modes[2 + i] = the floating-point mode
define void @mode(ptr %modes, i64 %i, i64 %tid) {
  %m = alloca i32
  call void @meet(ptr %modes, i64 %i, i64 %tid)
  call void @llvm.x86.sse.stmxcsr(ptr %m)
  %v = load i32, ptr %m
  %w = zext i32 %v to i64
  %at = add i64 %i, 2
  %p = getelementptr i64, ptr %modes, i64 %at
  store i64 %w, ptr %p
  ret void
}

; runs @mode for 2 tasks with denormals flushed to zero, in the caller's mode
define void @modes(ptr %modes) {
  %old = alloca i32
  %new = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %old)
  %v = load i32, ptr %old
  %w = or i32 %v, 32768
  store i32 %w, ptr %new
  call void @llvm.x86.sse.ldmxcsr(ptr %new)
  call void @calque_parallel_for(ptr @mode, ptr %modes, i64 2, i64 -1)
  call void @llvm.x86.sse.ldmxcsr(ptr %old)
  ret void
}
"""

pytestmark = pytest.mark.skipif(not threads.supported(), reason="no thread pool on this platform")


@pytest.fixture(scope="module")
def tasks() -> jit.Library:
    imports = {"calque_parallel_for": threads.parallel_for_address()}
    exports = ["count", "meet", "nested", "modes", "who"]
    return jit.load({"tasks": compile_text(TASKS)}, imports, exports)


@pytest.fixture(autouse=True)
def several_threads() -> Iterator[None]:
    """Tests run with three threads wherever they run, and leave what they found."""
    before = threads.get_num_threads()
    threads.set_num_threads(3)
    yield
    threads.set_num_threads(before)


def parallel_for(function: int, argument: int, n: int, most: int = -1) -> None:
    PARALLEL(threads.parallel_for_address())(function, argument, n, most)


def count(tasks: jit.Library, n: int, repeats: int = 1) -> np.ndarray:
    counts = np.zeros(n, np.int64)
    for _ in range(repeats):
        parallel_for(tasks.address("count"), counts.ctypes.data, n)
    return counts


def meet(tasks: jit.Library, n: int) -> None:
    """Hangs unless n threads run at once."""
    arg = (ctypes.c_int64 * 2)(0, n)
    parallel_for(tasks.address("meet"), ctypes.addressof(arg), n)


def workers(n: int) -> list[Path]:
    """The folders in /proc of the pool's n threads, which may be just starting or ending."""
    deadline = time.monotonic() + 30
    while len(found := _workers()) != n:
        assert time.monotonic() < deadline, f"{len(found)} workers, not {n}"
    return found


def _workers() -> list[Path]:
    found: list[Path] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            if (task / "comm").read_text().strip() == "calque":
                found.append(task)
        except OSError:
            pass  # it ended meanwhile
    return found


@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 1000])
def test_every_task_runs_once(tasks: jit.Library, n: int) -> None:
    assert (count(tasks, n, 200) == 200).all()


def test_threads_run_at_once(tasks: jit.Library) -> None:
    for n in (3, 2, 3):
        for _ in range(20):
            meet(tasks, n)


def test_parked_workers_come(tasks: jit.Library) -> None:
    for _ in range(10):
        time.sleep(0.003)
        meet(tasks, 3)


@pytest.mark.parametrize("most", [1, 2])
def test_a_loop_says_how_many_threads_may_run_it(tasks: jit.Library, most: int) -> None:
    for _ in range(10):
        tids = np.full(100, -1, np.int64)
        parallel_for(tasks.address("who"), tids.ctypes.data, 100, most)
        assert tids.min() >= 0
        assert tids.max() < most


def test_loops_within_loops(tasks: jit.Library) -> None:
    counts = np.zeros(200, np.int64)
    for _ in range(50):
        parallel_for(tasks.address("nested"), counts.ctypes.data, 20)
    assert (counts == 50).all()


def test_python_threads_at_once(tasks: jit.Library) -> None:
    wrong: list[int] = []

    def work(k: int) -> None:
        if not (count(tasks, 100, 500) == 500).all():
            wrong.append(k)

    together(work)
    assert not wrong


def test_set_num_threads(tasks: jit.Library) -> None:
    for n in (1, 4, 2):
        threads.set_num_threads(n)
        assert threads.get_num_threads() == n
        assert (count(tasks, 100) == 1).all()
        workers(n - 1)
        if n > 1:
            meet(tasks, n)
    with pytest.raises(ValueError, match="positive number of threads, got 0"):
        threads.set_num_threads(0)


def test_resizing_while_loops_run(tasks: jit.Library) -> None:
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(1 for _ in range(100) if not (count(tasks, 50, 20) == 20).all())

    thread = threading.Thread(target=work)
    thread.start()
    k = 0
    while thread.is_alive():
        k += 1
        threads.set_num_threads(1 + k % 3)
    thread.join()
    assert not wrong


def test_workers_take_no_signals_and_inherit_no_binding(tasks: jit.Library) -> None:
    threads.set_num_threads(2)
    everywhere = os.sched_getaffinity(0)
    bound = {min(everywhere)}

    def start() -> None:
        os.sched_setaffinity(0, bound)  # of this thread
        count(tasks, 2)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (worker,) = workers(1)
    assert len(everywhere) == 1 or os.sched_getaffinity(int(worker.name)) != bound
    fields = dict(line.split(":\t", 1) for line in (worker / "status").read_text().splitlines())
    blocked = int(fields["SigBlk"], 16)
    for signal in (2, 10, 14, 15):
        assert blocked >> (signal - 1) & 1
    assert not blocked >> (11 - 1) & 1


def test_workers_compute_in_the_callers_floating_point_mode(tasks: jit.Library) -> None:
    modes = np.zeros(4, np.int64)
    modes[1] = 2
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(tasks.address("modes"))(modes.ctypes.data)
    assert ((modes[2:] & 32768) != 0).all()


def in_child(work: str, tasks: jit.Library) -> int:
    child = os.fork()
    if child == 0:
        try:
            good = (count(tasks, 100, 50) == 50).all() and not (work == "meet" and meet(tasks, 3))
            threads.set_num_threads(2)
            meet(tasks, 2)
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


def test_fork(tasks: jit.Library) -> None:
    count(tasks, 10)
    for _ in range(5):
        assert in_child("meet", tasks) == 0
    meet(tasks, 3)


def test_fork_while_a_loop_runs(tasks: jit.Library) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            count(tasks, 1000)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(5):
        assert in_child("count", tasks) == 0
    stop.set()
    thread.join()


def python(code: str, **env: str) -> str:
    path = os.pathsep.join(p for p in sys.path if p)
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path} | env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


EXIT = """
import ctypes, threading
from calque.runtime import jit, threads
threads.set_num_threads(3)
from llvmtext import compile_text
code = compile_text('''
define void @f(ptr %p, i64 %i, i64 %t) {
  ret void
}''')
library = jit.load({"f": code})
run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
    threads.parallel_for_address()
)
def forever():
    while True:
        run(library.address("f"), None, 100, -1)
run(library.address("f"), None, 100, -1)
"""


def test_exit_while_idle_and_while_a_loop_runs() -> None:
    python(EXIT)
    for _ in range(3):
        python(EXIT + "threading.Thread(target=forever, daemon=True).start()\n")


def test_nothing_is_loaded_by_import() -> None:
    out = python(
        "import calque.runtime.executable\n"
        "from calque.runtime import threads\n"
        "print(threads.get_num_threads() >= 1, threads._settings.pool)\n"
    )
    assert out == "True None\n"


def test_number_of_threads_from_the_environment() -> None:
    code = "from calque.runtime import threads\nprint(threads.get_num_threads())"
    assert python(code, CALQUE_NUM_THREADS="5") == "5\n"
    catch = f"try:\n exec({code!r})\nexcept ValueError as error: print(error)"
    assert "must be a number, not 'many'" in python(catch, CALQUE_NUM_THREADS="many")
    assert "positive number of threads, got 0" in python(catch, CALQUE_NUM_THREADS="0")


def test_the_pool_is_compiled_once(tmp_path: Path) -> None:
    code = "from calque.runtime import threads\nthreads.parallel_for_address()"
    for _ in range(2):
        python(code, CALQUE_CACHE_DIR=str(tmp_path / "cache"))
        assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1
    python(code, CALQUE_CACHE="0")


def test_the_pool_is_valid_llvm_ir() -> None:
    text = Path(threads.__file__).with_name("pool.ll").read_text()
    llvm.parse_assembly(text, context=llvm.create_context()).verify()


def test_without_the_pool_loops_run_in_the_caller(
    tasks: jit.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "supported", lambda: False)
    pool = threads._Pool(1)
    counts = np.zeros(10, np.int64)
    PARALLEL(pool.parallel_for)(tasks.address("count"), counts.ctypes.data, 10, -1)
    assert (counts == 1).all()
    assert threads._default_threads() == 1
    with pytest.raises(ValueError, match="there is only one on"):
        threads.set_num_threads(2)


def test_executables_use_the_pool() -> None:
    kernel = """
    declare void @calque_parallel_for(ptr, ptr, i64, i64)
    define internal void @task(ptr %x, i64 %i, i64 %tid) {
      %p = getelementptr i64, ptr %x, i64 %i
      store i64 %i, ptr %p
      ret void
    }
    define i32 @kernel(ptr %ctx, ptr %pointers, ptr %sizes, ptr %scalars) {
      %x = load ptr, ptr %pointers
      %n = load i64, ptr %sizes
      call void @calque_parallel_for(ptr @task, ptr %x, i64 %n, i64 -1)
      ret i32 0
    }
    """
    host = """
    declare i32 @k0(ptr, ptr, ptr, ptr)
    define i32 @main(ptr %ctx, ptr %pointers, ptr %sizes, ptr %scalars) {
      %s = call i32 @k0(ptr %ctx, ptr %pointers, ptr %sizes, ptr %scalars)
      ret i32 %s
    }
    define void @main.plan(ptr %sizes, ptr %out) {
      store i64 0, ptr %out
      %n = load i64, ptr %sizes
      %p = getelementptr i64, ptr %out, i64 1
      store i64 %n, ptr %p
      ret void
    }
    """
    artifact = Artifact(
        kernels=(KernelObject("k0", compile_text(kernel)),),
        host=compile_text(host),
        call_names=("k0",),
        params=(ParamSpec("out", "i64", ("N",), "output"),),
        symbols=("N",),
    )
    out = np.zeros(1000, np.int64)
    for program in (artifact, replace(artifact, host_messages=("unused",))):
        Executable(program).run([out.ctypes.data], (1000,))
        assert (out == np.arange(1000)).all()
        out[...] = 0


def test_the_cached_object_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALQUE_CACHE", raising=False)
    monkeypatch.setenv("CALQUE_CACHE_DIR", str(tmp_path))
    code = llvmtext.compiled(threads._SERIAL)
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        path.write_bytes(path.read_bytes()[:-1])
    assert llvmtext.compiled(threads._SERIAL) == code
    assert cache.default().root == tmp_path
