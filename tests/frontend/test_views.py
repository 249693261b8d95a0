"""Views share memory, eagerly and in compiled functions alike; what has to copy does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque

Program = Callable[[calque.Tensor], Any]
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def through_views(x: calque.Tensor) -> Any:
    x.view(3, 4)[0] = 7
    y = x.t()
    y[1:, 2] *= 2
    x[::2, 1] += 1
    x.T[0].neg_()
    return y, x.sum(0)


def overlapping(x: calque.Tensor) -> Any:
    a, b = x.view(-1)[:8], x.view(-1)[4:]
    a.add_(1)
    b.mul_(2)
    return a, b


def copying_reshape(x: calque.Tensor) -> Any:
    y = x.t().reshape(12)
    y.zero_()
    return y


def copying_contiguous(x: calque.Tensor) -> Any:
    y, same = x.t().contiguous(), x.contiguous()
    y.zero_()
    same[0] = 1
    return y


def copying_repeat(x: calque.Tensor) -> Any:
    y, same = x[:1, 0].repeat(2, 1).reshape(-1), x.repeat(1, 1)
    y.mul_(2)
    same.zero_()
    return x, y


def detached(x: calque.Tensor) -> Any:
    x.detach().add_(1)
    x.data[0] = 5
    x.data -= 2
    return x


def operators(x: calque.Tensor) -> Any:
    before = x
    x **= 2
    x //= 3
    x %= 4
    mask = x > 1
    mask &= x < 3
    mask |= x == 0
    mask ^= x == 2
    return before, mask


def numpy_of(program: Program) -> tuple[list[np.ndarray], np.ndarray]:
    """What a program does, said with NumPy's views."""
    x = X.copy()
    out: list[np.ndarray] = []
    if program is through_views:
        x.reshape(3, 4)[0] = 7
        x.T[1:, 2] *= 2
        x[::2, 1] += 1
        x[:, 0] *= -1
        out = [x.T, x.sum(0)]
    elif program is overlapping:
        flat = x.reshape(-1)
        flat[:8] += 1
        flat[4:] *= 2
        out = [flat[:8], flat[4:]]
    elif program is copying_reshape:
        out = [np.zeros(12)]
    elif program is copying_contiguous:
        x[0] = 1
        out = [np.zeros((3, 4))]
    elif program is copying_repeat:
        out = [x, np.zeros(2)]
    elif program is detached:
        x += 1
        x[0] = 5
        x -= 2
        out = [x]
    else:
        x[:] = x**2 // 3 % 4
        out = [x, ((x > 1) & (x < 3) | (x == 0)) ^ (x == 2)]
    return out, x


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "program",
    [
        through_views,
        overlapping,
        copying_reshape,
        copying_contiguous,
        copying_repeat,
        detached,
        operators,
    ],
)
def test_writes_reach_what_shares_the_memory(program: Program, wrap: Any) -> None:
    x = calque.tensor(X)
    out = wrap(program)(x)
    wanted, changed = numpy_of(program)
    for got, want in zip(out if isinstance(out, tuple) else (out,), wanted, strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    np.testing.assert_array_equal(x.numpy(), changed)


def test_strides_in_a_trace_are_those_of_the_views() -> None:
    seen: list[Any] = []

    def f(x: calque.Tensor) -> calque.Tensor:
        views = [x, x.t(), x[::2, 1:], x.expand(2, 4, 3), x[:, None], x.view(2, 6).t()]
        seen.append([(v.stride(), v.is_contiguous()) for v in views])
        return x.sum()

    f(calque.tensor(X))
    calque.compile(f)(calque.tensor(X))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
def test_view_refuses_to_copy(wrap: Any) -> None:
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        wrap(lambda x: x.t().view(12))(calque.tensor(X))


def test_reshape_of_views_with_symbolic_sizes() -> None:
    def heads(x: calque.Tensor) -> calque.Tensor:
        b, t, c = x.shape
        y = x.view(b, t, 2, c // 2).transpose(1, 2)
        z = y.transpose(1, 2).reshape(b, t, c)  # again as it lies: a view
        z.mul_(2)
        return y.reshape(b, -1)

    f = calque.compile(heads)
    for b, t in ((2, 3), (4, 5), (3, 7), (5, 2)):
        data = np.random.default_rng(b).standard_normal((b, t, 6)).astype(np.float32)
        x, twin = calque.tensor(data), calque.tensor(data)
        np.testing.assert_array_equal(f(x).numpy(), heads(twin).numpy())
        np.testing.assert_array_equal(x.numpy(), data * 2)
    assert f.compiles == 2


def written_rows(x: calque.Tensor) -> Any:
    x[::2] *= 2
    return x


def written_reshape(x: calque.Tensor) -> Any:
    return x[1:, :2].reshape(-1).mul_(2), x[: x.shape[0] // 2].reshape(-1)[1:].add_(1), x


def squeezed(x: calque.Tensor) -> Any:
    return x[::2].squeeze(), x[1:].squeeze(0)


def repeated(x: calque.Tensor) -> Any:
    return x[::2] + x[:2], x[1:] * x[: x.shape[0] // 2 + 1]


@pytest.mark.parametrize("program", [written_rows, written_reshape, squeezed, repeated])
@pytest.mark.parametrize("rows", [(6, 9, 2, 3, 1, 0, 4), (3, 2, 5, 1)])
def test_a_size_that_becomes_one(program: Program, rows: tuple[int, ...]) -> None:
    """What is a view, squeezed or repeated depends on whether a computed size is one."""
    compiled = calque.compile(lambda x: program(x * 1))
    for n in rows:
        x = calque.arange(n * 4).reshape(n, 4).float()
        try:
            expected = program(x * 1)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                compiled(x)
            continue
        found = compiled(x)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
