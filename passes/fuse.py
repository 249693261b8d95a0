"""Deciding on the graph which operators become one kernel.

The operators of `@main` are visited from the last to the first. Each either joins the group of
the earliest of its readers or starts a group of its own. Because it only ever joins the earliest,
every group comes before all that read it, and no two groups can need each other.

What may join depends on the iteration space of a group: `full` elements, and `rows` row values
where the group reduces rows or uses one value per row (softmax, layer-norm and their gradients
are one such group). A product of matrices takes in what is computed from it element by element
(bias, activation, residual), and computes its operands as it reads them where that pays
(`prologue`). Views, constants and broadcasts take no part: they are computed again in each group
that reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeGuard

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from ..ir.op import Op
from ..ir.ops.shape import Concatenate, Pad
from ..ir.ops.view import BroadcastTo, Reshape, Transpose
from ..ir.sym import Dim
from ..ir.types import meta_of
from .groups import HEROES, MAX_JOINED, PRODUCTS, REPEATED, WHOLE, OpenGroup, Use, reduce_in
from .kinds import (
    CHEAP,
    OTHER,
    ROW,
    SAME,
    Kind,
    computes_from_nothing,
    dims_of,
    keeps_strides,
    kind_of,
    reduces_rows,
    relation,
    sources_of,
    unshaped,
)
from .outline import Group, outline
from .prologue import find_prologues
from .regions import for_each_region
from .signature import aliased_results
from .stages import GRAPH, require_stage

MAX_OPS = 96


@dataclass(frozen=True)
class Fuse(ModulePass):
    """Outline groups of operators that become one kernel each.

    `elementwise`, `rows` and `epilogue` false leave each elementwise operator, each reduction of
    rows, each product of matrices apart; `prologue` false leaves apart what products read.
    """

    name = "fuse"
    elementwise: bool = True
    rows: bool = True
    epilogue: bool = True
    prologue: bool = True

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, GRAPH)
        fuse(op, self)


def fuse(module: ModuleOp, options: Fuse | None = None) -> None:
    """Group the operators of `@main` and outline the groups."""
    chosen = options or Fuse()
    for main in list(module.ops):
        if isinstance(main, func.FuncOp) and main.sym_name.data == "main":
            for_each_region(main, lambda region: _fuse(module, region, chosen))
            _fuse(module, main, chosen)


def _fuse(module: ModuleOp, function: func.FuncOp, options: Fuse) -> None:
    outline(module, function, Grouping(function, options).groups())


@dataclass(eq=False, slots=True)
class Grouping:
    """One backward sweep over a function."""

    main: func.FuncOp
    options: Fuse
    made: list[OpenGroup] = field(default_factory=list)
    of: dict[Operation, OpenGroup] = field(default_factory=dict)
    # Free operators whose value is needed in memory, and how the others are read.
    stored: set[Operation] = field(default_factory=set)
    through: dict[Operation, list[Use]] = field(default_factory=dict)
    state: set[SSAValue] = field(default_factory=set)
    # The times of what stays in @main: its end, and operators with regions.
    fixed: dict[Operation, int] = field(default_factory=dict)
    # Cheap operators on constants and indices only: free as well.
    made_up: set[Operation] = field(default_factory=set)
    # Operators that each of their readers computes again, and operands that products compute.
    repeated: set[Operation] = field(default_factory=set)
    computed: set[tuple[Operation, int]] = field(default_factory=set)

    def kind(self, op: Op) -> Kind:
        """How an operator takes part in fusion."""
        return "free" if op in self.made_up or op in self.repeated else kind_of(op)

    def _is_free(self, op: object) -> TypeGuard[Op]:
        return isinstance(op, Op) and self.kind(op) == "free"

    def groups(self) -> list[Group]:
        """The groups, each with the free operators that it computes again."""
        block: Block = self.main.body.block
        self.state = aliased_results(self.main)
        for op in block.ops:
            if isinstance(op, Op) and computes_from_nothing(op, self.made_up):
                self.made_up.add(op)
        if self.options.prologue:
            for p in find_prologues(block, self.made_up):
                self.repeated.update(p.ops)
                self.computed.add((p.reader, p.index))
        op = block.last_op
        while op is not None:
            if isinstance(op, Op) and not op.regions:
                self._visit(op)
            else:
                self.fixed[op] = 1 if op is block.last_op else -1 - len(self.made)
                self._need_stored(op.operands)
            op = op.prev_op
        for group in self.made:
            group.ops.reverse()
            group.shared = self._shared(group)
            if group.hero == "rowwise" and not any(self.kind(o) == "reduce" for o in group.ops):
                group.hero = "elementwise"  # with values per row, which nothing reduces to
        return list(reversed(self.made))

    def _visit(self, op: Op) -> None:
        kind = self.kind(op)
        if kind == "free":
            self._visit_free(op)
            return
        uses = self._uses(op)
        if not uses:
            return  # dead
        if kind == "map" and self._is_repeated(op, uses):
            self.repeated.add(op)
            self.through[op] = uses
            return
        # What stays in @main comes before a group of its time, which reads it.
        first = min(uses, key=lambda u: (u.time, u.group is not None))
        target = first.group
        if target is not None and self._joins(op, kind, target, uses):
            self._add(op, kind, target)
        elif (beside := self._beside(op, kind, first.time)) is not None:
            self._add(op, kind, beside)
        else:
            self._start(op, kind)
        if kind not in ("map", "lookup", "reduce"):
            read = (v for i, v in enumerate(op.operands) if (op, i) not in self.computed)
            self._need_stored(read, op)

    def _add(self, op: Op, kind: Kind, group: OpenGroup) -> None:
        group.ops.append(op)
        self.of[op] = group
        group.keeps_state |= any(r in self.state for r in op.results)
        group.looks_up |= kind == "lookup"
        if kind == "reduce":
            group.sources.update(sources_of(op))

    def _beside(self, op: Op, kind: Kind, time: int) -> OpenGroup | None:
        """A group that reduces columns of the same tensors and is needed no later than `op`."""
        if kind != "reduce" or not self.options.rows or reduces_rows(op):
            return None
        x, size = meta_of(op.operands[0]).shape, meta_of(op.results[0]).numel
        sources = sources_of(op)
        for group in reversed(self.made):
            root = group.root
            if group.hero != "reduce" or root is None or group.time >= time:
                continue
            same = meta_of(root.operands[0]).shape == x and group.rows == size
            if same and not sources.isdisjoint(group.sources) and dims_of(root) == dims_of(op):
                return group
        return None

    def _is_repeated(self, op: Op, uses: list[Use]) -> bool:
        """Whether several groups shall compute a cheap operator each, rather than one of them
        write its result to memory for the others: where they read one tensor for it that is in
        memory anyway."""
        groups = {id(u.group) for u in uses}
        if len(groups) < 2 or not self.options.elementwise or not isinstance(op, CHEAP):
            return False
        size = meta_of(op.results[0]).numel
        for u in uses:
            g = u.group
            if g is None or u.how or g.full != size or (g.root is u.reader and g.hero in WHOLE):
                return False
        return self._is_from_memory(op)

    def _is_from_memory(self, op: Op, most: int = REPEATED) -> bool:
        """Whether up to `most` cheap operators compute a value from one tensor that is in memory
        anyway."""
        full = {unshaped(v) for v in op.operands if not self._is_small(v)}
        if len(full) != 1:
            return False
        (source,) = full
        before = source.owner
        if before is op.parent or len({u.operation for u in source.uses}) > 1:
            return True
        return most > 1 and isinstance(before, CHEAP) and self._is_from_memory(before, most - 1)

    def _is_small(self, value: SSAValue) -> bool:
        """A repeated smaller value, or one that takes no memory."""
        op = value.owner
        while isinstance(op, Reshape):
            op = op.operands[0].owner
        if not self._is_free(op) or isinstance(op, BroadcastTo):
            return self._is_free(op) and relation(op) != SAME
        return not op.operands or op in self.made_up

    def _visit_free(self, op: Op) -> None:
        uses = self._uses(op)
        if op not in self.stored:
            how = SAME if op in self.made_up else relation(op)
            self.through[op] = [Use(u.group, u.time, u.how | how, u.reader) for u in uses]
        elif isinstance(op, Reshape):
            # A free view of memory: it stays in @main.
            time = min((u.time for u in uses), default=0)
            self.through[op] = [Use(None, time, SAME, op)]
            self._need_stored(op.operands)
        else:
            self._start(op, "free")

    def _uses(self, op: Op) -> list[Use]:
        """Who reads the results of an operator, free operators looked through."""
        found: list[Use] = []
        for result in op.results:
            for use in result.uses:
                reader = use.operation
                group = self.of.get(reader)
                if group is not None:
                    found.append(Use(group, group.time, SAME, reader))
                elif reader in self.through:
                    found += self.through[reader]
                elif reader in self.fixed:
                    found.append(Use(None, self.fixed[reader], SAME, reader))
        return found

    def _start(self, op: Op, kind: str) -> None:
        group = OpenGroup([op], time=-1 - len(self.made), root=op)
        group.full = meta_of(op.results[0]).numel
        group.keeps_state = any(r in self.state for r in op.results)
        group.looks_up = kind == "lookup"
        group.hero = HEROES.get(kind, "elementwise")
        if kind == "reduce":
            reduce_in(group, op)
        self.made.append(group)
        self.of[op] = group

    # ---- what may join -------------------------------------------------------------------------

    def _joins(self, op: Op, kind: str, group: OpenGroup, uses: list[Use]) -> bool:
        inside = [u for u in uses if u.group is group]
        how = 0
        for u in inside:
            how |= u.how
        if how & OTHER or len(group.ops) >= MAX_OPS:
            return False
        alone = len(inside) == len(uses)
        if isinstance(op, Concatenate) and len(op.operands) > MAX_JOINED:
            return False
        if any(group.is_part(u.reader) for u in inside):
            return self.options.elementwise and alone and not how and self._joins_part(op, group)
        match kind:
            case "map" | "lookup":
                return self.options.elementwise and self._joins_map(
                    op, kind, group, inside, how, alone
                )
            case "reduce":
                return self.options.rows and self._joins_reduce(op, group, how, alone)
            case "matmul" | "conv":
                return self.options.epilogue and self._joins_product(op, kind, group, how, alone)
        return False

    def _joins_map(
        self, op: Op, kind: str, group: OpenGroup, inside: list[Use], how: int, alone: bool
    ) -> bool:
        size = meta_of(op.results[0]).numel
        if group.hero == "view":
            return kind == "map" and alone and not how and self._writes_through(group, size)
        if group.hero in PRODUCTS:
            # For the epilogue: what comes from memory, and not from another kernel's result.
            after = size == group.full and all(u.reader is not group.root for u in inside)
            return (
                after and alone and not how and isinstance(op, CHEAP) and self._is_from_memory(op)
            )
        if group.hero not in ("elementwise", "rowwise", "reduce"):
            return False
        if kind == "lookup" and (group.keeps_state or not alone):
            return False
        if any(r in self.state for r in op.results) and (group.looks_up or how & ROW):
            return False
        if how & ROW:
            return self._takes_rows(group, size)
        if size == group.full:
            return alone or group.hero != "reduce"
        return size == group.rows

    def _joins_part(self, op: Op, group: OpenGroup) -> bool:
        """Whether a value may be computed where it is joined with others, or padded: it is
        computed for the others' elements too, and left out."""
        moves = isinstance(op, Pad | Concatenate) and not group.keeps_state
        if not moves and not isinstance(op, CHEAP):
            return False
        if group.hero not in ("elementwise", "rowwise", "reduce") or op.results[0] in self.state:
            return False
        group.parts.add(op)
        return True

    def _writes_through(self, group: OpenGroup, size: Dim) -> bool:
        """Whether a value may be computed where it is transposed, and written in that order."""
        if not isinstance(group.root, Transpose) or size != group.full or group.keeps_state:
            return False
        group.hero = "elementwise"
        return True

    def _takes_rows(self, group: OpenGroup, size: Dim) -> bool:
        """Whether a value per row may be computed in a group."""
        if not self.options.rows or size == 1 or group.hero == "reduce":
            return False
        if group.rows is None:
            group.rows = size
            group.hero = "rowwise"
        return group.rows == size

    def _joins_reduce(self, op: Op, group: OpenGroup, how: int, alone: bool) -> bool:
        x, size = meta_of(op.operands[0]).numel, meta_of(op.results[0]).numel
        if group.hero not in ("elementwise", "rowwise") or (group.looks_up and not alone):
            return False
        if reduces_rows(op):
            if group.full == x and size != 1 and group.rows in (None, size):
                group.rows, group.hero = size, "rowwise"
                return True
        elif not alone:
            return False
        if group.full == size and group.rows is None and not how & ROW and not group.looks_up:
            # The group computes with the results: the reduction's operand is the full space now.
            reduce_in(group, op)
            return True
        return False

    def _joins_product(self, op: Op, kind: str, group: OpenGroup, how: int, alone: bool) -> bool:
        fits = group.hero == "elementwise" and group.full == meta_of(op.results[0]).numel
        if not alone or how or group.keeps_state or group.looks_up:
            return False
        if group.hero == "view":
            fits = self._writes_through(group, meta_of(op.results[0]).numel)
        if fits:
            group.hero, group.root = kind, op
        return fits

    # ---- free operators --------------------------------------------------------------------------

    def _need_stored(self, values: Iterable[SSAValue], reader: Op | None = None) -> None:
        """Free operators whose value an operation reads from memory.

        A product of matrices reads through whatever leaves rows and columns at constant strides;
        all operators read constants.
        """
        for v in values:
            op = v.owner
            if reader is not None and self.kind(reader) in PRODUCTS:
                while self._is_free(op) and keeps_strides(op) and op.operands:
                    op = op.operands[0].owner
            if self._is_free(op) and (reader is None or not self._is_fill(op)):
                self.stored.add(op)

    def _is_fill(self, op: Op) -> bool:
        """A constant, or one repeated: computed in place of reading it."""
        while isinstance(op, BroadcastTo):
            owner = op.operands[0].owner
            if not self._is_free(owner):
                return False
            op = owner
        return not op.operands or op in self.made_up

    def _shared(self, group: Group) -> list[Op]:
        """The free operators that a group computes again."""
        found: dict[Op, None] = {}
        waiting = list(group.ops)
        while waiting:
            for v in waiting.pop().operands:
                op = v.owner
                if not self._is_free(op) or op in found:
                    continue
                if op not in self.of and not (op in self.stored and isinstance(op, Reshape)):
                    found[op] = None
                    waiting.append(op)
        return list(found)
