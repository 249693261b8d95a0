"""Arithmetic: sums, products, quotients, signs, the larger and the smaller of two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import frexp
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..errors import runtime_error
from ..op import Node, Sample, Value, bind, meta
from ..scalar import ScalarBuilder
from ..types import TensorMeta
from ._common import Number
from ._elementwise import Binary, Elementwise, elementwise_samples, float_function, function
from ._fold import is_neutral_zero, is_uniform, producer, uniform
from .casting import where
from .comparison import eq, gt, lt
from .creation import constant, full_like


class Add(Binary):
    """x + y; or on bools."""

    name = "calque.add"
    KINDS = "fiub"
    EXACT = True
    REFERENCE = np.add

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        if args[0].type == dt.bool_.element:
            return s.or_(*args)
        return s.add(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,) = cotangents
        return g, g

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, y = node.operands
        if is_neutral_zero(y, negative=True):
            return x
        return y if is_neutral_zero(x, negative=True) else None


class Sub(Binary):
    """x - y."""

    name = "calque.sub"
    EXACT = True
    REFUSES = "Subtraction, the `-` operator, with two bool tensors is not supported"
    REFERENCE = np.subtract

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        if metas[0].dtype is dt.bool_:
            raise runtime_error(f"{cls.REFUSES}. Use the `^` or `logical_xor()` operator instead.")
        return super().infer(*metas)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.sub(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,) = cotangents
        return g, neg(g) if node.needs[1] else None

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, y = node.operands
        return x if is_neutral_zero(y, negative=False) else None


class Mul(Binary):
    """x * y; and on bools."""

    name = "calque.mul"
    KINDS = "fiub"
    EXACT = True
    SAVED = ((0, 1), ())
    REFERENCE = np.multiply

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        if args[0].type == dt.bool_.element:
            return s.and_(*args)
        return s.mul(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (x, y) = cotangents, node.operands
        return (mul(g, y) if node.needs[0] else None, mul(g, x) if node.needs[1] else None)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        dtype = node.result_metas[0].dtype
        for x, y in (node.operands, node.operands[::-1]):
            if is_uniform(y, 1):
                return x
            if dtype.is_signed and is_uniform(y, -1):
                return neg(x)
            if dtype.kind != "f" and is_uniform(y, 0):
                return y
        return None


class Div(Binary):
    """x / y on floats (`div` casts integers first)."""

    name = "calque.div"
    KINDS = "f"
    EXACT = True
    SAVED = ((1,), (0,))
    REFERENCE = np.divide

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.div(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), y, (out,) = cotangents, node.operands[1], node.results
        gx = div(g, y)
        return gx, neg(mul(gx, out)) if node.needs[1] else None

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, y = node.operands
        if is_uniform(y, 1):
            return x
        known, dtype = uniform(y), node.result_metas[0].dtype
        # The reciprocal of a power of two is exact, and so x / y and x * (1 / y) round alike.
        if known is None or abs(frexp(float(known))[0]) != 0.5:
            return None
        exponent = frexp(float(known))[1]
        if dtype.bits == 16 or not -120 < exponent < 120:
            return None
        return mul(x, constant(np.asarray(1 / float(known), dtype.numpy), x))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return kinked(cls)


class Neg(Elementwise):
    """-x."""

    name = "calque.neg"
    EXACT = True
    REFUSES = "Negation, the `-` operator, on a bool tensor is not supported"
    REFERENCE = np.negative

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        if metas[0].dtype is dt.bool_:
            raise runtime_error(
                f"{cls.REFUSES}. If you are trying to invert a mask, use the `~` or "
                "`logical_not()` operator instead."
            )
        return super().infer(*metas)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.neg(args[0])

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (neg(cotangents[0]),)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        inner = producer(node.operands[0], cls.name)
        return None if inner is None else inner.operands[0]


class Abs(Elementwise):
    """|x|; the smallest integer stays itself."""

    name = "calque.abs"
    EXACT = True
    SAVED = ((0,), ())
    REFERENCE = np.abs

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        (x,) = args
        if s.unsigned:
            return x
        if dt.from_element(x.type).is_floating_point:
            return s.math("absf", x)
        return s.maximum(x, s.neg(x))

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(cotangents[0], sign(node.operands[0])),)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        (x,) = node.operands
        if producer(x, cls.name) is not None:
            return x
        inner = producer(x, Neg.name)
        return None if inner is None else abs(inner.operands[0])

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return kinked(cls)


class Sign(Elementwise):
    """-1, 0 or 1; 0 for NaN as in PyTorch. Its gradient is zero."""

    name = "calque.sign"
    EXACT = True

    @staticmethod
    def REFERENCE(x: np.ndarray) -> np.ndarray:
        return np.greater(x, 0).astype(x.dtype) - np.less(x, 0).astype(x.dtype)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        (x,) = args
        zero, one = s.like(0, x), s.like(1, x)
        up = s.select(s.compare("gt", x, zero), one, zero)
        return up if s.unsigned else s.select(s.compare("lt", x, zero), s.like(-1, x), up)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (full_like(cotangents[0], 0),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return kinked(cls)


class Maximum(Binary):
    """The larger of x and y, NaN if either is; equal operands share the gradient."""

    name = "calque.maximum"
    KINDS = "fiub"
    EXACT = True
    SAVED = ((0, 1), ())
    REFERENCE = np.maximum

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.or_(*args) if args[0].type == dt.bool_.element else s.maximum(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (x, y) = cotangents, node.operands
        shared = where(eq(x, y), mul(g, 0.5), g)
        return where(lt(x, y), 0, shared), where(gt(x, y), 0, shared)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, y = node.operands
        return x if x is y else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return kinked(cls)


class Minimum(Binary):
    """The smaller of x and y, NaN if either is; equal operands share the gradient."""

    name = "calque.minimum"
    KINDS = "fiub"
    EXACT = True
    SAVED = ((0, 1), ())
    REFERENCE = np.minimum

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.and_(*args) if args[0].type == dt.bool_.element else s.minimum(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (x, y) = cotangents, node.operands
        shared = where(eq(x, y), mul(g, 0.5), g)
        return where(gt(x, y), 0, shared), where(lt(x, y), 0, shared)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        x, y = node.operands
        return x if x is y else None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return kinked(cls)


def kinked(op: type[Elementwise]) -> Iterable[Sample]:
    """Samples that stay clear of kinks at 0 and of ties, for finite differences."""
    for sample in elementwise_samples(op):
        args = tuple(
            a + np.asarray(np.copysign(0.25 + i, a), a.dtype)
            if sample.grad and a.dtype.kind == "f" and sample.error is None
            else a
            for i, a in enumerate(sample.args)
        )
        yield Sample(args, sample.attrs, sample.grad, sample.error)


add = function(Add)
sub = function(Sub)
mul = function(Mul)
neg = function(Neg)
maximum = function(Maximum)
minimum = function(Minimum)
div = float_function(Div)


def abs(x: Value) -> Value:
    """|x|; bools stay themselves."""
    return x if meta(x).dtype is dt.bool_ else bind(Abs, (x,))


def sign(x: Value) -> Value:
    """-1, 0 or 1; bools stay themselves."""
    return x if meta(x).dtype is dt.bool_ else bind(Sign, (x,))


def square(x: Value) -> Value:
    """x * x."""
    return mul(x, x)


def reciprocal(x: Value | Number) -> Value:
    """1 / x; integers give float32."""
    return div(1, x)


OPS = (Add, Sub, Mul, Div, Neg, Abs, Sign, Maximum, Minimum)
