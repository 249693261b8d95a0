"""The schedule of products of matrices: blocks, packing, register tiles.

A task computes a block of columns and rows. For each block of K it copies what it needs of B into
panels as wide as the register tile (unless B can be read in place), then runs down the rows, tile
by tile. What is computed from the product is applied to each vector before it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import memref
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
from .blocks import K_BLOCK, K_WHOLE
from .emit import Emitter
from .expr import INDEX
from .index import ONE, ZERO, Ix, Space
from .nest import write_parallel
from .numbers import FALSE, integers
from .packing import PREFETCH, PREFETCH_IN_PLACE, Packing, none
from .product import Product, View
from .reduction import begins_with_zero, plus_init
from .rows import heights, rows_per_task
from .shapes import row_major
from .thin import write_thin
from .writer import Lane

Matrix = tuple[SSAValue, SSAValue, SSAValue]
"""A memref with the row and the column where a tile begins."""


@dataclass(frozen=True, slots=True)
class Part:
    """Products `start` to `start + length` of each sum; `acc` (i1) says whether there were some
    before, `last` that there are none after."""

    start: Ix
    length: Ix
    acc: SSAValue
    last: bool


def write_product(space: Space, e: Emitter, p: Product) -> None:
    """Write the loops of a product."""
    if p.thin:
        write_thin(space, e, p)
    else:
        _Writer(space, e, p).write()


class _Writer(Packing):
    def __init__(self, space: Space, e: Emitter, p: Product) -> None:
        super().__init__(space, e, p)
        self.k_block = _k_block(space, p.k.extent)
        # Where a task begins, as `first_column`.
        self.first_row = space.loop(p.m)
        unit = p.tile.width if p.transposed else 1  # vectors of a column
        self.rows_per_task = rows_per_task(space, p.m, p.tile, unit)
        self.first_kept = space.loop(p.kept.extent) if p.kept is not None else None
        self.a: SSAValue | None = None
        self.c: SSAValue | None = None

    # ---- tasks ----------------------------------------------------------------------------------

    def write(self) -> None:
        p, t = self.p, self.blocks
        loops = [x for x in p.outer if x is not p.kept]
        steps = [ONE] * len(loops)
        if p.kept is not None and self.first_kept is not None:
            loops.append(self.first_kept)
            steps.append(Ix.of(t.kept))
        for loop, step, single in (
            (self.first_column, Ix.of(t.nc), self.single_chunk()),
            (self.first_row, self.rows_per_task, self.rows_per_task == p.m),
        ):
            if single:
                self.e.loops[loop] = self.e.int_(0)
            else:
                loops.append(loop)
                steps.append(step)
        if loops:
            write_parallel(self.e, loops, steps, self._task)
        else:
            self._task()

    def _task(self) -> None:
        e, p, space = self.e, self.p, self.space
        if p.b is None:
            self.b = self.panels()
        if p.out is None:
            self.c = self.alloca(p.element, [self._most_rows(), self.blocks.nc])
        if p.kept is None:
            self._views()
        k, step = p.k.extent, self.k_block
        if k.constant is not None and k.constant <= K_WHOLE:
            self._part(Part(ZERO, k, e.constant(FALSE, i1), True))
            return
        start = space.loop(k)
        final = space.floordiv(space.maximum(k - ONE, ZERO), step) * step
        bounds = (e.int_(0), e.index(final), e.index(step))

        def body(_: SSAValue) -> Sequence[SSAValue]:
            some = e.less(e.int_(0), e.index(Ix.of(start)))
            self._part(Part(Ix.of(start), step, some, False))
            return ()

        e.for_(bounds, start, (), body)
        some = e.less(e.int_(0), e.index(final))
        self._part(Part(final, k - final, some, True))

    def _views(self) -> None:
        """The matrices that are read and written where they are."""
        p = self.p
        if p.a is not None:
            self.a = self._memref(p.a, p.m, p.k.extent)
        if p.b is not None:
            self.b = self._memref(p.b, p.k.extent, p.n)
        if p.out is not None:
            self.c = self._memref(p.out, p.m, p.n)

    def _most_rows(self) -> int:
        m, t = self.p.m.constant, self.blocks
        return t.mr * t.tiles if m is None else min(m, t.mr * t.tiles)

    def _part(self, part: Part) -> None:
        """Add some products to the task's part of the result. With a loop that A does not depend
        on, A is packed once for all its iterations."""
        e, p = self.e, self.p

        def add() -> None:
            if p.b is None:
                self.pack_b(part.start, part.length)
            self._tiles(part)

        if p.kept is None or self.first_kept is None:
            add()
            return
        first = Ix.of(self.first_row) if p.rows is not None else ZERO
        rows = self.space.minimum(first + self.rows_per_task, p.m) - first
        self.a = self.pack_a(self._origin_row(), self._most_rows(), rows, part.start, part.length)
        begin = Ix.of(self.first_kept)
        stop = self.space.minimum(begin + Ix.of(self.blocks.kept), p.kept.extent)

        def one(_: SSAValue) -> Sequence[SSAValue]:
            self._views()
            add()
            return ()

        e.for_((e.index(begin), e.index(stop), e.int_(1)), p.kept, (), one)

    # ---- rows of tiles --------------------------------------------------------------------------

    def _tiles(self, part: Part) -> None:
        """Run down the rows of a task."""
        first = self._origin_row()
        rows = self.space.minimum(first + self.rows_per_task, self.p.m) - first
        for height, count in heights(
            self.space, self.p.m, self.rows_per_task, rows, self.blocks.mr
        ):
            if height:
                stop = first + count * Ix.of(height)
                self._run(first, stop, height, part)
                first = stop

    def _run(self, start: Ix, stop: Ix, mr: int, part: Part) -> None:
        """Tiles of `mr` rows from `start` to `stop`; what they need of A is copied for a group of
        them together, unless it is read in place or was copied for the whole task."""
        e, p = self.e, self.p

        def tiles(a: SSAValue | None, first: Ix, stop: Ix, origin: Ix, column: Ix) -> None:
            assert a is not None

            def tile(row: Ix) -> None:
                self._row_of_tiles((a, e.index(row - origin), e.index(column)), row, mr, part)

            self._every(first, stop, mr, tile)

        def group(first: Ix) -> None:
            rows = self.space.minimum(first + Ix.of(together), stop) - first
            a = self.pack_a(first, rows.constant or together, rows, part.start, part.length)
            tiles(a, first, first + rows, first, ZERO)

        together = self.blocks.group * mr
        if p.kept is not None:
            tiles(self.a, start, stop, self._origin_row(), ZERO)
        elif p.a is not None:
            tiles(self.a, start, stop, ZERO, part.start)
        else:
            self._every(start, stop, together, group)

    def _every(self, start: Ix, stop: Ix, step: int, body: Callable[[Ix], None]) -> None:
        """`body(row)` for each `step` rows."""
        a, b = start.constant, stop.constant
        if a is not None and b is not None and b - a <= step:
            if b > a:
                body(start)
            return
        row = self.space.loop(stop)
        bounds = (self.e.index(start), self.e.index(stop), self.e.int_(step))
        self.e.for_(bounds, row, (), lambda _: none(body(Ix.of(row))))

    def _row_of_tiles(self, a: Matrix, row: Ix, mr: int, part: Part) -> None:
        """The tiles of some rows, one for each panel of the task."""
        p, t, space = self.p, self.blocks, self.space
        first, n = Ix.of(self.first_column), p.n
        stop = space.minimum(first + Ix.of(t.nc), n)
        if self.single_chunk():
            first, stop = ZERO, n
        columns = stop - first
        full = space.floordiv(columns, Ix.of(t.nr)) * Ix.of(t.nr)

        def panel(column: Ix, masked: bool) -> None:
            self._tile(a, row, column, mr, part, masked)

        masked = n.constant is None or n.constant % t.nr != 0
        if not masked or (p.b is None and self._last_columns() == t.nr):
            # One tile serves all panels: masks cost nothing where B is packed and so not masked.
            self.panel_loop(columns, lambda column: panel(column, masked))
            return
        self.panel_loop(full, lambda column: panel(column, False))
        self.if_less(full, columns, lambda: panel(full, True))

    def _tile(
        self,
        a: Matrix,
        row: Ix,
        column: Ix,
        mr: int,
        part: Part,
        masked: bool,
    ) -> None:
        """One register tile; `column` counts from the task's first."""
        e, p, t, space = self.e, self.p, self.blocks, self.space
        assert self.b is not None and self.c is not None
        packed = p.b is None
        if packed:
            panel = column * Ix.of(self.panel_rows() // t.nr)
            b = (self.b, e.index(panel), e.int_(0))
        else:
            b = (self.b, e.index(part.start), e.index(self.origin_column() + column))
        if p.out is not None:
            c = (self.c, e.index(row), e.index(self.origin_column() + column))
        else:
            c = (self.c, e.index(row - self._origin_row()), e.index(column))
        epilogue = self._epilogue(row + Ix.of(mr), masked) if part.last else None
        nr = self._last_columns() if masked else t.nr
        left = (
            space.minimum(p.n - self.origin_column() - column, Ix.of(nr)) if masked else Ix.of(nr)
        )
        e.do(
            MatmulOp.get(
                a, b, c, e.index(part.length), e.index(left), part.acc,
                mr=mr, nr=nr, masked=masked, padded=masked and packed,
                prefetch=PREFETCH if packed else PREFETCH_IN_PLACE,
                ahead=p.a is not None and p.a.rows == part.length, transposed=p.transposed,
                epilogue=epilogue,
            )
        )  # fmt: skip

    def _last_columns(self) -> int:
        """Columns of the tiles of the last panel: as many vectors as it needs."""
        n, t = self.p.n.constant, self.blocks
        return t.nr if n is None else -(-((n - 1) % t.nr + 1) // t.width) * t.width

    def _origin_row(self) -> Ix:
        return ZERO if self.rows_per_task == self.p.m else Ix.of(self.first_row)

    # ---- what becomes of the product ------------------------------------------------------------

    def _epilogue(self, stop: Ix, masked: bool) -> Region | None:
        """The region applied to each vector, of columns or, if the result is transposed, of rows
        up to `stop`; None where the sums are the result."""
        e, p, t = self.e, self.p, self.blocks
        first, sums = p.stores[0], p.result.reduce
        alone = first.value is p.result and len(p.stores) == 1
        if p.out is not None and alone and begins_with_zero(sums):
            return None
        vector_type = e.vector(p.element, t.width)
        block = Block(arg_types=[INDEX, INDEX, vector_type])
        at_row, at_column, value = block.args
        with e.inside(block) as outer:
            if p.out is None:
                at_row = e.add(at_row, e.index(self._origin_row()), outer)
                at_column = e.add(at_column, e.index(self.origin_column()), outer)
            loops = {p.columns: at_column}
            if p.rows is not None:
                loops[p.rows] = at_row
            if p.transposed and p.rows is not None:
                mask = e.mask(e.sub(e.index(stop), at_row), t.width)
                lane = Lane(p.rows, t.width, mask, aligned=False)
            else:
                mask = e.mask(e.sub(e.index(p.n), at_column), t.width) if masked else None
                lane = Lane(p.columns, t.width, mask)
            with e.inside(block, loops, lane) as scope:
                value = scope.values[p.result] = plus_init(e, sums, value, t.width)
                stores = p.stores
                if p.out is not None:
                    value = e.wide(first.value, t.width)
                    stores = stores[1:]
                for s in stores:
                    e.store(s.memory, s.indices, s.value)
            block.add_op(YieldOp.create(operands=(value,)))
        return Region(block)

    # ---- memory ---------------------------------------------------------------------------------

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
