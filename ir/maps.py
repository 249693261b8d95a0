"""Indexing maps as plain tuples, which are cheap to compose, and their MLIR attributes, cached.

An item of a map says which index of a tensor a loop gives: an int is the loop of that number,
None is index 0 (a dimension of size one that is repeated), an `AffineExpr` is anything else
(`AffineExpr.dimension(2) * 2 + AffineExpr.dimension(5)` for a window with stride 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from xdsl.dialects.builtin import AffineMapAttr
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
    AffineMap,
)

MapItem: TypeAlias = int | AffineExpr | None
IndexMap: TypeAlias = tuple[MapItem, ...]

_attributes: dict[tuple[int, IndexMap], AffineMapAttr] = {}


def identity(rank: int) -> IndexMap:
    """(0, 1, …, rank-1)."""
    return tuple(range(rank))


def expression(item: MapItem) -> AffineExpr:
    """An item as an affine expression."""
    if item is None:
        return AffineConstantExpr(0)
    return AffineDimExpr(item) if isinstance(item, int) else item


def attribute(loops: int, items: IndexMap) -> AffineMapAttr:
    """The MLIR attribute of a map over `loops` loops; equal maps give the same object."""
    found = _attributes.get((loops, items))
    if found is None:
        found = AffineMapAttr(AffineMap(loops, 0, tuple(expression(i) for i in items)))
        _attributes[loops, items] = found
    return found


def compose(items: IndexMap, inner: IndexMap) -> IndexMap:
    """`items` over the loops that `inner` computes: a map over the loops of `inner`."""
    return tuple(_substitute(item, inner) for item in items)


def _substitute(item: MapItem, inner: IndexMap) -> MapItem:
    if item is None:
        return None
    if isinstance(item, int):
        return inner[item]
    return simplify(item.replace_dims_and_symbols([expression(i) for i in inner], []))


def simplify(expr: AffineExpr) -> MapItem:
    """An expression as the plainest item that says the same."""
    match expr:
        case AffineDimExpr():
            return expr.position
        case AffineConstantExpr(value=0):
            return None
    return expr


def strided(item: MapItem) -> tuple[int, int, int] | None:
    """(loop, stride, start) of an item `loop * stride + start`, or None for other forms."""
    if isinstance(item, int):
        return item, 1, 0
    stride, start, expr = 1, 0, item
    if isinstance(expr, AffineBinaryOpExpr) and expr.kind is AffineBinaryOpKind.Add:
        if not isinstance(expr.rhs, AffineConstantExpr):
            return None
        start, expr = expr.rhs.value, expr.lhs
    if isinstance(expr, AffineBinaryOpExpr) and expr.kind is AffineBinaryOpKind.Mul:
        if not isinstance(expr.rhs, AffineConstantExpr):
            return None
        stride, expr = expr.rhs.value, expr.lhs
    return (expr.position, stride, start) if isinstance(expr, AffineDimExpr) else None


def covers(items: Sequence[MapItem], loops: int) -> bool:
    """Whether every loop has an index of its own in the map: no element is met twice."""
    seen = {s[0] for i in items if i is not None and (s := strided(i)) is not None}
    return len(seen) == loops


def is_identity(items: IndexMap, rank: int) -> bool:
    """Whether a map is the identity over `rank` loops."""
    return len(items) == rank and all(i == n for n, i in enumerate(items))


__all__ = [
    "AffineExpr",
    "IndexMap",
    "MapItem",
    "attribute",
    "compose",
    "covers",
    "expression",
    "identity",
    "is_identity",
    "simplify",
    "strided",
]
