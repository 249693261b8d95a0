"""`calque.compile(module)`: the module with a compiled forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .compile import CompiledFunction
from .nn.module import Module

_OWN = frozenset(("_module", "_compiled", "compiles", "ir", "explain"))


class CompiledModule(Module):
    """A module whose calls run compiled; every other attribute is the module's own.

    As a submodule it stands for the module: it has the same parameters under the same names.
    """

    _module: Any

    def __init__(self, module: Module) -> None:
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_compiled", CompiledFunction(module.__call__, name="forward"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN or name.startswith("__"):
            return object.__getattribute__(self, name)
        return getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._module, name)

    # What Python looks up on the type: containers stay containers.

    def __getitem__(self, key: Any) -> Any:
        return self._module[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._module[key] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self._module)

    def __len__(self) -> int:
        return len(self._module)

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> Any:
        """Copies and pickles hold the module; they compile anew."""
        return CompiledModule, (self._module,)

    @property
    def compiles(self) -> int:
        """How often the forward was compiled."""
        return self._compiled.compiles

    def ir(self, stage: str = "graph") -> str:
        """The text of a stage of the latest call's program."""
        return self._compiled.ir(stage)

    def explain(self) -> str:
        """A report on the latest call's program."""
        return self._compiled.explain()

    def __repr__(self) -> str:
        return f"Compiled({self._module!r})"
