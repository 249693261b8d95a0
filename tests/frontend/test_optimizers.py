"""Optimizers: groups, state, what a compiled step sees of them, schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque import optim

KINDS: dict[str, Any] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.05, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.05),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.05, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
}
X = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5], [3.0]], np.float32)).astype(np.float32)


def make(kind: str) -> tuple[nn.Module, Any, Any]:
    calque.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = KINDS[kind](model.parameters())

    def step(x: calque.Tensor, y: calque.Tensor) -> calque.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, optimizer, step


@pytest.mark.parametrize("kind", KINDS)
def test_eager_and_compiled_steps_agree_bit_for_bit(kind: str) -> None:
    losses: list[list[float]] = []
    for wrap in (lambda f: f, calque.compile):
        _, optimizer, step = make(kind)
        run = wrap(step)
        x, y = calque.tensor(X), calque.tensor(Y)
        found = []
        for i in range(6):
            optimizer.param_groups[0]["lr"] *= 0.9 if i == 3 else 1
            found.append(run(x, y).item())
        losses.append(found)
        assert found[-1] < found[0]
    assert losses[0] == losses[1]
    assert run.compiles == 1


@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_continue_where_they_were(kind: str) -> None:
    model, optimizer, step = make(kind)
    x, y = calque.tensor(X), calque.tensor(Y)
    for _ in range(3):
        step(x, y)
    other, restored, again = make(kind)
    other.load_state_dict(model.state_dict())
    restored.load_state_dict(optimizer.state_dict())
    again = calque.compile(again)
    for _ in range(3):
        assert step(x, y).item() == again(x, y).item()


def test_groups_have_options_of_their_own() -> None:
    a, b = (nn.Parameter(calque.ones(1)) for _ in range(2))
    optimizer = optim.SGD([{"params": [a], "lr": 1.0}, {"params": b}], lr=0.1)
    step = calque.compile(lambda: ((a + b).sum().backward(), optimizer.step(), None)[2])
    step()
    assert (a.item(), b.item()) == (0.0, pytest.approx(0.9))
    optimizer.param_groups[1]["lr"] = 0.5
    a.grad = b.grad = None
    step()
    assert (a.item(), b.item()) == (-1.0, pytest.approx(0.4))
    assert step.compiles == 1


def test_another_option_compiles_again() -> None:
    p = nn.Parameter(calque.ones(1))
    optimizer = optim.SGD([p], lr=0.1)

    @calque.compile
    def step() -> None:
        optimizer.zero_grad()
        (p * 2).sum().backward()
        optimizer.step()

    step()
    optimizer.param_groups[0]["weight_decay"] = 0.5
    before = p.item()
    step()
    assert p.item() == pytest.approx(before - 0.1 * (2 + 0.5 * before))
    assert step.compiles == 2


def test_parameters_without_gradients_stay() -> None:
    used, unused = (nn.Parameter(calque.ones(1)) for _ in range(2))
    optimizer = optim.Adam([used, unused])
    used.sum().backward()
    optimizer.step()
    assert unused.item() == 1.0
    assert unused not in optimizer.state


def test_closures() -> None:
    p = nn.Parameter(calque.ones(1))
    optimizer = optim.SGD([p], lr=0.1)

    def closure() -> calque.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1.0
    assert p.item() == pytest.approx(0.8)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no parameters": (lambda p: optim.SGD([]), ValueError, "empty parameter list"),
    "a tensor": (lambda p: optim.SGD(p), TypeError, "iterable of Tensors"),
    "a number": (lambda p: optim.SGD([1.0]), TypeError, "one of the params is float"),
    "no leaf": (lambda p: optim.SGD([p * 2]), ValueError, "non-leaf"),
    "twice": (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]), ValueError, "more than one"),
    "rate": (lambda p: optim.Adam([p], lr=-1), ValueError, "Invalid learning rate: -1"),
    "beta": (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError, "at index 0: 1.0"),
    "nesterov": (lambda p: optim.SGD([p], nesterov=True), ValueError, "Nesterov momentum"),
    "schedule": (lambda p: optim.lr_scheduler.StepLR(p, 1), TypeError, "is not an Optimizer"),
    "cycle": (lambda p: optim.lr_scheduler.OneCycleLR(optim.SGD([p]), 1.0), ValueError,
              "either total_steps"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes(case: str) -> None:
    wrong, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        wrong(nn.Parameter(calque.ones(1)))


def test_schedules_are_resumed() -> None:
    def make_one() -> Any:
        optimizer = optim.SGD([nn.Parameter(calque.ones(1))], lr=1.0)
        return optim.lr_scheduler.StepLR(optimizer, 2)

    first, second = make_one(), make_one()
    for _ in range(3):
        first.step()
    second.load_state_dict(first.state_dict())
    for schedule in (first, second):
        schedule.step()
    assert first.get_last_lr() == second.get_last_lr() == [pytest.approx(0.01)]


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_loaded_schedule_goes_on_at_the_rate_it_had(optimizer_first: bool) -> None:
    def training(lr: float) -> optim.SGD:
        return optim.SGD([nn.Parameter(calque.zeros(1))], lr=lr)

    old, new = training(0.1), training(0.7)
    schedule = optim.lr_scheduler.StepLR(old, 2)
    for _ in range(3):
        schedule.step()
    if optimizer_first:
        new.load_state_dict(old.state_dict())
    loaded = optim.lr_scheduler.StepLR(new, 2)
    if not optimizer_first:
        new.load_state_dict(old.state_dict())
    loaded.load_state_dict(schedule.state_dict())
    assert new.param_groups[0]["lr"] == old.param_groups[0]["lr"] == pytest.approx(0.01)
    loaded.step()
    assert new.param_groups[0]["lr"] == pytest.approx(0.001)


def test_a_schedule_does_not_compile_again() -> None:
    _, optimizer, step = make("AdamW")
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    run = calque.compile(step)
    for _ in range(5):
        run(calque.tensor(X), calque.tensor(Y))
        schedule.step()
    assert run.compiles == 1


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
def test_every_parameter_counts_its_own_steps(wrap: Any) -> None:
    """Constant gradients move Adam's parameters by lr a step, whatever groups they are in."""
    a, b, c = (nn.Parameter(calque.zeros(1)) for _ in range(3))
    optimizer = optim.Adam([{"params": [a]}, {"params": [b, c]}], lr=0.5)

    @wrap
    def step(both: bool) -> None:
        optimizer.zero_grad()
        ((a + b + c) if both else (a + b)).sum().backward()
        optimizer.step()

    for both in (True, False, True):
        step(both)
    assert [p.item() for p in (a, b, c)] == pytest.approx([-1.5, -1.5, -1.0], abs=1e-5)


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_a_cycle_of_the_momentum_compiles_nothing(kind: str) -> None:
    """What a scheduler changes is an input of the step; compiled and eager steps agree."""

    def losses(compiled: bool) -> list[float]:
        p = nn.Parameter(calque.ones(3))
        optimizer = getattr(optim, kind)([p], lr=0.1)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=9, three_phase=True)

        def step(x: calque.Tensor) -> calque.Tensor:
            optimizer.zero_grad()
            loss = (p * x).pow(2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = calque.compile(step) if compiled else step
        found: list[float] = []
        momenta: set[float] = set()
        for _ in range(8):
            found.append(run(calque.tensor([0.3, 0.1, -0.2])).item())
            group = optimizer.param_groups[0]
            momenta.add(group["momentum"] if kind == "SGD" else group["betas"][0])
            schedule.step()
        assert len(momenta) > 3
        if isinstance(run, calque.CompiledFunction):
            assert run.compiles == 1
        return found

    assert losses(compiled=True) == losses(compiled=False)


def test_a_cycle_needs_a_momentum() -> None:
    optimizer = optim.Adagrad([nn.Parameter(calque.ones(1))])
    with pytest.raises(ValueError, match="must support momentum or beta1"):
        optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=9)
    optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=9, cycle_momentum=False)
