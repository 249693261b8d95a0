"""Reports on compiled functions."""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import Attribute, Block

from ..ir.interpreter import lookup
from ..ir.op import Op
from ..ir.ops.scan import Scan
from ..ir.sym import Dim, Expr, evaluate
from ..ir.types import from_type
from .printing import counted
from .stages import stage_module

if TYPE_CHECKING:
    from .specialize import Entry


@dataclass
class _Cost:
    """What one call of a kernel computes and moves."""

    operations: int = 0
    read: int = 0
    written: int = 0

    def add(self, other: _Cost, times: int) -> None:
        self.operations += times * other.operations
        self.read += times * other.read
        self.written += times * other.written

    def __str__(self) -> str:
        return (
            f"{self.operations:,} operations, {self.read:,} bytes read, "
            f"{self.written:,} bytes written"
        )


def explain(entry: Entry) -> str:
    """Kernels with what each fused of which lines, operations, bytes, arena and guards."""
    captured, program = entry.captured, entry.program
    examples = captured.trace.env.examples
    sizes = {name: examples[name] for name in program.symbols}
    graph = stage_module(captured.module(), "graph")
    calls = _calls(lookup(graph, "main").body.block, 1, sizes)
    costs = {name: _cost(lookup(graph, name), sizes) for name in calls}
    total = _Cost()
    for name, times in calls.items():
        total.add(costs[name], times)
    kernels = _kernels(stage_module(graph, "kernel"))
    at = ", ".join(f"{name}={size}" for name, size in sizes.items()) or "static sizes"
    inputs, results = len(captured.inputs), len(captured.results)
    lines = [
        f"{entry.name}: {counted(inputs, 'input')}, {counted(results, 'result')}",
        f"kernels: {len(kernels)}, with {total} at {at}",
    ]
    for kernel in kernels:
        lines += _kernel(kernel, costs.get(kernel.sym_name.data), calls[kernel.sym_name.data])
    call = program.prepare(list(sizes.values()))
    scratch = f", and {call.scratch_bytes:,} of scratch" if call.scratch_bytes else ""
    lines.append(f"arena: {call.arena_bytes:,} bytes at {at}{scratch}")
    guards = [str(g) for g in captured.size_guards] + captured.guards.describe()
    lines.append("guards: " + ("; ".join(guards) or "none"))
    return "\n".join(lines)


def _calls(block: Block, times: int, sizes: Mapping[str, int]) -> Counter[str]:
    """How often a block calls each group; what runs until some test fails counts once."""
    found: Counter[str] = Counter()
    for op in block.ops:
        if isinstance(op, CallOp):
            found[op.callee.string_value()] += times
        trips = _number(op.attrs["length"], sizes) if isinstance(op, Scan) else 1
        for region in op.regions:
            found += _calls(region.block, times * trips, sizes)
    return found


def _cost(group: FuncOp, sizes: Mapping[str, int]) -> _Cost:
    def nbytes(types: Iterable[Attribute]) -> int:
        metas = [from_type(t) for t in types]
        return sum(_number(m.numel, sizes) * m.dtype.itemsize for m in metas)

    operators = [op for op in group.body.block.ops if isinstance(op, Op)]
    return _Cost(
        sum(_number(op.work(op.node()), sizes) for op in operators),
        nbytes(group.function_type.inputs.data),
        nbytes(group.function_type.outputs.data),
    )


def _number(size: Dim, sizes: Mapping[str, int]) -> int:
    return evaluate(size, sizes) if isinstance(size, Expr) else size


def _kernels(module: ModuleOp) -> list[FuncOp]:
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    return [f for f in functions if "calque.kernel" in f.attributes]


def _kernel(kernel: FuncOp, cost: _Cost | None, calls: int) -> list[str]:
    """A kernel's cost, then the user's lines that it computes, each with the operators."""
    hero = kernel.attributes.get("calque.hero")
    what = hero.data if isinstance(hero, StringAttr) else "generic"
    times = f", called {calls} times" if calls > 1 else ""
    lines = [f"  {kernel.sym_name.data} [{what}]{times}: {cost or 'moves data'}"]
    source = kernel.attributes.get("calque.source")
    by_line: dict[str, list[str]] = {}
    for entry in source if isinstance(source, ArrayAttr) else ():
        if isinstance(entry, StringAttr):
            name, _, where = entry.data.partition(" @ ")
            if name != "constant":  # equal ones are merged: the line is that of any of them
                by_line.setdefault(where, []).append(name)
    for where, names in by_line.items():
        lines.append(f"    {', '.join(names)}")
        if where:
            file, _, number = where.rpartition(":")
            text = linecache.getline(file, int(number)).strip()
            lines.append(f"      {where}: {text}".rstrip(": "))
    return lines
