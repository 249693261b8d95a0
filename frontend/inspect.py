"""Looking into compiled functions: the text of every stage, and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from .. import codegen
from ..codegen import cpu
from ..ir.target import Target
from ..ir.text import to_text
from ..passes.pipeline import Options, compile_pipeline

if TYPE_CHECKING:
    from .specialize import Entry

STAGES = ("graph", "linalg", "kernel", "llvm", "asm")


def stage_module(module: ModuleOp, stage: str, options: Options | None = None) -> ModuleOp:
    """The module at the end of a stage: "graph" (optimized and grouped), "linalg", "kernel"."""
    found = module
    for name, current in compile_pipeline(module.clone(), options or Options()):
        found = current.clone() if name == stage else found
        if name == stage:
            break
    else:
        raise ValueError(f"the pipeline has no stage '{stage}': choose of {', '.join(STAGES)}")
    return found


def stage_text(module: ModuleOp, stage: str, options: Options | None = None) -> str:
    """The text of a stage of a graph module. Raises ValueError for an unknown stage."""
    if stage not in STAGES:
        raise ValueError(f"unknown stage '{stage}': choose of {', '.join(STAGES)}")
    if stage == "graph":
        return to_text(module)
    if stage in ("linalg", "kernel"):
        return to_text(stage_module(module, stage, options))
    target = (options or Options()).target or Target.host()
    kernels = stage_module(module, "kernel", options)
    texts = codegen.llvm_text(kernels, target)
    if stage == "asm":
        texts = {name: cpu.assembly(text, target) for name, text in texts.items()}
    comment = ";" if stage == "llvm" else "#"
    return "\n".join(f"{comment} ---- {name}\n{text}" for name, text in texts.items())


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
