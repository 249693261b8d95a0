"""How square blocks of vectors are transposed, in registers of any target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

V = TypeVar("V")


class Shuffle(Protocol[V]):
    """Makes a vector of lanes of two others, which are numbered through both."""

    def __call__(self, a: V, b: V, lanes: Sequence[int]) -> V: ...


def transposed(rows: Sequence[V], shuffle: Shuffle[V]) -> list[V]:
    """W vectors of W lanes, a power of two: vector j of the result holds lane j of each.

    Each of log2(W) rounds exchanges halves of ever smaller blocks between pairs of vectors.
    """
    values = list(rows)
    for half, low, high in _rounds(len(values)):
        for i in range(len(values)):
            if not i & half:
                a, b = values[i], values[i + half]
                values[i], values[i + half] = shuffle(a, b, low), shuffle(a, b, high)
    return values


def _rounds(width: int) -> Iterator[tuple[int, list[int], list[int]]]:
    """The distance of the vectors of a pair, and the lanes of the two that come of it."""
    half = width // 2
    while half:
        low = [i if not i & half else width + i - half for i in range(width)]
        high = [i + half if not i & half else width + i for i in range(width)]
        yield half, low, high
        half //= 2
