"""Replace operators that have a `decompose` by the operators they are made of."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, SSAValue
from xdsl.passes import ModulePass

from ..ir.op import Builder, Op
from ..ir.verify import environment
from .stages import GRAPH, require_stage


class Decompose(ModulePass):
    """Replace composite operators by the ones they are made of."""

    name = "decompose"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, GRAPH)
        for func in op.ops:
            if isinstance(func, FuncOp) and func.body.blocks:
                with environment(func):
                    decompose(func.body.block)


def decompose(block: Block) -> int:
    """Replace every composite operator of a block; how many there were."""
    count = 0
    op = block.first_op
    while op is not None:
        following = op.next_op
        for region in op.regions:
            for inner in region.blocks:
                count += decompose(inner)
        rule = getattr(type(op), "decompose", None)
        if isinstance(op, Op) and rule is not None:
            first = op.prev_op
            with Builder(block, before=op, location=lambda op=op: op.location):
                regions = {"regions": op.regions} if op.regions else {}
                results = rule(*op.operands, **op.attrs, **regions)
            results = [results] if isinstance(results, SSAValue) else list(results)
            for old, new in zip(op.results, results, strict=True):
                old.replace_all_uses_with(new)
            block.erase_op(op)
            count += 1
            # What it decomposed into may be composite itself: continue from there.
            following = block.first_op if first is None else first.next_op
        op = following
    return count
