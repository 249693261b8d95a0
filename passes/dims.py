"""Symbolic sizes as an attribute, for values whose plain types do not name them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute

from ..ir.sym import Dim, parse
from ..ir.types import Shape

DIMS = "calque.dims"


def dims_attr(shape: Sequence[Dim]) -> ArrayAttr[Attribute]:
    """Sizes as an attribute that standard tools can carry: integers, and texts of expressions."""
    return ArrayAttr(
        [IntegerAttr(d, i64) if isinstance(d, int) else StringAttr(str(d)) for d in shape]
    )


def shape_from(attr: Attribute) -> Shape:
    """The sizes that `dims_attr` wrote."""
    assert isinstance(attr, ArrayAttr)
    return tuple(_dim(d) for d in attr)


def _dim(attr: Attribute) -> Dim:
    if isinstance(attr, IntegerAttr):
        return attr.value.data
    assert isinstance(attr, StringAttr)
    return parse(attr.data)
