"""Views and strides: what a kernel reads through them is what NumPy reads."""

from __future__ import annotations

import numpy as np
import pytest

from calque.codegen.errors import CodegenError

from .machine import Kernel


def grid(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


def copy_kernel(params: str, view: str, source: str, shape: tuple[int, ...]) -> str:
    """A kernel that copies `source`, a memref value of the given shape, to a contiguous one."""
    rank = len(shape)
    ids = ", ".join(f"%i{d}" for d in range(rank))
    ty = "x".join(map(str, shape))
    loops = "".join(
        f"%n{d} = arith.constant {n} : index\nscf.for %i{d} = %c0 to %n{d} step %c1 {{\n"
        for d, n in enumerate(shape)
    )
    name, source_type = source.split(" : ", 1)
    return (
        f"func.func private @copy({params}, %out: memref<{ty}xf32>) {{\n"
        "%c0 = arith.constant 0 : index\n%c1 = arith.constant 1 : index\n"
        f"{view}\n{loops}%v = memref.load {name}[{ids}] : {source_type}\n"
        f"memref.store %v, %out[{ids}] : memref<{ty}xf32>\n" + "}\n" * rank + "func.return\n}"
    )


STRIDED = "memref<?x?xf32, strided<[?, ?], offset: ?>>"


def test_dynamic_strides() -> None:
    base = grid(8, 10)
    view = base[1::2, 9:1:-3]
    text = copy_kernel(f"%m: {STRIDED}", "", f"%m : {STRIDED}", view.shape)
    out = np.zeros(view.shape, "f4")
    strides = [s // 4 for s in view.strides]
    assert Kernel(text)(view, out, sizes=[*view.shape, *strides]) == 0
    np.testing.assert_array_equal(out, view)


def test_partly_static_strides() -> None:
    ty = "memref<?x5xf32, strided<[?, 1]>>"
    view = grid(4, 9)[:, :5]
    text = copy_kernel(f"%m: {ty}", "", f"%m : {ty}", view.shape)
    out = np.zeros(view.shape, "f4")
    assert Kernel(text)(view, out, sizes=[4, 9]) == 0
    np.testing.assert_array_equal(out, view)


def test_zero_stride() -> None:
    ty = "memref<4x3xf32, strided<[0, 1]>>"
    view = np.broadcast_to(grid(3), (4, 3))
    text = copy_kernel(f"%m: {ty}", "", f"%m : {ty}", view.shape)
    out = np.zeros(view.shape, "f4")
    assert Kernel(text)(view, out) == 0
    np.testing.assert_array_equal(out, view)


@pytest.mark.parametrize(
    ("view", "source", "expected"),
    [
        pytest.param(
            "%s = memref.subview %m[1, 2] [2, 3] [1, 2] : memref<4x8xf32> "
            "to memref<2x3xf32, strided<[8, 2], offset: 10>>",
            "%s : memref<2x3xf32, strided<[8, 2], offset: 10>>",
            grid(4, 8)[1:3, 2:8:2],
            id="subview",
        ),
        pytest.param(
            "%s = memref.subview %m[%c1, 0] [1, 8] [1, 1] : memref<4x8xf32> "
            "to memref<8xf32, strided<[1], offset: ?>>",
            "%s : memref<8xf32, strided<[1], offset: ?>>",
            grid(4, 8)[1],
            id="row",
        ),
        pytest.param(
            "%s = memref.subview %m[0, %c1] [4, 1] [1, 1] : memref<4x8xf32> "
            "to memref<4xf32, strided<[8], offset: ?>>",
            "%s : memref<4xf32, strided<[8], offset: ?>>",
            grid(4, 8)[:, 1],
            id="column",
        ),
        pytest.param(
            "%s = memref.subview %m[%c1, 0] [1, 1] [1, 1] : memref<4x8xf32> "
            "to memref<1xf32, strided<[1], offset: ?>>",
            "%s : memref<1xf32, strided<[1], offset: ?>>",
            grid(4, 8)[1, :1],
            id="one-of-two-units",
        ),
        pytest.param(
            "%s = memref.collapse_shape %m [[0, 1]] : memref<4x8xf32> into memref<32xf32>",
            "%s : memref<32xf32>",
            grid(32),
            id="collapse",
        ),
        pytest.param(
            "%c2 = arith.constant 2 : index\n"
            "%s = memref.expand_shape %m [[0], [1, 2]] output_shape[4, %c2, 4] "
            ": memref<4x8xf32> into memref<4x?x4xf32>",
            "%s : memref<4x?x4xf32>",
            grid(4, 2, 4),
            id="expand",
        ),
        pytest.param(
            "%s = memref.reinterpret_cast %m to offset: [3], sizes: [5, 2], strides: [6, 1] "
            ": memref<4x8xf32> to memref<5x2xf32, strided<[6, 1], offset: 3>>",
            "%s : memref<5x2xf32, strided<[6, 1], offset: 3>>",
            np.lib.stride_tricks.as_strided(grid(32)[3:], (5, 2), (24, 4)),
            id="reinterpret",
        ),
        pytest.param(
            '%d = "memref.cast"(%m) : (memref<4x8xf32>) -> memref<?x8xf32>\n'
            "%s = memref.collapse_shape %d [[0, 1]] : memref<?x8xf32> into memref<?xf32>",
            "%s : memref<?xf32>",
            grid(32),
            id="cast",
        ),
    ],
)
def test_views(view: str, source: str, expected: np.ndarray) -> None:
    text = copy_kernel("%m: memref<4x8xf32>", view, source, expected.shape)
    out = np.zeros(expected.shape, "f4")
    assert Kernel(text)(grid(4, 8), out) == 0
    np.testing.assert_array_equal(out, expected)


def test_reinterpret_counts_from_the_buffer() -> None:
    view = (
        "%s = memref.subview %m[2, 0] [2, 8] [1, 1] : memref<4x8xf32> "
        "to memref<2x8xf32, strided<[8, 1], offset: 16>>\n"
        "%r = memref.reinterpret_cast %s to offset: [1], sizes: [4], strides: [2] "
        ": memref<2x8xf32, strided<[8, 1], offset: 16>> to memref<4xf32, strided<[2], offset: 1>>"
    )
    text = copy_kernel(
        "%m: memref<4x8xf32>", view, "%r : memref<4xf32, strided<[2], offset: 1>>", (4,)
    )
    out = np.zeros(4, "f4")
    assert Kernel(text)(grid(4, 8), out) == 0
    np.testing.assert_array_equal(out, [1, 3, 5, 7])


def test_collapse_ignores_unit_dims() -> None:
    source = grid(3, 6)[:, None, ::2]
    ty = "memref<3x1x3xf32, strided<[6, 77, 2]>>"
    result = "memref<3x3xf32, strided<[6, 2]>>"
    view = f"%s = memref.collapse_shape %m [[0, 1], [2]] : {ty} into {result}"
    out = np.zeros((3, 3), "f4")
    text = copy_kernel(f"%m: {ty}", view, f"%s : {result}", (3, 3))
    assert Kernel(text)(source, out) == 0
    np.testing.assert_array_equal(out, source[:, 0])


def test_view_of_bytes_and_dim() -> None:
    text = """
    func.func private @f(%m: memref<?xi8>, %out: memref<2xindex>, %n: index) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c8 = arith.constant 8 : index
      %x = arith.constant 1.5 : f64
      %v = memref.view %m[%c8][%n] : memref<?xi8> to memref<?x3xf64>
      memref.store %x, %v[%c1, %c1] : memref<?x3xf64>
      %d0 = memref.dim %v, %c0 : memref<?x3xf64>
      %d1 = memref.dim %v, %c1 : memref<?x3xf64>
      memref.store %d0, %out[%c0] : memref<2xindex>
      memref.store %d1, %out[%c1] : memref<2xindex>
      func.return
    }"""
    raw, out = np.zeros(200, "u1"), np.zeros(2, "i8")
    assert Kernel(text)(raw, out, sizes=[200, 7]) == 0
    assert out.tolist() == [7, 3]
    assert raw[8:].view("f8").tolist() == [0, 0, 0, 0, 1.5, *[0] * 19]


def test_scratch_in_tasks() -> None:
    """Each task has scratch of its own."""
    text = """
    func.func private @f(%out: memref<5xindex>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c5 = arith.constant 5 : index
      "scf.parallel"(%c0, %c5, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
      ^bb0(%i: index):
        %scratch = memref.alloca() : memref<4x4xindex>
        memref.store %i, %scratch[%c1, %c1] : memref<4x4xindex>
        %v = memref.load %scratch[%c1, %c1] : memref<4x4xindex>
        %w = arith.muli %v, %v : index
        memref.store %w, %out[%i] : memref<5xindex>
        scf.reduce
      }) {calque.map = "threads"} : (index, index, index) -> ()
      func.return
    }"""
    out = np.zeros(5, "i8")
    kernel = Kernel(text)
    assert kernel(out) == 0
    assert out.tolist() == [0, 1, 4, 9, 16]
    assert "alloca i64, i64 16, align 64" in kernel.source.text.split("task0(ptr %captured")[1]


@pytest.mark.parametrize("inner", [1, 2])
def test_copy(inner: int) -> None:
    ty = f"memref<?x3xf32, strided<[?, {inner}]>>"
    text = f"""
    func.func private @f(%a: {ty}, %out: memref<?x3xf32>) {{
      "memref.copy"(%a, %out) : ({ty}, memref<?x3xf32>) -> ()
      func.return
    }}"""
    view = grid(4, 8)[:, : 3 * inner : inner]
    out = np.zeros((4, 3), "f4")
    assert Kernel(text)(view, out, sizes=[4, 8, 4]) == 0
    np.testing.assert_array_equal(out, view)


def test_contiguous_copy_is_one_block() -> None:
    text = """
    func.func private @f(%a: memref<?x3xf32>, %out: memref<?x3xf32>) {
      "memref.copy"(%a, %out) : (memref<?x3xf32>, memref<?x3xf32>) -> ()
      func.return
    }"""
    kernel, out = Kernel(text), np.zeros((4, 3), "f4")
    assert kernel(grid(4, 3), out, sizes=[4, 4]) == 0
    np.testing.assert_array_equal(out, grid(4, 3))
    assert "llvm.memcpy" in kernel.source.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%m = memref.alloc() : memref<4xf32>", "planned into the arena"),
        (
            "%n = arith.constant 3 : index\n%m = memref.alloca(%n) : memref<?xf32>",
            "must have a static shape",
        ),
        ("%m = memref.alloca() : memref<4xi1>", "bools are stored as i8"),
        (
            """%m = memref.alloca() : memref<4xf32>
            %s = "memref.cast"(%m) : (memref<4xf32>) -> memref<*xf32>""",
            "unranked",
        ),
    ],
)
def test_refused(body: str, message: str) -> None:
    with pytest.raises(CodegenError, match=message):
        Kernel(f"func.func private @f() {{\n{body}\nfunc.return\n}}")
