"""Writes the conditions under which an element exists: scalars, or vectors along the lane."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, vector
from xdsl.dialects.builtin import VectorType, i1
from xdsl.ir import SSAValue

from .expr import Guards, Range
from .index import ONE, is_nonnegative
from .indices import IndexWriter
from .numbers import TRUE
from .writer import SGE, SLT


class ConditionWriter(IndexWriter):
    """Writes indices and the guards on them."""

    def guard(self, guards: Guards, width: int | None) -> SSAValue:
        """Whether all guards hold: an i1, or where any varies over the lane a vector."""
        key = ("guard", guards, width)
        found = self.top.values.get(key)
        if found is None:
            found = self.top.values[key] = self._guard(guards, width)
        return found

    def _guard(self, guards: Guards, width: int | None) -> SSAValue:
        parts: list[SSAValue] = []
        lane = self.lane
        for g in guards:
            if width is not None and lane is not None and g.deps & lane.loop.deps:
                parts += self._lane_range(g, width)
            else:
                parts += self._range(g)
        vectors = [p for p in parts if isinstance(p.type, VectorType)]
        scalars = [p for p in parts if not isinstance(p.type, VectorType)]
        result = self._all(scalars)
        if vectors:
            together = self._all(vectors)
            assert together is not None and width is not None
            if result is not None:
                both = (self.broadcast(result, width), together)
                together = self.put(arith.AndIOp, both, together.type)
            return together
        assert result is not None
        return result

    def _all(self, parts: Sequence[SSAValue]) -> SSAValue | None:
        result: SSAValue | None = None
        for p in parts:
            result = p if result is None else self.put(arith.AndIOp, (result, p), p.type)
        return result

    def _range(self, g: Range) -> list[SSAValue]:
        parts = []
        if not is_nonnegative(g.index - g.low):
            at = self.scope_of(g.index.deps | g.low.deps)
            parts.append(self.compare(SGE, self.index(g.index), self.index(g.low), at))
        at = self.scope_of(g.deps)
        parts.append(self.compare(SLT, self.index(g.index), self.index(g.high), at))
        return parts

    def _lane_range(self, g: Range, width: int) -> list[SSAValue]:
        lane = self.lane
        assert lane is not None
        step = lane.step(g.index)
        uniform = not (g.low.deps | g.high.deps) & lane.loop.deps
        flags = self.vector(i1, width)
        parts = []
        if step == ONE and uniform:
            parts.append(self.put(vector.CreateMaskOp, (self.index(g.high - g.index),), flags))
            if not is_nonnegative(g.index - g.low):
                below = self.put(vector.CreateMaskOp, (self.index(g.low - g.index),), flags)
                true = self.splat(TRUE, i1, width)
                parts.append(self.put(arith.XOrIOp, (below, true), flags))
            return parts
        index = self.lanes(g.index, width)
        if not is_nonnegative(g.index - g.low):
            parts.append(self.compare(SGE, index, self.lanes(g.low, width), None))
        parts.append(self.compare(SLT, index, self.lanes(g.high, width), None))
        return parts
