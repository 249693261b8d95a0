"""`memref` to LLVM IR: descriptors are folded away, only addresses remain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING, Any

from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType
from xdsl.ir import Operation, SSAValue

from .errors import CodegenError
from .llvm import Fn, is_literal, size
from .types import MemRef, element_type, is_strided, row_major, static_strides

if TYPE_CHECKING:
    from .emit import Emitter

NONTEMPORAL = "i32 1"


def alloca(e: Emitter, op: memref.AllocaOp) -> None:
    """Scratch of the function or of the task: on the stack, or in the memory of the call."""
    ty = op.memref.type
    assert isinstance(ty, MemRefType)
    if not ty.has_static_shape() or is_strided(ty):
        raise CodegenError.at(op, f"scratch memory must have a static shape, but is {ty}")
    element = element_type(ty)
    offset = e.scratch.offsets.get(op)
    if offset is None:
        ptr = e.f.alloca(element, prod(ty.get_shape()))
    else:
        ptr = e.f.gep("i8", e.scratch.own, str(offset))
    sizes = tuple(map(str, ty.get_shape()))
    e.memrefs[op.memref] = MemRef.contiguous(e.f, ptr, element, sizes)


def load(e: Emitter, op: memref.LoadOp) -> None:
    m = e.memrefs[op.memref]
    ptr = m.address(e.f, e.operands(op.indices))
    e.set(op, e.f.load(m.element, ptr, metadata=nontemporal(e, op)))


def store(e: Emitter, op: memref.StoreOp) -> None:
    m = e.memrefs[op.memref]
    ptr = m.address(e.f, e.operands(op.indices))
    e.f.store(m.element, e.values[op.value], ptr, metadata=nontemporal(e, op))


def nontemporal(e: Emitter, op: Operation) -> str:
    """Metadata of accesses that bypass the caches."""
    flag = op.properties.get("nontemporal")
    if flag is None or not flag.value.data:  # pyright: ignore[reportAttributeAccessIssue]
        return ""
    e.f.unordered = True
    return f", !nontemporal {e.f.module.metadata(NONTEMPORAL)}"


def alignment(op: Operation) -> int:
    """The bytes to which an access says that it is aligned, 0 if it does not: a whole vector can
    then be one access where misaligned ones do not exist."""
    stated = op.attributes.get("alignment")
    return stated.value.data if isinstance(stated, IntegerAttr) else 0


def dim(e: Emitter, op: memref.DimOp) -> None:
    index = e.values[op.index]
    if not is_literal(index):
        raise CodegenError.at(op, "the dimension must be a constant")
    e.set(op, e.memrefs[op.source].sizes[int(index)])


def view(e: Emitter, op: memref.ViewOp) -> None:
    source, ty = e.memrefs[op.source], op.result.type
    assert isinstance(ty, MemRefType)
    ptr = e.f.gep("i8", source.ptr, e.values[op.byte_shift])
    sizes = _mixed(e, ty.get_shape(), op.sizes)
    e.memrefs[op.result] = MemRef.contiguous(e.f, ptr, element_type(ty), sizes)


def subview(e: Emitter, op: memref.SubviewOp) -> None:
    f, source, ty = e.f, e.memrefs[op.source], op.result.type
    assert isinstance(ty, MemRefType)
    offsets = _mixed(e, op.static_offsets.get_values(), op.offsets)
    sizes = _mixed(e, op.static_sizes.get_values(), op.sizes)
    steps = _mixed(e, op.static_strides.get_values(), op.strides)
    strides = tuple(f.mul("i64", a, b) for a, b in zip(source.strides, steps, strict=True))
    kept = _kept_dims(op, ty, sizes, strides)
    e.memrefs[op.result] = MemRef(
        source.address(f, list(offsets), inbounds=False),
        source.base,
        source.element,
        tuple(sizes[d] for d in kept),
        tuple(strides[d] for d in kept),
    )


def _kept_dims(
    op: Operation, ty: MemRefType, sizes: tuple[str, ...], strides: tuple[str, ...]
) -> Sequence[int]:
    """The dimensions that a subview's result keeps, when it drops some of extent 1."""
    rank = ty.get_num_dims()
    if rank == len(sizes):
        return range(rank)
    units = [d for d, extent in enumerate(sizes) if extent == "1"]
    for dropped in combinations(units, len(sizes) - rank):
        kept = [d for d in range(len(sizes)) if d not in dropped]
        if _matches(ty.get_shape(), [sizes[d] for d in kept]) and _matches(
            static_strides(ty), [strides[d] for d in kept]
        ):
            return kept
    raise CodegenError.at(op, f"{ty} does not follow from the slice by dropping dimensions")


def _matches(static: Sequence[int | None], values: Sequence[str]) -> bool:
    """Whether static extents agree with the values; what is dynamic on one side always does."""
    return all(
        s is None or s == DYNAMIC_INDEX or not is_literal(v) or s == int(v)
        for s, v in zip(static, values, strict=True)
    )


def cast(e: Emitter, op: memref.CastOp) -> None:
    """Keeps the descriptor; what the new type states statically becomes literal."""
    source, ty = e.memrefs[op.source], op.dest.type
    if not isinstance(ty, MemRefType):
        raise CodegenError.at(op, "unranked memrefs are not supported")
    sizes = tuple(
        v if s == DYNAMIC_INDEX else str(s)
        for s, v in zip(ty.get_shape(), source.sizes, strict=True)
    )
    strides = tuple(
        v if s is None else str(s) for s, v in zip(static_strides(ty), source.strides, strict=True)
    )
    e.memrefs[op.dest] = MemRef(source.ptr, source.base, source.element, sizes, strides)


def reinterpret_cast(e: Emitter, op: memref.ReinterpretCastOp) -> None:
    """New extents and strides, counted from the buffer's first element."""
    source = e.memrefs[op.source]
    (offset,) = _mixed(e, op.static_offsets.get_values(), op.offsets)
    e.memrefs[op.result] = MemRef(
        e.f.gep(source.element, source.base, offset, inbounds=False),
        source.base,
        source.element,
        _mixed(e, op.static_sizes.get_values(), op.sizes),
        _mixed(e, op.static_strides.get_values(), op.strides),
    )


def collapse_shape(e: Emitter, op: memref.CollapseShapeOp) -> None:
    """A group's stride is that of its innermost dimension that is not 1 by type."""
    f, source = e.f, e.memrefs[op.src]
    sizes, strides = [], []
    for group in _groups(op):
        extent = "1"
        for d in group:
            extent = f.mul("i64", extent, source.sizes[d])
        wide = [d for d in group if source.sizes[d] != "1"]
        sizes.append(extent)
        strides.append(source.strides[wide[-1] if wide else group[-1]])
    e.memrefs[op.result] = _reshaped(source, sizes, strides)


def expand_shape(e: Emitter, op: memref.ExpandShapeOp) -> None:
    f, source = e.f, e.memrefs[op.src]
    sizes = _mixed(e, op.static_output_shape.get_values(), op.output_shape)
    strides = [""] * len(sizes)
    for outer, group in enumerate(_groups(op)):
        stride = source.strides[outer]
        for d in reversed(group):
            strides[d] = stride
            stride = f.mul("i64", stride, sizes[d])
    if not source.sizes:
        strides = list(row_major(f, sizes))
    e.memrefs[op.result] = _reshaped(source, sizes, strides)


def _groups(op: memref.CollapseShapeOp | memref.ExpandShapeOp) -> list[list[int]]:
    return [[index.value.data for index in group] for group in op.reassociation]


def _reshaped(source: MemRef, sizes: Sequence[str], strides: Sequence[str]) -> MemRef:
    return MemRef(source.ptr, source.base, source.element, tuple(sizes), tuple(strides))


def copy(e: Emitter, op: memref.CopyOp) -> None:
    """One block where both sides are contiguous, otherwise a loop per dimension."""
    f, source, target = e.f, e.memrefs[op.source], e.memrefs[op.destination]
    dense = row_major(f, source.sizes)
    if source.strides == dense and target.strides == row_major(f, target.sizes):
        count = "1"
        for extent in source.sizes:
            count = f.mul("i64", count, extent)
        length = f.mul("i64", count, str(size(source.element)))
        args = [("ptr", target.ptr), ("ptr", source.ptr), ("i64", length), ("i1", "false")]
        f.call("void", "llvm.memcpy.p0.p0.i64", args)
    else:
        _copy_strided(f, source, target, [])


def _copy_strided(f: Fn, source: MemRef, target: MemRef, indices: list[str]) -> None:
    if len(indices) == len(source.sizes):
        value = f.load(source.element, source.address(f, indices))
        f.store(target.element, value, target.address(f, indices))
        return
    with f.loop("0", source.sizes[len(indices)]) as loop:
        _copy_strided(f, source, target, [*indices, loop.index])


def alloc(e: Emitter, op: memref.AllocOp) -> None:
    raise CodegenError.at(op, "buffers must have been planned into the arena (plan-memory)")


def _mixed(e: Emitter, static: Sequence[int], dynamic: Sequence[SSAValue]) -> tuple[str, ...]:
    """Static numbers, with the dynamic values in the places that ask for them."""
    rest = iter(dynamic)
    return tuple(e.values[next(rest)] if s == DYNAMIC_INDEX else str(s) for s in static)


HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    memref.AllocOp: alloc,
    memref.AllocaOp: alloca,
    memref.LoadOp: load,
    memref.StoreOp: store,
    memref.DimOp: dim,
    memref.ViewOp: view,
    memref.SubviewOp: subview,
    memref.CastOp: cast,
    memref.ReinterpretCastOp: reinterpret_cast,
    memref.CollapseShapeOp: collapse_shape,
    memref.ExpandShapeOp: expand_shape,
    memref.CopyOp: copy,
}
