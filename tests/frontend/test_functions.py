"""The functions of `calque.*` with PyTorch's keywords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)

CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "amax": (lambda x: calque.amax(x, dim=1), lambda x: x.max(1)),
    "any": (lambda x: calque.any(x > 1, dim=0), lambda x: (x > 1).any(0)),
    "argmin": (lambda x: calque.argmin(input=x, dim=1, keepdim=True),
               lambda x: x.argmin(1)[:, None]),
    "clamp": (lambda x: calque.clamp(x, min=0, max=1), lambda x: x.clip(0, 1)),
    "where": (lambda x: calque.where(x > 0, x, 0.0), lambda x: np.where(x > 0, x, np.float32(0))),
    "cat": (lambda x: calque.cat([x, x], dim=1), lambda x: np.concatenate([x, x], 1)),
    "stack": (lambda x: calque.stack((x, x), dim=-1), lambda x: np.stack([x, x], -1)),
    "reshape": (lambda x: calque.reshape(x, (x.shape[1], -1)), lambda x: x.reshape(4, 3)),
    "unflatten": (lambda x: calque.unflatten(x, 1, (2, 2)), lambda x: x.reshape(3, 2, 2)),
    "softmax": (lambda x: calque.softmax(x, dim=0).sum(dim=0), lambda x: np.ones(4, np.float32)),
    "sum": (lambda x: calque.sum(x, dim=(0, 1), keepdim=True), lambda x: x.sum(keepdims=True)),
    "max": (lambda x: calque.max(x, dim=1).values, lambda x: x.max(1)),
    "var": (lambda x: calque.var(x, dim=0, unbiased=False), lambda x: x.var(0)),
    "norm": (lambda x: calque.norm(x, p=1, dim=1), lambda x: np.abs(x).sum(1)),
    "arange": (lambda x: calque.arange(2, 9, 3), lambda x: np.arange(2, 9, 3)),
    "linspace": (lambda x: calque.linspace(0, 1, 5),
                 lambda x: np.linspace(0, 1, 5, dtype=np.float32)),
    "eye": (lambda x: calque.eye(2, 3), lambda x: np.eye(2, 3, dtype=np.float32)),
    "full": (lambda x: calque.full((2,), 7), lambda x: np.full(2, 7)),
    "zeros_like": (lambda x: calque.zeros_like(x) + calque.ones_like(x), np.ones_like),
    "tile": (lambda x: calque.tile(x, (2,)), lambda x: np.tile(x, (1, 2))),
    "pow": (lambda x: calque.pow(x, exponent=2), lambda x: x * x),
    "bmm": (lambda x: calque.bmm(x[None], x.T[None]), lambda x: (x @ x.T)[None]),
}  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", CASES)
def test_function(name: str, wrap: Any) -> None:
    function, reference = CASES[name]
    found = wrap(lambda x: function(x))(calque.tensor(X)).numpy()
    expected = np.asarray(reference(X))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_sizes_in_a_compiled_function_are_sizes() -> None:
    @calque.compile
    def f(x: calque.Tensor) -> calque.Tensor:
        n = x.shape[0]
        return calque.reshape(calque.broadcast_to(calque.narrow(x, 0, 0, n), (2, n, 4)), (2 * n, 4))

    for n in (3, 4, 6):
        data = np.ones((n, 4), np.float32)
        np.testing.assert_array_equal(f(calque.tensor(data)).numpy(), np.tile(data, (2, 1)))
    assert f.compiles == 2


def test_equal_and_allclose() -> None:
    x = calque.tensor(X)
    assert calque.equal(x, x.clone())
    assert not calque.equal(x, x[:2])
    assert calque.allclose(x, x + 1e-7)
    assert not calque.allclose(x, x + 1)


def test_value_and_grad() -> None:
    def f(w: calque.Tensor, b: calque.Tensor) -> tuple[calque.Tensor, calque.Tensor]:
        y = w * 3 + b
        return (y * y).sum(), y.detach()

    w, b = calque.tensor([1.0, 2.0]), calque.tensor(1.0)
    (value, aux), (gw, gb) = calque.value_and_grad(f, argnums=(0, 1), has_aux=True)(w, b)
    assert value.item() == 65.0
    assert aux.tolist() == [4.0, 7.0]
    assert gw.tolist() == [24.0, 42.0]
    assert gb.item() == 22.0
    fifth = lambda x: x**5  # noqa: E731
    third = calque.grad(calque.grad(calque.grad(fifth)))
    assert third(calque.tensor(2.0)).item() == 240.0
    assert calque.compile(third)(calque.tensor(2.0)).item() == 240.0


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
def test_there_is_a_class_for_each_position(wrap: Any) -> None:
    loss = wrap(calque.nn.functional.cross_entropy)
    for shape, classes in (((4, 3), 2), ((4, 3), 5)):
        with pytest.raises(ValueError, match="to match target batch_size"):
            loss(calque.ones(*shape), calque.zeros(classes, dtype=calque.int64))
    with pytest.raises(RuntimeError, match="Expected target size"):
        loss(calque.ones(2, 3, 5), calque.zeros(2, 4, dtype=calque.int64))


def test_constants_without_elements() -> None:
    made = calque.compile(lambda x: calque.tensor([[]]) + x)(calque.ones(1, 1))
    assert made.shape == (1, 0)
