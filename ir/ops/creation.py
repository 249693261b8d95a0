"""Operators that make tensors from nothing: constants and iota."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import dtype as dt
from ..attrs import DENSE, DIM, DTYPE, STR
from ..dtype import DType
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim
from ..types import TensorMeta
from .view import broadcast_to


class Constant(Op):
    """A small tensor known when the program is built; large data are inputs."""

    name = "calque.constant"
    ATTRS = {"value": DENSE, "device": STR}

    @classmethod
    def infer(cls, *metas: TensorMeta, value: np.ndarray, device: str) -> TensorMeta:
        return TensorMeta(value.shape, dt.from_numpy(value.dtype), device)

    @staticmethod
    def REFERENCE(value: np.ndarray, device: str) -> np.ndarray:
        return value

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        value, out = node.attrs["value"], node.result_metas[0]
        if not value.size:
            return [b.pointwise(out, (), body=lambda s: s.constant(0, out.dtype.element))]
        return [b.dense(value, out)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        whole = np.arange(6, dtype=np.int64).reshape(2, 3)
        for value in (2.5, np.float32("nan"), whole, True, whole[:0]):
            array = np.asarray(value)
            if array.dtype == np.float64:
                array = array.astype(np.float32)
            yield Sample((), {"value": array, "device": "cpu"})


class Iota(Op):
    """0, 1, 2, … `size`-1 as a vector."""

    name = "calque.iota"
    ATTRS = {"size": DIM, "dtype": DTYPE, "device": STR}

    @classmethod
    def infer(cls, *metas: TensorMeta, size: Dim, dtype: DType, device: str) -> TensorMeta:
        return TensorMeta((size,), dtype, device)

    @staticmethod
    def REFERENCE(size: int, dtype: DType, device: str) -> np.ndarray:
        return np.arange(size).astype(dtype.numpy)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        element = node.attrs["dtype"].element
        body = lambda s: s.cast(s.index(0), element)  # noqa: E731
        return [b.pointwise(node.result_metas[0], (), body=body)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for size in (0, 1, 7, 33):
            for dtype in (dt.int64, dt.int32, dt.float32):
                yield Sample((), {"size": size, "dtype": dtype, "device": "cpu"})


class Size(Op):
    """A symbolic size as a 0-d int64 tensor."""

    name = "calque.size"
    ATTRS = {"value": DIM, "device": STR}

    @classmethod
    def infer(cls, *metas: TensorMeta, value: Dim, device: str) -> TensorMeta:
        return TensorMeta((), dt.int64, device)

    @staticmethod
    def REFERENCE(value: int, device: str) -> np.ndarray:
        return np.asarray(value, np.int64)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        value, element = node.attrs["value"], dt.int64.element
        body = lambda s: s.cast(s.size(value), element)  # noqa: E731
        return [b.pointwise(node.result_metas[0], (), body=body)]

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        value = node.attrs["value"]
        if not isinstance(value, int):
            return None
        return (constant(np.int64(value), node.results[0]),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for value in (0, 7):
            yield Sample((), {"value": value, "device": "cpu"})


def constant(value: Any, like: Value, device: str | None = None) -> Value:
    """A constant of NumPy data, of the same kind of value (and device) as `like`."""
    if device is None:
        device = meta(like).device
    return bind(Constant, (), {"value": np.asarray(value), "device": device}, like=(like,))


def full(shape: Sequence[Dim], value: bool | int | float, dtype: DType, like: Value) -> Value:
    """A tensor filled with one value: a broadcast constant, so it takes no memory.

    Integers that the dtype does not have wrap around, as in PyTorch.
    """
    try:
        array = np.asarray(value, dtype.numpy)
    except OverflowError:
        array = _wrapped(value, dtype)
    made = getattr(like, "__calque_full__", None)
    if made is not None:
        return made(array, tuple(shape))
    return broadcast_to(constant(array, like), shape)


def _wrapped(value: int | float, dtype: DType) -> np.ndarray:
    if isinstance(value, float):
        raise runtime_error(f"value cannot be converted to type {dtype.name} without overflow")
    return np.asarray(value & (2**64 - 1), np.uint64).astype(dtype.numpy)


def full_like(x: Value, value: bool | int | float, dtype: DType | None = None) -> Value:
    """A tensor with x's shape, dtype and device filled with one value."""
    m = meta(x)
    return full(m.shape, value, dtype or m.dtype, x)


def iota(size: Dim, dtype: DType, like: Value) -> Value:
    """0, 1, … size-1, of the same kind of value and device as `like`."""
    attrs = {"size": size, "dtype": dtype, "device": meta(like).device}
    return bind(Iota, (), attrs, like=(like,))


def size(value: Dim, like: Value) -> Value | int:
    """A size as an operand of arithmetic: a number, or for a symbolic one a 0-d int64 tensor."""
    if isinstance(value, int):
        return value
    return bind(Size, (), {"value": value, "device": meta(like).device}, like=(like,))


OPS: tuple[type[Op], ...] = (Constant, Iota, Size)
__all__ = ["Constant", "Iota", "Size", "constant", "full", "full_like", "iota", "size"]
