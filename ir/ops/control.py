"""Control flow on data, as operators with regions: `cond` and `while` here, `scan` beside it.

    %y = calque.cond %p, %x then {
    ^bb0(%a: tensor<3xf32>):
      %s = calque.sin %a : tensor<3xf32>
      calque.yield %s : tensor<3xf32>
    } else {
    ^bb0(%a: tensor<3xf32>):
      calque.yield %a : tensor<3xf32>
    } : (tensor<i1>, tensor<3xf32>) -> tensor<3xf32>

Regions see only their arguments, so what a branch or a loop body uses is an operand. Derivatives
are operators of the same kind: that of a `cond` chooses between the derivatives of its branches,
that of a `scan` runs backwards over the carried values that the forward scan stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects.utils import AbstractYieldOperation
from xdsl.ir import Attribute, Block, Operation, OpTraits, Region, SSAValue
from xdsl.irdl import irdl_op_definition, traits_def
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from .. import dtype as dt
from ..attrs import INT
from ..autodiff import differentiable, gradients
from ..errors import runtime_error
from ..op import Builder, Node, Op, Value, current_builder
from ..types import TensorMeta, meta_of, to_type
from ._fold import uniform
from .creation import full_like

Runner = Callable[..., list[np.ndarray]]


@irdl_op_definition
class Yield(AbstractYieldOperation[Attribute]):
    """Ends a region and gives its results."""

    name = "calque.yield"
    traits = traits_def(IsTerminator())


class Control(Op):
    """Base of the operators with regions, whose result types are those that a region yields."""

    PARTIAL = True
    traits: ClassVar[OpTraits] = OpTraits(lambda: (Pure(), IsolatedFromAbove()))

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        """Run on arrays; one runner per region takes its arguments and gives what it yields."""
        raise NotImplementedError(self.name)

    def check(self) -> None:
        """Raises RuntimeError where operands, regions and results do not fit together."""
        raise NotImplementedError(self.name)

    def verify_(self) -> None:
        for key in self.ATTRS:
            if key not in self.attributes:
                raise VerifyException(f"'{self.name}' lacks the attribute '{key}'")
        IsolatedFromAbove().verify(self)
        if len(self.regions) != len(self.REGIONS):
            raise VerifyException(f"'{self.name}' has {len(self.REGIONS)} regions")
        for region in self.regions:
            if len(region.blocks) != 1 or not isinstance(region.block.last_op, Yield):
                raise VerifyException(f"a region of '{self.name}' is one block that ends in yield")
        try:
            self.check()
        except (RuntimeError, ValueError, TypeError) as error:
            raise VerifyException(f"'{self.name}': {error}") from error


def yielded(region: Region) -> tuple[SSAValue, ...]:
    """The values that a region yields."""
    last = region.block.last_op
    assert isinstance(last, Yield)
    return tuple(last.operands)


def region(
    metas: Sequence[TensorMeta], body: Callable[..., Sequence[SSAValue] | SSAValue]
) -> Region:
    """A region with arguments of these metas that yields what `body(*arguments)` returns."""
    block = Block(arg_types=[to_type(m) for m in metas])
    with Builder(block, location=current_builder().location):
        results = body(*block.args)
    results = (results,) if isinstance(results, SSAValue) else tuple(results)
    block.add_op(Yield(*results))
    return Region(block)


def emit(
    op: type[Control],
    operands: Sequence[SSAValue],
    attrs: dict[str, Any],
    regions: Sequence[Region],
    results: Sequence[TensorMeta],
) -> tuple[SSAValue, ...]:
    builder = current_builder()
    made = op.create(
        operands=operands,
        result_types=[to_type(m) for m in results],
        attributes={k: op.ATTRS[k].encode(v) for k, v in attrs.items()},
        regions=regions,
        location=builder.location() if builder.location is not None else None,
    )
    made.check()
    builder.insert(made)
    return tuple(made.results)


def metas_of(values: Sequence[SSAValue]) -> list[TensorMeta]:
    return [meta_of(v) for v in values]


def expect_same(what: str, found: Sequence[TensorMeta], wanted: Sequence[TensorMeta]) -> None:
    if list(found) != list(wanted):
        raise runtime_error(
            f"{what}: expected {', '.join(map(format, wanted)) or 'nothing'}, got "
            f"{', '.join(map(format, found)) or 'nothing'}"
        )


# ---- cond ------------------------------------------------------------------------------------


class Cond(Control):
    """The results of one of two regions on the operands, chosen by a bool."""

    name = "calque.cond"
    REGIONS = ("then", "else")
    SAVED = ((0,), ())

    def check(self) -> None:
        predicate, *rest = metas_of(self.operands)
        if predicate.dtype is not dt.bool_ or predicate.rank:
            raise runtime_error(f"expected the predicate as a 0-d bool tensor, got {predicate}")
        first, second = (metas_of(yielded(r)) for r in self.regions)
        for name, r in zip(self.REGIONS, self.regions, strict=True):
            expect_same(f"the operands of the branch '{name}'", metas_of(r.block.args), rest)
        expect_same("the branches must return the same kinds of tensors", second, first)
        expect_same("the results", metas_of(self.results), first)

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        return runners[0 if operands[0] else 1](*operands[1:])

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        """A branch in place of the choice where the predicate is known."""
        known = uniform(node.operands[0])
        if known is None:
            return None
        chosen = node.regions[0 if known else 1].block
        builder = current_builder()
        values: dict[SSAValue, SSAValue] = dict(zip(chosen.args, node.operands[1:], strict=True))
        for op in chosen.ops:
            if not isinstance(op, Yield):
                builder.insert(op.clone(values))
        return [values.get(v, v) for v in yielded(node.regions[0 if known else 1])]

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        """A cond of the branches' derivatives, each of which computes its branch anew."""
        predicate, *operands = node.operands
        reached = [i for i, g in enumerate(cotangents) if g is not None]
        given = [g for g in cotangents if g is not None]
        wanted = [i for i, v in enumerate(operands) if node.needs[1 + i] and differentiable(v)]
        derived = [_derivative(r, reached, given, wanted) for r in node.regions]
        # What neither branch depends on has no cotangent.
        kept = [k for k in range(len(wanted)) if any(found[k] is not None for _, found in derived)]
        regions = []
        for block, found in derived:
            with Builder(block, location=current_builder().location):
                values = [or_zeros(found[k], block.args[wanted[k]]) for k in kept]
            block.add_op(Yield(*values))
            regions.append(Region(block))
        used = prune([r.block for r in regions])
        passed = [v for i, v in enumerate((*operands, *given)) if i in used]
        results = [meta_of(operands[wanted[k]]) for k in kept]
        made = iter(emit(cls, [predicate, *passed], {}, regions, results) if kept else ())
        out: list[Value | None] = [None] * len(node.operands)
        for k in kept:
            out[1 + wanted[k]] = next(made)
        return out


def _derivative(
    source: Region,
    reached: Sequence[int],
    cotangents: Sequence[SSAValue],
    wanted: Sequence[int],
) -> tuple[Block, list[SSAValue | None]]:
    """A block on the arguments of a region and the cotangents of its results `reached` that
    computes the cotangents of the arguments `wanted`."""
    inner = source.block
    block = Block(arg_types=[*(a.type for a in inner.args), *(g.type for g in cotangents)])
    outputs = copy_into(inner, block, block.args[: len(inner.args)])
    given = block.args[len(inner.args) :]
    with Builder(block, location=current_builder().location):
        found = gradients([outputs[i] for i in reached], given, [block.args[i] for i in wanted])
    return block, found


def copy_into(source: Block, into: Block, args: Sequence[SSAValue]) -> list[SSAValue]:
    """Append the operations of a block, on other arguments; what it yields there."""
    values: dict[SSAValue, SSAValue] = dict(zip(source.args, args, strict=True))
    last = source.last_op
    assert last is not None
    for op in source.ops:
        if op is not last:
            into.add_op(op.clone(values))
    return [values.get(v, v) for v in last.operands]


def or_zeros(value: SSAValue | None, like: SSAValue) -> SSAValue:
    return full_like(like, 0) if value is None else value


def prune(blocks: Sequence[Block], removable: Collection[int] | None = None) -> set[int]:
    """Remove dead operations, then the arguments that no block uses; the positions that stay."""
    for block in blocks:
        op: Operation | None = block.last_op
        while op is not None:
            before = op.prev_op
            if op.results and all(r.first_use is None for r in op.results):
                block.erase_op(op)
            op = before
    stay: set[int] = set()
    for i in reversed(range(len(blocks[0].args))):
        fixed = removable is not None and i not in removable
        if fixed or any(b.args[i].first_use is not None for b in blocks):
            stay.add(i)
        else:
            for b in blocks:
                b.erase_arg(b.args[i])
    return stay


# ---- while -----------------------------------------------------------------------------------


class While(Control):
    """Applies a body to carried tensors as long as a test of them holds; no reverse mode."""

    name = "calque.while"
    ATTRS = {"carries": INT}
    REGIONS = ("test", "do")

    def check(self) -> None:
        metas, n = metas_of(self.operands), self.attrs["carries"]
        test, body = self.regions
        holds = metas_of(yielded(test))
        for r in self.regions:
            expect_same("while: the arguments of the regions", metas_of(r.block.args), metas)
        if len(holds) != 1 or holds[0].dtype is not dt.bool_ or holds[0].rank:
            raise runtime_error("while: the test must return one 0-d bool tensor")
        expect_same(
            "while: the body must return what it carries", metas_of(yielded(body)), metas[:n]
        )
        expect_same("while: the results", metas_of(self.results), metas[:n])

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        carried, consts = list(operands[: attrs["carries"]]), operands[attrs["carries"] :]
        while runners[0](*carried, *consts)[0]:
            carried = runners[1](*carried, *consts)
        return carried

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        raise NotImplementedError


# ---- the functions ---------------------------------------------------------------------------
#
# They emit at the current builder; `region` makes the regions. How Python functions on tensors
# become regions is the caller's business, as is evaluating on data.


def cond(
    predicate: SSAValue, operands: Sequence[SSAValue], then: Region, otherwise: Region
) -> tuple[SSAValue, ...]:
    """What `then` yields on the operands where the 0-d bool holds, else what `otherwise` does.

    Raises RuntimeError where the branches yield different shapes or dtypes.
    """
    results = metas_of(yielded(then))
    return emit(Cond, [predicate, *operands], {}, [then, otherwise], results)


def while_loop(
    inits: Sequence[SSAValue], consts: Sequence[SSAValue], test: Region, body: Region
) -> tuple[SSAValue, ...]:
    """The carried tensors when `test` no longer holds; both regions take (*carried, *consts)."""
    attrs = {"carries": len(inits)}
    return emit(While, [*inits, *consts], attrs, [test, body], metas_of(inits))


OPS: tuple[type[Op], ...] = (Cond, While)
