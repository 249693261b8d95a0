"""What calque adds to xDSL's tools: found by `xdsl-opt` through the entry point `xdsl.universe`."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe


def _calque() -> Dialect:
    from .ir.dialect import Calque

    return Calque


def _tile() -> Dialect:
    from .ir.tile import Tile

    return Tile


def _passes() -> dict[str, Callable[[], type[ModulePass]]]:
    """The passes by name; those that xDSL has one of that name of carry the prefix `calque-`."""
    from xdsl.transforms import get_all_passes

    from .passes.pipeline import PASSES

    taken = get_all_passes()
    found: dict[str, Callable[[], type[ModulePass]]] = {}
    for name, kind in PASSES.items():
        if name in taken:
            kind = type(kind.__name__, (kind,), {"name": f"calque-{name}"})
        found[kind.name] = lambda kind=kind: kind
    return found


CALQUE = Universe(all_dialects={"calque": _calque, "tile": _tile}, all_passes=_passes())
