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
    """The passes by name."""
    from .passes.pipeline import PASSES

    return {name: lambda name=name: PASSES[name] for name in PASSES}


CALQUE = Universe(all_dialects={"calque": _calque, "tile": _tile}, all_passes=_passes())
