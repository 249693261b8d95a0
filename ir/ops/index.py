"""Reading at indices that are data: gather, take, and the functions made from them.

Indices count from zero; an index out of range is an error when the program runs. Functions that
accept negative indices, as advanced indexing does, wrap them first with `check_index`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import IndexType
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import BOOL, DIM, INT
from ..errors import index_error, runtime_error
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, bounds, less
from ..types import TensorMeta
from ._common import check_devices, normalize_dim, sizes
from ._fold import producer
from .viewing import narrow

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import BodyBuilder, Tensor
    from ..scalar import ScalarBuilder

INDEX = IndexType()
OUT_OF_RANGE = "index out of range in self"


def check_integer(index: TensorMeta, what: str) -> None:
    """Raises IndexError unless indices are integers."""
    if index.dtype not in (dt.int64, dt.int32):
        raise index_error(
            f"{what}: expected dtype int64 or int32 for index, got {index.dtype.name}"
        )


def _out_of_bounds(index: object, dim: int, size: Dim) -> str:
    return f"index {index} is out of bounds for dimension {dim} with size {size}"


def out_of_bounds(dim: int, size: Dim) -> str:
    """The message of native code, which knows no index."""
    known = f" with size {size}" if isinstance(size, int) else ""
    return f"index is out of bounds for dimension {dim}{known}"


def in_range(s: ScalarBuilder, index: SSAValue, n: SSAValue) -> tuple[SSAValue, SSAValue]:
    """Whether 0 <= index < n, and the index brought there."""
    zero = s.like(0, index)
    valid = s.and_(s.compare("ge", index, zero), s.compare("lt", index, n))
    return valid, s.maximum(s.minimum(index, s.sub(n, s.like(1, n))), zero)


def counts(index: Value, size: Dim) -> bool:
    """Whether indices are known to be 0, 1, 2 … below `size`."""
    op = producer(index, "calque.iota")
    least = None if op is None else bounds(size - op.attrs["size"])[0]
    return least is not None and least >= 0


def checked(b: LinalgBuilder, index: Tensor, size: Dim, message: str) -> Tensor:
    """Indices that fail with `message` where they are out of range, and are safe to use."""

    def body(s: BodyBuilder, at: SSAValue) -> SSAValue:
        valid, safe = in_range(s, at, s.cast(s.size(size), at.type))
        s.check(valid, message)
        return safe

    return b.pointwise(b.meta(index), [index], body=body)


class CheckIndex(Op):
    """Indices into dimension `dim` of size `size`; one out of range is an error.

    With `wrap`, negative indices count from the end.
    """

    name = "calque.check_index"
    ATTRS = {"size": DIM, "dim": INT, "wrap": BOOL}

    @classmethod
    def infer(cls, *metas: TensorMeta, size: Dim, dim: int, wrap: bool) -> TensorMeta:
        check_integer(metas[0], "tensors used as indices")
        return metas[0]

    @staticmethod
    def REFERENCE(index: np.ndarray, size: int, dim: int, wrap: bool) -> np.ndarray:
        bad = (index < (-size if wrap else 0)) | (index >= size)
        if bad.any():
            raise index_error(_out_of_bounds(index[bad][0], dim, size))
        return np.where(index < 0, index + size, index)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        a = node.attrs
        message = out_of_bounds(a["dim"], a["size"])

        def body(s: BodyBuilder, index: SSAValue) -> SSAValue:
            n = s.cast(s.size(a["size"]), index.type)
            if a["wrap"]:
                negative = s.compare("lt", index, s.like(0, index))
                index = s.select(negative, s.add(index, n), index)
            valid, safe = in_range(s, index, n)
            s.check(valid, message)
            return safe

        return [b.pointwise(node.result_metas[0], node.operands, body=body)]

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        index = node.operands[0]
        return (index,) if counts(index, node.attrs["size"]) else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        index = np.array([[0, -1, 2], [-3, 1, 0]])
        yield Sample((index,), {"size": 3, "dim": 0, "wrap": True})
        yield Sample((index.astype(np.int32),), {"size": 5, "dim": 1, "wrap": True})
        yield Sample((index[:0],), {"size": 0, "dim": 0, "wrap": False})
        for size, wrap in ((2, True), (3, False)):
            error = (IndexError, f"out of bounds for dimension 1 with size {size}")
            yield Sample((index,), {"size": size, "dim": 1, "wrap": wrap}, error=error)
        attrs = {"size": 9, "dim": 1, "wrap": True}
        yield Sample((index + 0.5,), attrs, error=(IndexError, "expected dtype"))


class Take(Op):
    """x along `dim` at each index: the index's shape stands in place of that dimension."""

    name = "calque.take"
    ATTRS = {"dim": INT}
    SAVED = ((1,), ())

    @classmethod
    def infer(cls, *metas: TensorMeta, dim: int) -> TensorMeta:
        x, index = metas
        check_devices(metas)
        check_integer(index, "take()")
        if x.rank == 0:
            raise index_error("take(): expected a tensor with dimensions, got one without")
        dim = normalize_dim(dim, x.rank)
        return x.with_shape((*x.shape[:dim], *index.shape, *x.shape[dim + 1 :]))

    @staticmethod
    def REFERENCE(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
        check_range(index, x.shape[dim])
        return np.take(x, index, axis=dim)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        (x, index), (mx, mi) = node.operands, node.operand_metas
        dim, out = normalize_dim(node.attrs["dim"], mx.rank), node.result_metas[0]
        loops = tuple(range(dim, dim + mi.rank))
        if mi.rank != out.rank:  # so that each index is checked once, not once per element
            index = b.value(checked(b, index, mx.shape[dim], OUT_OF_RANGE))
        else:
            index = checked(b, index, mx.shape[dim], OUT_OF_RANGE)

        def body(s: BodyBuilder, at: SSAValue) -> SSAValue:
            lead = [s.index(i) for i in range(dim)]
            tail = [s.index(i) for i in range(dim + mi.rank, out.rank)]
            return s.extract(x, [*lead, s.cast(at, INDEX), *tail])

        return [b.pointwise(out, [index], [loops], body)]

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        (x, index), (mx, mi) = node.operands, node.operand_metas
        dim = normalize_dim(node.attrs["dim"], mx.rank)
        return (narrow(x, dim, 0, mi.shape[0]),) if counts(index, mx.shape[dim]) else None

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .scatter import index_add

        (g,), index = cotangents, node.operands[1]
        return index_add(zeros(node.operand_metas[0], g), node.attrs["dim"], index, g), None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for x, index, dim in take_samples():
            yield Sample((x, index), {"dim": dim})
        x = np.zeros((3, 2), np.float32)
        for bad in (3, -1):
            yield Sample((x, np.array([0, bad])), {"dim": 0}, error=(IndexError, OUT_OF_RANGE))


class Gather(Op):
    """result[i, j, k] = x[index[i, j, k], j, k] for `dim` 0, and so on (`torch.gather`)."""

    name = "calque.gather"
    ATTRS = {"dim": INT}
    SAVED = ((1,), ())

    @staticmethod
    def refusal(dim: int, size: Dim) -> str:
        """The message for an index that is out of range; native code knows no index."""
        return out_of_bounds(dim, size)

    @classmethod
    def infer(cls, *metas: TensorMeta, dim: int) -> TensorMeta:
        x, index = metas
        check_devices(metas)
        check_gather("gather()", x, index, dim)
        return x.with_shape(index.shape)

    @staticmethod
    def REFERENCE(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
        return x[places(index, dim % x.ndim, x.shape)]

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        (x, index), (mx, mi) = node.operands, node.operand_metas
        dim = normalize_dim(node.attrs["dim"], mx.rank)
        index = checked(b, index, mx.shape[dim], cls.refusal(dim, mx.shape[dim]))

        def body(s: BodyBuilder, at: SSAValue) -> SSAValue:
            places = [s.index(i) for i in range(mi.rank)]
            places[dim] = s.cast(at, INDEX)
            return s.extract(x, places)

        return [b.pointwise(node.result_metas[0], [index], body=body)]

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .scatter import scatter_add

        (g,), index, x = cotangents, node.operands[1], node.operand_metas[0]
        dim = normalize_dim(node.attrs["dim"], x.rank)
        if _one_per_row(x, node.operand_metas[1], dim):
            return _spread_one(g, index, x, dim), None
        return scatter_add(zeros(x, g), dim, index, g), None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for x, index, dim in gather_samples():
            yield Sample((x, index), {"dim": dim})
        x, error = np.zeros((3, 2), np.float32), RuntimeError
        index = np.zeros((3, 3), np.int64)
        yield Sample((x, index), {"dim": 0}, error=(error, "Size does not match at dimension 1"))
        yield Sample((x, index[0]), {"dim": 0}, error=(error, "same number of dimensions"))
        for bad in (3, -1):
            index = np.full((1, 2), bad)
            yield Sample((x, index), {"dim": 0}, error=(IndexError, "out of bounds"))


class Pick(Gather):
    """The gather of cross entropy: the index is a target, one class for each row of x."""

    name = "calque.pick"

    @staticmethod
    def refusal(dim: int, size: Dim) -> str:
        known = f" for {size} classes" if isinstance(size, int) else ""
        return f"Target is out of bounds{known}."

    @staticmethod
    def REFERENCE(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
        bad = (index < 0) | (index >= x.shape[dim])
        if bad.any():
            raise index_error(f"Target {index[bad][0]} is out of bounds.")
        return Gather.REFERENCE(x, index, dim)


def check_gather(name: str, x: TensorMeta, index: TensorMeta, dim: int) -> None:
    """What PyTorch asks of gather and scatter, in its words."""
    check_integer(index, name)
    if index.rank != x.rank:
        raise runtime_error(
            f"{name}: Index tensor must have the same number of dimensions as input tensor"
        )
    if x.rank == 0:
        raise index_error(f"{name}: expected tensors with dimensions")
    dim = normalize_dim(dim, x.rank)
    for i, (n, m) in enumerate(zip(x.shape, index.shape, strict=True)):
        if i != dim and less(n, m):
            raise runtime_error(
                f"Size does not match at dimension {i} expected index {sizes(index.shape)} to be "
                f"no larger than self {sizes(x.shape)} apart from dimension {dim}"
            )


def check_range(index: np.ndarray, size: int) -> None:
    """Raises IndexError in PyTorch's words where an index is out of range."""
    if ((index < 0) | (index >= size)).any():
        raise index_error(OUT_OF_RANGE)


def places(index: np.ndarray, dim: int, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
    """The NumPy index of what gather reads. Raises IndexError where an index is out of range."""
    bad = (index < 0) | (index >= shape[dim])
    if bad.any():
        raise index_error(_out_of_bounds(index[bad][0], dim, shape[dim]))
    found: list[np.ndarray] = list(np.indices(index.shape, sparse=True))
    return (*found[:dim], index, *found[dim + 1 :])


def zeros(like: TensorMeta, witness: Value) -> Value:
    """Zeros of a shape and dtype."""
    from .creation import full

    return full(like.shape, 0, like.dtype, witness)


def _one_per_row(x: TensorMeta, index: TensorMeta, dim: int) -> bool:
    """Whether gather picks one element of every row of x along `dim`."""
    return index.shape == (*x.shape[:dim], 1, *x.shape[dim + 1 :])


def _spread_one(g: Value, index: Value, x: TensorMeta, dim: int) -> Value:
    """The adjoint of picking one element per row: a comparison per element, which fuses."""
    from .creation import iota
    from .elementwise import eq, where
    from .view import reshape

    position = iota(x.shape[dim], meta(index).dtype, index)
    position = reshape(position, (x.shape[dim], *(1,) * (x.rank - 1 - dim)))
    return where(eq(index, position), g, 0)


def take_samples() -> Iterable[tuple[np.ndarray, np.ndarray, int]]:
    """(x, index, dim) for `take` and its relatives."""
    rng = np.random.default_rng(0)

    def x(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    yield x(5, 3), np.array([0, 4, 4, 2]), 0
    yield x(5, 3), np.array([3, 1]), 0
    yield x(2, 3, 4), np.array([[2, 0], [1, 2]]), 1
    yield x(2, 3, 4).astype(np.float64), np.array([3, 1], np.int32), -1
    yield x(4), np.asarray(2), 0
    yield x(4, 2), np.zeros((0, 3), np.int64), 0
    yield x(1, 1), np.array([0]), 1


def gather_samples() -> Iterable[tuple[np.ndarray, np.ndarray, int]]:
    """(x, index, dim) for `gather` and its relatives."""
    rng = np.random.default_rng(0)
    for shape, index, dim, dtype in (
        ((3, 4), (2, 4), 0, np.int64),
        ((3, 4), (3, 1), 1, np.int64),
        ((2, 3, 4), (2, 2, 3), -1, np.int32),
        ((3, 1, 2), (3, 1, 2), 1, np.int64),
        ((5,), (7,), 0, np.int64),
        ((4, 2), (0, 2), 0, np.int64),
    ):
        x = rng.standard_normal(shape).astype(np.float32)
        yield x, rng.integers(0, shape[dim], index).astype(dtype), dim


# ---- the functions ---------------------------------------------------------------------------


def gather(x: Value, dim: int, index: Value) -> Value:
    """`torch.gather`: one element of x along `dim` per index."""
    return bind(Gather, (x, index), {"dim": normalize_dim(dim, meta(x).rank)})


def take(x: Value, dim: int, index: Value) -> Value:
    """x along `dim` at an index tensor of any rank, whose shape replaces that dimension."""
    return bind(Take, (x, index), {"dim": normalize_dim(dim, meta(x).rank)})


def check_index(index: Value, size: Dim, dim: int = 0, *, wrap: bool = True) -> Value:
    """Indices that are sure to lie in 0..size-1; negative ones count from the end (`wrap`)."""
    return bind(CheckIndex, (index,), {"size": size, "dim": dim, "wrap": wrap})


OPS: tuple[type[Op], ...] = (CheckIndex, Take, Gather, Pick)
