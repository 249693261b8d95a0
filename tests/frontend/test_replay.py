"""`create_graph=True` outside of a compiled function, through its forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import calque
from calque import nn
from calque.autograd import grad


def leaf(*values: float) -> Any:
    return calque.tensor([float(v) for v in values], requires_grad=True)


def test_higher_derivatives_of_arguments_captured_tensors_and_cotangents() -> None:
    w = leaf(2, 3)

    @calque.compile
    def f(x: Any) -> Any:
        return x * x * x * w

    x, v = leaf(1, -2), leaf(1, 10)
    (first,) = grad(f(x * 1), x, v, create_graph=True)
    assert first.tolist() == [6, 360]  # 3 x^2 w v
    found: Any = grad(first.sum(), (x, w, v), create_graph=True)
    assert [g.tolist() for g in found] == [[12, -360], [3, 120], [6, 36]]
    (third,) = grad(found[0].sum(), x)
    assert third.tolist() == [12, 180]


def test_a_gradient_penalty_for_every_size() -> None:
    calque.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1))

    # The gradient of a linear map does not depend on its bias, nor on that of the norm before.
    biases = (model[2].bias, model[3].bias)
    parameters: list[Any] = [p for p in model.parameters() if all(p is not b for b in biases)]

    def penalty(f: Any, x: Any) -> list[np.ndarray]:
        (g,) = grad(f(x).sum(), x, create_graph=True)
        model.zero_grad()
        ((g.square().sum(1).sqrt() - 1) ** 2).mean().backward()
        return [p.grad.numpy() for p in parameters]

    compiled = calque.compile(model)
    for n in (4, 5, 6):
        data = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        expected = penalty(model, calque.tensor(data, requires_grad=True))
        found = penalty(compiled, calque.tensor(data, requires_grad=True))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    assert compiled.compiles == 2


def test_what_has_changed_since_is_refused() -> None:
    w = leaf(2, 3)
    f = calque.compile(lambda x: (x * w) ** 2)
    x = leaf(1, -2)
    y = f(x)
    with calque.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        grad(y.sum(), x, create_graph=True)


def branching(x: Any) -> Any:
    return calque.cond(x.sum() > 0, lambda v: v * v, lambda v: v, (x,))


@pytest.mark.parametrize(
    ("function", "reason"),
    [(nn.Dropout(0.5), "it draws random numbers"), (branching, r"of 'calque\.cond'")],
    ids=["dropout", "branches"],
)
def test_what_cannot_run_again_is_refused(function: Any, reason: str) -> None:
    x = leaf(1, 2)
    y = calque.compile(lambda v: function(v) ** 2)(x)
    with pytest.raises(
        RuntimeError, match=f"is not supported here, because {reason}.*instead"
    ) as error:
        grad(y.sum(), x, create_graph=True)
    assert "test_replay.py" in error.value.__notes__[0]
    (first,) = grad(y.sum(), x)
    assert first.shape == (2,)
