"""Matrix products."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ml_dtypes
import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..pointwise import BodyBuilder
from ..sym import Dim, same, shown
from ..types import TensorMeta
from ._common import broadcast_shapes, by, check_devices, sizes
from ._elementwise import torch_name
from .arithmetic import mul
from .reduce import accumulating, cast_lowered
from .view import broadcast_to, reshape
from .viewing import transpose


class Matmul(Op):
    """(*batch, M, K) times (*batch, K, N): (*batch, M, N), with equal batch dimensions.

    16-bit floats are multiplied and added in float32 and rounded at the end.
    """

    name = "calque.matmul"
    SAVED = ((0, 1), ())

    @classmethod
    def infer(cls, *metas: TensorMeta) -> TensorMeta:
        a, b = metas
        device = check_devices(metas)
        _check_dtypes(a, b)
        if a.rank != b.rank or a.rank < 2:
            raise runtime_error(f"matmul: expected two tensors of one rank >= 2, got {a} and {b}")
        (m, k), (k2, n) = a.shape[-2:], b.shape[-2:]
        if not same(k, k2):
            _mismatch(a, b)
        batch = a.shape[:-2]
        for x, y in zip(batch, b.shape[:-2], strict=True):
            if not same(x, y):
                _mismatch(a, b)
        return TensorMeta((*batch, m, n), a.dtype, device)

    @classmethod
    def work(cls, node: Node) -> Dim:
        return 2 * node.operand_metas[0].shape[-1] * node.result_metas[0].numel

    @staticmethod
    def REFERENCE(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if dt.from_numpy(a.dtype) in (dt.float16, dt.bfloat16):
            a, b = a.astype(np.float32), b.astype(np.float32)
        return np.matmul(a, b)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (a, b) = cotangents, node.operands
        return (
            bind(Matmul, (g, transpose(b, -2, -1))) if node.needs[0] else None,
            bind(Matmul, (transpose(a, -2, -1), g)) if node.needs[1] else None,
        )

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        out = accumulating(node.result_metas[0])
        batch = tuple(range(out.rank - 2))
        i, j, k = (out.rank - 2 + n for n in range(3))

        def body(s: BodyBuilder, x: SSAValue, y: SSAValue, total: SSAValue) -> SSAValue:
            return s.add(total, s.mul(s.cast(x, total.type), s.cast(y, total.type)))

        (total,) = b.generic(
            node.operands,
            [(*batch, i, k), (*batch, k, j)],
            [b.fill(out, 0)],
            [(*batch, i, j)],
            ["parallel"] * out.rank + ["reduction"],
            body,
        )
        return [cast_lowered(b, total, node.result_metas[0])]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for a, b in (
            ((2, 3), (3, 4)), ((1, 1), (1, 1)), ((5, 17), (17, 1)), ((1, 7), (7, 33)),
            ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 2), (2, 1, 2, 3)), ((0, 3), (3, 2)),
            ((2, 0), (0, 3)), ((0, 2, 3), (0, 3, 2)),
        ):  # fmt: skip
            for scalar in (np.float32, np.float64, np.int32):
                x, y = rng.standard_normal(a) * 3, rng.standard_normal(b) * 3
                yield Sample((x.astype(scalar), y.astype(scalar)))
        for scalar in (np.float16, ml_dtypes.bfloat16, np.int64):
            x = rng.standard_normal((3, 3)) * 3
            yield Sample((x.astype(scalar), x.T.astype(scalar)))
        x = np.array([[np.inf, 1], [np.nan, 0]], np.float32)
        yield Sample((x, np.zeros((2, 2), np.float32)), grad=False)
        a, b = np.zeros((64, 128), np.float32), np.zeros((64, 10), np.float32)
        words = "mat1 and mat2 shapes cannot be multiplied (64x128 and 64x10)"
        yield Sample((a, b), error=(RuntimeError, words))
        words = "expected m1 and m2 to have the same dtype, but got: float != double"
        yield Sample((a, b.astype(np.float64)), error=(RuntimeError, words))
        words = "Expected size for first two dimensions of batch2 tensor to be: [1, 128]"
        yield Sample((a[None], b[None]), error=(RuntimeError, words))
        yield Sample((a > 0, a.T > 0), error=(RuntimeError, "not implemented for 'Bool'"))


def _check_dtypes(a: TensorMeta, b: TensorMeta) -> None:
    if a.dtype is not b.dtype:
        first, second = (_c_name(m) for m in (a, b))
        raise runtime_error(
            f"expected m1 and m2 to have the same dtype, but got: {first} != {second}"
        )
    if a.dtype is dt.bool_:
        raise runtime_error(f"\"matmul\" not implemented for '{torch_name(a.dtype)}'")


def _c_name(m: TensorMeta) -> str:
    """The C++ name that PyTorch's message has."""
    return {"float32": "float", "float64": "double", "float16": "c10::Half", "int64": "long",
            "bfloat16": "c10::BFloat16", "int32": "int", "int16": "short", "int8": "signed char",
            "uint8": "unsigned char", "bool": "bool"}[m.dtype.name]  # fmt: skip


def _mismatch(a: TensorMeta, b: TensorMeta) -> None:
    """Raise PyTorch's error for shapes that do not multiply."""
    if a.rank == 2:
        raise runtime_error(
            f"mat1 and mat2 shapes cannot be multiplied ({by(a.shape)} and {by(b.shape)})"
        )
    batch = a.with_shape(a.shape[:-2]).numel
    given = b.with_shape(b.shape[:-2]).numel
    raise runtime_error(
        "Expected size for first two dimensions of batch2 tensor to be: "
        f"{sizes((batch, a.shape[-1]))} but got: {sizes((given, b.shape[-2]))}."
    )


def matmul(a: Value, b: Value) -> Value:
    """The matrix product of tensors of any rank, as `torch.matmul`.

    Vectors are a row on the left and a column on the right; batch dimensions are broadcast.
    Raises RuntimeError where shapes or dtypes do not fit.
    """
    ma, mb = meta(a), meta(b)
    if not ma.rank or not mb.rank:
        raise runtime_error(
            "both arguments to matmul need to be at least 1D, but they are "
            f"{ma.rank}D and {mb.rank}D"
        )
    _check_dtypes(ma, mb)
    if ma.rank == 2 and mb.rank == 2:
        return bind(Matmul, (a, b))
    if ma.rank == 1 and mb.rank == 1:
        return _dot(a, b)
    if ma.rank == 1:
        out = matmul(reshape(a, (1, *ma.shape)), b)
        shape = meta(out).shape
        return reshape(out, (*shape[:-2], shape[-1]))
    if mb.rank == 1:
        return _matrix_vector(a, b)
    if mb.rank == 2:
        # One matrix on the right: the rows of all batches form one matrix on the left.
        rows = ma.with_shape(ma.shape[:-1]).numel
        out = bind(Matmul, (reshape(a, (rows, ma.shape[-1])), b))
        return reshape(out, (*ma.shape[:-1], mb.shape[-1]))
    batch = broadcast_shapes(ma.shape[:-2], mb.shape[:-2])
    a = broadcast_to(a, (*batch, *ma.shape[-2:]))
    b = broadcast_to(b, (*batch, *mb.shape[-2:]))
    return bind(Matmul, (a, b))


def _dot(a: Value, b: Value) -> Value:
    """The inner product of two vectors."""
    (n,), (m,) = meta(a).shape, meta(b).shape
    if not same(n, m):
        raise runtime_error(
            f"inconsistent tensor size, expected tensor [{shown(n)}] and src [{shown(m)}] to have "
            f"the same number of elements, but got {shown(n)} and {shown(m)} elements respectively"
        )
    return reshape(bind(Matmul, (reshape(a, (1, n)), reshape(b, (m, 1)))), ())


def _matrix_vector(a: Value, b: Value) -> Value:
    """A batch of matrices times a vector."""
    shape, (n,) = meta(a).shape, meta(b).shape
    if len(shape) == 2 and not same(shape[1], n):
        raise runtime_error(
            f"size mismatch, got input ({shown(shape[0])}), mat ({by(shape)}), vec ({shown(n)})"
        )
    return reshape(matmul(a, reshape(b, (n, 1))), shape[:-1])


def outer(a: Value, b: Value) -> Value:
    """Every product of an element of the vector a with one of b."""
    for position, x in (("self", a), ("vec2", b)):
        if meta(x).rank != 1:
            raise runtime_error(
                f"outer: Expected 1-D argument {position}, but got {meta(x).rank}-D"
            )
    return mul(reshape(a, (*meta(a).shape, 1)), reshape(b, (1, *meta(b).shape)))


OPS: tuple[type[Op], ...] = (Matmul,)
