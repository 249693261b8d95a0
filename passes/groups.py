"""Groups of operators while `fuse` forms them."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from ..ir.op import Op
from ..ir.ops.shape import Concatenate, Pad
from ..ir.sym import Dim
from ..ir.types import meta_of
from .kinds import reduces_rows, sources_of
from .outline import Group

MAX_JOINED = 4
"""How many tensors at most are joined where the result is read, rather than in memory."""

REPEATED = 4
"""How many cheap operators in a row several groups compute each for themselves."""


@dataclass(eq=False, slots=True)
class OpenGroup(Group):
    """A group that may still grow. `time` orders groups: readers have a later one."""

    time: int = 0
    full: Dim = 1
    rows: Dim | None = None
    root: Op | None = None
    keeps_state: bool = False
    looks_up: bool = False
    # What the reductions of the group read, directly or one operator away.
    sources: set[SSAValue] = field(default_factory=set)
    # What is computed for a part of the elements: before it is joined with others, or padded.
    parts: set[Operation] = field(default_factory=set)

    def is_part(self, reader: Operation) -> bool:
        """Whether an operator of the group reads what it reads for a part of the elements."""
        return isinstance(reader, Pad | Concatenate) or reader in self.parts


@dataclass(frozen=True, slots=True)
class Use:
    """Where a value is read: the group (None for @main itself), how, and the operator that reads
    it."""

    group: OpenGroup | None
    time: int
    how: int
    reader: Operation


PRODUCTS = ("matmul", "conv")
# Groups whose first operator reads its operands whole.
WHOLE = ("matmul", "conv", "pool", "scatter", "generic", "view")
HEROES = {
    "reduce": "reduce",
    "matmul": "matmul",
    "conv": "conv",
    "pool": "pool",
    "scatter": "scatter",
    "generic": "generic",
    "free": "view",
}


def reduce_in(group: OpenGroup, op: Op) -> None:
    """Make a group one that reduces: its full space is the operand of the reduction."""
    group.full, group.rows = meta_of(op.operands[0]).numel, meta_of(op.results[0]).numel
    group.hero = "rowwise" if reduces_rows(op) else "reduce"
    group.root = op
    group.sources.update(sources_of(op))
