"""Results larger than the caches, written around them: rows that are whole lines and others."""

from __future__ import annotations

import numpy as np
import pytest

import calque
import calque.nn.functional as F
from calque.passes.schedules.streams import LARGE

WIDTH = 1024
ROWS = LARGE // (4 * WIDTH)


@pytest.mark.parametrize("columns", [WIDTH, WIDTH + 7, WIDTH + 16])
def test_rows(columns: int) -> None:
    data = np.random.default_rng(0).standard_normal((ROWS + 3, columns), dtype=np.float32)
    out = calque.compile(lambda x: F.softmax(x, -1))(calque.from_numpy(data)).numpy()
    powers = np.exp(data - data.max(1, keepdims=True))
    expected = powers / powers.sum(1, keepdims=True)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


@pytest.mark.parametrize("extra", [0, 16, 5])
def test_elementwise(extra: int) -> None:
    data = np.arange(LARGE // 4 + extra, dtype=np.float32)
    out = calque.compile(lambda x: x * 2 + 1)(calque.from_numpy(data)).numpy()
    np.testing.assert_array_equal(out, data * 2 + 1)


def test_arrays_that_begin_inside_of_a_line() -> None:
    """Large results written into a user's memory, wherever it begins."""
    double = calque.compile(lambda x: x.mul_(2))
    memory = np.ones(LARGE // 4 + 64, np.float32)
    for start in (0, 1, 4, 16):
        array = memory[start : start + LARGE // 4]
        before = array.copy()
        double(calque.from_numpy(array))
        np.testing.assert_array_equal(array, before * 2)
