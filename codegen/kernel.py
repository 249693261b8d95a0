"""One kernel function to one LLVM module."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from xdsl.dialects import cf, func
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from ..ir.target import Target
from . import abi
from .emit import HANDLERS, Asserts, Emitter
from .errors import CodegenError
from .llvm import Module

HERO = "calque.hero"

MAX_MESSAGES = 255
"""Failure codes of one kernel fill the low byte of the host's result."""


@dataclass(frozen=True, slots=True)
class KernelText:
    """LLVM text of a kernel, whose function is called `symbol`, and what its failure codes mean.

    The symbol contains a hash of the text, so equal kernels have equal symbols, in one program
    and across programs.
    """

    symbol: str
    text: str
    messages: tuple[str, ...]


def asserts_of(op: Operation) -> Asserts:
    """The assertions inside a function, numbered in order."""
    found = [inner for inner in op.walk() if isinstance(inner, cf.AssertOp)]
    return Asserts({inner: number for number, inner in enumerate(found)})


def kernel_text(op: func.FuncOp, target: Target) -> KernelText:
    """Write a kernel as an LLVM module of its own.

    Raises CodegenError for what the kernel stage does not support.
    """
    module = Module(target)
    f = module.function(_PLACEHOLDER, "i32", abi.PARAMS)
    asserts = asserts_of(op)
    e = Emitter(f, asserts, HANDLERS)
    if op.function_type.outputs.data:
        raise CodegenError.at(op, "a kernel writes its results to memrefs, it returns nothing")
    if asserts.numbers:
        asserts.slot = f.var("i32")
        f.store("i32", "-1", asserts.slot)
    abi.receive(e, op.body.block.args)
    e.block(op.body.block)
    f.ret("i32", f.add("i32", f.get("i32", asserts.slot), "1") if asserts.numbers else "0")
    messages = asserts.messages()
    if len(messages) > MAX_MESSAGES:
        raise CodegenError.at(op, f"a kernel can have {MAX_MESSAGES} assertions, not more")
    text = "".join(f"; failure {n}: {m!r}\n" for n, m in enumerate(messages, 1)) + module.text()
    hero = op.attributes.get(HERO)
    kind = hero.data if isinstance(hero, StringAttr) else "kernel"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    symbol = f"{kind}_{digest}"
    return KernelText(symbol, text.replace(f"@{_PLACEHOLDER}", f"@{symbol}"), messages)


_PLACEHOLDER = "kernel"
