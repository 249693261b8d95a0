"""The schedule of products of matrices for a GPU: tiles in shared memory, tiles in registers.

A block of threads computes a tile of the result. Step by step along k, its threads copy a tile of
A (transposed) and one of B into shared memory, where what is not there is 0; then each thread adds
the products for its own small tile, which stays in registers. k ascends, one fma per element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, math, memref, vector
from xdsl.ir import SSAValue

from ...ir.tile import WARP, BarrierOp
from .expr import INDEX, Const, Expr
from .gpu_emit import DeviceEmitter
from .index import Atom, Ix, Space
from .numbers import NO_FASTMATH, number
from .plan import score
from .product import Product
from .writer import Lane

FEW_ROWS = 4
"""Products with no more rows than that are computed element by element."""

LARGE = 1024
"""From so many rows and columns on there are enough large tiles to keep a GPU busy."""

PADDING = 4
"""Elements between the rows of a tile in shared memory, which would start in the same bank."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """A block computes `m` rows and `n` columns in steps of `k`; a thread `rows` neighbouring rows
    and `vectors` vectors of `width` columns, which stand `n / vectors` columns apart."""

    m: int
    n: int
    k: int
    rows: int
    vectors: int
    width: int

    @property
    def across(self) -> int:
        """Threads side by side."""
        return self.n // (self.vectors * self.width)

    @property
    def threads(self) -> int:
        return self.across * (self.m // self.rows)


def choose_tiles(e: DeviceEmitter, p: Product) -> Tiles | None:
    """Tiles that fit a product; None where tiles would be nearly empty."""
    m, n = p.m.constant, p.n.constant
    if p.rows is None or (m is not None and m <= FEW_ROWS):
        return None
    width = e.target.width(p.element.bitwidth)  # pyright: ignore[reportAttributeAccessIssue]
    if m is not None and n is not None and min(m, n) >= LARGE and width == 4:
        return Tiles(128, 128, 8, 8, 2, width)
    columns = next(c for c in (16, 32, 64) if c == 64 or (n is not None and n <= c))
    rows = next(r for r in (16, 32, 64) if r == 64 or (m is not None and m <= r))
    while rows // 4 * (columns // width) < WARP:
        rows *= 2  # At least a warp of threads, whose number divides the tiles' elements.
    return Tiles(rows, columns, 16, 4, 1, width)


def write_product_gpu(space: Space, e: DeviceEmitter, p: Product, tiles: Tiles) -> None:
    """Write a product and what becomes of it."""
    first_row, first_column = space.loop(p.m), space.loop(p.n)
    loops = [*p.outer, first_row, first_column]
    steps = [1] * len(p.outer) + [tiles.m, tiles.n]
    with e.grid(loops, steps, tiles.threads):
        _Writer(e, p, tiles, e.loops[first_row], e.loops[first_column]).write()


@dataclass(slots=True)
class _Writer:
    e: DeviceEmitter
    p: Product
    t: Tiles
    row: SSAValue
    column: SSAValue

    def write(self) -> None:
        e, p, t = self.e, self.p, self.t
        a = e.shared(p.element, [t.k, t.m + PADDING])
        b = e.shared(p.element, [t.k, t.n + PADDING])
        down = e.put(arith.DivUIOp, (e.thread, e.int_(t.across)), INDEX)
        side = e.put(arith.RemUIOp, (e.thread, e.int_(t.across)), INDEX)
        own_row = e.scaled(down, t.rows)
        own_column = e.scaled(side, t.width)
        zero = e.splat(number(0, p.element), p.element, t.width)

        def step(k: SSAValue, *sums: SSAValue) -> Sequence[SSAValue]:
            self._copy(a, p.left, p.rows, self.row, t.m, k)
            self._copy(b, p.right, p.columns, self.column, t.n, k)
            e.do(BarrierOp())
            bounds = (e.int_(0), e.int_(t.k), e.int_(1))
            added = e.for_(
                bounds, None, sums, lambda i, *s: self._add(a, b, i, own_row, own_column, s)
            )
            e.do(BarrierOp())
            return added

        bounds = (e.int_(0), e.index(p.k.extent), e.int_(t.k))
        sums = e.for_(bounds, None, [zero] * (t.rows * t.vectors), step)
        self._finish(sums, own_row, own_column)

    def _copy(
        self, to: SSAValue, value: Expr, loop: Atom | None, start: SSAValue, length: int,
        k: SSAValue,
    ) -> None:  # fmt: skip
        """Copy `length` iterations of a loop, from `start` on, times a step of k; neighbouring
        threads take neighbours in memory. All is read before the first is written."""
        e, p, t = self.e, self.p, self.t
        assert loop is not None
        along_k = score(p.k, t.width, value) > score(loop, t.width, value)
        inner = e.int_(t.k if along_k else length)
        assert length * t.k % t.threads == 0
        made: list[tuple[SSAValue, SSAValue, SSAValue]] = []
        for first in range(0, length * t.k, t.threads):
            flat = e.add(e.thread, e.int_(first)) if first else e.thread
            outer_at = e.put(arith.DivUIOp, (flat, inner), INDEX)
            inner_at = e.put(arith.RemUIOp, (flat, inner), INDEX)
            here, there = (outer_at, inner_at) if along_k else (inner_at, outer_at)
            element = self._element(value, loop, e.add(start, here), e.add(k, there))
            made.append((element, there, here))
        for element, there, here in made:
            e.do(memref.StoreOp.create(operands=(element, to, there, here)))

    def _element(self, value: Expr, loop: Atom, at: SSAValue, k: SSAValue) -> SSAValue:
        """A factor; beyond the end of k it is 0, beyond that of the loop whatever is there last,
        since nothing comes of it."""
        e, p = self.e, self.p
        at = self._inside(at, loop, self.t.m if loop is p.rows else self.t.n)
        exact = p.k.extent.constant is not None and p.k.extent.constant % self.t.k == 0
        with e.inside(e.top.block, {loop: at, p.k: k if exact else self._last(k, p.k)}):
            made = e.value(value)
        if exact:
            return made
        there = e.less(k, e.index(p.k.extent))
        zero = e.constant(number(0, p.element), p.element)
        return e.put(arith.SelectOp, (there, made, zero), made.type)

    def _inside(self, at: SSAValue, loop: Atom, step: int) -> SSAValue:
        extent = loop.extent.constant
        return at if extent is not None and extent % step == 0 else self._last(at, loop)

    def _last(self, at: SSAValue, loop: Atom) -> SSAValue:
        """An index, or the last one of a loop if that is less."""
        e = self.e
        return e.put(arith.MinSIOp, (at, e.index(loop.extent - Ix.of(1))), INDEX)

    def _add(
        self,
        a: SSAValue,
        b: SSAValue,
        k: SSAValue,
        row: SSAValue,
        column: SSAValue,
        sums: Sequence[SSAValue],
    ) -> Sequence[SSAValue]:
        """Add the products of one k."""
        e, p, t = self.e, self.p, self.t
        type_ = e.vector(p.element, t.width)
        factors = []
        for i in range(0, t.rows, t.width):
            at = e.add(row, e.int_(i)) if i else row
            part = e.put(vector.LoadOp, (a, k, at), type_)
            factors += [e.broadcast(e.extract(part, n), t.width) for n in range(t.width)]
        columns = []
        for j in range(t.vectors):
            at = e.add(column, e.int_(j * (t.n // t.vectors))) if j else column
            columns.append(e.put(vector.LoadOp, (b, k, at), type_))
        return [
            e.put(math.FmaOp, (x, y, sums[i * t.vectors + j]), type_, NO_FASTMATH)
            for i, x in enumerate(factors)
            for j, y in enumerate(columns)
        ]

    def _finish(self, sums: Sequence[SSAValue], own_row: SSAValue, own_column: SSAValue) -> None:
        """Store what becomes of a thread's sums, as far as there are such rows and columns."""
        e, t = self.e, self.t
        row, column = e.add(self.row, own_row), e.add(self.column, own_column)
        for i in range(t.rows):
            at_row = e.add(row, e.int_(i)) if i else row
            for j in range(t.vectors):
                at = e.add(column, e.int_(j * (t.n // t.vectors))) if j else column
                self._store(sums[i * t.vectors + j], at_row, at)

    def _store(self, value: SSAValue, row: SSAValue, column: SSAValue) -> None:
        e, p, t = self.e, self.p, self.t
        assert p.rows is not None
        bounds = ((row, p.rows.extent, t.m), (column, p.columns.extent, t.n))
        checks = [
            e.less(at, e.index(extent))
            for at, extent, step in bounds
            if extent.constant is None or extent.constant % step
        ]
        extent = p.columns.extent.constant
        whole = extent is not None and extent % t.width == 0

        def then() -> Sequence[SSAValue]:
            mask = None if whole else e.mask(e.sub(e.index(p.columns.extent), column), t.width)
            assert p.rows is not None
            loops = {p.rows: row, p.columns: column}
            with e.inside(e.top.block, loops, Lane(p.columns, t.width, mask)) as scope:
                scope.values[p.result] = self._started(value)
                for s in p.stores:
                    e.store(s.memory, s.indices, s.value)
            return ()

        if not checks:
            then()
        elif len(checks) == 1:
            e.if_(checks[0], then)
        else:
            e.if_(e.put(arith.AndIOp, checks, checks[0].type), then)

    def _started(self, value: SSAValue) -> SSAValue:
        """The sum with what it is added to."""
        e, p = self.e, self.p
        init = p.result.reduce.inits[0]
        if isinstance(init, Const) and init.value == number(0, p.element):
            return value
        terms = (e.wide(init, self.t.width), value)
        return e.put(arith.AddfOp, terms, value.type, NO_FASTMATH)
