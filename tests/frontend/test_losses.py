"""Losses refuse what PyTorch refuses, eager and compiled, before anything is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque.optim import Adam

Call = Callable[[], Any]
ones, tensor = calque.ones, calque.tensor


def classes(*shape: int) -> calque.Tensor:
    return calque.zeros(*shape, dtype=calque.int64)


REFUSED: dict[str, tuple[type[Exception], str, Call]] = {
    "batches": (
        ValueError, r"Expected input batch_size \(4\) to match target batch_size \(3\)\.",
        lambda: F.cross_entropy(ones(4, 3), classes(3)),
    ),
    "batches of log-probabilities": (
        ValueError, r"Expected input batch_size \(4\) to match target batch_size \(3\)\.",
        lambda: F.nll_loss(ones(4, 3), classes(3)),
    ),
    "rows": (
        RuntimeError, r"Expected target size \[2, 5\], got \[2, 4\]",
        lambda: F.cross_entropy(ones(2, 3, 5), classes(2, 4)),
    ),
    "missing rows": (
        RuntimeError, r"Expected target size \[2, 5\], got \[2\]",
        lambda: F.cross_entropy(ones(2, 3, 5), classes(2)),
    ),
    "no batch": (ValueError, "target batch_size", lambda: F.nll_loss(ones(2, 3), classes())),
    "a column": (
        RuntimeError, "multi-target not supported",
        lambda: F.cross_entropy(ones(4, 3), tensor([[0], [1], [2], [0]])),
    ),
    "several for one row": (
        ValueError, "1D target must have size 1, but got target size: 2",
        lambda: F.nll_loss(ones(3), classes(2)),
    ),
    "no classes": (
        ValueError, "Expected 1 or more dimensions", lambda: F.nll_loss(ones(), classes())
    ),
    "few probabilities": (
        ValueError, r"batch_size \(4\) to match target batch_size \(3\)",
        lambda: F.cross_entropy(ones(4, 3), ones(3)),
    ),
    "a column of probabilities": (
        RuntimeError, "multi-target not supported", lambda: F.cross_entropy(ones(4, 3), ones(4, 1))
    ),
    "classes that are floats": (
        RuntimeError, "expected target dtype to be Long or Byte, but got Float",
        lambda: F.cross_entropy(ones(4, 3), ones(4)),
    ),
    "probabilities that are integers": (
        RuntimeError, "Expected floating point type for target with class probabilities, got Long",
        lambda: F.cross_entropy(ones(4, 3), classes(4, 3)),
    ),
    "few weights": (
        RuntimeError, r"either for all 3 classes or no classes but got weight .* shape: \[2\]",
        lambda: F.cross_entropy(ones(4, 3), classes(4), ones(2)),
    ),
    "few weights of probabilities": (
        RuntimeError, "either for all 3 classes",
        lambda: F.cross_entropy(ones(4, 3), ones(4, 3), ones(2)),
    ),
    "much smoothing": (
        RuntimeError, r"label_smoothing must be between 0.0 and 1.0. Got: 2",
        lambda: F.cross_entropy(ones(4, 3), classes(4), label_smoothing=2.0),
    ),
    "an unknown class": (
        IndexError, "Target is out of bounds",
        lambda: F.cross_entropy(ones(2, 3), tensor([0, 7])),
    ),
    "logits": (
        ValueError, r"\(calque.Size\(\[8\]\)\) must be the same as input size \(.*\[8, 1\]\)\)",
        lambda: F.binary_cross_entropy_with_logits(ones(8, 1), ones(8)),
    ),
    "probabilities": (
        ValueError, "must be the same as input size",
        lambda: F.binary_cross_entropy(ones(8, 1), ones(8)),
    ),
    "more weights than elements": (
        RuntimeError, r"output with shape \[8, 1\] doesn't match the broadcast shape \[8, 3\]",
        lambda: F.binary_cross_entropy_with_logits(ones(8, 1), ones(8, 1), ones(3)),
    ),
    "no probability": (
        RuntimeError, "all elements of input should be between 0 and 1",
        lambda: F.binary_cross_entropy(ones(8) * 2, ones(8)),
    ),
    "no probability in the target": (
        RuntimeError, "all elements of target should be between 0 and 1",
        lambda: F.binary_cross_entropy(ones(8), ones(8) * -1),
    ),
    "a negative beta": (
        RuntimeError, "does not support negative values for beta",
        lambda: F.smooth_l1_loss(ones(8), ones(8), beta=-1.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    kind, message, call = REFUSED[name]
    for function in (call, calque.compile(call)):
        with pytest.raises(kind, match=message):
            function()


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_broadcasting_warns_at_the_call(loss: Any) -> None:
    with pytest.warns(UserWarning, match=r"size \(calque.Size\(\[2\]\)\) that is different") as met:
        loss(ones(2, 1), ones(2))
    assert met[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(ones(2, 1), ones(2, 1))


def test_one_row_takes_one_class() -> None:
    x = calque.randn(3)
    expected = -F.log_softmax(x, 0)[2].item()
    for target in (tensor(2), tensor([2])):
        assert F.cross_entropy(x, target).item() == pytest.approx(expected)


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", [calque.uint8, calque.int32, calque.int16], ids=str)
def test_classes_may_be_narrow(wrap: Any, dtype: Any) -> None:
    x, classes = calque.randn(3, 4), tensor([1, 3, 0])
    every: list[dict[str, Any]] = [{}, {"ignore_index": 3}, {"ignore_index": -1000}]
    for options in [*every, {"label_smoothing": 0.1}]:

        @wrap
        def loss(x: Any, y: Any, options: Any = options) -> Any:
            return F.cross_entropy(x, y, **options)

        expected = F.cross_entropy(x, classes, **options)
        assert loss(x, classes.to(dtype)).item() == pytest.approx(expected.item())


def test_classes_are_integers() -> None:
    for loss in (F.cross_entropy, F.nll_loss):
        for dtype, name in ((calque.bool, "Bool"), (calque.float32, "Float")):
            with pytest.raises(RuntimeError, match=f"Long or Byte, but got {name}"):
                loss(ones(3, 4), ones(3).to(dtype))


def test_the_gradient_of_probabilities_passes_the_check() -> None:
    p = tensor([0.2, 0.7]).requires_grad_()
    F.binary_cross_entropy(p, tensor([0.0, 1.0]), reduction="sum").backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.numpy(), [1 / 0.8, -1 / 0.7], rtol=1e-5)


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", [calque.float32, calque.float64, calque.float16], ids=str)
def test_certain_probabilities_have_a_gradient(wrap: Any, dtype: Any) -> None:
    @wrap
    def gradients(x: Any, t: Any) -> Any:
        loss = F.binary_cross_entropy(calque.sigmoid(x), t)
        return calque.autograd.grad(loss, (x, t))

    x = tensor([1e3, -1e3, 0.0], dtype=dtype).requires_grad_()
    of_x, of_t = gradients(x, tensor([1.0, 0.0, 1.0], dtype=dtype).requires_grad_())
    np.testing.assert_allclose(of_x.numpy(), [0, 0, -1 / 6], rtol=1e-3)
    np.testing.assert_allclose(of_t.numpy(), [-100 / 3, 100 / 3, 0], rtol=1e-3)


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
def test_binary_cross_entropy_has_second_derivatives(wrap: Any) -> None:
    @wrap
    def second(p: Any, t: Any, w: Any) -> Any:
        loss = F.binary_cross_entropy(p, t, w, reduction="sum")
        g: Any = calque.autograd.grad(loss, p, create_graph=True)[0]
        return g, calque.autograd.grad((g * g).sum(), p)[0]

    p, t, w = np.array([0.2, 0.7]), np.array([0.1, 1.0]), np.array([2.0, 0.5])
    found = second(tensor(p).requires_grad_(), tensor(t), tensor(w))
    first = w * ((1 - t) / (1 - p) - t / p)
    np.testing.assert_allclose(found[0].detach().numpy(), first)
    again = w * ((1 - t) / (1 - p) ** 2 + t / p**2)
    np.testing.assert_allclose(found[1].detach().numpy(), 2 * first * again)


def test_a_batch_that_does_not_match_changes_nothing() -> None:
    model = nn.Linear(5, 3)
    opt = Adam(model.parameters(), lr=0.1)

    @calque.compile
    def step(x: calque.Tensor, y: calque.Tensor) -> calque.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    for n in (4, 6, 7):
        step(ones(n, 5), classes(n))
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    message = r"batch_size \(9\) to match target batch_size \(6\)"
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            step(ones(9, 5), classes(6))
    with pytest.raises(IndexError, match="Target is out of bounds"):
        step(ones(7, 5), classes(7) + 3)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert {int(state["step"].item()) for state in opt.state.values()} == {3}
    step(ones(8, 5), classes(8))
    assert step.compiles == 2
