"""Turning groups of graph operators into private functions that `@main` calls.

`fuse` decides what belongs together; this module moves it. Groups of equal structure become one
function, called several times, so that the layers of a network are lowered and compiled once.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects import func
from xdsl.dialects.builtin import (
    ArrayAttr,
    FileLineColLoc,
    FunctionType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Block, Operation, Region, SSAValue

from ..ir.op import Op
from ..ir.types import meta_of
from ..ir.verify import GUARDS

HERO = "calque.hero"
SOURCE = "calque.source"


@dataclass(eq=False, slots=True)
class Group:
    """Operators that become one function, in an order in which they can run.

    `shared` are cheap operators that are computed here again although they are no part of the
    group or belong to others too: constants, broadcasts.
    """

    ops: list[Op]
    hero: str = "elementwise"
    shared: list[Op] = field(default_factory=list)


def outline(module: ModuleOp, main: func.FuncOp, groups: Sequence[Group]) -> None:
    """Move each group into a private function after `main`; `main` calls them in a valid order.

    Operators in no group stay in `main` where something still reads them.
    """
    block = main.body.block
    order = {op: i for i, op in enumerate(block.ops)}
    owned = {op for g in groups for op in g.ops}
    parts = [_Part(g, order) for g in groups]
    rest = _live([op for op in block.ops if op not in owned], parts)
    needed = {v for part in parts for v in part.inputs} | {v for op in rest for v in op.operands}
    functions = _Functions(module, main)
    units: dict[Operation, _Unit] = {}
    for part in parts:
        unit = functions.make(part, [v for v in part.results() if v in needed])
        units.update(dict.fromkeys(part.group.ops, unit))
    for op in rest:
        units[op] = _Unit(Group([]), list(op.operands), list(op.results), None, op)
    _emit(block, _ordered(units, order))


class _Part:
    """A group with what it reads: its operators in order, shared ones included."""

    def __init__(self, group: Group, order: dict[Operation, int]) -> None:
        self.group = group
        self.ops = sorted({*group.ops, *group.shared}, key=order.__getitem__)
        self.members = set(self.ops)
        self.inputs: list[SSAValue] = list(
            dict.fromkeys(v for op in self.ops for v in op.operands if v.owner not in self.members)
        )

    def results(self) -> list[SSAValue]:
        """What the operators of the group itself compute."""
        return [r for op in self.group.ops for r in op.results]


def _live(ops: Sequence[Operation], parts: Sequence[_Part]) -> list[Operation]:
    """The operations among `ops` that stay: those that something outside of groups reads."""
    wanted = {v for part in parts for v in part.inputs}
    kept: list[Operation] = []
    for op in reversed(ops):
        if not isinstance(op, Op) or any(r in wanted for r in op.results):
            kept.append(op)
            wanted.update(op.operands)
    return kept[::-1]


@dataclass(eq=False, slots=True)
class _Unit:
    """What `main` holds for a group (a call) or for an operator that stays."""

    group: Group
    inputs: list[SSAValue]
    outputs: list[SSAValue]
    callee: str | None
    op: Operation | None = None


def _ordered(units: dict[Operation, _Unit], order: dict[Operation, int]) -> list[_Unit]:
    """Units so that each follows what it reads, otherwise in the order of the program."""
    place: dict[_Unit, int] = {}
    for op, unit in units.items():
        place[unit] = max(place.get(unit, 0), order[op])
    waiting: dict[_Unit, int] = {}
    readers: dict[_Unit, list[_Unit]] = {}
    for unit in place:
        sources = {units[v.owner] for v in unit.inputs if isinstance(v.owner, Operation)}
        sources.discard(unit)
        waiting[unit] = len(sources)
        for source in sources:
            readers.setdefault(source, []).append(unit)
    ready = [(place[u], i, u) for i, u in enumerate(place) if not waiting[u]]
    heapq.heapify(ready)
    out: list[_Unit] = []
    ties = len(place)
    while ready:
        unit = heapq.heappop(ready)[2]
        out.append(unit)
        for reader in readers.get(unit, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                ties += 1
                heapq.heappush(ready, (place[reader], ties, reader))
    if len(out) != len(place):
        raise AssertionError("the groups of operators depend on each other in a circle")
    return out


def _emit(block: Block, units: Sequence[_Unit]) -> None:
    """Rebuild a block from units; what is in groups now goes."""
    staying = {unit.op for unit in units}
    for op in list(block.ops):
        op.detach()
        if op not in staying:
            op.operands = ()
    now: dict[SSAValue, SSAValue] = {}
    for unit in units:
        if unit.op is not None:
            block.add_op(unit.op)
            continue
        call = func.CallOp.create(
            operands=[now.get(v, v) for v in unit.inputs],
            result_types=[v.type for v in unit.outputs],
            properties={"callee": SymbolRefAttr(unit.callee or "")},
            location=unit.group.ops[-1].location,
        )
        block.add_op(call)
        for old, new in zip(unit.outputs, call.results, strict=True):
            new.name_hint = old.name_hint or _name(old)
            old.replace_all_uses_with(new)
            now[old] = new


class _Functions:
    """The functions made so far, found again by structure."""

    def __init__(self, module: ModuleOp, main: func.FuncOp) -> None:
        self.module = module
        self.main = main
        self.known: dict[Any, func.FuncOp] = {}
        # Regions were outlined before the function that holds them.
        self.first = sum(
            isinstance(op, func.FuncOp) and bool(op.sym_visibility) for op in module.ops
        )

    def make(self, part: _Part, outputs: list[SSAValue]) -> _Unit:
        """The function of a group: made now, or one of the same structure."""
        group, ops, inputs = part.group, part.ops, part.inputs
        numbers: dict[SSAValue, int] = {v: i for i, v in enumerate(inputs)}
        key: list[Any] = [group.hero, len(inputs), *[meta_of(v) for v in inputs]]
        for op in ops:
            key.append((type(op), *[numbers[v] for v in op.operands], *op.attributes.items()))
            for r in op.results:
                numbers[r] = len(numbers)
                key.append(meta_of(r))
        key.extend(numbers[v] for v in outputs)
        # Regions are not part of the key: such groups stay apart.
        whole = tuple(key) if not any(op.regions for op in ops) else object()
        function = self.known.get(whole)
        if function is None:
            function = self.known[whole] = self._build(group, ops, inputs, outputs)
            self.module.body.block.add_op(function)
        _add_source(function, ops)
        return _Unit(group, inputs, outputs, function.sym_name.data)

    def _build(
        self, group: Group, ops: list[Op], inputs: list[SSAValue], outputs: list[SSAValue]
    ) -> func.FuncOp:
        block = Block(arg_types=[v.type for v in inputs])
        values: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args, strict=True))
        for old, new in values.items():
            new.name_hint = old.name_hint
        for op in ops:
            block.add_op(op.clone(values))
        block.add_op(func.ReturnOp.create(operands=[values[v] for v in outputs]))
        function = func.FuncOp(
            f"k{self.first + len(self.known)}_{_title(group)}",
            FunctionType.from_lists([v.type for v in inputs], [v.type for v in outputs]),
            Region(block),
            "private",
        )
        function.attributes[HERO] = StringAttr(group.hero)
        if GUARDS in self.main.attributes:
            function.attributes[GUARDS] = self.main.attributes[GUARDS]
        return function


def _name(value: SSAValue) -> str:
    """A value that the user's program does not name is called after its operator."""
    assert isinstance(value.owner, Operation)
    return value.owner.name.removeprefix("calque.")


def _title(group: Group) -> str:
    """A short name: the distinct operators, the hero's own first."""
    names = list(dict.fromkeys(op.name.removeprefix("calque.") for op in group.ops))
    return "_".join(names[:3])


def _add_source(function: func.FuncOp, ops: Sequence[Op]) -> None:
    """Note on a function what was fused into it, with the user's lines."""
    known = function.attributes.get(SOURCE)
    entries = list(known.data) if isinstance(known, ArrayAttr) else []
    names = {e.data for e in entries if isinstance(e, StringAttr)}
    for op in ops:
        text = op.name.removeprefix("calque.")
        if isinstance(op.location, FileLineColLoc):
            where = op.location
            text += f" @ {where.filename.data}:{where.line.data}"
        if text not in names:
            names.add(text)
            entries.append(StringAttr(text))
    function.attributes[SOURCE] = ArrayAttr(entries)
