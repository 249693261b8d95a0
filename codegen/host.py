"""The host function, which calls the kernels, and the plan function, which sizes its memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from xdsl.dialects import cf, func
from xdsl.dialects.builtin import IndexType

from ..ir.target import Target
from . import abi
from .emit import HANDLERS, Asserts, Emitter
from .errors import CodegenError
from .kernel import asserts_of
from .llvm import Fn, Module
from .scratch import layout

HOST = "main"
PLAN = "main.plan"


@dataclass(frozen=True, slots=True)
class HostText:
    """LLVM text of the host module, which defines `main` and, if there is a plan function,
    `main.plan`.

    `calls` names the kernels in the order of the calls. A failure is ``call << 8 | code``:
    `code` from that kernel, or, where `call` is the number of calls, 1 + an index into
    `messages`.
    """

    text: str
    calls: tuple[str, ...]
    messages: tuple[str, ...]


def host_text(
    main: func.FuncOp, plan: func.FuncOp | None, kernels: Collection[str], target: Target
) -> HostText:
    """Write the host module, which refers to the kernels by their names in the IR.

    Raises CodegenError for ops that a host function cannot contain.
    """
    module = Module(target)
    calls = [op for op in main.walk() if isinstance(op, func.CallOp)]
    asserts = asserts_of(main)
    _host(module, main, calls, asserts, kernels)
    if plan is not None:
        _plan(module, plan)
    names = tuple(op.callee.string_value() for op in calls)
    return HostText(module.text(), names, asserts.messages())


def _host(
    module: Module,
    main: func.FuncOp,
    calls: list[func.CallOp],
    asserts: Asserts,
    kernels: Collection[str],
) -> None:
    if main.function_type.outputs.data:
        raise CodegenError.at(main, "the host function writes its results to memrefs")
    if layout(main).offsets:
        raise CodegenError.at(main, "the host function takes large scratch from its arena")
    f = module.function(HOST, "i32", abi.PARAMS)
    arguments = abi.Arguments([[v.type for v in op.operands] for op in calls], f)
    numbers = {op: number for number, op in enumerate(calls)}

    def call(e: Emitter, op: func.CallOp) -> None:
        name = op.callee.string_value()
        if name not in kernels:
            raise CodegenError.at(op, f"there is no kernel named @{name}")
        arguments.send(e, list(op.operands))
        passed = zip(("ptr",) * 4, (context, *arguments.arrays), strict=True)
        start = f.call("i64", "llvm.readcyclecounter", [])
        code = f.call("i32", name, list(passed))
        _count(f, timed, start, numbers[op])
        failed = f.icmp("ne", "i32", code, "0")
        _return_if(f, failed, f"or i32 {code}, {numbers[op] << 8}")

    def check(e: Emitter, op: cf.AssertOp) -> None:
        failed = f.xor("i1", e.values[op.arg], "true")
        _return_if(f, failed, f"add i32 {len(calls) << 8}, {1 + asserts.numbers[op]}")

    pointers, _, _ = abi.argument_counts([arg.type for arg in main.body.block.args])
    context = f.gep("ptr", "%pointers", str(pointers))
    timed = f.icmp("ne", "ptr", "%context", "null")
    e = Emitter(f, asserts, {**HANDLERS, func.CallOp: call, cf.AssertOp: check})
    abi.receive(e, main.body.block.args, abi.Arrays(f))
    e.block(main.body.block)
    f.ret("i32", "0")


def _count(f: Fn, timed: str, start: str, number: int) -> None:
    """Add the cycles since `start` to a counter, where there are counters."""
    count, done = f.label("count"), f.label("counted")
    f.branch_if(timed, count, done)
    f.place(count)
    cycles = f.sub("i64", f.call("i64", "llvm.readcyclecounter", []), start)
    counter = f.gep("i64", "%context", str(number))
    f.store("i64", f.add("i64", f.load("i64", counter), cycles), counter)
    f.branch(done)
    f.place(done)


def _return_if(f: Fn, condition: str, status: str) -> None:
    failed, passed = f.label("failed"), f.label("passed")
    f.branch_if(condition, failed, passed)
    f.place(failed)
    f.ret("i32", f.emit(status))
    f.place(passed)


def _plan(module: Module, plan: func.FuncOp) -> None:
    """``void main.plan(ptr sizes, ptr out)``: i64 in, i64 out."""
    f = module.function(PLAN, "void", (("ptr", "sizes"), ("ptr", "out")))
    block = plan.body.block
    if not all(isinstance(v.type, IndexType) for v in block.args):
        raise CodegenError.at(plan, "the plan function takes and returns index values")
    e = Emitter(f, Asserts({}), HANDLERS)
    for number, arg in enumerate(block.args):
        e.values[arg] = f.load("i64", f.gep("i64", "%sizes", str(number)))
    e.block(block)
    last = block.last_op
    if not isinstance(last, func.ReturnOp):
        raise CodegenError.at(plan, "the plan function must end with func.return")
    for number, value in enumerate(e.operands(last.operands)):
        f.store("i64", value, f.gep("i64", "%out", str(number)))
    f.ret()
