"""Kernels to PTX, the assembly language of NVIDIA GPUs, which the driver assembles.

Each kernel becomes an LLVM module with one entry for each of its loops over blocks (see
`emit_gpu`); `runtime.launch` describes what an entry takes. Pointers are cast to the generic
address space at once, and LLVM finds the spaces of accesses again.

LLVM ends the process when it cannot select an instruction, so what is written is checked against
what is known to be selected: the operations by the table of handlers, the intrinsics here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm
from xdsl.dialects import func
from xdsl.dialects.builtin import IndexType, MemRefType, ModuleOp
from xdsl.ir import BlockArgument

from ..ir.target import Target
from ..runtime.launch import Launch
from . import abi, emit_gpu
from .emit import Emitter
from .errors import CodegenError
from .gridsize import size_name
from .host import HOST, PLAN
from .kernel import SYMBOL, asserts_of, source_of
from .llvm import Fn, Module, size
from .program import functions_of
from .types import element_type, is_strided, llvm_type

ALIGNMENT = 64
"""Of arrays that are contiguous."""


@dataclass(frozen=True, slots=True)
class DeviceText:
    """A kernel for a GPU in LLVM IR, where its entries are called `SYMBOL` and `SYMBOL_1` …; how
    they are started; what its failure codes mean; and where it comes from."""

    text: str
    launches: tuple[Launch, ...]
    messages: tuple[str, ...]
    source: tuple[str, ...]


def device_text(op: func.FuncOp, target: Target) -> DeviceText:
    """Write a kernel as an LLVM module of its own.

    Raises CodegenError for what kernels for a GPU cannot hold.
    """
    loops = emit_gpu.block_loops(op)
    if not loops:
        raise CodegenError.at(op, f'@{op.sym_name.data} has no loop with calque.map = "block"')
    if op.function_type.outputs.data:
        raise CodegenError.at(op, "a kernel writes its results to memrefs, it returns nothing")
    module = Module(target)
    asserts = asserts_of(op)
    launches = []
    for number, loop in enumerate(loops):
        grid = emit_gpu.Grid(loop, emit_gpu.thread_count(loop))
        name = f"{SYMBOL}_{number}" if number else SYMBOL
        attributes = f'nounwind "nvvm.reqntid"="{grid.threads},1,1"'
        params = list(_params(op.body.block.args))
        if asserts.numbers:
            params.append(("ptr addrspace(1)", "status"))
        f = module.function(name, "void", params, convention="ptx_kernel", attributes=attributes)
        e = Emitter(f, asserts, emit_gpu.handlers(grid))
        if asserts.numbers:
            asserts.slot = _generic(f, "%status")
        abi.receive(e, op.body.block.args, _Params(f))
        e.block(op.body.block)
        f.ret()
        if grid.shared > target.l1:
            raise CodegenError.at(
                loop, f"a block shares {grid.shared} bytes, which are more than {target.l1}"
            )
        launches.append(Launch(name, grid.blocks, grid.threads, grid.shared))
    _check_intrinsics(op, module)
    return DeviceText(module.text(), tuple(launches), asserts.messages(), source_of(op))


def _params(args: Iterable[BlockArgument]) -> Iterable[tuple[str, str]]:
    """The parameters of an entry: pointers, sizes, scalars."""
    pointers: list[str] = []
    scalars: list[str] = []
    sizes = 0
    for arg in args:
        ty = arg.type
        if isinstance(ty, MemRefType):
            align = size(element_type(ty)) if is_strided(ty) else ALIGNMENT
            pointers.append(f"ptr addrspace(1) align {align}")
        elif not isinstance(ty, IndexType):
            scalars.append(llvm_type(ty))
        sizes += abi.argument_counts([ty])[1]
    yield from ((ty, f"p{i}") for i, ty in enumerate(pointers))
    yield from (("i64", size_name(i)) for i in range(sizes))
    yield from ((ty, f"x{i}") for i, ty in enumerate(scalars))


class _Params:
    """The arguments of an entry."""

    def __init__(self, f: Fn) -> None:
        self._f = f

    def pointer(self, number: int) -> str:
        return _generic(self._f, f"%p{number}")

    def size(self, number: int) -> str:
        return f"%{size_name(number)}"

    def scalar(self, number: int, ty: str) -> str:
        return f"%x{number}"


def _generic(f: Fn, pointer: str) -> str:
    return f.emit(f"addrspacecast ptr addrspace(1) {pointer} to ptr")


# -- what LLVM can select ---------------------------------------------------------------------

_FLOAT = r"(v\d+)?f(32|64)"
_INTEGER = r"(v\d+)?i(1|8|16|32|64)"
_ALLOWED = re.compile(
    rf"llvm\.(fabs|ceil|copysign|floor|fma|roundeven|round|sqrt|trunc)\.{_FLOAT}"
    rf"|llvm\.(maximum|minimum|maxnum|minnum)\.{_FLOAT}"
    rf"|llvm\.(smin|smax|umin|umax|abs|ctlz|cttz|ctpop)\.{_INTEGER}"
    rf"|llvm\.vector\.reduce\.or\.v\d+i1"
    rf"|llvm\.masked\.(load|store)\.v\d+(f|i|bf)\d+\.p0"
    rf"|llvm\.masked\.gather\.v\d+(f|i|bf)\d+\.v\d+p0"
)


def _check_intrinsics(op: func.FuncOp, module: Module) -> None:
    for name in module.declares:
        if name not in emit_gpu.SPECIAL and not _ALLOWED.fullmatch(name):
            raise CodegenError.at(op, f"{name} is not supported on this target")


# -- PTX --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Compiler:
    machine: llvm.TargetMachine
    passes: llvm.ModulePassManager
    builder: llvm.PassBuilder
    lock: threading.Lock


@lru_cache(maxsize=8)
def _compiler(target: Target) -> _Compiler:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3
    )
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_instruction_combine_pass()
    passes.add_dead_code_elimination_pass()
    return _Compiler(machine, passes, builder, threading.Lock())


def compile_ptx(text: str, target: Target) -> str:
    """The PTX of an LLVM module. Raises RuntimeError if LLVM does not accept the text."""
    compiler = _compiler(target)
    with compiler.lock:
        module = llvm.parse_assembly(text)
        compiler.passes.run(module, compiler.builder)
        return compiler.machine.emit_assembly(module)


def ptx_text(module: ModuleOp, target: Target) -> dict[str, str]:
    """PTX by name, for reading: the kernels of a kernel-stage module, called as in the IR.

    Raises CodegenError for what kernels for a GPU cannot hold.
    """
    return {
        name: compile_ptx(named(kernel.text, name), target)
        for name, kernel in device_texts(module, target).items()
    }


def joined(texts: Mapping[str, str]) -> str:
    """Modules of PTX, by name, as one: with one header."""
    parts = [text.partition(_HEADER_END) for text in texts.values()]
    bodies = [f"// ---- {name}\n{body}" for name, (_, _, body) in zip(texts, parts, strict=True)]
    return "\n".join([parts[0][0] + _HEADER_END, *bodies]) if parts else ""


_HEADER_END = ".address_size 64\n"


def device_texts(module: ModuleOp, target: Target) -> dict[str, DeviceText]:
    """The kernels of a kernel-stage module for a GPU: all functions but those of the host."""
    return {
        op.sym_name.data: device_text(op, target)
        for op in functions_of(module)
        if op.sym_name.data not in (HOST, PLAN)
    }


def named(text: str, name: str) -> str:
    """A kernel's LLVM text with its symbols called after it."""
    return text.replace(f"@{SYMBOL}", f"@{name}")
