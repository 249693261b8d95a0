"""Checks over whole functions that xDSL's verifier leaves out."""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from .sym import Guard, SymEnv

GUARDS = "calque.guards"


def environment(op: Operation) -> SymEnv:
    """The facts about sizes that hold at an operation: the guards of its function."""
    parent: Operation | None = op
    while parent is not None and not isinstance(parent, FuncOp):
        parent = parent.parent_op()
    guards: list[Guard] = []
    if parent is not None:
        attr = parent.attributes.get(GUARDS)
        if isinstance(attr, ArrayAttr):
            guards = [Guard.parse(g.data) for g in attr if isinstance(g, StringAttr)]
    return SymEnv(guards=guards)


def set_guards(func: FuncOp, guards: list[Guard]) -> None:
    """Record on a function the facts about sizes that it relies on."""
    if guards:
        func.attributes[GUARDS] = ArrayAttr([StringAttr(str(g)) for g in guards])


def verify(module: ModuleOp) -> None:
    """xDSL's verifier, and that every value is defined before its use (which it does not check)."""
    module.verify()
    for op in module.walk():
        for region in op.regions:
            for block in region.blocks:
                _check_dominance(block)


def _check_dominance(block: Block) -> None:
    seen: set[SSAValue] = set(block.args)
    for op in block.ops:
        for number, operand in enumerate(op.operands):
            owner = operand.owner
            here = owner.parent if isinstance(owner, Operation) else owner
            if here is block and operand not in seen:
                name = f"%{operand.name_hint}" if operand.name_hint else f"operand {number}"
                raise VerifyException(f"'{op.name}' uses {name} before it is defined")
        seen.update(op.results)
