"""Indexing with PyTorch's arguments, made from the operators of `index` and `scatter`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import dtype as dt
from ..errors import index_error, runtime_error
from ..op import Value, bind, meta
from ..sym import Dim, product
from ..types import TensorMeta
from ._common import broadcast_shapes, normalize_dim, sizes
from ._elementwise import torch_name
from .creation import iota, size
from .elementwise import add, cast, detach, eq, mul, where
from .index import Pick, check_index, take
from .scatter import IndexAdd, IndexCopy
from .view import broadcast_to, permute, reshape


def index_select(x: Value, dim: int, index: Value) -> Value:
    """`torch.index_select`: x along `dim` at a vector of indices."""
    if meta(index).rank > 1:
        raise index_error("index_select(): Index is supposed to be a vector")
    if meta(index).rank == 0:
        index = reshape(index, (1,))
    return take(x, dim, index)


def embedding(weight: Value, ids: Value, padding_idx: int | None = None) -> Value:
    """Rows of weight (V, D) at ids of any shape; rows at `padding_idx` get no gradient."""
    m = meta(weight)
    if m.rank != 2:
        raise runtime_error("'weight' must be 2-D")
    if meta(ids).dtype not in (dt.int64, dt.int32):
        raise runtime_error(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {torch_name(meta(ids).dtype)} instead (while checking arguments "
            "for embedding)"
        )
    rows = take(weight, 0, ids)
    if padding_idx is None:
        return rows
    if padding_idx < 0 and isinstance(m.shape[0], int):
        padding_idx += m.shape[0]
    padded = reshape(eq(ids, padding_idx), (*meta(ids).shape, 1))
    return where(padded, detach(rows), rows)


def one_hot(ids: Value, classes: Dim) -> Value:
    """int64 (*ids.shape, classes): one where the class is the id, which must be in range."""
    m = meta(ids)
    ids = reshape(check_index(ids, classes, m.rank, wrap=False), (*m.shape, 1))
    return cast(eq(ids, iota(classes, m.dtype, ids)), dt.int64)


def pick(x: Value, dim: int, index: Value) -> Value:
    """One element of each row of x along `dim`; index has x's shape without that dimension.

    The gather of cross entropy: `pick(log_probabilities, 1, targets)`.
    """
    m = meta(x)
    dim = normalize_dim(dim, m.rank)
    kept = meta(index).shape
    index = reshape(index, (*kept[:dim], 1, *kept[dim:]))
    return reshape(bind(Pick, (x, index), {"dim": dim}), kept)


class Selection:
    """Advanced indexing as one `take`: which dimensions an index tensor each is given for.

    `x` is the indexed tensor with those dimensions brought together and flattened into `dim`,
    `index` the flat indices. `restore` gives a tensor of x's new form its old form back; `result`
    puts the index dimensions where PyTorch has them.
    """

    def __init__(self, x: Value, indices: Sequence[Value | None]) -> None:
        m = meta(x)
        if len(indices) > m.rank:
            raise index_error(
                f"too many indices for tensor of dimension {m.rank} (got {len(indices)})"
            )
        self.dims = [d for d, i in enumerate(indices) if i is not None]
        given = [i for i in indices if i is not None]
        if any(meta(i).dtype is dt.bool_ for i in given):
            raise runtime_error(
                "the size of a result of boolean indexing depends on data; use where() instead"
            )
        self.adjacent = self.dims[-1] - self.dims[0] == len(self.dims) - 1
        others = [d for d in range(m.rank) if d not in self.dims]
        self.dim = self.dims[0] if self.adjacent else 0
        self.perm = (*others[: self.dim], *self.dims, *others[self.dim :])
        moved = permute(x, self.perm) if self.perm != tuple(range(m.rank)) else x
        self.moved = meta(moved).shape
        flat = product(m.shape[d] for d in self.dims)
        end = self.dim + len(self.dims)
        self.x = reshape(moved, (*self.moved[: self.dim], flat, *self.moved[end:]))
        self.index = _flat_index(m, self.dims, given)

    def restore(self, x: Value) -> Value:
        """A tensor in the form of `self.x` in the form of the original."""
        inverse = tuple(int(i) for i in np.argsort(self.perm))
        x = reshape(x, self.moved)
        return permute(x, inverse) if inverse != tuple(range(len(inverse))) else x


def _flat_index(x: TensorMeta, dims: Sequence[int], indices: Sequence[Value]) -> Value:
    """Index tensors, broadcast together, as one index into the flattened dimensions."""
    try:
        shape = broadcast_shapes(*(meta(i).shape for i in indices))
    except RuntimeError:
        shapes = ", ".join(sizes(meta(i).shape) for i in indices)
        raise index_error(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    flat: Value = None
    for d, index in zip(dims, indices, strict=True):
        checked = check_index(cast(index, dt.int64), x.shape[d], d)
        checked = broadcast_to(checked, shape)
        flat = checked if flat is None else add(mul(flat, size(x.shape[d], flat)), checked)
    return flat


def index(x: Value, indices: Sequence[Value | None]) -> Value:
    """`x[indices]` with an integer tensor or None (all of it) per leading dimension of x.

    Negative indices count from the end. The index dimensions stand where the indexed ones were,
    or in front where those are not adjacent, as in PyTorch.
    """
    if all(i is None for i in indices):
        return x
    selection = Selection(x, indices)
    return take(selection.x, selection.dim, selection.index)


def index_put(
    x: Value, indices: Sequence[Value | None], values: Value, *, accumulate: bool = False
) -> Value:
    """`x[indices] = values`, or `+=` with `accumulate`; values broadcast to what is indexed."""
    selection = Selection(x, indices)
    attrs = {"dim": selection.dim}
    m = meta(selection.x)
    inner = meta(selection.index).shape
    shape = (*m.shape[: selection.dim], *inner, *m.shape[selection.dim + 1 :])
    try:
        values = broadcast_to(values, shape)
    except RuntimeError:
        raise runtime_error(
            f"shape mismatch: value tensor of shape {sizes(meta(values).shape)} cannot be "
            f"broadcast to indexing result of shape {sizes(shape)}"
        ) from None
    operands = (selection.x, selection.index, values)
    return selection.restore(bind(IndexAdd if accumulate else IndexCopy, operands, attrs))
