"""calque's dialects and passes for xDSL's tools, found through the entry point `xdsl.universe`."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import XDSL_UNIVERSE, Universe

from .ir.complete import complete_xdsl

PassFactory = Callable[[], type[ModulePass]]


def _calque() -> Dialect:
    from .ir.dialect import Calque

    return Calque


def _tile() -> Dialect:
    from .ir.tile import Tile

    return Tile


def _beside_xdsl() -> dict[str, PassFactory]:
    """The passes as xDSL's tools take them, which refuse to start where two have one name.

    A pass that is called like one of xDSL's (canonicalize, cse, ...) has the prefix `calque-`.
    """
    from .passes.pipeline import PASSES

    found: dict[str, PassFactory] = {}
    for kind in PASSES.values():
        if kind.name in XDSL_UNIVERSE.all_passes:
            kind = type(kind.__name__, (kind,), {"name": f"calque-{kind.name}"})
        found[kind.name] = lambda kind=kind: kind
    return found


# Tools read standard dialects before they meet one of ours: what our text needs of them is there
# as soon as the entry point is.
complete_xdsl()

CALQUE = Universe(
    all_dialects={"calque": _calque, "tile": _tile},
    all_passes=_beside_xdsl(),
)
