"""Random programs compiled for a GPU, its threads emulated, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from calque.ir.dialect import context
from calque.ir.target import Target
from calque.ir.text import to_text
from calque.passes.pipeline import Options, compile_pipeline
from codegen.blocks import DeviceProgram

from .bounds import bounds
from .check import Disagreement, assignments, difference
from .generate import generate
from .program import Program
from .shrink import failure, shrink

TARGET = Target.nvptx("sm_80")

FEW, MANY, BLOCK = 4, 200, 14

# Emulated threads are slow: inputs have fewer elements than this in all.
ELEMENTS = 20_000


def check(program: Program) -> None:
    """Results must be within the error bound of the interpreter's; the order in which threads
    run depends on the seed. Raises Disagreement."""
    context()
    module = program.module()
    compiled = module.clone()
    for _, stage in compile_pipeline(compiled, Options(target=TARGET)):
        compiled = stage
    device = DeviceProgram(compiled, TARGET, backwards=program.seed % 2 == 0)
    small = [s for s in assignments(program, 8) if _elements(program, s) < ELEMENTS]
    assert small, "no sizes are small enough to emulate threads"
    for sizes in small[:2]:
        args = program.arrays(sizes)
        expected = bounds(module, args)
        values = [sizes[s] for s in device.executable.artifact.symbols]
        got = device(*(np.array(a, order="C") for a in args), sizes=values)
        for i, ((value, error), array) in enumerate(zip(expected, got, strict=True)):
            far = difference(array, value, 2 * error)
            if far:
                raise Disagreement(f"result {i}, on a GPU, {far}", sizes)


def _elements(program: Program, sizes: dict[str, int]) -> int:
    return sum(array.size for array in program.arrays(sizes))


def agree(seed: int) -> None:
    program = generate(seed)
    error = failure(program, check)
    if error is not None:
        small, found = shrink(program, check)
        raise AssertionError(f"{found}\n{small}\n{to_text(small.module())}") from error


@pytest.mark.parametrize("seed", range(FEW))
def test_random_program(seed: int) -> None:
    agree(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FEW, MANY, BLOCK))
def test_many_random_programs(start: int) -> None:
    for seed in range(start, min(start + BLOCK, MANY)):
        agree(seed)
