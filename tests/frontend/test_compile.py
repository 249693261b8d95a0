"""What a compiled function is: one program per structure, guarded, transactional, as eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque.frontend.compile import CompiledFunction
from calque.optim import SGD, AdamW
from calque.runtime import memory

pytestmark = pytest.mark.usefixtures("way")


def rand(*shape: int, seed: int = 0) -> calque.Tensor:
    data = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return calque.tensor(data)


def array(x: calque.Tensor | None) -> np.ndarray:
    assert x is not None
    return x.detach().numpy().copy()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.b = nn.Linear(8, 3)
        self.scale = 1.0

    def forward(self, x: calque.Tensor) -> calque.Tensor:
        return self.b(F.relu(self.a(x))) * self.scale


def training(optimizer: Any = SGD, **options: Any) -> tuple[Any, Any, Any]:
    calque.manual_seed(0)
    model = Net()
    opt = optimizer(model.parameters(), lr=0.1, **options)

    def step(x: calque.Tensor, y: calque.Tensor) -> calque.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return model, opt, step


def targets(n: int) -> calque.Tensor:
    return calque.tensor(np.arange(n) % 3)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [(SGD, {"momentum": 0.9}), (SGD, {"momentum": 0.9, "dampening": 0.1}), (AdamW, {})],
)
def test_training_follows_eager(optimizer: Any, options: Any) -> None:
    model, _, step = training(optimizer, **options)
    twin, _, eager = training(optimizer, **options)
    compiled = calque.compile(step)
    for i in range(4):
        x, y = rand(10, 6, seed=i), targets(10)
        np.testing.assert_array_equal(array(compiled(x, y)), array(eager(x, y)))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(array(p), array(q))
        np.testing.assert_array_equal(array(p.grad), array(q.grad))
    assert compiled.compiles == 1


def test_new_learning_rate_does_not_recompile() -> None:
    model, opt, step = training()
    compiled = calque.compile(step)
    compiled(rand(4, 6), targets(4))
    before = array(model.b.bias)
    for group in opt.param_groups:
        group["lr"] = 0.0
    compiled(rand(4, 6), targets(4))
    np.testing.assert_array_equal(array(model.b.bias), before)
    assert compiled.compiles == 1


def test_second_batch_size_makes_it_dynamic_and_a_third_compiles_nothing() -> None:
    _, _, step = training()
    _, _, eager = training()
    compiled = calque.compile(step)
    for n, compiles in ((8, 1), (5, 2), (12, 2), (7, 2)):
        x, y = rand(n, 6, seed=n), targets(n)
        np.testing.assert_array_equal(array(compiled(x, y)), array(eager(x, y)))
        assert compiled.compiles == compiles


def test_modes_structure_and_attributes_retrace() -> None:
    model = Net()
    f = calque.compile(lambda x: model(x))
    x = rand(2, 6)
    f(x)
    model.eval()
    f(x)
    assert f.compiles == 2
    model.b = nn.Linear(8, 3)
    np.testing.assert_array_equal(array(f(x)), array(model(x)))
    assert f.compiles == 3
    model.scale = 2.0
    np.testing.assert_array_equal(array(f(x)), array(model(x)))
    assert f.compiles == 4
    f(x)
    assert f.compiles == 4


def test_static_arguments_are_part_of_the_structure() -> None:
    f = calque.compile(lambda x, n, flag=False: x * n if flag else x + n)
    x = rand(3)
    np.testing.assert_array_equal(array(f(x, 2)), array(x) + 2)
    np.testing.assert_array_equal(array(f(x, 3)), array(x) + 3)
    np.testing.assert_array_equal(array(f(x, 3, flag=True)), array(x) * 3)
    assert f.compiles == 3


def test_float_arguments_are_inputs() -> None:
    f = calque.compile(lambda x, s: x * s)
    x = rand(3)
    for s in (0.5, 2.0, -1.5):
        np.testing.assert_array_equal(array(f(x, s)), array(x) * np.float32(s))
    assert f.compiles == 1


def test_closure_values_are_guarded() -> None:
    power = 2

    def f(x: calque.Tensor) -> calque.Tensor:
        return x * power

    g = calque.compile(f)
    x = rand(3)
    np.testing.assert_array_equal(array(g(x)), array(x) * 2)
    power = 3
    np.testing.assert_array_equal(array(g(x)), array(x) * 3)
    assert g.compiles == 2


def test_writes_into_arguments_and_views() -> None:
    def f(x: calque.Tensor) -> calque.Tensor:
        x[1:].mul_(2.0)
        row = x.t()[0]
        row += 1.0
        return x.sum()

    x, twin = rand(4, 3), rand(4, 3)
    total = calque.compile(f)(x)
    np.testing.assert_array_equal(array(total), array(f(twin)))
    np.testing.assert_array_equal(array(x), array(twin))


def test_gradients_accumulate_without_zero_grad() -> None:
    w = calque.tensor([1.0, 2.0], requires_grad=True)

    @calque.compile
    def f(x: calque.Tensor) -> calque.Tensor:
        loss = (w * x).sum()
        loss.backward()
        return loss

    x = calque.tensor([3.0, 4.0])
    f(x)
    np.testing.assert_array_equal(array(w.grad), [3, 4])
    f(x)
    np.testing.assert_array_equal(array(w.grad), [6, 8])
    f(x)
    np.testing.assert_array_equal(array(w.grad), [9, 12])


def test_compiled_forward_with_eager_backward() -> None:
    model = Net()
    compiled = calque.compile(model)
    x, y = rand(5, 6), rand(5, 3, seed=1)
    F.mse_loss(compiled(x), y).backward()
    got = [array(p.grad) for p in model.parameters()]
    model.zero_grad()
    F.mse_loss(model(x), y).backward()
    for g, p in zip(got, model.parameters(), strict=True):
        np.testing.assert_allclose(g, array(p.grad), rtol=1e-6, atol=1e-7)


def test_gradient_of_an_argument_through_a_compiled_function() -> None:
    f = calque.compile(lambda x: (x * x).sum())
    x = rand(4).requires_grad_()
    f(x).backward()
    np.testing.assert_array_equal(array(x.grad), 2 * array(x))


def test_failing_step_leaves_parameters_as_they_were() -> None:
    table = nn.Embedding(5, 4)
    opt = SGD(table.parameters(), lr=0.5)

    @calque.compile
    def step(ids: calque.Tensor) -> calque.Tensor:
        opt.zero_grad()
        loss = table(ids).sum()
        loss.backward()
        opt.step()
        return loss

    good, bad = calque.tensor([1, 2]), calque.tensor([1, 9])
    step(good)
    before = array(table.weight)
    with pytest.raises(IndexError, match="index out of range in self"):
        step(bad)
    np.testing.assert_array_equal(array(table.weight), before)
    step(good)
    assert not np.array_equal(array(table.weight), before)


def test_escaped_tensor_names_its_origin() -> None:
    kept: list[calque.Tensor] = []

    @calque.compile
    def f(x: calque.Tensor) -> calque.Tensor:
        kept.append(x * 2)
        return x

    f(rand(2))
    with pytest.raises(RuntimeError, match=r"traced at mul at .*test_compile\.py"):
        calque.add(kept[0], 1)


def test_steps_after_the_first_allocate_nothing() -> None:
    _, _, step = training(AdamW)
    compiled = calque.compile(step)
    x, y = rand(8, 6), targets(8)
    for _ in range(3):
        compiled(x, y)
    before = memory.stats().system_allocations
    for _ in range(10):
        assert np.isfinite(compiled(x, y).item())
    assert memory.stats().system_allocations == before


def test_printing_inside_of_a_compiled_function(capsys: pytest.CaptureFixture[str]) -> None:
    @calque.compile
    def f(x: calque.Tensor) -> calque.Tensor:
        y = x.exp()
        print(y, y.shape)
        return y

    f(rand(2, 3))
    out = capsys.readouterr().out
    assert "traced float32[2, 3] from exp at" in out
    assert "calque.Size([2, 3])" in out


def test_gradients_taken_inside_need_none_outside() -> None:
    @calque.compile
    def f(x: calque.Tensor) -> calque.Tensor:
        return calque.grad(lambda v: (v * v).sum())(x)

    out = f(calque.tensor([1.0, 2.0]))
    assert not out.requires_grad
    assert out.tolist() == [2.0, 4.0]
    assert f.program.backward is None


def test_a_call_is_recognized_only_where_it_means_the_same() -> None:
    """After a first call, each of these differs from it in one thing that matters."""
    w = calque.arange(6.0).reshape(2, 3)
    weight = {"w": w}
    scale = 2.0

    @calque.compile
    def f(a: Any, b: Any = None) -> Any:
        if isinstance(a, list):
            a, b = a
        first = a * scale + weight["w"]
        return first if b is None else first - b

    def same(*args: Any, **kwargs: Any) -> Any:
        wanted, got = f._function(*args, **kwargs), f(*args, **kwargs)
        assert got.tolist() == wanted.tolist()
        assert (got.dtype, got.requires_grad) == (wanted.dtype, wanted.requires_grad)
        return got

    x, y = calque.ones(2, 3), calque.full((2, 3), 5.0)
    same(x, y)
    for args in (
        (x, y), ([x, y],), (x,), (x, x), (w, y), (x, w), (x, y[:1]), (x.double(), y), (x, 3.0),
        (calque.ones(3, 2).t(), y), (calque.ones(4, 3)[1:3], y), (calque.ones(2, 3), y),
    ):  # fmt: skip
        same(x, y)
        same(*args)
    same(a=x, b=y)
    tracked = calque.ones(2, 3).requires_grad_()
    assert same(tracked, y).grad_fn is not None
    with calque.no_grad():
        assert same(tracked, y).grad_fn is None
    with pytest.raises(RuntimeError, match="on the same device"):
        f(x.to("meta"), y.to("meta"))
    same(x, y)
    scale = 3.0
    same(x, y)
    w.data = calque.ones(1, 3)
    same(x, y)
    leaked: list[Any] = []
    calque.compile(lambda v: leaked.append(v * 1))(x)
    same(x, y)
    with pytest.raises(RuntimeError, match="outside of the function"):
        f(leaked[0], y)


def test_a_call_runs_its_own_route_whatever_other_threads_do() -> None:
    class Interrupted(CompiledFunction[Any, Any]):
        """Another thread sets its route right after each call has set its own."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, others if name == "_route" and others else value)

    others: Any = None
    f = Interrupted(lambda x: x * 2)
    f(calque.ones(3))
    f(calque.ones(5))
    others = f._route
    assert f(calque.ones(7)).tolist() == [2.0] * 7
    assert f(calque.ones(3)).tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("shape", "whole"),
    [((5,), (4, 5)), ((3, 3, 5), (5, 3, 3, 5)), ((2, 1, 40), (2, 7, 40)), ((3, 1), (3, 9))],
)
def test_rows_of_results_that_repeat(shape: tuple[int, ...], whole: tuple[int, ...]) -> None:
    def f(x: Any, y: Any) -> Any:
        return F.softmax(x.expand(*whole), -1) * y

    x, y = rand(*shape), rand(*whole, seed=1)
    np.testing.assert_array_equal(array(calque.compile(f)(x, y)), array(f(x, y)))
