"""Merge operations that compute the same: same operator, operands, attributes and types."""

from __future__ import annotations

from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from ..ir.op import Op
from .stages import GRAPH, require_stage


class Cse(ModulePass):
    """Merge operations that compute the same value."""

    name = "cse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, GRAPH)
        for func in op.ops:
            if isinstance(func, FuncOp) and func.body.blocks:
                cse(func.body.block)


def cse(block: Block) -> int:
    """One forward sweep; how many operations were merged into earlier ones.

    Every operator of the dialect is pure (random bits depend on their key and counter alone), so
    equal means interchangeable. Operations with regions are left alone but swept inside.
    """
    seen: dict[Any, Operation] = {}
    merged = 0
    op = block.first_op
    while op is not None:
        following = op.next_op
        if op.regions:
            for region in op.regions:
                for inner in region.blocks:
                    merged += cse(inner)
        elif isinstance(op, Op):
            key = (
                type(op),
                tuple(map(id, op.operands)),
                tuple(op.attributes.items()),
                tuple(r.type for r in op.results),
            )
            first = seen.setdefault(key, op)
            if first is not op:
                for old, new in zip(op.results, first.results, strict=True):
                    old.replace_all_uses_with(new)
                block.erase_op(op)
                merged += 1
        op = following
    return merged
