"""Sharing the rows of a product among tasks, and among the register tiles of a task.

Both shares are about even: a tile of few rows takes as long as one of more, since each step of
the sum then waits for the step before.
"""

from __future__ import annotations

from .blocks import Blocks
from .index import ONE, ZERO, Ix, Space

LOW = 4
"""Rows of the tiles for what no even share covers: as many as keep the processor busy."""

Heights = list[tuple[int, Ix]]
"""Register tiles from the first row on: of how many rows, how many."""


def rows_per_task(space: Space, m: Ix, t: Blocks, unit: int) -> Ix:
    """Rows between the first rows of two tasks, a multiple of `unit` unless there is one task."""
    if m.constant is not None:
        return Ix.of(_static_rows(m.constant, t, unit))
    most, shares = Ix.of(t.mr * t.tiles * t.shares), Ix.of(t.shares)
    tasks = _ceildiv(space, m, most) * shares
    each = _ceildiv(space, m, space.maximum(tasks, ONE))
    return space.maximum(_ceildiv(space, each, Ix.of(unit)), ONE) * Ix.of(unit)


def _static_rows(m: int, t: Blocks, unit: int) -> int:
    tasks = -(-m // (t.mr * t.tiles))
    if tasks <= 1:
        return m
    each = -(-m // (tasks * unit)) * unit
    if _height(m, each, t.mr):
        return each
    return -(-m // (t.mr * tasks)) * t.mr


def _height(m: int, each: int, mr: int) -> int:
    """Tiles of this many rows and of one row less cover all tasks; 0 if no such tiles do."""
    high = -(-each // -(-each // mr))
    last = m - (m - 1) // each * each
    return high if all(-(-r // high) * (high - 1) <= r for r in (each, last)) else 0


def heights(space: Space, m: Ix, each: Ix, rows: Ix, mr: int) -> Heights:
    """The tiles of a task that has `rows` of `m` rows, at most `each`."""
    if m.constant is None or each.constant is None:
        return _open_heights(space, rows, mr)
    high = _height(m.constant, each.constant, mr)
    if high:
        tiles = _ceildiv(space, rows, Ix.of(high))
        more = rows - tiles * Ix.of(high - 1)
        return [(high, more), (high - 1, tiles - more)]
    full = space.floordiv(rows, Ix.of(mr))
    left = m.constant % mr
    return [(mr, full), (left, space.minimum(rows - full * Ix.of(mr), ONE))]


def _open_heights(space: Space, rows: Ix, mr: int) -> Heights:
    """Two heights cover any number of rows that is not small but for one row."""
    full = space.floordiv(rows, Ix.of(mr))
    if mr < LOW + 2:
        return [(mr, full), *_low(space, rows - full * Ix.of(mr), mr)]
    tiles = _ceildiv(space, rows, Ix.of(mr))
    missing = tiles * Ix.of(mr) - rows  # from full tiles
    even = space.minimum(space.maximum(tiles + tiles - missing + ONE, ZERO), ONE)
    tiles = full + even * (tiles - full)
    lower = even * _ceildiv(space, missing, Ix.of(2))
    left = rows - tiles * Ix.of(mr) + lower * Ix.of(2)
    return [(mr, tiles - lower), (mr - 2, lower), *_low(space, left, mr)]


def _low(space: Space, rows: Ix, mr: int) -> Heights:
    """Tiles for fewer rows than a full tile has."""
    if mr <= LOW:
        return [(1, rows)]
    low = space.floordiv(rows, Ix.of(LOW))
    return [(LOW, low), (1, rows - low * Ix.of(LOW))]


def _ceildiv(space: Space, x: Ix, y: Ix) -> Ix:
    return space.floordiv(x + y - ONE, y)
