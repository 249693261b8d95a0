"""What a compiled function depends on besides its tensors, and how that is checked.

Guarded is what names mean to the user's functions that ran: the globals they load and the cells of
their closures, plain Python values by value and all else by identity; and of modules and optimizers
that ran, structure, attributes and options; and the data of captured tensors that Python looked at.
Contents of other objects are not.
"""

from __future__ import annotations

import dis
import functools
import itertools
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..ir.location import is_library

if TYPE_CHECKING:
    from .storage import Storage
    from .tensor import Tensor

_PLAIN = (bool, int, float, str, bytes, type(None), complex)


# Each value is told from all before it, even if another thread is late to set its own.
_epochs = itertools.count(1)


class Epoch:
    """Counts structural changes of modules and optimizers: an unchanged count costs one compare."""

    value = 0

    @classmethod
    def bump(cls) -> None:
        """Say that something has changed that a program may depend on.

        Not before it has: another thread could look at what was, and believe that it is.
        """
        cls.value = next(_epochs)


State: TypeAlias = dict[tuple[Any, str], Any]


class Guarded(Protocol):
    """Modules and optimizers: what of them a program depends on, comparable by ==.

    Keys are a place and the name of an attribute, an empty one for structure.
    """

    def _guard_state(self) -> State: ...


# A tensor whose data Python looked at, its memory, and how often that was written before.
Data: TypeAlias = "tuple[Tensor, Storage, int]"


class Held:
    """A value that is compared by identity, and kept so that no other gets its place."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other.value is self.value

    __hash__ = object.__hash__


def frozen(value: Any) -> Any:
    """A value as a guard compares it: plain ones by type and value, all else by identity."""
    if not _is_plain(value):
        return Held(value)
    if isinstance(value, tuple):
        return type(value), tuple(map(frozen, value))
    # 0.0 == -0.0 in Python, and NaN is no NaN.
    return type(value), repr(value) if isinstance(value, float | complex) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


@dataclass
class Guards:
    """The values found while tracing; `hold()` compares them with the present ones."""

    names: list[tuple[Callable[[], Any], Any, str]] = field(default_factory=list)
    objects: list[tuple[str, Guarded, State]] = field(default_factory=list)
    ignored: frozenset[str] = frozenset()  # attributes that are written, and never read
    data: list[Data] = field(default_factory=list)
    _epoch: int = -1
    _unchanged: bool = False

    def hold(self) -> bool:
        """Whether everything is as it was."""
        for read, value, _ in self.names:
            try:
                now = read()
            except (KeyError, ValueError):
                return False
            if now is not value and not (_is_plain(value) and frozen(now) == frozen(value)):
                return False
        for tensor, storage, version in self.data:
            if tensor._storage is not storage or storage.version != version:
                return False
        epoch = Epoch.value
        if self._epoch != epoch:
            self._unchanged = all(
                self._relevant(obj._guard_state()) == self._relevant(state)
                for _, obj, state in self.objects
            )
            self._epoch = epoch  # last, since other threads believe it
        return self._unchanged

    def unchanged(self, epoch: int) -> bool:
        """Whether modules and optimizers were found as they were in this epoch."""
        return self._epoch == epoch and self._unchanged

    def _relevant(self, state: State) -> State:
        if not self.ignored:
            return state
        return {key: value for key, value in state.items() if key[1] not in self.ignored}

    def describe(self) -> list[str]:
        """What is guarded, for `explain()`."""
        plain = [f"{name} == {value!r}" for _, value, name in self.names if _is_plain(value)]
        plain += [f"the data of {tensor._meta}" for tensor, _, _ in self.data]
        return plain + [f"{type(obj).__name__} {name}".rstrip() for name, obj, _ in self.objects]


class Surroundings:
    """What a function that is traced meets outside of itself, and how that was before it ran."""

    def __init__(self) -> None:
        self.named: list[tuple[str, Any]] = []  # modules and optimizers
        self._names: list[tuple[Callable[[], Any], Any, str]] = []
        self._states: dict[int, tuple[str, Guarded, State]] = {}
        self._inside: set[int] = set()  # modules of others whose state is known
        self._read: set[str] = set()  # names of attributes that functions load
        self._written: set[str] = set()
        # Code that ran and its globals, by its id, as the hash of code takes long.
        self.ran: dict[int, tuple[types.CodeType, dict[str, Any]]] = {}
        self._seen: set[Any] = set()
        self.data: list[Data] = []

    def survey(self, function: Callable[..., Any]) -> None:
        """Look at a function and at the user's functions that it names, before it runs."""
        own = isinstance(function, types.FunctionType)  # wherever it comes from
        self._walk(self._reads(function) if own else [function])

    def note(self, obj: Guarded, name: str = "", renewed: bool = False) -> None:
        """A module or an optimizer takes part: the program depends on its state before.

        `renewed` is for state that it made at its first use, and has from then on.
        """
        if renewed:
            name = self._states[id(obj)][0] if id(obj) in self._states else name
        elif id(obj) in self._inside:
            return
        self._states[id(obj)] = (name, obj, obj._guard_state())
        self._inside.update(map(id, _modules(obj)), (id(obj),))

    def guards(self) -> Guards:
        """What the program depends on, after all that it does was seen."""
        for code, scope in self.ran.values():
            if not is_library(code.co_filename):
                self._walk(self._scope(code, scope))
        modules = [m for _, obj, _ in self._states.values() for m in _modules(obj)]
        for kind in dict.fromkeys(map(type, modules)):
            methods = [getattr(kind, name, None) for name in sorted(self._read)]
            self._walk(m for m in methods if isinstance(m, types.FunctionType))
        ignored = frozenset(self._written - self._read)
        return Guards(self._names, list(self._states.values()), ignored, self.data)

    def _walk(self, items: Iterable[Any]) -> None:
        queue = list(items)
        while queue:
            item = queue.pop()
            if id(item) not in self._seen:
                self._seen.add(id(item))
                for function in self._functions(item):
                    queue += self._reads(function)

    def _functions(self, item: Any) -> list[types.FunctionType]:
        """The user's functions behind something that is called."""
        if isinstance(item, types.MethodType):
            self._meet("self", item.__self__)
            return self._functions(item.__func__)
        if isinstance(item, types.FunctionType):
            return [] if is_library(item.__code__.co_filename) else [item]
        if isinstance(item, functools.partial):
            self._meet("partial", (*item.args, *item.keywords.values()))
            return self._functions(item.func)
        if isinstance(item, type):
            members = [getattr(m, "__func__", m) for m in vars(item).values()]
            return [f for m in members if not isinstance(m, type) for f in self._functions(m)]
        # A function wrapped by `grad`, `no_grad`, `compile`, or an object that is called.
        inner = getattr(item, "__wrapped__", None)
        if inner is None and callable(item):
            inner = type(item).__call__
        builtin = inner is None or isinstance(inner, types.WrapperDescriptorType)
        return [] if builtin else self._functions(inner)

    def _reads(self, function: types.FunctionType) -> list[Any]:
        """Guard what the names of a function mean; what is to be walked next."""
        cells = self._cells(function)
        return cells + self._scope(function.__code__, function.__globals__)

    def _cells(self, function: types.FunctionType) -> list[Any]:
        following: list[Any] = []
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            read = functools.partial(getattr, cell, "cell_contents")
            following += self._guard(id(cell), name, value, read)
        return following

    def _scope(self, code: types.CodeType, scope: dict[str, Any]) -> list[Any]:
        names, read, written = _names_of(code)
        self._read |= read
        self._written |= written
        following: list[Any] = []
        for name in sorted(names):
            if name in scope:
                read = functools.partial(scope.__getitem__, name)
                following += self._guard((id(scope), name), name, scope[name], read)
        return following

    def _guard(self, key: Any, name: str, value: Any, read: Callable[[], Any]) -> list[Any]:
        """Guard what a name means; what is to be walked next."""
        if key in self._seen or isinstance(value, types.ModuleType):
            return []
        self._seen.add(key)
        self._names.append((read, value, name))
        return self._meet(name, value)

    def _meet(self, name: str, value: Any) -> list[Any]:
        if hasattr(type(value), "_guard_state"):
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self.named.append((name, value))
                self.note(value, name)
        elif isinstance(value, list | tuple):
            for i, entry in enumerate(value):
                self._meet(f"{name}.{i}", entry)
        elif callable(value):
            return [value]
        return []


def _modules(obj: Guarded) -> Iterable[Any]:
    """A module and those inside of it."""
    return getattr(obj, "modules", tuple)()


@functools.lru_cache(maxsize=4096)
def _names_of(code: types.CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Names that code, and the code inside of it, has: globals, attributes read, and written."""
    found: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            found[0].add(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            found[1].add(instruction.argval)
        elif instruction.opname == "STORE_ATTR":
            found[2].add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            for mine, inner in zip(found, _names_of(constant), strict=True):
                mine |= inner
    return frozenset(found[0]), frozenset(found[1]), frozenset(found[2])
