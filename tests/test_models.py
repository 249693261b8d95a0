"""What the models show: learning, derivatives of derivatives, sizes, and text at every stage."""

from __future__ import annotations

import functools
import subprocess
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn.functional as F
import models
import needs
from calque import data
from calque.ir.text import from_text, to_text

VOCABULARY = 50
SEQUENCE = 12


def _model(name: str) -> Any:
    calque.manual_seed(0)
    if name == "transformer":
        return models.transformer(calque, VOCABULARY, layers=1)  # a second one is the same code
    return models.mlp(calque) if name == "mlp" else models.cnn(calque, channels=4)


def _batch(name: str, size: int = 6) -> tuple[calque.Tensor, calque.Tensor]:
    rng = np.random.default_rng(size)
    if name == "transformer":
        ids = rng.integers(0, VOCABULARY, (size, SEQUENCE + 1))
        return calque.from_numpy(ids[:, :-1].copy()), calque.from_numpy(ids[:, 1:].copy())
    shape = (size, 64) if name == "mlp" else (size, 1, 8, 8)
    images = rng.standard_normal(shape).astype(np.float32)
    return calque.from_numpy(images), calque.from_numpy(rng.integers(0, 10, size))


@functools.cache
def _compiled(name: str, what: str) -> Any:
    """A forward pass or a training step, called with two batch sizes: the second is dynamic."""
    model = _model(name)
    if what == "forward":
        step = calque.compile(lambda x: model(x))
    else:
        optimizer = calque.optim.AdamW(model.parameters(), lr=1e-3)
        step = calque.compile(models.training_step(calque, model, optimizer))
    with calque.no_grad() if what == "forward" else calque.enable_grad():
        for size in (6, 7):
            x, y = _batch(name, size)
            step(*((x,) if what == "forward" else (x, y)))
    assert step.compiles == 2
    return step


NAMES = ("mlp", "cnn", "transformer")
every_program = pytest.mark.parametrize(
    ("name", "what"), [(n, w) for n in NAMES for w in ("forward", "step")]
)


@every_program
def test_upstream_accepts_the_linalg_stage(name: str, what: str) -> None:
    tool = needs.mlir_opt()
    text = _compiled(name, what).ir("linalg")
    assert "linalg.generic" in text
    done = subprocess.run(
        [tool, "--verify-each", "-o", "/dev/null"], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[:2000]


@every_program
@pytest.mark.parametrize("stage", ["graph", "linalg", "kernel"])
def test_text_prints_parses_and_prints_the_same(name: str, what: str, stage: str) -> None:
    text = _compiled(name, what).ir(stage)
    module = from_text(text)
    module.verify()
    assert to_text(module).strip() == text.strip()


@every_program
def test_llvm_text_parses_and_prints_the_same(name: str, what: str) -> None:
    from llvmlite import binding as llvm

    first = str(llvm.parse_assembly(_compiled(name, what).ir("llvm")))
    assert str(llvm.parse_assembly(first)) == first


def test_twenty_lengths_take_two_compilations() -> None:
    model = _model("transformer")
    run = calque.compile(lambda ids: model(ids))
    rng = np.random.default_rng(0)
    with calque.no_grad():
        for length in range(2, 22):
            ids = calque.from_numpy(rng.integers(0, VOCABULARY, (3, length)))
            np.testing.assert_array_equal(run(ids).numpy(), model(ids).numpy())
    assert run.compiles <= 2


def test_twenty_lengths_from_one_take_three_compilations() -> None:
    model = _model("transformer")
    run = calque.compile(lambda ids: model(ids))
    with calque.no_grad():
        for length in range(1, 21):
            assert run(calque.zeros(3, length, dtype=calque.int64)).shape == (3, length, VOCABULARY)
    assert run.compiles <= 3


def test_training_step_serves_batch_sizes() -> None:
    step = _compiled("cnn", "step")
    for size in (8, 9, 33):
        step(*_batch("cnn", size))
    assert step.compiles == 2


@pytest.mark.parametrize("dtype", [calque.float32, calque.float64])
def test_third_derivative(dtype: calque.dtype) -> None:
    third = calque.compile(calque.grad(calque.grad(calque.grad(lambda x: x**5))))
    for x in (-1.5, 0.0, 0.5, 2.0):
        found = third(calque.tensor(x, dtype=dtype)).item()
        assert found == pytest.approx(60 * x * x, rel=1e-6)


def test_hessian_vector_product() -> None:
    """Against differences of gradients, in float64; compiled and eager the same bits."""
    model = models.mlp(calque, inputs=5, hidden=6, classes=3).double()
    x = calque.from_numpy(np.random.default_rng(0).standard_normal((7, 5)))
    y = calque.from_numpy(np.random.default_rng(1).integers(0, 3, 7))
    shape = model[0].weight.shape
    rest = model[1:]

    def loss(w: calque.Tensor) -> calque.Tensor:
        return F.cross_entropy(rest(F.linear(x, w, model[0].bias)), y)

    def product(w: calque.Tensor, v: calque.Tensor) -> calque.Tensor:
        return calque.grad(lambda w: (calque.grad(loss)(w) * v).sum())(w)

    rng = np.random.default_rng(2)
    w = calque.from_numpy(rng.standard_normal(tuple(shape)))
    v = calque.from_numpy(rng.standard_normal(tuple(shape)))
    found = calque.compile(product)(w, v).detach().numpy()
    step = 1e-5
    gradient = calque.grad(loss)
    expected = (gradient(w + step * v) - gradient(w - step * v)).detach().numpy() / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(found, product(w, v).detach().numpy())


def test_gradient_through_scan() -> None:
    """h <- tanh(a h + x) over a sequence, against the same loop written out in NumPy."""

    def final(a: calque.Tensor, xs: calque.Tensor) -> calque.Tensor:
        def cell(h: calque.Tensor, x: calque.Tensor) -> tuple[calque.Tensor, calque.Tensor]:
            h = (a * h + x).tanh()
            return h, h * h

        h, squares = calque.scan(cell, calque.zeros(4, dtype=calque.float64), xs)
        return h.sum() + squares.sum()

    run = calque.compile(calque.grad(final, argnums=(0, 1)))
    rng = np.random.default_rng(0)
    for length in (5, 9, 6):
        a, xs = rng.standard_normal(4), rng.standard_normal((length, 4))
        da, dxs = (g.numpy() for g in run(calque.from_numpy(a), calque.from_numpy(xs)))
        expected_a, expected_xs = _scan_gradient(a, xs)
        np.testing.assert_allclose(da, expected_a, rtol=1e-10)
        np.testing.assert_allclose(dxs, expected_xs, rtol=1e-10)
    assert run.compiles == 2


def _scan_gradient(a: np.ndarray, xs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    states = [np.zeros(4)]
    for x in xs:
        states.append(np.tanh(a * states[-1] + x))
    da, dxs, dh = np.zeros(4), np.zeros_like(xs), np.ones(4)
    for t in reversed(range(len(xs))):
        dh = dh + 2 * states[t + 1]
        inner = dh * (1 - states[t + 1] ** 2)
        da, dxs[t], dh = da + inner * states[t], inner, inner * a
    return da, dxs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_digits(name: str) -> None:
    """97 % of the test images are read right after a few epochs of compiled steps."""
    digits = data.digits()
    calque.manual_seed(0)
    model = models.mlp(calque, hidden=128) if name == "mlp" else models.cnn(calque)
    shape = (-1, 64) if name == "mlp" else (-1, 1, 8, 8)
    train, test = digits.train_images.reshape(shape), digits.test_images.reshape(shape)
    optimizer = calque.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    step = calque.compile(models.training_step(calque, model, optimizer))
    rng = np.random.default_rng(0)
    for _ in range(30 if name == "mlp" else 12):
        order = rng.permutation(len(train))
        for start in range(0, len(train), 64):
            chosen = order[start : start + 64]
            step(calque.from_numpy(train[chosen]), calque.from_numpy(digits.train_labels[chosen]))
    assert step.compiles == 2  # the last batch of an epoch is smaller
    model.eval()
    with calque.no_grad():
        found = calque.compile(model)(calque.from_numpy(test)).argmax(1).numpy()
    assert (found == digits.test_labels).mean() >= 0.97
