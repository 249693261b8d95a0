"""Checks of what a program computes and does not use.

A training step that does not return its loss does not need the value read at each label, and the
gradient compares labels without reading. A label out of range is to fail all the same, as it does
eagerly, and before state is written. So is an element that is no probability.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xdsl.ir import Block, Operation, SSAValue

from ..ir.autodiff import located
from ..ir.op import Op, current_builder
from ..ir.ops.index import CheckIndex, Gather, Take, check_index, counts
from ..ir.ops.range import CheckRange, check_range
from ..ir.ops.scatter import Update
from ..ir.types import meta_of

_CHECKING = (CheckIndex, CheckRange, Gather, Take, Update)


def unused_checks(block: Block, results: Iterable[SSAValue]) -> list[SSAValue]:
    """Values, checked at the current builder, whose check no result depends on otherwise."""
    checking = [op for op in block.ops if isinstance(op, _CHECKING)]
    if not checking:
        return []
    live = set(results)
    _follow(block, live)
    known = {_checked(op) for op in checking if _is_live(op, live)}
    found: list[SSAValue] = []
    for op in reversed(checking):
        value, *limits = key = _checked(op)
        if key in known or _is_live(op, live):
            continue
        if not isinstance(op, CheckRange) and counts(value, limits[0]):
            continue
        known.add(key)
        with located(current_builder(), op):
            if isinstance(op, CheckRange):
                found.append(check_range(value, **op.attrs))
            else:
                wrap = isinstance(op, CheckIndex) and op.attrs["wrap"]
                found.append(check_index(value, limits[0], op.attrs["dim"], wrap=wrap))
        live.add(value)
        _follow(block, live)
    return found


def _checked(op: Op) -> tuple[Any, ...]:
    """The value that an operator checks, and the size or the range that it has to be in."""
    if isinstance(op, CheckIndex):
        return op.operands[0], op.attrs["size"]
    if isinstance(op, CheckRange):
        return op.operands[0], op.attrs["low"], op.attrs["high"]
    return op.operands[1], meta_of(op.operands[0]).shape[op.attrs["dim"]]


def _is_live(op: Operation, live: set[SSAValue]) -> bool:
    return not op.results or any(r in live for r in op.results)


def _follow(block: Block, live: set[SSAValue]) -> None:
    """Add all that the values in `live`, and what has an effect, depend on."""
    for op in reversed(list(block.ops)):
        if _is_live(op, live):
            live.update(op.operands)
