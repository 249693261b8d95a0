"""Sizes of blocks that a person may choose; the defaults suit the machines they were tried on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.target import Target


@dataclass(frozen=True, slots=True)
class Blocking:
    """Block sizes of the schedules.

    chunk: elements of one task of an elementwise kernel. columns: how many columns a task of a
    product of matrices computes at most. row_tiles: how many register tiles above each other it
    computes where its sums are kept in scratch, or where the number of rows is open.
    """

    chunk: int = 8192
    columns: int = 512
    row_tiles: int = 18


DEFAULT = Blocking()


def adjusted(target: Target, vector_bits: int, registers: int, threads: int) -> Target:
    """The target with other vectors, registers or threads; 0 keeps its own."""
    return replace(
        target,
        vector_bits=vector_bits or target.vector_bits,
        registers=registers or target.registers,
        threads=threads or target.threads,
    )
