"""Functions that view a tensor, as compositions of the view operators."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import index_error, runtime_error, value_error
from ..op import Value, meta
from ..sym import (
    Dim,
    Expr,
    UndecidedError,
    fixed,
    floordiv,
    less,
    product,
    same,
    shown,
    smax,
    smin,
)
from ._common import normalize_dim, several, sizes
from .slice import slice_
from .view import broadcast_to, permute, reshape


def expand(x: Value, sizes: Sequence[Dim]) -> Value:
    """x repeated to `sizes`, where -1 keeps the size of a dimension that x has.

    Raises RuntimeError for -1 in a new dimension.
    """
    shape = meta(x).shape
    lead = len(sizes) - len(shape)
    out: list[Dim] = []
    for i, d in enumerate(sizes):
        if isinstance(d, int) and d == -1:
            if i < lead:
                raise runtime_error(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, "
                    f"non-existing dimension {i}"
                )
            d = shape[i - lead]
        out.append(d)
    return broadcast_to(x, out)


def transpose(x: Value, dim0: int, dim1: int) -> Value:
    """x with two dimensions swapped."""
    rank = meta(x).rank
    a, b = normalize_dim(dim0, rank), normalize_dim(dim1, rank)
    perm = list(range(rank))
    if perm:
        perm[a], perm[b] = b, a
    return permute(x, perm)


def movedim(x: Value, source: int, destination: int) -> Value:
    """x with one dimension moved to another place, the others in order."""
    rank = meta(x).rank
    a, b = normalize_dim(source, rank), normalize_dim(destination, rank)
    perm = [i for i in range(rank) if i != a]
    perm.insert(b, a)
    return permute(x, perm)


def flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """x with the dimensions from start to end made one. A 0-d tensor becomes a vector."""
    shape = meta(x).shape
    a, b = normalize_dim(start_dim, len(shape)), normalize_dim(end_dim, len(shape))
    if a > b:
        raise runtime_error("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape(x, (1,))
    return reshape(x, (*shape[:a], product(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(x: Value, dim: int, sizes: Sequence[Dim]) -> Value:
    """x with one dimension split into `sizes`, of which one may be -1."""
    shape = meta(x).shape
    d = normalize_dim(dim, len(shape))
    sizes = list(sizes)
    unknown = [i for i, s in enumerate(sizes) if isinstance(s, int) and s == -1]
    if len(unknown) == 1:
        sizes[unknown[0]] = 1
        sizes[unknown[0]] = shape[d] // product(sizes)
    return reshape(x, (*shape[:d], *sizes, *shape[d + 1 :]))


def squeeze(x: Value, dim: int | Sequence[int] | None = None) -> Value:
    """x without its dimensions of size 1, or without those of `dim` that have size 1."""
    shape = meta(x).shape
    given = range(len(shape)) if dim is None else several(dim)
    chosen = {normalize_dim(d, len(shape)) for d in given}
    return reshape(x, [d for i, d in enumerate(shape) if i not in chosen or not same(d, 1)])


def unsqueeze(x: Value, dim: int) -> Value:
    """x with a new dimension of size 1 at `dim`."""
    shape = meta(x).shape
    d = normalize_dim(dim, len(shape) + 1)
    return reshape(x, (*shape[:d], 1, *shape[d:]))


def narrow(x: Value, dim: int, start: Dim, length: Dim) -> Value:
    """`length` elements of x along `dim`, from `start`; a negative start counts from the end.

    Raises RuntimeError where they reach out of x.
    """
    shape = meta(x).shape
    if not shape:
        raise runtime_error("narrow() cannot be applied to a 0-dim tensor.")
    d = normalize_dim(dim, len(shape))
    if isinstance(start, int) and start < 0:
        start = shape[d] + start
    if isinstance(length, int) and length < 0:
        raise runtime_error("narrow(): length must be non-negative.")
    if less(shape[d], start + length) or less(start, 0):
        raise runtime_error(
            f"start ({shown(start)}) + length ({shown(length)}) exceeds dimension size "
            f"({shown(shape[d])})."
        )
    return _slice_dim(x, d, start, start + length)


def slice(
    x: Value, dim: int, start: Dim | None = None, stop: Dim | None = None, step: int = 1
) -> Value:
    """x[start:stop:step] along `dim`, as Python slices: ends are clamped, negatives wrap."""
    shape = meta(x).shape
    d = normalize_dim(dim, len(shape))
    if step <= 0:
        raise value_error("step must be greater than zero")
    size = shape[d]
    first = clamped(0 if start is None else start, size)
    last = smax(first, clamped(size if stop is None else stop, size))
    return _slice_dim(x, d, first, last, step)


def clamped(at: Dim, size: Dim) -> Dim:
    """An end of a slice, within the dimension: where examples tell, without `min` and `max`."""
    if isinstance(at, int) and at < 0:
        at = size + at
    try:
        if less(at, 0):
            return 0
        return size if less(size, at) else at
    except UndecidedError:
        return smin(smax(at, 0), size)


def _slice_dim(x: Value, dim: int, start: Dim, limit: Dim, step: int = 1) -> Value:
    shape = meta(x).shape
    if step == 1 and start == 0 and limit == shape[dim]:
        return x
    starts: list[Dim] = [0] * len(shape)
    limits, strides = list(shape), [1] * len(shape)
    starts[dim], limits[dim], strides[dim] = start, limit, step
    return slice_(x, starts, limits, strides)


def select(x: Value, dim: int, index: Dim) -> Value:
    """Element `index` of x along `dim`, without that dimension.

    Raises IndexError where it is out of range.
    """
    shape = meta(x).shape
    if not shape:
        raise index_error("select() cannot be applied to a 0-dim tensor.")
    d = normalize_dim(dim, len(shape))
    at = shape[d] + index if isinstance(index, int) and index < 0 else index
    if less(at, 0) or not less(at, shape[d]):
        raise index_error(
            f"select(): index {shown(index)} out of range for tensor of size {sizes(shape)} at "
            f"dimension {d}"
        )
    return reshape(_slice_dim(x, d, at, at + 1), (*shape[:d], *shape[d + 1 :]))


def split(x: Value, size: Dim | Sequence[Dim], dim: int = 0) -> tuple[Value, ...]:
    """x in parts of `size` along `dim` (the last may be smaller), or in parts of given sizes.

    How many parts a symbolic size gives is guarded. Raises RuntimeError where sizes do not add up.
    """
    shape = meta(x).shape
    if not shape:
        raise runtime_error("split expects at least a 1-dimensional tensor")
    d = normalize_dim(dim, len(shape))
    whole = shape[d]
    if isinstance(size, int | Expr):
        if isinstance(size, int) and (size < 0 or (size == 0 and whole != 0)):
            raise runtime_error(f"split expects split_size be non-negative, but got {size}")
        count = 1 if size == 0 else max(fixed(-floordiv(-whole, size)), 1)
        size = [*[size] * (count - 1), whole - size * (count - 1)]
    total: Dim = 0
    for s in size:
        total = total + s
    if total != whole:
        raise runtime_error(
            f"split_with_sizes expects split_sizes to sum exactly to {shown(whole)} (input "
            f"tensor's size at dimension {d}), but got split_sizes={sizes(size)}"
        )
    parts, start = [], 0
    for s in size:
        parts.append(_slice_dim(x, d, start, start + s))
        start = start + s
    return tuple(parts)


def chunk(x: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    """x in at most `chunks` equal parts along `dim`; the last may be smaller."""
    shape = meta(x).shape
    if not shape:
        raise runtime_error("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise runtime_error(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = normalize_dim(dim, len(shape))
    part = floordiv(shape[d] + chunks - 1, chunks)
    return split(x, 1 if part == 0 else part, d)


def unbind(x: Value, dim: int = 0) -> tuple[Value, ...]:
    """Every element of x along `dim`, whose size is guarded where it is symbolic."""
    d = normalize_dim(dim, meta(x).rank)
    return tuple(select(x, d, i) for i in range(fixed(meta(x).shape[d])))
