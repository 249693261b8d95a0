"""The cases: each gives one call per peer, on the same data."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import calque
import calque.nn.functional as CF

Run = Callable[[], object]


@dataclass
class Case:
    """One line of the table: calls by peer, and the work that one call does."""

    name: str
    runs: dict[str, Run]
    flops: float = 0.0
    bytes: float = 0.0


class Peers:
    """PyTorch and JAX, those that are asked for and installed, two threads each."""

    def __init__(self, *, torch: bool = True, jax: bool = True) -> None:
        self.torch: Any = self._torch() if torch else None
        self.jax: Any = self._jax() if jax else None

    @staticmethod
    def _torch() -> Any:
        try:
            import torch
        except ImportError:
            return None
        torch.set_num_threads(2)
        return torch

    @staticmethod
    def _jax() -> Any:
        try:
            import jax
        except ImportError:
            return None
        return jax

    def jitted(self, function: Callable[..., Any], *args: np.ndarray) -> Run:
        """A JAX function compiled, called on device arrays and waited for."""
        compiled = self.jax.jit(function)
        arrays = [self.jax.numpy.asarray(a) for a in args]
        return lambda: compiled(*arrays).block_until_ready()


def _data(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def matmul(peers: Peers, m: int, k: int, n: int, transposed: bool, dynamic: bool = False) -> Case:
    """C = A @ B, or A @ B.T with the weights transposed as in Linear."""
    a, b = _data(m, k), _data(n, k) if transposed else _data(k, n)

    def product(x: Any, w: Any) -> Any:
        return x @ (w.T if transposed else w)

    fast = calque.compile(product)
    if dynamic:  # a second size makes the rows dynamic
        fast(calque.tensor(_data(m + 1, k)), calque.tensor(b))
    x, w = calque.tensor(a), calque.tensor(b)
    runs: dict[str, Run] = {"calque": lambda: fast(x, w)}
    if peers.torch is not None:
        ta, tb = peers.torch.from_numpy(a), peers.torch.from_numpy(b)
        runs["torch"] = lambda: product(ta, tb)
    if peers.jax is not None:
        runs["jax"] = peers.jitted(product, a, b)
    name = f"matmul {m}x{k}x{n}{' B^T' if transposed else ''}{' dynamic' if dynamic else ''}"
    return Case(name, runs, flops=2.0 * m * n * k)


def softmax(peers: Peers) -> Case:
    """Softmax over the rows of a 4096² matrix."""
    a = _data(4096, 4096)
    fast = calque.compile(lambda v: CF.softmax(v, -1))
    x = calque.tensor(a)
    runs: dict[str, Run] = {"calque": lambda: fast(x)}
    if peers.torch is not None:
        t = peers.torch.from_numpy(a)
        runs["torch"] = lambda: peers.torch.softmax(t, -1)
    if peers.jax is not None:
        runs["jax"] = peers.jitted(lambda v: peers.jax.nn.softmax(v, -1), a)
    return Case("softmax 4096x4096", runs, bytes=2.0 * a.nbytes)


def layer_norm(peers: Peers) -> Case:
    """Layer normalization of the rows of a 4096² matrix."""
    a, g, b = _data(4096, 4096), _data(4096), _data(4096)
    fast = calque.compile(lambda v, w, c: CF.layer_norm(v, (4096,), w, c))
    x, w, c = (calque.tensor(v) for v in (a, g, b))
    runs: dict[str, Run] = {"calque": lambda: fast(x, w, c)}
    if peers.torch is not None:
        t, tw, tc = (peers.torch.from_numpy(v) for v in (a, g, b))
        runs["torch"] = lambda: peers.torch.nn.functional.layer_norm(t, (4096,), tw, tc)
    if peers.jax is not None:
        jnp = peers.jax.numpy

        def normalize(v: Any, w: Any, c: Any) -> Any:
            mean = v.mean(-1, keepdims=True)
            var = ((v - mean) ** 2).mean(-1, keepdims=True)
            return (v - mean) / jnp.sqrt(var + 1e-5) * w + c

        runs["jax"] = peers.jitted(normalize, a, g, b)
    return Case("layer_norm 4096x4096", runs, bytes=2.0 * a.nbytes)


def chain(peers: Peers) -> Case:
    """Eight elementwise operations on 16M elements."""
    a = _data(1 << 24)

    def eight(lib: Any, v: Any) -> Any:
        y = lib.tanh(v * 0.5 + 1.0)
        y = lib.exp(y) - v
        return lib.sqrt(y * y + 1.0)

    fast = calque.compile(lambda v: eight(calque, v))
    x = calque.tensor(a)
    runs: dict[str, Run] = {"calque": lambda: fast(x)}
    if peers.torch is not None:
        t = peers.torch.from_numpy(a)
        runs["torch"] = lambda: eight(peers.torch, t)
    if peers.jax is not None:
        runs["jax"] = peers.jitted(lambda v: eight(peers.jax.numpy, v), a)
    return Case("8 elementwise, 16M", runs, bytes=2.0 * a.nbytes)


def transformer_step(peers: Peers, only: str = "") -> Case:
    """A training step of a character transformer: 6 layers, width 384, 12 sequences of 128; of
    one library alone where `only` names it."""
    models = _test_models()
    ids = np.random.default_rng(0).integers(0, 65, (12, 129))
    x, y = ids[:, :-1].copy(), ids[:, 1:].copy()

    def runner(lib: Any, optimizer: Any, compile_: Callable[[Any], Any]) -> Run:
        model = models.transformer(lib, 65, layers=6, width=384, heads=6, context=128)
        models.set_weights(model, lib)
        step = compile_(models.training_step(lib, model, optimizer(model.parameters(), lr=1e-4)))
        tx, ty = lib.from_numpy(x), lib.from_numpy(y)
        return lambda: step(tx, ty)

    runs: dict[str, Run] = {}
    if only != "torch":
        runs["calque"] = runner(calque, calque.optim.AdamW, calque.compile)
    if peers.torch is not None:
        runs["torch"] = runner(peers.torch, peers.torch.optim.AdamW, lambda step: step)
    # Forward and backward cost six operations per weight and token, attention a little more.
    weights = 12 * 6 * 384**2 + 65 * 384
    attention = 6 * 2 * 2 * 128 * 384
    return Case("transformer step", runs, flops=(6.0 * weights + 3.0 * attention) * x.size)


def classifier_step(peers: Peers, kind: str, *, compiled: bool) -> Case:
    """A training step of a classifier on 64 images of 28 x 28 with SGD: "mlp" has three layers,
    "cnn" two convolutions. Ours is compiled, or runs operator by operator as PyTorch's does."""
    models = _test_models()
    shape = (64, 1, 28, 28) if kind == "cnn" else (64, 784)
    x, y = _data(*shape), np.random.default_rng(0).integers(0, 10, 64)

    def runner(lib: Any, optimizer: Any, compile_: Callable[[Any], Any]) -> Run:
        model = _image_net(lib) if kind == "cnn" else models.mlp(lib, 784, 256)
        step = compile_(models.training_step(lib, model, optimizer(model.parameters(), lr=1e-3)))
        tx, ty = lib.from_numpy(x), lib.from_numpy(y)
        return lambda: step(tx, ty)

    compile_ = calque.compile if compiled else lambda step: step
    runs = {"calque": runner(calque, calque.optim.SGD, compile_)}
    if peers.torch is not None:
        runs["torch"] = runner(peers.torch, peers.torch.optim.SGD, lambda step: step)
    # Multiplications and additions per image, forward; backward costs about twice as much.
    convolutions = 2 * 9 * (28**2 * 32 + 14**2 * 32 * 64)
    layers = 2 * (49 * 64 * 128 + 128 * 10) if kind == "cnn" else 2 * (784 * 256 + 256**2 + 2560)
    work = 3.0 * 64 * (layers + (convolutions if kind == "cnn" else 0))
    return Case(f"{kind} step{'' if compiled else ', eager'}", runs, flops=work)


def _image_net(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(49 * 64, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def _test_models() -> Any:
    """The models that the tests train, written once for calque and for PyTorch."""
    path = Path(__file__).parent.parent / "tests" / "models.py"
    spec = importlib.util.spec_from_file_location("benchmarks.models", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_matmuls(peers: Peers, count: int = 12) -> Iterator[Case]:
    """Shapes drawn at random: sides 100 to 3000, transposed or not, static or dynamic."""
    rng = np.random.default_rng(2026)
    for _ in range(count):
        m, k, n = (int(s) for s in np.exp(rng.uniform(math.log(100), math.log(3000), 3)))
        yield matmul(peers, m, k, n, bool(rng.integers(2)), bool(rng.integers(2)))


def cases(peers: Peers) -> Iterator[Case]:
    """All cases, made one at a time."""
    yield matmul(peers, 1024, 1024, 1024, False)
    yield matmul(peers, 128, 768, 3072, True)
    yield matmul(peers, 1, 4096, 4096, True)
    yield from random_matmuls(peers)
    yield softmax(peers)
    yield layer_norm(peers)
    yield chain(peers)
    yield transformer_step(peers)
    for kind in ("mlp", "cnn"):
        for compiled in (True, False):
            yield classifier_step(peers, kind, compiled=compiled)
