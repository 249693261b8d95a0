"""Memory too large for the caches.

A store to a line that is in no cache reads the line first, and puts out another one. Results that
nobody reads while they could still be there are therefore written around the caches; and a row
that is read several times is asked for while the one before is worked on.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import AnyFloat, IntegerType
from xdsl.ir import Attribute

from .expr import Memory
from .index import Ix
from .writer import Lane

LARGE = 32 << 20
"""Bytes from which on memory is larger than the caches, or than a program's part of them."""

LINE = 64
"""Bytes of a line of the caches."""


def itemsize(element: Attribute) -> int:
    """Bytes of an element in memory."""
    bits = element.bitwidth if isinstance(element, AnyFloat | IntegerType) else 64
    return max(8, bits) // 8


def is_large(memory: Memory) -> bool:
    """Whether memory is known to be large."""
    size = itemsize(memory.element)
    for extent in memory.shape:
        size *= extent.constant or 0
    return memory.contiguous and size >= LARGE


def is_aligned(memory: Memory, indices: Sequence[Ix], lane: Lane) -> bool:
    """Whether the vectors along a lane are whole lines, if the memory begins with one."""
    size = itemsize(memory.element)
    if not lane.aligned or lane.width * size % LINE:
        return False
    for index, stride in zip(indices, memory.strides, strict=True):
        for monomial, coefficient in (index * stride).terms:
            if monomial != (lane.loop,) and coefficient * size % LINE:
                return False
    return True
