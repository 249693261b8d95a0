"""Mistakes are told at the user's line: a note that names it, once, on whatever calque raises."""

from __future__ import annotations

import ast
import functools
import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque.optim import SGD
from tree import Module, modules

X = calque.ones(4, 4)
ODD = calque.ones(3, 7)


class Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        return self.layer(x)  # here


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), Wrong())

    def forward(self, x: Any) -> Any:
        return self.inner(x)


def operator(x: Any) -> Any:
    y = x * 2
    return y + ODD  # here


def functional(x: Any) -> Any:
    return F.cross_entropy(x, calque.ones(9))  # here


def method(x: Any) -> Any:
    return x.reshape(5)  # here


def creation(x: Any) -> Any:
    return calque.cat([x, ODD])  # here


def indexing(x: Any) -> Any:
    return x[4]  # here


def devices(x: Any) -> Any:
    return x + calque.ones(4, 4, device="meta")  # here


def in_place(x: Any) -> Any:
    x.add_(calque.ones(2, 4, 4))  # here
    return x


def module_in_module(x: Any) -> Any:
    return Outer()(x)


def layer_in_layer(x: Any) -> Any:
    return nn.Sequential(nn.ReLU(), nn.Linear(128, 10))(x)  # here


def through_a_library(x: Any) -> Any:
    return functools.singledispatch(calque.matmul)(x, ODD)  # here


def optimizer(x: Any) -> Any:
    SGD([nn.Parameter(x)], lr=-1.0)  # here


def looking_up(x: Any) -> Any:
    return F.embedding(calque.tensor([1, 100]), x)  # here


def backward(x: Any) -> Any:
    (x * 2).backward()  # here


def state_dict(x: Any) -> Any:
    nn.Linear(2, 2).load_state_dict({})  # here


def names(x: Any) -> Any:
    nn.Module().register_buffer("a.b", x)  # here


def users_own(x: Any) -> Any:
    raise RuntimeError("not for calque to say")


EAGER = [operator, functional, method, creation, indexing, devices, in_place, module_in_module,
         layer_in_layer, through_a_library, optimizer, looking_up, backward, state_dict,
         names]  # fmt: skip
TRACED = [operator, functional, method, creation, indexing, in_place, module_in_module,
          layer_in_layer]  # fmt: skip


def expected(function: Callable[..., Any]) -> str:
    """The note for the line of a function that is marked with `# here`."""
    where = Wrong.forward if function is module_in_module else function
    code = where.__code__
    lines = range(code.co_firstlineno, code.co_firstlineno + 4)
    line = next(n for n in lines if linecache.getline(__file__, n).endswith("# here\n"))
    text = linecache.getline(__file__, line).strip()
    return f"  at {__file__}:{line}, in {code.co_name}: {text}"


def raised(function: Callable[..., Any], *args: Any) -> BaseException:
    with pytest.raises(Exception) as found:
        function(*args)
    return found.value


@pytest.mark.parametrize("function", EAGER)
def test_the_note_names_the_users_line(function: Callable[..., Any]) -> None:
    error = raised(function, calque.ones(4, 4))
    assert error.__notes__ == [expected(function)]
    assert type(error).__module__ == "builtins"
    shown = "".join(traceback.format_exception(error))
    assert shown.endswith(expected(function) + "\n")


@pytest.mark.parametrize("function", TRACED)
def test_it_does_so_while_a_function_is_compiled(function: Callable[..., Any]) -> None:
    error = raised(calque.compile(function), calque.ones(4, 4))
    assert error.__notes__ == [expected(function)]


@pytest.mark.parametrize("function", TRACED)
def test_it_does_so_while_a_function_is_traced(function: Callable[..., Any]) -> None:
    from calque.frontend.program import trace

    error = raised(trace, function, np.ones((4, 4), np.float32))
    assert error.__notes__ == [expected(function)]


def test_a_check_that_fails_in_compiled_code_is_told_at_the_call() -> None:
    look = calque.compile(lambda i: X[i])
    look(calque.tensor([0, 3]))
    error = raised(look, calque.tensor([0, 4]))
    assert isinstance(error, IndexError)
    assert len(error.__notes__) == 1 and "function(*args)" in error.__notes__[0]


def test_what_the_user_raises_in_eager_code_is_left_alone() -> None:
    assert not hasattr(raised(users_own, X), "__notes__")


def test_what_python_raises_inside_of_a_trace_is_told_too() -> None:
    """Here calque has no check of its own."""
    error = raised(calque.compile(lambda x: x.sum(object())), X)
    assert len(error.__notes__) == 1 and error.__notes__[0].endswith("x.sum(object())), X)")


def test_code_without_a_file_has_a_line_as_well() -> None:
    code = compile("def f(x):\n    return x[9]", "<typed>", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    assert raised(space["f"], X).__notes__ == ["  at <typed>:2, in f"]


USERS = ("ir/ops", "frontend")
PLAIN = {"RuntimeError", "ValueError", "TypeError", "IndexError", "KeyError"}


@pytest.mark.parametrize("module", modules(), ids=str)
def test_errors_are_made_so_that_they_know_the_line(module: Module) -> None:
    """What users meet is made by `ir/errors.py`; commands end in one line of their own."""
    path = str(module)
    if not path.startswith(USERS) or path.startswith("frontend/cli"):
        return
    plain = [
        f"{module}:{node.lineno} raises {ast.unparse(node.exc.func)}"
        for node in ast.walk(ast.parse(Path(module.path).read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        if ast.unparse(node.exc.func) in PLAIN
    ]
    assert not plain, "\n".join(plain)
