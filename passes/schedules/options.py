"""Sizes of blocks that a person may choose; the defaults suit the machines they were tried on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.target import Target


def _require(allowed: bool, name: str, what: str, found: int) -> None:
    if not allowed:
        raise ValueError(f"the option {name.replace('_', '-')} is {what}, not {found}")


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

    def __post_init__(self) -> None:
        for name in ("chunk", "columns", "row_tiles"):
            size = getattr(self, name)
            _require(size >= 1, name, "at least 1", size)


DEFAULT = Blocking()


def adjusted(target: Target, vector_bits: int, registers: int, threads: int) -> Target:
    """The target with other vectors, registers or threads; 0 keeps its own.

    Raises ValueError for vectors and registers that no register tile fits.
    """
    power = vector_bits > 0 and vector_bits & (vector_bits - 1) == 0
    _require(
        not vector_bits or (power and 64 <= vector_bits <= 2048),
        "vector-bits", "0 or a power of two from 64 to 2048", vector_bits,
    )  # fmt: skip
    _require(not registers or registers >= 8, "registers", "0 or at least 8", registers)
    _require(threads >= 0, "threads", "0 or more", threads)
    return replace(
        target,
        vector_bits=vector_bits or target.vector_bits,
        registers=registers or target.registers,
        threads=threads or target.threads,
    )
