"""Deciding on the graph which operators become one kernel."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from ..ir.op import Op
from .outline import Group, outline


class Fuse(ModulePass):
    """Outline groups of operators that become one kernel each."""

    name = "fuse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        fuse(op)


def fuse(module: ModuleOp) -> None:
    """Group the operators of `@main` and outline the groups."""
    for main in list(module.ops):
        if isinstance(main, func.FuncOp) and main.sym_name.data == "main":
            groups = [Group([op]) for op in main.body.block.ops if isinstance(op, Op)]
            outline(module, main, groups)
