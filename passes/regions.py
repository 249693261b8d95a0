"""Working on the regions of a graph function as if each were a function of its own."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType
from xdsl.ir import Block, Region

from ..ir.op import Op
from ..ir.verify import GUARDS


def for_each_region(main: func.FuncOp, work: Callable[[func.FuncOp], None]) -> None:
    """Apply `work` to the regions of main's operators, the innermost first.

    Each is handed over as the body of a function that is in no module and ends in a yield.
    """
    _blocks(main.body.block, main, work)


def _blocks(block: Block, main: func.FuncOp, work: Callable[[func.FuncOp], None]) -> None:
    for op in list(block.ops):
        if not isinstance(op, Op):
            continue
        for region in op.regions:
            inner = region.block
            _blocks(inner, main, work)
            region.detach_block(inner)
            types = FunctionType.from_lists([a.type for a in inner.args], [])
            function = func.FuncOp(main.sym_name.data, types, Region(inner))
            if GUARDS in main.attributes:
                function.attributes[GUARDS] = main.attributes[GUARDS]
            work(function)
            function.body.detach_block(inner)
            region.add_block(inner)
