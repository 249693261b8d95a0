"""Kernels on tensors to loop nests over memrefs, with vectors and register tiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import bufferization, cf, func, scf
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from ..ir.target import Target
from .schedules.access import Access
from .schedules.emit import Emitter
from .schedules.expr import Memory
from .schedules.gpu import write_results_gpu
from .schedules.gpu_emit import DeviceEmitter
from .schedules.gpu_matmul import choose_tiles, write_product_gpu
from .schedules.gpu_reduce import write_block_reduction
from .schedules.gpu_vectors import state_alignment
from .schedules.heroes import contracts
from .schedules.index import Ix, Space
from .schedules.matmul import write_product
from .schedules.nest import write_results
from .schedules.options import DEFAULT, Blocking, adjusted
from .schedules.product import find_product
from .schedules.reduction import lanes_of, write_reduction
from .schedules.scatter import scratch, write_loop
from .stages import require_kernels

KERNEL = "calque.kernel"


@dataclass(frozen=True)
class Tile(ModulePass):
    """Turn kernels whose bodies are linalg on tensors into loops over memrefs.

    The target is this machine, apart from `vector_bits`, `registers` and `threads` where they are
    not 0; the other options are block sizes.
    """

    name = "tile"
    vector_bits: int = 0
    registers: int = 0
    threads: int = 0
    chunk: int = DEFAULT.chunk
    columns: int = DEFAULT.columns
    row_tiles: int = DEFAULT.row_tiles

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_kernels(op, self.name, tiled=False)
        target = adjusted(Target.host(), self.vector_bits, self.registers, self.threads)
        tile_module(op, target, Blocking(self.chunk, self.columns, self.row_tiles))


def tile_module(module: ModuleOp, target: Target, blocking: Blocking = DEFAULT) -> None:
    """Rewrite the kernels of a module in place."""
    for kernel in list(module.ops):
        if isinstance(kernel, func.FuncOp) and KERNEL in kernel.attributes:
            tile(kernel, target, blocking)


def tile(kernel: func.FuncOp, target: Target, blocking: Blocking = DEFAULT) -> None:
    """Rewrite the body of one kernel in place.

    Raises ScheduleError for operations that no schedule knows.
    """
    block = kernel.body.block
    old = list(block.ops)
    access = Access(Space(), lambda element: lanes_of(target, element), contracts(kernel, old))
    results = _results(access, old)
    last = old.pop()
    last.detach()
    if target.kind == "nvptx":
        _write_device(access, DeviceEmitter(block, target, write_block_reduction), old, results)
    else:
        e = Emitter(block, target, write_reduction, blocking)
        _write_asserts(access, e, old)
        _write_groups(access, e, _write_loops(access, e, old, results))
    for op in reversed(old):
        block.erase_op(op, safe_erase=False)
    block.add_op(last)
    if target.kind == "nvptx":
        state_alignment(kernel)


def _results(access: Access, ops: Iterable[Operation]) -> list[tuple[SSAValue, Memory]]:
    """The tensors that a kernel writes, and where; what the operations say about sizes on the
    way is noted."""
    found: list[bufferization.MaterializeInDestinationOp] = []
    for op in ops:
        if isinstance(op, LinalgStructuredOperation) and not isinstance(op, linalg.FillOp):
            access.generic(op).unify()
        elif isinstance(op, bufferization.MaterializeInDestinationOp):
            for d, extent in enumerate(access.shape(op.source)):
                access.same_size(op.dest, d, extent)
            found.append(op)
    results: list[tuple[SSAValue, Memory]] = []
    for op in found:
        results += access.pieces(op.source, access.memref(op.dest))
    return results


def _write_loops(
    access: Access,
    e: Emitter,
    ops: Iterable[Operation],
    results: list[tuple[SSAValue, Memory]],
) -> list[tuple[SSAValue, Memory]]:
    """Write the loops over tensors; returns the results that they did not write."""
    loops = [op for op in ops if isinstance(op, scf.ForOp)]
    if not loops:
        return results
    places = dict(reversed(results))

    def place(value: SSAValue) -> Memory:
        found = places.pop(value, None)
        return found if found is not None else scratch(access, e, value)

    for op in loops:
        write_loop(access, e, op, place)
    e.forget()
    return [(v, m) for v, m in results if access.memory.get(v) is not m]


def _write_device(
    access: Access,
    e: DeviceEmitter,
    ops: list[Operation],
    results: list[tuple[SSAValue, Memory]],
) -> None:
    """For a GPU: one thread checks conditions and runs loops over tensors."""
    if any(isinstance(op, scf.ForOp | cf.AssertOp) for op in ops):
        with e.grid([], [], 1):
            _write_asserts(access, e, ops)
            results = _write_loops(access, e, ops, results)
    for shape, group in _groups(access, results):
        product = find_product(access, e.target, e.blocking, shape, group)
        tiles = None if product is None else choose_tiles(e, product)
        if product is None or tiles is None:
            write_results_gpu(access, e, group)
        else:
            write_product_gpu(access.space, e, product, tiles)


def _groups(
    access: Access, results: list[tuple[SSAValue, Memory]]
) -> Iterable[tuple[tuple[Ix, ...], list[tuple[SSAValue, Memory]]]]:
    """Results of one shape together."""
    groups: dict[tuple[Ix, ...], list[tuple[SSAValue, Memory]]] = {}
    for value, memory in results:
        groups.setdefault(access.shape(value), []).append((value, memory))
    return groups.items()


def _write_groups(access: Access, e: Emitter, results: list[tuple[SSAValue, Memory]]) -> None:
    """Write results: products of matrices by their own schedule, all others together."""
    rest: list[tuple[SSAValue, Memory]] = []
    for shape, group in _groups(access, results):
        product = find_product(access, e.target, e.blocking, shape, group)
        if product is None:
            rest += group
        else:
            write_product(access.space, e, product)
    write_results(access, e, rest)


def _write_asserts(access: Access, e: Emitter, ops: Iterable[Operation]) -> None:
    """Conditions on the scalars of a kernel."""
    for op in ops:
        if isinstance(op, cf.AssertOp):
            condition = e.value(access.scalar(op.arg))
            e.do(cf.AssertOp.create(operands=(condition,), properties=op.properties))
