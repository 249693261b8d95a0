"""Eager operations done natively: they leak nothing, and leave to Python what does not fit."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
from calque.frontend.eager_programs import prepared
from calque.frontend.nativecall import native_code, native_operation
from calque.ir.ops.arithmetic import Add
from calque.runtime import memory
from together import together

pytestmark = pytest.mark.skipif(
    native_code() is None, reason="this interpreter has no native entry, or CALQUE_NATIVE_ENTRY=0"
)


def adding(x: calque.Tensor) -> Callable[..., Any]:
    """The native way to add two tensors like this one, of four bytes to an element."""
    meta = x._meta
    nbytes = 4 * x.numel()
    call = prepared(Add, [meta, meta], {}, meta)
    made = native_operation([nbytes, nbytes], [4, 4], [(meta, x._strides, nbytes)], call)
    assert made is not None
    return made


def test_operations_leak_nothing() -> None:
    x, y = calque.randn(16, 4), calque.randn(16, 4)
    view = x[2:]
    x + y, view + y[:14], x.sum(0), x.max(1)
    gc.collect()
    storage: Any = x._storage
    before = memory.stats().live_bytes, sys.getrefcount(x), sys.getrefcount(storage.buffer)
    for _ in range(2000):
        x + y, view + y[:14], x.sum(0), x.max(1)
    gc.collect()
    after = memory.stats().live_bytes, sys.getrefcount(x), sys.getrefcount(storage.buffer)
    assert after == before


def test_operations_that_fail_a_check_leak_nothing() -> None:
    x, out = calque.randn(4, 4), calque.tensor([0, 7])
    for _ in range(3):
        with pytest.raises(IndexError, match="out of bounds"):
            x[out]
    gc.collect()
    before = memory.stats().live_bytes
    for _ in range(200):
        with pytest.raises(IndexError, match="out of bounds"):
            x[out]
    gc.collect()
    assert memory.stats().live_bytes == before


def test_operands_are_read_where_they_begin() -> None:
    x = calque.arange(64, dtype=calque.float32)
    add = adding(x[:16])
    for start in (0, 1, 16, 48):
        (out,) = add(x[start : start + 16], x[:16])
        np.testing.assert_array_equal(out.numpy(), np.arange(16) * 2 + start)
        assert out.shape == (16,)
        assert out.is_contiguous()
        assert not out.requires_grad


def test_operands_that_do_not_fit_are_left_to_python() -> None:
    """Too little memory, as when another thread changes a tensor meanwhile; no tensors; others."""
    x, small = calque.zeros(16), calque.zeros(15)
    add = adding(x)
    late = calque.zeros(20)[5:]
    blank = object.__new__(calque.Tensor)
    meta = calque.zeros(16, device="meta")

    class Mine(calque.Tensor):
        pass

    mine = calque.zeros(16)
    mine.__class__ = Mine
    for wrong in (small, late, blank, meta, mine, 1.0, None):
        assert add(x, wrong) is None
        assert add(wrong, x) is None
    assert add(x) is None
    assert add(x, x, x) is None
    assert add() is None
    (out,) = add(x, x)
    assert out.tolist() == [0.0] * 16


def test_operations_in_threads() -> None:
    x = calque.ones(1000)
    wrong: list[int] = []

    def work(n: int) -> None:
        results = [(x * n + n).tolist() for _ in range(300)]
        wrong.extend(n for result in results if result != [2.0 * n] * 1000)

    together(work)
    assert not wrong
