"""Views that a compiled function returns are of its arguments' memory, as eager ones are."""

from __future__ import annotations

from typing import Any

import pytest

import calque

pytestmark = pytest.mark.usefixtures("way")


def test_a_write_to_a_returned_view_is_one_to_the_argument() -> None:
    f = calque.compile(lambda x: (x[0], x.t(), x.sum(), x.detach()))
    a = calque.ones(2, 2)
    row, turned, total, same = f(a)
    row.add_(1)
    assert a.tolist() == [[2.0, 2.0], [1.0, 1.0]]
    turned[0, 0] = 9.0
    assert a.tolist() == [[9.0, 2.0], [1.0, 1.0]] and turned.stride() == (1, 2)
    assert total.item() == 4.0
    same.zero_()
    assert a.tolist() == [[0.0] * 2] * 2


def test_the_view_shows_what_the_function_wrote() -> None:
    @calque.compile
    def f(x: Any) -> Any:
        x.mul_(2)
        return x[1:]

    a = calque.ones(3, 2)
    view = f(a)
    assert view.tolist() == [[2.0] * 2] * 2
    view.add_(1)
    assert a.tolist() == [[2.0] * 2, [3.0] * 2, [3.0] * 2]


def test_views_of_captured_tensors() -> None:
    w = calque.ones(4)
    part = w[3:]
    f = calque.compile(lambda x: (w[:2], part, x + w[2:]))
    for fill in (5.0, 6.0):
        view, same, out = f(calque.zeros(2))
        view.fill_(fill)
        same.fill_(-fill)
        assert w.tolist() == [fill, fill, 1.0, -fill]
    assert out.tolist() == [1.0, -5.0]


def test_views_of_open_sizes_and_of_strided_arguments() -> None:
    f = calque.compile(lambda x: x[:-1])
    for size in (3, 4, 5):
        a = calque.arange(float(size))
        f(a).zero_()
        assert a.tolist() == [0.0] * (size - 1) + [size - 1.0]
    assert f.compiles == 2
    flat = calque.compile(lambda x: x.reshape(-1))
    turned = calque.arange(6.0).reshape(2, 3).t()
    assert flat(turned).tolist() == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]


def test_gradients_go_through_returned_views() -> None:
    f = calque.compile(lambda x: x[0])
    a = calque.ones(2, 2, requires_grad=True)
    f(a).sum().backward()
    assert a.grad is not None and a.grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]
