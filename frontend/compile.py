"""`calque.compile`: one native program per structure of a call, found again by guards."""

from __future__ import annotations

import functools
import os
import threading
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from ..ir import sym
from ..ir.errors import runtime_error, type_error
from ..ir.types import TensorMeta
from ..runtime.memory import Buffer
from .capture import Captured, capture
from .current import current_trace
from .gradmode import is_grad_enabled
from .overlap import Pattern, pattern_of
from .pytree import flatten
from .storage import Storage
from .tensor import Tensor
from .traced import check_escape

if TYPE_CHECKING:
    from .compiled_module import CompiledModule
    from .nn.module import Module
    from .specialize import Entry, Route

P = ParamSpec("P")
R = TypeVar("R")


class CompiledFunction(Generic[P, R]):
    """A function whose calls run as native code; compiled at the first call of each structure.

    A second size of an argument's dimension makes that dimension dynamic. `compiles` counts
    compilations; `ir(stage)` and `explain()` show the program of the latest call. With the
    environment variable CALQUE_CHECK=stale, read when the function is made, each call is traced
    again, and refused where the program would be another one.
    """

    def __init__(self, function: Callable[P, R], name: str | None = None) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._name = name or getattr(function, "__name__", type(function).__name__)
        self._entries: dict[Any, list[Entry]] = {}
        self._route: Route | None = None  # of the latest call
        self._checked = os.environ.get("CALQUE_CHECK") == "stale"
        self._compiling = threading.RLock()
        self.compiles = 0

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        route = self._route
        if route is not None and not kwargs:
            if route.native is not None and route.entry.commits:
                done = route.step(args)
                if done:  # else Python has to look
                    return done[0]
            elif route.native is not None:
                out = route.native(args)
                kind = type(out)
                if kind is Tensor:
                    return out
                if out is not None:  # else Python has to look
                    return route.finish(args, args, out)
            held = route.recognize(args)
            if held is not None:
                return route.run(args, held)
        if current_trace() is not None:
            return self._function(*args, **kwargs)
        route, leaves = self._find_route(args, kwargs)
        self._route = route  # another thread may set its own at any time
        return route.run(leaves)

    def _find_route(self, args: Any, kwargs: Any) -> tuple[Route, Any]:
        """The general way: a route for any arguments, and the tensors among these."""
        leaves: list[Any] = []
        spec = flatten((args, kwargs), leaves)
        plain = not self._checked and not kwargs and all(isinstance(x, Tensor) for x in args)
        leaves = [x if isinstance(x, Tensor) else _number(x) for x in leaves]
        for x in leaves:
            check_escape(x)
        aliases = pattern_of(leaves)
        key = (spec, tuple(map(_structure, leaves)), is_grad_enabled(), aliases)
        known = self._entries.setdefault(key, [])
        entry = self._find(known, leaves)
        if entry is None:
            with self._compiling:  # two threads that need one program compile it once
                entry = self._find(known, leaves)
                entry = entry or self._compile(spec, leaves, known, aliases, plain)
        elif self._checked:
            self._check(entry, spec, leaves, aliases)
        return entry.route(leaves), leaves

    def __repr__(self) -> str:
        return f"<compiled {self._name}, {self.compiles} compilations>"

    def __reduce__(self) -> Any:
        """Copies and pickles hold the function; they compile anew."""
        return CompiledFunction, (self._function, self._name)

    def _find(self, known: Sequence[Entry], leaves: Sequence[Tensor]) -> Entry | None:
        return next((entry for entry in tuple(known) if entry.matches(leaves)), None)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def _compile(
        self,
        spec: Any,
        leaves: Sequence[Tensor],
        known: list[Entry],
        aliases: Pattern | None,
        plain: bool,
    ) -> Entry:
        metas, examples = dynamic_metas(leaves, [e.captured.argument_shapes for e in known])
        env = sym.SymEnv(examples)
        captured = capture(self._function, spec, metas, leaves, env, aliases=aliases)
        self.compiles += 1
        from .specialize import Entry  # brings the compiler along

        entry = Entry(captured, self._name, plain and aliases is None)
        known.append(entry)
        del known[:-_KEPT]
        return entry

    def _check(self, entry: Entry, spec: Any, leaves: Sequence[Tensor], aliases: Any) -> None:
        """Raise RuntimeError where tracing anew gives another program."""
        known = entry.captured
        env = sym.SymEnv(
            {str(n): x._sizes[d] for m, x in zip(known.argument_metas, leaves, strict=True)
             for d, n in enumerate(m.shape) if isinstance(n, sym.Expr)}
        )  # fmt: skip
        now = capture(self._function, spec, known.argument_metas, leaves, env, aliases=aliases)
        same = [a.tensor is b.tensor for a, b in zip(known.inputs, now.inputs, strict=False)]
        if str(known.module()) != str(now.module()) or not all(same):
            raise runtime_error(
                f"{self._name} does something else now than when it was compiled, because of an "
                "object whose contents are not watched: a list, a dictionary, or an object other "
                "than a module or an optimizer. Pass it as an argument, or make it a module"
            )

    @property
    def _entry(self) -> Entry:
        if self._route is None:
            raise runtime_error(f"{self._name} was not called yet: there is no program to show")
        return self._route.entry

    def ir(self, stage: str = "graph") -> str:
        """The text of a stage: "graph", "linalg", "kernel", "llvm", "asm" or "ptx"."""
        from .stages import stage_text

        return stage_text(self._entry.captured.module(), stage)

    def explain(self) -> str:
        """A report on kernels, what each fused, operations, bytes, arena and guards."""
        from .inspect import explain

        return explain(self._entry)

    @property
    def program(self) -> Captured:
        """The captured program of the latest call."""
        return self._entry.captured


def _number(value: float) -> Tensor:
    """A Python float argument as a 0-d float64 tensor: its value is no part of the structure."""
    import numpy as np

    from ..ir import dtype as dt

    buffer = Buffer.wrap(np.asarray(value, np.float64).reshape(1))
    out = Tensor._concrete(Storage(buffer), TensorMeta((), dt.float64))
    out.__calque_weak__ = True
    return out


def _structure(x: Tensor) -> tuple[Any, ...]:
    meta = x._meta
    return (meta.dtype.name, len(meta.shape), meta.device, x._requires_grad, x.__calque_weak__)


# Programs of one structure that are kept: of other modes, attributes, and sizes.
_KEPT = 16
_LETTERS = ("B", "T", "S", "H", "W")


def dynamic_metas(
    leaves: Sequence[Tensor], seen: Sequence[Sequence[tuple[int, ...]]]
) -> tuple[list[TensorMeta], dict[str, int]]:
    """Metas of the arguments: a dimension that was seen with another size becomes a symbol.

    Sizes 0 and 1 stay fixed. Dynamic dimensions of equal size share a symbol.
    """
    examples: dict[str, int] = {}
    by_size: dict[int, str] = {}
    metas: list[TensorMeta] = []
    for i, x in enumerate(leaves):
        dims: list[sym.Dim] = []
        for d, size in enumerate(x._sizes):
            varies = any(shapes[i][d] != size for shapes in seen)
            if not varies or size < sym.MIN:
                dims.append(size)
                continue
            if size not in by_size:
                n = len(by_size)
                by_size[size] = _LETTERS[n] if n < len(_LETTERS) else f"S{n}"
                examples[by_size[size]] = size
            dims.append(sym.symbol(by_size[size]))
        metas.append(TensorMeta(tuple(dims), x.dtype, x.device))
    return metas, examples


@overload
def compile(function: Module, *, name: str | None = None) -> CompiledModule: ...
@overload
def compile(function: Callable[P, R], *, name: str | None = None) -> CompiledFunction[P, R]: ...
@overload
def compile(*, name: str | None = None) -> Callable[[Callable[P, R]], CompiledFunction[P, R]]: ...
def compile(function: Any = None, *, name: str | None = None) -> Any:
    """Compile a function or a module; also a decorator.

    The result is called like the original. The first call of each structure (dtypes, ranks,
    static arguments, module structure and modes) traces it once and compiles what it did.
    """
    if function is None:
        return lambda f: compile(f, name=name)
    if hasattr(function, "_guard_state"):
        from .compiled_module import CompiledModule

        return CompiledModule(function)
    if not callable(function):
        raise type_error(f"compile expects a function or a module, got {type(function).__name__}")
    return CompiledFunction(function, name)


__all__ = ["CompiledFunction", "compile"]
