"""The core of the builder of the `linalg` stage: places, values, structured computation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from xdsl.dialects import arith, cf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    LocationAttr,
    StringAttr,
    TensorType,
    i32,
    i64,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from . import maps
from .maps import IndexMap
from .pointwise import Body, BodyBuilder, Generic, Lazy, Pointwise, Tensor
from .scalar import ScalarBuilder
from .sizes import SizeBuilder
from .sym import Dim
from .types import TensorMeta

Index: TypeAlias = Dim | SSAValue
Number: TypeAlias = bool | int | float

_types: dict[TensorMeta, TensorType[Attribute]] = {}
_ONE_ONE = DenseArrayBase.from_list(i32, [1, 1])


def plain_type(meta: TensorMeta) -> TensorType[Attribute]:
    """The builtin tensor type of a meta, without encoding; equal metas give the same object."""
    found = _types.get(meta)
    if found is None:
        shape = [d if isinstance(d, int) else DYNAMIC_INDEX for d in meta.shape]
        found = _types[meta] = TensorType(meta.dtype.element, shape)
    return found


class Core:
    """Emits `linalg`-stage operations at the end of a block of a function.

    `symbols` are the index arguments that give the function's size symbols.
    """

    def __init__(self, block: Block, symbols: Mapping[str, SSAValue]) -> None:
        self.block = block
        self.location: LocationAttr | None = None
        self.size = SizeBuilder(block.add_op, symbols)
        self._metas: dict[SSAValue, TensorMeta] = {}

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

    # ---- in bodies -------------------------------------------------------------------------------

    def extract_into(self, s: ScalarBuilder, x: Tensor, indices: Sequence[SSAValue]) -> SSAValue:
        """`tensor.extract` where `s` emits."""
        value = self.value(x)
        element = cast("TensorType[Attribute]", value.type).element_type
        return s.emit(tensor.ExtractOp, (value, *indices), element)

    def check_into(self, s: ScalarBuilder, condition: SSAValue, message: str) -> None:
        """`cf.assert` where `s` emits."""
        s.insert(cf.AssertOp.create(operands=(condition,), properties=message_of(message)))

    # ---- views ----------------------------------------------------------------------------------

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
        operands, properties = self.window(starts, sizes, strides)
        made = tensor.ExtractSliceOp.create(
            operands=(x, *operands),
            result_types=(plain_type(out),),
            properties={**properties, "operandSegmentSizes": segments(1, properties)},
        )
        return self.track(self.insert(made)[0], out)

    def window(
        self, starts: Sequence[Index], sizes: Sequence[Dim], strides: Sequence[int]
    ) -> tuple[list[SSAValue], dict[str, Attribute]]:
        operands: list[SSAValue] = []
        properties: dict[str, Attribute] = {}
        for name, values in (("offsets", starts), ("sizes", sizes), ("strides", strides)):
            static = [v if isinstance(v, int) else DYNAMIC_INDEX for v in values]
            operands += [self.index(v) for v in values if not isinstance(v, int)]
            properties[f"static_{name}"] = DenseArrayBase.from_list(i64, static)
        return operands, properties

    def retype(self, x: SSAValue, meta: TensorMeta) -> SSAValue:
        """x as a type that says more or less of its sizes."""
        if x.type != plain_type(meta):
            made = tensor.CastOp.create(operands=(x,), result_types=(plain_type(meta),))
            x = self.insert(made)[0]
        return self.track(x, meta)

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


def _fill_region(element: Attribute) -> Region:
    block = Block(arg_types=(element, element))
    block.add_op(linalg.YieldOp.create(operands=(block.args[0],)))
    return Region(block)


def segments(leading: int, properties: Mapping[str, Attribute]) -> DenseArrayBase:
    """The operand segments of a slice: `leading` operands, then its dynamic numbers."""
    counts = [1] * leading
    for name in ("offsets", "sizes", "strides"):
        values = cast("DenseArrayBase[Any]", properties[f"static_{name}"]).get_values()
        counts.append(sum(v == DYNAMIC_INDEX for v in values))
    return DenseArrayBase.from_list(i32, counts)


def message_of(text: str) -> dict[str, Attribute]:
    """The property of an assertion."""
    return {"msg": StringAttr(text)}
