"""Selection between values, changes of dtype, and detachment from the gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import DTYPE
from ..dtype import DType
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor, lower_elementwise
from ..op import Node, Sample, Value, bind, meta
from ..scalar import ScalarBuilder
from ..types import TensorMeta
from ._common import Number, result_type, same_metas, spread
from ._elementwise import Binary, Elementwise, elementwise_samples, torch_name
from ._fold import holds_exactly, producer, uniform


class Select(Elementwise):
    """x where the condition holds, else y."""

    name = "calque.select"
    KINDS = "fiub"
    ARITY = 3
    EXACT = True
    SAVED = ((0,), ())
    REFERENCE = np.where

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        condition, x, y = metas
        if condition.dtype is not dt.bool_:
            raise runtime_error(
                f"where expected condition to be a boolean tensor, but got {condition.dtype}"
            )
        same_metas(condition, x.with_dtype(dt.bool_))
        return same_metas(x, y)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.select(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), condition = cotangents, node.operands[0]
        return (
            None,
            where(condition, g, 0) if node.needs[1] else None,
            where(condition, 0, g) if node.needs[2] else None,
        )

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        condition, x, y = node.operands
        if x is y:
            return x
        known = uniform(condition)
        if known is not None:
            return x if known else y
        return None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for sample in elementwise_samples(_Chosen):
            shape = sample.args[0].shape
            yield Sample(
                (rng.random(shape) > 0.5, *sample.args), grad=sample.grad, error=sample.error
            )
        x = np.ones(3, np.float32)
        bad = (RuntimeError, "where expected condition to be a boolean tensor")
        yield Sample((x, x, x), error=bad)


class _Chosen(Binary):
    """The branches of a select, whose samples are those of any operator of two operands."""

    KINDS = "fiub"


class Cast(Elementwise):
    """x as another dtype.

    Floats truncate toward zero to integers and saturate at their ends; NaN gives 0 (PyTorch leaves
    these undefined). Integers wrap around. Anything but 0 is true. Conversions between a 16-bit
    float and a type wider than 32 bits round through float32.
    """

    name = "calque.cast"
    ATTRS = {"dtype": DTYPE}
    EXACT = True

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        return metas[0].with_dtype(attrs["dtype"])

    @staticmethod
    def REFERENCE(x: np.ndarray, dtype: DType) -> np.ndarray:
        if x.dtype.kind not in "iub":  # a float; ml_dtypes are of kind V
            if dtype.kind in "iu":
                return _saturated(x.astype(np.float64), dtype)
            if dtype.kind == "b":
                return x != 0
        if dtype.kind == "f" and dtype.bits == 16:
            x = x.astype(np.float32)
        return x.astype(dtype.numpy)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        (x,), dtype = args, attrs["dtype"]
        source = dt.from_element(x.type)
        if dtype.kind == "f" and dtype.bits == 16 and source.bits > 16:
            x = s.cast(x, f32)
        if source.kind == "f" and dtype.kind in "iu":
            return _saturate(s, x, dtype)
        return s.cast(x, dtype.element)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        source = node.operand_metas[0].dtype
        if not source.is_floating_point or not node.attrs["dtype"].is_floating_point:
            return (None,)
        return (cast(cotangents[0], source),)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        (x,), target = node.operands, node.attrs["dtype"]
        middle = node.operand_metas[0].dtype
        if middle is target:
            return x
        inner = producer(x, cls.name)
        if inner is None:
            return None
        source = meta(inner.operands[0]).dtype
        if not holds_exactly(source, middle):
            return None
        # Integers wrap and floats saturate: -1 as uint8 is 255 directly and 0 through a float.
        if middle.kind == "f" and target.kind in "iu" and not holds_exactly(source, target):
            return None
        return cast(inner.operands[0], target)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        wide = (np.float32, np.float64, np.int64, np.int32, np.bool_)
        scalars = (*wide, np.float16, ml_dtypes.bfloat16, np.int16, np.int8, np.uint8)
        values = np.array([-2.7, -1.0, 0.0, 0.3, 1.0, 5.9, 100.0])
        big = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, -(2.0**63), 255.5, -0.5])
        for source in scalars:
            first = values if source is not np.uint8 else np.abs(values)
            for target in scalars:
                attrs = {"dtype": dt.from_numpy(target)}
                # Finite differences of what was rounded say nothing.
                smooth = source in wide and target is np.float64
                yield Sample((first.astype(source),), attrs, grad=smooth)
        for source in (np.float32, np.float64):
            for target in scalars:
                x = big.astype(source)
                yield Sample((x,), {"dtype": dt.from_numpy(target)}, grad=False)


def _ends(dtype: DType) -> tuple[int, int]:
    """The smallest and largest value of an integer dtype."""
    info = np.iinfo(dtype.numpy)
    return int(info.min), int(info.max)


def _saturated(x: np.ndarray, dtype: DType) -> np.ndarray:
    """Doubles as integers, as `_saturate` computes them."""
    low, high = _ends(dtype)
    inside = (x >= low) & (x < high + 1.0)
    whole = np.where(inside, x, 0).astype(dtype.numpy)
    return np.where(x >= high + 1.0, high, np.where(x < low, low, whole)).astype(dtype.numpy)


def _saturate(s: ScalarBuilder, x: SSAValue, dtype: DType) -> SSAValue:
    """A float as an integer; `arith.fptosi` alone is undefined outside of the integer's range."""
    low, high = _ends(dtype)
    if dt.from_element(x.type).bits == 16:
        x = s.cast(x, f32)  # holds both ends, which a 16-bit float does not
    above, below = s.compare("ge", x, s.like(high + 1.0, x)), s.compare("lt", x, s.like(low, x))
    inside = s.and_(s.compare("ge", x, s.like(low, x)), s.compare("lt", x, s.like(high + 1.0, x)))
    safe = s.select(inside, x, s.like(0.0, x))
    whole = s.cast(safe, dtype.element, unsigned_to=dtype.kind == "u")
    whole = s.select(below, s.like(low, whole), whole)
    return s.select(above, s.like(high, whole), whole)


class Bitcast(Elementwise):
    """The bits of x as another dtype of the same width; no gradient."""

    name = "calque.bitcast"
    ATTRS = {"dtype": DTYPE}
    KINDS = "fiu"

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        (x,), dtype = metas, attrs["dtype"]
        if x.dtype.bits != dtype.bits:
            raise runtime_error(
                f"bitcast: {x.dtype} has {x.dtype.bits} bits per element and {dtype} {dtype.bits}"
            )
        return x.with_dtype(dtype)

    @staticmethod
    def REFERENCE(x: np.ndarray, dtype: DType) -> np.ndarray:
        return x.view(dtype.numpy)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        (x,), dtype = args, attrs["dtype"]
        return x if x.type == dtype.element else s.bitcast(x, dtype.element)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [lower_elementwise(b, node, cls.body)]

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        (x,), target = node.operands, node.attrs["dtype"]
        if node.operand_metas[0].dtype is target:
            return x
        inner = producer(x, cls.name)
        return None if inner is None else bitcast(inner.operands[0], target)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        x = np.array([0.0, -1.5, np.inf, 3e-40], np.float32)
        yield Sample((x,), {"dtype": dt.int32}, grad=False)
        yield Sample((x.view(np.int32),), {"dtype": dt.float32})
        yield Sample((x.astype(np.float64).reshape(2, 2),), {"dtype": dt.int64}, grad=False)
        yield Sample((np.array([-1, 5], np.int8),), {"dtype": dt.uint8})
        yield Sample((np.zeros((0, 2), np.int64),), {"dtype": dt.float64})
        error = (RuntimeError, "calque.float32 has 32 bits per element and calque.int64 64")
        yield Sample((x,), {"dtype": dt.int64}, error=error)


class Detach(Elementwise):
    """x without its gradient."""

    name = "calque.detach"
    KINDS = "fiub"
    REFERENCE = np.copy

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return args[0]

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        # Alone it stays: a derivative may still be taken of this text.
        inner = producer(node.operands[0], cls.name)
        return None if inner is None else inner.results[0]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for sample in elementwise_samples(cls):
            yield Sample(sample.args, grad=False)


class WithData(Elementwise):
    """`data`, differentiated as if it were x: what a write that is not differentiated leaves."""

    name = "calque.with_data"
    KINDS = "fiub"
    ARITY = 2

    @staticmethod
    def REFERENCE(x: np.ndarray, data: np.ndarray) -> np.ndarray:
        return data.copy()

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return args[1]

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return cotangents[0], None

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, data = node.operands
        inner = producer(x, cls.name)
        if inner is not None:
            return bind(cls, (inner.operands[0], data))
        return x if x is data else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for sample in elementwise_samples(cls):
            yield Sample(sample.args, grad=False, error=sample.error)


def where(condition: Value, x: Value | Number, y: Value | Number) -> Value:
    """x where condition is true, else y, promoted and broadcast together."""
    dtype = meta(condition).dtype
    if dtype not in (dt.bool_, dt.uint8):
        raise runtime_error(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{torch_name(dtype)}"
        )
    return bind(Select, spread((condition, x, y), (dt.bool_, *[result_type(x, y)] * 2)))


def cast(x: Value, dtype: DType) -> Value:
    """x as another dtype; x itself where it already has it."""
    return x if meta(x).dtype is dtype else bind(Cast, (x,), {"dtype": dtype})


def bitcast(x: Value, dtype: DType) -> Value:
    """The bits of x as another dtype of the same width; x itself where it already has it."""
    return x if meta(x).dtype is dtype else bind(Bitcast, (x,), {"dtype": dtype})


def detach(x: Value) -> Value:
    """x without its gradient."""
    return bind(Detach, (x,))


OPS = (Select, Cast, Bitcast, Detach, WithData)
