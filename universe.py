"""What calque adds to xDSL's tools: found by `xdsl-opt` through the entry point `xdsl.universe`."""

from __future__ import annotations

from xdsl.ir import Dialect
from xdsl.universe import Universe


def _calque() -> Dialect:
    from .ir.dialect import Calque

    return Calque


def _tile() -> Dialect:
    from .ir.tile import Tile

    return Tile


CALQUE = Universe(all_dialects={"calque": _calque, "tile": _tile})
