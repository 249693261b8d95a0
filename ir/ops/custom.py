"""Computations that bring their own derivative: `custom`, behind `autograd.Function`.

    %y, %kept = calque.custom %x {outputs = 1, through = [0], wrt = [0], once = false} forward {
    ^bb0(%a: tensor<3xf32>):
      %r = calque.relu %a : tensor<3xf32>
      calque.yield %r, %a : tensor<3xf32>, tensor<3xf32>
    } backward {
    ^bb0(%g: tensor<3xf32>, %a: tensor<3xf32>):
      %d = calque.mul %g, %a : tensor<3xf32>
      calque.yield %d : tensor<3xf32>
    } : (tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>)

`decompose` leaves of it what the forward region does, so it comes after differentiation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Block, Region, SSAValue

from ..attrs import BOOL, INT, INTS
from ..errors import runtime_error
from ..op import Node, Op, Value, current_builder
from ..types import TensorMeta
from .control import Control, Runner, emit, expect_same, metas_of, yielded
from .creation import full_like


def inline_region(region: Region, args: Sequence[SSAValue]) -> list[SSAValue]:
    """Emit the operations of a region at the current builder; what it yields on these values."""
    builder = current_builder()
    values: dict[SSAValue, SSAValue] = dict(zip(region.block.args, args, strict=True))
    last = region.block.last_op
    for op in region.block.ops:
        if op is not last:
            builder.insert(op.clone(values))
    return [values.get(v, v) for v in yielded(region)]


class Custom(Control):
    """What a region computes, with the derivative that another region computes.

    The forward region takes the operands and yields `outputs` results and then residuals, which
    are results too. The backward region takes the cotangents of the results `through` and the
    residuals, and yields the cotangents of the operands `wrt`. With `once` these cannot be
    differentiated in turn.
    """

    name = "calque.custom"
    ATTRS = {"outputs": INT, "through": INTS, "wrt": INTS, "once": BOOL}
    REGIONS = ("forward", "backward")

    def check(self) -> None:
        a = self.attrs
        operands, results = metas_of(self.operands), metas_of(self.results)
        forward, backward = self.regions
        expect_same(
            "custom: the forward region's arguments", metas_of(forward.block.args), operands
        )
        expect_same("custom: the results", results, metas_of(yielded(forward)))
        taken = [*(results[i] for i in a["through"]), *results[a["outputs"] :]]
        expect_same("custom: the backward region's arguments", metas_of(backward.block.args), taken)
        wanted = [operands[i] for i in a["wrt"]]
        expect_same("custom: what the backward region yields", metas_of(yielded(backward)), wanted)

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        return runners[0](*operands)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        a = node.attrs
        given = [
            full_like(node.results[i], 0) if cotangents[i] is None else cotangents[i]
            for i in a["through"]
        ]
        forward, backward = node.regions
        args = [*given, *_residuals(node, forward, a["outputs"])]
        found = sealed(backward, args) if a["once"] else inline_region(backward, args)
        out: list[Value | None] = [None] * len(node.operands)
        for i, value in zip(a["wrt"], found, strict=True):
            out[i] = value
        return out

    @classmethod
    def decompose(cls, *operands: Value, regions: Sequence[Region], **attrs: Any) -> list[Value]:
        return inline_region(regions[0], operands)


def _residuals(node: Node, forward: Region, outputs: int) -> list[Value]:
    """The residuals as the values outside of the region that they are, where they are some.

    An operand or a result that was kept has a derivative of its own, which a second
    differentiation follows; what was computed in between is constant.
    """
    values = yielded(forward)
    known: dict[SSAValue, Value] = dict(zip(values[:outputs], node.results, strict=False))
    known |= dict(zip(forward.block.args, node.operands, strict=True))
    kept = zip(values[outputs:], node.results[outputs:], strict=True)
    return [known.get(value, result) for value, result in kept]


class Sealed(Control):
    """What a region computes, not to be differentiated."""

    name = "calque.sealed"
    REGIONS = ("do",)

    def check(self) -> None:
        (body,) = self.regions
        expect_same("sealed: the arguments", metas_of(body.block.args), metas_of(self.operands))
        expect_same("sealed: the results", metas_of(self.results), metas_of(yielded(body)))

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        return runners[0](*operands)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        raise runtime_error(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )

    @classmethod
    def decompose(cls, *operands: Value, regions: Sequence[Region], **attrs: Any) -> list[Value]:
        return inline_region(regions[0], operands)


def custom(
    operands: Sequence[SSAValue], forward: Region, backward: Region, attrs: dict[str, Any]
) -> tuple[SSAValue, ...]:
    """What `forward` yields on the operands, residuals included."""
    results: list[TensorMeta] = metas_of(yielded(forward))
    return emit(Custom, operands, attrs, [forward, backward], results)


def sealed(source: Region, operands: Sequence[SSAValue]) -> tuple[SSAValue, ...]:
    """What a copy of `source` yields on the operands, without a derivative."""
    copy = Region(Block())
    source.clone_into(copy, 0)
    copy.erase_block(copy.blocks[-1])
    return emit(Sealed, operands, {}, [copy], metas_of(yielded(source)))


OPS: tuple[type[Op], ...] = (Custom, Sealed)
