"""Symbolic sizes as `index` values: arithmetic on the size arguments of a function."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Operation, SSAValue

from .scalar import ScalarBuilder
from .sym import Dim, Expr, Func, floordiv, mod, smax, smin

_INDEX = IndexType()


class SizeBuilder:
    """Computes sizes where `insert` puts operations; each constant and expression only once."""

    def __init__(
        self, insert: Callable[[Operation], object], symbols: Mapping[str, SSAValue]
    ) -> None:
        self.symbols = symbols
        self.scalars = ScalarBuilder(insert)
        self._insert = insert
        self._known: dict[object, SSAValue] = {}

    def __call__(self, dim: Dim) -> SSAValue:
        """The value of a size. Raises KeyError for a symbol that the function does not have."""
        found = self._known.get(dim)
        if found is None:
            found = self._known[dim] = self._make(dim)
        return found

    def _make(self, dim: Dim) -> SSAValue:
        s = self.scalars
        if isinstance(dim, int):
            made = arith.ConstantOp.create(
                result_types=(_INDEX,), properties={"value": IntegerAttr(dim, _INDEX)}
            )
            made.results[0].name_hint = f"c{dim}" if dim >= 0 else None
            self._insert(made)
            return made.results[0]
        if len(dim.terms) > 1:
            parts = [self(Expr((t,)) if t[0] else t[1]) for t in dim.terms]
            return reduce(s.add, parts)
        monomial, coefficient = next(iter(dim.terms))
        factors = [] if coefficient == 1 else [self(coefficient)]
        for atom, power in monomial:
            factors += [self._atom(atom)] * power
        return reduce(s.mul, factors)

    def _atom(self, atom: str | Func) -> SSAValue:
        if isinstance(atom, str):
            return self.symbols[atom]
        found = self._known.get(atom)
        if found is not None:
            return found
        s, a, b = self.scalars, self(atom.lhs), self(atom.rhs)
        match atom.name:
            case "floordiv":
                made = s.floordiv(a, b)
            case "mod":
                made = s.sub(a, s.mul(s.floordiv(a, b), b))
            case "min":
                made = s.minimum(a, b)
            case _:
                made = s.maximum(a, b)
        self._known[atom] = made
        return made


def dim_of(value: SSAValue, known: Mapping[SSAValue, Dim]) -> Dim:
    """The size that index arithmetic computes from the sizes in `known`.

    Raises ValueError for any other value.
    """
    if value in known:
        return known[value]
    op = value.owner
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return op.value.value.data
    rule = _RULES.get(type(op)) if isinstance(op, Operation) else None
    if rule is None or not isinstance(op, Operation):
        raise ValueError(f"the size {value} is not computed from sizes of inputs")
    return rule(dim_of(op.operands[0], known), dim_of(op.operands[1], known))


_RULES: dict[type[Operation], Callable[[Any, Any], Dim]] = {
    arith.AddiOp: operator.add,
    arith.SubiOp: operator.sub,
    arith.MuliOp: operator.mul,
    arith.FloorDivSIOp: floordiv,
    arith.DivSIOp: floordiv,
    arith.DivUIOp: floordiv,
    arith.RemSIOp: mod,
    arith.RemUIOp: mod,
    arith.MinSIOp: smin,
    arith.MinUIOp: smin,
    arith.MaxSIOp: smax,
    arith.MaxUIOp: smax,
}
