"""The IR half of the compiler on one page: from a graph to kernels and the host that calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

from ..ir.target import Target
from ..ir.verify import environment, verify
from .autodiff import Autodiff
from .bufferize import Bufferize, bufferize
from .canonicalize import Canonicalize, canonicalize
from .cse import Cse, cse
from .dce import Dce, dce
from .decompose import Decompose, decompose
from .fuse import Fuse, fuse
from .lower_to_linalg import LowerToLinalg, lower_module
from .parallelize import Parallelize, parallelize_module
from .plan_memory import PlanMemory, plan_memory
from .tile import Tile, tile_module


@dataclass(frozen=True, slots=True)
class Options:
    """What a compilation may choose. `target` None is the machine this process runs on."""

    target: Target | None = None
    # Check the IR after every step.
    verify: bool = False


PASSES: dict[str, type[ModulePass]] = {
    p.name: p
    for p in (
        Autodiff,
        Canonicalize,
        Cse,
        Dce,
        Decompose,
        Fuse,
        LowerToLinalg,
        Bufferize,
        PlanMemory,
        Tile,
        Parallelize,
    )
}


def simplify(main: FuncOp) -> None:
    """Local simplification of a graph function."""
    with environment(main):
        decompose(main.body.block)
    canonicalize(main)
    cse(main.body.block)
    dce(main.body.block)


def _graph(module: ModuleOp, target: Target) -> None:
    for op in module.ops:
        if isinstance(op, FuncOp) and op.body.blocks:
            simplify(op)


# The steps in order: a name for dumps, the stage that the module is at afterwards, and the work.
STEPS: tuple[tuple[str, str, Callable[[ModuleOp, Target], None]], ...] = (
    ("simplify", "graph", _graph),
    ("fuse", "graph", lambda module, target: fuse(module)),
    ("lower-to-linalg", "linalg", lambda module, target: lower_module(module)),
    ("bufferize", "kernel", lambda module, target: bufferize(module)),
    ("plan-memory", "kernel", lambda module, target: plan_memory(module)),
    ("tile", "kernel", tile_module),
    ("parallelize", "kernel", parallelize_module),
)


def compile_pipeline(
    module: ModuleOp, options: Options, done: str = "input"
) -> Iterator[tuple[str, ModuleOp]]:
    """Take a module, step by step and in place, to the kernel stage.

    Yields the module as given under "input", after each step under the step's name, and at the
    end of each stage under the stage's: "graph" (optimized and grouped), "linalg", "kernel".
    `done` is the last step that the module has behind it, "input" where none is.
    """
    target = options.target or Target.host()
    yield "input", module
    first = ["input", *(name for name, _, _ in STEPS)].index(done)
    for number, (name, stage, step) in enumerate(STEPS[first:], first):
        step(module, target)
        if options.verify:
            verify(module)
        yield name, module
        if number + 1 == len(STEPS) or STEPS[number + 1][1] != stage:
            yield stage, module
