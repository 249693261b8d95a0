"""Kernels for GPUs: their PTX, what the assembler says of it, and what they compute."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from calque.codegen.nvptx import ptx_text
from calque.ir.target import PTX_VERSIONS, Target

from .assembler import assemble
from .blocks import DeviceKernel
from .gputext import device_of, grid, kernel, loop, two_dimensional
from .machine import parse

SCALE = kernel(
    "%x: memref<?xf32>, %out: memref<?xf32>, %s: f32",
    "%n = memref.dim %x, %c0 : memref<?xf32>\n"
    + loop(
        "block",
        "%b to %n step %c256",
        loop(
            "thread",
            "%t to %c256 step %c1",
            """
            %i = arith.addi %b, %t : index
            %inside = arith.cmpi slt, %i, %n : index
            scf.if %inside {
              %v = memref.load %x[%i] : memref<?xf32>
              %w = arith.mulf %v, %s : f32
              %y = arith.addf %w, %s : f32
              memref.store %y, %out[%i] : memref<?xf32>
            }
            """,
        ),
    ),
)

# Each row's sum, by a block: threads add up strided elements, warps by shuffles, and the first
# warp the warps' sums.
ROW_SUM = kernel(
    "%x: memref<?x?xf32>, %out: memref<?xf32>",
    """
    %rows = memref.dim %x, %c0 : memref<?x?xf32>
    %columns = memref.dim %x, %c1 : memref<?x?xf32>
    """
    + loop(
        "block",
        "%row to %rows step %c1",
        "%sums = memref.alloca() : memref<8xf32, 3>\n"
        + loop(
            "thread",
            "%t to %c256 step %c1",
            """
            %own = scf.for %j = %t to %columns step %c256 iter_args(%acc = %zero) -> (f32) {
              %v = memref.load %x[%row, %j] : memref<?x?xf32>
              %next = arith.addf %acc, %v : f32
              scf.yield %next : f32
            }
            %s0 = tile.shuffle %own xor 16 : f32
            %a0 = arith.addf %own, %s0 : f32
            %s1 = tile.shuffle %a0 xor 8 : f32
            %a1 = arith.addf %a0, %s1 : f32
            %s2 = tile.shuffle %a1 xor 4 : f32
            %a2 = arith.addf %a1, %s2 : f32
            %s3 = tile.shuffle %a2 xor 2 : f32
            %a3 = arith.addf %a2, %s3 : f32
            %s4 = tile.shuffle %a3 xor 1 : f32
            %a4 = arith.addf %a3, %s4 : f32
            %warp = arith.divui %t, %c32 : index
            memref.store %a4, %sums[%warp] : memref<8xf32, 3>
            tile.barrier
            %lane = arith.remui %t, %c8 : index
            %p = memref.load %sums[%lane] : memref<8xf32, 3>
            %s5 = tile.shuffle %p xor 4 : f32
            %a5 = arith.addf %p, %s5 : f32
            %s6 = tile.shuffle %a5 xor 2 : f32
            %a6 = arith.addf %a5, %s6 : f32
            %s7 = tile.shuffle %a6 xor 1 : f32
            %a7 = arith.addf %a6, %s7 : f32
            %first = arith.cmpi eq, %t, %c0 : index
            scf.if %first {
              memref.store %a7, %out[%row] : memref<?xf32>
            }
            """,
        ),
    ),
)


# A transposition through tiles of 16 x 16, whose rows are one element longer than they need be.
TRANSPOSE = kernel(
    "%x: memref<?x?xf32>, %out: memref<?x?xf32>",
    """
    %rows = memref.dim %x, %c0 : memref<?x?xf32>
    %columns = memref.dim %x, %c1 : memref<?x?xf32>
    """
    + two_dimensional(
        "block",
        "%r, %c",
        "%rows, %columns",
        "%c16, %c16",
        "%tile = memref.alloca() : memref<16x17xf32, 3>\n"
        + "\n".join(
            two_dimensional(
                "thread",
                f"%i{n}, %j{n}",
                "%c16, %c16",
                "%c1, %c1",
                f"""
                %row{n} = arith.addi {"%r" if n == 0 else "%c"}, %i{n} : index
                %column{n} = arith.addi {"%c" if n == 0 else "%r"}, %j{n} : index
                %a{n} = arith.cmpi slt, %row{n}, {"%rows" if n == 0 else "%columns"} : index
                %b{n} = arith.cmpi slt, %column{n}, {"%columns" if n == 0 else "%rows"} : index
                %inside{n} = arith.andi %a{n}, %b{n} : i1
                scf.if %inside{n} {{ {access} }}
                """,
            )
            for n, access in enumerate(
                (
                    """
                    %v = memref.load %x[%row0, %column0] : memref<?x?xf32>
                    memref.store %v, %tile[%i0, %j0] : memref<16x17xf32, 3>
                    """,
                    """
                    %v = memref.load %tile[%j1, %i1] : memref<16x17xf32, 3>
                    memref.store %v, %out[%row1, %column1] : memref<?x?xf32>
                    """,
                )
            )
        ),
    ),
)

KERNELS = {"scale": SCALE, "row sum": ROW_SUM, "transpose": TRANSPOSE}


def ptx(text: str, arch: str = "sm_80") -> str:
    return ptx_text(parse(text), Target.nvptx(arch))["k"]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("f4")


# -- what they compute ------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 1000])
def test_scale(n: int, backwards: bool) -> None:
    x, out = random(n), np.full(n + 8, -1, "f4")
    run = DeviceKernel(SCALE)
    assert run(x, out, sizes=[n, n], scalars=[np.float32(3)], backwards=backwards) == 0
    np.testing.assert_array_equal(out[:n], x * np.float32(3) + np.float32(3))
    assert (out[n:] == -1).all()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("columns", [0, 5, 256, 700])
def test_row_sum(columns: int, backwards: bool) -> None:
    x, out = random(3, columns), np.zeros(3, "f4")
    assert DeviceKernel(ROW_SUM)(x, out, sizes=[3, columns, 3], backwards=backwards) == 0
    parts = np.zeros((3, -(-columns // 256) * 256 or 256), "f4")
    parts[:, :columns] = x
    sums = np.add.reduce(parts.reshape(3, -1, 256), axis=1)  # sequential over few rows
    for width in (16, 8, 4, 2, 1):
        lanes = sums.reshape(3, -1, 2, width)
        sums = (lanes[:, :, 0] + lanes[:, :, 1]).reshape(3, -1)
    for width in (4, 2, 1):
        sums = sums[:, :width] + sums[:, width:]
    np.testing.assert_array_equal(out, sums[:, 0])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("shape", [(16, 16), (1, 40), (50, 33)])
def test_transpose(shape: tuple[int, int], backwards: bool) -> None:
    x, out = random(*shape), np.zeros(shape[::-1], "f4")
    sizes = [*shape, *shape[::-1]]
    assert DeviceKernel(TRANSPOSE)(x, out, sizes=sizes, backwards=backwards) == 0
    np.testing.assert_array_equal(out, x.T)


def test_missing_barrier_shows() -> None:
    """What the tests above rely on."""
    run = DeviceKernel(ROW_SUM.replace("tile.barrier", ""))
    x = random(3, 700)
    sums = []
    for backwards in (False, True):
        out = np.zeros(3, "f4")
        run(x, out, sizes=[3, 700, 3], backwards=backwards)
        sums.append(out)
    assert not np.array_equal(*sums)


def test_launches_follow_each_other() -> None:
    """Two loops over blocks: the second reads what all blocks of the first wrote. Threads beyond
    the count of a smaller loop rest."""
    body = grid(
        "%n step %c1",
        "%c4",
        """
        %i = arith.muli %b, %c4 : index
        %at = arith.addi %i, %t : index
        memref.store %s, %x[%at] : memref<?xf32>
        """,
    ) + loop(
        "block",
        "%d to %c1 step %c1",
        loop(
            "thread",
            "%u to %c32 step %c8",
            """
            %v = memref.load %x[%u] : memref<?xf32>
            %w = arith.addf %v, %v : f32
            memref.store %w, %x[%u] : memref<?xf32>
            """,
        ),
    )
    run = DeviceKernel(kernel("%x: memref<?xf32>, %n: index, %s: f32", body))
    assert [(f.entry, f.grid, f.block) for f in run.source.launches] == [
        ("kernel", "max(s1, 0)", 4),
        ("kernel_1", 1, 4),
    ]
    x = np.zeros(40, "f4")
    assert run(x, sizes=[40, 8], scalars=[np.float32(3)]) == 0
    expected = np.where(np.arange(40) < 32, np.where(np.arange(40) % 8, 3, 6), 0)
    np.testing.assert_array_equal(x, expected)


def test_threads_wait_after_their_loop() -> None:
    """Loops over threads inside a loop of the block, one of them over fewer threads."""
    body = loop(
        "block",
        "%b to %c1 step %c1",
        "%m = memref.alloca() : memref<64xi64, 3>\n"
        "%one = arith.constant 1 : i64\n%c63 = arith.constant 63 : index\n"
        "%c64 = arith.constant 64 : index\n"
        + loop(
            "thread",
            "%t to %c64 step %c1",
            "%n = arith.index_cast %t : index to i64\nmemref.store %n, %m[%t] : memref<64xi64, 3>",
        )
        + "scf.for %k = %c0 to %c4 step %c1 {\n"
        + "%v = memref.alloca() : memref<64xi64, 3>\n"
        + loop(
            "thread",
            "%t to %c63 step %c1",
            """
            %next = arith.addi %t, %c1 : index
            %a = memref.load %m[%next] : memref<64xi64, 3>
            memref.store %a, %v[%t] : memref<64xi64, 3>
            """,
        )
        + loop(
            "thread",
            "%t to %c63 step %c1",
            """
            %a = memref.load %v[%t] : memref<64xi64, 3>
            memref.store %a, %m[%t] : memref<64xi64, 3>
            """,
        )
        + "}\n"
        + loop(
            "thread",
            "%t to %c64 step %c1",
            """
            %a = memref.load %m[%t] : memref<64xi64, 3>
            memref.store %a, %out[%t] : memref<64xi64>
            """,
        ),
    )
    for backwards in (False, True):
        out = np.zeros(64, "i8")
        assert DeviceKernel(kernel("%out: memref<64xi64>", body))(out, backwards=backwards) == 0
        np.testing.assert_array_equal(out, np.minimum(np.arange(64) + 4, 63))


@pytest.mark.parametrize("ty", ["i32", "i64", "f32", "f64"])
def test_shuffle(ty: str) -> None:
    dtype = np.dtype({"i32": "i4", "i64": "i8", "f32": "f4", "f64": "f8"}[ty])
    body = grid(
        "%c1 step %c1",
        "%c256",
        f"""
        %v = memref.load %x[%t] : memref<256x{ty}>
        %w = tile.shuffle %v xor 5 : {ty}
        memref.store %w, %x[%t] : memref<256x{ty}>
        """,
    )
    x = np.random.default_rng(0).integers(-(2**30), 2**30, 256).astype(dtype) * dtype.type(3)
    expected = x[np.arange(256) ^ 5]
    assert DeviceKernel(kernel(f"%x: memref<256x{ty}>", body))(x) == 0
    np.testing.assert_array_equal(x, expected)


def test_assertions() -> None:
    body = """
      cf.assert %flag, "first"
    """ + grid(
        "%n step %c1",
        "%c4",
        """
        %good = arith.cmpi slt, %b, %c8 : index
        cf.assert %good, "second"
        """,
    )
    run = DeviceKernel(kernel("%n: index, %flag: i1", body))
    for n, flag, status in ((8, True, 0), (9, True, 2), (9, False, 1), (0, False, 0)):
        assert run(sizes=[n], scalars=[np.bool_(flag)]) == status
    assert run.source.messages == ("first", "second")


def test_grid_of_sizes() -> None:
    body = (
        """
        %c10 = arith.constant 10 : index
        %half = arith.ceildivui %n, %c4 : index
        %more = arith.muli %half, %c8 : index
        %less = arith.minsi %more, %m : index
        scf.parallel (%i, %j) = (%c4, %c0) to (%less, %c10) step (%c8, %c4) {
        """
        + loop("thread", "%t to %c32 step %c1", "")
        + '}{calque.map = "block"}'
    )
    (launch,) = device_of(kernel("%n: index, %m: index", body)).launches
    for n, m in ((0, 0), (5, 100), (100, 77), (1, 4)):
        rows = len(range(4, min(-(-n // 4) * 8, m), 8))
        assert launch.blocks([n, m]) == rows * 3
    with pytest.raises(ValueError, match="more than 2147483647"):
        launch.blocks([1 << 40, 1 << 40])


# -- PTX --------------------------------------------------------------------------------------


def test_entry() -> None:
    text = ptx(SCALE, "sm_90")
    assert ".version 8.0\n.target sm_90\n" in text
    head = text[text.index(".visible .entry k(") : text.index("{")]
    params = re.findall(r"\.param (.*) k_param_\d", head)
    array = ".u64 .ptr .global .align 64"
    assert params == [array, array, ".u64", ".u64", ".f32"]
    assert ".reqntid 256, 1, 1" in head


def test_arithmetic_is_not_contracted() -> None:
    """A product and a sum stay two roundings: the assembler may not merge what says .rn."""
    text = ptx(SCALE)
    assert "mul.rn.f32" in text and "add.rn.f32" in text
    assert "fma" not in text


def test_address_spaces() -> None:
    text = ptx(ROW_SUM)
    assert "ld.global.b32" in text and "st.global.b32" in text
    assert ".shared .align 16 .b8 k_shared0[32];" in text
    assert "ld.shared.b32" in text and "st.shared.b32" in text
    assert not re.search(r"\b(ld|st)\.b32", text)
    assert text.count("shfl.sync.bfly.b32") == 8
    assert text.count("bar.sync \t0;") == 1


def test_aligned_vectors_are_one_access() -> None:
    body = grid(
        "%c8 step %c1",
        "%c32",
        """
        %i = arith.muli %t, %c4 : index
        %v = vector.load %x[%b, %i] {alignment = 16 : i64} : memref<8x128xf32>, vector<4xf32>
        %w = arith.addf %v, %v : vector<4xf32>
        vector.store %w, %x[%b, %i] {alignment = 16 : i64} : memref<8x128xf32>, vector<4xf32>
        """,
    )
    text = kernel("%x: memref<8x128xf32>", body)
    assert "ld.global.v4.b32" in ptx(text)
    assert "st.global.v4.b32" in ptx(text)
    x = random(8, 128)
    expected = x + x
    assert DeviceKernel(text)(x) == 0
    np.testing.assert_array_equal(x, expected)


# -- the assembler ----------------------------------------------------------------------------


@pytest.mark.parametrize("arch", PTX_VERSIONS)
@pytest.mark.parametrize("name", KERNELS)
def test_assembles_without_spills(name: str, arch: str, tmp_path: Path) -> None:
    report = assemble(ptx(KERNELS[name], arch), arch, tmp_path)
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in report
    assert "warning" not in report
