"""What a compiled function notices: whatever it depends on means something else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import calque
import calque.nn as nn
from calque.autograd import Function
from calque.frontend.guards import Epoch

pytestmark = pytest.mark.usefixtures("way")

scale = 2.0
shift = 1
weights = [calque.ones(2)]
T = 0


def helper(x: Any) -> Any:
    return x * scale


def width() -> int:
    return shift


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._private = 3.0
        self.table = [1.0]
        self.mask = calque.ones(2)
        self.activation: Callable[[Any], Any] = calque.relu
        self.last = None

    def forward(self, x: Any) -> Any:
        h = self.activation(helper(x)) * self.factor() + self._private
        self.last = h
        return h * self.table[0] * self.mask

    def factor(self) -> int:
        return width()


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class Scaled(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * scale

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * scale


CHANGES: dict[str, Callable[[Any, Outer], None]] = {
    "global of a helper": lambda patch, m: patch(globals(), "scale", 3.0),
    "global of a function that only Python runs": lambda patch, m: patch(globals(), "shift", 4),
    "helper": lambda patch, m: patch(globals(), "helper", lambda x: x - 1),
    "private attribute": lambda patch, m: setattr(m.inner, "_private", 5.0),
    "list attribute": lambda patch, m: setattr(m.inner, "table", [7.0]),
    "tensor attribute": lambda patch, m: setattr(m.inner, "mask", calque.zeros(2)),
    "function attribute": lambda patch, m: setattr(m.inner, "activation", calque.exp),
    "submodule": lambda patch, m: setattr(m, "inner", nn.Identity()),
    "patched forward": lambda patch, m: setattr(m.inner, "forward", lambda x: x - 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_retraces(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Outer(), calque.tensor([0.5, 1.5])
    compiled = calque.compile(model)
    step = calque.compile(lambda x: model(x) + 1)
    for _ in range(2):
        assert compiled(x).tolist() == model(x).tolist()
        step(x)
    counts = compiled.compiles, step.compiles
    assert counts == (1, 1), "what is written and never read is no dependence"
    CHANGES[change](monkeypatch.setitem, model)
    assert compiled(x).tolist() == model(x).tolist()
    assert step(x).tolist() == (model(x) + 1).tolist()
    assert (compiled.compiles, step.compiles) == (counts[0] + 1, counts[1] + 1)


def test_rebound_containers_and_functions_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = calque.tensor([1.0, 2.0])
    f = calque.compile(lambda x: x + weights[0])
    assert f(x).tolist() == [2, 3]
    monkeypatch.setitem(globals(), "weights", [calque.zeros(2)])
    assert f(x).tolist() == [1, 2]
    g = calque.compile(lambda x: Scaled.apply(x))
    assert g(x).tolist() == [2, 4]
    monkeypatch.setitem(globals(), "scale", 5.0)
    assert g(x).tolist() == [5, 10]
    h = calque.compile(functools.partial(lambda k, x: x * k, 2))
    assert h(x).tolist() == [2, 4]


def test_names_of_attributes_are_not_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    f = calque.compile(lambda x: x.T * 2)
    for value in range(3):
        monkeypatch.setitem(globals(), "T", value)
        f(calque.ones(2, 2))
    assert f.compiles == 1


def test_going_back_finds_the_program_again() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    m = calque.compile(model)
    for _ in range(3):
        model.train()
        m(calque.ones(1, 2))
        model.eval()
        m(calque.ones(1, 2))
    assert m.compiles == 2


def test_modes_that_a_function_sets_and_resets_are_no_change() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    @calque.compile
    def evaluate(x: Any) -> Any:
        model.eval()
        out = model(x)
        model.train()
        return out

    for _ in range(3):
        evaluate(calque.ones(1, 2))
    assert evaluate.compiles == 1


def test_compiled_methods_are_methods() -> None:
    class Trainer:
        @calque.compile
        def double(self, x: Any) -> Any:
            """Twice."""
            return x * 2

    trainer = Trainer()
    assert trainer.double(calque.ones(2)).tolist() == [2, 2]
    assert trainer.double.compiles == 1
    assert trainer.double.__doc__ == "Twice."


def test_stale_programs_are_found_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALQUE_CHECK", "stale")
    table = {"k": 2.0, "w": calque.ones(2)}
    f = calque.compile(lambda x: x * table["k"] + table["w"])
    x = calque.ones(2)
    assert f(x).tolist() == [3, 3]
    for key, value in (("k", 5.0), ("w", calque.zeros(2))):
        before, table[key] = table[key], value
        with pytest.raises(RuntimeError, match="not watched"):
            f(x)
        table[key] = before
    assert f(x).tolist() == [3, 3]


def test_explain_says_what_is_guarded() -> None:
    model, factor = nn.Linear(2, 2), 3
    f = calque.compile(lambda x: model(x) * factor)
    f(calque.ones(1, 2))
    assert f.explain().splitlines()[-1] == "guards: factor == 3; Linear model"


def test_tensors_kept_from_one_call_to_the_next_are_refused() -> None:
    class Summing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total: Any = None

        def forward(self, x: Any) -> Any:
            self.total = x if self.total is None else self.total + x
            return self.total * 1

    f = calque.compile(Summing())
    f(calque.ones(2))
    with pytest.raises(RuntimeError, match="used outside of the function"):
        f(calque.ones(2))


LOOKS: dict[str, Any] = {
    "item": lambda x, n: x * n.item(),
    "slice": lambda x, n: x[:n],
    "branch": lambda x, n: x * 2 if int(n) > 1 else x + 0,
    "tolist": lambda x, n: x[n.tolist()],
    "one_hot": lambda x, n: calque.nn.functional.one_hot(n) * x.sum(),
}


@pytest.mark.parametrize("name", LOOKS)
def test_data_that_python_looks_at_are_guarded(name: str) -> None:
    n, x = calque.tensor([1]), calque.tensor([1.0, 2.0, 3.0])
    f = calque.compile(lambda x: LOOKS[name](x, n))
    for values in ([1], [1], [2]):
        if n.tolist() != values:
            n.copy_(calque.tensor(values))
        assert f(x).tolist() == LOOKS[name](x, n).tolist()
    assert f.compiles == 2
    assert "the data of" in f.explain()


def test_a_mask_that_is_captured_is_guarded() -> None:
    mask, x = calque.tensor([True, False, True]), calque.tensor([1.0, 2.0, 3.0])
    f = calque.compile(lambda x: x[mask] * 2)
    assert f(x).tolist() == [2, 6]
    mask[1] = True
    assert f(x).tolist() == [2, 4, 6]


def test_data_that_the_program_has_written_cannot_be_looked_at() -> None:
    count = calque.tensor(0)

    @calque.compile
    def f(x: Any) -> Any:
        count.add_(1)
        return x * count.item()

    with pytest.raises(RuntimeError, match=r"item\(\) of a traced tensor .* has no data"):
        f(calque.ones(2))
    assert count.item() == 0


@pytest.mark.parametrize(
    ("before", "after"), [(0.0, -0.0), (-0.0, 0.0), ((1, 2), (1.0, 2)), ((1,), (True,))]
)
def test_values_that_are_equal_and_not_the_same(before: Any, after: Any) -> None:
    value = before

    def f(x: Any) -> Any:
        return x * (value[0] if isinstance(value, tuple) else value)

    compiled, x = calque.compile(f), calque.tensor([1, 2])
    for value in (before, before, before, after):
        assert str(compiled(x)) == str(f(x)), value


def test_a_number_that_is_no_number_is_found_again() -> None:
    value = float("nan")
    compiled = calque.compile(lambda x: x * value)
    for _ in range(3):
        value = float("nan")
        compiled(calque.ones(2))
    assert compiled.compiles == 1


@pytest.mark.parametrize("through", ["the tensor", "a view of it"])
def test_a_captured_tensor_that_gets_a_history(through: str) -> None:
    x, w, scale = calque.ones(4), calque.ones(4), calque.full((4,), 3.0).requires_grad_()
    compiled = calque.compile(lambda x: x * w)
    for _ in range(3):
        assert not compiled(x).requires_grad
    (w if through == "the tensor" else w.view(4)).mul_(scale)
    compiled(x).sum().backward()
    assert scale.grad is not None and scale.grad.tolist() == [1.0] * 4
    if through == "the tensor":
        w.detach_()
        assert not compiled(x).requires_grad


class Changing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = 2.0
        self.layers = nn.ModuleList([nn.Linear(2, 2)])
        self.register_buffer("mask", calque.ones(2))

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x * self.scale * self.mask * (2.0 if self.training else 1.0)


MEANWHILE: dict[str, Callable[[Changing], Any]] = {
    "an attribute": lambda m: setattr(m, "scale", 3.0),
    "a buffer": lambda m: setattr(m, "mask", calque.zeros(2)),
    "a parameter": lambda m: setattr(m.layers[0], "weight", nn.Parameter(calque.zeros(2, 2))),
    "no parameter": lambda m: m.layers[0].register_parameter("bias", None),
    "data": lambda m: setattr(m.layers[0].bias, "data", calque.zeros(2)),
    "a mode": lambda m: m.eval(),
    "a hook": lambda m: m.layers[0].register_forward_hook(lambda m, args, out: out + 1),
    "a module more": lambda m: m.layers.append(nn.ReLU()),
    "tracking": lambda m: m.requires_grad_(False),
}


@pytest.mark.parametrize("change", MEANWHILE)
def test_a_call_while_something_changes(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Changing(), calque.ones(1, 2)
    compiled = calque.compile(model)
    for _ in range(3):
        compiled(x)
    bump = Epoch.bump

    def meanwhile() -> None:  # as another thread may
        bump()
        compiled(x)

    monkeypatch.setattr(Epoch, "bump", meanwhile)
    MEANWHILE[change](model)
    for now, wanted in zip(compiled(x).tolist()[0], model(x).tolist()[0], strict=True):
        assert now == pytest.approx(wanted)
