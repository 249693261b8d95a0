"""`backward` and friends as people use them, eagerly and inside of compiled functions."""

from __future__ import annotations

from typing import Any

import pytest

import calque

both = pytest.mark.parametrize(
    "wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"]
)  # fmt: skip


def leaf(*values: float) -> calque.Tensor:
    return calque.tensor([float(v) for v in values], requires_grad=True)


def gradient(x: calque.Tensor) -> list[float]:
    assert x.grad is not None
    return x.grad.tolist()


@both
def test_gradients_of_arguments_arrive_and_accumulate(wrap: Any) -> None:
    @wrap
    def f(x: Any) -> calque.Tensor:
        loss = (x * x).sum()
        loss.backward()
        return x.grad.clone()

    x = leaf(1, 2)
    assert f(x).tolist() == [2, 4]
    assert gradient(x) == [2, 4]
    assert f(x).tolist() == [4, 8]
    assert f(x).tolist() == gradient(x) == [6, 12]
    other = leaf(3, 4)
    assert f(other).tolist() == gradient(other) == [6, 8]
    assert gradient(x) == [6, 12]


@both
def test_a_step_on_arguments(wrap: Any) -> None:
    @wrap
    def step(w: Any) -> calque.Tensor:
        loss = (w**2).sum()
        loss.backward()
        with calque.no_grad():
            w -= 0.25 * w.grad
            w.grad.zero_()
        return loss

    w = leaf(4, 8)
    assert step(w).item() == 80
    assert step(w).item() == 20
    assert w.tolist() == [1, 2]
    assert gradient(w) == [0, 0]


@both
def test_gradient_of_what_was_computed_before_a_write(wrap: Any) -> None:
    @wrap
    def f(w: Any) -> calque.Tensor:
        before = w.sum() * 2
        with calque.no_grad():
            w[0] = 7
        (before + (w * w).sum()).backward()
        return before

    w = leaf(1, 2)
    f(w)
    assert gradient(w) == [16, 6]


@both
def test_writes_through_views_are_differentiated(wrap: Any) -> None:
    @wrap
    def f(x: Any) -> calque.Tensor:
        a = x * 2
        a[0] = 0
        a[:, 1] *= 3
        loss = a.sum()
        loss.backward()
        return loss

    x = calque.ones(2, 2, requires_grad=True)
    assert f(x).item() == 8
    assert gradient(x) == [[0, 0], [2, 6]]


@both
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda x: x.add_(1), "a leaf Variable that requires grad is being used"),
        (lambda x: x[0].add_(1), "a view of a leaf Variable that requires grad is being used"),
    ],
)
def test_leaves_are_not_written(wrap: Any, write: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        wrap(lambda x: write(x))(leaf(1, 2))


@both
def test_leaves_and_detached_results(wrap: Any) -> None:
    flags: list[Any] = []

    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        inner = y.detach().requires_grad_()
        (inner * inner).sum().backward()
        flags[:] = [t.is_leaf for t in (x, y, y.detach(), inner)]
        return inner.grad

    assert f(leaf(1, 2)).tolist() == [4, 8]
    assert flags == [True, False, True, True]

    y, detached = wrap(lambda x: (x * 2, (x * 3).detach()))(leaf(1))
    assert y.requires_grad
    assert not detached.requires_grad


def test_writing_what_a_rule_reads_is_an_error() -> None:
    x = leaf(1, 2)
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_second_backward_where_nothing_was_saved() -> None:
    x = leaf(1, 2)
    total = x.sum()
    total.backward()
    total.backward()
    assert gradient(x) == [2, 2]
    square = (x * x).sum()
    square.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        square.backward()


@both
def test_higher_orders(wrap: Any) -> None:
    @wrap
    def f(x: Any) -> Any:
        first: Any = calque.autograd.grad((x**3).sum(), x, create_graph=True)[0]
        second: Any = calque.autograd.grad(first.sum(), x, create_graph=True)[0]
        second.sum().backward()
        return first, second

    x = leaf(1, 2)
    first, second = f(x)
    assert first.tolist() == [3, 12]
    assert second.tolist() == [6, 12]
    assert gradient(x) == [6, 6]


@both
def test_writing_through_detach_leaves_the_history(wrap: Any) -> None:
    @wrap
    def f(x: Any) -> Any:
        y = x * 3
        y.detach().mul_(2)
        with calque.no_grad():
            y.add_(1)
        y.sum().backward()
        return y.detach()

    x = leaf(1, 2)
    assert f(x).tolist() == [7, 13]
    assert gradient(x) == [3, 3]


def test_writing_a_tracked_value_through_detach_is_refused_while_tracing() -> None:
    @calque.compile
    def f(x: Any) -> calque.Tensor:
        y = x * 1
        y.detach().copy_(x * 2)
        return y

    with pytest.raises(RuntimeError, match=r"written through detach\(\)"):
        f(leaf(1))


@both
def test_views_have_the_history_of_later_writes(wrap: Any) -> None:
    @wrap
    def f(x: Any) -> Any:
        out = calque.zeros(3)
        first, rest = out[:1], out[1:]
        out[0] = x.sum()
        rest.copy_(x * x)
        ((first * 2).sum() + (out * out)[1:].sum()).backward()
        return out.detach()

    x = leaf(1, 2)
    assert f(x).tolist() == [3, 1, 4]
    assert gradient(x) == [2 + 4, 2 + 32]


@both
def test_a_view_made_under_no_grad_has_no_gradient(wrap: Any) -> None:
    @wrap
    def f(x: Any) -> None:
        with calque.no_grad():
            view = x[1:]
        (view * x[:1]).sum().backward()

    x = leaf(3, 5)
    f(x)
    assert gradient(x) == [5, 0]


@both
def test_products_in_place_save_what_they_overwrite(wrap: Any) -> None:
    @wrap
    def f(x: Any, y: Any) -> None:
        z = x * 1
        z.mul_(y)
        z.sum().backward()

    x, y = leaf(2, 3), leaf(5, 7)
    f(x, y)
    assert gradient(x) == [5, 7]
    assert gradient(y) == [2, 3]


@both
def test_functional_gradients_have_a_history_only_where_something_outside_does(wrap: Any) -> None:
    cube = wrap(calque.grad(lambda x: (x**3).sum()))
    assert not cube(calque.tensor([1.0, 2.0])).requires_grad
    x = leaf(1, 2)
    slope = cube(x)
    slope.sum().backward()
    assert slope.tolist() == [3, 12]
    assert gradient(x) == [6, 12]


class Kept(calque.autograd.Function):
    """Gives a gradient that it keeps."""

    gradient = calque.tensor([3.0, 4.0])

    @staticmethod
    def forward(ctx: Any, x: calque.Tensor) -> calque.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad_output: calque.Tensor) -> calque.Tensor:
        return Kept.gradient


def test_gradients_have_memory_of_their_own() -> None:
    a, b, seed = leaf(1, 2), leaf(3, 4), calque.tensor([1.0, 2.0])
    (a + b).backward(seed)
    assert a.grad is not None
    a.grad *= 10
    assert (gradient(a), gradient(b), seed.tolist()) == ([10, 20], [1, 2], [1, 2])
    total = leaf(1, 2)
    total.sum().backward()
    total.grad += calque.tensor([0.0, 1.0])
    assert gradient(total) == [1, 2]
    x = leaf(1, 2)
    Kept.apply(x).sum().backward()
    x.grad.zero_()
    assert Kept.gradient.tolist() == [3, 4]
