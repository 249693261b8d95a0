"""Indices to operations, scalar and, along a lane, as vectors."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Operation, SSAValue

from .expr import INDEX, Expr
from .index import ONE, Atom, Ix, is_nonnegative
from .writer import Scope, Writer

# By kind of atom, and whether the first operand is known not to be negative.
_ATOM_OPS: dict[tuple[str, bool], type[Operation] | None] = {
    ("floordiv", True): arith.DivUIOp,
    ("floordiv", False): arith.FloorDivSIOp,
    ("mod", True): arith.RemUIOp,
    ("mod", False): None,
    ("min", True): arith.MinSIOp,
    ("min", False): arith.MinSIOp,
    ("max", True): arith.MaxSIOp,
    ("max", False): arith.MaxSIOp,
}


# Up to which a divisor times the lanes of a vector stays far below 2**32.
_MOST_DIVISOR = 1 << 15


class IndexWriter(Writer):
    """Writes indices; values of elements inside of indices come from the subclass."""

    def value(self, e: Expr) -> SSAValue:
        raise NotImplementedError

    def wide(self, e: Expr, width: int) -> SSAValue:
        raise NotImplementedError

    def index(self, ix: Ix) -> SSAValue:
        """An index as a scalar; a lane's loop stands for its first iteration."""
        number = ix.constant
        if number is not None:
            return self.int_(number)
        scope = self.scope_of(ix.deps)
        found = scope.values.get(ix)
        if found is None:
            found = scope.values[ix] = self._index(ix, scope)
        return found

    def _index(self, ix: Ix, scope: Scope) -> SSAValue:
        atom = ix.atom
        if atom is not None:
            return self._atom(atom, scope)
        inner = [t for t in ix.terms if t[0] and self.scope_of(_deps(t[0])) is scope]
        outer = [t for t in ix.terms if t not in inner]
        total: SSAValue | None = self.index(Ix(tuple(outer))) if outer else None
        if len(inner) > 1 and total is None:
            # Constants and sums shared between indices are found again term by term.
            total = self.index(Ix(tuple(inner[:-1])))
            inner = inner[-1:]
        for monomial, factor in inner:
            if total is not None and factor == -1:
                total = self.sub(total, self._term(monomial, 1, scope), scope)
                continue
            term = self._term(monomial, factor, scope)
            total = term if total is None else self.add(total, term, scope)
        assert total is not None
        return total

    def _term(self, monomial: tuple[Atom, ...], factor: int, scope: Scope) -> SSAValue:
        if len(monomial) == 1:
            value = self.index(Ix.of(monomial[0]))
            return value if factor == 1 else self.mul(value, self.int_(factor), scope)
        here = [a for a in monomial if self.scope_of(a.deps) is scope] or list(monomial[-1:])
        last = here[-1]
        rest = list(monomial)
        rest.remove(last)
        value = self.index(Ix(((tuple(rest), factor),)))
        return self.mul(value, self.index(Ix.of(last)), scope)

    def _atom(self, atom: Atom, scope: Scope) -> SSAValue:
        match atom.kind:
            case "loop":
                return self.loops[atom]
            case "value":
                return atom.args[0]
            case "size":
                return self._size(*atom.args)
            case "data":
                return self.value(atom.args[0])
            case kind:
                a, b = self.index(atom.args[0]), self.index(atom.args[1])
                op = _ATOM_OPS[kind, is_nonnegative(atom.args[0])]
                if op is not None:
                    return self.put(op, (a, b), INDEX, scope=scope)
                whole, divisor, quotient = atom.args
                return self.index(whole - Ix.of(quotient) * divisor)

    def _size(self, value: SSAValue, dim: int) -> SSAValue:
        """A dynamic extent of a memref, or with dim = -1 - d its stride in dimension d."""
        first = self.stack[0]
        if dim >= 0:
            return self.put(memref.DimOp, (value, self.int_(dim)), INDEX, scope=first)
        type_ = value.type
        assert isinstance(type_, MemRefType)
        rank = type_.get_num_dims()
        element = MemRefType(type_.element_type, [])
        types = (element, *[INDEX] * (1 + 2 * rank))
        made = memref.ExtractStridedMetaDataOp.create(operands=(value,), result_types=types)
        first.block.add_op(made)
        return made.results[2 + rank - 1 - dim]

    def lanes(self, ix: Ix, width: int) -> SSAValue:
        """An index in all lanes."""
        scope = self.scope_of(ix.deps)
        key = ("lanes", ix, width)
        found = scope.values.get(key)
        if found is None:
            found = scope.values[key] = self._lanes(ix, width, scope)
        return found

    def _lanes(self, ix: Ix, width: int, scope: Scope) -> SSAValue:
        lane = self.lane
        if lane is None or not ix.deps & lane.loop.deps:
            return self.broadcast(self.index(ix), width, scope)
        step = lane.step(ix)
        if step is not None:
            base = self.broadcast(self.index(ix), width, scope)
            return self.add(base, self._steps(step, width), scope)
        total: SSAValue | None = None
        for monomial, factor in ix.terms:
            value: SSAValue | None = None
            for atom in monomial:
                part = self._lanes_of_atom(atom, width, scope)
                value = part if value is None else self.mul(value, part, scope)
            scale = self.broadcast(self.int_(factor), width, self.stack[0])
            value = scale if value is None else self.mul(value, scale, scope)
            total = value if total is None else self.add(total, value, scope)
        assert total is not None
        return total

    def _steps(self, step: Ix, width: int) -> SSAValue:
        """0, step, 2 * step, ..."""
        number = step.constant
        if number is not None:
            return self.iota(width, number)
        scope = self.scope_of(step.deps)
        return self.mul(self.broadcast(self.index(step), width, scope), self.iota(width, 1), scope)

    def _lanes_of_atom(self, atom: Atom, width: int, scope: Scope) -> SSAValue:
        lane = self.lane
        assert lane is not None
        if not atom.deps & lane.loop.deps or atom.kind == "loop":
            return self.lanes(Ix.of(atom), width)
        if atom.kind == "data":
            return self.wide(atom.args[0], width)
        divisor = atom.args[1].constant
        small = divisor is not None and 1 < divisor <= _MOST_DIVISOR
        if small and atom.kind in ("floordiv", "mod") and lane.step(atom.args[0]) == ONE:
            assert divisor is not None
            return self._divided(atom, divisor, width, scope)
        a, b = self.lanes(atom.args[0], width), self.lanes(atom.args[1], width)
        op = _ATOM_OPS[atom.kind, is_nonnegative(atom.args[0])]
        if op is None:
            whole, divisor, quotient = atom.args
            return self.lanes(whole - Ix.of(quotient) * divisor, width)
        return self.put(op, (a, b), a.type, scope=scope)

    def _divided(self, atom: Atom, divisor: int, width: int, scope: Scope) -> SSAValue:
        """Quotient or remainder of consecutive numbers: those of the first one, moved on.

        With r the first remainder, lane i is ``(r + i) // divisor`` quotients further; as r + i
        is small that is a multiplication and a shift.
        """
        key = ("divided", atom.args[:2], width)
        found = scope.values.get(key)
        if found is None:
            whole = atom.args[0]
            quotient = atom.args[2] if atom.kind == "mod" else atom
            first = self.index(Ix.of(quotient))
            rest = self.index(whole - Ix.of(quotient) * Ix.of(divisor))
            moved = self.add(self.broadcast(rest, width, scope), self.iota(width, 1), scope)
            inverse = self.iota(width, 0, -(-(1 << 32) // divisor))
            scaled = self.mul(moved, inverse, scope)
            shift = self.iota(width, 0, 32)
            steps = self.put(arith.ShRUIOp, (scaled, shift), moved.type, scope=scope)
            whole_steps = self.mul(steps, self.iota(width, 0, divisor), scope)
            found = (
                self.add(self.broadcast(first, width, scope), steps, scope),
                self.sub(moved, whole_steps, scope),
            )
            scope.values[key] = found
        return found[0] if atom.kind == "floordiv" else found[1]


def _deps(monomial: Sequence[Atom]) -> int:
    deps = 0
    for atom in monomial:
        deps |= atom.deps
    return deps
