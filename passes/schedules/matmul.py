"""The schedule of products of matrices: blocks, packing, register tiles.

A task computes a block of columns and rows. For each block of K it copies what it needs of B into
panels as wide as the register tile (unless B can be read in place), then runs down the rows, tile
by tile. What is computed from the product is applied to each vector before it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, memref, vector
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    MemRefType,
    StridedLayoutAttr,
    i1,
    i32,
)
from xdsl.ir import Attribute, Block, Region, SSAValue

from ...ir.tile import MatmulOp, YieldOp
from .emit import Emitter
from .expr import INDEX, Const, Expr
from .index import ONE, ZERO, Atom, Ix, Space
from .nest import score, write_parallel
from .numbers import FALSE, NO_FASTMATH, integers, number
from .product import K_BLOCK, K_WHOLE, Product, View
from .shapes import row_major
from .transpose import transpose
from .writer import Lane

PREFETCH = 64
"""How many rows of a packed panel ahead are asked for."""

Matrix = tuple[SSAValue, SSAValue, SSAValue]
"""A memref with the row and the column where a tile begins."""


def write_product(space: Space, e: Emitter, p: Product) -> None:
    """Write the loops of a product."""
    _Writer(space, e, p).write()


class _Writer:
    def __init__(self, space: Space, e: Emitter, p: Product) -> None:
        self.space, self.e, self.p = space, e, p
        self.blocks = p.tile
        self.k_block = _k_block(space, p.k.extent)
        k = p.k.extent.constant
        self.k_most = K_WHOLE if k is None else min(k, K_WHOLE) if k <= K_WHOLE else K_BLOCK
        # Where a task begins: its first column, and its first row.
        self.first_column = space.loop(p.n)
        self.first_row = space.loop(p.m)
        self.a: SSAValue | None = None
        self.b: SSAValue | None = None
        self.c: SSAValue | None = None

    # ---- tasks ----------------------------------------------------------------------------------

    def write(self) -> None:
        p, t = self.p, self.blocks
        loops, steps = list(p.outer), [1] * len(p.outer)
        for loop, step, extent in (
            (self.first_column, t.nc, p.n),
            (self.first_row, self._rows_per_task(), p.m),
        ):
            if extent.constant is None or extent.constant > step:
                loops.append(loop)
                steps.append(step)
            else:
                self.e.loops[loop] = self.e.int_(0)
        if loops:
            write_parallel(self.e, loops, steps, self._task)
        else:
            self._task()

    def _rows_per_task(self) -> int:
        """Rows between the first rows of two tasks."""
        m, t = self.p.m.constant, self.blocks
        if m is None:
            return t.mr * t.tiles
        tiles = -(-m // t.mr)
        return m if t.tiles >= tiles else t.mr * t.tiles

    def _task(self) -> None:
        e, p, space = self.e, self.p, self.space
        if p.a is not None:
            self.a = self._memref(p.a, p.m, p.k.extent)
        self.b = self._panels() if self.blocks.pack or p.b is None else None
        if self.b is None:
            assert p.b is not None
            self.b = self._memref(p.b, p.k.extent, p.n)
        if p.out is not None:
            self.c = self._memref(p.out, p.m, p.n)
        else:
            self.c = self._alloca(p.element, [self._most_rows(), self.blocks.nc])
        k, step = p.k.extent, self.k_block
        if k.constant is not None and k.constant <= K_WHOLE:
            self._k_block(ZERO, k, e.constant(FALSE, i1), last=True)
            return
        start = space.loop(k)
        final = space.floordiv(space.maximum(k - ONE, ZERO), step) * step
        bounds = (e.int_(0), e.index(final), e.index(step))

        def body(_: SSAValue) -> Sequence[SSAValue]:
            some = e.less(e.int_(0), e.index(Ix.of(start)))
            self._k_block(Ix.of(start), step, some, last=False)
            return ()

        e.for_(bounds, start, (), body)
        some = e.less(e.int_(0), e.index(final))
        self._k_block(final, k - final, some, last=True)

    def _most_rows(self) -> int:
        m, t = self.p.m.constant, self.blocks
        return t.mr * t.tiles if m is None else min(m, t.mr * t.tiles)

    def _k_block(self, start: Ix, length: Ix, acc: SSAValue, *, last: bool) -> None:
        """Add the products of a block of K to the task's part of the result."""
        if self.blocks.pack or self.p.b is None:
            self._pack_b(start, length)
        self._tiles(lambda row, mr: self._row_of_tiles(row, mr, start, length, acc, last))

    # ---- rows of tiles --------------------------------------------------------------------------

    def _tiles(self, body: Callable[[Ix, int], None]) -> None:
        """Run down the rows of a task: `body(first row, rows)`."""
        p, t, space = self.p, self.blocks, self.space
        first, m = Ix.of(self.first_row), p.m
        if p.rows is None:
            body(ZERO, 1)
            return
        number = m.constant
        stop = space.minimum(first + Ix.of(self._rows_per_task()), m)
        if number is None:
            self._remainders(first, stop, body)
            return
        tiles = -(-number // t.mr)
        base, extra = divmod(number, tiles)
        if self._rows_per_task() >= number:
            # Balanced: `extra` tiles of one row more.
            self._run(ZERO, Ix.of(extra * (base + 1)), base + 1, body)
            self._run(Ix.of(extra * (base + 1)), m, base, body)
            return
        if number % t.mr == 0:
            self._run(first, stop, t.mr, body)
            return
        self._remainders(first, stop, body)

    def _remainders(self, first: Ix, stop: Ix, body: Callable[[Ix, int], None]) -> None:
        """Full tiles, then smaller ones for the rows that are left."""
        space, rest, total = self.space, first, self.p.m.constant
        sizes = [self.blocks.mr]
        left = None if total is None else total % self.blocks.mr
        sizes += [4, 1] if left is None else [left] if left else []
        for size in sizes:
            if size > self.blocks.mr:
                continue
            end = rest + space.floordiv(stop - rest, Ix.of(size)) * Ix.of(size)
            self._run(rest, end, size, body)
            rest = end

    def _run(self, start: Ix, stop: Ix, mr: int, body: Callable[[Ix, int], None]) -> None:
        a, b = start.constant, stop.constant
        if a is not None and b is not None and b - a <= mr:
            if b > a:
                body(start, mr)
            return
        row = self.space.loop(stop)

        def tile(_: SSAValue) -> Sequence[SSAValue]:
            body(Ix.of(row), mr)
            return ()

        self.e.for_((self.e.index(start), self.e.index(stop), self.e.int_(mr)), row, (), tile)

    def _row_of_tiles(
        self, row: Ix, mr: int, start: Ix, length: Ix, acc: SSAValue, last: bool
    ) -> None:
        """The tiles of some rows, one for each panel of the task."""
        e, p, t, space = self.e, self.p, self.blocks, self.space
        if p.a is None:
            a = (self._pack_a(row, mr, start, length), e.int_(0), e.int_(0))
        else:
            assert self.a is not None
            a = (self.a, e.index(row), e.index(start))
        first, n = Ix.of(self.first_column), p.n
        stop = space.minimum(first + Ix.of(t.nc), n)
        if self._single_chunk():
            first, stop = ZERO, n
        columns = stop - first
        full = space.floordiv(columns, Ix.of(t.nr)) * Ix.of(t.nr)

        def panel(column: Ix, masked: bool) -> None:
            self._tile(a, row, column, mr, start, length, acc, last, masked)

        self._panel_loop(full, lambda column: panel(column, False))
        if n.constant is None or n.constant % t.nr:
            some = (columns - full).constant
            if some is None:
                e.if_(e.less(e.index(full), e.index(columns)), lambda: _none(panel(full, True)))
            elif some:
                panel(full, True)

    def _single_chunk(self) -> bool:
        n = self.p.n.constant
        return n is not None and n <= self.blocks.nc

    def _panel_loop(self, stop: Ix, body: Callable[[Ix], None]) -> None:
        """Over the panels of a task, by their distance from its first column."""
        number, nr = stop.constant, self.blocks.nr
        if number is not None and number <= nr:
            if number:
                body(ZERO)
            return
        column = self.space.loop(stop)
        bounds = (self.e.int_(0), self.e.index(stop), self.e.int_(nr))
        self.e.for_(bounds, column, (), lambda _: _none(body(Ix.of(column))))

    def _tile(
        self,
        a: Matrix,
        row: Ix,
        column: Ix,
        mr: int,
        start: Ix,
        length: Ix,
        acc: SSAValue,
        last: bool,
        masked: bool,
    ) -> None:
        """One register tile; `column` counts from the task's first."""
        e, p, t = self.e, self.p, self.blocks
        assert self.b is not None and self.c is not None
        packed = t.pack or p.b is None
        if packed:
            panel = column * Ix.of(self._panel_rows() // t.nr)
            b = (self.b, e.index(panel), e.int_(0))
        else:
            b = (self.b, e.index(start), e.index(self._origin_column() + column))
        if p.out is not None:
            c = (self.c, e.index(row), e.index(self._origin_column() + column))
        else:
            c = (self.c, e.index(row - self._origin_row()), e.index(column))
        epilogue = self._epilogue(masked) if last else None
        left = e.index(p.n - self._origin_column() - column) if masked else e.int_(t.nr)
        e.do(
            MatmulOp.get(
                a, b, c, e.index(length), left, acc,
                mr=mr, nr=t.nr, masked=masked,
                prefetch=PREFETCH if packed and not masked else 0, epilogue=epilogue,
            )
        )  # fmt: skip

    def _origin_column(self) -> Ix:
        return ZERO if self._single_chunk() else Ix.of(self.first_column)

    def _origin_row(self) -> Ix:
        m = self.p.m.constant
        return ZERO if m is not None and m <= self._rows_per_task() else Ix.of(self.first_row)

    # ---- what becomes of the product ------------------------------------------------------------

    def _epilogue(self, masked: bool) -> Region | None:
        """The region applied to each vector; None where the sums are the result."""
        e, p, t = self.e, self.p, self.blocks
        first = p.stores[0]
        init = p.result.reduce.inits[0]
        starts = not (isinstance(init, Const) and init.value == number(0, p.element))
        if p.out is not None and first.value is p.result and len(p.stores) == 1 and not starts:
            return None
        vector_type = e.vector(p.element, t.width)
        block = Block(arg_types=[INDEX, INDEX, vector_type])
        at_row, at_column, value = block.args
        with e.inside(block) as outer:
            if p.out is None:
                at_row = e.add(at_row, e.index(self._origin_row()), outer)
                at_column = e.add(at_column, e.index(self._origin_column()), outer)
            mask = e.mask(e.sub(e.index(p.n), at_column), t.width) if masked else None
            loops = {p.columns: at_column}
            if p.rows is not None:
                loops[p.rows] = at_row
            with e.inside(block, loops, Lane(p.columns, t.width, mask)) as scope:
                if starts:
                    terms = (e.wide(init, t.width), value)
                    value = e.put(arith.AddfOp, terms, vector_type, NO_FASTMATH)
                scope.values[p.result] = value
                stores = p.stores
                if p.out is not None:
                    value = e.wide(first.value, t.width)
                    stores = stores[1:]
                for s in stores:
                    e.store(s.memory, s.indices, s.value)
            block.add_op(YieldOp.create(operands=(value,)))
        return Region(block)

    # ---- packing --------------------------------------------------------------------------------

    def _panel_rows(self) -> int:
        """Rows of scratch for a panel, so many that its first row is a multiple of its columns."""
        nr = self.blocks.nr
        return -(-max(1, self.k_most) // nr) * nr

    def _panels(self) -> SSAValue:
        """Scratch for the panels of a task, one below the other."""
        t = self.blocks
        return self._alloca(self.p.element, [t.nc // t.nr * self._panel_rows(), t.nr])

    def _pack_b(self, start: Ix, length: Ix) -> None:
        """Copy the task's columns of a block of B into panels."""
        p, t, space = self.p, self.blocks, self.space
        first = self._origin_column()
        stop = p.n if self._single_chunk() else space.minimum(first + Ix.of(t.nc), p.n)
        across = score(p.columns, t.width, p.right) >= score(p.k, t.width, p.right)

        def panel(column: Ix) -> None:
            row = column * Ix.of(self._panel_rows() // t.nr)
            for j in range(0, t.nr, t.width):
                at = first + column + Ix.of(j)
                if across:
                    self._pack_rows(p.right, p.k, p.columns, at, start, length, self.b, row, j)
                else:
                    self._pack_across(at, start, length, row, j)

        panels = space.floordiv(stop - first + Ix.of(t.nr - 1), Ix.of(t.nr))
        self._panel_loop(panels * Ix.of(t.nr), panel)

    def _pack_rows(
        self,
        value: Expr,
        along: Atom,
        lane: Atom,
        at: Ix,
        start: Ix,
        length: Ix,
        target: SSAValue | None,
        row: Ix,
        column: int,
    ) -> None:
        """Vectors along `lane` from `at` on, for each step of `along`; zeros beyond the end."""
        e, width = self.e, self.blocks.width
        assert target is not None

        def step(k: SSAValue) -> Sequence[SSAValue]:
            mask = self._mask(lane, at)
            with e.inside(e.top.block, {lane: e.index(at)}, Lane(lane, width, mask)):
                made = self._masked(e.wide(value, width), mask, value.type)
                to = e.add(e.sub(k, e.index(start)), e.index(row))
                operands = [made, target, to, e.int_(column)]
                e.do(vector.StoreOp.create(operands=operands))
            return ()

        e.for_((e.index(start), e.index(start + length), e.int_(1)), along, (), step)

    def _mask(self, lane: Atom, at: Ix) -> SSAValue | None:
        """The lanes that exist, None for all."""
        width, extent = self.blocks.width, lane.extent.constant
        if extent is not None and extent % self.blocks.nr == 0:
            return None
        return self.e.mask(self.e.index(lane.extent - at), width)

    def _masked(self, value: SSAValue, mask: SSAValue | None, element: Attribute) -> SSAValue:
        """The value, 0 in lanes that do not exist."""
        if mask is None:
            return value
        zero = self.e.splat(number(0, element), element, self.blocks.width)
        return self.e.put(arith.SelectOp, (mask, value, zero), value.type)

    def _pack_across(self, at: Ix, start: Ix, length: Ix, row: Ix, column: int) -> None:
        """Square blocks of a B whose columns are contiguous, transposed in registers."""
        e, p, width = self.e, self.p, self.blocks.width
        stop = start + length

        def block(k: SSAValue) -> Sequence[SSAValue]:
            here = self.space.loop(stop)
            with e.inside(e.top.block, {here: k}):
                left = e.sub(e.index(stop), k)
                columns = []
                for j in range(width):
                    n = e.index(at + Ix.of(j))
                    there = e.less(n, e.index(p.n))
                    count = e.put(arith.SelectOp, (there, left, e.int_(0)), INDEX)
                    mask = e.mask(count, width)
                    loops = {p.columns: n, p.k: k}
                    with e.inside(e.top.block, loops, Lane(p.k, width, mask)):
                        value = e.wide(p.right, width)
                        columns.append(self._masked(value, mask, p.right.type))
                to = e.add(e.sub(k, e.index(start)), e.index(row))
                for i, made in enumerate(transpose(e, columns)):
                    operands = [made, self.b, e.add(to, e.int_(i)), e.int_(column)]
                    e.do(vector.StoreOp.create(operands=operands))
            return ()

        e.for_((e.index(start), e.index(stop), e.int_(width)), None, (), block)

    def _pack_a(self, row: Ix, mr: int, start: Ix, length: Ix) -> SSAValue:
        """Compute the rows of A that a tile needs, for a block of K."""
        e, p, width = self.e, self.p, self.blocks.width
        target = self._alloca(p.element, [mr, self._panel_rows()])
        stop = start + length
        at = self.space.loop(stop)

        def vectors(k: SSAValue) -> Sequence[SSAValue]:
            with e.inside(e.top.block, {at: k}):
                mask = e.mask(e.sub(e.index(stop), k), width)
                to = e.sub(k, e.index(start))
                for i in range(mr):
                    loops = {p.k: k}
                    if p.rows is not None:
                        loops[p.rows] = e.index(row + Ix.of(i))
                    with e.inside(e.top.block, loops, Lane(p.k, width, mask)):
                        made = e.wide(p.left, width)
                        e.do(vector.StoreOp.create(operands=[made, target, e.int_(i), to]))
            return ()

        e.for_((e.index(start), e.index(stop), e.int_(width)), None, (), vectors)
        return target

    # ---- memory ---------------------------------------------------------------------------------

    def _alloca(self, element: Attribute, shape: Sequence[int]) -> SSAValue:
        return self.e.put(
            memref.AllocaOp,
            (),
            MemRefType(element, shape),
            {"operandSegmentSizes": DenseArrayBase.from_list(i32, [0, 0])},
        )

    def _memref(self, view: View, rows: Ix, columns: Ix) -> SSAValue:
        """A view as a memref of two dimensions."""
        e, memory = self.e, view.memory
        while memory.source is not None:
            memory = memory.source
        if (
            memory.contiguous
            and not view.offset.terms
            and memory.shape == (rows, columns)
            and (view.rows, view.columns) == row_major(memory.shape)
        ):
            return memory.memref
        groups = [[view.offset], [rows, columns], [view.rows, view.columns]]
        static = [[DYNAMIC_INDEX if (n := x.constant) is None else n for x in g] for g in groups]
        dynamic = [[e.index(x) for x in g if x.constant is None] for g in groups]
        offset = static[0][0]
        layout = StridedLayoutAttr(
            [None if s == DYNAMIC_INDEX else s for s in static[2]],
            None if offset == DYNAMIC_INDEX else offset,
        )
        segments = [1, *map(len, dynamic)]
        names = ("static_offsets", "static_sizes", "static_strides")
        properties: dict[str, Attribute] = {
            name: integers(s) for name, s in zip(names, static, strict=True)
        }
        properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, segments)
        type_ = MemRefType(memory.element, static[1], layout)
        operands = [memory.memref, *dynamic[0], *dynamic[1], *dynamic[2]]
        return e.put(memref.ReinterpretCastOp, operands, type_, properties)


def _k_block(space: Space, k: Ix) -> Ix:
    """After how many products the sum starts again."""
    number = k.constant
    if number is not None:
        return Ix.of(number if number <= K_WHOLE else K_BLOCK)
    # 768 where k <= 768, else 512: 768 - 256 * min(1, k // 769).
    beyond = space.minimum(ONE, space.floordiv(k, Ix.of(K_WHOLE + 1)))
    return Ix.of(K_WHOLE) - beyond * Ix.of(K_WHOLE - K_BLOCK)


def _none(_: None) -> Sequence[SSAValue]:
    return ()
