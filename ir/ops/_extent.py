"""How many elements a slice has, and whether it lies within its dimension."""

from __future__ import annotations

from ..errors import runtime_error
from ..sym import Dim, Expr, Func, less, shown


def slice_extent(dim: int, size: Dim, start: Dim, limit: Dim, stride: int) -> Dim:
    """How many elements a slice of one dimension has. Raises RuntimeError where it reaches out."""
    if stride == 0:
        raise runtime_error("slice: a stride cannot be 0")
    if stride > 0:
        fits = _at_most(0, start) and _at_most(start, limit) and _at_most(limit, size)
        span = limit - start
    else:
        fits = _at_most(-1, limit) and _at_most(limit, start) and _at_most(start, size - 1)
        span = start - limit
    if not fits:
        raise runtime_error(
            f"slice: {shown(start)}:{shown(limit)}:{stride} does not lie within dimension {dim} of "
            f"size {shown(size)}"
        )
    return strided_extent(span, abs(stride))


def strided_extent(span: Dim, step: int) -> Dim:
    """How many of `span` elements there are when every `step`-th is taken."""
    return span if step == 1 else (span + step - 1) // step


def _at_most(a: Dim, b: Dim) -> bool:
    """Whether a <= b; known at once for min(…, b) <= b and a <= max(a, …)."""
    if a == b or _choice(a, "min", b) or _choice(b, "max", a):
        return True
    return not less(b, a)


def _choice(x: Dim, name: str, among: Dim) -> bool:
    """Whether x is the min or max of some sizes that include `among`."""
    if not isinstance(x, Expr) or len(x.terms) != 1 or x.terms[0][1] != 1:
        return False
    match x.terms[0][0]:
        case ((Func() as atom, 1),) if atom.name == name:
            return among in (atom.lhs, atom.rhs)
    return False
