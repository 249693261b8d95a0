"""From tensors to elements: what a tensor of a kernel holds at an index, as an expression.

Nothing is computed into temporary tensors. Asked for an element, `Access.at` goes back through
the operations that make it: a `linalg.generic` maps the index and inlines its body, a slice adds
its offset, a pad chooses between the border and a guarded element, a reshape renumbers. What is
left are loads from the kernel's memrefs, arithmetic, and reductions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from xdsl.dialects import arith, bufferization, cf, math, memref, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    TensorType,
    i1,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from .expr import (
    INDEX,
    Apply,
    Check,
    Choose,
    Const,
    Expr,
    Guards,
    IndexOf,
    Load,
    Memory,
    Param,
    Range,
)
from .generic import Generic
from .index import ONE, ZERO, Ix, Space, fits, linearize, product

Indices = tuple[Ix, ...]


class ScheduleError(Exception):
    """A kernel that the schedules cannot compile; `op` is the operation at fault."""

    def __init__(self, op: Operation, message: str) -> None:
        super().__init__(f"{op.name}: {message}")
        self.op = op


@dataclass(slots=True)
class Access:
    """The elements of a kernel's tensors. `memory` says which tensors live in memory; `lanes`
    gives the number of lanes over which a reduction in a type is interleaved, and `contract`
    whether sums of products are products of matrices (None: not known)."""

    space: Space
    lanes: Callable[[Attribute], int]
    contract: bool | None = None
    memory: dict[SSAValue, Memory] = field(default_factory=dict)
    _values: dict[Any, Expr] = field(default_factory=dict)
    _shapes: dict[SSAValue, Indices] = field(default_factory=dict)
    _sizes: dict[tuple[SSAValue, int], Ix] = field(default_factory=dict)
    _memrefs: dict[SSAValue, Memory] = field(default_factory=dict)
    _generics: dict[Operation, Generic] = field(default_factory=dict)
    _collapsed: dict[Any, Memory] = field(default_factory=dict)

    # ---- expressions, each made once --------------------------------------------------------

    def const(self, value: Attribute, type_: Attribute) -> Expr:
        key = (Const, value, type_)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = Const(type_, 0, value)
        return found

    def number(self, value: int | float, type_: Attribute) -> Expr:
        """A constant of a scalar type."""
        if isinstance(type_, IntegerType | IndexType):
            return self.const(IntegerAttr(int(value), type_), type_)
        return self.const(FloatAttr(float(value), type_), type_)

    def index(self, index: Ix) -> Expr:
        key = (IndexOf, index)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = IndexOf(INDEX, index.deps, index)
        return found

    def load(self, memory: Memory, indices: Indices, guards: Guards) -> Expr:
        key = (Load, id(memory), memory.deps, indices, guards)
        found = self._values.get(key)
        if found is None:
            deps = memory.deps
            for i in indices:
                deps |= i.deps
            for g in guards:
                deps |= g.deps
            found = self._values[key] = Load(memory.element, deps, memory, indices, guards)
        return found

    def apply(self, op: Operation, args: tuple[Expr, ...], type_: Attribute) -> Expr:
        key = (Apply, op, args)
        found = self._values.get(key)
        if found is None:
            deps = 0
            for a in args:
                deps |= a.deps
            found = self._values[key] = Apply(type_, deps, op, args)
        return found

    def choose(self, guards: Guards, inside: Expr, outside: Expr) -> Expr:
        kept = tuple(g for g in guards if not _holds(g))
        if not kept:
            return inside
        key = (Choose, kept, inside, outside)
        found = self._values.get(key)
        if found is None:
            deps = inside.deps | outside.deps
            for g in kept:
                deps |= g.deps
            found = self._values[key] = Choose(inside.type, deps, kept, inside, outside)
        return found

    # ---- scalars ------------------------------------------------------------------------------

    def scalar(self, value: SSAValue, env: dict[SSAValue, Expr] | None = None) -> Expr:
        """A scalar SSA value outside of bodies, or inside of one with values `env`."""
        if env is not None:
            found = env.get(value)
            if found is not None:
                return found
        key = (Param, value)
        found = self._values.get(key)
        if found is not None:
            return found
        owner = value.owner
        if isinstance(value, BlockArgument):
            if isinstance(value.type, IndexType):
                made = self.index(self.space.value(value))
            else:
                made = Param(value.type, 0, value)
        else:
            assert isinstance(owner, Operation)
            made = self.operation(owner, [self.scalar(v, env) for v in _scalars(owner)], ())
        self._values[key] = made
        return made

    def bind(self, value: SSAValue, e: Expr) -> None:
        """Say what a scalar is: an index of a loop, for example."""
        self._values[Param, value] = e

    def as_index(self, e: Expr) -> Ix:
        """An expression of type index as an index."""
        match e:
            case IndexOf():
                return e.index
            case Const(value=IntegerAttr()):
                return Ix.of(e.value.value.data)
            case Apply(op=arith.IndexCastOp(), args=(Apply(op=arith.IndexCastOp(), args=(x,)),)):
                if isinstance(x, IndexOf):
                    return x.index
        return self.space.data(e)

    def index_of(self, value: SSAValue, env: dict[SSAValue, Expr] | None = None) -> Ix:
        return self.as_index(self.scalar(value, env))

    def operation(self, op: Operation, args: list[Expr], guards: Guards) -> Expr:
        """The result of a scalar operation."""
        match op:
            case arith.ConstantOp():
                if isinstance(op.value, IntegerAttr) and isinstance(op.result.type, IndexType):
                    return self.index(Ix.of(op.value.value.data))
                return self.const(op.value, op.result.type)
            case tensor.DimOp() | memref.DimOp():
                index = self.as_index(self.scalar(op.index)).constant
                if index is None:
                    raise ScheduleError(op, "the dimension must be a constant")
                return self.index(self.shape(op.source)[index])
            case tensor.ExtractOp():
                return self.extract(op, [self.as_index(a) for a in args], guards)
        type_ = op.results[0].type
        if isinstance(type_, IndexType):
            folded = self._index_arithmetic(op, args)
            if folded is not None:
                return self.index(folded)
        if isinstance(op, arith.TruncIOp) and type_ == i1:
            (x,) = args
            if isinstance(x, Apply) and isinstance(x.op, arith.ExtUIOp) and x.args[0].type == i1:
                return x.args[0]
            if isinstance(x, Const) and isinstance(x.value, IntegerAttr):
                return self.const(IntegerAttr(-(x.value.value.data & 1), i1), i1)
        if isinstance(op, arith.IndexCastOp) and isinstance(args[0], Const):
            number = args[0].value
            assert isinstance(number, IntegerAttr)
            if isinstance(type_, IndexType):
                return self.index(Ix.of(number.value.data))
            return self.const(IntegerAttr(number.value.data, type_), type_)
        if op.regions or len(op.results) != 1:
            raise ScheduleError(op, "is not supported in a kernel")
        return self.apply(op, tuple(args), type_)

    def _index_arithmetic(self, op: Operation, args: list[Expr]) -> Ix | None:
        """The polynomial for arithmetic on indices; None where it has none."""
        if isinstance(op, arith.IndexCastOp):
            x = args[0]
            inner = isinstance(x, Apply) and isinstance(x.op, arith.IndexCastOp)
            return x.args[0].index if inner and isinstance(x.args[0], IndexOf) else None
        if len(args) != 2 or not all(isinstance(a, IndexOf) for a in args):
            return None
        x, y = (self.as_index(a) for a in args)
        match op:
            case arith.AddiOp():
                return x + y
            case arith.SubiOp():
                return x - y
            case arith.MuliOp():
                return x * y
            case arith.FloorDivSIOp() | arith.DivUIOp() | arith.DivSIOp():
                return self.space.floordiv(x, y)
            case arith.CeilDivSIOp() | arith.CeilDivUIOp():
                return self.space.floordiv(x + y - ONE, y)
            case arith.RemUIOp() | arith.RemSIOp():
                return self.space.mod(x, y)
            case arith.MinSIOp() | arith.MinUIOp():
                return self.space.minimum(x, y)
            case arith.MaxSIOp() | arith.MaxUIOp():
                return self.space.maximum(x, y)
            case _:
                return None

    # ---- memory and shapes ----------------------------------------------------------------------

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
        env: dict[SSAValue, Expr] | None = None,
    ) -> Indices:
        """Static numbers, with the dynamic values in the places that ask for them."""
        rest = iter(dynamic)
        return tuple(
            self.index_of(next(rest), env) if s == DYNAMIC_INDEX else Ix.of(s) for s in static
        )

    # ---- elements -------------------------------------------------------------------------------

    def at(self, value: SSAValue, indices: Indices, guards: Guards = ()) -> Expr:
        """The element of a tensor at `indices`; where a guard does not hold, anything."""
        known = self.memory.get(value)
        if known is not None:
            return self.read(known, indices, guards)
        key = (value, indices, guards)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self._element(value, indices, guards)
        return found

    def read(self, memory: Memory, indices: Indices, guards: Guards) -> Expr:
        """An element in memory. Dimensions that a loop runs through as one become one."""
        if any(_divides(i) for i in indices) and memory.contiguous:
            memory, indices = self.collapsed(memory, indices)
        return self.load(memory, indices, tuple(g for g in guards if not _holds(g)))

    def collapsed(self, memory: Memory, indices: Indices) -> tuple[Memory, Indices]:
        """Memory with adjacent dimensions joined where their indices recombine into a simpler
        one: [m floordiv B, m mod B] is m."""
        runs: list[list[int]] = []
        joined: list[Ix] = []
        for d, index in enumerate(indices):
            if joined and (_divides(joined[-1]) or _divides(index)):
                whole = joined[-1] * memory.shape[d] + index
                if len(whole.terms) < len(joined[-1].terms) + len(index.terms) or (
                    not _divides(whole)
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

    def _element(self, value: SSAValue, indices: Indices, guards: Guards) -> Expr:
        op = value.owner
        type_ = value.type
        assert isinstance(op, Operation) and isinstance(type_, TensorType)
        match op:
            case bufferization.ToTensorOp():
                return self.read(self.memref(op.memref), indices, guards)
            case linalg.FillOp():
                return self.scalar(op.inputs[0])
            case tensor.SplatOp():
                return self.scalar(op.input)
            case LinalgStructuredOperation():
                return self.generic(op).results(op.results.index(value), indices, guards)
            case tensor.CastOp():
                return self.at(op.source, indices, guards)
            case tensor.EmptyOp():
                return self.number(0, type_.element_type)
            case arith.ConstantOp():
                return self._constant(op, indices)
            case tensor.FromElementsOp():
                return self.scalar(
                    op.elements[_constant(op, linearize(indices, self.shape(value)))]
                )
            case _ if op.name in _MOVES:
                return getattr(self, _MOVES[op.name])(op, indices, guards)
            case _ if type(op) in _ARITHMETIC:
                args = tuple(self.at(v, indices, guards) for v in op.operands)
                return self.apply(op, args, type_.element_type)
            case _:
                raise ScheduleError(op, "is not supported in a kernel")

    def _constant(self, op: arith.ConstantOp, indices: Indices) -> Expr:
        value, type_ = op.value, op.result.type
        assert isinstance(value, DenseIntOrFPElementsAttr) and isinstance(type_, TensorType)
        numbers: Any = value.get_values()
        if value.is_splat():
            return self.number(numbers[0], type_.element_type)
        flat = linearize(indices, self.shape(op.result))
        element: Expr = self.number(numbers[-1], type_.element_type)
        for n in reversed(range(len(numbers) - 1)):
            here = (Range(flat, Ix.of(n), Ix.of(n + 1)),)
            element = self.choose(here, self.number(numbers[n], type_.element_type), element)
        return element

    def _extract_slice(self, op: tensor.ExtractSliceOp, indices: Indices, guards: Guards) -> Expr:
        result = op.result.type
        assert isinstance(result, TensorType)
        kept = kept_dims(op.static_sizes.get_values(), result.get_shape())
        full = [ZERO] * len(op.static_sizes)
        for d, i in zip(kept, indices, strict=True):
            full[d] = i
        offsets = self.mixed(op.static_offsets.get_values(), op.offsets)
        strides = self.mixed(op.static_strides.get_values(), op.strides)
        source = tuple(o + s * i for o, s, i in zip(offsets, strides, full, strict=True))
        return self.at(op.source, source, guards)

    def _insert_slice(self, op: tensor.InsertSliceOp, indices: Indices, guards: Guards) -> Expr:
        source_type = op.source.type
        assert isinstance(source_type, TensorType)
        static = op.static_sizes.get_values()
        offsets = self.mixed(op.static_offsets.get_values(), op.offsets)
        sizes = self.mixed(static, op.sizes)
        strides = self.mixed(op.static_strides.get_values(), op.strides)
        inside: list[Range] = []
        source: list[Ix] = []
        for i, o, n, s in zip(indices, offsets, sizes, strides, strict=True):
            inside.append(Range(i, o, o + (n - ONE) * s + ONE))
            if s.constant != 1:
                inside.append(Range(self.space.mod(i - o, s), ZERO, ONE))
            source.append(self.space.floordiv(i - o, s))
        kept = kept_dims(static, source_type.get_shape())
        needed = tuple(g for g in inside if not _holds(g))
        new = self.at(op.source, tuple(source[d] for d in kept), guards + needed)
        return self.choose(needed, new, self.at(op.dest, indices, guards))

    def _pad(self, op: tensor.PadOp, indices: Indices, guards: Guards) -> Expr:
        low = self.mixed(op.static_low.get_values(), op.low)
        shape = self.shape(op.source)
        source = tuple(i - p for i, p in zip(indices, low, strict=True))
        inside = tuple(
            Range(i, ZERO, n)
            for i, n, p, q in zip(source, shape, low, self.shape(op.result), strict=True)
            if not (p.constant == 0 and n == q)
        )
        block = op.region.block
        env = {arg: self.index(i) for arg, i in zip(block.args, indices, strict=True)}
        outside = self.body(block, env, (), guards)[0]
        return self.choose(inside, self.at(op.source, source, guards + inside), outside)

    def _concat(self, op: tensor.ConcatOp, indices: Indices, guards: Guards) -> Expr:
        axis = op.dim.value.data
        starts = [ZERO]
        for t in op.inputs:
            starts.append(starts[-1] + self.shape(t)[axis])
        result: Expr | None = None
        parts = list(zip(op.inputs, pairwise(starts), strict=True))
        for t, (start, stop) in reversed(parts):
            here = (Range(indices[axis], start, stop),)
            moved = (*indices[:axis], indices[axis] - start, *indices[axis + 1 :])
            element = self.at(t, moved, guards + here)
            result = element if result is None else self.choose(here, element, result)
        assert result is not None
        return result

    def _collapse_shape(self, op: tensor.CollapseShapeOp, indices: Indices, guards: Guards) -> Expr:
        shape = self.shape(op.src)
        source: list[Ix] = [ZERO] * len(shape)
        for index, group in zip(indices, groups(op), strict=False):
            parts = self.space.delinearize(index, [shape[d] for d in group])
            for d, part in zip(group, parts, strict=True):
                source[d] = part
        return self.at(op.src, tuple(source), guards)

    def _expand_shape(self, op: tensor.ExpandShapeOp, indices: Indices, guards: Guards) -> Expr:
        shape = self.shape(op.result)
        source = tuple(
            linearize([indices[d] for d in g], [shape[d] for d in g]) for g in groups(op)
        )
        return self.at(op.src, source, guards)

    def _insert(self, op: tensor.InsertOp, indices: Indices, guards: Guards) -> Expr:
        at = [self.index_of(v) for v in op.indices]
        here = tuple(Range(i, j, j + ONE) for i, j in zip(indices, at, strict=True))
        return self.choose(here, self.scalar(op.scalar), self.at(op.dest, indices, guards))

    def extract(self, op: tensor.ExtractOp, indices: Sequence[Ix], guards: Guards) -> Expr:
        """An element whose indices may come from data: never read out of bounds."""
        unsure = tuple(
            Range(i, ZERO, n)
            for i, n in zip(indices, self.shape(op.tensor), strict=True)
            if any(a.kind == "data" for m, _ in i.terms for a in m)
        )
        return self.at(op.tensor, tuple(indices), guards + unsure)

    # ---- bodies ---------------------------------------------------------------------------------

    def generic(self, op: LinalgStructuredOperation) -> Generic:
        found = self._generics.get(op)
        if found is None:
            found = self._generics[op] = Generic(self, op)
        return found

    def body(
        self, block: Block, env: dict[SSAValue, Expr], loops: Indices, guards: Guards
    ) -> list[Expr]:
        """Inline a block whose arguments are `env`; returns what it yields."""
        checks: list[tuple[Expr, Operation]] = []
        for op in block.ops:
            if isinstance(op, linalg.YieldOp | tensor.YieldOp):
                yielded = [self.scalar(v, env) for v in op.operands]
                return [self._checked(y, checks, guards) for y in yielded]
            if isinstance(op, cf.AssertOp):
                checks.append((self.scalar(op.arg, env), op))
            elif isinstance(op, linalg.IndexOp):
                env[op.result] = self.index(loops[op.dim.value.data])
            else:
                args = [self.scalar(v, env) for v in _scalars(op)]
                env[op.results[0]] = self.operation(op, args, guards)
        raise AssertionError("a body without terminator")

    def _checked(self, value: Expr, checks: list[tuple[Expr, Operation]], guards: Guards) -> Expr:
        for condition, message in checks:
            if guards:
                true = self.const(IntegerAttr(1, condition.type), condition.type)
                condition = self.choose(guards, condition, true)
            value = Check(value.type, value.deps | condition.deps, condition, message, value)
        return value


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


def _divides(index: Ix) -> bool:
    return any(a.kind in ("floordiv", "mod") for m, _ in index.terms for a in m)


def _holds(guard: Range) -> bool:
    """Whether a condition is certain."""
    moved = guard.index - guard.low
    return fits(moved, guard.high - guard.low)


def _scalars(op: Operation) -> Sequence[SSAValue]:
    """The operands of a scalar operation that are scalars."""
    return [v for v in op.operands if not isinstance(v.type, TensorType | MemRefType)]


def _constant(op: Operation, index: Ix) -> int:
    value = index.constant
    if value is None:
        raise ScheduleError(op, "the index must be a constant")
    return value


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


_MOVES = {
    "tensor.extract_slice": "_extract_slice",
    "tensor.insert_slice": "_insert_slice",
    "tensor.pad": "_pad",
    "tensor.concat": "_concat",
    "tensor.collapse_shape": "_collapse_shape",
    "tensor.expand_shape": "_expand_shape",
    "tensor.insert": "_insert",
}

_ARITHMETIC = {
    *(op for op in arith.Arith.operations if op is not arith.ConstantOp),
    *math.Math.operations,
}
