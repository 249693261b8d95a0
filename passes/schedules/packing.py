"""Copying parts of the factors of a product into scratch, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from xdsl.dialects import arith, memref, vector
from xdsl.dialects.builtin import DenseArrayBase, MemRefType, StridedLayoutAttr, i1, i32
from xdsl.ir import Attribute, SSAValue

from .blocks import k_most
from .emit import Emitter
from .expr import INDEX, Expr, Rows
from .index import ONE, ZERO, Atom, Ix, Space
from .numbers import FALSE, TRUE, Properties, integers, number
from .plan import score
from .product import Product, along_k
from .transpose import transpose
from .writer import Lane

PREFETCH = 64
"""How many rows of a packed panel ahead are asked for."""

PREFETCH_IN_PLACE = 8
"""The same for a B that is read in place: each row is a page of its own, often."""

AlongK = Callable[[SSAValue, SSAValue, Lane], None]
"""Writes a vector along k: where it begins, in its loop and in the block of K, and its lanes."""


class Packing:
    """What a task packs. `first_column` is the loop over the first columns of tasks; `b` is the
    memref that B is read from, panels if it is packed."""

    def __init__(self, space: Space, e: Emitter, p: Product) -> None:
        self.space, self.e, self.p = space, e, p
        self.blocks = p.tile
        self.k_most = k_most(p.k.extent.constant)
        self.first_column = space.loop(p.n)
        self.b: SSAValue | None = None

    def single_chunk(self) -> bool:
        n = self.p.n.constant
        return n is not None and n <= self.blocks.nc

    def panel_loop(self, stop: Ix, body: Callable[[Ix], None]) -> None:
        """Over the panels of a task, by their distance from its first column."""
        number, nr = stop.constant, self.blocks.nr
        if number is not None and number <= nr:
            if number:
                body(ZERO)
            return
        column = self.space.loop(stop)
        bounds = (self.e.int_(0), self.e.index(stop), self.e.int_(nr))
        self.e.for_(bounds, column, (), lambda _: none(body(Ix.of(column))))

    def origin_column(self) -> Ix:
        return ZERO if self.single_chunk() else Ix.of(self.first_column)

    def panel_rows(self) -> int:
        """Rows of scratch for a panel, so many that its first row is a multiple of its columns."""
        nr = self.blocks.nr
        return -(-max(1, self.k_most) // nr) * nr

    def panels(self) -> SSAValue:
        """Scratch for the panels of a task, one below the other. What is asked for behind the last
        one is scratch too: another thread's memory would have to come from its caches."""
        t = self.blocks
        return self.alloca(self.p.element, [t.nc // t.nr * self.panel_rows() + PREFETCH, t.nr])

    def pack_b(self, start: Ix, length: Ix) -> None:
        """Copy the task's columns of a block of B into panels."""
        p, t, space = self.p, self.blocks, self.space
        first = self.origin_column()
        stop = p.n if self.single_chunk() else space.minimum(first + Ix.of(t.nc), p.n)
        panels = space.floordiv(stop - first + Ix.of(t.nr - 1), Ix.of(t.nr)) * Ix.of(t.nr)
        if score(p.columns, t.width, p.right) >= along_k(p, t.width, p.right, p.right_rows):
            self._pack_rows_of_b(first, panels, start, length)
            return

        def panel(column: Ix, there: int | None) -> None:
            row = column * Ix.of(self.panel_rows() // t.nr)
            for j in range(0, t.nr, t.width):
                some = None if there is None else max(0, min(there - j, t.width))
                self._pack_across(first + column + Ix.of(j), some, start, length, row, j)

        n = p.n.constant
        if n is None:
            self.panel_loop(panels, lambda column: panel(column, None))
            return
        full = space.floordiv(stop - first, Ix.of(t.nr)) * Ix.of(t.nr)
        self.panel_loop(full, lambda column: panel(column, t.nr))
        if n % t.nr:
            self.if_less(full, stop - first, lambda: panel(full, n % t.nr))

    def if_less(self, a: Ix, b: Ix, body: Callable[[], None]) -> None:
        """`body` where a < b."""
        distance = (b - a).constant
        if distance is None:
            self.e.if_(self.e.less(self.e.index(a), self.e.index(b)), lambda: none(body()))
        elif distance > 0:
            body()

    def _lanes(self, loop: Atom, value: Expr) -> int:
        """Lanes in which a factor is computed along a loop: those of two registers, so that long
        computations overlap, unless that makes contiguous accesses scattered ones."""
        width = self.blocks.width
        if self.blocks.nr % (2 * width):
            return width
        same = score(loop, 2 * width, value) == score(loop, width, value)
        return 2 * width if same else width

    def _pack_rows_of_b(self, first: Ix, panels: Ix, start: Ix, length: Ix) -> None:
        """Row by row of B, which is read in the order in which it lies, into all panels; zeros
        beyond the last column."""
        e, p, t, width = self.e, self.p, self.blocks, self._lanes(self.p.columns, self.p.right)

        def step(k: SSAValue) -> Sequence[SSAValue]:
            to = e.sub(k, e.index(start))
            self.panel_loop(panels, lambda column: panel(to, column))
            return ()

        def panel(to: SSAValue, column: Ix) -> None:
            row = e.add(to, e.index(column * Ix.of(self.panel_rows() // t.nr)))
            for j in range(0, t.nr, width):
                at = first + column + Ix.of(j)
                mask = self._mask(p.columns, at, width)
                lane = Lane(p.columns, width, mask)
                with e.inside(e.top.block, {p.columns: e.index(at)}, lane):
                    made = self._masked(e.wide(p.right, width), mask, p.right.type, width)
                    operands = [made, self.b, row, e.int_(j)]
                    e.do(vector.StoreOp.create(operands=operands))

        e.for_((e.index(start), e.index(start + length), e.int_(1)), p.k, (), step)

    def _mask(self, lane: Atom, at: Ix, width: int) -> SSAValue | None:
        """The lanes that exist, None for all."""
        extent = lane.extent.constant
        if extent is not None and extent % self.blocks.nr == 0:
            return None
        return self.e.mask(self.e.index(lane.extent - at), width)

    def _masked(
        self, value: SSAValue, mask: SSAValue | None, element: Attribute, width: int
    ) -> SSAValue:
        """The value, 0 in lanes that do not exist."""
        if mask is None:
            return value
        zero = self.e.splat(number(0, element), element, width)
        return self.e.put(arith.SelectOp, (mask, value, zero), value.type)

    def _pack_across(
        self, at: Ix, there: int | None, start: Ix, length: Ix, row: Ix, column: int
    ) -> None:
        """Square blocks of a B whose columns are contiguous, transposed in registers. Of the
        columns from `at` on the first `there` exist; those that exist where that is not known."""
        e, p, width = self.e, self.p, self.blocks.width
        value = p.right if p.right_rows is None else p.right_rows.value

        def load(j: int, k: SSAValue, lane: Lane) -> SSAValue:
            if there is not None and j >= there:
                return e.splat(number(0, p.right.type), p.right.type, width)
            if there is None:
                exists = e.less(e.index(at + Ix.of(j)), e.index(p.n))
                every, nothing = (e.splat(flag, i1, width) for flag in (TRUE, FALSE))
                some = every if lane.mask is None else lane.mask
                some = e.put(arith.SelectOp, (exists, some, nothing), some.type)
                lane = replace(lane, mask=some)
            loops = {p.columns: e.index(at + Ix.of(j)), lane.loop: k}
            with e.inside(e.top.block, loops, lane):
                return self._masked(e.wide(value, width), lane.mask, p.right.type, width)

        def block(k: SSAValue, to: SSAValue, lane: Lane) -> None:
            to = e.add(to, e.index(row))
            made = transpose(e, [load(j, k, lane) for j in range(width)])
            for n, vector_of_row in enumerate(made):
                operands = [vector_of_row, self.b, e.add(to, e.int_(n)), e.int_(column)]
                e.do(vector.StoreOp.create(operands=operands))

        if there != 0:
            self._along_k(p.right_rows, width, start, length, block)

    def _along_k(self, rows: Rows | None, width: int, start: Ix, length: Ix, body: AlongK) -> None:
        """Vectors along a block of K, in ascending order. Where that is in rows, the last vector of
        each has too much, which the next row overwrites; behind the last row there is room."""
        if rows is not None:
            self._along_rows(rows, width, start, length, body)
            return
        e, k, stop = self.e, self.p.k, start + length
        whole = length.constant is not None and length.constant >= width

        def one(at: SSAValue) -> Sequence[SSAValue]:
            if whole:  # the last vector begins earlier rather than being shorter
                at = e.put(arith.MinSIOp, (at, e.index(stop - Ix.of(width))), INDEX)
            mask = None if whole else e.mask(e.sub(e.index(stop), at), width)
            body(at, e.sub(at, e.index(start)), Lane(k, width, mask, aligned=not whole))
            return ()

        e.for_((e.index(start), e.index(stop), e.int_(width)), None, (), one)

    def _along_rows(self, rows: Rows, width: int, start: Ix, length: Ix, body: AlongK) -> None:
        e, space, size = self.e, self.space, rows.inner.extent
        stop = start + length
        first = Ix.of(rows.outer) * size

        def vectors(i: SSAValue, end: SSAValue) -> Sequence[SSAValue]:
            lane = Lane(rows.inner, width, e.mask(e.sub(end, i), width), aligned=False)
            body(i, e.add(i, e.index(first - start)), lane)
            return ()

        def one(_: SSAValue) -> Sequence[SSAValue]:
            low = e.index(space.maximum(start - first, ZERO))
            end = e.index(space.minimum(stop - first, size))
            bounds = (low, end, e.int_(width))
            e.for_(bounds, rows.inner, (), lambda i: vectors(i, end))
            return ()

        bounds = (
            e.index(space.floordiv(start, size)),
            e.index(space.floordiv(stop + size - ONE, size)),
            e.int_(1),
        )
        e.for_(bounds, rows.outer, (), one)

    def pack_a(self, row: Ix, most: int, rows: Ix, start: Ix, length: Ix) -> SSAValue:
        """Compute `rows` rows of A from `row` on (at most `most`) for a block of K, as a matrix
        whose first element is the first of these."""
        p, width = self.p, self.blocks.width
        if p.rows is not None and score(p.rows, 0, p.left) > along_k(p, width, p.left, p.left_rows):
            return self._pack_steps(p.rows, row, most, rows, start, length)
        return self._pack_rows_of_a(row, most, rows, start, length)

    def _pack_rows_of_a(self, row: Ix, most: int, rows: Ix, start: Ix, length: Ix) -> SSAValue:
        """Row by row, in vectors along k."""
        e, p = self.e, self.p
        value, width = p.left, self._lanes(p.k, p.left)
        if p.left_rows is not None:
            value, width = p.left_rows.value, self.blocks.width
        target = self.alloca(p.element, [most, self.panel_rows() + self.blocks.width])

        def one(i: SSAValue) -> Sequence[SSAValue]:
            def part(k: SSAValue, to: SSAValue, lane: Lane) -> None:
                with e.inside(e.top.block, {lane.loop: k}, lane):
                    operands = [e.wide(value, width), target, i, to]
                    e.do(vector.StoreOp.create(operands=operands))

            here = {} if p.rows is None else {p.rows: e.add(i, e.index(row))}
            with e.inside(e.top.block, here):
                self._along_k(p.left_rows, width, start, length, part)
            return ()

        e.for_((e.int_(0), e.index(rows), e.int_(1)), None, (), one)
        return target

    def _pack_steps(
        self, loop: Atom, row: Ix, most: int, rows: Ix, start: Ix, length: Ix
    ) -> SSAValue:
        """For each k vectors along the rows."""
        e, p, width = self.e, self.p, self.blocks.width
        wide = -(-most // width) * width
        target = self.alloca(p.element, [self.panel_rows(), wide])

        def vectors(i: SSAValue, to: SSAValue) -> Sequence[SSAValue]:
            at = e.add(i, e.index(row))
            mask = e.mask(e.sub(e.index(loop.extent), at), width)
            with e.inside(e.top.block, {loop: at}, Lane(loop, width, mask, aligned=False)):
                operands = [e.wide(p.left, width), target, to, i]
                e.do(vector.StoreOp.create(operands=operands))
            return ()

        def step(k: SSAValue) -> Sequence[SSAValue]:
            to = e.sub(k, e.index(start))
            bounds = (e.int_(0), e.index(rows), e.int_(width))
            e.for_(bounds, None, (), lambda i: vectors(i, to))
            return ()

        e.for_((e.index(start), e.index(start + length), e.int_(1)), p.k, (), step)
        shape, strides = [most, self.panel_rows()], [1, wide]
        type_ = MemRefType(p.element, shape, StridedLayoutAttr(strides, 0))
        properties: Properties = {
            "static_offsets": integers([0]),
            "static_sizes": integers(shape),
            "static_strides": integers(strides),
            "operandSegmentSizes": DenseArrayBase.from_list(i32, [1, 0, 0, 0]),
        }
        return e.put(memref.ReinterpretCastOp, (target,), type_, properties)

    def alloca(self, element: Attribute, shape: Sequence[int]) -> SSAValue:
        return self.e.put(
            memref.AllocaOp,
            (),
            MemRefType(element, shape),
            {"operandSegmentSizes": DenseArrayBase.from_list(i32, [0, 0])},
        )


def none(_: None) -> Sequence[SSAValue]:
    """No results."""
    return ()
