"""From the same weights on the same batches, training follows PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
import models
import needs

pytestmark = pytest.mark.conformance

STEPS = 20

Make = Callable[[Any], Any]


def _batches(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of a task that can be learnt, so that losses do not stay where they began."""
    rng = np.random.default_rng(1)
    if name == "transformer":
        text = rng.integers(0, 50, (STEPS, 8, 33))
        text[:, :, 1::2] = (text[:, :, :-1:2] * 7 + 3) % 50
        return [(t[:, :-1], t[:, 1:]) for t in text]
    images = rng.standard_normal((STEPS, 32, 1, 8, 8)).astype(np.float32)
    labels = np.digitize(images[:, :, 0, :4].sum((2, 3)), np.linspace(-8, 8, 9))
    if name == "mlp":
        images = images.reshape(STEPS, 32, 64)
    return list(zip(images, labels.astype(np.int64), strict=True))


MODELS: dict[str, Make] = {
    "mlp": models.mlp,
    "cnn": lambda lib: models.cnn(lib, dropout=0.0),
    "transformer": lambda lib: models.transformer(lib, 50),
}
OPTIMIZERS: dict[str, tuple[float, Callable[[Any, Any], Any]]] = {
    "sgd": (0.05, lambda lib, p: lib.optim.SGD(p, lr=0.05, momentum=0.9)),
    "adamw": (2e-3, lambda lib, p: lib.optim.AdamW(p, lr=2e-3)),
}


def _losses(lib: Any, name: str, optimizer: str, wrap: Callable[[Any], Any]) -> list[float]:
    """The losses of the steps; the learning rate is divided by four halfway."""
    model = MODELS[name](lib)
    models.set_weights(model, lib)
    rate, make = OPTIMIZERS[optimizer]
    opt = make(lib, model.parameters())
    step = wrap(models.training_step(lib, model, opt))
    losses = []
    for i, (x, y) in enumerate(_batches(name)):
        if i == STEPS // 2:
            opt.param_groups[0]["lr"] = rate / 4
        losses.append(float(step(lib.from_numpy(x.copy()), lib.from_numpy(y.copy()))))
    return losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_losses_follow_pytorch(model: str, optimizer: str) -> None:
    torch = needs.torch()
    expected = _losses(torch, model, optimizer, lambda f: f)
    compiled: list[Any] = []

    def wrap(function: Any) -> Any:
        compiled.append(calque.compile(function))
        return compiled[0]

    found = _losses(calque, model, optimizer, wrap)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert expected[-1] < expected[0] - 0.05, "the task is not learnt: nothing is compared"
    assert compiled[0].compiles == 1
