"""Fused programs compiled and run, against the interpreter, with static and dynamic sizes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

import needs
from calque.frontend.driver import compile_graph
from calque.ir import dtype as dt
from calque.ir import interpreter
from calque.ir.sym import SymEnv, evaluate
from calque.ir.text import from_text, to_text
from calque.passes.pipeline import Options, compile_pipeline
from fusible import PROGRAMS, Program
from gradcheck import build

SIZES = {"N": 6, "T": 5}


def arguments(program: Program, sizes: dict[str, int]) -> list[np.ndarray]:
    """Arrays for the arguments: floats around 0, indices below 5."""
    rng = np.random.default_rng(0)
    arrays = []
    for meta in program.metas:
        shape = tuple(evaluate(d, sizes) for d in meta.shape)
        if meta.dtype is dt.int64:
            arrays.append(rng.integers(0, 5, shape))
        else:
            arrays.append(rng.standard_normal(shape).astype(np.float32))
    return arrays


def made(program: Program, *, dynamic: bool) -> ModuleOp:
    """The module of a program, its symbols replaced by sizes unless `dynamic`."""
    if dynamic:
        with SymEnv(dict(SIZES)):
            return build(program.metas, program.body)
    metas = [m.with_shape([evaluate(d, SIZES) for d in m.shape]) for m in program.metas]
    return build(metas, program.body)


def run(
    module: ModuleOp, args: Sequence[np.ndarray], sizes: dict[str, int], *, apart: bool = False
) -> list[np.ndarray]:
    """Results of native code, of one kernel for each operator if `apart`."""
    left_out = frozenset({"fuse"} if apart else ())
    program = compile_graph(module, Options(verify=True, without=left_out))
    call = program.prepare([sizes[s] for s in program.symbols])
    pairs = zip(call.shapes[len(args) :], program.outputs, strict=True)
    outs = [np.empty(shape, meta.dtype.numpy) for shape, meta in pairs]
    call.run([a.ctypes.data for a in (*args, *outs)])
    return outs


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_results(name: str, dynamic: bool) -> None:
    program = PROGRAMS[name]
    args = arguments(program, SIZES)
    module = made(program, dynamic=dynamic)
    wanted = interpreter.run(module, args)
    for found, want in zip(run(module, args, SIZES), wanted, strict=True):
        scale = float(np.abs(want).max())
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5 * max(1.0, scale))


@pytest.mark.parametrize("name", PROGRAMS)
def test_bits_do_not_depend_on_fusion(name: str) -> None:
    program = PROGRAMS[name]
    args = arguments(program, SIZES)
    fused, apart = (
        run(made(program, dynamic=True), args, SIZES, apart=apart) for apart in (False, True)
    )
    for found, want in zip(fused, apart, strict=True):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("name", [n for n, p in PROGRAMS.items() if p.heroes])
def test_groups(name: str) -> None:
    module = made(PROGRAMS[name], dynamic=True)
    assert heroes(module) == PROGRAMS[name].heroes


def heroes(module: ModuleOp) -> str:
    """The heroes of a program's groups."""
    for step, _ in compile_pipeline(module, Options()):
        if step == "fuse":
            break
    functions = [f for f in module.ops if isinstance(f, FuncOp)]
    attrs = [f.attributes.get("calque.hero") for f in functions]
    return " ".join(a.data for a in attrs if isinstance(a, StringAttr))


@pytest.mark.parametrize("name", PROGRAMS)
def test_text_of_stages(name: str) -> None:
    """What is printed parses and prints the same; upstream accepts what is free of our dialects."""
    module = made(PROGRAMS[name], dynamic=True)
    for step, current in compile_pipeline(module, Options()):
        if step not in ("lower-to-linalg", "plan-memory"):
            continue
        text = to_text(current)
        assert to_text(from_text(text)) == text
        checked = subprocess.run([needs.mlir_opt()], input=text, capture_output=True, text=True)
        assert not checked.returncode, checked.stderr
