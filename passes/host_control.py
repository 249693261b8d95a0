"""scf operations of `@main` in the host function: loops and branches over buffers.

What a loop carries has one buffer for the whole loop, and each step ends by copying the new
values there; a stack is filled slice by slice in place. A branch copies its results to buffers
that both branches share. Temporary buffers of a step belong to the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from xdsl.dialects import arith, func, memref, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    MemRefType,
    StridedLayoutAttr,
    TensorType,
    i1,
    i32,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from ..ir.types import Shape
from .dims import DIMS, shape_from
from .storage import buffer_type

if TYPE_CHECKING:
    from .bufferize import Host

CONTROL = (scf.ForOp, scf.IfOp, scf.WhileOp)
VIEWS = (tensor.CollapseShapeOp, tensor.ExpandShapeOp, tensor.CastOp)
STEPS = (func.CallOp, *CONTROL)
_EMPTY = (tensor.EmptyOp,)
Copy: TypeAlias = tuple[SSAValue, SSAValue]


def shapes_of(op: Operation) -> list[Shape | None]:
    """The symbolic sizes of the results of an scf operation."""
    given = op.attributes.get(DIMS)
    if isinstance(given, ArrayAttr):
        return [shape_from(dims) for dims in given]
    types = [cast("TensorType[Attribute]", r.type).get_shape() for r in op.results]
    return [None if DYNAMIC_INDEX in t else tuple(t) for t in types]


def calls_in(op: Operation) -> Iterator[func.CallOp]:
    """The calls in an operation, itself included."""
    return (inner for inner in op.walk() if isinstance(inner, func.CallOp))


def captured(op: Operation) -> list[SSAValue]:
    """The values from outside that an operation's regions read."""
    found: dict[SSAValue, None] = {}
    for inner in op.walk():
        for v in inner.operands if inner is not op else ():
            if not op.is_ancestor(v.owner):
                found.setdefault(v)
    return list(found)


def emit_control(host: Host, op: Operation) -> None:
    """Add an scf operation of main to the host function's current block."""
    for v in captured(op):
        # What regions share must exist before them.
        if not isinstance(v.owner, _EMPTY):
            host.value(v)
    results = _buffers(host, op)
    if isinstance(op, scf.ForOp):
        _for(host, op, results)
    elif isinstance(op, scf.IfOp):
        _if(host, op, results)
    else:
        assert isinstance(op, scf.WhileOp)
        _while(host, op, results)
    host.values.update(zip(op.results, results, strict=True))


def _buffers(host: Host, op: Operation) -> list[SSAValue]:
    """Memory for each result: an output's where the result is one."""
    made: list[SSAValue] = []
    for result, shape in zip(op.results, shapes_of(op), strict=True):
        if shape is None:
            raise ValueError(f"a result of '{op.name}' of type {result.type} needs {DIMS}")
        k, type_ = host.dest.get(result), buffer_type(result.type)
        buffer = host.alloc(shape, type_) if k is None else host.within(k, shape, type_)
        buffer.name_hint = buffer.name_hint or result.name_hint
        made.append(buffer)
    return made


def _start(host: Host, inits: Sequence[SSAValue], buffers: Sequence[SSAValue]) -> None:
    for init, buffer in zip(inits, buffers, strict=True):
        if not isinstance(init.owner, _EMPTY):
            copy(host, host.value(init), buffer)


def _for(host: Host, op: scf.ForOp, buffers: Sequence[SSAValue]) -> None:
    bounds = [host.value(v) for v in (op.lb, op.ub, op.step)]
    _start(host, op.iter_args, buffers)
    old = op.body.block
    block = Block(arg_types=[bounds[0].type])
    host.values[old.args[0]] = block.args[0]
    with host.into(block):
        last = _body(host, old, old.args[1:], buffers)
        _carry(host, last.operands, old.args[1:], buffers)
        block.add_op(scf.YieldOp())
    host.add(scf.ForOp.create(operands=bounds, regions=[Region(block)]), op)


def _if(host: Host, op: scf.IfOp, buffers: Sequence[SSAValue]) -> None:
    condition = host.value(op.cond)
    regions: list[Region] = []
    for region in op.regions:
        block = Block()
        with host.into(block):
            last = _body(host, region.block, (), ())
            for value, buffer in zip(last.operands, buffers, strict=True):
                copy(host, host.value(value), buffer)
            block.add_op(scf.YieldOp())
        regions.append(Region(block))
    host.add(scf.IfOp.create(operands=(condition,), regions=regions), op)


def _while(host: Host, op: scf.WhileOp, buffers: Sequence[SSAValue]) -> None:
    _start(host, op.operands, buffers)
    before, after = (r.block for r in op.regions)
    test, body = Block(), Block()
    with host.into(test):
        last = _body(host, before, before.args, buffers)
        assert isinstance(last, scf.ConditionOp)
        if list(last.args) != list(before.args):
            raise ValueError("the test of a loop in @main must pass on what it is given")
        test.add_op(scf.ConditionOp.create(operands=(host.value(last.condition),)))
    with host.into(body):
        last = _body(host, after, after.args, buffers)
        _carry(host, last.operands, after.args, buffers)
        body.add_op(scf.YieldOp())
    host.add(scf.WhileOp.create(regions=[Region(test), Region(body)]), op)


def _body(
    host: Host, old: Block, args: Sequence[SSAValue], buffers: Sequence[SSAValue]
) -> Operation:
    """Add the calls of a region; its terminator. Everything else is made where it is needed."""
    host.values.update(zip(args, buffers, strict=True))
    last = old.last_op
    assert last is not None
    for op in old.ops:
        if isinstance(op, func.CallOp):
            host.call(op)
        elif isinstance(op, CONTROL):
            emit_control(host, op)
    return last


def _carry(
    host: Host,
    values: Sequence[SSAValue],
    args: Sequence[SSAValue],
    buffers: Sequence[SSAValue],
) -> None:
    """Bring what a step yields to where the next step finds it."""
    late: list[Copy] = []
    for value, arg, buffer in zip(values, args, buffers, strict=True):
        owner = value.owner
        if value is arg:
            continue
        if isinstance(owner, tensor.InsertSliceOp) and owner.dest is arg:
            copy(host, host.value(owner.source), _window(host, owner, buffer))
            continue
        source = host.value(value)
        if _shares(value) in args:  # carried on in another place: saved before it is replaced
            source = _saved(host, source, value)
        late.append((source, buffer))
    for source, buffer in late:
        copy(host, source, buffer)


def _shares(value: SSAValue) -> SSAValue:
    """The value whose memory a view shares."""
    while isinstance(value.owner, VIEWS):
        value = value.owner.operands[0]
    return value


def _saved(host: Host, source: SSAValue, value: SSAValue) -> SSAValue:
    type_ = buffer_type(value.type)
    axes = [d for d, n in enumerate(type_.get_shape()) if n == DYNAMIC_INDEX]
    sizes: list[SSAValue] = []
    for axis in axes:
        index = host.size(axis)
        made = memref.DimOp.create(operands=(source, index), result_types=(index.type,))
        sizes.append(host.add(made)[0])
    saved = _scratch(host, type_, sizes)
    copy(host, source, saved)
    return saved


def _scratch(host: Host, type_: MemRefType, sizes: Sequence[SSAValue]) -> SSAValue:
    segments = DenseArrayBase.from_list(i32, [len(sizes), 0])
    made = memref.AllocOp.create(
        operands=sizes, result_types=(type_,), properties={"operandSegmentSizes": segments}
    )
    return host.add(made)[0]


def copy(host: Host, source: SSAValue, target: SSAValue) -> None:
    """Copy one buffer to another of the same shape."""
    host.add(memref.CopyOp.create(operands=(source, target)))


def _window(host: Host, op: Any, buffer: SSAValue) -> SSAValue:
    """The part of a buffer that a slice operation means."""
    dynamic = [[host.value(v) for v in g] for g in (op.offsets, op.sizes, op.strides)]
    properties = {
        name: op.properties[name] for name in ("static_offsets", "static_sizes", "static_strides")
    }
    counts = [1, *(len(g) for g in dynamic)]
    properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, counts)
    source = cast("MemRefType", buffer.type)
    strides: list[int | None] = []
    step: int | None = 1
    for n, s in zip(
        reversed(source.get_shape()), reversed(op.static_strides.get_values()), strict=True
    ):
        strides.append(None if step is None or s == DYNAMIC_INDEX else step * s)
        step = None if step is None or n == DYNAMIC_INDEX else step * n
    layout = StridedLayoutAttr(list(reversed(strides)), None)
    type_ = MemRefType(source.element_type, op.static_sizes.get_values(), layout)
    made = memref.SubviewOp.create(
        operands=[buffer, *(v for g in dynamic for v in g)],
        result_types=(type_,),
        properties=properties,
    )
    return host.add(made)[0]


def slice_buffer(host: Host, op: tensor.ExtractSliceOp) -> SSAValue:
    """A copy of a slice, in memory of its own, for kernels ask for aligned contiguous buffers."""
    window = _window(host, op, host.value(op.source))
    made = _scratch(host, buffer_type(op.result.type), [host.value(v) for v in op.sizes])
    copy(host, window, made)
    return made


def element(host: Host, op: tensor.ExtractOp) -> SSAValue:
    """One element of a buffer; a bool is stored as a byte."""
    source = host.value(op.tensor)
    type_ = cast("MemRefType", source.type).element_type
    indices = [host.value(v) for v in op.indices]
    made = memref.LoadOp.create(operands=(source, *indices), result_types=(type_,))
    value = host.add(made)[0]
    if op.result.type == i1:
        value = host.add(arith.TruncIOp.create(operands=(value,), result_types=(i1,)))[0]
    return value
