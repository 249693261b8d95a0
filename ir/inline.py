"""Replacing calls of functions by their bodies."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import Block, Operation, SSAValue


def inline_calls(block: Block) -> dict[SSAValue, SSAValue]:
    """Inline every call in a block, calls of calls included; what each result became."""
    became: dict[SSAValue, SSAValue] = {}
    calls = [op for op in block.ops if isinstance(op, CallOp)]
    while calls:
        made, results = inline(calls.pop())
        calls.extend(op for op in made if isinstance(op, CallOp))
        became = {old: results.get(new, new) for old, new in became.items()} | results
    return became


def inline(call: CallOp) -> tuple[list[Operation], dict[SSAValue, SSAValue]]:
    """Put the body of the called function in place of a call.

    Returns the operations put there and the value that each result of the call became. Raises
    RuntimeError where the module does not hold the body.
    """
    block, body = call.parent, _callee(call).body.block
    assert block is not None and body.last_op is not None
    values: dict[SSAValue, SSAValue] = dict(zip(body.args, call.operands, strict=True))
    made: list[Operation] = [op.clone(values) for op in body.ops if op is not body.last_op]
    block.insert_ops_before(made, call)
    results = [values.get(v, v) for v in body.last_op.operands]
    became: dict[SSAValue, SSAValue] = dict(zip(call.results, results, strict=True))
    for old, new in became.items():
        old.replace_all_uses_with(new)
    call.detach()
    call.erase()
    return made, became


def _callee(call: CallOp) -> FuncOp:
    name = call.callee.string_value()
    parent: Operation | None = call
    while parent is not None and not isinstance(parent, ModuleOp):
        parent = parent.parent_op()
    for op in parent.ops if isinstance(parent, ModuleOp) else ():
        if isinstance(op, FuncOp) and op.sym_name.data == name and op.body.blocks:
            return op
    raise RuntimeError(f"cannot inline the call of '@{name}': the module has no body for it")
