"""Block sizes of products of matrices, chosen by what the blocks would cost.

A task packs its columns of B and its rows of A and then runs over register tiles. Few columns to
a task repeat the packing of A, few rows that of B; too few tasks leave threads idle; large panels
do not stay in the cache. The cost of each partition is estimated in cycles, the least is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...ir.target import Target
from .options import Blocking

K_WHOLE, K_BLOCK = 768, 512
"""The sum runs over all of K if that is not larger than `K_WHOLE`, else in blocks of `K_BLOCK`."""

IN_ORDER, TRANSPOSED = 4, 8
"""Cycles to pack a vector, its elements lying in memory as they will be read, or across."""

FETCH = 3
"""Cycles to bring a vector of A or B into the caches of a core, once for each task."""

TILE, TASK = 150, 2000
"""Cycles to begin and end a register tile, a task."""

ACROSS = 16
"""Cycles to transpose a vector of a register tile, and to store it."""

MOST_STRIPS = 64
"""The most tasks along the rows that are tried, where a task may have any number of rows."""

ASSUMED, MANY_ROWS = 512, (96, 768)
"""Columns or products of a sum where their number is not known; the numbers of rows to suit."""


@dataclass(slots=True)
class Blocks:
    """Sizes of blocks: the register tile is `mr` rows of `nr` columns (`width` to a vector); a
    task computes `nc` columns and `tiles` register tiles of rows; A, where it is copied, is so for
    `group` register tiles at a time; where the number of rows is open, tasks share them in a
    multiple of `shares`; of the loop that is kept inside of a task it does `kept` iterations."""

    mr: int
    nr: int
    width: int
    nc: int
    tiles: int
    group: int
    shares: int = 1
    kept: int = 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of a product: rows, columns, length of the sums (None: not known), products
    of the same shape beside each other, bytes of an element, what the copy of a vector of A and
    of B costs (0 where it is read in place), whether the sums are kept in scratch, and whether
    the result is transposed."""

    m: int | None
    n: int | None
    k: int | None
    outer: int
    itemsize: int
    a: int
    b: int
    scratch: bool = False
    transposed: bool = False


def k_most(k: int | None) -> int:
    """The most products that are summed before the sum starts again."""
    return K_WHOLE if k is None else k if k <= K_WHOLE else K_BLOCK


def choose(s: Sizes, target: Target, blocking: Blocking) -> tuple[float, Blocks]:
    """The partition that costs least, in cycles for each row of the result."""
    width = target.width(8 * s.itemsize)
    mr, vectors = target.tile_shape
    nr = vectors * width
    if s.m is not None and s.m <= mr // 2:
        # Few rows: as many columns as keep all accumulators in registers.
        nr = width * max(vectors, min(8, (target.registers - 4) // (s.m + 1)))
        mr = s.m
    elif s.m is not None:
        mr = -(-s.m // -(-s.m // mr))
    if s.n is not None:
        while nr > width and nr - width >= s.n:
            nr -= width
    depth = k_most(s.k)
    panel = depth * nr * s.itemsize
    most = max(1, min(blocking.columns // nr, target.l2 // 2 // panel))
    strip = depth * -(-mr // width) * width * s.itemsize
    candidates = [
        Blocks(mr, nr, width, panels * nr, tiles, max(1, min(tiles, target.l2 // 8 // strip)),
               _shares(s, target, panels * nr))
        for panels, tiles in _partitions(s, mr, nr, most, blocking.row_tiles)
    ]  # fmt: skip
    costs = [_cost(s, target, blocks) for blocks in candidates]
    best = min(costs)
    return best, candidates[costs.index(best)]


def _partitions(s: Sizes, mr: int, nr: int, most: int, row_tiles: int) -> Iterator[tuple[int, int]]:
    """Panels of columns and register tiles of rows to a task, all about equal."""
    columns = -(-(s.n or ASSUMED) // nr)
    wide = {_even(columns, panels) for panels in range(1, most + 1)}
    if s.m is None:
        long = {row_tiles} if s.scratch else {row_tiles, 4 * row_tiles}
    else:
        rows = -(-s.m // mr)
        long = {_even(rows, tiles) for tiles in range(1, row_tiles + 1)}
        if not s.scratch:
            long |= {-(-rows // tasks) for tasks in range(1, MOST_STRIPS + 1)}
    for panels in wide if s.n else {most}:
        for tiles in long:
            yield panels, tiles


def _even(count: int, most: int) -> int:
    """At most `most` to a task, so that as many tasks have about equally many."""
    return -(-count // -(-count // most))


def _shares(s: Sizes, target: Target, columns: int) -> int:
    """Of what the number of tasks of rows is a multiple where the number of rows is open."""
    tasks = s.outer * -(-(s.n or ASSUMED) // columns)
    return 1 if s.m is not None or tasks % target.threads == 0 else target.threads


def _cost(s: Sizes, target: Target, blocks: Blocks) -> float:
    """Cycles per row, for a few and for many rows where their number is open."""
    if s.transposed:
        rows = MANY_ROWS if s.n is None else (s.n,)
        return sum(_cycles(s, target, blocks, s.m or ASSUMED, n) / max(n, 1) for n in rows)
    rows = MANY_ROWS if s.m is None else (s.m,)
    return sum(_cycles(s, target, blocks, m, s.n or ASSUMED) / max(m, 1) for m in rows)


def _cycles(s: Sizes, target: Target, blocks: Blocks, m: int, n: int) -> float:
    """About how long all tasks take together on all threads."""
    k, width = s.k or ASSUMED, blocks.width
    strips = -(-m // (blocks.mr * blocks.tiles * blocks.shares)) * blocks.shares
    tiles = -(-m // (blocks.mr * max(strips, 1)))
    columns = min(blocks.nc, -(-n // width) * width)
    tasks = s.outer * -(-n // blocks.nc) * strips
    vectors = blocks.mr * blocks.nr / width
    store = TILE + (ACROSS * vectors if s.transposed else 0)
    sums = -(-k // k_most(s.k))
    compute = tiles * columns / blocks.nr * (k * vectors / 2 + store * sums)
    packing = k * (columns * (FETCH + s.b) + tiles * blocks.mr * (FETCH + s.a)) / width
    return -(-tasks // target.threads) * (TASK + compute + packing)
