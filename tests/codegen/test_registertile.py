from __future__ import annotations

import dataclasses
import re

import ml_dtypes
import numpy as np
import pytest

from calque.codegen.cpu import assembly
from calque.codegen.errors import CodegenError
from calque.codegen.kernel import kernel_text
from calque.ir.target import Target

from .machine import Kernel, functions, parse

DTYPES = {"f32": np.dtype("f4"), "f64": np.dtype("f8"), "bf16": np.dtype(ml_dtypes.bfloat16)}
HOST = Target.host()
V3 = dataclasses.replace(
    HOST, cpu="x86-64-v3", features="+avx2,+fma", vector_bits=256, registers=16
)
V4 = dataclasses.replace(HOST, cpu="x86-64-v4", features="", vector_bits=512, registers=32)
on_x86 = pytest.mark.skipif(not HOST.triple.startswith("x86_64"), reason="reads x86 assembly")


def source(
    mr: int,
    nr: int,
    dtype: str = "f32",
    *,
    a: str = "?, ?",
    narrow: str = "",
    masked: bool = False,
    prefetch: int = 0,
    flags: str = "",
    epilogue: str = "",
) -> str:
    """A kernel of one tile at A[1, 2], B[2, 3], C[1, 3]; `a` are the strides of A.

    Where the result is `transposed`, C lies column by column.
    """
    element = narrow or dtype
    types = (
        f"memref<?x?x{element}, strided<[{a}]>>",
        f"memref<?x?x{element}, strided<[?, 1]>>",
        f"memref<?x?x{dtype}, strided<[{'1, ?' if 'transposed' in flags else '?, 1'}]>>",
    )
    return f"""
func.func private @k(%a: {types[0]}, %b: {types[1]}, %c: {types[2]}, %k: index, %n: index,
                     %acc: i1, %bias: memref<?x{dtype}>) attributes {{calque.kernel}} {{
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  tile.matmul %a[%c1, %c2], %b[%c2, %c3], %c[%c1, %c3], k=%k, n=%n, acc=%acc
    {{mr = {mr} : i64, nr = {nr} : i64, masked = {str(masked).lower()},
      prefetch = {prefetch} : i64{flags}}}
    {epilogue} : {types[0]}, {types[1]}, {types[2]}
  func.return
}}
"""


class Problem:
    """Matrices of small integers, so that every order of summation gives the same result."""

    def __init__(self, mr: int, nr: int, k: int, dtype: str, narrow: str = "") -> None:
        random = np.random.default_rng(mr * 100 + nr)
        element = DTYPES[narrow or dtype]
        self.shape = mr, nr, k
        self.a = random.integers(-4, 5, (mr + 2, k + 4)).astype(element)
        self.b = random.integers(-4, 5, (k + 3, nr + 5)).astype(element)
        self.c = random.integers(-9, 10, (mr + 3, nr + 7)).astype(DTYPES[dtype])
        self.bias = random.integers(-9, 10, nr + 7).astype(DTYPES[dtype])

    def expected(self, n: int, acc: bool) -> np.ndarray:
        mr, _, k = self.shape
        out = self.c.copy()
        tile = out[1 : 1 + mr, 3 : 3 + n]
        a, b = self.a[1 : 1 + mr, 2 : 2 + k], self.b[2 : 2 + k, 3 : 3 + n]
        tile[:] = (tile if acc else 0) + a.astype(out.dtype) @ b.astype(out.dtype)
        return out

    def run(
        self,
        kernel: Kernel,
        n: int,
        acc: bool,
        a: np.ndarray | None = None,
        *,
        dynamic: bool = True,
        transposed: bool = False,
    ) -> np.ndarray:
        """C after the kernel; `a` is A in another layout, `dynamic` says its strides are sizes,
        `transposed` that C lies column by column."""
        _, nr, k = self.shape
        a = self.a if a is None else a
        c = self.c.copy("F" if transposed else "C")
        strides = [s // a.itemsize for s in a.strides] if dynamic else []
        outer = c.shape[0 if transposed else 1]
        sizes = [*a.shape, *strides, *self.b.shape, self.b.shape[1], *c.shape, outer]
        arrays = (a, self.b, c, self.bias)
        status = kernel(*arrays, sizes=[*sizes, k, n, nr + 7], scalars=[np.bool_(acc)])
        assert status == 0
        return c


def shapes() -> list[tuple[str, int, int]]:
    """All row counts up to the largest tile, with the target's vectors."""
    rows, vectors = HOST.tile_shape
    full = [
        (dtype, mr, vectors * HOST.width(8 * DTYPES[dtype].itemsize))
        for dtype in ("f32", "f64")
        for mr in range(1, rows + 1)
    ]
    return [*full, ("f32", 3, 4), ("f32", 5, 2), ("f64", 4, 1), ("f32", 1, 256)]


@pytest.mark.parametrize(("dtype", "mr", "nr"), shapes())
def test_full_tiles(dtype: str, mr: int, nr: int) -> None:
    kernel = Kernel(source(mr, nr, dtype))
    for k in (0, 1, 7, 33):
        problem = Problem(mr, nr, k, dtype)
        for acc in (False, True):
            assert (problem.run(kernel, nr, acc) == problem.expected(nr, acc)).all()


@pytest.mark.parametrize(("dtype", "mr", "nr"), shapes())
def test_masked_tiles(dtype: str, mr: int, nr: int) -> None:
    kernel = Kernel(source(mr, nr, dtype, masked=True, prefetch=8))
    problem = Problem(mr, nr, 9, dtype)
    for n in {0, 1, nr // 2, nr - 1, nr}:
        for acc in (False, True):
            assert (problem.run(kernel, n, acc) == problem.expected(n, acc)).all()


@pytest.mark.parametrize(("dtype", "mr", "nr"), shapes())
def test_transposed_tiles(dtype: str, mr: int, nr: int) -> None:
    full = Kernel(source(mr, nr, dtype, flags=", transposed"))
    masked = Kernel(source(mr, nr, dtype, masked=True, flags=", transposed"))
    for k in (0, 1, 9):
        problem = Problem(mr, nr, k, dtype)
        for acc in (False, True):
            got = problem.run(full, nr, acc, transposed=True)
            assert (got == problem.expected(nr, acc)).all()
            for n in {0, 1, nr // 2, nr}:
                got = problem.run(masked, n, acc, transposed=True)
                assert (got == problem.expected(n, acc)).all()


def test_padded_tiles_and_memory_ahead() -> None:
    """What is only asked for changes nothing; a padded B has more columns than C."""
    kernel = Kernel(source(5, 32, masked=True, prefetch=8, flags=", padded, ahead"))
    problem = Problem(5, 32, 9, "f32")
    for n in (0, 1, 17, 32):
        assert (problem.run(kernel, n, True) == problem.expected(n, True)).all()


def test_layouts_of_a() -> None:
    """Row-major, column-major, a packed panel with literal strides, and every other element."""
    mr, nr, k = 6, 16, 12
    problem = Problem(mr, nr, k, "f32")
    want = problem.expected(nr, True)
    a = problem.a
    wide = np.zeros((a.shape[0], 2 * a.shape[1]), a.dtype)
    wide[:, ::2] = a
    strided = Kernel(source(mr, nr, a="?, ?"))
    for layout in (a, np.asfortranarray(a), wide[:, ::2]):
        assert (problem.run(strided, nr, True, layout) == want).all()
    rows, columns = a.shape
    panel = Kernel(source(mr, nr, a=f"1, {rows}"))
    assert (problem.run(panel, nr, True, np.asfortranarray(a), dynamic=False) == want).all()
    dense = Kernel(source(mr, nr, a=f"{columns}, 1"))
    assert (problem.run(dense, nr, True, a, dynamic=False) == want).all()


def test_narrow_inputs_are_widened() -> None:
    problem = Problem(5, 32, 11, "f32", narrow="bf16")
    for masked in (False, True):
        kernel = Kernel(source(5, 32, narrow="bf16", masked=masked))
        assert (problem.run(kernel, 32, True) == problem.expected(32, True)).all()


def epilogue(width: int, ops: str) -> str:
    vector = f"vector<{width}xf32>"
    return f"""epilogue {{
    ^bb0(%row: index, %col: index, %v: {vector}):
      {ops.replace("VEC", vector)}
      tile.yield %r : {vector}
    }}"""


BIAS = """%w = vector.load %bias[%col] : memref<?xf32>, VEC
      %r = arith.addf %v, %w : VEC"""

HEAVY = """%i = arith.index_cast %row : index to i32
      %f = arith.sitofp %i : i32 to f32
      %s = vector.broadcast %f : f32 to VEC
      %w = vector.load %bias[%col] : memref<?xf32>, VEC
      %x = arith.addf %v, %w : VEC
      %y = arith.mulf %x, %s : VEC
      %r = math.absf %y : VEC"""


# An epilogue of a transposed tile gets rows: their bias is read one element further on, since C
# begins at row 1 and column 3.
ROW_BIAS = BIAS.replace("%bias[%col]", "%bias[%row]")
ROW_HEAVY = HEAVY.replace("index_cast %row", "index_cast %col").replace(
    "%bias[%col]", "%bias[%row]"
)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mr", [1, 4, 14])
def test_epilogues_of_transposed_tiles(mr: int, masked: bool) -> None:
    nr, width = 32, 16
    problem = Problem(mr, nr, 10, "f32")
    problem.bias = np.arange(1 + width, dtype="f4") - 4
    columns = np.arange(3, 3 + nr, dtype="f4")
    n = nr - 3 if masked else nr
    for ops, heavy in ((ROW_BIAS, False), (ROW_HEAVY, True)):
        text = source(mr, nr, masked=masked, flags=", transposed", epilogue=epilogue(width, ops))
        kernel = Kernel(text)
        for acc in (False, True):
            want = problem.expected(n, acc)
            tile = want[1 : 1 + mr, 3 : 3 + n]
            tile += problem.bias[1 : 1 + mr, None]
            if heavy:
                tile[:] = np.abs(tile * columns[:n])
            assert (problem.run(kernel, n, acc, transposed=True) == want).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mr", [1, 4, 5])
def test_epilogues(mr: int, masked: bool) -> None:
    nr, width = 32, 16
    problem = Problem(mr, nr, 10, "f32")
    rows = np.arange(1, 1 + mr, dtype="f4")[:, None]
    n = nr - 3 if masked else nr
    for ops, heavy in ((BIAS, False), (HEAVY, True)):
        kernel = Kernel(source(mr, nr, masked=masked, epilogue=epilogue(width, ops)))
        for acc in (False, True):
            want = problem.expected(n, acc)
            tile = want[1 : 1 + mr, 3 : 3 + n]
            tile += problem.bias[3 : 3 + n]
            if heavy:
                tile[:] = np.abs(tile * rows)
            assert (problem.run(kernel, n, acc) == want).all()


def test_order_of_summation_does_not_depend_on_the_tile() -> None:
    nr, k = 32, 50
    results = []
    for mr, masked, flags in ((1, False, ""), (3, True, ""), (8, False, ", transposed")):
        problem = Problem(mr, nr, k, "f32")
        random = np.random.default_rng(0)
        problem.a[:] = np.tile(random.normal(size=(1, k + 4)), (mr + 2, 1))
        problem.b[:] = random.normal(size=problem.b.shape)
        kernel = Kernel(source(mr, nr, masked=masked, flags=flags))
        got = problem.run(kernel, nr, False, transposed=bool(flags))
        results.append(got[1, 3 : 3 + nr])
    assert all((r == results[0]).all() for r in results)


@on_x86
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("target", [V3, V4], ids=["avx2", "avx512"])
def test_accumulators_stay_in_registers(target: Target, dtype: str) -> None:
    mr, nv = target.tile_shape
    nr = nv * target.width(8 * DTYPES[dtype].itemsize)
    (op,) = functions(parse(source(mr, nr, dtype, a=f"1, {mr}"))).values()
    blocks = re.split(r"\n(?=\.L\w+:)", assembly(kernel_text(op, target).text, target))
    loop = max(blocks, key=lambda block: block.count("vfmadd"))
    assert loop.count("vfmadd") == mr * nv
    assert loop.count("vbroadcast") == mr
    assert "rsp" not in loop


def test_shapes() -> None:
    assert V4.tile_shape == (14, 2)
    assert V3.tile_shape == (6, 2)
    neon = dataclasses.replace(V4, vector_bits=128)
    assert neon.tile_shape == (9, 3)


def test_refuses_integers() -> None:
    with pytest.raises(CodegenError, match="element types have no register tile"):
        Kernel(source(2, 16, "i32"))
