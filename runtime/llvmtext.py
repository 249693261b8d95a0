"""LLVM IR written by hand: compiled when it is first needed, from then on cached on disk."""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding as llvm

from . import cache

_PASSES = ("always_inliner", "sroa", "instruction_combine", "simplify_cfg", "new_gvn")


def compiled(text: str) -> bytes:
    """Object code of LLVM IR for any processor of the platform's kind."""
    triple = llvm.get_default_triple()
    version = ".".join(map(str, llvm.llvm_version_info))
    key = cache.key("object", text, triple, version, " ".join(_PASSES))
    disk = cache.default()
    code = disk.get(key)
    if code is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_triple(triple).create_target_machine(opt=2, jit=True)
        module = llvm.parse_assembly(text, context=llvm.create_context())
        _simplify(module, machine)
        code = machine.emit_object(module)
        disk.put(key, code)
    return code


def _simplify(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Makes small functions as quick as if they were written out where they are called."""
    manager = llvm.create_new_module_pass_manager()
    for name in _PASSES:
        getattr(manager, f"add_{name}_pass")()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    manager.run(module, llvm.create_pass_builder(machine, options))


def source(name: str) -> str:
    """The text of a file of this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
