"""Moving data: transposes, broadcasts, reshapes, slices, padding, concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, IntegerAttr, TensorType, i32, i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from . import maps
from .linalgcore import Core, Index, plain_type, segments
from .maps import AffineExpr, IndexMap, MapItem
from .pointwise import Lazy, Tensor
from .reshape import reshape_value
from .sym import Dim
from .types import TensorMeta


class Movement(Core):
    """The part of the builder that arranges elements anew."""

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
        operands, properties = self.window(starts, sizes, strides or [1] * len(sizes))
        made = tensor.InsertSliceOp.create(
            operands=(source, dest, *operands),
            result_types=(dest.type,),
            properties={**properties, "operandSegmentSizes": segments(2, properties)},
        )
        return self.track(self.insert(made)[0], self.meta(dest))

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


def _strided(loop: int, start: int, stride: int) -> MapItem:
    if start == 0 and stride == 1:
        return loop
    return maps.simplify(AffineExpr.dimension(loop) * stride + start)
