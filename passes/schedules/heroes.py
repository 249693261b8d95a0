"""What the attribute `calque.hero` promises about the body of a kernel, and whether it is true."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from xdsl.dialects import arith, func, math, scf
from xdsl.dialects.builtin import ShapedType, StringAttr
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.ir import Operation
from xdsl.ir.affine import AffineDimExpr

HERO = "calque.hero"

_CONTRACTING = ("matmul", "conv")
_REDUCING = ("rowwise", "reduce")


class HeroWarning(UserWarning):
    """A kernel's body is not what its hero says; it is compiled by what it is."""


def hero_of(kernel: func.FuncOp) -> str | None:
    """The hero of a kernel."""
    hero = kernel.attributes.get(HERO)
    return hero.data if isinstance(hero, StringAttr) else None


def contracts(kernel: func.FuncOp, ops: Sequence[Operation]) -> bool | None:
    """Whether sums of products in a kernel are products of matrices, by its hero; None if they
    may be. Warns, naming the function, where `ops`, its operations, are not what the hero says.
    """
    hero = hero_of(kernel)
    said = kernel.attributes.get(HERO)
    found = _PROMISES[hero](ops) if hero in _PROMISES else "no such hero is known"
    if said is not None and found:
        warnings.warn(
            f"@{kernel.sym_name.data} has the hero {said}, but {found}; "
            "it is compiled as a generic kernel",
            HeroWarning,
            stacklevel=4,
        )
    if hero in _CONTRACTING:
        return None if found else True
    return False if hero in _REDUCING else None


def is_gradual(hero: str | None, ops: Sequence[Operation]) -> bool:
    """Whether a kernel may leave parts of its results in memory before it has read all that it
    reads for them: products add up there, as far as what was said above lets them be products.
    """
    if hero in ("pool", "scatter"):
        return True
    found = _reductions(ops)
    return bool(found) and (hero not in _REDUCING or any(map(_sums_products, found)))


def natural_hero(op: LinalgStructuredOperation) -> str:
    """The hero of a kernel that consists of one structured operation."""
    if not _reduces(op):
        return "elementwise"
    if _sums_products(op):
        kinds = [i.data for i in op.get_iterator_types()]
        return "matmul" if kinds.count(IteratorType.REDUCTION) == 1 else "conv"
    return "rowwise" if _reduces_rows(op) else "reduce"


# ---- what is promised: each function says what is found instead, nothing if all is well ----------


def _product(ops: Sequence[Operation]) -> str:
    found = _reductions(ops)
    if not found:
        return "it reduces nothing"
    if not any(map(_sums_products, found)):
        return "it sums no products"
    return f"it has {len(found)} reductions" if len(found) > 1 else ""


def _rows(ops: Sequence[Operation]) -> str:
    found = _reductions(ops)
    if not found:
        return "it reduces nothing"
    return "" if all(map(_reduces_rows, found)) else "it reduces others than the last dimensions"


def _any_reduction(ops: Sequence[Operation]) -> str:
    return "" if _reductions(ops) else "it reduces nothing"


def _plain(ops: Sequence[Operation]) -> str:
    if any(isinstance(op, scf.ForOp) for op in ops):
        return "it contains a loop"
    return "it contains a reduction" if _reductions(ops) else ""


def _anything(ops: Sequence[Operation]) -> str:
    return ""


_PROMISES: dict[str, Callable[[Sequence[Operation]], str]] = {
    "matmul": _product,
    "conv": _product,
    "rowwise": _rows,
    "reduce": _any_reduction,
    "pool": _any_reduction,
    "elementwise": _plain,
    "view": _plain,
    "scatter": _anything,
    "generic": _anything,
}


# ---- what a structured operation is --------------------------------------------------------------


def _reductions(ops: Sequence[Operation]) -> list[LinalgStructuredOperation]:
    return [op for op in ops if isinstance(op, LinalgStructuredOperation) and _reduces(op)]


def _reduces(op: LinalgStructuredOperation) -> bool:
    return any(i.data is IteratorType.REDUCTION for i in op.get_iterator_types())


def _reduces_rows(op: LinalgStructuredOperation) -> bool:
    """Whether the reduced loops come last, those of one iteration left aside."""
    units = _units(op)
    kinds = [i.data for i in op.get_iterator_types()]
    reduced = [k is IteratorType.REDUCTION for n, k in enumerate(kinds) if n not in units]
    return reduced == sorted(reduced)


def _units(op: LinalgStructuredOperation) -> set[int]:
    """The loops of which the types say that they have one iteration."""
    found: set[int] = set()
    for value, m in zip(op.operands, op.get_indexing_maps(), strict=True):
        shape = value.type.get_shape() if isinstance(value.type, ShapedType) else ()
        for item, size in zip(m.data.results, shape, strict=False):
            if size == 1 and isinstance(item, AffineDimExpr):
                found.add(item.position)
    return found


_PRODUCTS = {arith.AddfOp: arith.MulfOp, arith.AddiOp: arith.MuliOp}


def _sums_products(op: LinalgStructuredOperation) -> bool:
    """Whether the body is ``acc + a * b``."""
    block = op.regions[0].block
    last = block.last_op
    if last is None or len(last.operands) != 1:
        return False
    acc, total = block.args[-1], last.operands[0].owner
    if isinstance(total, math.FmaOp):
        return total.c is acc
    if not isinstance(total, arith.AddfOp | arith.AddiOp) or acc not in total.operands:
        return False
    return any(isinstance(v.owner, _PRODUCTS[type(total)]) for v in total.operands)
