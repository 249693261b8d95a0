"""`cond`, `scan` and `while_loop` say the same eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import calque

ones = calque.ones


def add(carry: Any, x: Any) -> Any:
    return carry + x, carry


def scan_two(carry: Any, xs: Any) -> Any:
    return carry + xs[0] + xs[1], carry


def negative(x: Any) -> Any:
    return -x


def same(x: Any) -> Any:
    return x * 1


REFUSED: dict[str, tuple[type[Exception], str, Callable[..., Any]]] = {
    "xs of two lengths": (
        RuntimeError, r"scan: expected 3 elements along f32\[2\]",
        lambda x: calque.scan(scan_two, ones(()), (x, ones(2))),
    ),
    "another length": (
        RuntimeError, r"scan: expected 4 elements along f32\[3\]",
        lambda x: calque.scan(add, ones(()), x, length=4),
    ),
    "no length": (
        RuntimeError, "give the length", lambda x: calque.scan(lambda c, _: (c, c), x, ())
    ),
    "a carry of another shape": (
        RuntimeError, r"return carried tensors as it takes them: expected f32\[\], got f32\[1\]",
        lambda x: calque.scan(lambda c, y: ((c + y).reshape(1), y), ones(()), x),
    ),
    "a carry of another dtype": (
        RuntimeError, r"expected f32\[\], got f64\[\]",
        lambda x: calque.scan(lambda c, y: ((c + y).double(), y), ones(()), x),
    ),
    "a carry of another structure": (
        RuntimeError, "another structure",
        lambda x: calque.scan(lambda c, y: ([c], y), ones(()), x),
    ),
    "one result": (
        TypeError, "the next carry and y", lambda x: calque.scan(lambda c, y: c + y, ones(()), x)
    ),
    "a loop that changes a dtype": (
        RuntimeError, r"f32\[3\].*f64\[3\]",
        lambda x: calque.while_loop(lambda x: x.sum() < 9, lambda x: x.double() + 1, (x,)),
    ),
    "an operand that is not listed": (
        TypeError, r"cond: expected a tuple or list of operands, got Tensor: write \(x,\)",
        lambda x: calque.cond(x.sum() > 0, negative, same, x),
    ),
    "a loop over an operand that is not listed": (
        TypeError, "while_loop: expected a tuple or list",
        lambda x: calque.while_loop(lambda x: x.sum() < 9, negative, x),
    ),
    "three predicates": (
        RuntimeError, r"pred to be bool or single-element tensor, but got a tensor of shape \[3\]",
        lambda x: calque.cond(x > 0, negative, same, (x,)),
    ),
    "three tests": (
        RuntimeError, r"pred to be bool or single-element tensor, but got a tensor of shape \[3\]",
        lambda x: calque.while_loop(lambda x: x < 9, lambda x: x + 1, (x,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    kind, message, function = REFUSED[name]
    for f in (function, calque.compile(function)):
        with pytest.raises(kind, match=message):
            f(ones(3))


TAKEN: dict[str, Callable[..., Any]] = {
    "a predicate with a dimension": lambda x, s: calque.cond(x[:1] > 0, negative, same, [x]),
    "a predicate that is a number": lambda x, s: calque.cond(x.sum(), negative, same, (x,)),
    "a carry that begins as a number": lambda x, s: calque.scan(add, s, x),
    "a loop that begins with a number": lambda x, s: calque.while_loop(
        lambda y: y < 9, lambda y: y * 2, (s,)
    )[0],
    "a number as an operand": lambda x, s: calque.cond(
        x.sum() > 0, lambda x, s: x.long() * s, lambda x, s: x.long() + s, (x, s)
    ),
    "a number among the operands": lambda x, s: calque.cond(
        x.sum() > 0, lambda x, s: x.double() * s, lambda x, s: x.double() + s, (x, 0.1)
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_same_eager_and_compiled(name: str) -> None:
    function = TAKEN[name]
    x, leaves = ones(3), []
    for f in (function, calque.compile(function)):
        out = f(x, 2.5)
        out = out if isinstance(out, tuple) else (out,)
        leaves.append([(y.dtype, y.tolist()) for y in out])
    assert leaves[0] == leaves[1]
