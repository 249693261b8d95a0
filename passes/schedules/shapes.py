"""The shapes of a kernel's tensors, and the memory that its memrefs are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from xdsl.dialects import bufferization, memref, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    TensorType,
)
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from .expr import Memory
from .index import ONE, ZERO, Ix, Space, product
from .scalars import Env, Indices, Scalars, ScheduleError


class Shapes(Scalars):
    """Knows the extents of tensors and memrefs. `memory` says which tensors live in memory."""

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.memory: dict[SSAValue, Memory] = {}
        self._shapes: dict[SSAValue, Indices] = {}
        self._sizes: dict[tuple[SSAValue, int], Ix] = {}
        self._memrefs: dict[SSAValue, Memory] = {}
        self._collapsed: dict[Any, Memory] = {}

    def memref(self, value: SSAValue) -> Memory:
        """A memref argument as memory."""
        found = self._memrefs.get(value)
        if found is None:
            if isinstance(value.owner, memref.CollapseShapeOp | memref.ExpandShapeOp):
                return self._view(value, value.owner)
            type_ = value.type
            assert isinstance(type_, MemRefType)
            shape = tuple(
                self._sizes.get((value, d)) or self.space.size(value, d)
                if extent == DYNAMIC_INDEX
                else Ix.of(extent)
                for d, extent in enumerate(type_.get_shape())
            )
            dense = isinstance(type_.layout, NoneAttr)
            strides = row_major(shape) if dense else self._strides(value, type_)
            found = Memory(value, type_.element_type, shape, strides, dense)
            self._memrefs[value] = found
        return found

    def _view(self, value: SSAValue, op: Any) -> Memory:
        """A reshape of a memref argument."""
        source = self.memref(op.src)
        type_ = op.result.type
        extents, runs = type_.get_shape(), groups(op)
        if isinstance(op, memref.ExpandShapeOp):
            shape = self.mixed(extents, op.output_shape)
        else:
            shape = tuple(product(source.shape[d] for d in run) for run in runs)
            shape = tuple(
                found if e == DYNAMIC_INDEX else Ix.of(e)
                for e, found in zip(extents, shape, strict=True)
            )
        made = Memory(
            value, source.element, shape, row_major(shape), True, source, tuple(map(tuple, runs))
        )
        self._memrefs[value] = made
        return made

    def _strides(self, value: SSAValue, type_: MemRefType) -> Indices:
        assert isinstance(type_.layout, StridedLayoutAttr)
        return tuple(
            self.space.size(value, -1 - d) if s is None or s == DYNAMIC_INDEX else Ix.of(s)
            for d, s in enumerate(type_.layout.get_strides())
        )

    def same_size(self, value: SSAValue, dim: int, extent: Ix) -> None:
        """State that a dynamic dimension of a memref argument has a known extent."""
        self._sizes.setdefault((value, dim), extent)

    def shape(self, value: SSAValue) -> Indices:
        """The extents of a tensor or memref."""
        found = self._shapes.get(value)
        if found is None:
            found = self._shapes[value] = self._find_shape(value)
        return found

    def _find_shape(self, value: SSAValue) -> Indices:
        known = self.memory.get(value)
        if known is not None:
            return known.shape
        type_, op = value.type, value.owner
        if isinstance(type_, MemRefType):
            return self.memref(value).shape
        assert isinstance(type_, TensorType)
        extents = type_.get_shape()
        if DYNAMIC_INDEX not in extents:
            return tuple(map(Ix.of, extents))
        match op:
            case bufferization.ToTensorOp():
                return self.memref(op.memref).shape
            case tensor.EmptyOp():
                sizes = iter(op.dynamic_sizes)
            case tensor.ExpandShapeOp():
                sizes = iter(op.dynamic_output_shape)
            case tensor.ExtractSliceOp():
                return self._slice_shape(op, extents)
            case _:
                return self._derived_shape(value, op, extents)
        return tuple(
            self.index_of(next(sizes)) if e == DYNAMIC_INDEX else Ix.of(e) for e in extents
        )

    def _slice_shape(self, op: tensor.ExtractSliceOp, extents: Sequence[int]) -> Indices:
        sizes = self.mixed(op.static_sizes.get_values(), op.sizes)
        return tuple(sizes[d] for d in kept_dims(op.static_sizes.get_values(), extents))

    def _derived_shape(self, value: SSAValue, op: Any, extents: Sequence[int]) -> Indices:
        match op:
            case tensor.CastOp():
                found = self.shape(op.source)
            case tensor.CollapseShapeOp():
                source = self.shape(op.src)
                found = tuple(product(source[d] for d in g) for g in groups(op))
            case tensor.PadOp():
                low = self.mixed(op.static_low.get_values(), op.low)
                high = self.mixed(op.static_high.get_values(), op.high)
                shape = self.shape(op.source)
                found = tuple(a + b + c for a, b, c in zip(low, shape, high, strict=True))
            case tensor.ConcatOp():
                shapes, axis = [self.shape(t) for t in op.inputs], op.dim.value.data
                total = _sum(s[axis] for s in shapes)
                found = tuple(total if d == axis else e for d, e in enumerate(shapes[0]))
            case tensor.InsertSliceOp() | tensor.InsertOp():
                found = self.shape(op.dest)
            case LinalgStructuredOperation():
                number = op.results.index(value)
                found = self.shape(op.outputs[number])
            case scf.ForOp():
                found = self.shape(op.iter_args[op.results.index(value)])
            case Block():
                loop = op.parent_op()
                if not isinstance(value, BlockArgument) or not isinstance(loop, scf.ForOp):
                    raise ScheduleError(_owner(value), f"unknown sizes of {value.type}")
                found = self.shape(loop.iter_args[value.index - 1])
            case Operation() if op.operands:
                found = self.shape(op.operands[0])
            case _:
                raise ScheduleError(_owner(value), f"unknown sizes of {value.type}")
        return tuple(
            f if e == DYNAMIC_INDEX else Ix.of(e) for f, e in zip(found, extents, strict=True)
        )

    def mixed(
        self,
        static: Sequence[int],
        dynamic: Sequence[SSAValue],
        env: Env | None = None,
    ) -> Indices:
        """Static numbers, with the dynamic values in the places that ask for them."""
        rest = iter(dynamic)
        return tuple(
            self.index_of(next(rest), env) if s == DYNAMIC_INDEX else Ix.of(s) for s in static
        )

    def collapsed(self, memory: Memory, indices: Indices) -> tuple[Memory, Indices]:
        """Memory with adjacent dimensions joined where their indices recombine into a simpler
        one: [m floordiv B, m mod B] is m."""
        runs: list[list[int]] = []
        joined: list[Ix] = []
        for d, index in enumerate(indices):
            if joined and (divides(joined[-1]) or divides(index)):
                whole = joined[-1] * memory.shape[d] + index
                if len(whole.terms) < len(joined[-1].terms) + len(index.terms) or (
                    not divides(whole)
                ):
                    joined[-1] = whole
                    runs[-1].append(d)
                    continue
            joined.append(index)
            runs.append([d])
        if len(runs) == len(indices):
            return memory, indices
        key = (id(memory), tuple(map(tuple, runs)))
        found = self._collapsed.get(key)
        if found is None:
            shape = tuple(product(memory.shape[d] for d in run) for run in runs)
            found = Memory(
                memory.memref, memory.element, shape, row_major(shape), True, memory, key[1]
            )
            self._collapsed[key] = found
        return found, tuple(joined)


def row_major(shape: Sequence[Ix]) -> Indices:
    """The strides of a contiguous array."""
    strides, total = [], ONE
    for extent in reversed(shape):
        strides.append(total)
        total = total * extent
    return tuple(reversed(strides))


def groups(op: Any) -> list[list[int]]:
    """The reassociation of a reshape."""
    return [[i.value.data for i in group.data] for group in op.reassociation.data]


def kept_dims(sizes: Sequence[int], result: Sequence[int]) -> list[int]:
    """The dimensions of a slice that its result keeps when it drops some of size 1."""
    excess, kept = len(sizes) - len(result), []
    for d, n in enumerate(sizes):
        follows = len(kept) < len(result) and result[len(kept)] == n
        if n == 1 and excess and not (follows and _enough_units(sizes[d + 1 :], excess)):
            excess -= 1
        else:
            kept.append(d)
    return kept


def _enough_units(sizes: Sequence[int], count: int) -> bool:
    return sum(n == 1 for n in sizes) >= count


def divides(index: Ix) -> bool:
    """Whether an index has quotients or remainders."""
    return any(a.kind in ("floordiv", "mod") for m, _ in index.terms for a in m)


def _owner(value: SSAValue) -> Operation:
    owner = value.owner
    found = owner if isinstance(owner, Operation) else owner.parent_op()
    assert found is not None
    return found


def _sum(terms: Iterable[Ix]) -> Ix:
    total = ZERO
    for term in terms:
        total = total + term
    return total
