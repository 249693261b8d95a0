"""Elements of `linalg.generic` and the other structured operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IntegerAttr, TensorType, i1, i8
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
)

from .expr import (
    Acc,
    Apply,
    Check,
    Combine,
    Expr,
    Guards,
    IndexOf,
    Load,
    Order,
    Reduce,
    Result,
    Rows,
    walk,
)
from .index import ZERO, Atom, Ix, Space, product
from .scalars import Env

if TYPE_CHECKING:
    from .access import Access


class Generic:
    """A structured operation: its maps, its loops, and its results' elements."""

    def __init__(self, access: Access, op: LinalgStructuredOperation) -> None:
        self.access = access
        self.op = op
        self.block = op.regions[0].block
        self.operands: list[SSAValue] = [*op.inputs, *op.outputs]
        self.first_out = len(op.inputs)
        self.maps = [m.data.results for m in op.get_indexing_maps()]
        kinds = [i.data for i in op.get_iterator_types()]
        self.reduced = [k is IteratorType.REDUCTION for k in kinds]
        self.extents = self._extents(len(kinds))
        self._known: dict[Any, Sequence[Expr]] = {}

    def _extents(self, loops: int) -> list[Ix]:
        """The trip count of each loop: a number if any operand's type has it, else what the
        results' sizes were computed from, else an operand's size."""
        found: list[Ix | None] = [None] * loops
        order = [*range(self.first_out, len(self.operands)), *range(self.first_out)]
        for n in order:
            if not isinstance(self.operands[n].type, TensorType):
                continue
            shape = self.access.shape(self.operands[n])
            for item, extent in zip(self.maps[n], shape, strict=True):
                if isinstance(item, AffineDimExpr):
                    known = found[item.position]
                    if known is None or (known.constant is None and _rank(extent) < _rank(known)):
                        found[item.position] = extent
        return [ZERO if f is None else f for f in found]

    def unify(self) -> None:
        """Tell the sizes of memrefs that this operation reads along plain loops."""
        for n, value in enumerate(self.operands):
            source = value.owner
            if not isinstance(source, Operation) or source.name != "bufferization.to_tensor":
                continue
            for d, item in enumerate(self.maps[n]):
                if isinstance(item, AffineDimExpr):
                    extent = self.extents[item.position]
                    if not _is_size(extent):
                        self.access.same_size(source.operands[0], d, extent)

    def results(self, number: int, indices: Sequence[Ix], guards: Guards) -> Expr:
        """The element of result `number` at `indices`."""
        loops: list[Ix | None] = [None] * len(self.reduced)
        for item, index in zip(self.maps[self.first_out + number], indices, strict=True):
            if isinstance(item, AffineDimExpr):
                loops[item.position] = index
        key = (tuple(loops), guards)
        known = self._known.get(key)
        if known is None:
            if any(self.reduced):
                known = self._reduce(loops, guards)
            else:
                plain = tuple(ZERO if i is None else i for i in loops)
                known = self._body(plain, self._inits(plain, guards), guards)
            self._known[key] = known
        return known[number]

    def _inits(self, loops: Sequence[Ix], guards: Guards) -> list[Expr]:
        """The elements of the initial tensors."""
        space, first = self.access.space, self.first_out
        return [
            self.access.at(value, evaluate(space, m, loops), guards)
            for value, m in zip(self.operands[first:], self.maps[first:], strict=True)
        ]

    def _body(self, loops: Sequence[Ix], accs: Sequence[Expr], guards: Guards) -> list[Expr]:
        """What the body yields at the given loops, on top of the values `accs`."""
        access, first = self.access, self.first_out
        elements: list[Expr] = []
        for value, m in zip(self.operands[:first], self.maps[:first], strict=True):
            if isinstance(value.type, TensorType):
                elements.append(access.at(value, evaluate(access.space, m, loops), guards))
            else:
                elements.append(access.scalar(value))
        env: Env = dict(zip(self.block.args, [*elements, *accs], strict=True))
        return access.body(self.block, env, tuple(loops), guards)

    def _reduce(self, loops: Sequence[Ix | None], guards: Guards) -> Sequence[Expr]:
        """The results of a reduction at an index of the result."""
        long = [d for d, r in enumerate(self.reduced) if r and self.extents[d].constant != 1]
        fixed = [ZERO if i is None else i for i in loops]
        inits = self._inits(fixed, guards)
        if not long:
            return self._body(fixed, inits, guards)
        kept = [d for d, e in enumerate(self.extents) if e.constant != 1]

        def over(*runs: Sequence[int]) -> Reduce:
            return self._reduce_over(runs, fixed, inits, guards)

        single = [[d] for d in long]
        made = over(*single)
        if made.product is not None:
            if len(long) > 1:
                made = over(long)
                pairs = [over(long[:n], long[n:]) for n in range(1, len(long))]
                made.rows = _rows(made, pairs, 0), _rows(made, pairs, 1)
            made.order = "dot"
            return self._finish(made)
        if kept[-1] != long[-1]:
            made.order = "sequence"
            return self._finish(made)
        if len(long) > 1:
            # In as few loops as leave accesses as they are, so that vectors are contiguous.
            candidates = [over(*single[:n], long[n:]) for n in range(len(long) - 1)]
            plain = (r for r in candidates if is_plain(r.results, r.loops[-1].deps))
            made = next(plain, made)
            if len(made.loops) > 1 and not self._suits(made):
                made = candidates[0]
        made.order = "lanes"
        return self._finish(made)

    def _suits(self, made: Reduce) -> bool:
        """Whether rows of the innermost loop are worth vectors of their own: they fill the
        interleaved partial results evenly, or are long enough for some that are partly filled."""
        lanes, inner = self.access.lanes(made.accs[0].type), made.loops[-1].extent.constant
        if inner is not None and inner % lanes == 0:
            return True
        return made.combines is not None and (inner is None or inner >= lanes // 4)

    def _reduce_over(
        self, runs: Sequence[Sequence[int]], fixed: Sequence[Ix], inits: list[Expr], guards: Guards
    ) -> Reduce:
        """The reduction where each run of dimensions is one loop."""
        space = self.access.space
        outside = 0
        for index in (*fixed, *[g.index for g in guards]):
            outside |= index.deps
        extents = [[self.extents[d] for d in run] for run in runs]
        atoms = space.loops([product(sizes) for sizes in extents], outside)
        here = list(fixed)
        for run, atom, sizes in zip(runs, atoms, extents, strict=True):
            for d, index in zip(run, space.delinearize(Ix.of(atom), sizes), strict=True):
                here[d] = index
        return self._build(atoms, here, inits, guards)

    def _build(
        self, atoms: list[Atom], here: Sequence[Ix], inits: list[Expr], guards: Guards
    ) -> Reduce:
        bits = 0
        for atom in atoms:
            bits |= atom.deps
        accs, firsts, yields = self._accumulate(bits, here, inits, guards)
        deps = _deps(*yields, *firsts)
        if plain_combines(accs, yields) is None:
            # What the body makes of an accumulator varies wherever the accumulator does.
            accs, firsts, yields = self._accumulate(bits | deps, here, inits, guards)
        return Reduce(
            tuple(atoms),
            "sequence",
            firsts,
            accs,
            yields,
            plain_combines(accs, yields),
            deps & ~bits,
            product_of(accs, yields, self._contracts()),
        )

    def _contracts(self) -> bool:
        """Whether a sum of products is one of matrices: where nothing says so, if each factor
        varies over a loop that the other does not know."""
        if self.access.contract is not None:
            return self.access.contract
        if self.first_out != 2:
            return False
        a, b = ({d for d in range(len(self.reduced)) if _uses(m, d)} for m in self.maps[:2])
        return bool(a - b) and bool(b - a)

    def _accumulate(
        self, bits: int, here: Sequence[Ix], inits: Sequence[Expr], guards: Guards
    ) -> tuple[tuple[Acc, ...], tuple[Expr, ...], tuple[Expr, ...]]:
        """Accumulators, their first values, and what the body makes of them. Bools, stored as
        bytes, are accumulated as bools."""
        accs = tuple(Acc(i.type, bits) for i in inits)
        yields = tuple(self._body(here, accs, guards))
        widened = [y for y in yields if isinstance(y, Apply) and isinstance(y.op, arith.ExtUIOp)]
        if len(widened) < len(yields):
            return accs, tuple(inits), yields
        access = self.access
        flags = tuple(Acc(i1, bits) for _ in inits)
        wide = [access.apply(y.op, (f,), y.type) for y, f in zip(widened, flags, strict=True)]
        again = self._body(here, wide, guards)
        narrow = tuple(y.args[0] for y in again if isinstance(y, Apply))
        if any(f.type != i1 for f in narrow):
            return accs, tuple(inits), yields
        firsts = tuple(access.operation(_TO_BOOL, [i], ()) for i in inits)
        return flags, firsts, narrow

    def _finish(self, made: Reduce) -> Sequence[Expr]:
        made.values = tuple(Result(acc.type, made.deps, made, n) for n, acc in enumerate(made.accs))
        inits = self.operands[self.first_out :]
        return [
            v if v.type == _element(i) else self.access.apply(_FROM_BOOL, (v,), _element(i))
            for v, i in zip(made.values, inits, strict=True)
        ]


def evaluate(space: Space, items: Sequence[AffineExpr], loops: Sequence[Ix]) -> tuple[Ix, ...]:
    """The results of an affine map at given loops."""
    return tuple(_affine(space, item, loops) for item in items)


def _affine(space: Space, item: AffineExpr, loops: Sequence[Ix]) -> Ix:
    match item:
        case AffineDimExpr():
            return loops[item.position]
        case AffineConstantExpr():
            return Ix.of(item.value)
        case AffineBinaryOpExpr():
            a, b = _affine(space, item.lhs, loops), _affine(space, item.rhs, loops)
            match item.kind:
                case AffineBinaryOpKind.Add:
                    return a + b
                case AffineBinaryOpKind.Mul:
                    return a * b
                case AffineBinaryOpKind.Mod:
                    return space.mod(a, b)
                case AffineBinaryOpKind.FloorDiv:
                    return space.floordiv(a, b)
                case AffineBinaryOpKind.CeilDiv:
                    return space.floordiv(a + b - Ix.of(1), b)
    raise NotImplementedError(f"the affine expression {item}")


def _deps(*expressions: Expr) -> int:
    deps = 0
    for e in expressions:
        deps |= e.deps
    return deps


def _uses(items: Sequence[AffineExpr], dim: int) -> bool:
    return any(dim in item.used_dims() for item in items)


def _is_size(extent: Ix) -> bool:
    atom = extent.atom
    return atom is not None and atom.kind == "size"


def _rank(extent: Ix) -> int:
    """How well an extent is known: numbers, then expressions, then sizes of memrefs."""
    if extent.constant is not None:
        return 0
    return 2 if _is_size(extent) else 1


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


def _element(value: SSAValue) -> Attribute:
    type_ = value.type
    assert isinstance(type_, TensorType)
    return type_.element_type


_ANY_BYTE = arith.ConstantOp(IntegerAttr(0, i8))
_ANY_BOOL = arith.ConstantOp(IntegerAttr(0, i1))
_TO_BOOL = arith.TruncIOp(_ANY_BYTE.result, i1)
_FROM_BOOL = arith.ExtUIOp(_ANY_BOOL.result, i8)
"""Operations to be repeated on other operands."""

COMBINERS: tuple[type[Operation], ...] = (
    arith.AddfOp,
    arith.AddiOp,
    arith.MulfOp,
    arith.MuliOp,
    arith.MaximumfOp,
    arith.MinimumfOp,
    arith.MaxnumfOp,
    arith.MinnumfOp,
    arith.MaxSIOp,
    arith.MinSIOp,
    arith.MaxUIOp,
    arith.MinUIOp,
    arith.AndIOp,
    arith.OrIOp,
    arith.XOrIOp,
)
"""Operations over which a reduction may be split into partial results."""


def plain_combines(accs: Sequence[Acc], yields: Sequence[Expr]) -> tuple[Combine, ...] | None:
    """The body of a reduction as one combination per accumulator, None if it is none."""
    found: list[Combine] = []
    for acc, y in zip(accs, yields, strict=True):
        # Checks concern what is combined, so they go with it.
        checks: list[Check] = []
        while isinstance(y, Check):
            checks.append(y)
            y = y.value
        if not isinstance(y, Apply) or not isinstance(y.op, COMBINERS) or acc not in y.args:
            return None
        a, b = y.args
        value = b if a is acc else a
        for c in reversed(checks):
            deps = value.deps | c.condition.deps
            value = Check(value.type, deps, c.condition, c.message, value)
        if any(isinstance(e, Acc) and e in accs for e in walk(value)):
            return None
        found.append(Combine(y.op, value))
    return tuple(found)


_PRODUCTS = {arith.AddfOp: arith.MulfOp, arith.AddiOp: arith.MuliOp}


def _rows(made: Reduce, pairs: Sequence[Reduce], side: int) -> Rows | None:
    """A factor of a product as the longest rows that leave accesses along them as they are, of
    those that two loops make; None where one loop does or none do."""
    if made.product is None or is_plain([made.product[side]], made.loops[0].deps):
        return None
    for pair in pairs:
        if pair.product is not None and is_plain([pair.product[side]], pair.loops[1].deps):
            outer, inner = pair.loops
            return Rows(outer, inner, pair.product[side])
    return None


def product_of(
    accs: Sequence[Acc], yields: Sequence[Expr], contract: bool
) -> tuple[Expr, Expr] | None:
    """The factors where the body is ``acc + a * b``: an fma, or with `contract` a sum."""
    if len(accs) != 1 or not isinstance(yields[0], Apply):
        return None
    y, acc = yields[0], accs[0]
    if isinstance(y.op, math.FmaOp):
        a, b, c = y.args
        return (a, b) if c is acc and acc not in (a, b) else None
    multiply = _PRODUCTS.get(type(y.op))
    if not contract or multiply is None or acc not in y.args:
        return None
    value = y.args[1] if y.args[0] is acc else y.args[0]
    if isinstance(value, Apply) and isinstance(value.op, multiply) and acc not in value.args:
        return value.args[0], value.args[1]
    return None


__all__ = ["COMBINERS", "Generic", "Order", "evaluate", "is_plain"]
