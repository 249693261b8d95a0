"""Writes that replace a tensor's elements: gradients of what was there are zero, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import calque

both = pytest.mark.parametrize(
    "wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"]
)  # fmt: skip


def assigned(x: Any) -> None:
    x[:] = 3.0


def through_a_view(x: Any) -> None:
    x.view(2, 2).t().zero_()


WRITES: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "zero_": (lambda x: x.zero_(), [0] * 4),
    "fill_": (lambda x: x.fill_(2), [2] * 4),
    "copy_": (lambda x: x.copy_(calque.arange(4.0)), [0, 1, 2, 3]),
    "uniform_": (lambda x: x.uniform_(0.5, 0.5), [0.5] * 4),
    "assigned": (assigned, [3] * 4),
    "through a view": (through_a_view, [0] * 4),
}


def leaf() -> Any:
    return calque.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)


@both
@pytest.mark.parametrize("name", WRITES)
def test_what_is_overwritten_goes_on_requiring_a_gradient(name: str, wrap: Any) -> None:
    write, values = WRITES[name]
    flags: list[bool] = []

    @wrap
    def f(a: Any) -> Any:
        x = a * 2
        write(x)
        flags.append(x.requires_grad)
        return x

    a = leaf()
    x = f(a)
    assert x.tolist() == values
    assert x.requires_grad and flags == [True]
    (x * x).sum().backward()
    assert a.grad.tolist() == [0] * 4


@both
def test_what_is_copied_gets_the_gradient(wrap: Any) -> None:
    @wrap
    def f(a: Any, b: Any) -> Any:
        x = a * 2
        x.copy_(x * b)
        x[:] = x * b
        x.sum().backward()
        return x

    a, b = leaf(), leaf()
    assert f(a, b).tolist() == [2 * i**3 for i in (1, 2, 3, 4)]
    assert a.grad.tolist() == [2 * i**2 for i in (1, 2, 3, 4)]
    assert b.grad.tolist() == [4 * i**2 for i in (1, 2, 3, 4)]


@both
def test_a_filled_view_is_a_view_of_what_its_base_became(wrap: Any) -> None:
    @wrap
    def f(a: Any) -> tuple[bool, Any]:
        x = a * 2
        row = x[1:]
        row.fill_(5)
        (row.sum() + (x * x).sum()).backward()
        return row.requires_grad, row

    a = leaf()
    tracked, row = f(a)
    assert tracked and row.tolist() == [5, 5, 5]
    assert a.grad.tolist() == [8, 0, 0, 0]


@both
def test_a_leaf_is_written_under_no_grad_only(wrap: Any) -> None:
    def refused(a: Any) -> None:
        a.zero_()

    def written(a: Any) -> None:
        with calque.no_grad():
            a.zero_()
            a[:2] = 1

    a = leaf()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        wrap(refused)(a)
    wrap(written)(a)
    assert a.tolist() == [1, 1, 0, 0]
    assert a.requires_grad and a.is_leaf


@both
def test_a_write_keeps_the_dtype_and_each_element_its_memory(wrap: Any) -> None:
    def counted(x: Any) -> None:
        flags = x > 1
        flags += 1

    def halved(x: Any) -> None:
        whole = x.long()
        whole /= 2

    def repeated(x: Any) -> None:
        x.expand(3, 4).add_(1)

    x = leaf().detach()
    with pytest.raises(RuntimeError, match=r"result type Long can't be cast to .* type Bool"):
        wrap(counted)(x)
    with pytest.raises(RuntimeError, match=r"result type Float can't be cast to .* type Long"):
        wrap(halved)(x)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        wrap(repeated)(x)
    assert x.tolist() == leaf().tolist()
