"""What the attribute `calque.hero` promises about the body of a kernel, and whether it is true."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from xdsl.dialects import func
from xdsl.dialects.builtin import StringAttr
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.ir import Operation

HERO = "calque.hero"

_REDUCING = ("matmul", "conv", "reduce", "pool")
_CONTRACTING = ("matmul", "conv")
_PLAIN = ("elementwise", "view")


class HeroWarning(UserWarning):
    """A kernel's body is not what its hero says; it is compiled by what it is."""


def hero_of(kernel: func.FuncOp) -> str | None:
    """The hero of a kernel."""
    hero = kernel.attributes.get(HERO)
    return hero.data if isinstance(hero, StringAttr) else None


def contracts(hero: str | None) -> bool | None:
    """Whether sums of products in a group are products of matrices; None if they may be."""
    if hero in _CONTRACTING:
        return True
    return False if hero in ("rowwise", "reduce") else None


def check_hero(kernel: func.FuncOp, ops: Iterable[Operation]) -> None:
    """Warn, naming the function, if the operations are not what its hero says."""
    hero = hero_of(kernel)
    if hero is None:
        return
    reduces = False
    for op in ops:
        if isinstance(op, LinalgStructuredOperation):
            kinds = [i.data for i in op.get_iterator_types()]
            reduces = reduces or IteratorType.REDUCTION in kinds
    missing = ""
    if hero in _REDUCING and not reduces:
        missing = "reduces nothing"
    elif hero in _PLAIN and reduces:
        missing = "contains a reduction"
    if missing:
        warnings.warn(
            f'@{kernel.sym_name.data} has the hero "{hero}" but {missing}; '
            "it is compiled as a generic kernel",
            HeroWarning,
            stacklevel=4,
        )
