"""`calque.compile(module)`: the module with a compiled forward."""

from __future__ import annotations

from typing import Any

from .compile import CompiledFunction


class CompiledModule:
    """A module whose calls run compiled; every other attribute is the module's own."""

    def __init__(self, module: Any) -> None:
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_compiled", CompiledFunction(module.__call__, name="forward"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __reduce__(self) -> Any:
        """Copies and pickles hold the module; they compile anew."""
        return CompiledModule, (self._module,)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)

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
