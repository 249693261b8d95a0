"""Transposing square blocks of vectors in registers."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import vector
from xdsl.dialects.builtin import VectorType
from xdsl.ir import SSAValue

from .emit import Emitter
from .numbers import Properties, integers


def transpose(e: Emitter, rows: Sequence[SSAValue]) -> list[SSAValue]:
    """W vectors of W lanes, a power of two: vector j of the result holds lane j of each.

    Each of log2(W) rounds exchanges halves of ever smaller blocks between pairs of vectors.
    """
    values = list(rows)
    width = len(values)
    type_ = values[0].type
    assert isinstance(type_, VectorType)
    half = width // 2
    while half:
        low = [i if not i & half else width + i - half for i in range(width)]
        high = [i + half if not i & half else width + i for i in range(width)]
        masks = [Properties(mask=integers(m)) for m in (low, high)]
        for i in range(width):
            if i & half:
                continue
            pair = (values[i], values[i + half])
            values[i] = e.put(vector.ShuffleOp, pair, type_, masks[0])
            values[i + half] = e.put(vector.ShuffleOp, pair, type_, masks[1])
        half //= 2
    return values
