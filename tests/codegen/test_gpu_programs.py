"""Whole programs compiled for a GPU, run with its threads emulated."""

from __future__ import annotations

from typing import Any

import numpy as np

import calque
from calque import nn
from calque.ir import interpreter
from calque.ir.dialect import context
from calque.ir.target import Target
from calque.passes.pipeline import Options, compile_pipeline

from .blocks import DeviceProgram

TARGET = Target.nvptx("sm_80")


class Network(nn.Module):
    """Convolution, normalization, pooling, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        self.normalization = nn.BatchNorm2d(4)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        y = self.normalization(self.convolution(x)).relu()
        y = nn.functional.max_pool2d(y, 2)
        return self.linear(y.reshape(x.shape[0], -1))


def test_training_step() -> None:
    """Forward, backward, running statistics and the optimizer's step, state in place."""
    context()
    network = Network()
    optimizer = calque.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype("f4")
    y = np.array([1, 2, 3, 9])
    traced = calque.trace(step, calque.tensor(x), calque.tensor(y))
    given = iter((x, y))
    inputs = [
        np.asarray(entry.getter(), "f8")
        if entry.getter is not None
        else np.array(next(given) if entry.tensor is None else entry.tensor.detach().numpy())
        for entry in traced.captured.inputs
    ]
    expected = interpreter.run(traced.module, [a.copy() for a in inputs])
    module = traced.module.clone()
    for _, stage in compile_pipeline(module, Options(target=TARGET, verify=True)):
        module = stage
    program = DeviceProgram(module, TARGET, backwards=True)
    for got, wanted in zip(program(*inputs), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
