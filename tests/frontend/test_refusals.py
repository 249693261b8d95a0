"""What is refused with PyTorch's exception and words, wherever one would meet it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque import optim

ones, tensor = calque.ones, calque.tensor

NEGATIVE = r"Trying to create tensor with negative dimension -1: \[2, -1\]"

REFUSED: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "zeros": (RuntimeError, NEGATIVE, lambda: calque.zeros(2, -1)),
    "empty": (RuntimeError, NEGATIVE, lambda: calque.empty(2, -1)),
    "full": (RuntimeError, NEGATIVE, lambda: calque.full((2, -1), 3)),
    "randn": (RuntimeError, NEGATIVE, lambda: calque.randn(2, -1)),
    "arange against its step": (
        RuntimeError, "upper bound and lower bound inconsistent with step sign",
        lambda: calque.arange(0, 5, -1),
    ),
    "arange without a step": (
        RuntimeError, "step must be nonzero", lambda: calque.arange(0, 5, 0)
    ),
    "eye": (RuntimeError, "n must be greater or equal to 0, got -2", lambda: calque.eye(-2)),
    "columns of eye": (RuntimeError, "m must be greater or equal", lambda: calque.eye(2, -1)),
    "a deviation": (
        RuntimeError, "normal expects std >= 0.0, but found std -1",
        lambda: calque.normal(0.0, -1.0, (2,)),
    ),
    "deviations": (
        RuntimeError, "normal expects all elements of std >= 0.0",
        lambda: calque.normal(ones(2), -ones(2)),
    ),
    "probabilities": (
        RuntimeError, "Expected p_in >= 0 && p_in <= 1 to be true",
        lambda: calque.bernoulli(ones(2) * 2),
    ),
    "a probability": (
        RuntimeError, r"bernoulli_ expects p to be in \[0, 1\], but got p=2.0",
        lambda: ones(2).bernoulli_(2.0),
    ),
    "a byte": (
        RuntimeError, "value cannot be converted to type uint8 without overflow",
        lambda: tensor([300], dtype=calque.uint8),
    ),
    "a float as a byte": (
        RuntimeError, "to type uint8 without overflow", lambda: tensor(300.5, dtype=calque.uint8)
    ),
    "NaN as an integer": (
        RuntimeError, "to type int32 without overflow",
        lambda: tensor(float("nan"), dtype=calque.int32),
    ),
    "rows of two lengths": (
        ValueError, "rows must have one length", lambda: tensor([[1, 2], [3]])
    ),
    "what is no number": (ValueError, "expected a tensor of numbers", lambda: tensor([None])),
    "infinity among integers": (
        RuntimeError, "to type int64 without overflow",
        lambda: calque.arange(2).masked_fill(ones(2) > 0, float("inf")),
    ),
    "bytes": (
        RuntimeError, "to type int8 without overflow",
        lambda: calque.full((2,), -129, dtype=calque.int8),
    ),
    "a float as an index": (
        IndexError, r"only integers, slices .* valid indices \(got float\)", lambda: ones(2)[1.5]
    ),
    "a name as an index": (IndexError, r"\(got str\)", lambda: ones(2, 2)[0, "a"]),
    "floats to embed": (
        RuntimeError, "scalar types: Long, Int; but got Float instead",
        lambda: nn.Embedding(3, 2)(ones(2)),
    ),
    "padding": (
        RuntimeError, "got padding length 4 and input of dimension 1",
        lambda: F.pad(ones(2), (1, 1, 1, 1)),
    ),
    "an argument": (
        RuntimeError, "Got argnum=3, but only 1 positional inputs",
        lambda: calque.grad(lambda x: x.sum(), argnums=3)(ones(2)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    kind, message, call = REFUSED[name]
    for function in (call, calque.compile(call)):
        with pytest.raises(kind, match=message):
            function()


def test_negative_numbers_wrap_in_unsigned_tensors() -> None:
    assert tensor([-1, 255], dtype=calque.uint8).tolist() == [255, 255]
    assert tensor(np.array([300]), dtype=calque.uint8).tolist() == [44]
    one = calque.full((1,), -1, dtype=calque.uint8)
    assert one.tolist() == one.masked_fill(one > 0, -1).tolist() == [255]


@pytest.mark.parametrize("value", [-1, 300, -300, 2**40])
def test_numbers_wrap_among_integers(value: int) -> None:
    def f(x: Any) -> list[Any]:
        return [x * value, calque.where(x > 9, x, value)]

    x = calque.ones(1, dtype=calque.uint8)
    for function in (f, calque.compile(f)):
        assert [made.tolist() for made in function(x)] == [[value % 256]] * 2


def test_numbers_of_every_floating_dtype() -> None:
    """Rounded once; too large ones are infinite, without a warning."""
    for dtype in (calque.bfloat16, calque.float16, calque.float32):
        x = tensor([[1.5, -2.0], [float("nan"), 1e300]], dtype=dtype)
        assert x.dtype is dtype
        assert x[0].tolist() == [1.5, -2.0]
        assert (
            str(x[1]) == f"tensor([nan, inf]{'' if dtype is calque.float32 else f', {dtype=!s}'})"
        )
    assert str(ones(2).to(calque.bfloat16)) == "tensor([1., 1.], dtype=calque.bfloat16)"


def test_iterators_are_no_results() -> None:
    """They can be gone through but once, and a program is run many times."""
    for result in (iter, lambda x: (row for row in x)):
        with pytest.raises(TypeError, match="a compiled function takes and returns tensors"):
            calque.compile(result)(ones(2))


MODULES: dict[str, tuple[type[Exception], str, Callable[[nn.Module], Any]]] = {
    "a buffer over a parameter": (
        KeyError, "attribute 'weight' already exists",
        lambda m: m.register_buffer("weight", ones(2)),
    ),
    "a buffer over an attribute": (
        KeyError, "attribute 'forward' already exists",
        lambda m: m.register_buffer("forward", ones(2)),
    ),
    "a parameter over a buffer": (
        KeyError, "attribute 'kept' already exists",
        lambda m: m.register_parameter("kept", nn.Parameter(ones(2))),
    ),
    "a module over a parameter": (
        KeyError, "attribute 'weight' already exists", lambda m: m.add_module("weight", nn.ReLU())
    ),
    "a number as a buffer": (
        TypeError, r"cannot assign 'int' object to buffer 'b' \(Tensor or None required\)",
        lambda m: m.register_buffer("b", 3),  # pyright: ignore[reportArgumentType]
    ),
    "a tensor as a parameter": (
        TypeError, "cannot assign 'Tensor' object to parameter 'p'",
        lambda m: m.register_parameter("p", ones(2)),  # pyright: ignore[reportArgumentType]
    ),
    "Sequential": (TypeError, "int is not a Module subclass", lambda m: nn.Sequential(1)),
    "ModuleList": (
        TypeError, "int is not a Module subclass",
        lambda m: nn.ModuleList([1]),  # pyright: ignore[reportArgumentType]
    ),
    "an item of ModuleList": (
        TypeError, "int is not a Module subclass",
        lambda m: nn.ModuleList([m]).__setitem__(0, 1),  # pyright: ignore[reportArgumentType]
    ),
    "an empty kernel": (
        RuntimeError, "kernel size should be greater than zero", lambda m: nn.Conv2d(3, 4, 0)
    ),
    "strides of equal size": (
        ValueError, "padding='same' is not supported for strided convolutions",
        lambda m: nn.Conv2d(3, 4, 3, stride=2, padding="same"),
    ),
    "unknown padding": (
        ValueError, r"Invalid padding string 'some', should be one of \{'valid', 'same'\}",
        lambda m: nn.Conv2d(3, 4, 3, padding="some"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules_refuse(name: str) -> None:
    kind, message, call = MODULES[name]
    module = nn.Linear(2, 2)
    module.register_buffer("kept", ones(2))
    module.register_buffer("kept", ones(3))  # again is no mistake
    with pytest.raises(kind, match=message):
        call(module)


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile])
def test_momentum_may_begin_later(wrap: Any) -> None:
    p = nn.Parameter(ones(2))
    optimizer = optim.SGD([p], lr=0.5)

    @wrap
    def step(x: calque.Tensor) -> None:
        optimizer.zero_grad()
        (p * x).sum().backward()
        optimizer.step()

    step(ones(2))
    optimizer.param_groups[0]["momentum"] = 0.5
    for expected in (0.0, -0.75):  # the velocities are 1 and 1.5
        step(ones(2))
        assert p.tolist() == [expected] * 2


def test_optimizers_print_their_options() -> None:
    groups = [{"params": [nn.Parameter(ones(2))]}, {"params": [nn.Parameter(ones(2))], "lr": 0.5}]
    assert repr(optim.Adagrad(groups, lr=0.25)) == (
        "Adagrad (\n"
        "Parameter Group 0\n    eps: 1e-10\n    initial_accumulator_value: 0.0\n    lr: 0.25\n"
        "    lr_decay: 0.0\n    maximize: False\n    weight_decay: 0.0\n"
        "\n"
        "Parameter Group 1\n    eps: 1e-10\n    initial_accumulator_value: 0.0\n    lr: 0.5\n"
        "    lr_decay: 0.0\n    maximize: False\n    weight_decay: 0.0\n"
        ")"
    )
