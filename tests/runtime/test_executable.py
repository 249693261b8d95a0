from __future__ import annotations

import ctypes
import gc
import pickle
import struct
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from calque.runtime import memory
from calque.runtime.artifact import Artifact, ParamSpec
from calque.runtime.executable import Executable, KernelError
from calque.runtime.jit import LinkError
from llvmtext import add_twice, compile_text
from together import together


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def run(exe: Executable, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    exe.run([a.ctypes.data for a in (x, y, out)], exe.sizes_of([x.shape, y.shape]))
    return out


def test_run() -> None:
    exe = Executable(add_twice())
    for n in (3, 0, 1000, 3):
        x, y = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
        np.testing.assert_array_equal(run(exe, x, y), x + 2)


def test_an_artifact_read_from_bytes_runs() -> None:
    exe = Executable(Artifact.from_bytes(add_twice().to_bytes()))
    assert run(exe, vector(1, 2), vector(3, 4)).tolist() == [7, 10]


def test_plan() -> None:
    exe = Executable(add_twice())
    plan = exe.plan([5])
    assert plan == (20, (5,))
    assert exe.plan((5,)) is plan
    call = exe.prepare((5,))
    assert (call.arena_bytes, call.shapes) == (20, ((5,), (5,), (5,)))
    assert exe.prepare([5]) is call
    with pytest.raises(TypeError, match="expected values for"):
        exe.plan((1, 2))


def test_failures_name_the_kernel_and_the_users_line() -> None:
    exe = Executable(add_twice())
    with pytest.raises(KernelError, match=r"x is negative\n  in k0_add \(add @ model.py:3\)") as e:
        run(exe, vector(-1), vector(0))
    assert (e.value.message, e.value.call) == ("x is negative", "k0_add")
    copy = pickle.loads(pickle.dumps(e.value))
    assert (str(copy), copy.source) == (str(e.value), ("add @ model.py:3",))
    with pytest.raises(KernelError, match=r"x \+ y is negative\n  in k1_add$"):
        run(exe, vector(1), vector(-2))
    with pytest.raises(KernelError, match=r"too many elements\n  in main"):
        run(exe, np.ones(1001, np.float32), np.ones(1001, np.float32))
    assert run(exe, vector(1), vector(2)).tolist() == [5]


def test_an_unknown_status_is_still_an_error() -> None:
    exe = Executable(replace(add_twice(), host_messages=()))
    with pytest.raises(KernelError, match="status 513"):
        run(exe, np.ones(1001, np.float32), np.ones(1001, np.float32))


def test_steps_after_the_first_allocate_nothing() -> None:
    exe = Executable(add_twice())
    x, y = vector(1, 2), vector(3, 4)
    run(exe, x, y)
    before = memory.stats()
    for _ in range(10):
        run(exe, x, y)
    after = memory.stats()
    assert after.system_allocations == before.system_allocations
    assert after.live_bytes == before.live_bytes


def test_threads() -> None:
    exe = Executable(add_twice())
    wrong: list[int] = []

    def work(k: int) -> None:
        x, y = np.full(500 + k, k, np.float32), np.ones(500 + k, np.float32)
        wrong.extend(k for _ in range(100) if not (run(exe, x, y) == k + 2).all())

    together(work)
    assert not wrong


def test_sizes_are_solved_and_checked() -> None:
    params = (
        ParamSpec("x", "f32", ("2*B", "T")),
        ParamSpec("y", "f32", ("B", 3)),
        ParamSpec("out", "f32", ("B", "T"), "output"),
    )
    exe = Executable(replace(add_twice(), params=params, symbols=("B", "T", "K")))
    assert exe.sizes_of([(8, 5), (4, 3)], {"K": 7}) == (4, 5, 7)
    with pytest.raises(ValueError, match=r"x: expected shape \(2\*B, T\) where .*B = 4, got"):
        exe.sizes_of([(9, 5), (4, 3)], {"K": 7})
    with pytest.raises(ValueError, match=r"y: expected shape \(B, 3\).*got \(4, 2\)"):
        exe.sizes_of([(8, 5), (4, 2)], {"K": 7})
    with pytest.raises(ValueError, match=r"y: expected shape \(B, 3\), got \(4,\)"):
        exe.sizes_of([(8, 5), (4,)], {"K": 7})
    with pytest.raises(ValueError, match="no input says what K is"):
        exe.sizes_of([(8, 5), (4, 3)])
    with pytest.raises(ValueError, match=r"x: nothing says what 'B' is in shape \(2\*B, T\)"):
        Executable(replace(exe.artifact, symbols=("T",))).prepare((5,))
    with pytest.raises(ValueError, match="expected 2 inputs, got 1"):
        exe.sizes_of([(8, 5)])


# Copies its sizes (6 of them) and its two scalars to the first pointer.
PROBE = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define i32 @main(ptr %ctx, ptr %pointers, ptr %sizes, ptr %scalars) {
  %p = load ptr, ptr %pointers
  call void @llvm.memcpy.p0.p0.i64(ptr %p, ptr %sizes, i64 56, i1 false)
  %q = getelementptr i64, ptr %p, i64 7
  call void @llvm.memcpy.p0.p0.i64(ptr %q, ptr %scalars, i64 16, i1 false)
  ret i32 0
}
define void @main.plan(ptr %sizes, ptr %out) {
  store i64 100, ptr %out
  ret void
}
"""


def probe() -> Artifact:
    params = (
        ParamSpec("x", "i64", ("N",), strides=(None,)),
        ParamSpec("y", "i64", (4, "N"), strides=(None, 1)),
        ParamSpec("z", "i64", (2,), "output"),
    )
    return Artifact((), compile_text(PROBE), (), (), params, ("N",), ("f32", "i64"))


def test_what_native_code_sees() -> None:
    exe = Executable(probe())
    seen = np.zeros(9, np.int64)
    pointers = [seen.ctypes.data, 0, 0]
    exe.run(pointers, (5,), (1.5, -7))
    one_and_a_half = struct.unpack("<q", struct.pack("<f4x", 1.5))[0]
    assert seen.tolist() == [5, 1, 5, 5, 100, 5, seen[6], one_and_a_half, -7]
    exe.run(pointers, (5,), (1.5, -7), strides=[(3,), (40, 1), None])
    assert seen[:6].tolist() == [5, 3, 5, 40, 100, 5]


def test_strides_that_code_relies_on_are_checked() -> None:
    exe = Executable(probe())
    with pytest.raises(ValueError, match=r"y: expected strides \(None, 1\), got \(4, 2\)"):
        exe.prepare((5,), [(1,), (4, 2), (1,)])
    with pytest.raises(ValueError, match=r"z: expected strides \(1,\), got \(2,\)"):
        exe.prepare((5,), [None, None, (2,)])
    with pytest.raises(ValueError, match="expected 3 strides"):
        exe.prepare((5,), [None])
    exe.prepare((1,), [(1,), (4, 2), (1,)])  # the stride of a dimension of size 1 is not used


def test_wrong_numbers_of_arguments() -> None:
    exe = Executable(probe())
    for pointers, scalars in [([1, 2], (1.0, 2)), ([1, 2, 3], (1.0,)), ([1, 2, 3], (1.0, 2.5))]:
        with pytest.raises(TypeError, match="takes 3 pointers"):
            exe.run(pointers, (5,), scalars)


def test_artifacts_that_cannot_run_here() -> None:
    with pytest.raises(ValueError, match="nvptx"):
        Executable(replace(probe(), kind="nvptx"))
    with pytest.raises(ValueError, match="'f8'"):
        Executable(replace(probe(), scalars=("f8",)))
    with pytest.raises(LinkError, match="undefined symbols 'k0_add'"):
        Executable(replace(add_twice(), kernels=(), call_names=()))


def test_code_is_unloaded_with_the_executable_and_its_calls() -> None:
    exe = Executable(add_twice())
    library = weakref.ref(exe._program.library)
    call = exe.prepare((2,))
    gc.disable()  # reference counts alone must do
    try:
        del exe
        x, y, out = vector(1, 2), vector(3, 4), vector(0, 0)
        call.run([a.ctypes.data for a in (x, y, out)])
        assert out.tolist() == [7, 10]
        del call
        assert library() is None
    finally:
        gc.enable()


def test_calls_release_the_interpreter() -> None:
    """A run that waits for another Python thread must not deadlock."""
    spin = """
    define i32 @main(ptr %ctx, ptr %pointers, ptr %sizes, ptr %scalars) {
    entry:
      %p = load ptr, ptr %pointers
      br label %loop
    loop:
      %v = load atomic i64, ptr %p acquire, align 8
      %set = icmp ne i64 %v, 0
      br i1 %set, label %done, label %loop
    done:
      ret i32 0
    }
    define void @main.plan(ptr %sizes, ptr %out) {
      store i64 0, ptr %out
      ret void
    }
    """
    exe = Executable(Artifact((), compile_text(spin), params=(ParamSpec("x", "i64", (1,)),)))
    flag = ctypes.c_int64(0)
    thread = threading.Thread(target=lambda: exe.run([ctypes.addressof(flag)]))
    thread.start()
    flag.value = 1
    thread.join(30)
    assert not thread.is_alive()
