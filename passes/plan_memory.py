"""One arena for all temporary buffers of the host function, planned for every size at once.

A buffer lives from the first call that touches it to the last; buffers that live at different
times share memory, and a kernel that allows it (`calque.inplace`) writes over an operand that
nobody reads later. Sizes may be symbolic: buffers are packed among those whose sizes are
multiples of the same expression, where comparing them is comparing integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects import func, memref
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    StringAttr,
    UnitAttr,
)
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from ..ir import dtype as dt
from ..ir.sizes import SizeBuilder, dim_of
from ..ir.sym import Dim, Expr, floordiv, gcd_of, product, symbol
from .kernels import INPLACE, RESULTS
from .lower_to_linalg import SYMBOL
from .signature import dims_of
from .stages import require_unplanned

PLAN = "calque.plan"
ALIGNMENT = 64
_VIEWS = (
    memref.CollapseShapeOp,
    memref.ExpandShapeOp,
    memref.CastOp,
    memref.ReinterpretCastOp,
    memref.SubviewOp,
)
_INDEX = IndexType()


class PlanMemory(ModulePass):
    """Place the host's buffers in one arena and say its size in main.plan."""

    name = "plan-memory"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_unplanned(op, self.name)
        plan_memory(op)


def plan_memory(module: ModuleOp, *, reuse: bool = True) -> None:
    """Replace the host's allocations by views of its arena and add `@main.plan`.

    With `reuse` false every buffer has memory of its own.
    """
    functions = {f.sym_name.data: f for f in module.ops if isinstance(f, func.FuncOp)}
    main = functions.get("main")
    if main is None:
        return
    buffers = _liveness(main, functions if reuse else {})
    if not reuse:
        for buffer in buffers:
            buffer.first, buffer.last = 0, len(buffers)
    arena = _place(buffers)
    _rewrite(main, buffers)
    main.attributes[PLAN] = ArrayAttr([StringAttr(_line(b)) for b in buffers])
    module.body.block.insert_op_after(_plan_function(main, arena), main)


@dataclass(eq=False, slots=True)
class _Buffer:
    """Memory that is needed from call `first` to call `last`; `allocs` share it."""

    allocs: list[memref.AllocOp]
    bytes: Dim
    first: int
    last: int
    offset: Dim = 0
    count: int = 0
    unit: Dim = 1
    names: list[str] = field(default_factory=list)


def _symbols(main: func.FuncOp) -> dict[str, SSAValue]:
    """The size arguments of the host function by name."""
    args = main.body.block.args
    attrs = main.arg_attrs.data if main.arg_attrs else [DictionaryAttr({})] * len(args)
    found: dict[str, SSAValue] = {}
    for i, (arg, data) in enumerate(zip(args, attrs, strict=True)):
        if isinstance(arg.type, IndexType):
            name = data.data.get(SYMBOL)
            found[name.data if isinstance(name, StringAttr) else f"size{i}"] = arg
    return found


def _liveness(main: func.FuncOp, functions: dict[str, func.FuncOp]) -> list[_Buffer]:
    """The buffers of the host with their lifetimes, operands that may be overwritten merged."""
    names: dict[SSAValue, Dim] = {v: symbol(k) for k, v in _symbols(main).items()}
    seen = _Uses()
    seen.visit(main.body.block)
    buffers: dict[memref.AllocOp, _Buffer] = {}
    for alloc, when in seen.times.items():
        first, last = (min(when), max(when)) if when else (0, -1)
        buffers[alloc] = _Buffer([alloc], _bytes(alloc, names), first, last)
    for number, (op, touched) in enumerate(seen.calls):
        kernel = functions.get(op.callee.string_value()) if isinstance(op, func.CallOp) else None
        if kernel is not None and kernel.arg_attrs is not None:
            # Memory from outside of a loop is needed again in the next step.
            here = [a if a is not None and a.parent is op.parent else None for a in touched]
            _merge_inplace(kernel.arg_attrs.data, here, buffers, number, kernel)
    return list(dict.fromkeys(buffers.values()))


class _Uses:
    """When each buffer is touched, in numbers of calls (and copies), those in regions included."""

    def __init__(self) -> None:
        self.calls: list[tuple[Operation, list[memref.AllocOp | None]]] = []
        self.times: dict[memref.AllocOp, list[int]] = {}
        self._roots: dict[SSAValue, memref.AllocOp] = {}

    def visit(self, block: Block) -> None:
        """Number the calls of a block and of the regions in it."""
        for op in block.ops:
            if isinstance(op, memref.AllocOp):
                self._roots[op.memref] = op
                self.times[op] = []
            elif isinstance(op, _VIEWS) and op.operands[0] in self._roots:
                self._roots[op.results[0]] = self._roots[op.operands[0]]
            elif isinstance(op, func.CallOp | memref.CopyOp | memref.LoadOp):
                touched = [self._roots.get(v) for v in op.operands]
                for alloc in touched:
                    if alloc is not None:
                        self.times[alloc].append(len(self.calls))
                self.calls.append((op, touched))
            elif op.regions:
                self._loop(op)

    def _loop(self, op: Operation) -> None:
        """What a loop touches is needed from its first call to its last, unless it belongs to the
        loop's own step."""
        outside, first = list(self.times), len(self.calls)
        for region in op.regions:
            for block in region.blocks:
                self.visit(block)
        last = len(self.calls) - 1
        for alloc in outside:
            if any(t >= first for t in self.times[alloc]):
                self.times[alloc] += [first, last]


def _merge_inplace(
    attrs: Sequence[DictionaryAttr],
    touched: Sequence[memref.AllocOp | None],
    buffers: dict[memref.AllocOp, _Buffer],
    number: int,
    kernel: func.FuncOp,
) -> None:
    """Give results of a call the memory of operands that die there, where the kernel allows."""
    args = kernel.body.block.args
    memrefs = sum(isinstance(a.type, MemRefType) for a in args)
    written = _written(kernel)
    inputs = memrefs - written
    taken: set[_Buffer] = set()
    for i, attr in enumerate(attrs[:inputs]):
        allowed = attr.data.get(INPLACE)
        source = touched[i]
        if source is None or not isinstance(allowed, ArrayAttr):
            continue
        old = buffers[source]
        shared = sum(1 for a in touched if a is not None and buffers[a] is old)
        if old.last != number or shared != 1 or old in taken:
            continue
        for r in allowed:
            target = touched[inputs + r.value.data]
            if target is None:
                continue
            new = buffers[target]
            if new.first == number and new is not old and new.bytes == old.bytes:
                old.allocs += new.allocs
                old.last = new.last
                for alloc in new.allocs:
                    buffers[alloc] = old
                taken.add(old)
                break


def _written(kernel: func.FuncOp) -> int:
    """How many of the last memref arguments of a kernel are results."""
    results = kernel.attributes.get(RESULTS)
    return results.value.data if isinstance(results, IntegerAttr) else 0


def _bytes(alloc: memref.AllocOp, names: dict[SSAValue, Dim]) -> Dim:
    """The size of a buffer, rounded up to the alignment."""
    type_ = alloc.memref.type
    assert isinstance(type_, MemRefType)
    dynamic = iter(alloc.dynamic_sizes)
    dims = [dim_of(next(dynamic), names) if d == DYNAMIC_INDEX else d for d in type_.get_shape()]
    return aligned(product(dims) * dt.from_element(type_.element_type).itemsize)


def aligned(size: Dim) -> Dim:
    """The next multiple of the alignment."""
    if gcd_of(size) % ALIGNMENT == 0 and size != 0:
        return size
    return floordiv(size + (ALIGNMENT - 1), ALIGNMENT) * ALIGNMENT


def _place(buffers: Sequence[_Buffer]) -> Dim:
    """Give each buffer an offset; the size of the arena.

    Buffers are packed per unit: the expression of which their sizes are integer multiples. Within
    one, the largest come first, each at the lowest offset that is free during its life.
    """
    families: dict[Dim, list[_Buffer]] = {}
    for b in buffers:
        content = gcd_of(b.bytes) or 1
        b.count, b.unit = content, floordiv(b.bytes, content)
        if isinstance(b.bytes, int):
            b.count, b.unit = b.bytes, 1
        families.setdefault(b.unit, []).append(b)
    base: Dim = 0
    for unit, family in families.items():
        height = 0
        placed: list[tuple[int, _Buffer]] = []
        for b in sorted(family, key=lambda b: (-b.count, b.first)):
            start = _lowest(b, placed)
            placed.append((start, b))
            placed.sort(key=lambda p: p[0])
            b.offset = base + unit * start
            height = max(height, start + b.count)
        base = base + unit * height
    return base


def _lowest(b: _Buffer, placed: Sequence[tuple[int, _Buffer]]) -> int:
    """The lowest offset at which a buffer meets none that lives at the same time."""
    start = 0
    for offset, other in placed:
        if other.last < b.first or b.last < other.first:
            continue
        if start + b.count <= offset:
            break
        start = max(start, offset + other.count)
    return start


def _rewrite(main: func.FuncOp, buffers: Sequence[_Buffer]) -> None:
    block = main.body.block
    arena = _arena(main)
    first = block.first_op
    assert first is not None
    size = SizeBuilder(lambda op: block.insert_op_before(op, first), _symbols(main))
    shifts = [size(buffer.offset) for buffer in buffers]
    for buffer, shift in zip(buffers, shifts, strict=True):
        for alloc in buffer.allocs:
            made = memref.ViewOp.create(
                operands=(arena, shift, *alloc.dynamic_sizes),
                result_types=(alloc.memref.type,),
            )
            assert alloc.parent is not None
            alloc.parent.insert_op_before(made, alloc)
            made.results[0].name_hint = alloc.memref.name_hint
            alloc.memref.replace_all_uses_with(made.results[0])
            buffer.names.append(alloc.memref.name_hint or "temporary")
    # Only now, since sizes are computed before the first operation, which may be one of these.
    for buffer in buffers:
        for alloc in buffer.allocs:
            alloc.detach()
            alloc.erase()


def _arena(main: func.FuncOp) -> SSAValue:
    """The last memref argument of the host function."""
    return [a for a in main.body.block.args if isinstance(a.type, MemRefType)][-1]


def _line(b: _Buffer) -> str:
    life = f"calls {b.first}..{b.last}" if b.last >= b.first else "no call"
    return f"{', '.join(b.names)}: offset {b.offset}, {b.bytes} bytes, {life}"


def _plan_function(main: func.FuncOp, arena: Dim) -> func.FuncOp:
    """`@main.plan(sizes) -> (arena bytes, every dynamic size of the outputs)`."""
    symbols = list(_symbols(main))
    block = Block(arg_types=[_INDEX] * len(symbols))
    for name, arg in zip(symbols, block.args, strict=True):
        arg.name_hint = name
    size = SizeBuilder(block.add_op, dict(zip(symbols, block.args, strict=True)))
    dims = [d for shape in dims_of(main, "output") for d in shape if isinstance(d, Expr)]
    results = [size(d) for d in (arena, *dims)]
    block.add_op(func.ReturnOp(*results))
    plan = func.FuncOp(
        "main.plan",
        FunctionType.from_lists([_INDEX] * len(symbols), [_INDEX] * len(results)),
        Region(block),
    )
    plan.attributes[PLAN] = UnitAttr()
    return plan


__all__ = ["ALIGNMENT", "PLAN", "PlanMemory", "aligned", "plan_memory"]
