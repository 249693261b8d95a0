"""Programs compiled for a GPU, run with its threads emulated, against the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

import calque
import oneop
from calque.codegen.nvptx import ptx_text
from calque.ir import interpreter
from calque.ir.dialect import ALL_OPS, context
from calque.ir.op import Op, array_meta
from calque.ir.sym import symbol
from calque.ir.target import Target
from calque.ir.types import TensorMeta
from calque.passes.pipeline import Options, compile_pipeline
from calque.runtime.executable import KernelError

from .assembler import assemble
from .blocks import DeviceProgram

TARGET = Target.nvptx("sm_80")

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: str = "f4") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def lower(module: ModuleOp) -> ModuleOp:
    """The kernel stage of a module, which is changed."""
    for _, stage in compile_pipeline(module, Options(target=TARGET, verify=True)):
        module = stage
    return module


def check(
    function: Callable[..., Any],
    *arrays: np.ndarray,
    dims: Sequence[Sequence[int | str]] | None = None,
    rtol: float = 2e-6,
) -> DeviceProgram:
    """Compare with the interpreter, threads running in both orders. `dims` gives the dimensions
    of the inputs where some are symbols."""
    context()
    sizes: dict[str, int] = {}
    examples = []
    for array, dim in zip(arrays, dims or [a.shape for a in arrays], strict=True):
        named = tuple(symbol(d) if isinstance(d, str) else d for d in dim)
        sizes |= {d: n for d, n in zip(dim, array.shape, strict=True) if isinstance(d, str)}
        examples.append(TensorMeta(named, calque.tensor(array).dtype))
    traced = calque.trace(function, *examples)
    expected = interpreter.run(traced.module, arrays)
    module = lower(traced.module.clone())
    program = None
    for backwards in (False, True):
        program = DeviceProgram(module, TARGET, backwards)
        values = [sizes[s] for s in program.executable.artifact.symbols]
        for got, wanted in zip(program(*arrays, sizes=values), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)
    assert program is not None
    return program


def test_static_rows_are_numbered_through() -> None:
    """Vectors of a row of 300; the last block is not full."""
    program = check(lambda x, b: (x + b).tanh(), normal(9, 300), normal(300))
    (kernel,) = program.kernels.values()
    assert [launch.grid for launch in kernel.launches] == [3]
    assert "load <4 x float>, ptr" in kernel.text and "align 16" in kernel.text


@pytest.mark.parametrize("n", [1, 3, 1024, 1030])
def test_dynamic_elementwise(n: int) -> None:
    check(lambda x, y: x * y + x, normal(n), normal(n), dims=[["N"], ["N"]])


@pytest.mark.parametrize("shape", [(1, 1), (3, 77), (70, 5)])
def test_dynamic_matrices(shape: tuple[int, int]) -> None:
    check(
        lambda x, b: calque.exp(x) + b,
        normal(*shape),
        normal(shape[1]),
        dims=[["M", "N"], ["N"]],
    )


def test_half() -> None:
    x = normal(6, 64, dtype="f2")
    program = check(lambda x: x * x + x, x, rtol=1e-3)
    (kernel,) = program.kernels.values()
    assert "load <8 x half>, ptr" in kernel.text


def test_transposed() -> None:
    check(lambda x: calque.transpose(x, 0, 1) * 2.0, normal(40, 33))


@pytest.mark.parametrize("columns", [5, 12, 33, 300, 2000])
def test_softmax(columns: int) -> None:
    """One kernel with two reductions; short rows are left to a thread each."""
    program = check(lambda x: calque.softmax(x, -1), normal(5, columns))
    assert len(program.kernels) == 1
    (kernel,) = program.kernels.values()
    blocks = {5: 1, 12: 1, 33: 5, 300: 5, 2000: 5}
    assert [launch.grid for launch in kernel.launches] == [blocks[columns]]


@pytest.mark.parametrize("shape", [(3, 10), (2, 300), (1, 1025)])
def test_dynamic_softmax(shape: tuple[int, int]) -> None:
    check(lambda x: calque.softmax(x, -1), normal(*shape), dims=[["M", "N"]])


def test_layer_norm() -> None:
    check(
        lambda x, w, b: calque.nn.functional.layer_norm(x, (384,), w, b),
        normal(7, 384),
        normal(384),
        normal(384),
        rtol=1e-5,
    )


def test_reductions_of_all_kinds() -> None:
    x = normal(6, 100)
    check(lambda x: (calque.sum(x), calque.amax(x, 1), calque.argmax(x, 1), x.mean(0)), x)
    check(lambda x: calque.all(x > -10.0), x)
    check(lambda x: calque.sum(x, (0, 2)), normal(4, 5, 60))
    check(lambda x: calque.sum(calque.sum(x, 1) * 2.0), x)


def test_reduction_order_is_fixed() -> None:
    """Static or dynamic sizes, alone or fused: the same bits."""
    x = normal(4, 300)
    alone = check(lambda x: calque.sum(x, 1), x)
    fused = check(lambda x: calque.sum(x * 1.0, 1) + 0.0, x)
    np.testing.assert_array_equal(alone(x)[0], fused(x)[0])


COLUMNS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "sum": (lambda x: x.sum(0), (100, 70)),
    "few": (lambda x: x.sum(0), (100, 10)),
    "one": (lambda x: x.amax(0), (100, 1)),
    "two dimensions": (lambda x: x.mean((0, 1)), (40, 7, 10)),
    "bools": (lambda x: calque.any(x > 2.0, 0), (100, 10)),
    "softmax": (lambda x: calque.softmax(x, 0), (100, 33)),
    "positions": (lambda x: calque.argmax(x, 0), (100, 33)),
}


@pytest.mark.parametrize("symbols", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", COLUMNS)
def test_columns(name: str, symbols: bool) -> None:
    function, shape = COLUMNS[name]
    dims = [[f"D{d}" if symbols and n > 1 else n for d, n in enumerate(shape)]]
    check(function, normal(*shape), dims=dims, rtol=1e-5)


def test_columns_are_shared_by_groups_of_threads() -> None:
    program = check(lambda x: x.sum(0), normal(100, 70), rtol=1e-5)
    (kernel,) = program.kernels.values()
    assert [(f.grid, f.block) for f in kernel.launches] == [(3, 512)]


@pytest.mark.parametrize("shapes", [((100,), (100,)), ((50, 100), (100,)), ((100,), (100, 33))])
def test_products_with_vectors(shapes: tuple[tuple[int, ...], ...]) -> None:
    check(lambda a, b: a @ b, *(normal(*s) for s in shapes), rtol=1e-5)


def test_scatter() -> None:
    """One thread, so that the order of additions is fixed."""
    x, index = normal(4, 3), np.array([2, 0, 2], "i8")
    check(lambda x, i, y: calque.index_add(x, 0, i, y), x, index, normal(3, 3))


def test_failing_check() -> None:
    x, index = normal(4, 3), np.array([2, 4], "i8")
    program = check(lambda x, i: calque.index_select(x, 0, i), x, np.array([2, 3], "i8"))
    with pytest.raises(KernelError, match="out of range"):
        program(x, index)


MATRICES = {
    "one tile": ((64, 16), (16, 64)),
    "tails everywhere": ((70, 33), (33, 65)),
    "few columns": ((17, 200), (200, 10)),
    "few rows": ((3, 40), (40, 70)),
    "a sum of nothing": ((20, 0), (0, 30)),
    "batches": ((3, 20, 33), (3, 33, 21)),
}


@pytest.mark.parametrize("shapes", MATRICES.values(), ids=MATRICES)
def test_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    check(lambda a, b: a @ b, *(normal(*s) for s in shapes), rtol=2e-5)


def test_dynamic_matmul() -> None:
    dims = [["M", "K"], ["K", "N"]]
    program = check(lambda a, b: a @ b, normal(70, 33), normal(33, 18), dims=dims, rtol=2e-5)
    (kernel,) = program.kernels.values()
    (launch,) = kernel.launches
    assert launch.block == 256
    assert launch.blocks([65, 33, 33, 129, 65, 129, 65, 129, 33]) == 2 * 3


def test_matmul_of_transposed() -> None:
    check(lambda a, b: a.T @ b, normal(33, 70), normal(33, 18), rtol=2e-5)
    check(lambda a, b: a @ b.T, normal(70, 33), normal(18, 33), rtol=2e-5)


def test_matmul_in_double_and_half() -> None:
    check(lambda a, b: a @ b, normal(20, 33, dtype="f8"), normal(33, 24, dtype="f8"))
    check(lambda a, b: a @ b, normal(20, 33, dtype="f2"), normal(33, 24, dtype="f2"), rtol=2e-2)


def test_linear_layer() -> None:
    """A product with its bias and its activation is one kernel."""
    x, w, b = normal(20, 40), normal(40, 24), normal(24)
    program = check(lambda x, w, b: (x @ w + b).tanh(), x, w, b, rtol=2e-5)
    assert len(program.kernels) == 1


def test_large_tiles() -> None:
    x, w = normal(1024, 9), normal(9, 1024)
    program = check(lambda x, w: x @ w, x, w, rtol=2e-5)
    (kernel,) = program.kernels.values()
    assert [(f.grid, f.block, f.shared) for f in kernel.launches] == [(64, 256, 2 * 8 * 132 * 4)]


def test_convolution() -> None:
    check(
        lambda x, w: calque.nn.functional.conv2d(x, w, padding=1),
        normal(2, 3, 9, 9),
        normal(8, 3, 3, 3),
        rtol=2e-5,
    )


# -- the assembler ----------------------------------------------------------------------------

PROGRAMS: dict[str, tuple[Callable[..., Any], list[list[int | str]]]] = {
    "elementwise": (lambda x, y: calque.nn.functional.gelu(x) * y, [["N"], ["N"]]),
    "softmax": (lambda x: calque.softmax(x, -1), [["M", "N"]]),
    "long rows": (lambda x: calque.softmax(x, -1), [["M", 4096]]),
    "layer norm": (lambda x: calque.nn.functional.layer_norm(x, (768,)), [["M", 768]]),
    "columns": (lambda x: x.sum(0), [["M", 512]]),
    "matmul": (lambda a, b: a @ b, [["M", "K"], ["K", "N"]]),
    "large matmul": (
        lambda a, b, c: calque.nn.functional.gelu(a @ b + c),
        [[2048, 2048], [2048, 2048], [2048]],
    ),
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_assembles_without_spills(name: str, arch: str, tmp_path: Path) -> None:
    function, dims = PROGRAMS[name]
    f32 = calque.tensor(0.0).dtype
    shapes = [tuple(symbol(d) if isinstance(d, str) else d for d in dim) for dim in dims]
    traced = calque.trace(function, *(TensorMeta(s, f32) for s in shapes))
    for text in ptx_text(lower(traced.module.clone()), Target.nvptx(arch)).values():
        report = assemble(text, arch, tmp_path)
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in report
        assert "warning" not in report


@pytest.mark.slow
@pytest.mark.parametrize("op", ALL_OPS, ids=lambda op: op.name.removeprefix("calque."))
@pytest.mark.parametrize("symbols", [False, True], ids=["static", "dynamic"])
def test_every_operator(op: type[Op], symbols: bool) -> None:
    context()
    for sample in oneop.samples(op):
        metas, attributes, sizes = [array_meta(a) for a in sample.args], sample.attrs, {}
        if symbols:
            metas, attributes, sizes = oneop.dynamic(sample, op)
        with oneop.about(op, sample):
            module = oneop.build(metas, oneop.apply(op, attributes), sizes)
            expected = interpreter.run(module, sample.args)
            program = DeviceProgram(lower(module), TARGET)
            values = [sizes[s] for s in program.executable.artifact.symbols]
            outputs = program(*map(np.ascontiguousarray, sample.args), sizes=values)
            for got, wanted in zip(outputs, expected, strict=True):
                narrow = wanted.dtype.itemsize == 2
                np.testing.assert_allclose(
                    got.astype("f8") if narrow else got,
                    wanted.astype("f8") if narrow else wanted,
                    rtol=2e-2 if narrow else 1e-5,
                    atol=1e-5,
                )
