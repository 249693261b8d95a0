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
from .outline_linalg import OutlineLinalg, outline_linalg
from .parallelize import Parallelize, parallelize_module
from .plan_memory import PlanMemory, plan_memory
from .tile import Tile, tile_module


@dataclass(frozen=True, slots=True)
class Options:
    """What a compilation may choose. `target` None is the machine this process runs on."""

    target: Target | None = None
    # Check the IR after every step.
    verify: bool = False
    # Names of optional steps that are left out.
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in sorted(self.without - set(OPTIONAL)):
            raise ValueError(f"'{name}' is no optional step: {', '.join(OPTIONAL)}")


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
        OutlineLinalg,
        Bufferize,
        PlanMemory,
        Tile,
        Parallelize,
    )
}


Work = Callable[[ModuleOp, Target], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a name for dumps, the stage that the module is at afterwards, and the work.

    `instead` is what an optional step is replaced by where it is left out.
    """

    name: str
    stage: str
    work: Work
    instead: Work | None = None


def _each(work: Callable[[FuncOp], object]) -> Work:
    """Work on every function of a module."""

    def run(module: ModuleOp, target: Target) -> None:
        for op in module.ops:
            if isinstance(op, FuncOp) and op.body.blocks:
                with environment(op):
                    work(op)

    return run


def _nothing(module: ModuleOp, target: Target) -> None:
    """In the place of a step that may be left out."""


_APART = Fuse(elementwise=False, rows=False, epilogue=False, prologue=False)

STEPS: tuple[Step, ...] = (
    Step("decompose", "graph", _each(lambda f: decompose(f.body.block))),
    Step("canonicalize", "graph", _each(canonicalize), _nothing),
    Step("cse", "graph", _each(lambda f: cse(f.body.block)), _nothing),
    Step("dce", "graph", _each(lambda f: dce(f.body.block)), _nothing),
    Step("fuse", "graph", lambda m, _: fuse(m), lambda m, _: fuse(m, _APART)),
    Step("lower-to-linalg", "linalg", lambda m, _: lower_module(m)),
    Step("outline-linalg", "linalg", lambda m, _: outline_linalg(m)),
    Step("bufferize", "kernel", lambda m, _: bufferize(m)),
    Step(
        "plan-memory",
        "kernel",
        lambda m, _: plan_memory(m),
        lambda m, _: plan_memory(m, reuse=False),
    ),
    Step("tile", "kernel", tile_module),
    Step("parallelize", "kernel", parallelize_module, _nothing),
)

OPTIONAL: tuple[str, ...] = tuple(s.name for s in STEPS if s.instead is not None)


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
    first = ["input", *(step.name for step in STEPS)].index(done)
    for number, step in enumerate(STEPS[first:], first):
        left_out = step.instead if step.name in options.without else None
        (left_out or step.work)(module, target)
        if options.verify:
            verify(module)
        yield step.name, module
        if number + 1 == len(STEPS) or STEPS[number + 1].stage != step.stage:
            yield step.stage, module
