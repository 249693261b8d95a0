"""`y[mask]` on the way back to `y[mask]`, eagerly and while tracing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque

both = pytest.mark.parametrize(
    "wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"]
)  # fmt: skip

DATA = np.array([[1, -2, 0], [3, 4, -1], [-1, 2, 5], [np.nan, 0.5, -7]], np.float32)


def augmented(y: Any) -> None:
    mask = y > 0
    y[mask] += 1
    y[mask] -= 0.5
    y[mask] *= 4
    y[mask] /= 3


def computed(y: Any) -> None:
    y[y > 0] = (2 - y[y > 0] * 2) ** 2


def rows(y: Any) -> None:
    mask = y[:, 1] > 0
    y[mask] *= 3


def part(y: Any) -> None:
    column = y[:, 1]
    column[column > 0] += 7


def renamed(y: Any) -> None:
    mask = y > 0
    chosen = y[mask]
    same = chosen
    chosen += 1
    y[mask] = same * chosen


def written_mask(y: Any) -> None:
    mask = y > 0
    chosen = y[mask]
    other = mask * True
    mask[0] = False
    chosen *= 2
    y[other] = chosen


PROGRAMS: list[Callable[[Any], None]] = [augmented, computed, rows, part, renamed]


@both
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_mask_selects_is_computed_and_written_back(
    program: Callable[[Any], None], wrap: Any
) -> None:
    def f(y: Any) -> Any:
        program(y)
        return y

    expected = DATA.copy()
    program(expected)
    got = wrap(f)(calque.tensor(DATA))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


@both
def test_gradients_see_nothing_of_what_is_not_selected(wrap: Any) -> None:
    @wrap
    def f(x: Any, scale: Any) -> Any:
        y = x * 1
        mask = y > 0
        y[mask] = (y[mask].log() + 1) / scale
        return calque.where(mask, y, 0).sum()

    x, scale = calque.tensor(DATA, requires_grad=True), calque.tensor(2.0, requires_grad=True)
    f(x, scale).backward()
    chosen = np.where(DATA > 0, DATA, 1)
    assert x.grad is not None and scale.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.where(DATA > 0, 0.5 / chosen, 0), rtol=1e-6)
    total = (np.log(chosen) + 1)[DATA > 0].sum()
    assert scale.grad.item() == pytest.approx(-total / 4, rel=1e-6)


@both
def test_writes_keep_the_dtype(wrap: Any) -> None:
    def doubled(y: Any) -> Any:
        y[y > 1] *= 2
        return y

    def flipped(y: Any) -> Any:
        y[y] ^= True
        return y

    def scaled(y: Any) -> Any:
        y[y > 1] *= 1.5
        return y

    whole = wrap(doubled)(calque.tensor([1, 2, 3]))
    assert whole.dtype is calque.int64 and whole.tolist() == [1, 4, 6]
    assert wrap(flipped)(calque.tensor([True, False])).tolist() == [False, False]
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
        wrap(scaled)(calque.tensor([1, 2, 3]))


def test_one_value_for_each_selected_element() -> None:
    y = calque.tensor([1.0, -2.0, 3.0])
    y[y > 0] = calque.tensor([7.0, 8.0])
    assert y.tolist() == [7, -2, 8]
    y[y > 0] = calque.tensor([5.0])
    assert y.tolist() == [5, -2, 5]
    with pytest.raises(RuntimeError, match="shape mismatch"):
        y[y > 0] = calque.tensor([1.0, 2.0, 3.0])


def other_mask(y: Any) -> None:
    chosen = y[y > 0]
    y[y > 1] = chosen


def changed_mask(y: Any) -> None:
    mask = y > 0
    chosen = y[mask]
    mask[0] = False
    y[mask] = chosen


REFUSED: dict[str, Callable[[Any], Any]] = {
    "returned": lambda y: y[y > 0],
    "summed": lambda y: y[y > 0].sum(),
    "compared": lambda y: y[y > 0] == 3,
    "truth": lambda y: not y[y > 0],
    "tensor": lambda y: y[y > 0] + y,
    "function": lambda y: calque.cat([y, y[y > 0]]),
    "other mask": other_mask,
    "changed mask": changed_mask,
    "two masks": lambda y: y[y > 0] + y[y > 1],
}


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_names_the_way_out(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"\(gt at .*calque\.where"):
        calque.compile(REFUSED[name])(calque.tensor([1.0, -2.0, 3.0]))
