"""What an operator's `lower` is written against: the builder of the `linalg` stage.

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:

`node.operands` are the lowered operands, `node.operand_metas` and `node.result_metas` their
graph metas, `node.attrs` the attributes. It returns one tensor per result. A `Tensor` is either
an SSA value of a plain builtin tensor type or a `Lazy`, a computation that is written into the
body of what consumes it. Rules need not care which: they hand tensors to the methods of the
builder. Where the SSA value itself is needed, `b.value(x)` computes it.

- Everything whose element depends on elements of the operands at mapped indices is one
  `b.pointwise(meta, inputs, maps, body)`: arithmetic, broadcasts, transposes, gathers
  (`s.extract` inside of the body), comparisons of indices (`s.index`).
- Reductions and contractions are `b.generic(...)` with iterators and initial tensors, or
  `b.reduce(...)`.
- Data movement: `b.slice`, `b.insert_slice`, `b.pad`, `b.concat`, `b.reshape`.
- Sequential code: `b.for_` with tensors carried along, `b.element`, `b.insert`, `b.scalars`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from xdsl.dialects import arith, cf, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    IntegerAttr,
    LocationAttr,
    StringAttr,
    TensorType,
    i32,
    i64,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from . import maps
from .maps import AffineExpr, IndexMap, MapItem
from .op import Node
from .pointwise import Body, BodyBuilder, Generic, Lazy, Pointwise, Tensor
from .reshape import reshape_value
from .scalar import ScalarBuilder
from .sizes import SizeBuilder
from .sym import Dim
from .types import TensorMeta

Index: TypeAlias = Dim | SSAValue
Number: TypeAlias = bool | int | float

_types: dict[TensorMeta, TensorType[Attribute]] = {}


def plain_type(meta: TensorMeta) -> TensorType[Attribute]:
    """The builtin tensor type of a meta, without encoding; equal metas give the same object."""
    found = _types.get(meta)
    if found is None:
        shape = [d if isinstance(d, int) else DYNAMIC_INDEX for d in meta.shape]
        found = _types[meta] = TensorType(meta.dtype.element, shape)
    return found


class LinalgBuilder:
    """Emits `linalg`-stage operations at the end of a block of a function.

    `symbols` are the index arguments that give the function's size symbols.
    """

    def __init__(self, block: Block, symbols: Mapping[str, SSAValue]) -> None:
        self.block = block
        self.location: LocationAttr | None = None
        self.size = SizeBuilder(block.add_op, symbols)
        self._metas: dict[SSAValue, TensorMeta] = {}
        self._fills: dict[tuple[TensorMeta, Number], SSAValue] = {}

    # ---- places and values ----------------------------------------------------------------------

    def insert(self, op: Operation) -> Sequence[SSAValue]:
        """Append an operation to the current block, at the current location."""
        if self.location is not None:
            op.location = self.location
        self.block.add_op(op)
        return op.results

    @contextmanager
    def at(self, location: LocationAttr | None) -> Iterator[None]:
        """Emit with another location for a while."""
        before, self.location = self.location, location
        try:
            yield
        finally:
            self.location = before

    @contextmanager
    def into(self, block: Block) -> Iterator[None]:
        """Emit into another block for a while."""
        before, self.block = self.block, block
        try:
            yield
        finally:
            self.block = before

    @property
    def scalars(self) -> ScalarBuilder:
        """Scalar arithmetic at the current place, outside of bodies."""
        return ScalarBuilder(self.insert)

    def track(self, value: SSAValue, meta: TensorMeta) -> SSAValue:
        """Remember the meta of an SSA tensor, whose type has no symbolic sizes."""
        self._metas[value] = meta
        return value

    def meta(self, x: Tensor) -> TensorMeta:
        """The meta of a tensor that this builder made or was given."""
        return x.meta if isinstance(x, Lazy) else self._metas[x]

    def index(self, value: Index) -> SSAValue:
        """A size or number as an index value; index values stay."""
        return value if isinstance(value, SSAValue) else self.size(value)

    def constant(self, value: Number, element: Attribute) -> SSAValue:
        """A scalar constant at the current place."""
        return self.scalars.constant(value, element)

    def dense(self, value: Any, meta: TensorMeta) -> Tensor:
        """A tensor of known data; of one repeated number it takes no memory."""
        flat = value.reshape(-1)
        # Bits, because -0.0 equals 0.0 and NaN nothing.
        if flat.size and flat.tobytes() == flat[:1].tobytes() * flat.size:
            number = flat[0].item()
            element = meta.dtype.element
            return self.pointwise(meta, (), body=lambda s: s.constant(number, element))
        data = flat.tolist()
        if meta.dtype.kind != "f":
            data = [int(v) for v in data]
        attr = DenseIntOrFPElementsAttr.from_list(cast("Any", plain_type(meta)), data)
        made = arith.ConstantOp.create(result_types=(plain_type(meta),), properties={"value": attr})
        return self.track(self.insert(made)[0], meta)

    def empty(self, meta: TensorMeta) -> SSAValue:
        """A tensor of any content."""
        dynamic = [self.size(d) for d in meta.shape if not isinstance(d, int)]
        made = tensor.EmptyOp.create(operands=dynamic, result_types=(plain_type(meta),))
        return self.track(self.insert(made)[0], meta)

    def fill(self, meta: TensorMeta, value: Number | SSAValue) -> SSAValue:
        """A tensor of one repeated scalar, in memory: the initial value of a reduction."""
        if not isinstance(value, SSAValue):
            value = self.constant(value, meta.dtype.element)
        made = linalg.FillOp.create(
            operands=(value, self.empty(meta)),
            result_types=(plain_type(meta),),
            properties={"operandSegmentSizes": _ONE_ONE},
            regions=[_fill_region(meta.dtype.element)],
        )
        return self.track(self.insert(made)[0], meta)

    # ---- structured computation -----------------------------------------------------------------

    def pointwise(
        self,
        out: TensorMeta | Sequence[TensorMeta],
        inputs: Sequence[Tensor],
        maps_: Sequence[IndexMap] | None = None,
        body: Body | None = None,
        *,
        unsigned: bool = False,
    ) -> Any:
        """A tensor whose element at index (i0, i1, …) is `body(s, *elements)` of the inputs'
        elements at mapped indices (the same indices by default); nothing is emitted yet.

        Without `body` it is a view of one input. A sequence of metas of one shape gives as many
        tensors, and the body as many scalars. `unsigned` says how integers compare and extend.
        """
        outs = [out] if isinstance(out, TensorMeta) else list(out)
        if maps_ is None:
            maps_ = [maps.identity(outs[0].rank)] * len(inputs)
        node = Pointwise(
            outs, tuple(inputs), list(maps_), body, unsigned, self.block, self.location
        )
        node.values = [None] * len(outs)
        made = [Lazy(node, i) for i in range(len(outs))]
        return made[0] if isinstance(out, TensorMeta) else made

    def generic(
        self,
        inputs: Sequence[Tensor],
        maps_: Sequence[IndexMap],
        inits: Sequence[Tensor],
        out_maps: Sequence[IndexMap],
        iterators: Sequence[str],
        body: Body,
        *,
        unsigned: bool = False,
    ) -> list[SSAValue]:
        """One `linalg.generic`: `body(s, *input elements, *accumulators)` gives new accumulators.

        `iterators` are "parallel" or "reduction", one per loop; maps are over these loops.
        """
        out_values = [self.value(x) for x in inits]
        extents = self._extents(len(iterators), (*inputs, *inits), (*maps_, *out_maps))
        generic = Generic(self, extents)
        terms = [generic.pull(x, m) for x, m in zip(inputs, maps_, strict=True)]

        def fill_body(block: Block, first: int) -> Sequence[SSAValue]:
            scalars = [generic.scalar(t, block) for t in terms]
            s = BodyBuilder(self, block, maps.identity(len(iterators)), unsigned)
            made = body(s, *scalars, *block.args[first:])
            return (made,) if isinstance(made, SSAValue) else made

        results = generic.emit(out_values, out_maps, tuple(iterators), fill_body)
        metas = [self.meta(x) for x in out_values]
        return [self.track(r, m) for r, m in zip(results, metas, strict=True)]

    def reduce(
        self,
        x: Tensor | Sequence[Tensor],
        dims: Sequence[int],
        out: TensorMeta | Sequence[TensorMeta],
        initial: Number | Sequence[Number],
        body: Body,
        *,
        unsigned: bool = False,
    ) -> Any:
        """Reduce `dims` of tensors of one shape: `body(s, *elements, *accumulators)`.

        `out` may keep the reduced dimensions with size one. A sequence of metas gives as many
        results, with one initial value each.
        """
        inputs = [x] if isinstance(x, SSAValue | Lazy) else list(x)
        outs = [out] if isinstance(out, TensorMeta) else list(out)
        starts = [initial] if isinstance(initial, bool | int | float) else list(initial)
        shape = self.meta(inputs[0]).shape
        kept = tuple(i for i in range(len(shape)) if i not in dims)
        small = [m.with_shape([shape[i] for i in kept]) for m in outs]
        results = self.generic(
            inputs,
            [maps.identity(len(shape))] * len(inputs),
            [self.fill(m, v) for m, v in zip(small, starts, strict=True)],
            [kept] * len(outs),
            ["reduction" if i in dims else "parallel" for i in range(len(shape))],
            body,
            unsigned=unsigned,
        )
        shaped = [self.reshape(r, m.shape) for r, m in zip(results, outs, strict=True)]
        return shaped[0] if isinstance(out, TensorMeta) else shaped

    def value(self, x: Tensor) -> SSAValue:
        """The SSA value of a tensor, computed now if it was not yet."""
        return self.values([x])[0]

    def values(self, xs: Sequence[Tensor]) -> list[SSAValue]:
        """The SSA values of tensors; those of one shape are computed by one operation."""
        waiting: dict[tuple[Dim, ...], list[Lazy]] = {}
        for x in xs:
            if isinstance(x, Lazy) and x.node.values[x.index] is None:
                if x.node.make is not None:
                    with self.at(x.node.location), self.into(x.node.block):
                        x.node.values[0] = self.track(x.node.make(), x.meta)
                else:
                    group = waiting.setdefault(x.meta.shape, [])
                    if not any(y.node is x.node and y.index == x.index for y in group):
                        group.append(x)
        for shape, group in waiting.items():
            self._compute(shape, group)
        out = []
        for x in xs:
            known = x.node.values[x.index] if isinstance(x, Lazy) else x
            assert known is not None
            out.append(known)
        return out

    def _compute(self, shape: Sequence[Dim], roots: Sequence[Lazy]) -> None:
        last = roots[-1].node
        with self.at(last.location), self.into(last.block):
            generic = Generic(self, shape)
            identity = maps.identity(len(shape))
            terms = [generic.pull(x, identity) for x in roots]
            inits = [self.empty(x.meta) for x in roots]
            results = generic.emit(
                inits,
                [identity] * len(roots),
                ("parallel",) * len(shape),
                lambda block, _: [generic.scalar(t, block) for t in terms],
            )
        for x, result in zip(roots, results, strict=True):
            x.node.values[x.index] = self.track(result, x.meta)

    def _extents(
        self, loops: int, tensors: Sequence[Tensor], maps_: Sequence[IndexMap]
    ) -> list[Dim | None]:
        extents: list[Dim | None] = [None] * loops
        for x, items in zip(tensors, maps_, strict=True):
            for item, size in zip(items, self.meta(x).shape, strict=True):
                if isinstance(item, int) and (extents[item] is None or isinstance(size, int)):
                    extents[item] = size
        return extents

    # ---- reading single elements ----------------------------------------------------------------

    def element(self, x: Tensor, indices: Sequence[Index]) -> SSAValue:
        """One element of a tensor, outside of bodies."""
        return self.extract_into(self.scalars, x, [self.index(i) for i in indices])

    def extract_into(self, s: ScalarBuilder, x: Tensor, indices: Sequence[SSAValue]) -> SSAValue:
        """`tensor.extract` where `s` emits."""
        value = self.value(x)
        element = cast("TensorType[Attribute]", value.type).element_type
        return s.emit(tensor.ExtractOp, (value, *indices), element)

    def check(self, condition: SSAValue, message: str) -> None:
        """Fail with `message` where the condition is false, outside of bodies."""
        self.insert(cf.AssertOp.create(operands=(condition,), properties=_message(message)))

    def check_into(self, s: ScalarBuilder, condition: SSAValue, message: str) -> None:
        """`cf.assert` where `s` emits."""
        s.insert(cf.AssertOp.create(operands=(condition,), properties=_message(message)))

    def insert_element(self, scalar: SSAValue, into: Tensor, indices: Sequence[Index]) -> SSAValue:
        """A tensor with one element replaced."""
        dest = self.value(into)
        made = tensor.InsertOp.create(
            operands=(scalar, dest, *[self.index(i) for i in indices]), result_types=(dest.type,)
        )
        return self.track(self.insert(made)[0], self.meta(dest))

    # ---- data movement --------------------------------------------------------------------------

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        """Dimension i of the result is dimension perm[i] of x."""
        meta = self.meta(x)
        items: IndexMap = tuple(perm.index(i) for i in range(meta.rank))
        return self.pointwise(meta.with_shape([meta.shape[p] for p in perm]), [x], [items])

    def broadcast(self, x: Tensor, shape: Sequence[Dim]) -> Tensor:
        """x repeated to `shape`, aligned at the right."""
        meta = self.meta(x)
        lead = len(shape) - meta.rank
        items: IndexMap = tuple(
            None if d == 1 and shape[lead + i] != 1 else lead + i for i, d in enumerate(meta.shape)
        )
        return self.pointwise(meta.with_shape(shape), [x], [items])

    def reshape(self, x: Tensor, shape: Sequence[Dim]) -> Tensor:
        """The same elements in row-major order under another shape."""
        meta = self.meta(x)
        out = meta.with_shape(shape)
        if out.shape == meta.shape:
            return x
        long = [i for i, d in enumerate(out.shape) if d != 1]
        kept = [d for d in meta.shape if d != 1]
        if kept == [out.shape[i] for i in long]:
            loops = iter(long)
            items: IndexMap = tuple(None if d == 1 else next(loops) for d in meta.shape)
            made: Lazy = self.pointwise(out, [x], [items])
            made.node.make = lambda: reshape_value(self, self.value(x), out)
            return made
        return reshape_value(self, self.value(x), out)

    def slice(
        self,
        x: Tensor,
        starts: Sequence[Index],
        sizes: Sequence[Dim],
        strides: Sequence[int] | None = None,
    ) -> Tensor:
        """`sizes` elements from `starts` on, every `strides`-th (positive)."""
        strides = strides or [1] * len(sizes)
        out = self.meta(x).with_shape(sizes)
        known = all(isinstance(v, int) for v in starts)
        if isinstance(x, Lazy) and x.node.values[x.index] is None and known:
            items = tuple(
                _strided(i, cast("int", start), stride)
                for i, (start, stride) in enumerate(zip(starts, strides, strict=True))
            )
            return self.pointwise(out, [x], [items])
        return self.extract_slice(self.value(x), starts, sizes, strides)

    def extract_slice(
        self,
        x: SSAValue,
        starts: Sequence[Index],
        sizes: Sequence[Dim],
        strides: Sequence[int],
    ) -> SSAValue:
        """`tensor.extract_slice`, a view."""
        out = self.meta(x).with_shape(sizes)
        if 0 in out.shape:
            return self.empty(out)
        operands, properties = self._window(starts, sizes, strides)
        made = tensor.ExtractSliceOp.create(
            operands=(x, *operands),
            result_types=(plain_type(out),),
            properties={**properties, "operandSegmentSizes": _segments(1, properties)},
        )
        return self.track(self.insert(made)[0], out)

    def insert_slice(
        self,
        x: Tensor,
        into: Tensor,
        starts: Sequence[Index],
        strides: Sequence[int] | None = None,
    ) -> SSAValue:
        """`into` with the elements from `starts` on, every `strides`-th, replaced by x."""
        source, dest = self.values([x, into])
        sizes = self.meta(source).shape
        operands, properties = self._window(starts, sizes, strides or [1] * len(sizes))
        made = tensor.InsertSliceOp.create(
            operands=(source, dest, *operands),
            result_types=(dest.type,),
            properties={**properties, "operandSegmentSizes": _segments(2, properties)},
        )
        return self.track(self.insert(made)[0], self.meta(dest))

    def _window(
        self, starts: Sequence[Index], sizes: Sequence[Dim], strides: Sequence[int]
    ) -> tuple[list[SSAValue], dict[str, Attribute]]:
        operands: list[SSAValue] = []
        properties: dict[str, Attribute] = {}
        for name, values in (("offsets", starts), ("sizes", sizes), ("strides", strides)):
            static = [v if isinstance(v, int) else DYNAMIC_INDEX for v in values]
            operands += [self.index(v) for v in values if not isinstance(v, int)]
            properties[f"static_{name}"] = DenseArrayBase.from_list(i64, static)
        return operands, properties

    def sliced(
        self, x: SSAValue, items: IndexMap, extents: Sequence[Dim | None]
    ) -> tuple[SSAValue, IndexMap]:
        """x and a map read through it, strided items of the map made a slice of x."""
        forms = [None if i is None else maps.strided(i) for i in items]
        if all(i is None or isinstance(i, int) for i in items):
            return x, items
        for item, form in zip(items, forms, strict=True):
            if item is not None and (form is None or extents[form[0]] is None or form[1] < 1):
                return x, items
        shape = self.meta(x).shape
        starts = [0 if f is None else f[2] for f in forms]
        sizes = [
            d if f is None else cast("Dim", extents[f[0]])
            for f, d in zip(forms, shape, strict=True)
        ]
        strides = [1 if f is None else f[1] for f in forms]
        view = self.extract_slice(x, starts, sizes, strides)
        return view, tuple(None if f is None else f[0] for f in forms)

    def pad(
        self,
        x: Tensor,
        low: Sequence[Index],
        high: Sequence[Index],
        fill: SSAValue,
        out: TensorMeta,
    ) -> SSAValue:
        """x with `low` and `high` (not negative) elements `fill` (a scalar) around it."""
        source = self.value(x)
        operands: list[SSAValue] = []
        properties: dict[str, Attribute] = {}
        counts: list[int] = [1]
        for name, amounts in (("low", low), ("high", high)):
            dynamic = [self.index(v) for v in amounts if not isinstance(v, int)]
            static = [v if isinstance(v, int) else DYNAMIC_INDEX for v in amounts]
            properties[f"static_{name}"] = DenseArrayBase.from_list(i64, static)
            operands += dynamic
            counts.append(len(dynamic))
        properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, counts)
        block = Block(arg_types=[self.size(0).type] * out.rank)
        block.add_op(tensor.YieldOp.create(operands=(fill,)))
        shape = [
            d + lo + hi
            if isinstance(d, int) and isinstance(lo, int) and isinstance(hi, int)
            else DYNAMIC_INDEX
            for d, lo, hi in zip(self.meta(source).shape, low, high, strict=True)
        ]
        made = tensor.PadOp.create(
            operands=(source, *operands),
            result_types=(TensorType(out.dtype.element, shape),),
            properties=properties,
            regions=[Region(block)],
        )
        return self.retype(self.insert(made)[0], out)

    def concat(self, xs: Sequence[Tensor], dim: int, out: TensorMeta) -> SSAValue:
        """Tensors one after the other along a dimension."""
        made = tensor.ConcatOp.create(
            operands=self.values(xs),
            result_types=(plain_type(out),),
            properties={"dim": IntegerAttr(dim, i64)},
        )
        return self.track(self.insert(made)[0], out)

    def retype(self, x: SSAValue, meta: TensorMeta) -> SSAValue:
        """x as a type that says more or less of its sizes."""
        if x.type != plain_type(meta):
            made = tensor.CastOp.create(operands=(x,), result_types=(plain_type(meta),))
            x = self.insert(made)[0]
        return self.track(x, meta)

    # ---- control --------------------------------------------------------------------------------

    def for_(
        self,
        lower: Index,
        upper: Index,
        inits: Sequence[Tensor],
        body: Callable[..., Sequence[Tensor]],
        step: Index = 1,
    ) -> list[SSAValue]:
        """A sequential loop: `body(i, *carried)` gives the next carried tensors.

        Inside of it the builder emits into the loop.
        """
        carried = self.values(inits)
        bounds = [self.index(v) for v in (lower, upper, step)]
        block = Block(arg_types=[bounds[0].type, *[v.type for v in carried]])
        metas = [self.meta(v) for v in carried]
        for arg, meta in zip(block.args[1:], metas, strict=True):
            self.track(arg, meta)
        with self.into(block):
            results = self.values(body(*block.args))
            block.add_op(scf.YieldOp.create(operands=results))
        made = scf.ForOp.create(
            operands=(*bounds, *carried),
            result_types=[v.type for v in carried],
            regions=[Region(block)],
        )
        return [self.track(r, m) for r, m in zip(self.insert(made), metas, strict=True)]

    def nest(
        self,
        shape: Sequence[Dim],
        carried: SSAValue,
        body: Callable[[SSAValue, Sequence[SSAValue]], SSAValue],
        at: tuple[SSAValue, ...] = (),
    ) -> SSAValue:
        """Sequential loops over the indices of a shape around `body(carried, indices)`."""
        if len(at) == len(shape):
            return body(carried, at)
        size = shape[len(at)]
        (out,) = self.for_(0, size, [carried], lambda i, c: [self.nest(shape, c, body, (*at, i))])
        return out


_ONE_ONE = DenseArrayBase.from_list(i32, [1, 1])


def _fill_region(element: Attribute) -> Region:
    block = Block(arg_types=(element, element))
    block.add_op(linalg.YieldOp.create(operands=(block.args[0],)))
    return Region(block)


def _segments(leading: int, properties: Mapping[str, Attribute]) -> DenseArrayBase:
    counts = [1] * leading
    for name in ("offsets", "sizes", "strides"):
        values = cast("DenseArrayBase[Any]", properties[f"static_{name}"]).get_values()
        counts.append(sum(v == DYNAMIC_INDEX for v in values))
    return DenseArrayBase.from_list(i32, counts)


def _strided(loop: int, start: int, stride: int) -> MapItem:
    if start == 0 and stride == 1:
        return loop
    return maps.simplify(AffineExpr.dimension(loop) * stride + start)


def _message(message: str) -> dict[str, Attribute]:
    return {"msg": StringAttr(message)}


def lower_elementwise(b: LinalgBuilder, node: Node, body: Body) -> Tensor:
    """The result of an operator that computes element by element: `body(s, *args, **attrs)`."""
    unsigned = any(m.dtype.kind == "u" for m in node.operand_metas)
    return b.pointwise(
        node.result_metas[0],
        node.operands,
        None,
        lambda s, *args: body(s, *args, **node.attrs),
        unsigned=unsigned,
    )


__all__ = [
    "AffineExpr",
    "Index",
    "Lazy",
    "LinalgBuilder",
    "Node",
    "Tensor",
    "lower_elementwise",
    "plain_type",
]
