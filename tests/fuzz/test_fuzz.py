"""Random programs give the same results however they run."""

from __future__ import annotations

import pytest

from calque.ir.text import to_text
from calque.passes.pipeline import OPTIONAL

from .check import check
from .generate import generate
from .program import Program
from .shrink import failure, shrink

# Seeds of the default suite; the slow one goes on from there.
FEW, MANY, BLOCK = 40, 500, 20


def agree(seed: int) -> None:
    """One program: interpreted, eager, compiled, and compiled with one optional pass left out."""

    def test(program: Program) -> None:
        check(program, without=(OPTIONAL[seed % len(OPTIONAL)],))

    program = generate(seed)
    error = failure(program, test)
    if error is None:
        return
    small, found = shrink(program, test)
    raise AssertionError(f"{found}\n{small}\n{to_text(small.module())}") from error


@pytest.mark.parametrize("seed", range(FEW))
def test_random_program(seed: int) -> None:
    agree(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FEW, MANY, BLOCK))
def test_many_random_programs(start: int) -> None:
    for seed in range(start, min(start + BLOCK, MANY)):
        agree(seed)


def test_same_seed_same_program() -> None:
    assert [str(generate(s)) for s in range(20)] == [str(generate(s)) for s in range(20)]


def test_failing_programs_shrink() -> None:
    """A fault in one function is found in a program that has only that function."""

    def test(program: Program) -> None:
        if any(step.function == "softmax" for step in program.steps):
            raise AssertionError("softmax")

    seed = next(s for s in range(100) if failure(generate(s), test) is not None)
    program, error = shrink(generate(seed), test)
    assert isinstance(error, AssertionError)
    assert [step.function for step in program.steps] == ["softmax"]
    assert len(program.outputs) == 1 and len(program.inputs) <= 3
