"""Programs as people write them on the first day: they run eagerly, and compiled where legal."""

from __future__ import annotations

import io
import pdb
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F


def grad(x: calque.Tensor) -> np.ndarray:
    assert x.grad is not None
    return x.grad.numpy()


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Switch(nn.Module):
    """Branches on a Python argument."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: calque.Tensor, double: bool = False) -> calque.Tensor:
        y = self.fc(x)
        if double:
            y = y * 2
        return y


@pytest.mark.parametrize("wrap", [lambda m: m, calque.compile], ids=["eager", "compiled"])
def test_branch_on_an_argument(wrap: Any) -> None:
    model = Switch()
    run = wrap(model)
    x = calque.tensor(rand(3, 4))
    plain, doubled = run(x), run(x, double=True)
    np.testing.assert_array_equal(doubled.detach().numpy(), plain.detach().numpy() * 2)


class Recurrent(nn.Module):
    """A loop over a sequence: each length is its own program, and its own Python loop."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(3, 8)
        self.hidden = nn.Linear(8, 8)

    def forward(self, sequence: calque.Tensor) -> calque.Tensor:
        h = calque.zeros(8)
        for step in sequence:
            h = calque.tanh(self.input(step) + self.hidden(h))
        return h


def test_loop_over_sequences_of_different_lengths() -> None:
    model = Recurrent()
    compiled = calque.compile(model)
    for length in (2, 5, 3):
        sequence = calque.tensor(rand(length, 3, seed=length))
        eager, fast = model(sequence), compiled(sequence)
        np.testing.assert_array_equal(fast.detach().numpy(), eager.detach().numpy())
        F.mse_loss(fast, calque.zeros(8)).backward()
        got = grad(model.hidden.weight).copy()
        model.zero_grad()
        F.mse_loss(eager, calque.zeros(8)).backward()
        np.testing.assert_allclose(got, grad(model.hidden.weight), rtol=1e-5, atol=1e-6)
        model.zero_grad()


class Clamp(calque.autograd.Function):
    """max(x, 0) whose backward assigns through a boolean mask."""

    @staticmethod
    def forward(ctx: Any, x: calque.Tensor) -> calque.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad_output: calque.Tensor) -> calque.Tensor:
        (x,) = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[x < 0] = 0
        return grad_input


def test_custom_function_with_mask_assignment() -> None:
    data = rand(4, 5)

    def gradient(run: Any) -> np.ndarray:
        x = calque.tensor(data, requires_grad=True)
        (run(x) * calque.tensor(rand(4, 5, seed=1))).sum().backward()
        return grad(x)

    expected = np.where(data < 0, 0, rand(4, 5, seed=1))
    np.testing.assert_array_equal(gradient(Clamp.apply), expected)
    np.testing.assert_array_equal(gradient(calque.compile(lambda x: Clamp.apply(x))), expected)


class Stops(nn.Module):
    """Stops in the debugger inside of forward."""

    debugger: pdb.Pdb

    def forward(self, x: calque.Tensor) -> calque.Tensor:
        y = x * 2
        self.debugger.set_trace()
        return y + 1


@pytest.mark.parametrize(
    ("wrap", "shown"),
    [(lambda m: m, "tensor([2., 4.])"), (calque.compile, "<traced float32[2] from mul at")],
    ids=["eager", "compiled"],
)
def test_pdb_in_forward(wrap: Any, shown: str) -> None:
    model = Stops()
    out = io.StringIO()
    model.debugger = pdb.Pdb(stdin=io.StringIO("p y\np y.shape\nc\n"), stdout=out, nosigint=True)
    model.debugger.use_rawinput = False
    result = wrap(model)(calque.tensor([1.0, 2.0]))
    assert result.tolist() == [3.0, 5.0]
    assert shown in out.getvalue()
    assert "calque.Size([2])" in out.getvalue()


class Dropped(nn.Module):
    """Dropout by hand, switched by self.training."""

    def forward(self, x: calque.Tensor) -> calque.Tensor:
        if self.training:
            return F.dropout(x, 0.5)
        return x


def test_dropout_follows_training_mode() -> None:
    model = Dropped()
    compiled = calque.compile(model)
    x = calque.ones(1000)
    calque.manual_seed(7)
    eager = model(x).numpy().copy()
    calque.manual_seed(7)
    np.testing.assert_array_equal(compiled(x).numpy(), eager)
    assert 350 < (eager == 0).sum() < 650
    assert set(np.unique(eager)) == {0.0, 2.0}
    assert not np.array_equal(compiled(x).numpy(), eager)  # the counter went on
    model.eval()
    np.testing.assert_array_equal(compiled(x).numpy(), np.ones(1000, np.float32))


def test_error_of_matmul_shapes() -> None:
    for run in (calque.matmul, calque.compile(lambda a, b: a @ b)):
        with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied "
                           r"\(64x128 and 64x10\)"):  # fmt: skip
            run(calque.zeros(64, 128), calque.zeros(64, 10))


def test_error_of_devices() -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device, but "
                       "found at least two devices, meta and cpu!"):  # fmt: skip
        calque.add(calque.zeros(3, device="meta"), calque.zeros(3))


def test_error_of_missing_gradient() -> None:
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does "
                       "not have a grad_fn"):  # fmt: skip
        calque.ones(()).backward()


def test_branching_on_traced_data_says_what_to_use() -> None:
    @calque.compile
    def f(x: calque.Tensor) -> calque.Tensor:
        return x if x.sum() > 0 else -x

    with pytest.raises(RuntimeError, match=r"calque\.where or calque\.cond"):
        f(calque.ones(3))
