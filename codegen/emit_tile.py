"""The `tile` dialect to LLVM IR."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdsl.ir import Operation

from ..ir import tile
from .llvm import lanes, vector

if TYPE_CHECKING:
    from .emit import Emitter


def gather(e: Emitter, op: tile.GatherOp) -> None:
    m, ty = e.memrefs[op.base], e.type(op.result)
    base = m.address(e.f, e.operands(op.indices), inbounds=False)
    offsets = vector("i64", lanes(ty))
    pointers = e.f.emit(f"getelementptr {m.element}, ptr {base}, {offsets} {e.values[op.offsets]}")
    e.set(op, e.f.gather(ty, pointers, e.values[op.mask]))


def prefetch(e: Emitter, op: tile.PrefetchOp) -> None:
    m = e.memrefs[op.base]
    e.f.prefetch(m.address(e.f, e.operands(op.indices), inbounds=False))


def _nothing(e: Emitter, op: Operation) -> None:
    """Terminators, whose operands the enclosing op reads."""


HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    tile.GatherOp: gather,
    tile.PrefetchOp: prefetch,
    tile.YieldOp: _nothing,
}
