"""Kernel-stage IR to LLVM IR, PTX and machine code.

`program` writes LLVM text (`kernel`, `host`, and `emit` with one file per dialect), `cpu`
compiles it, in worker processes where that pays (`workers`), and `module` puts the objects
together into what the runtime loads.
"""

from __future__ import annotations

from .errors import CodegenError
from .llvm import joined
from .module import assembly, compile_module
from .program import llvm_text

__all__ = ["CodegenError", "assembly", "compile_module", "joined", "llvm_text"]
