"""Sequential loops that update tensors: scatter, and whatever else carries tensors along.

A tensor that an `scf.for` carries is memory: the initial value is written there first, an
insertion stores into it, and what reads it loads from it. Iterations stay in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from xdsl.dialects import cf, memref, scf, tensor
from xdsl.dialects.builtin import DenseArrayBase, MemRefType, TensorType, i32
from xdsl.ir import Block, Operation, SSAValue

from .access import Access
from .emit import Emitter
from .expr import Load, Memory, walk
from .index import Ix
from .nest import write_nests, write_results
from .plan import Store, plan_stores
from .scalars import ScheduleError
from .shapes import kept_dims, row_major

Place = Callable[[SSAValue], Memory]


def write_loop(access: Access, e: Emitter, op: scf.ForOp, place: Place) -> None:
    """Write a loop over tensors; `place` gives the memory of its results."""
    memories = [place(r) for r in op.results]
    for init, memory in zip(op.iter_args, memories, strict=True):
        write_results(access, e, [(init, memory)])
    for result, memory in zip(op.results, memories, strict=True):
        access.memory[result] = memory
    _loop(access, e, op, memories)


def _loop(access: Access, e: Emitter, op: scf.ForOp, memories: Sequence[Memory]) -> None:
    """The loop itself, over memory that holds the initial values."""
    index, *carried = op.body.block.args
    lower, upper, step = (access.index_of(v) for v in (op.lb, op.ub, op.step))
    loop = access.space.loop(upper)
    access.bind(index, access.index(Ix.of(loop)))
    for arg, memory in zip(carried, memories, strict=True):
        access.memory[arg] = memory
        memory.deps |= loop.deps

    def body(_: SSAValue) -> Sequence[SSAValue]:
        _block(access, e, op.body.block, carried, memories)
        return ()

    e.for_((e.index(lower), e.index(upper), e.index(step)), loop, (), body)
    for memory in memories:
        memory.deps &= ~loop.deps


def _block(
    access: Access,
    e: Emitter,
    block: Block,
    carried: Sequence[SSAValue],
    memories: Sequence[Memory],
) -> None:
    """The body: checks, and the updates that lead to what it yields."""
    where = dict(zip(carried, memories, strict=True))
    for op in block.ops:
        match op:
            case cf.AssertOp():
                condition = e.value(access.scalar(op.arg))
                e.do(cf.AssertOp.create(operands=(condition,), properties=op.properties))
            case tensor.InsertOp() | tensor.InsertSliceOp():
                memory = where.get(op.dest)
                if memory is None:
                    continue  # A value of its own, computed where it is used.
                if isinstance(op, tensor.InsertOp):
                    at = tuple(access.index_of(v) for v in op.indices)
                    e.store(memory, at, access.scalar(op.scalar))
                else:
                    _write_slice(access, e, op, memory)
                _now(access, e, where, op.result, memory)
            case scf.ForOp():
                inner = [where.get(v) for v in op.iter_args]
                found = [m for m in inner if m is not None]
                if len(found) < len(inner):
                    raise ScheduleError(op, "carries a tensor that the outer loop does not")
                _loop(access, e, op, found)
                for result, memory in zip(op.results, found, strict=True):
                    _now(access, e, where, result, memory)
            case scf.YieldOp():
                for v, memory in zip(op.operands, memories, strict=True):
                    if where.get(v) is not memory:
                        raise ScheduleError(op, "must yield updates of the tensors it carries")


def _now(
    access: Access, e: Emitter, where: dict[SSAValue, Memory], value: SSAValue, memory: Memory
) -> None:
    """After an update `value` is what the memory holds; values read before are void."""
    where[value] = memory
    access.memory[value] = memory
    e.forget()


def _write_slice(access: Access, e: Emitter, op: tensor.InsertSliceOp, memory: Memory) -> None:
    """Store a tensor into a part of memory."""
    type_ = op.source.type
    assert isinstance(type_, TensorType)
    offsets = access.mixed(op.static_offsets.get_values(), op.offsets)
    strides = access.mixed(op.static_strides.get_values(), op.strides)
    kept = kept_dims(op.static_sizes.get_values(), type_.get_shape())
    shape = access.shape(op.source)
    loops = {d: access.space.loop(n) for d, n in enumerate(shape) if n.constant != 1}
    inner = [Ix.of(loops[d]) if d in loops else Ix(()) for d in range(len(shape))]
    at = list(offsets)
    for d, index in zip(kept, inner, strict=True):
        at[d] = offsets[d] + index * strides[d]
    value = access.at(op.source, tuple(inner))
    _check_reads(op, memory, at, [x for x in walk(value) if isinstance(x, Load)])
    nest = plan_stores(e, list(loops.values()), [Store(memory, tuple(at), value)])
    write_nests(e, [nest], parallel=False)


def _check_reads(op: Operation, memory: Memory, at: Sequence[Ix], loads: Sequence[Load]) -> None:
    """Elements must be replaced by what is computed from themselves, not from neighbours that
    may have been replaced already."""
    for x in loads:
        if x.memory is memory and x.indices != tuple(at):
            raise ScheduleError(op, "reads other elements of the tensor than it replaces")


MOST_SCRATCH = 1 << 16
"""Bytes of scratch that a kernel takes for a tensor inside it."""


def scratch(access: Access, e: Emitter, value: SSAValue) -> Memory:
    """Memory for a tensor that no result of the kernel holds."""
    type_ = value.type
    assert isinstance(type_, TensorType)
    shape = access.shape(value)
    extents = [n.constant for n in shape]
    known = [n for n in extents if n is not None]
    if len(known) < len(extents) or prod(known) * 8 > MOST_SCRATCH:
        owner = value.owner
        assert isinstance(owner, Operation)
        raise ScheduleError(owner, f"needs memory for {type_}, which is no result of the kernel")
    made = memref.AllocaOp.create(
        result_types=(MemRefType(type_.element_type, known),),
        properties={"operandSegmentSizes": DenseArrayBase.from_list(i32, [0, 0])},
    )
    e.stack[0].block.add_op(made)
    return Memory(made.results[0], type_.element_type, shape, row_major(shape), True)
