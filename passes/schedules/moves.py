"""Elements of tensors that other tensors are moved, joined and cut into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, TensorType
from xdsl.ir import Operation

from .expr import Expr, Guards, Range
from .index import ONE, ZERO, Ix, linearize
from .scalars import Env, Indices, ScheduleError, holds
from .shapes import groups, kept_dims

if TYPE_CHECKING:
    from .access import Access


def constant(access: Access, op: arith.ConstantOp, indices: Indices) -> Expr:
    value, type_ = op.value, op.result.type
    assert isinstance(value, DenseIntOrFPElementsAttr) and isinstance(type_, TensorType)
    numbers: Any = value.get_values()
    if value.is_splat():
        return access.number(numbers[0], type_.element_type)
    flat = linearize(indices, access.shape(op.result))
    element: Expr = access.number(numbers[-1], type_.element_type)
    for n in reversed(range(len(numbers) - 1)):
        here = (Range(flat, Ix.of(n), Ix.of(n + 1)),)
        element = access.choose(here, access.number(numbers[n], type_.element_type), element)
    return element


def extract_slice(
    access: Access, op: tensor.ExtractSliceOp, indices: Indices, guards: Guards
) -> Expr:
    result = op.result.type
    assert isinstance(result, TensorType)
    kept = kept_dims(op.static_sizes.get_values(), result.get_shape())
    full = [ZERO] * len(op.static_sizes)
    for d, i in zip(kept, indices, strict=True):
        full[d] = i
    offsets = access.mixed(op.static_offsets.get_values(), op.offsets)
    strides = access.mixed(op.static_strides.get_values(), op.strides)
    source = tuple(o + s * i for o, s, i in zip(offsets, strides, full, strict=True))
    return access.at(op.source, source, guards)


def insert_slice(
    access: Access, op: tensor.InsertSliceOp, indices: Indices, guards: Guards
) -> Expr:
    source_type = op.source.type
    assert isinstance(source_type, TensorType)
    static = op.static_sizes.get_values()
    offsets = access.mixed(op.static_offsets.get_values(), op.offsets)
    sizes = access.mixed(static, op.sizes)
    strides = access.mixed(op.static_strides.get_values(), op.strides)
    inside: list[Range] = []
    source: list[Ix] = []
    for i, o, n, s in zip(indices, offsets, sizes, strides, strict=True):
        inside.append(Range(i, o, o + (n - ONE) * s + ONE))
        if s.constant != 1:
            inside.append(Range(access.space.mod(i - o, s), ZERO, ONE))
        source.append(access.space.floordiv(i - o, s))
    kept = kept_dims(static, source_type.get_shape())
    needed = tuple(g for g in inside if not holds(g))
    new = access.at(op.source, tuple(source[d] for d in kept), guards + needed)
    return access.choose(needed, new, access.at(op.dest, indices, guards))


def pad(access: Access, op: tensor.PadOp, indices: Indices, guards: Guards) -> Expr:
    low = access.mixed(op.static_low.get_values(), op.low)
    shape = access.shape(op.source)
    source = tuple(i - p for i, p in zip(indices, low, strict=True))
    inside = tuple(
        Range(i, ZERO, n)
        for i, n, p, q in zip(source, shape, low, access.shape(op.result), strict=True)
        if not (p.constant == 0 and n == q)
    )
    block = op.region.block
    env: Env = {arg: access.index(i) for arg, i in zip(block.args, indices, strict=True)}
    outside = access.body(block, env, (), guards)[0]
    return access.choose(inside, access.at(op.source, source, guards + inside), outside)


def concat(access: Access, op: tensor.ConcatOp, indices: Indices, guards: Guards) -> Expr:
    axis = op.dim.value.data
    starts = [ZERO]
    for t in op.inputs:
        starts.append(starts[-1] + access.shape(t)[axis])
    result: Expr | None = None
    parts = list(zip(op.inputs, pairwise(starts), strict=True))
    for t, (start, stop) in reversed(parts):
        here = (Range(indices[axis], start, stop),)
        moved = (*indices[:axis], indices[axis] - start, *indices[axis + 1 :])
        element = access.at(t, moved, guards + here)
        result = element if result is None else access.choose(here, element, result)
    assert result is not None
    return result


def collapse_shape(
    access: Access, op: tensor.CollapseShapeOp, indices: Indices, guards: Guards
) -> Expr:
    shape = access.shape(op.src)
    source: list[Ix] = [ZERO] * len(shape)
    for index, group in zip(indices, groups(op), strict=False):
        parts = access.space.delinearize(index, [shape[d] for d in group])
        for d, part in zip(group, parts, strict=True):
            source[d] = part
    return access.at(op.src, tuple(source), guards)


def expand_shape(
    access: Access, op: tensor.ExpandShapeOp, indices: Indices, guards: Guards
) -> Expr:
    shape = access.shape(op.result)
    source = tuple(linearize([indices[d] for d in g], [shape[d] for d in g]) for g in groups(op))
    return access.at(op.src, source, guards)


def insert(access: Access, op: tensor.InsertOp, indices: Indices, guards: Guards) -> Expr:
    at = [access.index_of(v) for v in op.indices]
    here = tuple(Range(i, j, j + ONE) for i, j in zip(indices, at, strict=True))
    return access.choose(here, access.scalar(op.scalar), access.at(op.dest, indices, guards))


def extract(access: Access, op: tensor.ExtractOp, indices: Sequence[Ix], guards: Guards) -> Expr:
    """An element whose indices may come from data: never read out of bounds."""
    unsure = tuple(
        Range(i, ZERO, n)
        for i, n in zip(indices, access.shape(op.tensor), strict=True)
        if any(a.kind == "data" for m, _ in i.terms for a in m)
    )
    return access.at(op.tensor, tuple(indices), guards + unsure)


# ---- bodies ---------------------------------------------------------------------------------


def from_elements(
    access: Access, op: tensor.FromElementsOp, indices: Indices, guards: Guards
) -> Expr:
    number = linearize(indices, access.shape(op.result)).constant
    if number is None:
        raise ScheduleError(op, "the index must be a constant")
    return access.scalar(op.elements[number])


MOVES: dict[type[Operation], Callable[[Access, Any, Indices, Guards], Expr]] = {
    tensor.ExtractSliceOp: extract_slice,
    tensor.InsertSliceOp: insert_slice,
    tensor.PadOp: pad,
    tensor.ConcatOp: concat,
    tensor.CollapseShapeOp: collapse_shape,
    tensor.ExpandShapeOp: expand_shape,
    tensor.InsertOp: insert,
    tensor.FromElementsOp: from_elements,
}
