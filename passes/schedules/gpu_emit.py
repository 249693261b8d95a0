"""Writing kernels for a GPU: loops over blocks and threads around what one thread does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from xdsl.dialects import memref, scf
from xdsl.dialects.builtin import DenseArrayBase, MemRefType, StringAttr, i32
from xdsl.ir import Attribute, Block, Region, SSAValue

from ...ir.target import Target
from ...ir.tile import SHARED
from .emit import Emitter
from .expr import INDEX
from .index import Atom
from .options import DEFAULT
from .writer import Scope

BLOCK, THREAD = StringAttr("block"), StringAttr("thread")


class DeviceEmitter(Emitter):
    """Writes one kernel for a GPU. Inside of `grid` the code is that of one thread: `thread` is
    its number among `threads`, and `spread` has the bits of the loops whose iterations are
    spread over the threads, so that threads are in different ones at the same time.

    With more than one of `groups` of threads, each has a thread for each of `columns`; the thread
    is number `slot` of group `group`.
    """

    def __init__(
        self, block: Block, target: Target, reduce: Callable[..., Sequence[SSAValue]]
    ) -> None:
        super().__init__(block, target, reduce, DEFAULT)
        self.threads = 0
        self.spread = 0
        self.groups = 1
        self.columns = 1
        self._thread: SSAValue | None = None
        self.group: SSAValue
        self.slot: SSAValue
        self._block: Scope | None = None
        self._own: Scope | None = None

    @property
    def thread(self) -> SSAValue:
        """The number of the thread in its block."""
        assert self._thread is not None
        return self._thread

    @property
    def at_block_level(self) -> bool:
        """Whether what is written runs once per block, not in a loop of its threads."""
        return self.top is self._own

    def scope_of(self, deps: int) -> Scope:
        """All that threads compute stands in the loop over threads, where they may read
        memory."""
        scope = super().scope_of(deps)
        own = self._own
        if own is None or own not in self.stack:
            return scope
        return own if self.stack.index(scope) < self.stack.index(own) else scope

    def scaled(self, value: SSAValue, factor: int) -> SSAValue:
        return value if factor == 1 else self.mul(value, self.int_(factor))

    @contextmanager
    def grid(self, loops: Sequence[Atom], steps: Sequence[int], threads: int) -> Iterator[None]:
        """A block of threads for every `steps` iterations of the loops."""
        uppers = [self.index(a.extent) for a in loops] or [self.int_(1)]
        strides = list(map(self.int_, steps or [1]))
        outer, inner = Block(arg_types=[INDEX] * len(uppers)), Block(arg_types=[INDEX])
        start, count, one = self.int_(0), self.int_(threads), self.int_(1)
        with self.inside(outer) as self._block:
            indices: dict[Atom, SSAValue] = dict(zip(loops, outer.args, strict=False))
            with self.inside(inner, indices) as self._own:
                self.threads, self.spread, self._thread = threads, 0, inner.args[0]
                yield
                inner.add_op(scf.ReduceOp.create())
            self.do(_parallel([start], [count], [one], inner, THREAD))
            outer.add_op(scf.ReduceOp.create())
        self._block = self._own = self._thread = None
        self.do(_parallel([start] * len(uppers), uppers, strides, outer, BLOCK))

    def shared(self, element: Attribute, shape: Sequence[int]) -> SSAValue:
        """Memory that the threads of the block share, not initialized."""
        assert self._block is not None
        made = memref.AllocaOp.create(
            result_types=(MemRefType(element, shape, memory_space=SHARED),),
            properties={"operandSegmentSizes": DenseArrayBase.from_list(i32, [0, 0])},
        )
        self._block.block.add_op(made)
        return made.results[0]


def _parallel(
    lower: Sequence[SSAValue],
    upper: Sequence[SSAValue],
    step: Sequence[SSAValue],
    body: Block,
    mapping: StringAttr,
) -> scf.ParallelOp:
    segments = DenseArrayBase.from_list(i32, [len(lower)] * 3 + [0])
    return scf.ParallelOp.create(
        operands=[*lower, *upper, *step],
        properties={"operandSegmentSizes": segments},
        attributes={"calque.map": mapping},
        regions=[Region(body)],
    )
