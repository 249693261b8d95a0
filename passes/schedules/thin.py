"""The schedule of products of very few rows with a transposed B: a vector times a matrix.

Each element of B serves only so many sums, so that copying it would cost more than all else, and
memory sets the pace. Square blocks of B are transposed in registers and used at once; the sums
are those of all products, one fma after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from .blocks import K_BLOCK, K_WHOLE
from .emit import Emitter
from .index import Ix, Space
from .nest import write_parallel
from .numbers import NO_FASTMATH, number
from .product import Product
from .reduction import plus_init
from .transpose import transpose
from .writer import Lane


def write_thin(space: Space, e: Emitter, p: Product) -> None:
    """Write the loops of a product whose columns and sums have known sizes: a task, or what will
    be a part of one, computes a vector of columns."""
    _Writer(space, e, p).write()


class _Writer:
    def __init__(self, space: Space, e: Emitter, p: Product) -> None:
        assert p.m.constant is not None
        self.e, self.p = e, p
        self.width = p.tile.width
        self.first = space.loop(p.n)
        self.rows = range(p.m.constant)

    def write(self) -> None:
        e, p, width = self.e, self.p, self.width
        n = p.n.constant
        assert n is not None
        some = n % width

        def task() -> None:
            if n < width:
                self._columns(n)
            elif not some:
                self._columns(width)
            else:
                full = e.less(e.loops[self.first], e.int_(n - some))
                e.if_(full, lambda: self._columns(width), lambda: self._columns(some))

        write_parallel(e, [*p.outer, self.first], [*[Ix.of(1)] * len(p.outer), Ix.of(width)], task)

    def _columns(self, count: int) -> Sequence[SSAValue]:
        """The first `count` columns of a vector, for all rows."""
        e, p = self.e, self.p
        k = p.k.extent.constant
        assert k is not None
        if k <= K_WHOLE:
            sums = self._part(e.int_(0), k, count)
        else:
            # Not from 0: a first sum of -0 would become 0.
            nothing = e.splat(number(-0.0, p.element), p.element, self.width)
            bounds = (e.int_(0), e.int_(k - k % K_BLOCK), e.int_(K_BLOCK))
            sums = e.for_(
                bounds, None, [nothing] * len(self.rows),
                lambda start, *old: self._more(start, K_BLOCK, count, old),
            )  # fmt: skip
            if k % K_BLOCK:
                rest = e.int_(k - k % K_BLOCK)
                sums = self._more(rest, k % K_BLOCK, count, sums)
        for i, total in zip(self.rows, sums, strict=True):
            self._store(i, total, count)
        return ()

    def _more(
        self, start: SSAValue, length: int, count: int, old: Sequence[SSAValue]
    ) -> Sequence[SSAValue]:
        """The sums of one block of products added to those of the blocks before."""
        e = self.e
        found = self._part(start, length, count)
        return [
            e.put(arith.AddfOp, (new, before), new.type, NO_FASTMATH)
            for new, before in zip(found, old, strict=True)
        ]

    def _part(self, start: SSAValue, length: int, count: int) -> Sequence[SSAValue]:
        """Sums of products from `start` on, in blocks as wide as a vector."""
        e, p, width = self.e, self.p, self.width
        zero = e.splat(number(0, p.element), p.element, width)
        sums: Sequence[SSAValue] = [zero] * len(self.rows)
        whole = length // width * width
        if whole:
            bounds = (start, e.add(start, e.int_(whole)), e.int_(width))
            sums = e.for_(bounds, None, sums, lambda k, *old: self._block(k, width, count, old))
        if length > whole:
            sums = self._block(e.add(start, e.int_(whole)), length - whole, count, sums)
        return sums

    def _block(
        self, k: SSAValue, steps: int, count: int, sums: Sequence[SSAValue]
    ) -> Sequence[SSAValue]:
        """The next `steps` products of each sum, in ascending order."""
        e, p, width = self.e, self.p, self.width
        rows_of_b = transpose(e, [self._load(k, j, steps, count) for j in range(width)])
        following = list(sums)
        for step, b in enumerate(rows_of_b[:steps]):
            at = e.add(k, e.int_(step))
            for i in self.rows:
                loops = {p.k: at}
                if p.rows is not None:
                    loops[p.rows] = e.int_(i)
                with e.inside(e.top.block, loops):
                    a = e.wide(p.left, width)
                terms = (a, b, following[i])
                following[i] = e.put(math.FmaOp, terms, following[i].type, NO_FASTMATH)
        return following

    def _load(self, k: SSAValue, j: int, steps: int, count: int) -> SSAValue:
        """Elements of B from row `k` on, of column `j` of the vector."""
        e, p, width = self.e, self.p, self.width
        if j >= count:
            return e.splat(number(0, p.right.type), p.right.type, width)
        mask = e.mask(e.int_(steps), width) if steps < width else None
        loops = {p.columns: e.index(Ix.of(self.first) + Ix.of(j)), p.k: k}
        with e.inside(e.top.block, loops, Lane(p.k, width, mask)):
            return e.wide(p.right, width)

    def _store(self, row: int, total: SSAValue, count: int) -> None:
        """What is computed from the sums of a row."""
        e, p, width = self.e, self.p, self.width
        mask = e.mask(e.int_(count), width) if count < width else None
        loops = {p.columns: e.loops[self.first]}
        if p.rows is not None:
            loops[p.rows] = e.int_(row)
        with e.inside(e.top.block, loops, Lane(p.columns, width, mask)) as scope:
            scope.values[p.result] = plus_init(e, p.result.reduce, total, width)
            for s in p.stores:
                e.store(s.memory, s.indices, s.value)
