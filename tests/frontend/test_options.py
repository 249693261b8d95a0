"""Options of optimizers inside compiled functions: read anew on each call, and never changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

import calque
import calque.nn as nn
from calque.optim import SGD, lr_scheduler


def made(**options: Any) -> tuple[Any, SGD]:
    p = nn.Parameter(calque.ones(2))
    return p, SGD([p], **{"lr": 0.5, **options})


CHANGES: dict[str, Callable[[SGD, Any], Any]] = {
    "scheduler": lambda o, s: s.step(),
    "item": lambda o, s: o.param_groups[0].__setitem__("lr", 0.1),
    "other option": lambda o, s: o.param_groups[0].__setitem__("weight_decay", 0.1),
    "update": lambda o, s: o.param_groups[0].update(lr=0.1),
    "new scheduler": lambda o, s: lr_scheduler.ExponentialLR(o, 0.5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_inside_of_a_compiled_step_is_refused(name: str) -> None:
    p, o = made()
    s = lr_scheduler.StepLR(o, 1, 0.5)

    def step() -> None:
        o.zero_grad()
        p.sum().backward()
        o.step()
        CHANGES[name](o, s)

    with pytest.raises(RuntimeError, match=r"outside of the compiled function") as error:
        calque.compile(step)()
    assert "test_options.py" in str(error.value.__notes__)
    assert all(isinstance(v, int | float | bool) for k, v in o.param_groups[0].items()
               if k not in ("params",) and v is not None)  # fmt: skip
    step()  # which works as it is
    assert p.tolist() != [1.0, 1.0]


READS: dict[str, Callable[[SGD], Any]] = {
    "item": lambda o: o.param_groups[0]["lr"],
    "get": lambda o: o.param_groups[0].get("lr"),
    "items": lambda o: dict(o.param_groups[0].items())["lr"],
    "dict": lambda o: dict(o.param_groups[0])["lr"],
    "state dict": lambda o: o.state_dict()["param_groups"][0]["lr"],
    "computed": lambda o: 1 - 2 * o.param_groups[0]["lr"],
}


@pytest.mark.parametrize("name", READS)
def test_a_rate_that_is_read_is_the_one_of_the_call(name: str) -> None:
    _, o = made()
    s = lr_scheduler.StepLR(o, 1, 0.5)
    x = calque.ones(2)

    def function(x: Any) -> Any:
        return READS[name](o), x * READS[name](o)

    compiled = calque.compile(function)
    for _ in range(3):
        number, scaled = compiled(x)
        assert number == READS[name](o) and isinstance(number, float)
        assert scaled.dtype is calque.float32
        assert scaled.tolist() == [number, number]
        s.step()
    assert compiled.compiles == 1


def test_a_rate_is_read_in_a_step_of_several_groups_and_in_a_branch() -> None:
    p, q = nn.Parameter(calque.ones(2)), nn.Parameter(calque.ones(2))
    o = SGD([{"params": [p]}, {"params": [q], "lr": 0.25}], lr=0.5)
    s = lr_scheduler.ExponentialLR(o, 0.5)

    def step(x: Any) -> Any:
        o.zero_grad()
        (p + q).sum().backward()
        o.step()
        rates = s.get_last_lr()
        return rates, calque.cond((x > 0).all(), lambda x: x * o.param_groups[1]["lr"], abs, (x,))

    compiled = calque.compile(step)
    for i in range(3):
        rates, scaled = compiled(calque.ones(2))
        assert rates == [0.5 * 0.5**i, 0.25 * 0.5**i]
        assert scaled.tolist() == [rates[1]] * 2
        s.step()
    assert p.tolist() == [1 - 0.875] * 2
    assert compiled.compiles <= 2


def test_a_branch_on_a_rate_is_told_the_option() -> None:
    _, o = made()
    with pytest.raises(RuntimeError, match="computed from the option lr is asked for"):
        calque.compile(lambda x: x if o.param_groups[0]["lr"] > 0.1 else -x)(calque.ones(2))


def test_a_rate_that_was_an_int_is_read_anew() -> None:
    p, o = made(lr=1)

    def step() -> Any:
        o.zero_grad()
        p.sum().backward()
        o.step()
        return o.param_groups[0]["lr"]

    compiled = calque.compile(step)
    for rate in (1, 2, 0.5, 0.25):
        o.param_groups[0]["lr"] = rate
        before = p.tolist()[0]
        assert compiled() == rate
        assert p.tolist() == [before - rate] * 2


def test_optimizers_can_be_copied() -> None:
    _, o = made()
    other = copy.deepcopy(o)
    other.param_groups[0]["lr"] = 0.1
    assert o.param_groups[0]["lr"] == 0.5
    assert other.param_groups[0].owner is other
