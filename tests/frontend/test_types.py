"""What a type checker knows of a user's program: pyright checks the types, pytest that it runs."""

from __future__ import annotations

from typing import Any, assert_type

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque import Tensor
from calque.autograd import Function, FunctionContext
from calque.optim import SGD


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layer(x))


class Double(Function):
    @staticmethod
    def forward(ctx: FunctionContext, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: FunctionContext, grad: Tensor) -> Tensor:
        return grad * 2


def test_types_of_a_program() -> None:
    model = Net()
    optimizer = SGD(model.parameters(), lr=0.1)

    @calque.compile
    def step(x: Tensor, scale: float = 1.0) -> Tensor:
        optimizer.zero_grad()
        loss = (model(x) * scale).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = calque.randn(4, 3)
    assert_type(step(x, scale=2.0), Tensor)
    assert_type(step.compiles, int)
    assert_type(calque.compile(model).state_dict()["layer.weight"], Tensor)
    assert_type(model.train(), Net)
    assert_type(model.layer.weight, nn.Parameter)
    assert_type(F.softmax(x, dim=-1) @ x.T + 1, Tensor)
    values, indices = x.max(1)
    assert_type(values, Tensor)
    assert_type(x.max(), Tensor)
    assert_type(calque.min(x, 0).indices, Tensor)
    assert_type(x[0, :, None], Tensor)
    result: Any = Double.apply(indices.float())
    assert result.shape == (4,)
