"""Python floats that a compiled function reads anew promote as Python floats do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
from calque import optim
from calque.optim import lr_scheduler

Function = Callable[[Any, Any], Any]

FUNCTIONS: dict[str, Function] = {
    "product": lambda x, s: x * s,
    "reflected": lambda x, s: s - x,
    "integers": lambda x, s: x.long() * s,
    "double": lambda x, s: x.double() * s,
    "half": lambda x, s: x.half() * s,
    "where": lambda x, s: calque.where(x > 0, x, s),
    "where with two numbers": lambda x, s: calque.where(x > 0, 1.0, s),
    "numbers among themselves": lambda x, s: x * (1.0 - s * 0.3),
    "a number": lambda x, s: (1 - s * 2) / s,
    "a sign": lambda x, s: -s + x + abs(s),
    "a size": lambda x, s: s * x.numel(),
    "itself": lambda x, s: s,
    "a tensor of it": lambda x, s: calque.tensor(s) * x,
    "as a tensor": lambda x, s: calque.as_tensor(s) * x.long(),
    "a double": lambda x, s: calque.tensor(s, dtype=calque.float64),
    "a branch": lambda x, s: calque.cond((x > 0).all(), lambda x: x * s, lambda x: x - s, (x,)),
}


def add_in_place(x: Any, s: Any) -> Any:
    s += x
    return s


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("data", [1.5, 3, [1.5, -2.0], [3, 4]], ids=str)
def test_a_lifted_float_promotes_as_one(name: str, data: Any) -> None:
    function, x = FUNCTIONS[name], calque.tensor(data)
    compiled = calque.compile(function)
    for s in (2.7, 0.1):
        eager, found = function(x, s), compiled(x, s)
        assert type(found) is type(eager)
        if not isinstance(eager, float):
            assert found.dtype is eager.dtype
        np.testing.assert_array_equal(np.asarray(found), np.asarray(eager))
    assert compiled.compiles == 1


def test_a_number_is_not_written_in_place() -> None:
    x = calque.tensor([1, 2])
    out = calque.compile(add_in_place)(x, 2.5)
    assert out.dtype is calque.float32
    assert out.tolist() == [3.5, 4.5]


ASKS: dict[str, Function] = {
    "a branch": lambda x, s: x if s > 1 else -x,
    "a conversion": lambda x, s: x * float(s),
    "rounding": lambda x, s: x * round(s, 1),
    "a constant": lambda x, s: calque.full((2,), s),
}


@pytest.mark.parametrize("name", ASKS)
def test_python_that_asks_for_the_value_is_told_the_argument(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"the float argument s is asked .* static"):
        calque.compile(ASKS[name])(calque.ones(2), 2.5)


def test_data_is_not_taken_for_a_number() -> None:
    with pytest.raises(RuntimeError, match=r"traced tensor i1\[\]"):
        calque.compile(lambda x, s: x if x.sum() > s else -x)(calque.ones(2), 2.5)


def test_a_float_of_the_enclosing_function_is_static() -> None:
    s = 2.5
    compiled = calque.compile(lambda x: x * round(s) if s > 1 else -x)
    assert compiled(calque.ones(1)).tolist() == [2.0]
    s = 0.5
    assert compiled(calque.ones(1)).tolist() == [-1.0]


KINDS: dict[str, Any] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.013, weight_decay=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.1, momentum=0.7, centered=True, weight_decay=0.1),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_without_dimensions_agree_bit_for_bit(kind: str) -> None:
    found: list[bytes] = []
    wraps: tuple[Any, Any] = (lambda f: f, calque.compile)
    for wrap in wraps:
        p = nn.Parameter(calque.tensor(0.7))
        optimizer = KINDS[kind]([p])
        cycles = kind != "Adagrad"  # which has no momentum
        schedule = lr_scheduler.OneCycleLR(optimizer, 0.3, 10, cycle_momentum=cycles)

        def step(a: calque.Tensor, p: Any = p, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            (p * a).sin().sum().backward()
            optimizer.step()

        run = wrap(step)
        for _ in range(4):
            run(calque.tensor([0.3, 1.1]))
            schedule.step()
        found.append(p.detach().numpy().tobytes())
    assert found[0] == found[1]


def test_numpy_floats_are_float_arguments() -> None:
    f = calque.compile(lambda x, s: x * s)
    x = calque.ones(2)
    for s in (2.0, np.float64(3.0), np.float64(0.5)):
        out = f(x, s)
        assert out.dtype is calque.float32 and out.tolist() == [float(s)] * 2
    assert f.compiles == 1
