"""Whole training steps with what people put into them: eager and compiled agree bit for bit."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque import Tensor, optim

pytestmark = pytest.mark.usefixtures("way")


class Block(nn.Module):
    """Attention written by hand, as in small GPTs, with its mask as a buffer."""

    mask: Tensor

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(0.1)
        )
        self.register_buffer("mask", calque.ones(length, length).tril().view(1, 1, length, length))

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(self.ln1(x)).split(c, dim=2)
        q, k, v = (y.view(b, t, self.heads, c // self.heads).transpose(1, 2) for y in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
        y = F.dropout(F.softmax(att, dim=-1), 0.1, self.training) @ v
        x = x + self.out(y.transpose(1, 2).contiguous().view(b, t, c))
        return x + self.mlp(self.ln2(x))


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(11, 16), nn.Embedding(8, 16)
        self.blocks = nn.ModuleList([Block(16, 2, 8) for _ in range(2)])
        self.head = nn.Linear(16, 11, bias=False)
        self.token.weight = self.head.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token(ids) + self.position(calque.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Recurrent(nn.Module):
    """A cell stepped through a sequence, with batch norm and in-place activations."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.norm = nn.Linear(12, 8), nn.BatchNorm1d(8)
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(8, 11)
        self.embed = nn.Embedding(11, 4, padding_idx=0)

    def forward(self, ids: Tensor) -> Tensor:
        h = calque.zeros(ids.shape[0], 8)
        out = []
        for t in range(ids.shape[1]):
            h = self.act(self.norm(self.cell(calque.cat([self.embed(ids[:, t]), h], dim=1))))
            out.append(self.head(h))
        return calque.stack(out, dim=1)


def run(make: Callable[[], nn.Module], wrap: Any) -> tuple[list[float], nn.Module, Any]:
    calque.manual_seed(3)
    model = make()
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = optim.AdamW(groups, lr=0.01)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=20, cycle_momentum=False)

    def step(ids: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad(set_to_none=True)
        logits = model(ids)
        loss = F.cross_entropy(logits.view(-1, 11), target.reshape(-1), label_smoothing=0.1)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach(), norm

    go = wrap(step)
    rng = np.random.default_rng(0)
    losses: list[float] = []
    for i in range(8):
        text = rng.integers(0, 11, (5 if i < 4 else 3, 7))
        text[:, 1:] = (text[:, :1] + np.arange(1, 7)) % 11
        loss, norm = go(calque.tensor(text[:, :-1]), calque.tensor(text[:, 1:]))
        schedule.step()
        losses += [loss.item(), norm.item()]
    return losses, model, go


@pytest.mark.parametrize("make", [Language, Recurrent])
def test_training(make: Any) -> None:
    eager, first, _ = run(make, lambda f: f)
    compiled, second, step = run(make, calque.compile)
    assert compiled == eager
    assert eager[-2] < eager[0]
    assert step.compiles == 2  # the second size of the batch made it dynamic
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy())


def test_gradients_accumulate_over_small_batches() -> None:
    calque.manual_seed(0)
    model = nn.Linear(3, 1)
    x, y = calque.randn(8, 3), calque.randn(8, 1)
    F.mse_loss(model(x), y).backward()
    assert model.weight.grad is not None
    whole = model.weight.grad.numpy().copy()
    for wrap in (lambda f: f, calque.compile):
        model.zero_grad()

        def part(a: Tensor, b: Tensor) -> None:
            (F.mse_loss(model(a), b) / 4).backward()

        go = wrap(part)
        for i in range(4):
            go(x[2 * i : 2 * i + 2], y[2 * i : 2 * i + 2])
        np.testing.assert_allclose(model.weight.grad.numpy(), whole, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("named", [False, True], ids=["native entry", "python"])
def test_an_interrupted_step_is_done_or_was_not_begun(named: bool) -> None:
    """Parameters, gradients, statistics and optimizer are those after so many whole steps."""

    def training() -> tuple[Callable[[], Any], Callable[[], list[np.ndarray]]]:
        calque.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 256), nn.BatchNorm1d(256), nn.Linear(256, 256))
        opt = optim.AdamW(model.parameters())
        data = calque.randn(256, 64)

        @calque.compile
        def step(x: Tensor) -> None:
            opt.zero_grad()
            model(x).square().mean().backward()
            opt.step()

        def state() -> list[np.ndarray]:
            tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
            for p in model.parameters():
                tensors += opt.state[p].values()
            return [t.numpy().copy() for t in tensors if t is not None]

        step(x=data) if named else step(data)
        return lambda: step(x=data) if named else step(data), state

    (step, state), (again, expected) = training(), training()
    done, rng = 1, np.random.default_rng(0)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(30):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 5e-3))
                for _ in range(100):
                    step()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                pass
            found = state()
            while done < found[6]:  # BatchNorm1d counts them
                again()
                done += 1
            for a, b in zip(found, expected(), strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


DIFFERENCES: dict[str, Callable[[Any], Any]] = {
    "differences": lambda x: x[1:] - x[:-1],
    "every second": lambda x: x[::2].mean(0),
    "last part": lambda x: x.split(2)[-1],
    "joined": lambda x: calque.cat([x, x[:1]], 0).t() @ x.new_ones(x.shape[0] + 1, 2),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_gradients_of_sizes_that_outputs_do_not_have(name: str) -> None:
    """What the backward program receives has n - 1 rows, say, and none that tells n."""
    f = DIFFERENCES[name]
    compiled = calque.compile(f)
    for n in (3, 4, 6, 5):
        data = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        grads = []
        for run in (f, compiled):
            x = calque.tensor(data, requires_grad=True)
            run(x).sum().backward()
            assert x.grad is not None
            grads.append(x.grad.numpy())
        np.testing.assert_array_equal(*grads)
