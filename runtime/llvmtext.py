"""LLVM IR written by hand: compiled when it is first needed, from then on cached on disk."""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding as llvm

from . import cache


def compiled(text: str) -> bytes:
    """Object code of LLVM IR for any processor of the platform's kind."""
    triple = llvm.get_default_triple()
    key = cache.key("object", text, triple, ".".join(map(str, llvm.llvm_version_info)))
    disk = cache.default()
    code = disk.get(key)
    if code is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_triple(triple).create_target_machine(opt=2, jit=True)
        code = machine.emit_object(llvm.parse_assembly(text, context=llvm.create_context()))
        disk.put(key, code)
    return code


def source(name: str) -> str:
    """The text of a file of this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
