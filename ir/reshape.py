"""Reshapes as `tensor.collapse_shape` and `tensor.expand_shape`, dynamic sizes included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from xdsl.dialects import tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    IntegerAttr,
    i64,
)
from xdsl.ir import SSAValue

from .linalgcore import Core, plain_type
from .sym import Dim, product
from .types import Shape, TensorMeta

Groups = list[tuple[range, range]]


def groups(source: Sequence[Dim], target: Sequence[Dim]) -> Groups:
    """The finest runs of dimensions of two shapes that hold the same elements.

    For shapes (2, 3, 4) and (6, 2, 2): (0..1, 0..0), (2..2, 1..2).
    """
    cuts = [(0, 0)]
    ahead: Dim = 1
    products = [ahead := ahead * d for d in target]
    total: Dim = 1
    for i, d in enumerate(source, 1):
        total = total * d
        for j in range(cuts[-1][1], len(products)):
            if products[j] == total:
                cuts.append((i, j + 1))
                break
    # Dimensions of size one may be left over at the end; they join the last run.
    last = cuts[-1]
    if last != (len(source), len(target)):
        done = len(source) == last[0] or len(target) == last[1]
        if done and len(cuts) > 1:
            cuts.pop()
        cuts.append((len(source), len(target)))
    return [(range(a, c), range(b, d)) for (a, b), (c, d) in pairwise(cuts)]


def reshape_value(b: Core, x: SSAValue, out: TensorMeta) -> SSAValue:
    """x under the shape of `out`, which has as many elements."""
    shape = b.meta(x).shape
    if shape == out.shape:
        return x
    if 0 in shape or 0 in out.shape:
        return b.empty(out)
    if not shape or not out.shape:
        return _scalar(b, x, out)
    runs = groups(shape, out.shape)
    middle: Shape = tuple(product(out.shape[j] for j in to) for _, to in runs)
    flat = out.with_shape(middle)
    x = collapse(b, x, [list(of) for of, _ in runs], flat)
    return expand(b, x, [list(to) for _, to in runs], out)


def _scalar(b: Core, x: SSAValue, out: TensorMeta) -> SSAValue:
    if out.shape:
        return expand(b, x, [], out)
    return collapse(b, x, [], out)


def _reassociation(runs: Sequence[Sequence[int]]) -> ArrayAttr[ArrayAttr[IntegerAttr]]:
    return ArrayAttr([ArrayAttr([IntegerAttr(i, i64) for i in run]) for run in runs])


def collapse(b: Core, x: SSAValue, runs: Sequence[Sequence[int]], out: TensorMeta) -> SSAValue:
    """Each run of dimensions made one; `out` may know more of the sizes than x."""
    source = b.meta(x)
    if len(runs) == source.rank and runs:
        return b.retype(x, out)
    known = out.with_shape([product(source.shape[i] for i in run) for run in runs])
    made = tensor.CollapseShapeOp.create(
        operands=(x,),
        result_types=(plain_type(known),),
        properties={"reassociation": _reassociation(runs)},
    )
    return b.retype(b.track(b.insert(made)[0], known), out)


def expand(b: Core, x: SSAValue, runs: Sequence[Sequence[int]], out: TensorMeta) -> SSAValue:
    """Each dimension made the run of dimensions of `out`."""
    if len(runs) == out.rank and runs:
        return b.retype(x, out)
    static = [d if isinstance(d, int) else DYNAMIC_INDEX for d in out.shape]
    dynamic = [b.size(d) for d in out.shape if not isinstance(d, int)]
    made = tensor.ExpandShapeOp.create(
        operands=(x, *dynamic),
        result_types=(plain_type(out),),
        properties={
            "reassociation": _reassociation(runs),
            "static_output_shape": DenseArrayBase.from_list(i64, static),
        },
    )
    return b.track(b.insert(made)[0], out)
