"""`autograd.Function`: eager and compiled give the same, and mistakes are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import calque
from calque import Tensor
from calque.autograd import Function, once_differentiable
from calque.frontend.program import trace
from calque.ir.text import from_text, to_text


class Cube(Function):
    """x³ whose derivative is written by hand, and can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return g * y


class Scaled(Function):
    """Takes what is no tensor, reads from outside, keeps attributes; two results."""

    outside = calque.tensor([2.0, 3.0, 4.0])

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, y: Tensor) -> tuple[Tensor, Tensor]:
        ctx.scale, ctx.needs = scale, ctx.needs_input_grad
        ctx.middle = x + y
        return ctx.middle * scale * Scaled.outside, x.argmax()

    @staticmethod
    def backward(ctx: Any, g: Tensor, unused: Tensor) -> tuple[Tensor, None, Tensor | None]:
        got = g * ctx.scale * Scaled.outside + ctx.middle * 0
        return got, None, got * 10 if ctx.needs[2] else None


class Separate(Function):
    """The newer form: forward without a context."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * 5 + ctx.saved_tensors[0] * 0


def gradient(function: Any, *data: Any) -> list[Any]:
    leaves = [
        calque.tensor(d, requires_grad=True) if isinstance(d, np.ndarray) else d for d in data
    ]
    out = function(*leaves)
    first = out[0] if isinstance(out, tuple) else out
    (first * calque.arange(1.0, 4.0)).sum().backward()
    grads = [x.grad for x in leaves if isinstance(x, Tensor)]
    return [None if g is None else g.numpy() for g in grads]


RUNS = [
    pytest.param(lambda f: f, id="eager"),
    pytest.param(lambda f: calque.compile(lambda *a: f(*a)), id="compiled"),
]
X = np.array([0.5, -1.0, 2.0], np.float32)
W = np.arange(1.0, 4.0, dtype=np.float32)


@pytest.mark.parametrize("run", RUNS)
def test_gradients(run: Any) -> None:
    np.testing.assert_allclose(gradient(run(Cube.apply), X)[0], W * 3 * X * X, rtol=1e-6)
    np.testing.assert_allclose(gradient(run(Exp.apply), X)[0], W * np.exp(X), rtol=1e-6)
    np.testing.assert_allclose(gradient(run(Separate.apply), X)[0], W * 5, rtol=1e-6)


@pytest.mark.parametrize("run", RUNS)
def test_other_arguments_and_results(run: Any) -> None:
    gx, gy = gradient(run(lambda x, y: Scaled.apply(x, 3.0, y)), X, -X)
    expected = W * 3 * np.array([2, 3, 4])
    np.testing.assert_allclose(gx, expected, rtol=1e-6)
    np.testing.assert_allclose(gy, expected * 10, rtol=1e-6)
    (only,) = gradient(run(lambda x: Scaled.apply(x, 3.0, calque.ones(3))), X)
    np.testing.assert_allclose(only, expected, rtol=1e-6)


@pytest.mark.parametrize("run", RUNS)
def test_a_whole_step(run: Any) -> None:
    def second(x: Tensor) -> Tensor:
        return calque.grad(lambda v: Cube.apply(v).sum())(x)

    f = run(calque.grad(lambda x: second(x).sum()))
    np.testing.assert_allclose(f(calque.tensor(X)).detach().numpy(), 6 * X, rtol=1e-5)


class Once(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * 2 * ctx.saved_tensors[0]


@pytest.mark.parametrize("run", RUNS)
def test_once_differentiable(run: Any) -> None:
    np.testing.assert_allclose(gradient(run(Once.apply), X)[0], W * 2 * X, rtol=1e-6)

    def first(x: Tensor) -> Tensor:
        return calque.grad(lambda v: Once.apply(v * 1).sum())(x).sum()

    with pytest.raises(RuntimeError, match="differentiate twice"):
        run(calque.grad(first))(calque.tensor(X))


class Doubled(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * 2


@pytest.mark.parametrize("run", RUNS)
def test_writes_in_place(run: Any) -> None:
    def f(x: Tensor) -> Tensor:
        y = x * 1
        Doubled.apply(y)
        return y * y

    np.testing.assert_allclose(gradient(run(f), X)[0], W * 8 * X, rtol=1e-6)


class Same(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return -g


@pytest.mark.parametrize("run", RUNS)
def test_an_input_returned_as_it_is(run: Any) -> None:
    np.testing.assert_allclose(gradient(run(Same.apply), X)[0], -W)


class Wrong(Function):
    result: Any = None

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: int) -> Tensor:
        return x * n

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return Wrong.result(g)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda g: g, r"incorrect number of gradients \(expected 2, got 1\)"),
        (lambda g: (g, g), "was not a Variable"),
        (lambda g: (g[:2], None), r"got \[2\] but expected shape compatible with \[3\]"),
    ],
)
def test_mistakes(run: Any, result: Any, message: str) -> None:
    Wrong.result = result
    with pytest.raises(RuntimeError, match=message):
        gradient(run(lambda x: Wrong.apply(x, 2)), X)


def test_saved_tensors_are_guarded() -> None:
    x = calque.tensor(X, requires_grad=True)
    y = x * 1
    out = Cube.apply(y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_backward_twice() -> None:
    out = Cube.apply(calque.tensor(X, requires_grad=True)).sum()
    out.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        out.backward()


def test_without_gradients_there_is_no_trace_of_it() -> None:
    x = calque.tensor(X, requires_grad=True)
    with calque.no_grad():
        assert not Cube.apply(x).requires_grad
    assert not Cube.apply(calque.tensor(X)).requires_grad
    assert Cube.apply(x).grad_fn.name == "CubeBackward"


def test_its_text() -> None:
    def loss(x: Tensor) -> Tensor:
        x.requires_grad_()
        return Cube.apply(x).sum()

    program = trace(loss, X)
    text = str(program)
    assert "calque.custom" in text
    assert to_text(from_text(text)) == text
    np.testing.assert_allclose(program(X)[0], (X**3).sum(), rtol=1e-6)
