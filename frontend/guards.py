"""What a compiled function depends on besides its tensors, and how that is checked.

Guarded are: plain Python values and tensors in the closure cells and globals of the user's
functions reached from the compiled one, the structure and attributes of modules and the options
of optimizers that ran. Contents of other objects are not.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .location import is_ours
from .tensor import Tensor

_PLAIN = (bool, int, float, str, bytes, type(None), complex)


class Epoch:
    """Counts structural changes of modules and optimizers: an unchanged count costs one compare."""

    value = 0

    @classmethod
    def bump(cls) -> None:
        """Say that something changed that a program may depend on."""
        cls.value += 1


class Guarded(Protocol):
    """Modules and optimizers: what of them a program depends on, comparable by ==."""

    def _guard_state(self) -> Any: ...


@dataclass
class Guards:
    """The values found while tracing; `hold()` compares them with the present ones."""

    plain: list[tuple[Callable[[], Any], Any, str]] = field(default_factory=list)
    objects: list[tuple[Guarded, Any]] = field(default_factory=list)
    epoch: int = -1

    def hold(self) -> bool:
        """Whether everything is as it was."""
        for read, value, _ in self.plain:
            try:
                now = read()
            except (KeyError, ValueError):
                return False
            if now is not value and not (type(now) is type(value) and _equal(now, value)):
                return False
        if self.epoch != Epoch.value:
            if any(obj._guard_state() != state for obj, state in self.objects):
                return False
            self.epoch = Epoch.value
        return True

    def describe(self) -> list[str]:
        """The guarded names, for `explain()`."""
        return [f"{name} == {value!r}" for _, value, name in self.plain if _is_plain(value)]


def _equal(a: Any, b: Any) -> bool:
    return _is_plain(a) and a == b


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


@dataclass
class Surroundings:
    """What a function reaches: guards on values, modules and optimizers by name."""

    guards: Guards = field(default_factory=Guards)
    named: list[tuple[str, Any]] = field(default_factory=list)


def survey(function: Callable[..., Any]) -> Surroundings:
    """Walk closures and globals of a function and of the user's functions that it names."""
    found = Surroundings()
    seen: set[int] = set()
    queue: list[Any] = [function]
    while queue:
        item = queue.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        for function_ in _functions(item, found):
            queue += _visit(function_, found, seen)
    return found


def _functions(item: Any, found: Surroundings) -> list[types.FunctionType]:
    if isinstance(item, types.MethodType):
        self_ = item.__self__
        if hasattr(self_, "_guard_state"):
            found.named.append(("self", self_))
        return _functions(item.__func__, found)
    if isinstance(item, types.FunctionType) and not is_ours(item.__code__.co_filename):
        return [item]
    wrapped = getattr(item, "__wrapped__", None)  # by `grad`, `no_grad`, `compile`
    return [] if wrapped is None else _functions(wrapped, found)


def _visit(function: types.FunctionType, found: Surroundings, seen: set[int]) -> list[Any]:
    """Guard the plain values a function reads; the functions and modules to walk next."""
    following: list[Any] = []

    def meet(name: str, value: Any, read: Callable[[], Any]) -> None:
        if _is_plain(value) or isinstance(value, Tensor):
            found.guards.plain.append((read, value, name))
        elif hasattr(value, "_guard_state"):
            if id(value) not in seen:
                seen.add(id(value))
                found.named.append((name, value))
            found.guards.plain.append((read, value, name))
        elif isinstance(value, types.FunctionType | types.MethodType):
            following.append(value)
        elif isinstance(value, list | tuple):
            for i, entry in enumerate(value):
                if hasattr(entry, "_guard_state"):
                    found.named.append((f"{name}.{i}", entry))

    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        meet(name, value, lambda cell=cell: cell.cell_contents)
    scope = function.__globals__
    for name in _global_names(code):
        if name in scope:
            meet(name, scope[name], lambda name=name: scope[name])
    return following


def _global_names(code: types.CodeType) -> set[str]:
    """Names that a function and the functions inside of it may read as globals."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names
