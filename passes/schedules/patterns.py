"""How a reduction reads memory: what decides along which loops vectors lie."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith

from .expr import Expr, IndexOf, Load, Reduce, Rows, walk
from .index import ONE, Ix


def is_plain(roots: Sequence[Expr], bits: int) -> bool:
    """Whether no index below the roots divides by way of the given loops."""
    for e in walk(*roots):
        indices: tuple[Ix, ...] = ()
        if isinstance(e, Load):
            indices = e.indices + tuple(g.index for g in e.guards)
        elif isinstance(e, IndexOf):
            indices = (e.index,)
        for index in indices:
            for monomial, _ in index.terms:
                for atom in monomial:
                    if atom.deps & bits and atom.kind in ("floordiv", "mod"):
                        return False
    return True


# Of zeros with different signs, maxnumf and minnumf may give either.
_INEXACT = (arith.AddfOp, arith.MulfOp, arith.MaxnumfOp, arith.MinnumfOp)


def is_exact(made: Reduce) -> bool:
    """Whether the order of values makes no difference, or is that of the loops."""
    return made.combines is None or not any(isinstance(c.op, _INEXACT) for c in made.combines)


def is_windowed(made: Reduce, most: int) -> bool:
    """Whether values are read through windows of at most so many elements that move with the
    results: vectors then lie along these better than along a window."""
    bits, count = 0, ONE
    for loop in made.loops:
        bits |= loop.deps
        count = count * loop.extent
    if count.constant is None or count.constant > most:
        return False
    return any(
        any(i.deps & bits and i.deps & ~bits for i in x.indices)
        for x in walk(*made.results)
        if isinstance(x, Load)
    )


def rows_of(made: Reduce, pairs: Sequence[Reduce], side: int) -> Rows | None:
    """A factor of a product as the longest rows that leave accesses along them as they are, of
    those that two loops make; None where one loop does or none do."""
    if made.product is None or is_plain([made.product[side]], made.loops[0].deps):
        return None
    for pair in pairs:
        if pair.product is not None and is_plain([pair.product[side]], pair.loops[1].deps):
            outer, inner = pair.loops
            return Rows(outer, inner, pair.product[side])
    return None


__all__ = ["is_exact", "is_plain", "is_windowed", "rows_of"]
