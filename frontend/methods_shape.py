"""Methods of `Tensor` that arrange, select and distribute elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir import ops
from . import functions as fn
from .methods_base import TensorBase
from .symint import sizes, unwrap

if TYPE_CHECKING:
    from .tensor import Tensor


class Shapes(TensorBase):
    """Views, reorderings, selections, scatters."""

    # ---- shapes ---------------------------------------------------------------------------

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix; all dimensions reversed in general."""
        return ops.permute(self, tuple(reversed(range(self._meta.rank))))

    @property
    def mT(self) -> Tensor:
        """The last two dimensions exchanged."""
        return ops.transpose(self, -2, -1)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return ops.reshape(self, sizes(shape))

    def reshape_as(self, other: Tensor) -> Tensor:
        """The same elements in the shape of `other`."""
        return ops.reshape(self, other._meta.shape)

    def view(self, *shape: Any) -> Tensor:
        """`reshape` that never copies. Raises where the strides do not allow it."""
        return fn.view(self, sizes(shape))

    def view_as(self, other: Tensor) -> Tensor:
        """`view` in the shape of `other`."""
        return fn.view(self, other._meta.shape)

    def permute(self, *dims: Any) -> Tensor:
        """Dimensions in another order."""
        return ops.permute(self, _ints(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dimensions exchanged."""
        return ops.transpose(self, dim0, dim1)

    swapaxes = transpose

    def t(self) -> Tensor:
        """The transpose of a matrix; vectors and scalars as they are."""
        return fn.t(self)

    def movedim(self, source: int, destination: int) -> Tensor:
        """A dimension moved to another place."""
        return ops.movedim(self, source, destination)

    def squeeze(self, dim: int | Sequence[int] | None = None) -> Tensor:
        """Without dimensions of size 1: all of them, or those given."""
        return ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new dimension of size 1."""
        return ops.unsqueeze(self, dim)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """A range of dimensions merged into one."""
        return ops.flatten(self, start_dim, end_dim)

    def unflatten(self, dim: int, shape: Sequence[Any]) -> Tensor:
        """A dimension split into several; one size may be -1."""
        return ops.unflatten(self, dim, sizes(tuple(shape)))

    def expand(self, *shape: Any) -> Tensor:
        """Size-1 dimensions repeated without copying; -1 keeps a size."""
        return ops.expand(self, sizes(shape))

    def expand_as(self, other: Tensor) -> Tensor:
        """Size-1 dimensions repeated to the shape of `other`."""
        return ops.expand(self, other._meta.shape)

    def broadcast_to(self, shape: Sequence[Any]) -> Tensor:
        """Size-1 and missing leading dimensions repeated."""
        return ops.broadcast_to(self, sizes(tuple(shape)))

    def repeat(self, *repeats: Any) -> Tensor:
        """The whole tensor laid side by side along each dimension."""
        return fn.repeat(self, sizes(repeats))

    def tile(self, *dims: Any) -> Tensor:
        """`repeat` where missing leading repeats are 1."""
        return fn.tile(self, sizes(dims))

    def flip(self, *dims: Any) -> Tensor:
        """Dimensions in reverse order."""
        return fn.flip(self, _ints(dims))

    # ---- parts ----------------------------------------------------------------------------

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """About `chunks` equal parts along a dimension."""
        return ops.chunk(self, chunks, dim)

    def split(self, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """Parts of a size, or of the sizes in a list, along a dimension."""
        return fn.split(self, split_size, dim)

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """All slices along a dimension."""
        return ops.unbind(self, dim)

    def narrow(self, dim: int, start: Any, length: Any) -> Tensor:
        """`length` elements along a dimension from `start` on."""
        return ops.narrow(self, dim, unwrap(start), unwrap(length))

    def select(self, dim: int, index: Any) -> Tensor:
        """One slice along a dimension, which goes away."""
        return ops.select(self, dim, unwrap(index))

    def tril(self, diagonal: int = 0) -> Tensor:
        """The lower triangle of matrices, zeros elsewhere."""
        return fn.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The upper triangle of matrices, zeros elsewhere."""
        return fn.triu(self, diagonal)

    # ---- by index -------------------------------------------------------------------------

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """One element along `dim` per index."""
        return ops.gather(self, dim, index)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Slices along `dim` at a vector of indices."""
        return ops.index_select(self, dim, index)

    def masked_select(self, mask: Tensor) -> Tensor:
        """The elements where a mask holds, as a vector. Their number depends on the data."""
        return fn.masked_select(self, mask)

    def scatter(self, dim: int, index: Tensor, src: Any) -> Tensor:
        """With elements along `dim` replaced at indices."""
        return fn.scatter(self, dim, index, src)

    def scatter_add(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """With elements of `src` added along `dim` at indices."""
        return ops.scatter_add(self, dim, index, src)

    def index_add(self, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
        """With slices of `source` added along `dim` at indices."""
        return fn.index_add(self, dim, index, source, alpha=alpha)

    def index_copy(self, dim: int, index: Tensor, source: Tensor) -> Tensor:
        """With slices along `dim` replaced at indices."""
        return ops.index_copy(self, dim, index, source)

    def index_fill(self, dim: int, index: Tensor, value: Any) -> Tensor:
        """With slices along `dim` at indices filled with one value."""
        return fn.index_fill(self, dim, index, value)


def _ints(dims: tuple[Any, ...]) -> tuple[int, ...]:
    """Dimensions given as `f(0, 1)` or `f((0, 1))`."""
    return tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
