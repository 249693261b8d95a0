"""View operators: the same elements under another shape; they move no data in eager mode.

Each defines `unview(base, new, attrs)`: the base in which the viewed elements are replaced by
`new`, which is how writes through views are functionalized.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..attrs import DIMS, INTS
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, same, shown
from ..types import Shape, TensorMeta
from ._common import normalize_dim, sizes
from ._fold import producer, uniform

REPEATED = (
    "unsupported operation: more than one element of the written-to tensor refers to a single "
    "memory location. Please clone() the tensor before performing the operation."
)


class View(Op):
    """Base of the view operators."""

    @classmethod
    def unview(cls, base: Value, new: Value, attrs: dict[str, Any]) -> Value:
        """`base` with the elements seen through this view replaced by those of `new`."""
        raise NotImplementedError(cls.name)

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        from .creation import constant

        (x,), shape = node.operands, node.result_metas[0].shape
        if node.operand_metas[0].shape == shape and cls.is_identity(node.attrs):
            return (x,)
        known = uniform(x)
        if known is not None and (cls is not BroadcastTo or node.operand_metas[0].rank):
            return (broadcast_to(constant(known, x), shape),)
        inner = producer(x, cls.name)
        found = None if inner is None else cls.merge(inner, node)
        return None if found is None else (found,)

    @classmethod
    def is_identity(cls, attrs: Any) -> bool:
        """Whether the view changes nothing, when it does not change the shape."""
        return True

    @classmethod
    def merge(cls, inner: Op, node: Node) -> Value | None:
        """This view of `inner`, a view of the same kind, as one view."""
        return None


class BroadcastTo(View):
    """Repeat size-1 and missing leading dimensions; sizes align at the right."""

    name = "calque.broadcast_to"
    ATTRS = {"shape": DIMS}

    @classmethod
    def infer(cls, *metas: TensorMeta, shape: Shape) -> TensorMeta:
        (x,) = metas
        lead = len(shape) - x.rank
        if lead < 0:
            raise runtime_error(
                f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to "
                f"the number of dimensions in the tensor ({x.rank})"
            )
        for i, d in enumerate(x.shape):
            if not (isinstance(d, int) and d == 1) and not same(d, shape[lead + i]):
                raise runtime_error(
                    f"The expanded size of the tensor ({shown(shape[lead + i])}) must match the "
                    f"existing size ({shown(d)}) at non-singleton dimension {lead + i}."
                )
        return x.with_shape(shape)

    @staticmethod
    def REFERENCE(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(x, shape)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        from .reduce import sum_to

        return (sum_to(cotangents[0], node.operand_metas[0].shape),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [b.broadcast(node.operands[0], node.attrs["shape"])]

    @classmethod
    def unview(cls, base: Value, new: Value, attrs: dict[str, Any]) -> Value:
        if meta(base).numel != meta(new).numel:
            raise runtime_error(REPEATED)
        return reshape(new, meta(base).shape)

    @classmethod
    def merge(cls, inner: Op, node: Node) -> Value | None:
        return broadcast_to(inner.operands[0], node.result_metas[0].shape)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for shape, target in (((), (3,)), ((1,), (4,)), ((3, 1), (2, 3, 5)), ((0, 1), (0, 4))):
            x = rng.standard_normal(shape)
            yield Sample((np.asarray(x, np.float32),), {"shape": target})
        yield Sample((np.array([[True], [False]]),), {"shape": (2, 3)})
        bad = (RuntimeError, "must match the existing size")
        yield Sample((np.zeros(3, np.float32),), {"shape": (4,)}, error=bad)
        bad = (RuntimeError, "expand: the number of sizes provided (0)")
        yield Sample((np.zeros(3, np.float32),), {"shape": ()}, error=bad)


class Reshape(View):
    """The elements in row-major order under another shape."""

    name = "calque.reshape"
    ATTRS = {"shape": DIMS}

    @classmethod
    def infer(cls, *metas: TensorMeta, shape: Shape) -> TensorMeta:
        (x,) = metas
        result = x.with_shape(shape)
        if x.shape != shape and not same(result.numel, x.numel):
            raise runtime_error(_invalid(shape, x.numel))
        return result

    @staticmethod
    def REFERENCE(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return x.reshape(shape)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (reshape(cotangents[0], node.operand_metas[0].shape),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [b.reshape(node.operands[0], node.attrs["shape"])]

    @classmethod
    def unview(cls, base: Value, new: Value, attrs: dict[str, Any]) -> Value:
        return reshape(new, meta(base).shape)

    @classmethod
    def merge(cls, inner: Op, node: Node) -> Value | None:
        return reshape(inner.operands[0], node.result_metas[0].shape)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for old, new in (
            ((6,), (2, 3)), ((2, 3), (6,)), ((2, 3), (3, 1, 2)), ((), (1, 1)), ((1,), ()),
            ((0, 3), (5, 0)), ((4, 3, 2), (4, 6)),
        ):  # fmt: skip
            size = int(np.prod(old))
            yield Sample((np.arange(size, dtype=np.float32).reshape(old),), {"shape": new})
        yield Sample((np.arange(6).reshape(2, 3),), {"shape": (3, 2)})
        error = (RuntimeError, "shape '[2, 5]' is invalid for input of size 9")
        yield Sample((np.zeros((3, 3), np.float32),), {"shape": (2, 5)}, error=error)


class Transpose(View):
    """Dimension i of the result is dimension `perm[i]` of x."""

    name = "calque.transpose"
    ATTRS = {"perm": INTS}

    @classmethod
    def infer(cls, *metas: TensorMeta, perm: tuple[int, ...]) -> TensorMeta:
        (x,) = metas
        if len(perm) != x.rank:
            raise runtime_error(
                "permute: number of dimensions in the tensor input does not match the length of "
                f"the desired ordering of dimensions i.e. input.dim() = {x.rank} is not equal to "
                f"len(dims) = {len(perm)}"
            )
        if sorted(perm) != list(range(x.rank)):
            raise runtime_error("permute(): duplicate dims are not allowed.")
        return x.with_shape([x.shape[p] for p in perm])

    @staticmethod
    def REFERENCE(x: np.ndarray, perm: tuple[int, ...]) -> np.ndarray:
        return np.transpose(x, perm)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (permute(cotangents[0], inverse(node.attrs["perm"])),)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [b.transpose(node.operands[0], node.attrs["perm"])]

    @classmethod
    def unview(cls, base: Value, new: Value, attrs: dict[str, Any]) -> Value:
        return permute(new, inverse(attrs["perm"]))

    @classmethod
    def is_identity(cls, attrs: Any) -> bool:
        return attrs["perm"] == tuple(range(len(attrs["perm"])))

    @classmethod
    def merge(cls, inner: Op, node: Node) -> Value | None:
        first: tuple[int, ...] = inner.attrs["perm"]
        return permute(inner.operands[0], [first[p] for p in node.attrs["perm"]])

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shape, perm in (
            ((), ()), ((3,), (0,)), ((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((0, 3), (1, 0)),
            ((1, 5, 2, 3), (3, 1, 2, 0)),
        ):  # fmt: skip
            size = int(np.prod(shape))
            yield Sample((np.arange(size, dtype=np.float32).reshape(shape),), {"perm": perm})
        x = np.zeros((2, 3), np.float32)
        yield Sample((x,), {"perm": (0,)}, error=(RuntimeError, "is not equal to len(dims) = 1"))
        yield Sample((x,), {"perm": (0, 0)}, error=(RuntimeError, "duplicate dims"))


def nothing(b: LinalgBuilder, out: TensorMeta) -> Tensor:
    """A tensor without elements; upstream refuses slices of nothing that begin at the end."""
    return b.pointwise(out, (), body=lambda s: s.constant(0, out.dtype.element))


def inverse(perm: Sequence[int]) -> list[int]:
    """The permutation that undoes another."""
    out = [0] * len(perm)
    for i, p in enumerate(perm):
        out[p] = i
    return out


def _invalid(shape: Sequence[Dim], size: Dim) -> str:
    return f"shape '{sizes(shape)}' is invalid for input of size {shown(size)}"


def broadcast_to(x: Value, shape: Sequence[Dim]) -> Value:
    """x repeated to `shape`; x itself where it already has it."""
    shape, old = tuple(shape), meta(x).shape
    if old == shape:
        return x
    # A size that is an expression may be one for the sizes at hand; repeated, it has to be a 1.
    kept = zip(old, shape[len(shape) - len(old) :], strict=False)
    once = [
        d if isinstance(d, int) or same(d, wanted) or not same(d, 1) else 1 for d, wanted in kept
    ]
    if len(once) == len(old) and tuple(once) != old:
        x = reshape(x, once)
    return bind(BroadcastTo, (x,), {"shape": shape})


def reshape(x: Value, shape: Sequence[Dim]) -> Value:
    """x under another shape, of which one size may be -1; x itself where it already has it.

    Raises RuntimeError where the number of elements differs.
    """
    shape, m = list(shape), meta(x)
    unknown = [i for i, d in enumerate(shape) if isinstance(d, int) and d == -1]
    if len(unknown) > 1:
        raise runtime_error("only one dimension can be inferred")
    for d in shape:
        if isinstance(d, int) and d < -1:
            raise runtime_error(f"invalid shape dimension {d}")
    if unknown:
        shape[unknown[0]] = 1
        known = m.with_shape(shape).numel
        if isinstance(known, int) and known == 0:
            shape[unknown[0]] = -1
            if not same(m.numel, 0):
                raise runtime_error(_invalid(shape, m.numel))
            raise runtime_error(
                f"cannot reshape tensor of 0 elements into shape {sizes(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        found = m.numel // known
        shape[unknown[0]] = -1
        if not same(found * known, m.numel):
            raise runtime_error(_invalid(shape, m.numel))
        shape[unknown[0]] = found
    return x if m.shape == tuple(shape) else bind(Reshape, (x,), {"shape": tuple(shape)})


def permute(x: Value, dims: Sequence[int]) -> Value:
    """x with its dimensions in another order; negative dimensions count from the last."""
    rank = meta(x).rank
    perm = tuple(normalize_dim(d, rank) for d in dims)
    if perm == tuple(range(rank)):
        return x
    return bind(Transpose, (x,), {"perm": perm})


OPS: tuple[type[Op], ...] = (BroadcastTo, Reshape, Transpose)
