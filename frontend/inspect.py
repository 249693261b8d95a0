"""Reports on compiled functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.dialects.func import FuncOp

from .stages import stage_module

if TYPE_CHECKING:
    from .specialize import Entry


def explain(entry: Entry) -> str:
    """Kernels and what each fused, sizes, arena, guards, and the user's lines."""
    captured, program = entry.captured, entry.program
    lines = [f"{entry.name}: {len(captured.inputs)} inputs, {len(captured.results)} results"]
    module = stage_module(captured.module(), "kernel")
    kernels = [
        op for op in module.ops if isinstance(op, FuncOp) and "calque.kernel" in op.attributes
    ]
    lines.append(f"kernels: {len(kernels)}")
    for kernel in kernels:
        hero = kernel.attributes.get("calque.hero")
        what = hero.data if isinstance(hero, StringAttr) else "generic"
        lines.append(f"  {kernel.sym_name.data} [{what}]")
        source = kernel.attributes.get("calque.source")
        if isinstance(source, ArrayAttr):
            lines += [f"    {s.data}" for s in source if isinstance(s, StringAttr)]
    examples = captured.trace.env.examples
    sizes = [examples[s] for s in program.symbols]
    plan = program.executable.plan(sizes)
    at = ", ".join(f"{k}={v}" for k, v in examples.items()) or "static sizes"
    lines.append(f"arena: {plan.arena_bytes} bytes at {at}")
    guards = [str(g) for g in captured.size_guards] + captured.guards.describe()
    lines.append("guards: " + ("; ".join(guards) or "none"))
    return "\n".join(lines)
