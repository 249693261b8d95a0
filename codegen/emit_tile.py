"""The `tile` dialect to LLVM IR."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdsl.ir import Block, Operation

from ..ir import tile
from . import registertile
from .errors import CodegenError
from .llvm import bits, lanes, vector

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


MAX_UNROLLED = 4


def _is_light(block: Block) -> bool:
    """Whether an epilogue may be written for each accumulator. A long one would need registers
    that the accumulators occupy, and take long to compile."""
    ops = list(block.ops)
    return len(ops) <= MAX_UNROLLED + 1 and not any(op.name.startswith("math.") for op in ops)


def matmul(e: Emitter, op: tile.MatmulOp) -> None:
    block = op.epilogue_block
    a, b, c = e.memrefs[op.a], e.memrefs[op.b], e.memrefs[op.c]
    _check_elements(op, a.element, b.element, c.element)
    row, column, k, n, acc = e.operands((op.ci, op.cn, op.k, op.n, op.acc))
    mr, nr = op.mr.value.data, op.nr.value.data
    ty = vector(c.element, _width(e, op, c.element, nr))

    def epilogue(row: str, column: str, value: str) -> str:
        assert block is not None
        for arg, ssa in zip(block.args, (row, column, value), strict=True):
            e.values[arg] = ssa
        e.block(block)
        last = block.last_op
        assert last is not None
        return e.values[last.operands[0]]

    described = registertile.Tile(
        a=a.at(a.address(e.f, e.operands((op.ai, op.ak)), inbounds=False)),
        b=b.at(b.address(e.f, e.operands((op.bk, op.bn)), inbounds=False)),
        c=c.at(c.address(e.f, [row, column], inbounds=False)),
        ty=ty,
        mr=mr,
        nr=nr,
        k=k,
        n=n,
        acc=acc,
        row=row,
        column=column,
        masked=bool(op.masked.value.data),
        padded=op.padded is not None,
        prefetch=op.prefetch.value.data,
        ahead=op.ahead is not None,
        transposed=op.transposed is not None,
    )
    looped = block is not None and not _is_light(block)
    registertile.matmul(e.f, described, None if block is None else epilogue, looped)


def _width(e: Emitter, op: tile.MatmulOp, kind: str, nr: int) -> int:
    """Lanes of the accumulators: those of the epilogue, else the target's, at most nr."""
    block, target = op.epilogue_block, e.f.target
    if block is not None:
        width = lanes(e.type(block.args[2]))
    else:
        width = min(nr, target.width(bits(kind)) if target else nr)
    if nr % width:
        raise CodegenError.at(op, f"nr = {nr} is not a multiple of the vector width {width}")
    return width


def _check_elements(op: tile.MatmulOp, a: str, b: str, c: str) -> None:
    """A and B have the type of C, or a 16-bit float type that is widened to C's f32."""
    allowed = {"float": ("float", "half", "bfloat"), "double": ("double",)}.get(c)
    if allowed is None or a not in allowed or b not in allowed:
        types = ", ".join(str(m.type) for m in (op.a, op.b, op.c))
        raise CodegenError.at(op, f"these element types have no register tile: {types}")


def _nothing(e: Emitter, op: Operation) -> None:
    """Terminators, whose operands the enclosing op reads."""


HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    tile.GatherOp: gather,
    tile.MatmulOp: matmul,
    tile.PrefetchOp: prefetch,
    tile.YieldOp: _nothing,
}
