"""The register tile of matrix products: `tile.matmul` as LLVM IR.

mr rows times nr columns of C stay in registers while k runs: per step one load for each vector
of the row of B, one broadcast element of A per row, and one fma per accumulator. The
accumulators, one row of B and one broadcast must fit in the register file, or every step spills;
`Target.tile_shape` is the largest tile that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..ir.exchange import transposed
from .llvm import Fn, element, is_literal, lanes, size, vector, zero
from .narrow import to_float
from .types import MemRef

CACHE_LINE = 64

EmitRegion = Callable[[str, str, str], str]
"""Writes an epilogue for the row (i64), the column of the first lane (i64) and a vector of
results, and returns the vector to store."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile to be written.

    a, b, c: the matrices, each with `ptr` at the tile's origin; c has element type f32 or f64, a
    and b the same or a narrower one. `ty` is the vector type of the accumulators, whose lanes
    divide `nr`. `k`, `n`, `row`, `column` are i64 values, `acc` is an i1: see `tile.matmul`.
    """

    a: MemRef
    b: MemRef
    c: MemRef
    ty: str
    mr: int
    nr: int
    k: str
    n: str
    acc: str
    row: str
    column: str
    masked: bool
    prefetch: int
    padded: bool = False
    ahead: bool = False
    transposed: bool = False

    @property
    def vectors(self) -> range:
        """The columns at which a row's vectors start."""
        return range(0, self.nr, lanes(self.ty))


def matmul(f: Fn, tile: Tile, epilogue: EmitRegion | None, looped: bool) -> None:
    """Write a tile. With `looped` the epilogue is written once, in a loop over the rows, which
    go through memory; otherwise once for each accumulator, while the others wait in registers.
    A transposed tile always goes through memory.
    """
    width = lanes(tile.ty)
    masks = None
    if tile.masked:
        masks = [f.mask(width, f.sub("i64", tile.n, str(j))) for j in tile.vectors]
    sums = _sums(f, tile, None if tile.padded else masks)
    if tile.transposed:
        _store_transposed(f, tile, sums, epilogue)
        return
    sums = _add_old(f, tile, sums, masks)
    if epilogue is None or not looped:
        _store(f, tile, sums, masks, epilogue)
    else:
        _store_looped(f, tile, sums, masks, epilogue)


def _sums(f: Fn, tile: Tile, masks: list[str] | None) -> list[str]:
    """The accumulators after the loop over k, row by row."""
    nv = len(tile.vectors)
    ty, first = tile.ty, zero(tile.ty)
    a_step, b_step = tile.a.strides[1], tile.b.strides[0]
    bases = _row_bases(f, tile)
    carried = [("ptr", base) for base in bases] + [("ptr", tile.b.ptr)]
    if tile.ahead:
        carried.append(("ptr", _row_of_a(f, tile, tile.a.ptr, tile.mr)))
    starts = len(carried)
    carried += [(ty, first)] * (tile.mr * nv)
    with f.loop("0", tile.k, carried=carried) as loop:
        pointers, b_row = loop.args[: len(bases)], loop.args[len(bases)]
        sums = loop.args[starts:]
        row_of_b = _load_b(f, tile, b_row, masks)
        elements = _load_a(f, tile, pointers)
        following = []
        for i, value in enumerate(elements):
            factor = f.splat(ty, value)
            pairs = zip(row_of_b, sums[i * nv : (i + 1) * nv], strict=True)
            following += [f.fma(ty, factor, b, total) for b, total in pairs]
        moved = [f.gep(tile.a.element, p, a_step, inbounds=False) for p in pointers]
        moved.append(f.gep(tile.b.element, b_row, b_step, inbounds=False))
        if tile.ahead:
            f.prefetch(loop.args[starts - 1], locality=2)
            moved.append(f.gep("i8", loop.args[starts - 1], str(CACHE_LINE), inbounds=False))
        loop.yield_([*moved, *following])
    return loop.results[starts:]


GROUP = 4


def _row_bases(f: Fn, tile: Tile) -> list[str]:
    """Pointers into A that the loop advances. With a static distance between rows one pointer
    serves all, by displacements; otherwise there is one for every four rows."""
    stride = tile.a.strides[0]
    if is_literal(stride):
        return [tile.a.ptr]
    rows = range(GROUP, tile.mr, GROUP)
    return [tile.a.ptr] + [_opaque(f, _row_of_a(f, tile, tile.a.ptr, i)) for i in rows]


def _opaque(f: Fn, pointer: str) -> str:
    """The pointer, so that LLVM does not see how it was made: it would compute each row's
    address from that of the row before, a chain as long as the step's arithmetic."""
    return f.emit(f'call ptr asm "", "=r,0"(ptr {pointer})')


def _row_of_a(f: Fn, tile: Tile, base: str, rows: int) -> str:
    offset = f.mul("i64", tile.a.strides[0], str(rows))
    return f.gep(tile.a.element, base, offset, inbounds=False)


def _load_a(f: Fn, tile: Tile, pointers: list[str]) -> Iterator[str]:
    """The elements of A for one step, widened to the accumulator's type; one at a time, so that
    each stands next to its uses."""
    per_pointer = GROUP if len(pointers) > 1 else tile.mr
    for i in range(tile.mr):
        base = pointers[i // per_pointer]
        address = _row_of_a(f, tile, base, i % per_pointer)
        yield _widened(f, tile, tile.a.element, f.load(tile.a.element, address))


def _load_b(f: Fn, tile: Tile, row: str, masks: list[str] | None) -> list[str]:
    """The vectors of a row of B, widened; asks for the row `prefetch` steps on."""
    if tile.prefetch:
        ahead = f.mul("i64", tile.b.strides[0], str(tile.prefetch))
        target = f.gep(tile.b.element, row, ahead, inbounds=False)
        for at in range(0, tile.nr, CACHE_LINE // size(tile.b.element)):
            f.prefetch(f.gep(tile.b.element, target, str(at), inbounds=False))
    ty = vector(tile.b.element, lanes(tile.ty))
    out = []
    for number, j in enumerate(tile.vectors):
        address = f.gep(tile.b.element, row, str(j), inbounds=False)
        value = f.masked_load(ty, address, masks[number]) if masks else f.load(ty, address)
        out.append(_widened(f, tile, ty, value))
    return out


def _widened(f: Fn, tile: Tile, ty: str, value: str) -> str:
    if element(ty) == element(tile.ty):
        return value
    return to_float(f, ty, value)[1]


def _positions(f: Fn, tile: Tile) -> Iterator[tuple[int, int, int, str]]:
    """(row, column, number of the vector in the row, address in C) of each accumulator."""
    for i in range(tile.mr):
        offset = f.mul("i64", tile.c.strides[0], str(i))
        row = f.gep(tile.c.element, tile.c.ptr, offset, inbounds=False)
        for number, j in enumerate(tile.vectors):
            yield i, j, number, f.gep(tile.c.element, row, str(j), inbounds=False)


def _add_old(f: Fn, tile: Tile, sums: list[str], masks: list[str] | None) -> list[str]:
    """The accumulators plus the old C, where `acc` says so."""
    if tile.acc == "false":
        return sums
    if tile.acc == "true":
        return _plus_old(f, tile, sums, masks)
    with f.if_else(tile.acc, [tile.ty] * len(sums)) as branch:
        with branch.then():
            branch.yield_(_plus_old(f, tile, sums, masks))
        with branch.otherwise():
            branch.yield_(sums)
    return branch.results


def _plus_old(f: Fn, tile: Tile, sums: list[str], masks: list[str] | None) -> list[str]:
    out = []
    for value, (_, _, number, address) in zip(sums, _positions(f, tile), strict=True):
        if masks:
            old = f.masked_load(tile.ty, address, masks[number])
        else:
            old = f.load(tile.ty, address)
        out.append(f.fadd(tile.ty, value, old))
    return out


def _put(f: Fn, tile: Tile, value: str, address: str, mask: str) -> None:
    if mask:
        f.masked_store(tile.ty, value, address, mask)
    else:
        f.store(tile.ty, value, address)


def _store(
    f: Fn, tile: Tile, sums: list[str], masks: list[str] | None, epilogue: EmitRegion | None
) -> None:
    for value, (i, j, number, address) in zip(sums, _positions(f, tile), strict=True):
        if epilogue is not None:
            row = f.add("i64", tile.row, str(i))
            value = epilogue(row, f.add("i64", tile.column, str(j)), value)
        _put(f, tile, value, address, masks[number] if masks else "")


def _store_looped(
    f: Fn, tile: Tile, sums: list[str], masks: list[str] | None, epilogue: EmitRegion
) -> None:
    ty, kind, width = tile.ty, element(tile.ty), lanes(tile.ty)
    scratch = f.alloca(kind, tile.mr * tile.nr)
    for number, value in enumerate(sums):
        f.store(ty, value, f.gep(kind, scratch, str(number * width)))
    with f.loop("0", str(tile.mr)) as loop:
        i = loop.index
        source = f.gep(kind, scratch, f.mul("i64", i, str(tile.nr)))
        target = f.gep(kind, tile.c.ptr, f.mul("i64", i, tile.c.strides[0]), inbounds=False)
        row = f.add("i64", tile.row, i)
        for number, j in enumerate(tile.vectors):
            value = f.load(ty, f.gep(kind, source, str(j)))
            value = epilogue(row, f.add("i64", tile.column, str(j)), value)
            address = f.gep(kind, target, str(j), inbounds=False)
            _put(f, tile, value, address, masks[number] if masks else "")


def _store_transposed(f: Fn, tile: Tile, sums: list[str], epilogue: EmitRegion | None) -> None:
    """Store columns as vectors: square blocks of accumulators are transposed into scratch, with
    zeros for the rows that are missing; then the old C and the epilogue, column by column."""
    ty, kind, width, nv = tile.ty, element(tile.ty), lanes(tile.ty), len(tile.vectors)
    starts = range(0, tile.mr, width)
    column = len(starts) * width
    scratch = f.alloca(kind, tile.nr * column)

    def shuffle(a: str, b: str, lanes: Sequence[int]) -> str:
        return f.shuffle(ty, a, b, lanes)

    for number, j in enumerate(tile.vectors):
        for start in starts:
            rows = [sums[i * nv + number] for i in range(start, min(start + width, tile.mr))]
            rows += [zero(ty)] * (width - len(rows))
            for lane, value in enumerate(transposed(rows, shuffle)):
                f.store(ty, value, f.gep(kind, scratch, str((j + lane) * column + start)))
    with f.loop("0", tile.n if tile.masked else str(tile.nr)) as loop:
        j = loop.index
        source = f.gep(kind, scratch, f.mul("i64", j, str(column)))
        target = f.gep(kind, tile.c.ptr, f.mul("i64", j, tile.c.strides[1]), inbounds=False)
        for start in starts:
            mask = f.mask(width, str(tile.mr - start)) if start + width > tile.mr else ""
            address = f.gep(kind, target, str(start), inbounds=False)
            value = f.load(ty, f.gep(kind, source, str(start)))
            value = _accumulated(f, tile, value, address, mask)
            if epilogue is not None:
                row = f.add("i64", tile.row, str(start))
                value = epilogue(row, f.add("i64", tile.column, j), value)
            _put(f, tile, value, address, mask)


def _accumulated(f: Fn, tile: Tile, value: str, address: str, mask: str) -> str:
    """The value plus the old C, where `acc` says so."""

    def total() -> str:
        load = f.masked_load(tile.ty, address, mask) if mask else f.load(tile.ty, address)
        return f.fadd(tile.ty, value, load)

    if tile.acc in ("false", "true"):
        return total() if tile.acc == "true" else value
    with f.if_else(tile.acc, [tile.ty]) as branch:
        with branch.then():
            branch.yield_([total()])
        with branch.otherwise():
            branch.yield_([value])
    return branch.results[0]
