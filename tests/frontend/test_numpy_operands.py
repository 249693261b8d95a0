"""NumPy's scalars among tensors are the numbers that they stand for, its arrays are tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn.functional as F
from calque import where

Function = Callable[[Any, Any], Any]

SCALARS = [
    np.float64(1.5), np.float32(1.5), np.float16(1.5), np.int64(2), np.uint8(2), np.bool_(True),
    np.array(1.5), np.array(2),
]  # fmt: skip


def reflected(name: str) -> Function:
    return lambda x, s: getattr(operator, name)(s, x)


BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "ge", "eq")
FUNCTIONS: dict[str, Function] = {
    **{name: getattr(operator, name) for name in BINARY},
    **{f"reflected {name}": reflected(name) for name in BINARY},
    "function": calque.maximum,
    "reflected function": lambda x, s: calque.mul(s, x),
    "alpha": lambda x, s: calque.add(x, x, alpha=s),
    "in place": lambda x, s: x.float().add_(s).mul_(s),
    "clamp": lambda x, s: x.clamp(max=s),
    "where": lambda x, s: where(x > 1, x, s),
    "masked_fill": lambda x, s: x.float().masked_fill(x > 1, s),
    "power": calque.pow,
    "leaky_relu": lambda x, s: F.leaky_relu(-x.float(), s),
    "lerp": lambda x, s: calque.lerp(x.float(), x.float() * 2, s),
    "among numbers": lambda x, s: x * (s * 2),
}
both = pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])


def pairs() -> list[Any]:
    """Functions and scalars; truth values are not subtracted."""
    return [
        pytest.param(name, s, id=f"{name}-{type(s).__name__} {s.dtype}")
        for name in FUNCTIONS
        for s in SCALARS
        if s.dtype != bool or name not in ("alpha", "sub", "reflected sub")
    ]


@pytest.mark.parametrize(("name", "s"), pairs())
def test_a_scalar_is_its_number(name: str, s: Any) -> None:
    function = FUNCTIONS[name]
    for x in (calque.tensor([1.0, 2.0]), calque.tensor([1, 2]), calque.tensor([1.0]).half()):
        expected, found = function(x, s.item()), function(x, s)
        assert found.dtype is expected.dtype
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_scalar_is_its_number_in_a_compiled_function(name: str) -> None:
    function, s, x = FUNCTIONS[name], np.float64(1.5), calque.tensor([1, 2])
    expected = function(x, 1.5)
    for found in (
        calque.compile(function)(x, s),
        calque.compile(lambda x: function(x, s))(x),
        calque.compile(lambda x: function(x, np.array(1.5)))(x),
    ):
        assert found.dtype is expected.dtype
        np.testing.assert_allclose(found.numpy(), expected.numpy())


@both
@pytest.mark.parametrize("name", [*BINARY, "function", "where", "clamp", "power"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8])
def test_an_array_is_a_tensor(name: str, dtype: Any, wrap: Any) -> None:
    a = np.array([[1], [3]], dtype)
    x = calque.tensor([1.0, 2.0])
    for function in (FUNCTIONS[name], FUNCTIONS.get(f"reflected {name}", FUNCTIONS[name])):
        expected = function(x, calque.tensor(a))
        found = wrap(lambda x, f=function: f(x, a))(x)
        assert found.dtype is expected.dtype
        assert found.tolist() == expected.tolist()


@both
def test_products_take_arrays(wrap: Any) -> None:
    a = np.array([[1, 2], [3, 4]], np.float32)
    x = calque.tensor([1.0, 10.0]).requires_grad_()
    for function in (lambda x: x @ a, lambda x: a @ x):
        found = wrap(function)(x)
        np.testing.assert_array_equal(found.detach().numpy(), function(x.detach().numpy()))
        found.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [7.0, 13.0]


def test_an_array_is_read_on_each_call() -> None:
    a = np.array([1, 2], np.float32)
    compiled = calque.compile(lambda x: (x * a + calque.add(a, x), x @ a))
    for first in (1.0, 5.0):
        a[0] = first
        for _ in range(2):
            y, z = compiled(calque.ones(2))
            assert y.tolist() == [2 * first + 1, 5.0]
            assert z.item() == first + 2
    assert compiled.compiles == 1


def test_an_array_that_cannot_be_read_on_each_call_is_refused() -> None:
    a = np.arange(4.0).reshape(2, 2)
    with pytest.raises(RuntimeError, match=r"np\.ascontiguousarray"):
        calque.compile(lambda x: x * a.T)(calque.ones(2))
    a.flags.writeable = False
    assert calque.compile(lambda x: x * a)(calque.ones(2)).tolist() == a.tolist()


def test_an_array_is_read_in_a_branch() -> None:
    a = np.array([1, 2], np.float32)
    compiled = calque.compile(
        lambda x: calque.cond((x > 0).all(), lambda x: x * a, lambda x: x, (x,))
    )
    assert compiled(calque.ones(2)).tolist() == [1.0, 2.0]
    a[0] = 3
    assert compiled(calque.ones(2)).tolist() == [3.0, 2.0]


def test_a_lifted_number_meets_scalars() -> None:
    compiled = calque.compile(lambda x, s: (s * np.float64(2), x * (np.float32(2) + s)))
    for s in (0.5, 1.5):
        number, scaled = compiled(calque.ones(1), s)
        assert (number, scaled.dtype, scaled.tolist()) == (2 * s, calque.float32, [2 + s])
    assert compiled.compiles == 1


def test_arguments_that_are_numbers_of_numpy() -> None:
    compiled = calque.compile(lambda x, n: (x * n, n))
    x = calque.tensor([1, 2])
    for n in (np.int64(2), np.float32(2), np.bool_(True), np.int32(1), np.float32(0), 0.0):
        made, _ = compiled(x, n)
        assert str(made) == str(x * n), repr(n)
    known = compiled.compiles
    assert str(compiled(x, np.float32(-0.0))[0]) == str(x * np.float32(-0.0))
    assert compiled(x, np.int64(2))[1] == np.int64(2)
    assert compiled.compiles == known


def test_integers_of_numpy_are_dimensions_and_counts() -> None:
    x, one = calque.ones(2, 3, 4), np.int64(1)
    for f in (
        lambda x, n: x.sum(n), lambda x, n: x.mean([n]), lambda x, n: x.max(n)[0],
        lambda x, n: x[:, :1].squeeze(n), lambda x, n: x.chunk(n, n)[0], lambda x, n: x.flip(n),
        lambda x, n: F.one_hot(calque.tensor([0]), n + 1), lambda x, n: F.avg_pool1d(x, n + 1, n),
    ):  # fmt: skip
        assert str(f(x, one)) == str(f(x, 1))
        assert str(calque.compile(f)(x, one)) == str(f(x, 1))
