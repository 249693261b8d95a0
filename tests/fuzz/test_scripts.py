"""Functions as users write them give the same eagerly, compiled, and in PyTorch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import calque
import needs

from .scripts import REFUSED, ROWS, Script, run, script, shrink

FEW, MANY, BLOCK = 25, 200, 25


def _compiled_differs(candidate: Script) -> str:
    """What compiled code does otherwise than eager, to the bit; nothing where a size is refused."""
    plain, fast = candidate.function(calque), calque.compile(candidate.function(calque))
    for rows in ROWS:
        try:
            expected = run(plain, calque, rows)
        except (*REFUSED, NameError):
            return ""
        try:
            found = run(fast, calque, rows)
        except REFUSED as error:
            return f"{rows} rows: compiled: {type(error).__name__}: {error}"
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            if not np.array_equal(a, b):
                return f"{rows} rows: result {i} compiled is\n{a}\nand eager\n{b}"
    return ""


def _pytorch_differs(candidate: Script) -> str:
    """What calque does otherwise than PyTorch; nothing where either refuses.

    Whether a reshape is a view depends on strides, which PyTorch hands on to results and calque
    does not: reshapes are of copies here.
    """
    torch = needs.torch()
    copying = (line.replace(".reshape(", ".clone().reshape(") for line in candidate.lines)
    candidate = replace(
        candidate, lines=tuple(x.replace(".flatten(", ".clone().flatten(") for x in copying)
    )
    try:
        expected = run(candidate.function(torch), torch, ROWS[0])
        found = run(candidate.function(calque), calque, ROWS[0])
    except (*REFUSED, NameError):
        return ""
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape or not np.allclose(a, b, rtol=1e-9, atol=1e-9):
            return f"result {i} is\n{a}\nand in PyTorch\n{b}"
    return ""


def _agree(seed: int) -> None:
    found = script(seed)
    if _compiled_differs(found):
        small = shrink(found, lambda s: bool(_compiled_differs(s)))
        raise AssertionError(f"{small.source}\n{_compiled_differs(small)}")


@pytest.mark.parametrize("seed", range(FEW))
def test_compiled_is_eager_to_the_bit(seed: int) -> None:
    _agree(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FEW, MANY, BLOCK))
def test_many_compiled_are_eager_to_the_bit(start: int) -> None:
    for seed in range(start, start + BLOCK):
        _agree(seed)


@pytest.mark.conformance
@pytest.mark.parametrize("start", range(0, MANY, BLOCK))
def test_eager_is_as_pytorch(start: int) -> None:
    for seed in range(start, start + BLOCK):
        found = script(seed)
        if _pytorch_differs(found):
            small = shrink(found, lambda s: bool(_pytorch_differs(s)))
            raise AssertionError(f"{small.source}\n{_pytorch_differs(small)}")
