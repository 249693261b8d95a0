"""A traced block as a module with a `@main`, as the passes take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue

from ..ir.op import Op
from ..ir.sym import Expr, Guard, symbols
from ..ir.types import meta_of
from ..ir.verify import set_guards


def build_module(
    block: Block,
    inputs: Sequence[tuple[str, str, int | None]],
    outputs: Sequence[tuple[str, str, int | None]],
    values: Sequence[SSAValue],
    guards: Sequence[Guard],
) -> ModuleOp:
    """A module around a block; names, roles and aliases become attributes."""
    types = FunctionType.from_lists([a.type for a in block.args], [v.type for v in values])
    func = FuncOp(
        "main",
        types,
        Region(block),
        arg_attrs=ArrayAttr([_names(*i) for i in inputs]),
        res_attrs=ArrayAttr([_names(*o) for o in outputs]),
    )
    free = _free_symbols(block, values)
    block.add_op(ReturnOp(*values))
    set_guards(func, list(guards))
    if free:
        func.attributes["calque.symbols"] = ArrayAttr([StringAttr(name) for name in free])
    return ModuleOp([func])


def _free_symbols(block: Block, values: Sequence[SSAValue]) -> list[str]:
    """Sizes that are the dimension of no input: a cotangent of n - 1 elements does not say n."""
    measured = {str(d) for arg in block.args for d in meta_of(arg).shape}
    made = [*block.args, *values, *(r for op in block.ops for r in op.results)]
    attrs = [v for op in block.ops if isinstance(op, Op) for v in op.attrs.values()]
    return sorted(_symbols_in([*(meta_of(v).shape for v in made), *attrs]) - measured)


def _symbols_in(value: Any) -> set[str]:
    """The size symbols of an attribute, or of a sequence of them."""
    if isinstance(value, tuple | list):
        return {name for v in value for name in _symbols_in(v)}
    return symbols(value) if isinstance(value, Expr) else set()


def _names(name: str, role: str, alias: int | None) -> DictionaryAttr:
    entries: dict[str, Attribute] = {
        "calque.name": StringAttr(name),
        "calque.role": StringAttr(role),
    }
    if alias is not None:
        entries["calque.alias"] = IntegerAttr(alias, i64)
    return DictionaryAttr(entries)
