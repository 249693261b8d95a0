"""`scf` and `cf.assert` to LLVM IR. Parallel loops over threads become task functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from xdsl.dialects import cf, scf
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Block, Operation, Region, SSAValue

from .errors import CodegenError
from .llvm import Fn
from .scratch import MAP, is_threaded
from .types import MemRef

if TYPE_CHECKING:
    from .emit import Emitter


def for_(e: Emitter, op: scf.ForOp) -> None:
    block = op.body.block
    index, *args = block.args
    types = [e.type(arg) for arg in args]
    carried = list(zip(types, e.operands(op.iter_args), strict=True))
    lo, hi, step = e.operands((op.lb, op.ub, op.step))
    with e.f.loop(lo, hi, step, carried, ty=e.type(index)) as loop:
        e.values[index] = loop.index
        e.values.update(zip(args, loop.args, strict=True))
        e.block(block)
        loop.yield_(e.operands(_terminator(block).operands))
    e.values.update(zip(op.results, loop.results, strict=True))


def _terminator(block: Block) -> Operation:
    last = block.last_op
    assert last is not None
    return last


def if_(e: Emitter, op: scf.IfOp) -> None:
    condition = e.values[op.cond]
    if not op.results and not op.false_region.blocks:
        with e.f.if_(condition):
            e.block(op.true_region.block)
        return
    with e.f.if_else(condition, [e.type(r) for r in op.results]) as branch:
        with branch.then():
            branch.yield_(_arm(e, op.true_region))
        with branch.otherwise():
            branch.yield_(_arm(e, op.false_region))
    e.values.update(zip(op.results, branch.results, strict=True))


def _arm(e: Emitter, region: Region) -> list[str]:
    if not region.blocks:
        return []
    e.block(region.block)
    return e.operands(_terminator(region.block).operands)


def while_(e: Emitter, op: scf.WhileOp) -> None:
    f = e.f
    before, after = op.before_region.block, op.after_region.block
    head, body, done = f.label("head"), f.label("body"), f.label("done")
    source = f.block
    first = e.operands(op.arguments)
    f.branch(head)
    f.place(head)
    at = len(f.lines)
    for arg in before.args:
        e.values[arg] = f.name()
    e.block(before)
    condition, *passed = e.operands(_terminator(before).operands)
    f.branch_if(condition, body, done)
    f.place(body)
    e.values.update(zip(after.args, passed, strict=True))
    e.block(after)
    following = e.operands(_terminator(after).operands)
    f.lines[at:at] = [
        f"  {e.values[arg]} = phi {e.type(arg)} [ {a}, %{source} ], [ {b}, %{f.block} ]"
        for arg, a, b in zip(before.args, first, following, strict=True)
    ]
    f.branch(head)
    f.place(done)
    e.values.update(zip(op.results, passed, strict=True))


def parallel(e: Emitter, op: scf.ParallelOp) -> None:
    """Over threads where mapped so, otherwise a nest of loops. So is a loop over threads in a
    task: they are busy with the tasks."""
    if op.initVals:
        raise CodegenError.at(op, "parallel loops with results are not supported")
    mapping = op.attributes.get(MAP)
    bounds = list(zip(*map(e.operands, (op.lowerBound, op.upperBound, op.step)), strict=True))
    threaded = is_threaded(op)
    if mapping is not None and not threaded:
        raise CodegenError.at(op, f"{MAP} = {mapping} does not exist on this target")
    if threaded and not e.task:
        _threads(e, op, bounds)
    else:
        _nest(e, op.body.block, bounds, 0)


def _nest(e: Emitter, block: Block, bounds: Sequence[tuple[str, str, str]], depth: int) -> None:
    if depth == len(bounds):
        e.block(block)
        return
    lo, hi, step = bounds[depth]
    with e.f.loop(lo, hi, step) as loop:
        e.values[block.args[depth]] = loop.index
        _nest(e, block, bounds, depth + 1)


def _threads(e: Emitter, op: scf.ParallelOp, bounds: list[tuple[str, str, str]]) -> None:
    """Outline the body into `void task(ptr captured, i64 i, i64 thread)`, i counting the
    iteration space in row-major order, and let the runtime run all i."""
    f = e.f
    counts = [trip_count(f, *bound) for bound in bounds]
    total = "1"
    for count in counts:
        total = f.mul("i64", total, count)
    name = f"{f.symbol}.task{len(f.module.functions) - 1}"
    task = f.module.function(
        name, "void", [("ptr", "captured"), ("i64", "i"), ("i64", "thread")], internal=True
    )
    captures = _Captures(e)
    outside = _values_from_outside(op.body)
    for value in outside:
        captures.add(value)
    flat = [captures.keep("i64", v) for lo, _, step in bounds for v in (lo, step)]
    lengths = [captures.keep("i64", c) for c in counts]
    status = captures.keep("ptr", e.asserts.slot) if e.asserts.slot else None
    base = captures.keep("ptr", e.scratch.base) if e.scratch.thread else None
    struct = captures.pack()
    loaded = captures.unpack(task)
    scratch = e.scratch.of_task(task, loaded[base]) if base is not None else e.scratch
    inner = e.of_task(task, scratch)
    for value in outside:
        captures.restore(inner, value, loaded)
    rest = "%i"
    for d in reversed(range(len(bounds))):
        lo, step = loaded[flat[2 * d]], loaded[flat[2 * d + 1]]
        if d:
            length = loaded[lengths[d]]
            index = task.emit(f"urem i64 {rest}, {length}")
            rest = task.emit(f"udiv i64 {rest}, {length}")
        else:
            index = rest
        value = task.add("i64", task.mul("i64", index, step), lo)
        inner.values[op.body.block.args[d]] = value
    slot = e.asserts.slot
    if status is not None:
        e.asserts.slot = loaded[status]
    inner.block(op.body.block)
    e.asserts.slot = slot
    task.ret()
    # No thread may take part that has no scratch; -1 lets all.
    threads = e.scratch.threads if base is not None else "-1"
    args = [("ptr", f"@{name}"), ("ptr", struct), ("i64", total), ("i64", threads)]
    f.call("void", "calque_parallel_for", args)


def trip_count(f: Fn, lo: str, hi: str, step: str) -> str:
    """ceil((hi - lo) / step), at least 0."""
    span = f.smax("i64", f.sub("i64", hi, lo), "0")
    if step == "1":
        return span
    return f.sdiv("i64", f.add("i64", span, f.sub("i64", step, "1")), step)


def _values_from_outside(region: Region) -> list[SSAValue]:
    """Values used in a region, or in the regions inside it, but defined outside it, in the
    order of their first use."""
    inside: set[SSAValue] = set()
    found: dict[SSAValue, None] = {}
    for block in region.blocks:
        inside.update(block.args)
    for op in region.walk():
        for operand in op.operands:
            if operand not in inside:
                found.setdefault(operand)
        inside.update(op.results)
        for inner in op.regions:
            for block in inner.blocks:
                inside.update(block.args)
    return list(found)


class _Captures:
    """What a task needs from its creator, in a struct on the creator's stack. Literals are not
    stored; equal values once."""

    def __init__(self, e: Emitter) -> None:
        self._e = e
        self._slots: dict[str, str] = {}

    def keep(self, ty: str, value: str) -> str:
        """Store a value if it is no literal; returns it, the key into what `unpack` gives."""
        if value[0] == "%":
            self._slots[value] = ty
        return value

    def add(self, value: SSAValue) -> None:
        if isinstance(value.type, MemRefType):
            m = self._e.memrefs[value]
            self.keep("ptr", m.ptr)
            self.keep("ptr", m.base)
            for extent in (*m.sizes, *m.strides):
                self.keep("i64", extent)
        else:
            self.keep(self._e.type(value), self._e.values[value])

    @property
    def _struct(self) -> str:
        return "{ " + ", ".join(self._slots.values()) + " }"

    def pack(self) -> str:
        """Write the struct; returns its address."""
        if not self._slots:
            return "null"
        f = self._e.f
        address = f.var(self._struct)
        for number, (value, ty) in enumerate(self._slots.items()):
            field = f.emit(
                f"getelementptr inbounds {self._struct}, ptr {address}, i32 0, i32 {number}"
            )
            f.do(f"store {ty} {value}, ptr {field}")
        return address

    def unpack(self, task: Fn) -> _Loaded:
        """Read the struct at the entry of the task."""
        loaded = _Loaded()
        for number, (value, ty) in enumerate(self._slots.items()):
            field = task.emit(
                f"getelementptr inbounds {self._struct}, ptr %captured, i32 0, i32 {number}"
            )
            loaded[value] = task.emit(f"load {ty}, ptr {field}")
        return loaded

    def restore(self, inner: Emitter, value: SSAValue, loaded: _Loaded) -> None:
        """Define a captured value in the task."""
        if isinstance(value.type, MemRefType):
            m = self._e.memrefs[value]
            inner.memrefs[value] = MemRef(
                loaded[m.ptr],
                loaded[m.base],
                m.element,
                tuple(loaded[s] for s in m.sizes),
                tuple(loaded[s] for s in m.strides),
            )
        else:
            inner.values[value] = loaded[self._e.values[value]]


class _Loaded(dict[str, str]):
    """Values of the creator to values of the task; literals stand for themselves."""

    def __missing__(self, key: str) -> str:
        return key


def assert_(e: Emitter, op: cf.AssertOp) -> None:
    """Record the failure and go on. The least number wins, so the report does not depend on
    the order in which threads run."""
    f = e.f
    failed, join = f.label("failed"), f.label("checked")
    number = e.asserts.numbers[op]
    f.branch_if(e.values[op.arg], join, failed)
    f.place(failed)
    f.emit(f"atomicrmw umin ptr {e.asserts.slot}, i32 {number} monotonic")
    f.branch(join)
    f.place(join)


def _nothing(e: Emitter, op: Operation) -> None:
    """Terminators, whose operands the enclosing op reads."""


HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    scf.ForOp: for_,
    scf.IfOp: if_,
    scf.WhileOp: while_,
    scf.ParallelOp: parallel,
    scf.YieldOp: _nothing,
    scf.ReduceOp: _nothing,
    scf.ConditionOp: _nothing,
    cf.AssertOp: assert_,
}
