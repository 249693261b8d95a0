"""Element expressions: what one element of a tensor is, as a graph of scalars.

Expressions are made by `access.Access` and written as scalar or vector operations by
`emit.Emitter`. Equal expressions are one object. `deps` is the set of loops (bits) on which the
value depends: it says in which loop the value is computed, and whether it is a vector there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Operation, SSAValue

from .index import Atom, Ix

INDEX = IndexType()


@dataclass(slots=True, eq=False)
class Memory:
    """A memref that elements are read from or written to; strides are in elements. With
    `source` it is that memory with each of `runs` of dimensions made one. `origin`, if given, is
    where a tensor that fills a part of it begins."""

    memref: SSAValue
    element: Attribute
    shape: tuple[Ix, ...]
    strides: tuple[Ix, ...]
    contiguous: bool
    source: Memory | None = None
    runs: tuple[tuple[int, ...], ...] = ()
    # Loops in which the content changes: what is read there is read anew.
    deps: int = 0
    origin: tuple[Ix, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """The condition ``low <= index < high``."""

    index: Ix
    low: Ix
    high: Ix

    @property
    def deps(self) -> int:
        return self.index.deps | self.low.deps | self.high.deps


Guards = tuple[Range, ...]


@dataclass(slots=True, eq=False)
class Expr:
    """One scalar; `deps` is a set of loop bits."""

    type: Attribute
    deps: int


@dataclass(slots=True, eq=False)
class Const(Expr):
    """A number, as the attribute of an `arith.constant`."""

    value: Attribute


@dataclass(slots=True, eq=False)
class Param(Expr):
    """A scalar argument of the function."""

    ssa: SSAValue


@dataclass(slots=True, eq=False)
class IndexOf(Expr):
    """An index as a value."""

    index: Ix


@dataclass(slots=True, eq=False)
class Load(Expr):
    """An element of memory. Where a guard does not hold nothing is read and the value is 0."""

    memory: Memory
    indices: tuple[Ix, ...]
    guards: Guards


@dataclass(slots=True, eq=False)
class Apply(Expr):
    """An `arith` or `math` operation like `op`, on other scalars."""

    op: Operation
    args: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class Choose(Expr):
    """`inside` where all guards hold, else `outside`."""

    guards: Guards
    inside: Expr
    outside: Expr


@dataclass(slots=True, eq=False)
class Check(Expr):
    """`value`, after recording a failure with `message` where `condition` is false."""

    condition: Expr
    message: Operation
    value: Expr


@dataclass(slots=True, eq=False)
class Acc(Expr):
    """The running value of a reduction inside of its own body."""


@dataclass(slots=True, eq=False)
class Result(Expr):
    """A result of a reduction."""

    reduce: Reduce
    number: int


Order = Literal["lanes", "sequence", "dot"]


@dataclass(slots=True, eq=False)
class Combine:
    """How a value enters its accumulator: ``acc = op(acc, value)``, an associative operation."""

    op: Operation
    value: Expr


@dataclass(slots=True, eq=False)
class Rows:
    """A factor of a sum of products as rows of elements that follow each other in memory: `outer`
    counts rows, `inner` runs along one. Together they are the loop of the sum."""

    outer: Atom
    inner: Atom
    value: Expr


@dataclass(slots=True, eq=False)
class Reduce:
    """A reduction over `loops`, outermost first, with one or more accumulators.

    `order` is "lanes" (over interleaved partial results), "sequence" (one after the other) or
    "dot" (a sum of products: one fma after the other, restarting every so often). `combines` is
    None where the body is no plain combination; `results` then says what it computes from
    the accumulators `accs`. `rows` are the factors of `product` as rows, where their elements
    do not follow each other along the loop.
    """

    loops: tuple[Atom, ...]
    order: Order
    inits: tuple[Expr, ...]
    accs: tuple[Acc, ...]
    results: tuple[Expr, ...]
    combines: tuple[Combine, ...] | None
    deps: int
    product: tuple[Expr, Expr] | None = None
    values: tuple[Result, ...] = field(default=())
    rows: tuple[Rows | None, Rows | None] = (None, None)


def children(e: Expr) -> tuple[Expr, ...]:
    """The expressions that an expression is made of."""
    match e:
        case Apply():
            return e.args
        case Choose():
            return (e.inside, e.outside)
        case Check():
            return (e.condition, e.value)
        case Result():
            r = e.reduce
            if r.product is not None:
                return (*r.product, *r.inits)
            bodies = r.results if r.combines is None else [c.value for c in r.combines]
            return (*bodies, *r.inits)
        case Load():
            return tuple(_data(e.indices))
        case IndexOf():
            return tuple(_data((e.index,)))
        case _:
            return ()


def _data(indices: tuple[Ix, ...]) -> list[Expr]:
    """The expressions inside of indices."""
    found: list[Expr] = []
    for index in indices:
        for monomial, _ in index.terms:
            for atom in monomial:
                if atom.kind == "data":
                    found.append(atom.args[0])
                elif atom.kind in ("floordiv", "mod", "min", "max"):
                    found += _data(atom.args[:2])
    return found


def walk(*roots: Expr, reductions: bool = True) -> list[Expr]:
    """All expressions below the roots, each once, operands first; without `reductions` not those
    that are inside of reductions."""
    seen: set[int] = set()
    out: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(e, False) for e in reversed(roots)]
    while stack:
        e, done = stack.pop()
        if done:
            out.append(e)
        elif id(e) not in seen:
            seen.add(id(e))
            stack.append((e, True))
            if reductions or not isinstance(e, Result):
                stack += [(c, False) for c in reversed(children(e))]
    return out
