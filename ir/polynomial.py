"""Integer polynomials over size symbols, normalized so that equality is structural.

A dimension is an `int` or an `Expr`; every operation here returns an `int` whenever the result is
constant. `floordiv`, `mod`, `min` and `max` that do not simplify become atoms of the polynomial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import gcd, inf
from typing import TypeAlias, Union

Dim: TypeAlias = Union[int, "Expr"]
Atom: TypeAlias = Union[str, "Func"]
Monomial: TypeAlias = tuple[tuple[Atom, int], ...]


@dataclass(frozen=True, slots=True)
class Func:
    """An irreducible `floordiv`, `mod`, `min` or `max` of two sizes."""

    name: str
    lhs: Dim
    rhs: Dim

    def __str__(self) -> str:
        return f"{self.name}({self.lhs}, {self.rhs})"


def _order(atom: Atom) -> str:
    return str(atom)


class Expr:
    """A polynomial that is not constant: a sorted tuple of (monomial, nonzero coefficient)."""

    __slots__ = ("_hash", "terms")

    terms: tuple[tuple[Monomial, int], ...]

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Structural: the same polynomial. Use `same` to ask whether two sizes are equal."""
        return isinstance(other, Expr) and self.terms == other.terms

    def __add__(self, other: Dim) -> Dim:
        return _combine(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return _combine(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _combine(self * -1, other, 1)

    def __neg__(self) -> Dim:
        return self * -1

    def __mul__(self, other: Dim) -> Dim:
        out: dict[Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in _terms(other):
                m = _times(m1, m2)
                out[m] = out.get(m, 0) + c1 * c2
        return _normal(out)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return mod(other, self)

    def __str__(self) -> str:
        parts: list[str] = []
        # Symbols first, the constant last, as people write them.
        for monomial, coeff in sorted(self.terms, key=lambda t: (not t[0], str(t[0]))):
            factors = [str(a) for a, power in monomial for _ in range(power)]
            if not factors or abs(coeff) != 1:
                factors.insert(0, str(abs(coeff)))
            text = "*".join(factors)
            if not parts:
                parts.append(text if coeff > 0 else f"-{text}")
            else:
                parts.append(f"{'+' if coeff > 0 else '-'} {text}")
        return " ".join(parts)

    def __repr__(self) -> str:
        return str(self)


def symbol(name: str) -> Expr:
    """The size called `name`."""
    return Expr(((((name, 1),), 1),))


def _terms(x: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(x, Expr):
        return x.terms
    return (((), int(x)),) if x else ()


def _times(a: Monomial, b: Monomial) -> Monomial:
    powers = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: _order(item[0])))


def _normal(terms: Mapping[Monomial, int]) -> Dim:
    kept = [(m, c) for m, c in terms.items() if c]
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    kept.sort(key=lambda t: [(_order(a), p) for a, p in t[0]])
    return Expr(tuple(kept))


def _combine(a: Dim, b: Dim, sign: int) -> Dim:
    out = dict(_terms(a))
    for m, c in _terms(b):
        out[m] = out.get(m, 0) + sign * c
    return _normal(out)


def _divide_monomial(m: Monomial, d: Monomial) -> Monomial | None:
    powers = dict(m)
    for atom, power in d:
        left = powers.get(atom, 0) - power
        if left < 0:
            return None
        powers[atom] = left
    return tuple((a, p) for a, p in powers.items() if p)


def _exact_quotient(a: Dim, b: Dim) -> Dim | None:
    """a / b where the division leaves no remainder for every value of the symbols, else None."""
    divisor = sorted(_terms(b), key=lambda t: (-sum(p for _, p in t[0]), str(t[0])))
    lead_m, lead_c = divisor[0]
    quotient: Dim = 0
    rest = a
    for _ in range(64):
        if rest == 0:
            return quotient
        m, c = sorted(_terms(rest), key=lambda t: (-sum(p for _, p in t[0]), str(t[0])))[0]
        q = _divide_monomial(m, lead_m)
        if q is None or c % lead_c:
            return None
        term = _normal({q: c // lead_c})
        quotient = quotient + term
        rest = rest - term * b
    return None


def floordiv(a: Dim, b: Dim) -> Dim:
    """a // b, exact and simplified where b divides a as a polynomial."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 0:
        raise ZeroDivisionError("a size is divided by zero")
    exact = _exact_quotient(a, b)
    if exact is not None:
        return exact
    if isinstance(b, int) and isinstance(a, Expr):
        # (k*b*x + r) // b == k*x + r // b: take out what divides.
        whole = {m: c // b for m, c in a.terms if c % b == 0}
        rest = {m: c for m, c in a.terms if c % b}
        if whole and rest:
            return _normal(whole) + floordiv(_normal(rest), b)
    return Expr((((((Func("floordiv", a, b)), 1),), 1),))


def mod(a: Dim, b: Dim) -> Dim:
    """a mod b with the sign of b, 0 where b divides a as a polynomial."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 0:
        raise ZeroDivisionError("a size is divided by zero")
    if _exact_quotient(a, b) is not None:
        return 0
    if isinstance(b, int) and isinstance(a, Expr):
        a = _normal({m: c % b for m, c in a.terms})
        if isinstance(a, int):
            return a % b
    return Expr((((((Func("mod", a, b)), 1),), 1),))


def _select(name: str, a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b) if name == "min" else max(a, b)
    difference = a - b
    low, high = bounds(difference)
    if low is not None and low >= 0:
        return b if name == "min" else a
    if high is not None and high <= 0:
        return a if name == "min" else b
    lhs, rhs = sorted((a, b), key=str)
    return Expr((((((Func(name, lhs, rhs)), 1),), 1),))


def smin(a: Dim, b: Dim) -> Dim:
    """The smaller of two sizes."""
    return _select("min", a, b)


def smax(a: Dim, b: Dim) -> Dim:
    """The larger of two sizes."""
    return _select("max", a, b)


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    total: Dim = 1
    for d in dims:
        total = total * d
    return total


def symbols(x: Dim) -> set[str]:
    """The names that occur in x."""
    found: set[str] = set()
    for monomial, _ in _terms(x):
        for atom, _ in monomial:
            if isinstance(atom, str):
                found.add(atom)
            else:
                found |= symbols(atom.lhs) | symbols(atom.rhs)
    return found


_FUNCTIONS = {
    "floordiv": floordiv,
    "mod": mod,
    "min": smin,
    "max": smax,
}


def substitute(x: Dim, values: Mapping[str, Dim]) -> Dim:
    """x with symbols replaced; an int when all of them are given ints."""
    if isinstance(x, int):
        return x
    total: Dim = 0
    for monomial, coeff in x.terms:
        term: Dim = coeff
        for atom, power in monomial:
            if isinstance(atom, str):
                base: Dim = values.get(atom, symbol(atom))
            else:
                lhs, rhs = substitute(atom.lhs, values), substitute(atom.rhs, values)
                base = _FUNCTIONS[atom.name](lhs, rhs)
            for _ in range(power):
                term = term * base
        total = total + term
    return total


def evaluate(x: Dim, values: Mapping[str, int]) -> int:
    """The value of x. Raises KeyError for a symbol without a value."""
    result = substitute(x, values)
    if not isinstance(result, int):
        raise KeyError(", ".join(sorted(symbols(result))))
    return result


def bounds(x: Dim) -> tuple[int | None, int | None]:
    """A lower and an upper bound of x, None where there is none. Symbols are at least `MIN`."""
    low, high = _interval(x)
    if abs(low) == abs(high) == inf:  # terms of both signs: do some outgrow the others?
        low, high = _growth(x)
    return None if low == -inf else int(low), None if high == inf else int(high)


# Ends of an interval: integers, or infinities of type float.
Interval: TypeAlias = tuple[float, float]


def _interval(x: Dim) -> Interval:
    low: float = 0
    high: float = 0
    for monomial, coeff in _terms(x):
        span: Interval = (coeff, coeff)
        for atom, power in monomial:
            for _ in range(power):
                span = _product(span, _atom_interval(atom))
        low, high = low + span[0], high + span[1]
    return low, high


def _growth(x: Dim) -> Interval:
    """Bounds of x in terms of how far its atoms are above their least values.

    B*T - T is (B - 2)*(T - 2) + 2*(B - 2) + (T - 2) + 2, where nothing can be negative.
    """
    above: Dim = 0
    for monomial, coeff in _terms(x):
        term: Dim = coeff
        for atom, power in monomial:
            least = _atom_interval(atom)[0]
            if least == -inf:
                return -inf, inf
            for _ in range(power):
                term = term * (Expr(((((atom, 1),), 1),)) + int(least))
        above = above + term
    constant = sum(coeff for monomial, coeff in _terms(above) if not monomial)
    others = [coeff for monomial, coeff in _terms(above) if monomial]
    low = constant if all(coeff > 0 for coeff in others) else -inf
    high = constant if all(coeff < 0 for coeff in others) else inf
    return low, high


def _product(a: Interval, b: Interval) -> Interval:
    ends = [x * y if x and y else 0 for x in a for y in b]
    return min(ends), max(ends)


def _atom_interval(atom: Atom) -> Interval:
    if isinstance(atom, str):
        return MIN, inf
    (a_low, a_high), (b_low, b_high) = _interval(atom.lhs), _interval(atom.rhs)
    match atom.name:
        case "min":
            return min(a_low, b_low), min(a_high, b_high)
        case "max":
            return max(a_low, b_low), max(a_high, b_high)
        case "mod" if b_low >= 1:
            return 0, b_high - 1
        case "floordiv" if b_low >= 1:
            low = _quotient(a_low, b_high if a_low >= 0 else b_low)
            return low, _quotient(a_high, b_low if a_high >= 0 else b_high)
    return -inf, inf


def _quotient(a: float, b: float) -> float:
    """a // b for b >= 1, either of which may be infinite."""
    if abs(a) == inf:
        return a
    return a // b if b != inf else (0 if a >= 0 else -1)


# Sizes 0 and 1 are specialized by capture, so a symbol stands for a size of at least two.
MIN = 2


def gcd_of(x: Dim) -> int:
    """The largest integer known to divide x."""
    result = 0
    for _, coeff in _terms(x):
        result = gcd(result, coeff)
    return result


def parse(text: str) -> Dim:
    """The size that `str` printed. Raises ValueError for anything else."""
    import ast

    def walk(node: ast.expr) -> Dim:
        match node:
            case ast.Constant(value=int(value)):
                return value
            case ast.Name(id=name):
                return symbol(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -walk(operand)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = walk(left), walk(right)
                match op:
                    case ast.Add():
                        return a + b
                    case ast.Sub():
                        return a - b
                    case ast.Mult():
                        return a * b
                    case _:
                        raise ValueError(f"'{text}' is not a size")
            case ast.Call(func=ast.Name(id=name), args=[lhs, rhs]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](walk(lhs), walk(rhs))
            case _:
                raise ValueError(f"'{text}' is not a size")

    try:
        return walk(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError:
        raise ValueError(f"'{text}' is not a size") from None
