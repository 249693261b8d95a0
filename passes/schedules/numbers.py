"""Numbers as attributes of `arith.constant`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    VectorType,
    i1,
    i64,
)
from xdsl.ir import Attribute, Operation

TRUE = IntegerAttr(-1, i1)
FALSE = IntegerAttr(0, i1)

Properties = dict[str, Attribute]

NO_FASTMATH: Properties = {"fastmath": arith.FastMathFlagsAttr("none")}
NO_WRAP: Properties = {"overflowFlags": arith.IntegerOverflowAttr("none")}


def number(value: float, element: Attribute) -> Attribute:
    """A number of a scalar type; true is -1, as MLIR has it."""
    if element == i1:
        return TRUE if value else FALSE
    if isinstance(element, IntegerType | IndexType):
        return IntegerAttr(int(value), element)
    return FloatAttr(float(value), cast("Any", element))


def value_of(attr: Attribute) -> Any:
    """The Python number of an integer or float attribute."""
    return cast("Any", attr).value.data


def dense(values: Sequence[float], type_: VectorType[Attribute]) -> Attribute:
    """A vector of numbers; one number fills all lanes."""
    return DenseIntOrFPElementsAttr.from_list(cast("Any", type_), cast("Any", values))


def integers(values: Sequence[int]) -> DenseArrayBase:
    """A list of integers as a property."""
    return DenseArrayBase.from_list(i64, values)


def adding(element: Attribute) -> tuple[type[Operation], Properties]:
    """The addition of a scalar type, with its flags."""
    if isinstance(element, IntegerType | IndexType):
        return arith.AddiOp, NO_WRAP
    return arith.AddfOp, NO_FASTMATH
