"""Kernel-stage IR to LLVM IR: the walk over the operations.

Each dialect's file maps op classes to functions `(emitter, op) -> None`; `HANDLERS` is their
union. A function reads the operands' LLVM values from the emitter, appends instructions to its
`Fn`, and sets the values of the results. Index arithmetic on constants folds on the way, so
static shapes leave no trace in the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects import cf, func
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Block, Operation, SSAValue

from . import emit_arith, emit_math, emit_memref, emit_scf, emit_tile, emit_vector
from .errors import CodegenError
from .llvm import Fn, bits, is_float
from .scratch import Scratch
from .types import MemRef, llvm_type

Handler = Callable[["Emitter", Any], None]


@dataclass(slots=True)
class Asserts:
    """The assertions of one function: their numbers, and the slot that records a failure."""

    numbers: dict[cf.AssertOp, int]
    slot: str = ""

    def messages(self) -> tuple[str, ...]:
        return tuple(op.msg.data for op in self.numbers)


@dataclass(slots=True)
class Emitter:
    """Writes the ops of one function body into `f`.

    `values` holds the LLVM value of every scalar and vector seen so far, `memrefs` the
    descriptor of every memref. `native_half` says that the target computes in f16 and bf16,
    `scratch` where large allocas are, `task` that the function is a task.
    """

    f: Fn
    asserts: Asserts
    handlers: Mapping[type[Operation], Handler]
    native_half: bool = False
    scratch: Scratch = field(default_factory=Scratch)
    task: bool = False
    values: dict[SSAValue, str] = field(default_factory=dict)
    memrefs: dict[SSAValue, MemRef] = field(default_factory=dict)

    def of_task(self, f: Fn, scratch: Scratch) -> Emitter:
        """An emitter for a task outlined from this function, with no values yet."""
        return Emitter(f, self.asserts, self.handlers, self.native_half, scratch, task=True)

    def block(self, block: Block) -> None:
        """Write the ops of a block. The terminators' operands are read by the parent op."""
        handlers = self.handlers
        for op in block.ops:
            handler = handlers.get(type(op))
            if handler is None:
                raise CodegenError.unsupported(op)
            try:
                handler(self, op)
            except CodegenError as error:
                if error.op is not None:
                    raise
                raise CodegenError.at(op, str(error)) from None

    def operand(self, op: Operation, index: int) -> str:
        """LLVM value of an operand that is not a memref."""
        return self.values[op.operands[index]]

    def operands(self, values: Any) -> list[str]:
        return [self.values[v] for v in values]

    def type(self, value: SSAValue) -> str:
        """LLVM type of a value that is not a memref."""
        return llvm_type(value.type)

    def check_wide(self, op: Operation, ty: str) -> None:
        """Refuse 16-bit float arithmetic where the processor has none: it would round twice or
        call a library, so the IR must say that it computes in f32."""
        if bits(ty) == 16 and is_float(ty) and not self.native_half:
            raise CodegenError.at(op, "operands of type f16 and bf16 must be extended to f32")

    def set(self, op: Operation, value: str) -> None:
        """Define the only result of an op."""
        self.values[op.results[0]] = value

    def bind(self, target: SSAValue, source: SSAValue) -> None:
        """Let `target` stand for the same value as `source`."""
        if isinstance(source.type, MemRefType):
            self.memrefs[target] = self.memrefs[source]
        else:
            self.values[target] = self.values[source]


def _nothing(e: Emitter, op: Operation) -> None:
    """Terminators, whose operands the enclosing op reads."""


HANDLERS: dict[type[Operation], Handler] = {
    **emit_arith.HANDLERS,
    **emit_math.HANDLERS,
    **emit_memref.HANDLERS,
    **emit_scf.HANDLERS,
    **emit_vector.HANDLERS,
    **emit_tile.HANDLERS,
    func.ReturnOp: _nothing,
}
