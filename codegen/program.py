"""A kernel-stage module as LLVM text: its kernels and its host function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp

from ..ir.target import Target
from .errors import CodegenError
from .host import HOST, PLAN, HostText, host_text
from .kernel import SYMBOL, KernelText, kernel_text


@dataclass(frozen=True, slots=True)
class Program:
    """The texts of a module: `kernels` by name, and `host`, which defines `main`; None in a
    module without it. Kernels of equal structure have equal texts."""

    kernels: dict[str, KernelText]
    host: HostText | None


def program(module: ModuleOp, target: Target) -> Program:
    """Write the LLVM text of a kernel-stage module.

    Every function but `main` and `main.plan` is a kernel. Raises CodegenError for IR that is
    not at the kernel stage.
    """
    functions = {op.sym_name.data: op for op in functions_of(module)}
    main, plan = functions.pop(HOST, None), functions.pop(PLAN, None)
    kernels = {name: kernel_text(op, target) for name, op in functions.items()}
    host = None if main is None else host_text(main, plan, functions, target)
    return Program(kernels, host)


def functions_of(module: ModuleOp) -> Iterable[func.FuncOp]:
    """The functions of a kernel-stage module, which holds nothing else."""
    for op in module.ops:
        if not isinstance(op, func.FuncOp):
            raise CodegenError.unsupported(op)
        if op.is_declaration:
            raise CodegenError.at(op, f"@{op.sym_name.data} has no body")
        yield op


def llvm_text(module: ModuleOp, target: Target) -> dict[str, str]:
    """LLVM text by name, for reading: each kernel, called as in the IR, and "main"."""
    texts = program(module, target)
    result = {
        name: kernel.text.replace(f"@{SYMBOL}", f"@{name}")
        for name, kernel in texts.kernels.items()
    }
    if texts.host is not None:
        result[HOST] = texts.host.text
    return result
