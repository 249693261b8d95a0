"""Compiled functions as people write them: structures, sizes, shared memory, errors, threads."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F

pytestmark = pytest.mark.usefixtures("way")

C = calque.compile


def vector(*values: float) -> calque.Tensor:
    return calque.tensor([float(v) for v in values])


class Pair(NamedTuple):
    a: Any
    b: Any


def test_structures_go_in_and_out() -> None:
    @C
    def f(x: Any, pair: Pair, *rest: Any, scale: int = 2, mode: str | None = None) -> Any:
        out = {"x": x * scale, "pair": Pair(pair.b, [pair.a, *rest])}
        return out, 0.5, 3, None, mode

    out, *plain = f(vector(1), Pair(vector(2), None), vector(4), mode="m")
    assert plain == [0.5, 3, None, "m"]
    assert out["x"].item() == 2
    assert out["pair"].a is None
    assert [t.item() for t in out["pair"].b] == [2, 4]


def test_arguments_that_are_returned_are_themselves() -> None:
    def f(x: calque.Tensor, s: float) -> Any:
        y = x * 2
        x += 1
        return x, s, y, y

    x = vector(1)
    same, number, y, again = C(f)(x, 0.25)
    assert same is x
    assert x.item() == 2
    assert number == 0.25
    assert y is again


def test_sizes_are_numbers_and_operands() -> None:
    f = C(lambda x: (x.shape[0] * 2, tuple(x.shape), x.sum() / x.shape[0], x.numel() - x))
    for n in (2, 3, 5, 7):
        twice, shape, mean, rest = f(calque.ones(n, 2))
        assert (twice, shape) == (2 * n, (n, 2))
        assert type(twice) is int
        assert mean.item() == 2
        assert mean.dtype is calque.float32
        assert rest.tolist() == [[2 * n - 1] * 2] * n
    assert f.compiles == 2


def test_one_tensor_passed_twice() -> None:
    def f(a: calque.Tensor, b: calque.Tensor) -> calque.Tensor:
        c = b * 2
        a.add_(1)
        return c + b

    g = C(f)
    x, y, z = vector(1, 2), vector(1, 2), vector(3, 4)
    assert g(y, z).tolist() == [9, 12]
    assert g(x, x).tolist() == [4, 7]
    assert x.tolist() == [2, 3]
    assert g(y[:1], y[1:]).tolist() == [9]  # apart in one memory
    with pytest.raises(RuntimeError, match="b and a overlap in memory"):
        g(z, z[:])[0] + g(calque.ones(3)[:2], calque.ones(3)[:2]) + g(x[:1], x)
    assert x.tolist() == [2, 3]


def test_a_captured_tensor_passed_as_an_argument() -> None:
    w = vector(1, 2)

    def f(a: calque.Tensor) -> calque.Tensor:
        c = w * 2
        a.add_(1)
        return c + w

    g = C(f)
    assert g(vector(0, 0)).tolist() == [3, 6]
    assert g(w).tolist() == [4, 7]
    assert g(vector(0, 0)).tolist() == [6, 9]
    with pytest.raises(RuntimeError, match="overlap in memory"):
        C(lambda a: a.add_(w[0]))(w[:1])


def test_gradients_of_a_parameter_passed_as_an_argument() -> None:
    w = calque.tensor([2.0], requires_grad=True)

    @C
    def f(a: calque.Tensor) -> None:
        (a * w).sum().backward()

    f(w)
    f(w)
    assert w.grad is not None
    assert w.grad.tolist() == [8]


def test_an_exception_leaves_nothing_behind() -> None:
    fails = True

    def f(x: calque.Tensor) -> calque.Tensor:
        with calque.no_grad():
            y = x * 2
            if fails:
                raise KeyError("mine")
        return y + 1

    g = C(f)
    with pytest.raises(KeyError, match="mine"):
        g(vector(1))
    assert calque.is_grad_enabled()
    assert (vector(1) + 1).item() == 2
    fails = False
    assert g(vector(1)).item() == 3


def test_threads_call_one_function() -> None:
    f = C(lambda x: (x * 2).sum())
    out: dict[int, float] = {}

    def work(n: int) -> None:
        out[n] = f(calque.full((n % 3 + 2,), float(n))).item()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert out == {n: 2.0 * n * (n % 3 + 2) for n in range(8)}


def test_methods_and_functions_in_functions() -> None:
    class Scaled:
        k = 3

        @C
        def run(self, x: calque.Tensor) -> calque.Tensor:
            return x * self.k

    def scale(s: int) -> Any:
        inner = C(lambda x: x * s)
        return C(lambda x: inner(x) + inner(x + 1))

    assert Scaled().run(vector(1)).item() == 3
    assert scale(2)(vector(1)).item() == 6
    assert scale(3)(vector(1)).item() == 9


def test_grad_mode_of_the_call_is_part_of_the_structure() -> None:
    model = C(nn.Linear(2, 2))
    x = calque.ones(1, 2)
    with calque.no_grad():
        assert not model(x).requires_grad
    assert model(x).requires_grad
    assert model.compiles == 2


def test_errors_show_the_line_of_the_user() -> None:
    def f(x: calque.Tensor) -> calque.Tensor:
        y = x * 2
        return y @ y  # here

    with pytest.raises(RuntimeError) as caught:
        C(f)(calque.ones(2, 3))
    assert any("# here" in str(entry.statement) for entry in caught.traceback)


def test_conditions_and_loops_on_data() -> None:
    @C
    def f(x: calque.Tensor) -> Any:
        y = calque.cond(x.sum() > 0, lambda x: x * 2, lambda x: -x, (x,))
        total, _ = calque.while_loop(
            lambda t, i: i < 4, lambda t, i: (t + y, i + 1), (x * 0, calque.tensor(0))
        )
        return y, total

    for data in ([1.0, 2.0], [-1.0, -2.0]):
        y, total = f(calque.tensor(data))
        expected = np.abs(data) * (2 if data[0] > 0 else 1)
        np.testing.assert_allclose(y.numpy(), expected)
        np.testing.assert_allclose(total.numpy(), 4 * expected)


def test_functions_take_the_names_of_pytorch() -> None:
    x = calque.tensor([[1.0, 5.0], [2.0, 0.0]])
    assert calque.clamp(x, max=2, min=1).tolist() == [[1, 2], [2, 1]]
    assert calque.amax(x, dim=1).tolist() == [5, 2]
    assert calque.amin(x, dim=0, keepdim=True).tolist() == [[1, 0]]
    assert calque.any(x > 4, dim=1).tolist() == [True, False]
    assert calque.all(x > 0, dim=1).tolist() == [True, False]
    assert calque.logsumexp(x * 0, dim=1).tolist() == pytest.approx([np.log(2)] * 2)
    assert f"{x.sum():.2f} {x[0]}" == "8.00 tensor([1., 5.])"
    assert calque.is_tensor(x)
    assert not calque.is_tensor(1)


def test_compiled_modules_are_copied_and_pickled() -> None:
    import copy
    import pickle

    model = C(nn.Linear(2, 2))
    x = calque.ones(1, 2)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin(x).detach().numpy(), model(x).detach().numpy())
        assert twin.weight is not model.weight


def test_compiled_modules_stand_for_their_module() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = C(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)))
            self.head = nn.Linear(3, 1)

        def forward(self, x: Any) -> Any:
            return self.head(self.body(x))

    net = Net()
    assert isinstance(net.body, nn.Module)
    assert list(net.state_dict()) == ["body.0.weight", "body.0.bias", "head.weight", "head.bias"]
    assert len(list(net.parameters())) == 4
    net.eval()
    assert not net.body[1].training
    x = calque.ones(1, 2)
    net(x).sum().backward()
    assert net.body[0].weight.grad is not None
    assert net.body.compiles == 1
    compiled = C(net)
    assert compiled(x).tolist() == net(x).tolist()
    net.body[0] = nn.Linear(2, 3)
    assert compiled(x).tolist() == net(x).tolist()


def test_threads_share_one_compilation() -> None:
    f = C(lambda x: (x @ x).relu().sum())
    x = calque.ones(8, 8)
    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.append(f(x).item())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [512.0] * 4
    assert f.compiles == 1


def double(x: Any) -> Any:
    return x * 2


def test_compiled_functions_are_copied() -> None:
    import copy

    f = C(double)
    f(calque.ones(2))
    assert copy.deepcopy(f)(calque.ones(2)).tolist() == [2, 2]


def test_what_the_caller_names_is_no_part_of_the_program() -> None:
    """Views that are results are looked at after the function has returned."""
    global turn

    @calque.compile
    def step(x: calque.Tensor) -> tuple[calque.Tensor, calque.Tensor]:
        y = x * 1
        return y[1:].mul_(2), y

    for turn in range(3):
        step(calque.ones(4) * turn)
    assert turn == 2 and step.compiles == 1


turn = 0


def test_sums_of_constants_beside_rows() -> None:
    """A reduction that needs no row is computed before the rows, alone."""

    def gradient(x: calque.Tensor) -> calque.Tensor:
        return calque.grad(lambda x: x.log_softmax(-1).sum())(x)

    x = calque.randn(3, 5)
    np.testing.assert_array_equal(calque.compile(gradient)(x).numpy(), gradient(x).numpy())


SIZES: dict[str, tuple[Any, str]] = {
    "matmul": (lambda x: x @ calque.ones(4, 3), r"cannot be multiplied \(5x7 and 4x3\)"),
    "broadcast": (
        lambda x: x + x.transpose(0, 1), r"tensor a \(7\) must match the size of tensor b \(5\)"
    ),
    "view": (lambda x: x.view(3, -1), r"shape '\[3, -1\]' is invalid for input of size 35"),
    "cat": (lambda x: calque.cat([x, calque.ones(2, 9)]), "Expected size 7 but got size 9"),
    "expand": (lambda x: x.expand(2, 5), r"\(2\) must match the existing size \(5\)"),
    "loss": (lambda x: F.cross_entropy(x, calque.zeros(9).long()), r"batch_size \(5\) to match"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_errors_name_the_sizes_that_were_met(name: str) -> None:
    function, message = SIZES[name]

    @C
    def f(x: calque.Tensor) -> Any:
        return function(x) if x.dim() and x.shape[0] != x.shape[1] else x * 1

    for size in (3, 4):
        f(calque.ones(size, size))
    with pytest.raises((RuntimeError, ValueError), match=message):
        f(calque.ones(5, 7))
