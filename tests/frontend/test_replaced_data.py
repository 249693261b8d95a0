"""Tensors whose data, flags or gradients are replaced between calls: nothing reads the old ones."""

from __future__ import annotations

from typing import Any

import pytest

import calque
import calque.nn as nn

pytestmark = pytest.mark.usefixtures("way")


def test_a_view_keeps_the_memory_that_it_had() -> None:
    base = calque.ones(3)
    repeated = base.expand(2, 3)
    base.data = calque.full((3,), 7.0)
    assert (repeated + calque.zeros(2, 3)).tolist() == [[1.0] * 3] * 2
    base.data = calque.zeros(1, dtype=calque.float64)
    assert (repeated + calque.zeros(2, 3)).tolist() == [[1.0] * 3] * 2


def test_a_compiled_backward_reads_what_the_forward_read() -> None:
    product = calque.compile(lambda a, b: (a * b).sum())
    a, b = calque.ones(4, requires_grad=True), calque.full((4,), 3.0)
    out = product(a, b)
    b.data = calque.zeros(1)
    out.backward()
    assert a.grad is not None and a.grad.tolist() == [3.0] * 4
    b = calque.full((4,), 3.0)
    out = product(a, b)
    b.data = calque.zeros(4)
    with pytest.raises(RuntimeError, match="has other data by now"):
        calque.autograd.grad(out, [a], create_graph=True)


def test_captured_tensors_that_become_parts_of_other_memory() -> None:
    weight, zeros = calque.ones(3), calque.zeros(3)
    f = calque.compile(lambda x: x + weight)
    assert f(zeros).tolist() == [1.0] * 3
    weight.data = calque.arange(10.0)[4:7]
    with pytest.raises(RuntimeError, match=r"part of other memory \(strides \[1\], offset 4\)"):
        f(zeros)
    weight.data = calque.full((3,), 5.0)
    assert f(zeros).tolist() == [5.0] * 3


def test_a_captured_view_whose_base_got_other_data() -> None:
    base = calque.arange(4.0)
    view = base[1:3]
    f = calque.compile(lambda x: x + view)
    assert f(calque.zeros(2)).tolist() == [1.0, 2.0]
    base.data = calque.full((4,), 7.0)
    with pytest.raises(RuntimeError, match="part of other memory"):
        f(calque.zeros(2))


def test_flags_of_captured_tensors_are_guarded() -> None:
    p, q = nn.Parameter(calque.ones(3)), nn.Parameter(calque.ones(3))

    @calque.compile
    def step(x: Any) -> Any:
        loss = (x * p * q).sum()
        loss.backward()
        return loss

    for flag in (True, False, True):
        p.requires_grad_(flag)
        p.grad = None
        step(calque.ones(3))
        assert (p.grad is not None) is flag


def test_gradients_that_are_written_have_memory_of_their_own() -> None:
    p = nn.Parameter(calque.ones(3))
    p.grad = calque.full((3,), 2.0)

    @calque.compile
    def double(x: Any) -> Any:
        assert p.grad is not None
        p.grad.mul_(2)
        return p.grad + x

    assert double(calque.zeros(3)).tolist() == [4.0] * 3
    with pytest.raises(RuntimeError, match="overlap in memory"):
        double(p.grad)
    assert p.grad.tolist() == [4.0] * 3
    p.grad = calque.arange(6.0)[::2]
    with pytest.raises(RuntimeError, match="must be contiguous"):
        double(calque.zeros(3))
