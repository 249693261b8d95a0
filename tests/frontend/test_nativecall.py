"""The native entry recognizes what Python recognizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import calque
from calque.frontend.storage import Fields
from nativecalls import Model, called, needs_it, product, recognizes

pytestmark = needs_it


def test_calls_like_the_first_are_taken() -> None:
    f, _, w = product()
    other = calque.randn(3, 4)
    wanted = f._function(other, w).tolist()
    out = f._route.native((other, w))
    assert out.tolist() == wanted
    assert (out.shape, out.stride(), out.requires_grad) == ((3, 5), (5, 1), False)
    assert recognizes(f, other.detach(), w)
    assert recognizes(f, calque.tensor(np.ones((3, 4), np.float32)), w)
    assert recognizes(called(lambda m: m * 2, calque.ones(0, 3)), calque.ones(0, 3))


def test_dynamic_sizes_have_a_record_each() -> None:
    f, x, w = product()
    for n in (5, 6, 7, 5):
        x = calque.randn(n, 4)
        assert f(x, w).tolist() == (x @ w).tolist()
        assert f(x, w).tolist() == (x @ w).tolist()
        assert recognizes(f, x, w)
    assert f.compiles == 2


def test_no_arguments_no_results_and_many_of_both() -> None:
    w = calque.ones(3)
    f = called(lambda: w * 2)
    assert recognizes(f)
    w += 1
    assert f().tolist() == [4.0] * 3
    kept = called(lambda x: (x, None, 7), w)
    assert recognizes(kept, w)
    assert kept(w)[0] is w and kept(w)[1:] == (None, 7)
    xs = [calque.full((2,), float(i)) for i in range(200)]
    many = called(lambda *xs: tuple(x + 1 for x in xs), *xs)
    assert recognizes(many, *xs)
    assert [y.tolist() for y in many(*xs)] == [[i + 1.0] * 2 for i in range(200)]


class Sub(calque.Tensor):
    """A tensor of a user."""


def strange(x: calque.Tensor) -> dict[str, Any]:
    """What is no tensor like x."""
    sub = x.clone()
    sub.__class__ = Sub
    cases: dict[str, Any] = {
        "none": None,
        "number": 1.0,
        "list": [x],
        "type": calque.Tensor,
        "subclass": sub,
        "shape": calque.randn(4, 3),
        "strides": calque.randn(4, 3).t(),
        "offset": calque.randn(6, 4)[3:],
        "dtype": x.double(),
        "device": x.to("meta"),
        "tracked": x.clone().requires_grad_(),
        "traced": None,
        "bare": object.__new__(calque.Tensor),
    }
    calque.compile(lambda v: cases.update(traced=v * 1))(x)
    for name in Fields.__slots__:
        cases[f"without {name}"] = copy = x.clone()
        delattr(copy, name)
    cases["without buffer"] = bare = x.clone()
    delattr(bare._storage, "buffer")
    for name in ("ptr", "nbytes"):
        cases[f"without {name}"] = other = x.clone()
        storage: Any = other._storage
        delattr(storage.buffer, name)
    return cases


def test_whatever_else_is_left_to_python() -> None:
    f, x, w = product()
    for name, case in strange(x).items():
        if name != "without nbytes":  # which nobody reads
            assert f._route.native((case, w)) is None, name
    for args in ((), (x,), (x, w, w), (w, x)):
        assert f._route.native(args) is None
    with pytest.raises(SystemError):
        f._route.native([x, w])
    square = called(lambda a, b: a + b, x, calque.randn(3, 4))
    assert not recognizes(square, x, x)
    assert not recognizes(square, x, x.detach())
    assert recognizes(square, x, x.clone())


def test_python_then_does_or_says_what_it_always_does() -> None:
    f, x, w = product()
    cases = strange(x)
    for name in ("subclass", "strides", "offset", "dtype"):
        if name != "dtype":
            assert f(cases[name], w).tolist() == (cases[name] @ w).tolist()
    with pytest.raises(AttributeError):
        f(cases["bare"], w)
    with pytest.raises(RuntimeError, match="outside of the function"):
        f(cases["traced"], w)
    assert f(cases["tracked"], w).requires_grad


def test_modes_traces_and_structure_are_looked_at() -> None:
    f, x, w = product()
    assert recognizes(f, x, w)
    with calque.no_grad():
        assert not recognizes(f, x, w)
    seen: list[bool] = []
    calque.compile(lambda v: (seen.append(recognizes(f, x, w)), v * 1)[1])(x)
    assert seen == [False]
    assert recognizes(f, x, w)
    w.data = calque.randn(4, 5)  # a new epoch
    assert recognizes(called(lambda v: v * 2, x), x)
    assert f(x, w).tolist() == (x @ w).tolist()
    model = Model()
    g = called(lambda v: model(v).detach(), x)
    assert recognizes(g, x)
    model.eval()
    assert not recognizes(g, x)
    assert g(x).tolist() == model(x).tolist()
    model.layer.weight.data = calque.zeros(2, 4)
    assert not recognizes(g, x)
    assert g(x).tolist() == model(x).tolist()
    g(x)
    assert recognizes(g, x)


def test_captured_memory_is_no_argument() -> None:
    weight, x = calque.randn(3, 4), calque.randn(3, 4)
    f = called(lambda v: v + weight, x)
    assert recognizes(f, x)
    assert not recognizes(f, weight)
    assert not recognizes(f, weight.detach())
    assert f(weight).tolist() == (weight * 2).tolist()


SCALE: Any = 2.0


def test_names_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x, bias = calque.ones(2), 1.0

    def scaled(v: calque.Tensor) -> calque.Tensor:
        return v * SCALE + bias

    f = called(scaled, x)
    assert recognizes(f, x)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert not recognizes(f, x)
    assert f(x).tolist() == [4.0, 4.0]
    f(x)
    assert recognizes(f, x)
    monkeypatch.delitem(globals(), "SCALE")
    assert not recognizes(f, x)
    with pytest.raises(NameError):
        f(x)
    bias = 5.0
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert f(x).tolist() == [8.0, 8.0]


def test_data_that_the_trace_read_are_looked_at() -> None:
    flag = calque.ones(1)
    x = calque.ones(2)
    f = called(lambda v: v * 2 if flag else v * 3, x)
    assert recognizes(f, x)
    flag.zero_()
    assert not recognizes(f, x)
    assert f(x).tolist() == [3.0, 3.0]
