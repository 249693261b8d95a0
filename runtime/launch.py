"""How a GPU kernel is started: its entry points, and how many blocks of how many threads.

A GPU kernel's entry takes, each by value and in this order: for every memref the device address
of its first element; the sizes of the kernel ABI (i64: dynamic dimensions, dynamic strides of
strided layouts, index arguments, in the order of the arguments); the other scalars; and, if it
has assertions, the address of an i32 that starts as -1 and receives the least number of a failed
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .sizes import evaluate

MAX_BLOCKS = 2**31 - 1
"""The largest grid that the hardware takes in its first dimension."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of one entry point. The launches of a kernel follow each other in order.

    `grid`, the number of blocks, is a number or an expression over the kernel's sizes, called
    `s0`, `s1` and so on (see `sizes`). `block` is the number of threads of each block, `shared`
    the bytes of memory that they share, which the entry itself allocates.
    """

    entry: str
    grid: int | str
    block: int
    shared: int = 0

    def blocks(self, sizes: Sequence[int]) -> int:
        """The number of blocks for a kernel's sizes; with 0 there is nothing to start.

        Raises ValueError for more than the hardware takes.
        """
        count = evaluate(self.grid, {f"s{i}": size for i, size in enumerate(sizes)})
        if count > MAX_BLOCKS:
            raise ValueError(f"{self.entry}: {count} blocks are more than {MAX_BLOCKS}")
        return count
