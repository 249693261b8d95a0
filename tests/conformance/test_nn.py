"""Layers, losses, optimizers and schedules beside PyTorch's of the same name and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
from calque import optim
from needs import torch as find_torch

torch = find_torch()

pytestmark = pytest.mark.conformance


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(mine: Any, theirs: Any, rtol: float = 2e-5, atol: float = 2e-6) -> None:
    a, b = mine.detach().numpy(), theirs.detach().numpy()
    assert a.shape == b.shape
    assert str(a.dtype) == str(b.dtype)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def same_weights(mine: nn.Module, theirs: Any) -> None:
    """The same names, shapes and dtypes of state; then PyTorch's values."""
    own, other = mine.state_dict(), theirs.state_dict()
    assert list(own) == list(other)
    for name, value in own.items():
        assert tuple(value.shape) == tuple(other[name].shape), name
        assert value.dtype.name == str(other[name].dtype).removeprefix("torch."), name
    mine.load_state_dict({k: calque.from_numpy(v.numpy().copy()) for k, v in other.items()})


LAYERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "linear": ("Linear", (5, 3), {}, (2, 4, 5)),
    "linear without bias": ("Linear", (5, 3), {"bias": False}, (5,)),
    "conv1d": ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9)),
    "conv2d": ("Conv2d", (4, 6, 3), {"padding": "same", "dilation": 2}, (2, 4, 7, 8)),
    "grouped conv2d": ("Conv2d", (4, 8, (3, 2)), {"groups": 2, "stride": (1, 2)}, (2, 4, 6, 7)),
    "one image": ("Conv2d", (2, 3, 3), {"bias": False}, (2, 6, 6)),
    "batch norm 1d": ("BatchNorm1d", (4,), {}, (6, 4)),
    "batch norm of sequences": ("BatchNorm1d", (4,), {"momentum": 0.3}, (6, 4, 5)),
    "batch norm 2d": ("BatchNorm2d", (4,), {}, (3, 4, 5, 2)),
    "cumulative batch norm": ("BatchNorm2d", (4,), {"momentum": None}, (3, 4, 5, 2)),
    "plain batch norm": (
        "BatchNorm2d", (4,), {"affine": False, "track_running_stats": False}, (3, 4, 5, 2)
    ),
    "layer norm": ("LayerNorm", ((4, 5),), {}, (3, 4, 5)),
    "layer norm without bias": ("LayerNorm", (5,), {"bias": False}, (3, 4, 5)),
    "rms norm": ("RMSNorm", (5,), {}, (3, 4, 5)),
    "max pool 1d": ("MaxPool1d", (2,), {}, (2, 3, 7)),
    "max pool 2d": ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 7, 8)),
    "ceil max pool": ("MaxPool2d", (2,), {"ceil_mode": True}, (2, 3, 7, 7)),
    "avg pool 1d": ("AvgPool1d", (2,), {}, (2, 3, 8)),
    "avg pool 2d": ("AvgPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 7, 8)),
    "adaptive pool": ("AdaptiveAvgPool2d", ((2, 4),), {}, (2, 3, 4, 8)),
    "uneven adaptive pool": ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    "flatten": ("Flatten", (), {}, (2, 3, 4)),
    "unflatten": ("Unflatten", (1, (2, 3)), {}, (2, 6, 4)),
    "relu": ("ReLU", (), {}, (3, 4)),
    "relu6": ("ReLU6", (), {}, (3, 4)),
    "gelu": ("GELU", (), {}, (3, 4)),
    "gelu tanh": ("GELU", (), {"approximate": "tanh"}, (3, 4)),
    "silu": ("SiLU", (), {}, (3, 4)),
    "tanh": ("Tanh", (), {}, (3, 4)),
    "sigmoid": ("Sigmoid", (), {}, (3, 4)),
    "leaky relu": ("LeakyReLU", (0.2,), {}, (3, 4)),
    "elu": ("ELU", (0.7,), {}, (3, 4)),
    "batch norm without bias": ("BatchNorm2d", (4,), {"bias": False}, (3, 4, 5, 2)),
    "softplus": ("Softplus", (2.0,), {}, (3, 4)),
    "softmax": ("Softmax", (1,), {}, (3, 4)),
    "log softmax": ("LogSoftmax", (0,), {}, (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", LAYERS)
def test_layer(case: str, training: bool) -> None:
    name, args, options, shape = LAYERS[case]
    theirs = getattr(torch.nn, name)(*args, **options).train(training)
    mine = getattr(nn, name)(*args, **options).train(training)
    same_weights(mine, theirs)
    for round_ in range(2):  # the second one with the state that the first left
        data = rand(*shape, seed=round_)
        x, y = calque.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        out, expected = mine(x), theirs(y)
        close(out, expected)
        weight = rand(*expected.shape, seed=9)
        (out * calque.tensor(weight)).sum().backward()
        (expected * torch.tensor(weight)).sum().backward()
        close(x.grad, y.grad, atol=1e-5)
        for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
            close(p.grad, q.grad, atol=2e-5)
        for b, c in zip(mine.buffers(), theirs.buffers(), strict=True):
            close(b, c)
    assert repr(mine) == repr(theirs)


def test_embedding() -> None:
    theirs, mine = torch.nn.Embedding(7, 3, padding_idx=2), nn.Embedding(7, 3, padding_idx=2)
    assert (mine.weight.detach().numpy()[2] == 0).all()
    same_weights(mine, theirs)
    ids = np.array([[0, 2, 6], [2, 2, 1]])
    out, expected = mine(calque.tensor(ids)), theirs(torch.tensor(ids))
    close(out, expected)
    out.sum().backward()
    expected.sum().backward()
    close(mine.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("batch_first", [False, True])
def test_multihead_attention(batch_first: bool) -> None:
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=batch_first)
    mine = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    same_weights(mine, theirs)
    q, k = rand(3, 4, 8), rand(3, 4, 8, seed=1)
    shape = (4, 4) if batch_first else (3, 3)
    mask = np.triu(np.ones(shape, bool), 1)
    padding = np.zeros((3, 4) if batch_first else (4, 3), bool)
    padding[0, -1] = True
    out, weights = mine(
        calque.tensor(q), calque.tensor(k), calque.tensor(k),
        attn_mask=calque.tensor(mask), key_padding_mask=calque.tensor(padding),
    )  # fmt: skip
    expected, their_weights = theirs(
        torch.tensor(q), torch.tensor(k), torch.tensor(k),
        attn_mask=torch.tensor(mask), key_padding_mask=torch.tensor(padding),
    )  # fmt: skip
    close(out, expected)
    close(weights, their_weights)


P = 1 / (1 + np.exp(-rand(4, 5)))
LABELS = np.array([0, 4, -100, 2])
CLASSES = {"args": (rand(4, 5), LABELS)}
PAIR = {"args": (rand(4, 5), rand(4, 5, seed=1))}
WEIGHT = np.abs(rand(5, seed=3))
LOSSES: dict[str, tuple[str, tuple[np.ndarray, np.ndarray], dict[str, Any]]] = {
    "mse": ("MSELoss", PAIR["args"], {}),
    "l1": ("L1Loss", PAIR["args"], {}),
    "smooth l1": ("SmoothL1Loss", PAIR["args"], {"beta": 0.5}),
    "bce": ("BCELoss", (P.astype(np.float32), (P > 0.6).astype(np.float32)), {}),
    "weighted bce": ("BCELoss", (P.astype(np.float32), P.astype(np.float32)), {"weight": WEIGHT}),
    "bce of logits": ("BCEWithLogitsLoss", (rand(4, 5) * 10, P.astype(np.float32)), {}),
    "positive bce": ("BCEWithLogitsLoss", (rand(4, 5), P.astype(np.float32)),
                     {"pos_weight": WEIGHT}),
    "nll": ("NLLLoss", CLASSES["args"], {}),
    "weighted nll": ("NLLLoss", CLASSES["args"], {"weight": WEIGHT}),
    "cross entropy": ("CrossEntropyLoss", CLASSES["args"], {}),
    "weighted cross entropy": ("CrossEntropyLoss", CLASSES["args"], {"weight": WEIGHT}),
    "smoothed cross entropy": ("CrossEntropyLoss", CLASSES["args"], {"label_smoothing": 0.1}),
    "smoothed weighted": (
        "CrossEntropyLoss", CLASSES["args"], {"label_smoothing": 0.2, "weight": WEIGHT}
    ),
    "soft cross entropy": ("CrossEntropyLoss", (rand(4, 5), P.astype(np.float32)), {}),
    "cross entropy of images": (
        "CrossEntropyLoss", (rand(2, 5, 3), np.array([[0, 1, 4], [-100, 2, 2]])), {}
    ),
    "kl": ("KLDivLoss", (np.log(P).astype(np.float32), P.astype(np.float32)), {}),
    "kl of logs": ("KLDivLoss", (np.log(P).astype(np.float32), rand(4, 5)), {"log_target": True}),
}  # fmt: skip


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", LOSSES)
def test_loss(case: str, reduction: str) -> None:
    name, (data, target), options = LOSSES[case]

    def build(library: Any, tensor: Any) -> Any:
        given = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        return getattr(library, name)(reduction=reduction, **given)

    x, y = calque.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    out = build(nn, calque.tensor)(x, calque.tensor(target))
    expected = build(torch.nn, torch.tensor)(y, torch.tensor(target))
    close(out, expected)
    out.sum().backward()
    expected.sum().backward()
    close(x.grad, y.grad)


OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "dampened": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "maximize": ("SGD", {"lr": 0.01, "maximize": True}),
    "adam": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95)}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "centered rmsprop": ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.9}),
    "adagrad": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1}),
}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("case", OPTIMIZERS)
def test_optimizer(case: str, compiled: bool) -> None:
    name, options = OPTIMIZERS[case]
    data, target = rand(8, 5), rand(8, 3, seed=1)
    mine, theirs = nn.Linear(5, 3), torch.nn.Linear(5, 3)
    same_weights(mine, theirs)
    a = getattr(optim, name)(mine.parameters(), **options)
    b = getattr(torch.optim, name)(theirs.parameters(), **options)

    def step(x: calque.Tensor, y: calque.Tensor) -> calque.Tensor:
        a.zero_grad()
        loss = nn.functional.mse_loss(mine(x), y)
        loss.backward()
        a.step()
        return loss

    run: Any = calque.compile(step) if compiled else step
    x, y = calque.tensor(data), calque.tensor(target)
    for i in range(8):
        if i == 4:  # midway, and without a new program
            a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = options["lr"] / 3
        loss = run(x, y)
        b.zero_grad()
        expected = torch.nn.functional.mse_loss(theirs(torch.tensor(data)), torch.tensor(target))
        expected.backward()
        b.step()
        close(loss, expected, rtol=1e-5)
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        close(p, q, rtol=1e-4, atol=1e-5)
    if compiled:
        assert run.compiles == 1


SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "step": ("StepLR", {"step_size": 3, "gamma": 0.5}),
    "multi step": ("MultiStepLR", {"milestones": [2, 5, 6], "gamma": 0.3}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "linear": ("LinearLR", {"start_factor": 0.2, "total_iters": 4}),
    "cosine": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    "lambda": ("LambdaLR", {"lr_lambda": lambda epoch: 1 / (1 + epoch)}),
    "one cycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 12}),
    "three phases": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 12, "three_phase": True}),
    "straight cycle": ("OneCycleLR", {"max_lr": 0.5, "epochs": 3, "steps_per_epoch": 4,
                                      "anneal_strategy": "linear", "cycle_momentum": False}),
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedule(case: str) -> None:
    name, options = SCHEDULES[case]
    a = optim.SGD([calque.zeros(1, requires_grad=True)], lr=0.2, momentum=0.9)
    b = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2, momentum=0.9)
    mine = getattr(optim.lr_scheduler, name)(a, **options)
    theirs = getattr(torch.optim.lr_scheduler, name)(b, **options)
    for _ in range(11):
        np.testing.assert_allclose(mine.get_last_lr(), theirs.get_last_lr(), rtol=1e-9)
        momenta = [o.param_groups[0]["momentum"] for o in (a, b)]
        np.testing.assert_allclose(*momenta, rtol=1e-9)
        b.step()
        mine.step()
        theirs.step()


def test_clip_grad_norm() -> None:
    data = [rand(3, 4), rand(5, seed=1)]
    for norm_type in (2.0, 1.0, float("inf")):
        mine = [calque.tensor(d, requires_grad=True) for d in data]
        theirs = [torch.tensor(d, requires_grad=True) for d in data]
        for p, q in zip(mine, theirs, strict=True):
            (p * p).sum().backward()
            (q * q).sum().backward()
        close(
            nn.utils.clip_grad_norm_(mine, 1.0, norm_type),
            torch.nn.utils.clip_grad_norm_(theirs, 1.0, norm_type),
        )
        for p, q in zip(mine, theirs, strict=True):
            close(p.grad, q.grad)


@pytest.mark.parametrize("name", [
    "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_",
    "trunc_normal_", "normal_", "uniform_",
])  # fmt: skip
def test_initialization_is_distributed_alike(name: str) -> None:
    calque.manual_seed(0)
    torch.manual_seed(0)
    mine = getattr(nn.init, name)(calque.empty(64, 48, 3, 3)).numpy()
    theirs = getattr(torch.nn.init, name)(torch.empty(64, 48, 3, 3)).numpy()
    np.testing.assert_allclose(mine.std(), theirs.std(), rtol=0.02)
    np.testing.assert_allclose(mine.mean(), theirs.mean(), atol=3 * theirs.std() / 150)
    quantiles = np.linspace(0.01, 0.99, 21)
    np.testing.assert_allclose(
        np.quantile(mine, quantiles), np.quantile(theirs, quantiles), atol=0.05 * theirs.std()
    )


@pytest.mark.parametrize("layer", ["Linear", "Conv2d"])
def test_layers_begin_alike(layer: str) -> None:
    args = (300, 200) if layer == "Linear" else (30, 100, 3)
    mine, theirs = getattr(nn, layer)(*args), getattr(torch.nn, layer)(*args)
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        a, b = p.detach().numpy(), q.detach().numpy()
        np.testing.assert_allclose(np.abs(a).max(), np.abs(b).max(), rtol=0.05)
        np.testing.assert_allclose(a.std(), b.std(), rtol=0.1)
