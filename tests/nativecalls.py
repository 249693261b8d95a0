"""Functions that are called through the native entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import calque
import calque.nn as nn
from calque.frontend.nativecall import native_code

needs_it = pytest.mark.skipif(
    native_code() is None, reason="this interpreter has no native entry, or CALQUE_NATIVE_ENTRY=0"
)


def recognizes(f: Any, *args: Any) -> bool:
    """Whether the native entry takes a call."""
    return f._route.native(args) is not None


def called(function: Callable[..., Any], *args: Any) -> Any:
    """The compiled function after calls like this: the first compiles it, the second looks at
    what it depends on, those that follow are native."""
    f = calque.compile(function)
    f(*args)
    f(*args)
    return f


def product() -> tuple[Any, calque.Tensor, calque.Tensor]:
    x, w = calque.randn(3, 4), calque.randn(4, 5)
    return called(lambda x, w: x @ w, x, w), x, w


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("calls", calque.zeros(1))

    def forward(self, x: calque.Tensor) -> calque.Tensor:
        self.calls += 1
        return self.layer(x)


def training(kind: Any) -> tuple[Any, Model, Any]:
    model = Model()
    optimizer = kind(model.parameters(), lr=0.1)

    def step(x: calque.Tensor) -> calque.Tensor:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return calque.compile(step), model, optimizer
