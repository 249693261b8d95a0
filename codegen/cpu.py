"""LLVM IR text to machine code of this kind of processor.

The input is already in vectors, so a short list of passes and the code generator's level 1 give
what the full pipeline gives, in half the time. Level 0 is never used: it cannot select code for
<16 x i1> masks and ends the process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm

from ..ir.target import Target

# A part of the key under which objects are cached: what turns the same text into other code.
VERSION = "1"


@dataclass(frozen=True, slots=True)
class _Compiler:
    machine: llvm.TargetMachine
    passes: llvm.ModulePassManager
    builder: llvm.PassBuilder
    lock: threading.Lock


@lru_cache(maxsize=8)
def _compiler(triple: str, cpu: str, features: str) -> _Compiler:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=1, reloc="pic", codemodel="small"
    )
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(1))
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_dead_code_elimination_pass()
    return _Compiler(machine, passes, builder, threading.Lock())


def _compiler_for(target: Target) -> _Compiler:
    return _compiler(target.triple, target.cpu, target.features)


def _optimized(compiler: _Compiler, text: str) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text)
    compiler.passes.run(module, compiler.builder)
    return module


def compile_text(text: str, target: Target) -> bytes:
    """The object file of an LLVM module. Raises RuntimeError if LLVM does not accept the text."""
    compiler = _compiler_for(target)
    with compiler.lock:
        return compiler.machine.emit_object(_optimized(compiler, text))


def assembly(text: str, target: Target) -> str:
    """The assembly of an LLVM module, as `compile_text` would encode it."""
    compiler = _compiler_for(target)
    with compiler.lock:
        return compiler.machine.emit_assembly(_optimized(compiler, text))
