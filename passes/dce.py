"""Remove operations whose results nobody reads."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block
from xdsl.passes import ModulePass
from xdsl.traits import is_side_effect_free

from ..ir.op import Op


class Dce(ModulePass):
    """Remove operations whose results are never used."""

    name = "dce"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in op.ops:
            if isinstance(func, FuncOp) and func.body.blocks:
                dce(func.body.block)


def dce(block: Block) -> int:
    """One backward sweep, so that chains of dead operations go at once; how many went."""
    removed = 0
    op = block.last_op
    while op is not None:
        previous = op.prev_op
        dead = bool(op.results) and all(r.first_use is None for r in op.results)
        if dead and (isinstance(op, Op) or is_side_effect_free(op)):
            block.erase_op(op)
            removed += 1
            op = previous
            continue
        for region in op.regions:
            for inner in region.blocks:
                removed += dce(inner)
        op = previous
    return removed
