"""Transposing square blocks of vectors in registers."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import vector
from xdsl.ir import SSAValue

from ...ir.exchange import transposed
from .emit import Emitter
from .numbers import Properties, integers


def transpose(e: Emitter, rows: Sequence[SSAValue]) -> list[SSAValue]:
    """W vectors of W lanes, a power of two: vector j of the result holds lane j of each."""

    def shuffle(a: SSAValue, b: SSAValue, lanes: Sequence[int]) -> SSAValue:
        return e.put(vector.ShuffleOp, (a, b), a.type, Properties(mask=integers(lanes)))

    return transposed(rows, shuffle)
