"""Writing at indices that are data: what gather and take read, these add to or replace.

They act in the order of the source's elements, so a repeated index adds up in that order and the
last one written stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from xdsl.ir import SSAValue

from ..attrs import INT
from ..errors import runtime_error
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, same
from ..types import Shape, TensorMeta
from ._common import check_devices, normalize_dim, sizes
from .arithmetic import add
from .index import (
    INDEX,
    OUT_OF_RANGE,
    Take,
    check_gather,
    check_range,
    counts,
    gather,
    gather_samples,
    in_range,
    out_of_bounds,
    places,
    take,
    take_samples,
    zeros,
)
from .shape import pad

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import Tensor


class Update(Op):
    """Base: `base` with elements of `source` added or put at indices along `dim`."""

    ATTRS = {"dim": INT}
    SAVED = ((1,), ())
    ADD: ClassVar[bool] = True

    @classmethod
    def written(cls, base: TensorMeta, index: TensorMeta, dim: int) -> Shape:
        """The shape that the source must have. Raises where base and index do not fit."""
        raise NotImplementedError(cls.name)

    @classmethod
    def infer(cls, *metas: TensorMeta, dim: int) -> TensorMeta:
        base, index, source = metas
        check_devices(metas)
        name = f"{cls.name.removeprefix('calque.')}()"
        if source.dtype is not base.dtype:
            raise runtime_error(
                f"{name}: Expected self.dtype to be equal to src.dtype, got {base.dtype.name} and "
                f"{source.dtype.name}"
            )
        expected = cls.written(base, index, dim)
        if len(expected) != source.rank or not all(map(same, expected, source.shape)):
            raise runtime_error(
                f"{name}: expected a source of shape {sizes(expected)}, got {sizes(source.shape)}"
            )
        return base

    @classmethod
    def work(cls, node: Node) -> Dim:
        return node.operand_metas[2].numel if cls.ADD else 0

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), index, dim = cotangents, node.operands[1], node.attrs["dim"]
        read = gather if issubclass(cls, ScatterAdd) else take
        source = read(g, dim, index) if node.needs[2] else None
        if not cls.ADD and node.needs[0]:
            g = bind(cls, (g, index, zeros(node.operand_metas[2], g)), {"dim": dim})
        return g, None, source

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [_lower(b, node, cls)]


class ScatterAdd(Update):
    """base[index[i, j], j] += source[i, j] for `dim` 0, and so on (`torch.scatter_add`)."""

    name = "calque.scatter_add"

    @classmethod
    def written(cls, base: TensorMeta, index: TensorMeta, dim: int) -> Shape:
        check_gather(f"{cls.name.removeprefix('calque.')}()", base, index, dim)
        return index.shape

    @staticmethod
    def REFERENCE(base: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int) -> np.ndarray:
        out = base.copy()
        np.add.at(out, places(index, dim % base.ndim, base.shape), source)
        return out

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield from _samples(cls, gather_samples, lambda x, index, dim: index.shape)
        x, index = np.zeros((3, 2), np.float32), np.full((1, 2), 3)
        yield Sample((x, index, x[:1]), {"dim": 0}, error=(IndexError, "out of bounds"))


class Scatter(ScatterAdd):
    """base[index[i, j], j] = source[i, j] for `dim` 0, and so on (`torch.scatter`)."""

    name = "calque.scatter"
    ADD = False

    @staticmethod
    def REFERENCE(base: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int) -> np.ndarray:
        out = base.copy()
        out[places(index, dim % base.ndim, base.shape)] = source
        return out


class IndexAdd(Update):
    """base[index[i]] += source[i] for `dim` 0, and so on: the adjoint of `take`."""

    name = "calque.index_add"

    @classmethod
    def written(cls, base: TensorMeta, index: TensorMeta, dim: int) -> Shape:
        return Take.infer(base, index, dim=dim).shape

    @staticmethod
    def REFERENCE(base: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int) -> np.ndarray:
        check_range(index, base.shape[dim])
        out = base.copy()
        place: Any = (slice(None),) * (dim % base.ndim) + (index,)
        np.add.at(out, place, source)
        return out

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield from _samples(cls, take_samples, _taken)
        x = np.zeros((3, 2), np.float32)
        yield Sample((x, np.array([3]), x[:1]), {"dim": 0}, error=(IndexError, "out of range"))

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        """Added at 0, 1, 2 …: the source with -0.0, which changes nothing, after it."""
        (base, index, source), shape = node.operands, node.result_metas[0].shape
        dim = normalize_dim(node.attrs["dim"], len(shape))
        if not cls.ADD or not counts(index, shape[dim]):
            return None
        none: list[Dim] = [0] * len(shape)
        after = none.copy()
        after[dim] = shape[dim] - meta(source).shape[dim]
        return (add(base, pad(source, none, after, value=-0.0)),)


class IndexCopy(IndexAdd):
    """base[index[i]] = source[i] for `dim` 0, and so on (`torch.index_copy`)."""

    name = "calque.index_copy"
    ADD = False

    @staticmethod
    def REFERENCE(base: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int) -> np.ndarray:
        check_range(index, base.shape[dim])
        out = base.copy()
        out[(slice(None),) * (dim % base.ndim) + (index,)] = source
        return out


def _lower(b: LinalgBuilder, node: Node, op: type[Update]) -> SSAValue:
    """Loops over the indices, in order; each replaces or adds what belongs to it: an element for
    scatter, for index_add all that it has along the other dimensions."""
    base, index, source = b.values(node.operands)
    mb, mi = node.operand_metas[:2]
    dim = normalize_dim(node.attrs["dim"], mb.rank)
    whole = not issubclass(op, ScatterAdd) and mb.rank > 1
    message = OUT_OF_RANGE if issubclass(op, IndexAdd) else out_of_bounds(dim, mb.shape[dim])

    def target(at: Sequence[SSAValue]) -> SSAValue:
        s = b.scalars
        place = s.cast(b.element(index, at), INDEX)
        valid, safe = in_range(s, place, b.size(mb.shape[dim]))
        b.check(valid, message)
        return safe

    def one(total: SSAValue, at: Sequence[SSAValue]) -> SSAValue:
        places = list(at) if issubclass(op, ScatterAdd) else [target(at)]
        if issubclass(op, ScatterAdd):
            places[dim] = target(at)
        new = b.element(source, at)
        if op.ADD:
            new = b.scalars.add(b.element(total, places), new)
        return b.insert_element(new, total, places)

    def row(total: SSAValue, at: Sequence[SSAValue]) -> SSAValue:
        zero = [0] * mb.rank
        into = [*zero[:dim], target(at), *zero[dim + 1 :]]
        sizes_ = [1 if i == dim else d for i, d in enumerate(mb.shape)]
        read = [*zero[:dim], *at, *zero[dim + 1 :]]
        ones = [1] * mi.rank
        new: Tensor = b.slice(source, read, [*mb.shape[:dim], *ones, *mb.shape[dim + 1 :]])
        new = b.reshape(new, sizes_)
        if op.ADD:
            old = b.slice(total, into, sizes_)
            new = b.pointwise(b.meta(old), [old, new], body=lambda s, x, y: s.add(x, y))
        return b.insert_slice(new, total, into)

    return b.nest(mi.shape, base, row if whole else one)


def _taken(x: np.ndarray, index: np.ndarray, dim: int) -> tuple[int, ...]:
    dim %= x.ndim
    return (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])


def _samples(
    op: type[Update],
    cases: Callable[[], Iterable[tuple[np.ndarray, np.ndarray, int]]],
    shape: Callable[[np.ndarray, np.ndarray, int], tuple[int, ...]],
) -> Iterable[Sample]:
    """The indices of the reading operators, with sources to write. Where two writes go to one
    place, the gradient of the one that is lost is, as in PyTorch, not zero."""
    rng = np.random.default_rng(2)
    adding: Any = (IndexAdd if issubclass(op, IndexAdd) else ScatterAdd).REFERENCE
    for x, index, dim in cases():
        source = rng.standard_normal(shape(x, index, dim)).astype(x.dtype)
        writes = adding(np.zeros_like(x), index, np.ones_like(source), dim)
        yield Sample((x, index, source), {"dim": dim}, grad=op.ADD or bool((writes < 2).all()))
    x, index, _ = next(iter(cases()))
    other = np.zeros(shape(x, index, 0), np.float64)
    yield Sample((x, index, other), {"dim": 0}, error=(RuntimeError, "self.dtype to be equal"))
    yield Sample((x, index, x[:1]), {"dim": 0}, error=(RuntimeError, "expected a source of shape"))


# ---- the functions ---------------------------------------------------------------------------


def _narrowed(source: Value, index: Value) -> Value:
    """PyTorch lets the source of a scatter be larger than the index; the rest is not read."""
    from .viewing import narrow

    shape, wanted = meta(source).shape, meta(index).shape
    if len(shape) == len(wanted):
        for dim, (n, w) in enumerate(zip(shape, wanted, strict=True)):
            source = source if n == w else narrow(source, dim, 0, w)
    return source


def scatter_add(base: Value, dim: int, index: Value, source: Value) -> Value:
    """`torch.scatter_add`: base with source added where gather would read."""
    attrs = {"dim": normalize_dim(dim, meta(base).rank)}
    return bind(ScatterAdd, (base, index, _narrowed(source, index)), attrs)


def scatter(base: Value, dim: int, index: Value, source: Value) -> Value:
    """`torch.scatter`: base with source put where gather would read."""
    attrs = {"dim": normalize_dim(dim, meta(base).rank)}
    return bind(Scatter, (base, index, _narrowed(source, index)), attrs)


def index_add(base: Value, dim: int, index: Value, source: Value) -> Value:
    """base with source added where `take` would read."""
    return bind(IndexAdd, (base, index, source), {"dim": normalize_dim(dim, meta(base).rank)})


def index_copy(base: Value, dim: int, index: Value, source: Value) -> Value:
    """base with source put where `take` would read."""
    return bind(IndexCopy, (base, index, source), {"dim": normalize_dim(dim, meta(base).rank)})


OPS: tuple[type[Op], ...] = (ScatterAdd, Scatter, IndexAdd, IndexCopy)
