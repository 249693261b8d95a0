"""One kernel function to one LLVM module."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import cf, func
from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Operation

from ..ir.target import Target
from . import abi
from .emit import HANDLERS, Asserts, Emitter
from .errors import CodegenError
from .llvm import Module
from .scratch import layout

SOURCE = "calque.source"

SYMBOL = "kernel"
"""What every kernel is called in its module, so that equal kernels have equal texts."""

MAX_MESSAGES = 255
"""Failure codes of one kernel fill the low byte of the host's result."""


@dataclass(frozen=True, slots=True)
class KernelText:
    """A kernel in LLVM IR, where its function is called `SYMBOL`; what its failure codes mean
    (1 + an index into `messages`); where it comes from; and the bytes of scratch memory that it
    needs, of its own and for each thread."""

    text: str
    messages: tuple[str, ...]
    source: tuple[str, ...]
    scratch: int
    thread_scratch: int


def asserts_of(op: Operation) -> Asserts:
    """The assertions inside a function, numbered in order."""
    found = [inner for inner in op.walk() if isinstance(inner, cf.AssertOp)]
    return Asserts({inner: number for number, inner in enumerate(found)})


def kernel_text(op: func.FuncOp, target: Target) -> KernelText:
    """Write a kernel as an LLVM module of its own.

    Raises CodegenError for what the kernel stage does not support.
    """
    module = Module(target)
    f = module.function(SYMBOL, "i32", abi.PARAMS)
    asserts = asserts_of(op)
    if len(asserts.numbers) > MAX_MESSAGES:
        raise CodegenError.at(op, f"a kernel can have {MAX_MESSAGES} assertions, not more")
    if op.function_type.outputs.data:
        raise CodegenError.at(op, "a kernel writes its results to memrefs, it returns nothing")
    scratch = layout(op)
    e = Emitter(f, asserts, HANDLERS, scratch=scratch.receive(f))
    if asserts.numbers:
        asserts.slot = f.var("i32")
        f.store("i32", "-1", asserts.slot)
    abi.receive(e, op.body.block.args, abi.Arrays(f))
    e.block(op.body.block)
    # No failure leaves -1 in the slot, which becomes 0.
    f.ret("i32", f.add("i32", f.get("i32", asserts.slot), "1") if asserts.numbers else "0")
    return KernelText(
        module.text(), asserts.messages(), source_of(op), scratch.call, scratch.thread
    )


def source_of(op: func.FuncOp) -> tuple[str, ...]:
    """What was fused into a kernel, and where the user wrote it."""
    attribute = op.attributes.get(SOURCE)
    if not isinstance(attribute, ArrayAttr):
        return ()
    return tuple(entry.data for entry in attribute if isinstance(entry, StringAttr))
