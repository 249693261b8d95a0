"""Index arithmetic while a kernel is scheduled: integer polynomials over loops and sizes.

An index of a tensor, an extent, a stride is an `Ix`: a sum of integer multiples of products of
atoms. Atoms are loops, sizes known at run time, quotients and remainders (from reshapes), and
values read from memory. Equality is structural, and what belongs together is recognized: with
``q = floordiv(m, B)`` and ``r = mod(m, B)``, ``q * B + r`` is ``m`` again. That is why a chain of
reshapes that leaves the order of elements alone costs nothing.

Every `Ix` knows the loops it depends on as a set of bits, which says where it can be computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xdsl.ir import SSAValue

Kind = Literal["loop", "value", "size", "floordiv", "mod", "min", "max", "data"]
Monomial = tuple["Atom", ...]


@dataclass(slots=True, eq=False)
class Atom:
    """An irreducible integer. `deps` holds one bit per loop; `args` depends on the kind:

    - loop: (extent,);  value: (index SSA value of the function,);  size: (memref, dimension);
    - floordiv, mod, min, max: two `Ix`;  data: (expression of index type,).
    """

    kind: Kind
    order: int
    deps: int
    args: tuple[Any, ...]

    @property
    def extent(self) -> Ix:
        """Trip count of a loop."""
        return self.args[0]


class Ix:
    """A polynomial: sorted (monomial, coefficient) pairs; the constant's monomial is empty."""

    __slots__ = ("_hash", "deps", "divides", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)
        deps, divides = 0, False
        for monomial, _ in terms:
            for atom in monomial:
                deps |= atom.deps
                divides = divides or atom.kind == "mod"
        self.deps = deps
        self.divides = divides

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Ix) and self.terms == other.terms)

    @property
    def constant(self) -> int | None:
        """The value of a constant, else None."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and not self.terms[0][0]:
            return self.terms[0][1]
        return None

    @property
    def atom(self) -> Atom | None:
        """The atom that this is, or None if it is anything else."""
        if len(self.terms) == 1:
            monomial, coefficient = self.terms[0]
            if coefficient == 1 and len(monomial) == 1:
                return monomial[0]
        return None

    def __add__(self, other: Ix) -> Ix:
        if not other.terms:
            return self
        if not self.terms:
            return other
        out = dict(self.terms)
        for monomial, coefficient in other.terms:
            out[monomial] = out.get(monomial, 0) + coefficient
        if self.divides or other.divides:
            _rejoin(out)
        return polynomial(out)

    def __sub__(self, other: Ix) -> Ix:
        return self + other * Ix.of(-1)

    def __mul__(self, other: Ix) -> Ix:
        if self.constant == 1:
            return other
        if other.constant == 1:
            return self
        out: dict[Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in other.terms:
                m = _times(m1, m2)
                out[m] = out.get(m, 0) + c1 * c2
        if self.divides or other.divides:
            _rejoin(out)
        return polynomial(out)

    def __repr__(self) -> str:
        return " + ".join(
            "*".join([str(c), *(f"{a.kind}{a.order}" for a in m)]) for m, c in self.terms
        )

    @staticmethod
    def of(value: int | Atom) -> Ix:
        if isinstance(value, Atom):
            return Ix((((value,), 1),))
        return Ix((((), value),)) if value else ZERO


ZERO = Ix(())
ONE = Ix((((), 1),))


def _order(atom: Atom) -> int:
    return atom.order


def _times(a: Monomial, b: Monomial) -> Monomial:
    if not a:
        return b
    return tuple(sorted(a + b, key=_order)) if b else a


def polynomial(terms: Mapping[Monomial, int]) -> Ix:
    """A polynomial from its terms in any order."""
    kept = [(m, c) for m, c in terms.items() if c]
    kept.sort(key=lambda term: [a.order for a in term[0]])
    return Ix(tuple(kept))


def _rejoin(terms: dict[Monomial, int]) -> None:
    """Replace ``c*floordiv(m, B)*B*rest + c*mod(m, B)*rest`` by ``c*m*rest``, in place."""
    changed = True
    while changed:
        changed = False
        for monomial, coefficient in list(terms.items()):
            remainder = next((a for a in monomial if a.kind == "mod"), None)
            if remainder is None or not coefficient:
                continue
            whole, divisor, quotient = remainder.args
            rest = tuple(a for a in monomial if a is not remainder)
            ((unit, scale),) = divisor.terms
            partner = _times(_times(rest, (quotient,)), unit)
            if terms.get(partner) != coefficient * scale:
                continue
            del terms[monomial], terms[partner]
            for m, c in whole.terms:
                joined = _times(m, rest)
                terms[joined] = terms.get(joined, 0) + c * coefficient
            changed = True
            break


@dataclass(slots=True)
class Space:
    """Makes the atoms of one kernel; equal ones are the same object."""

    _count: int = 0
    _loops: int = 0
    _known: dict[tuple[Any, ...], Atom] = field(default_factory=dict)
    _shared: dict[Ix, list[Atom]] = field(default_factory=dict)

    def _atom(self, kind: Kind, deps: int, args: tuple[Any, ...]) -> Atom:
        self._count += 1
        return Atom(kind, self._count, deps, args)

    def _unique(self, kind: Kind, deps: int, args: tuple[Any, ...]) -> Atom:
        key = (kind, *args)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._atom(kind, deps, args)
        return found

    def loop(self, extent: Ix) -> Atom:
        """A new loop from 0 to `extent`."""
        self._loops += 1
        return self._atom("loop", 1 << (self._loops - 1), (extent,))

    def loops(self, extents: Sequence[Ix], outside: int) -> list[Atom]:
        """Loops for a reduction. Reductions over the same extents share their loops, unless one
        stands inside of a loop of the other: those of `outside` are not taken."""
        out: list[Atom] = []
        for extent in extents:
            known = self._shared.setdefault(extent, [])
            found = next((a for a in known if not a.deps & outside), None)
            if found is None:
                found = self.loop(extent)
                known.append(found)
            outside |= found.deps
            out.append(found)
        return out

    def value(self, value: SSAValue) -> Ix:
        """An index argument of the function."""
        return Ix.of(self._unique("value", 0, (value,)))

    def size(self, memref: SSAValue, dim: int) -> Ix:
        """A dynamic extent of a memref argument."""
        return Ix.of(self._unique("size", 0, (memref, dim)))

    def data(self, expr: Any) -> Ix:
        """An index that was computed from elements."""
        return Ix.of(self._unique("data", expr.deps, (expr,)))

    def floordiv(self, a: Ix, b: Ix) -> Ix:
        """a // b for b > 0."""
        return self._divide(a, b)[0]

    def mod(self, a: Ix, b: Ix) -> Ix:
        """a - a // b * b for b > 0."""
        return self._divide(a, b)[1]

    def _divide(self, a: Ix, b: Ix) -> tuple[Ix, Ix]:
        if b.constant == 1:
            return a, ZERO
        x, y = a.constant, b.constant
        if x is not None and y is not None and y > 0:
            return Ix.of(x // y), Ix.of(x % y)
        exact, rest = _split(a, b)
        if fits(rest, b):
            return exact, rest
        args = (rest, b)
        deps = rest.deps | b.deps
        quotient = self._unique("floordiv", deps, args)
        if len(b.terms) != 1:
            return exact + Ix.of(quotient), rest - Ix.of(quotient) * b
        key = ("mod", rest, b)
        remainder = self._known.get(key)
        if remainder is None:
            remainder = self._known[key] = self._atom("mod", deps, (rest, b, quotient))
        return exact + Ix.of(quotient), Ix.of(remainder)

    def minimum(self, a: Ix, b: Ix) -> Ix:
        return self._extremum("min", a, b)

    def maximum(self, a: Ix, b: Ix) -> Ix:
        return self._extremum("max", a, b)

    def _extremum(self, kind: Literal["min", "max"], a: Ix, b: Ix) -> Ix:
        x, y = a.constant, b.constant
        if x is not None and y is not None:
            return Ix.of(min(x, y) if kind == "min" else max(x, y))
        if a == b:
            return a
        return Ix.of(self._unique(kind, a.deps | b.deps, (a, b)))

    def delinearize(self, flat: Ix, extents: Sequence[Ix]) -> tuple[Ix, ...]:
        """The indices, outermost first, of the element number `flat` of a row-major array."""
        out: list[Ix] = []
        for extent in reversed(extents[1:]):
            flat, inner = self._divide(flat, extent)
            out.append(inner)
        if extents:
            out.append(flat if extents[0].constant != 1 else ZERO)
        return tuple(reversed(out))


def linearize(indices: Sequence[Ix], extents: Sequence[Ix]) -> Ix:
    """The number of the element at `indices` in row-major order."""
    flat = ZERO
    for index, extent in zip(indices, extents, strict=True):
        flat = flat * extent + index
    return flat


def product(factors: Iterable[Ix]) -> Ix:
    out = ONE
    for factor in factors:
        out = out * factor
    return out


def _split(a: Ix, b: Ix) -> tuple[Ix, Ix]:
    """a = exact * b + rest, by the terms of `a` that `b` divides."""
    if len(b.terms) != 1:
        return (ONE, ZERO) if a == b else (ZERO, a)
    ((unit, scale),) = b.terms
    exact: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, coefficient in a.terms:
        quotient = _without(monomial, unit)
        if quotient is not None and coefficient % scale == 0:
            exact[quotient] = coefficient // scale
        elif quotient is not None and not monomial:
            # A constant c over a constant b: keep the part below b.
            exact[quotient] = coefficient // scale
            rest[monomial] = coefficient % scale
        else:
            rest[monomial] = coefficient
    return polynomial(exact), polynomial(rest)


def _without(monomial: Monomial, factor: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in factor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def fits(index: Ix, extent: Ix) -> bool:
    """Whether 0 <= index < extent is certain wherever the loops run."""
    if not is_nonnegative(index):
        return False
    top = upper(index)
    return top is not None and is_nonnegative(extent - ONE - top)


def is_nonnegative(x: Ix) -> bool:
    """Whether all terms are known not to be negative."""
    return all(c >= 0 and all(map(_atom_is_nonnegative, m)) for m, c in x.terms)


def _atom_is_nonnegative(atom: Atom) -> bool:
    if atom.kind == "floordiv":
        return is_nonnegative(atom.args[0])
    return atom.kind not in ("data", "min", "max")


def upper(x: Ix) -> Ix | None:
    """The largest value of a polynomial with coefficients >= 0, None where unknown."""
    total = ZERO
    for monomial, coefficient in x.terms:
        term = Ix.of(coefficient)
        for atom in monomial:
            top = _top(atom)
            if top is None:
                return None
            term = term * top
        total = total + term
    return total


def _top(atom: Atom) -> Ix | None:
    match atom.kind:
        case "loop":
            return atom.extent - ONE
        case "mod":
            return atom.args[1] - ONE
        case "value" | "size":
            return Ix.of(atom)
        case "floordiv":
            whole, divisor = atom.args
            top = upper(whole)
            if top is None:
                return None
            if (d := divisor.constant) == 0:  # a loop that is never entered
                return None
            if (n := top.constant) is not None and d is not None:
                return Ix.of(n // d)
            exact, rest = _split(top + ONE, divisor)
            return exact - ONE if not rest.terms else None
        case _:
            return None


def coefficient(x: Ix, loop: Atom) -> Ix | None:
    """The factor of a loop in a polynomial; None where the loop also occurs inside an atom or
    in a power."""
    out: dict[Monomial, int] = {}
    for monomial, c in x.terms:
        rest = list(monomial)
        if loop in rest:
            rest.remove(loop)
            if any(a.deps & loop.deps for a in rest):
                return None
            out[tuple(rest)] = c
        elif any(a.deps & loop.deps for a in monomial):
            return None
    return polynomial(out)
