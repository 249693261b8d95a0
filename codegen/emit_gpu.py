"""What is special about kernels for a GPU: loops over blocks and threads, shared memory, barriers.

A kernel is a sequence of loops with ``calque.map = "block"`` at its top level, each of which is
started on its own, and between them index arithmetic, which every thread repeats. A block holds
loops with ``calque.map = "thread"``, of constant bounds, in which memory is accessed. All
iterations of such a loop are done before what follows it, as `scf.parallel` has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from xdsl.dialects import arith, func, memref, scf, vector
from xdsl.dialects.builtin import IntegerAttr, MemRefType, StringAttr
from xdsl.ir import Operation, SSAValue

from ..ir import tile
from . import emit_memref, emit_scf
from .emit import HANDLERS, Emitter, Handler
from .errors import CodegenError
from .gridsize import grid_size
from .llvm import bits, integer_like
from .scratch import MAP
from .types import MemRef, element_type

BLOCK, THREAD = StringAttr("block"), StringAttr("thread")

_BARRIER = "llvm.nvvm.barrier.cta.sync.aligned.all"
_SHUFFLE = "llvm.nvvm.shfl.sync.bfly.i32"
_THREAD = "llvm.nvvm.read.ptx.sreg.tid.x"
_BLOCK = "llvm.nvvm.read.ptx.sreg.ctaid.x"

SPECIAL = (_BARRIER, _SHUFFLE, _THREAD, _BLOCK)
"""The intrinsics of this target that are called."""

MAX_THREADS = 1024


@dataclass(slots=True)
class Grid:
    """The state of one entry while it is written: the loop over blocks that it runs, the number
    of blocks (see `gridsize`), that of the threads of a block, and the bytes that they share."""

    loop: scf.ParallelOp
    threads: int
    blocks: int | str = 0
    shared: int = 0
    inside: list[scf.ParallelOp] = field(default_factory=list)

    @property
    def thread_loop(self) -> scf.ParallelOp | None:
        """The loop over threads that is being written."""
        return self.inside[1] if len(self.inside) > 1 else None


def block_loops(op: func.FuncOp) -> list[scf.ParallelOp]:
    """The loops over blocks of a kernel, in order."""
    return [o for o in op.body.block.ops if isinstance(o, scf.ParallelOp) and mapping(o) == BLOCK]


def mapping(op: scf.ParallelOp) -> StringAttr | None:
    """What a parallel loop is mapped to."""
    found = op.attributes.get(MAP)
    return found if isinstance(found, StringAttr) else None


def thread_count(loop: scf.ParallelOp) -> int:
    """The threads of a block: as many as the largest loop over threads needs.

    Raises CodegenError.
    """
    inner = [o for o in loop.walk() if isinstance(o, scf.ParallelOp) and mapping(o) == THREAD]
    if not inner:
        raise CodegenError.at(loop, "a loop over blocks must hold a loop over threads")
    count = max(prod(_thread_counts(o)) for o in inner)
    if not 0 < count <= MAX_THREADS:
        raise CodegenError.at(loop, f"a block has from 1 to {MAX_THREADS} threads, not {count}")
    return count


def _thread_counts(loop: scf.ParallelOp) -> list[int]:
    """The trip counts of a loop over threads."""
    counts = []
    for lo, hi, step in zip(loop.lowerBound, loop.upperBound, loop.step, strict=True):
        first, last, by = _constant(loop, lo), _constant(loop, hi), _constant(loop, step)
        counts.append(max(0, -(-(last - first) // by)))
    return counts


def _constant(loop: scf.ParallelOp, value: SSAValue) -> int:
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    raise CodegenError.at(loop, "the bounds of a loop over threads must be constants")


def handlers(grid: Grid) -> dict[type[Operation], Handler]:
    """How to write the operations of one entry."""

    def parallel(e: Emitter, op: scf.ParallelOp) -> None:
        _parallel(e, op, grid)

    def alloca(e: Emitter, op: memref.AllocaOp) -> None:
        _alloca(e, op, grid)

    def barrier(e: Emitter, op: tile.BarrierOp) -> None:
        _check_all_threads(op, grid)
        _barrier(e)

    def shuffle(e: Emitter, op: tile.ShuffleOp) -> None:
        _check_all_threads(op, grid)
        e.set(op, _shuffle(e, op))

    def by_threads(handler: Handler) -> Handler:
        def emit(e: Emitter, op: Operation) -> None:
            if grid.thread_loop is None:
                raise CodegenError.at(op, "memory is accessed inside a loop over threads only")
            handler(e, op)

        return emit

    return {
        **_COMMON,
        **{op: by_threads(_COMMON[op]) for op in _ACCESSES},
        scf.ParallelOp: parallel,
        memref.AllocaOp: alloca,
        tile.BarrierOp: barrier,
        tile.ShuffleOp: shuffle,
    }


_ABSENT = (memref.AllocOp, memref.CopyOp, tile.MatmulOp, tile.PrefetchOp)

_COMMON: dict[type[Operation], Handler] = {
    op: handler for op, handler in HANDLERS.items() if op not in _ABSENT
}
"""What is written as on other targets."""

# Threads run ahead of each other outside their loops, and blocks everywhere: what one reads there
# another may have overwritten.
_ACCESSES = (
    memref.LoadOp,
    memref.StoreOp,
    vector.LoadOp,
    vector.StoreOp,
    vector.MaskedLoadOp,
    vector.MaskedStoreOp,
    tile.GatherOp,
)


def _parallel(e: Emitter, op: scf.ParallelOp, grid: Grid) -> None:
    kind = mapping(op)
    if MAP not in op.attributes:
        emit_scf.parallel(e, op)
    elif kind == BLOCK and isinstance(op.parent_op(), func.FuncOp):
        if op is grid.loop:
            _blocks(e, op, grid)
    elif kind == THREAD and len(grid.inside) == 1:
        _threads(e, op, grid)
    elif kind == BLOCK:
        raise CodegenError.at(op, "a loop over blocks stands at the top level of a kernel")
    elif kind == THREAD:
        raise CodegenError.at(op, "a loop over threads stands in a loop over blocks, and no other")
    else:
        raise CodegenError.at(op, f"{MAP} = {op.attributes[MAP]} does not exist on this target")


def _blocks(e: Emitter, op: scf.ParallelOp, grid: Grid) -> None:
    """Blocks are numbered in row-major order. A number has 31 bits, so 32 suffice to divide."""
    f = e.f
    counts = []
    for lo, hi, step in zip(op.lowerBound, op.upperBound, op.step, strict=True):
        bounds = (e.values[lo], e.values[hi], e.values[step])
        counts.append(f.trunc("i64", emit_scf.trip_count(f, *bounds), "i32"))
    grid.blocks = grid_size(e, op)
    _define_indices(e, op, f.call("i32", _BLOCK, []), counts)
    grid.inside.append(op)
    e.block(op.body.block)
    grid.inside.pop()


def _threads(e: Emitter, op: scf.ParallelOp, grid: Grid) -> None:
    """The threads beyond the loop's count rest; then all wait, unless the block ends here."""
    f = e.f
    counts = _thread_counts(op)
    number = f.call("i32", _THREAD, [])

    def body() -> None:
        _define_indices(e, op, number, [str(c) for c in counts])
        grid.inside.append(op)
        e.block(op.body.block)
        grid.inside.pop()

    if prod(counts) == grid.threads:
        body()
    else:
        with f.if_(f.icmp("ult", "i32", number, str(prod(counts)))):
            body()
    if op.parent_block() is not grid.loop.body.block or not isinstance(op.next_op, scf.ReduceOp):
        _barrier(e)


def _define_indices(e: Emitter, op: scf.ParallelOp, number: str, counts: list[str]) -> None:
    """The indices of a loop from the number (i32) of the iteration."""
    f = e.f
    for d in reversed(range(len(counts))):
        index = number
        if d:
            index = f.emit(f"urem i32 {number}, {counts[d]}")
            number = f.emit(f"udiv i32 {number}, {counts[d]}")
        wide = f.cast("zext", "i32", index, "i64")
        scaled = f.mul("i64", wide, e.values[op.step[d]])
        e.values[op.body.block.args[d]] = f.add("i64", scaled, e.values[op.lowerBound[d]])


def _alloca(e: Emitter, op: memref.AllocaOp, grid: Grid) -> None:
    """Shared memory belongs to the block, other scratch to the thread."""
    ty = op.memref.type
    assert isinstance(ty, MemRefType)
    if ty.memory_space != tile.SHARED:
        emit_memref.alloca(e, op)
        return
    if len(grid.inside) != 1 or not ty.has_static_shape():
        raise CodegenError.at(op, "shared memory has a static shape and belongs to a block")
    f, element, count = e.f, element_type(ty), prod(ty.get_shape())
    name = f"{f.symbol}_shared{grid.shared}"
    address = f.module.shared(name, f"[{count} x {element}]")
    grid.shared += -(-count * bits(element) // 8 // _ALIGN) * _ALIGN
    ptr = f.emit(f"addrspacecast ptr addrspace(3) {address} to ptr")
    sizes = tuple(map(str, ty.get_shape()))
    e.memrefs[op.memref] = MemRef.contiguous(f, ptr, element, sizes)


_ALIGN = 16


def _barrier(e: Emitter) -> None:
    e.f.call("void", _BARRIER, [("i32", "0")])


def _check_all_threads(op: Operation, grid: Grid) -> None:
    loop = grid.thread_loop
    if loop is None:
        raise CodegenError.at(op, "this stands inside a loop over threads only")
    count = prod(_thread_counts(loop))
    if count != grid.threads:
        raise CodegenError.at(
            op, f"all {grid.threads} threads of the block must come here, not {count}"
        )


def _shuffle(e: Emitter, op: tile.ShuffleOp) -> str:
    """In words of 32 bits."""
    f, ty = e.f, e.type(op.value)
    word = f.bitcast(ty, e.values[op.value], integer_like(ty))
    mask = str(op.mask.value.data)

    def exchange(part: str) -> str:
        args = [("i32", "-1"), ("i32", part), ("i32", mask), ("i32", str(tile.WARP - 1))]
        return f.call("i32", _SHUFFLE, args)

    if bits(ty) == 32:
        return f.bitcast("i32", exchange(word), ty)
    low = exchange(f.trunc("i64", word, "i32"))
    high = exchange(f.trunc("i64", f.lshr("i64", word, "32"), "i32"))
    shifted = f.shl("i64", f.cast("zext", "i32", high, "i64"), "32")
    return f.bitcast("i64", f.or_("i64", shifted, f.cast("zext", "i32", low, "i64")), ty)
