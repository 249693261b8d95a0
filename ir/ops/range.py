"""Elements that have to lie in a range, such as probabilities: a check when the program runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import FLOAT, STR, optional
from ..errors import runtime_error
from ..op import Node, Op, Sample, Value, bind
from ..types import TensorMeta

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import BodyBuilder, Tensor


class CheckRange(Op):
    """x, which fails with `message` where an element is not in low..high; NaN never is.

    `high` may be None.
    """

    name = "calque.check_range"
    ATTRS = {"low": FLOAT, "high": optional(FLOAT), "message": STR}

    @classmethod
    def infer(cls, *metas: TensorMeta, low: float, high: float | None, message: str) -> TensorMeta:
        if not metas[0].dtype.is_floating_point:
            raise runtime_error(f"check_range: expected floats, got {metas[0].dtype.name}")
        return metas[0]

    @staticmethod
    def REFERENCE(x: np.ndarray, low: float, high: float | None, message: str) -> np.ndarray:
        if not ((x >= low) & (True if high is None else x <= high)).all():
            raise runtime_error(message)
        return x

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        a = node.attrs

        def body(s: BodyBuilder, x: SSAValue) -> SSAValue:
            # Processors compare no 16-bit floats.
            wide = s.cast(x, f32) if dt.from_element(x.type).bits == 16 else x
            inside = s.compare("ge", wide, s.like(a["low"], wide))
            if a["high"] is not None:
                inside = s.and_(inside, s.compare("le", wide, s.like(a["high"], wide)))
            s.check(inside, a["message"])
            return x

        return [b.pointwise(node.result_metas[0], node.operands, body=body)]

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return cotangents

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        attrs = {"low": 0.0, "high": 1.0, "message": "not a probability"}
        x = np.linspace(0.1, 0.9, 12).reshape(3, 4)
        for dtype in (np.float32, np.float64, np.float16):
            yield Sample((x.astype(dtype),), attrs, grad=dtype is not np.float16)
        yield Sample((np.array([0.0, 1.0]),), attrs, grad=False)
        yield Sample((x * 9,), {**attrs, "high": None})
        yield Sample((x[:0],), attrs)
        error = (RuntimeError, "not a probability")
        for bad in (-0.1, 1.1, np.nan):
            yield Sample((np.append(x, bad),), attrs, error=error)
        yield Sample((x - 0.5,), {**attrs, "high": None}, error=error)
        yield Sample((np.arange(2),), attrs, error=(RuntimeError, "expected floats"))


def check_range(x: Value, low: float, high: float | None, message: str) -> Value:
    """x, whose elements have to be at least `low` and, unless it is None, at most `high`."""
    return bind(CheckRange, (x,), {"low": low, "high": high, "message": message})


OPS: tuple[type[Op], ...] = (CheckRange,)
