"""Tensors that share memory: which arguments of a call do, and which are one and the same."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.errors import runtime_error
from .tensor import Tensor

Pattern = tuple[tuple[int, bool], ...]


def pattern_of(leaves: Sequence[Tensor]) -> Pattern | None:
    """For each argument the first one it shares memory with, and whether they are the same.

    None where all have memory of their own.
    """
    if len({id(x._storage) for x in leaves}) == len(leaves):
        return None
    out: list[tuple[int, bool]] = []
    for i, x in enumerate(leaves):
        earlier = [j for j in range(i) if _overlap(leaves[j], x)]
        equal = [j for j in earlier if interchangeable(x, leaves[j])]
        out.append((equal[0], True) if equal else (earlier[0] if earlier else i, False))
    return tuple(out) if any(first != i for i, (first, _) in enumerate(out)) else None


def _overlap(a: Tensor, b: Tensor) -> bool:
    if a._storage is not b._storage:
        return False
    (low_a, high_a), (low_b, high_b) = _range(a), _range(b)
    return low_a < high_b and low_b < high_a


def _range(x: Tensor) -> tuple[int, int]:
    """The first and one past the last element of the memory that a tensor may touch."""
    if 0 in x._sizes:
        return 0, 0
    spans = [(n - 1) * s for n, s in zip(x._sizes, x._strides, strict=True)]
    return (
        x._offset + sum(s for s in spans if s < 0),
        x._offset + sum(s for s in spans if s > 0) + 1,
    )


def interchangeable(a: Tensor, b: Tensor) -> bool:
    """Whether two concrete tensors are the same elements and the same to autograd."""
    if a is b:
        return True
    return (
        a._storage is b._storage
        and a._meta == b._meta
        and (a._strides, a._offset) == (b._strides, b._offset)
        and not (a._requires_grad or b._requires_grad)
    )


def refuse_written(first: str, second: str) -> Exception:
    """The error for overlapping tensors of which one is written."""
    return runtime_error(
        f"{first} and {second} overlap in memory, and the compiled function writes one of them in "
        "place: pass a clone(), or write outside of the compiled function"
    )
