"""Programs compiled for a GPU, run with its threads emulated, against the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import calque
from calque.ir import interpreter
from calque.ir.dialect import context
from calque.ir.sym import symbol
from calque.ir.target import Target
from calque.ir.types import TensorMeta
from calque.passes.pipeline import Options, compile_pipeline

from .blocks import DeviceProgram

TARGET = Target.nvptx("sm_80")

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: str = "f4") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


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
    module = traced.module.clone()
    for _, stage in compile_pipeline(module, Options(target=TARGET, verify=True)):
        module = stage
    program = None
    for backwards in (False, True):
        program = DeviceProgram(module, TARGET, backwards)
        values = [sizes[s] for s in program.executable.artifact.symbols]
        for got, wanted in zip(program(*arrays, sizes=values), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)
    assert program is not None
    return program


def test_elementwise() -> None:
    check(lambda x, y: (x * y + 1.0).tanh(), normal(8, 300), normal(8, 300))
