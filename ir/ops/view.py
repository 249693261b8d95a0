"""View operators: the same elements under another shape; they move no data in eager mode.

Each defines `unview(base, new, attrs)`: the base in which the viewed elements are replaced by
`new`, which is how writes through views are functionalized.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..attrs import DIMS
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, same
from ..types import Shape, TensorMeta


class View(Op):
    """Base of the view operators."""

    @classmethod
    def unview(cls, base: Value, new: Value, attrs: dict[str, Any]) -> Value:
        """`base` with the elements seen through this view replaced by those of `new`."""
        raise NotImplementedError(cls.name)


class BroadcastTo(View):
    """Repeat size-1 and missing leading dimensions; sizes align at the right."""

    name = "calque.broadcast_to"
    ATTRS = {"shape": DIMS}

    @classmethod
    def infer(cls, *metas: TensorMeta, shape: Shape) -> TensorMeta:
        (x,) = metas
        lead = len(shape) - x.rank
        if lead < 0:
            raise RuntimeError(
                f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to "
                f"the number of dimensions in the tensor ({x.rank})"
            )
        for i, d in enumerate(x.shape):
            if not (isinstance(d, int) and d == 1) and not same(d, shape[lead + i]):
                raise RuntimeError(
                    f"The expanded size of the tensor ({shape[lead + i]}) must match the existing "
                    f"size ({d}) at non-singleton dimension {lead + i}."
                )
        return x.with_shape(shape)

    @staticmethod
    def REFERENCE(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(x, shape)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .reduce import sum_to

        return (sum_to(cotangents[0], node.operand_metas[0].shape),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [b.broadcast(node.operands[0], node.attrs["shape"])]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for shape, target in (((), (3,)), ((1,), (4,)), ((3, 1), (2, 3, 5)), ((0, 1), (0, 4))):
            x = rng.standard_normal(shape).astype(np.float32)
            yield Sample((np.asarray(x, np.float32),), {"shape": target})
        bad = (RuntimeError, "must match the existing size")
        yield Sample((np.zeros(3, np.float32),), {"shape": (4,)}, error=bad)


def broadcast_to(x: Value, shape: Sequence[Dim]) -> Value:
    """x repeated to `shape`; x itself where it already has it."""
    shape = tuple(shape)
    return x if meta(x).shape == shape else bind(BroadcastTo, (x,), {"shape": shape})


OPS: tuple[type[Op], ...] = (BroadcastTo,)
