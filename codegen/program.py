"""A kernel-stage module as LLVM text: its kernels, each once, and its host function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp

from ..ir.target import Target
from .errors import CodegenError
from .host import HOST, PLAN, HostText, host_text
from .kernel import KernelText, kernel_text


@dataclass(frozen=True, slots=True)
class Program:
    """The texts of a module: `kernels` by their names in the IR (equal kernels have equal
    symbols and texts) and `host`, None in a module without host function."""

    kernels: dict[str, KernelText]
    host: HostText | None

    def distinct(self) -> list[KernelText]:
        """The kernels that differ, in the order of their first appearance."""
        return list({kernel.symbol: kernel for kernel in self.kernels.values()}.values())


def program(module: ModuleOp, target: Target) -> Program:
    """Write the LLVM text of a kernel-stage module.

    Every function but `main` and `main.plan` is a kernel. Raises CodegenError for IR that is
    not at the kernel stage.
    """
    functions = {op.sym_name.data: op for op in _functions(module)}
    main, plan = functions.pop(HOST, None), functions.pop(PLAN, None)
    kernels = {name: kernel_text(op, target) for name, op in functions.items()}
    symbols = {name: kernel.symbol for name, kernel in kernels.items()}
    host = None if main is None else host_text(main, plan, symbols, target)
    return Program(kernels, host)


def _functions(module: ModuleOp) -> Iterable[func.FuncOp]:
    for op in module.ops:
        if not isinstance(op, func.FuncOp):
            raise CodegenError.unsupported(op)
        if op.is_declaration:
            raise CodegenError.at(op, f"@{op.sym_name.data} has no body")
        yield op


def llvm_text(module: ModuleOp, target: Target) -> dict[str, str]:
    """LLVM text by name: each kernel under its name in the IR, the host under "main"."""
    texts = program(module, target)
    result = {name: kernel.text for name, kernel in texts.kernels.items()}
    if texts.host is not None:
        result[HOST] = texts.host.text
    return result
