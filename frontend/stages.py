"""Programs as modules of some stage: which stage a module is at, and the way on from there."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.dialects.func import FuncOp

from .. import codegen
from ..codegen import nvptx
from ..ir.errors import value_error
from ..ir.interpreter import lookup
from ..ir.target import Target
from ..ir.text import to_text
from ..passes.pipeline import STEPS, Options, compile_pipeline
from ..passes.stages import on_tensors

STAGES = ("graph", "linalg", "kernel", "llvm", "asm", "ptx")


def step_done(module: ModuleOp) -> str:
    """The last step of the pipeline that a module has behind it; "input" where none is.

    It is read off the form of the text, so that a dump of any step, edited or not, goes on from
    where it is. Raises ValueError for a module without a function `@main`.
    """
    try:
        main = lookup(module, "main")
    except KeyError:
        raise value_error("the module has no function @main") from None
    names = {op.name for op in module.walk()}
    if any(name.startswith("calque.") for name in names):
        grouped = any("calque.hero" in op.attributes for op in module.ops)
        return "fuse" if grouped else "input"
    if not _takes_memory(main):
        return "lower-to-linalg"
    if on_tensors(module):
        return "bufferize" if "memref.alloc" in names else "plan-memory"
    return STEPS[-1].name


def _takes_memory(main: FuncOp) -> bool:
    types = (*main.function_type.inputs.data, *main.function_type.outputs.data)
    return any(isinstance(t, MemRefType) for t in types)


def stage_module(
    module: ModuleOp, stage: str, options: Options | None = None, *, dump: bool = False
) -> ModuleOp:
    """A copy of a module, of any stage up to then, at the end of "graph", "linalg" or "kernel".

    With `dump`, what is made on the way is written where CALQUE_DUMP asks for it.
    """
    done = step_done(module)
    stages = ["graph", "linalg", "kernel"]
    reached = next((s.stage for s in STEPS if s.name == done), "graph")
    if stages.index(reached) > stages.index(stage):
        raise value_error(f"the module is past the {stage} stage already")
    current = module.clone()
    if done == [s.name for s in STEPS if s.stage == stage][-1]:
        return current
    options = options or Options()
    made_on_the_way = compile_pipeline(current, options, done)
    if dump:
        made_on_the_way = dumped(made_on_the_way, options, "program")
    for name, made in made_on_the_way:
        current = made
        if name == stage:
            break
    return current


def stage_text(
    module: ModuleOp, stage: str, options: Options | None = None, *, dump: bool = False
) -> str:
    """The text of a stage of a module, see `stage_module`. Raises ValueError for an unknown one.

    PTX is for the GPU that the options name, else for sm_80 and later ones.
    """
    if stage not in STAGES:
        raise value_error(f"unknown stage '{stage}': choose from {', '.join(STAGES)}")
    options = options or Options()
    if stage == "ptx" and options.target is None:
        options = replace(options, target=Target.nvptx("sm_80"))
    if stage in ("graph", "linalg", "kernel"):
        return to_text(stage_module(module, stage, options, dump=dump))
    target = options.target or Target.host()
    kernels = stage_module(module, "kernel", options, dump=dump)
    if stage == "ptx":
        return nvptx.joined(nvptx.ptx_text(kernels, target))
    if stage == "asm":
        return codegen.assembly(kernels, target)
    return codegen.joined(codegen.llvm_text(kernels, target))


def dumped(
    stages: Iterable[tuple[str, ModuleOp]], options: Options, title: str
) -> Iterator[tuple[str, ModuleOp]]:
    """The steps of a pipeline as they come, each written where CALQUE_DUMP asks for it.

    A program gets a folder of its own, called after `title` or else the operator that eager code
    ran, and the code of its kernels as the last files there.
    """
    parent = os.environ.get("CALQUE_DUMP")
    if not parent:
        yield from stages
        return
    folder: Path | None = None
    numbers = itertools.count()

    def write(file: str, text: str) -> None:
        assert folder is not None
        (folder / f"{next(numbers):02d}-{file}").write_text(text)

    for name, module in stages:
        folder = folder or _new_folder(Path(parent), title or _eager(module))
        write(f"{name}.mlir", to_text(module, locations=True))
        if name == "kernel":
            gpu = options.target is not None and options.target.kind == "nvptx"
            for stage, suffix in (("ptx", "ptx"),) if gpu else (("llvm", "ll"), ("asm", "s")):
                write(f"{stage}.{suffix}", stage_text(module, stage, options))
        yield name, module


def _eager(module: ModuleOp) -> str:
    """The title of a program that is one operator, such as `eager-add`."""
    names = [op.name for op in lookup(module, "main").body.block.ops]
    found = [name.removeprefix("calque.") for name in names if name.startswith("calque.")]
    return "-".join(["eager", *found[-1:]])  # operands may be repeated before it


def _new_folder(parent: Path, title: str) -> Path:
    """A folder of its own for each program: 0000-eager-add, 0001-step, …"""
    title = re.sub(r"\W+", "-", title).strip("-")[:80]
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(sum(1 for _ in parent.iterdir())):
        folder = parent / f"{number:04d}-{title}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process writes here too
            continue
        return folder
    raise AssertionError("counting does not end")
