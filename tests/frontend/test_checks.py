"""Indices are checked whether or not what they read is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import calque
import calque.nn.functional as F

both = pytest.mark.parametrize(
    "wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"]
)  # fmt: skip


def put(x: Any, i: Any) -> Any:
    y = x.clone()
    y[i] = 1
    y.index_add_(0, i, x[:2])
    return x


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "indexed": lambda x, i: (x[i], x * 2)[1],
    "embedded": lambda x, i: (F.embedding(i, x), x * 2)[1],
    "gathered": lambda x, i: (x.gather(0, i[:, None]), x * 2)[1],
    "size": lambda x, i: x * x[i].shape[0],
    "written": put,
}


@both
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_read_for_nothing_is_checked(name: str, wrap: Any) -> None:
    f = wrap(PROGRAMS[name])
    x = calque.ones(4, 3)
    f(x, calque.tensor([0, 3]))
    with pytest.raises(IndexError, match=r"out of (range|bounds)"):
        f(x, calque.tensor([0, 4]))


@both
def test_a_step_that_returns_nothing_checks_its_labels_first(wrap: Any) -> None:
    w = calque.zeros(3, 4).requires_grad_()

    @wrap
    def step(x: Any, labels: Any) -> None:
        F.cross_entropy(x @ w, labels).backward()
        with calque.no_grad():
            w.sub_(w.grad)
        w.grad = None

    x = calque.ones(2, 3)
    step(x, calque.tensor([0, 3]))
    before = w.tolist()
    assert before != calque.zeros(3, 4).tolist()
    with pytest.raises(IndexError, match="out of bounds"):
        step(x, calque.tensor([0, 4]))
    assert w.tolist() == before


def test_what_is_used_is_checked_once() -> None:
    table = calque.zeros(5, 3).requires_grad_()

    @calque.compile
    def used(i: Any) -> Any:
        return F.embedding(i, table).sum()

    @calque.compile
    def gradient_only(i: Any) -> None:
        F.embedding(i, table).sum().backward()

    @calque.compile
    def known(x: Any) -> Any:
        x[calque.arange(2)]
        return x + 1

    index = calque.tensor([1, 4])
    for f, x in ((used, index), (gradient_only, index), (known, calque.ones(3))):
        f(x)
        assert "check_index" not in f.ir("graph")


def probabilities(x: Any) -> Any:
    F.binary_cross_entropy(x, x.detach() * 0)
    return x * 2


def deviations(x: Any) -> Any:
    calque.normal(0.0, x)
    return x * 2


@both
@pytest.mark.parametrize(
    ("program", "message"), [(probabilities, "between 0 and 1"), (deviations, "std >= 0.0")]
)
def test_a_range_is_checked_for_nothing_too(program: Any, message: str, wrap: Any) -> None:
    f = wrap(program)
    f(calque.tensor([0.0, 1.0]))
    with pytest.raises(RuntimeError, match=message):
        f(calque.tensor([0.5, -0.1]))
