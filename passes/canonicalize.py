"""Bring operators to simpler equal forms: each operator's own `fold`, applied to a fixed point."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from ..ir.op import Builder, Op
from ..ir.sym import UndecidedError
from ..ir.verify import environment
from .dce import dce
from .stages import GRAPH, require_stage


class Canonicalize(ModulePass):
    """Fold identities, constants and chains of views, then remove what became dead."""

    name = "canonicalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, GRAPH)
        for func in op.ops:
            if isinstance(func, FuncOp) and func.body.blocks:
                canonicalize(func)


def canonicalize(func: FuncOp) -> int:
    """Fold until nothing folds; how many operations were replaced."""
    with environment(func):
        total = 0
        while folded := _sweep(func.body.block):
            total += folded
        dce(func.body.block)
        return total


def _sweep(block: Block) -> int:
    """One forward sweep; new operations are seen in the next one."""
    folded = 0
    op = block.first_op
    while op is not None:
        following = op.next_op
        for region in op.regions:
            for inner in region.blocks:
                folded += _sweep(inner)
        if isinstance(op, Op) and _folds(type(op)) and _fold(block, op):
            folded += 1
        op = following
    return folded


def _folds(op: type[Op]) -> bool:
    return op.fold.__func__ is not Op.fold.__func__


def _fold(block: Block, op: Op) -> bool:
    if all(r.first_use is None for r in op.results):
        return False
    try:
        with Builder(block, before=op, location=lambda: op.location):
            replacement = op.fold(op.node())
    except UndecidedError:
        # Whether the simpler form is right depends on sizes that nothing is known of.
        return False
    if replacement is None:
        return False
    _replace(block, op, list(replacement))
    return True


def _replace(block: Block, op: Operation, values: list[SSAValue]) -> None:
    for old, new in zip(op.results, values, strict=True):
        if new.name_hint is None:
            new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    block.erase_op(op)
