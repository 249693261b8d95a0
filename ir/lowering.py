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

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import cf, scf, tensor
from xdsl.ir import Block, Region, SSAValue

from . import maps
from .linalgcore import Index, Number, message_of, plain_type
from .maps import AffineExpr
from .movement import Movement
from .op import Node
from .pointwise import Body, Lazy, Tensor
from .sym import Dim
from .types import TensorMeta


class LinalgBuilder(Movement):
    """Emits `linalg`-stage operations at the end of a block of a function.

    `symbols` are the index arguments that give the function's size symbols.
    """

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

    # ---- reading single elements ----------------------------------------------------------------

    def element(self, x: Tensor, indices: Sequence[Index]) -> SSAValue:
        """One element of a tensor, outside of bodies."""
        return self.extract_into(self.scalars, x, [self.index(i) for i in indices])

    def check(self, condition: SSAValue, message: str) -> None:
        """Fail with `message` where the condition is false, outside of bodies."""
        self.insert(cf.AssertOp.create(operands=(condition,), properties=message_of(message)))

    def insert_element(self, scalar: SSAValue, into: Tensor, indices: Sequence[Index]) -> SSAValue:
        """A tensor with one element replaced."""
        dest = self.value(into)
        made = tensor.InsertOp.create(
            operands=(scalar, dest, *[self.index(i) for i in indices]), result_types=(dest.type,)
        )
        return self.track(self.insert(made)[0], self.meta(dest))

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
