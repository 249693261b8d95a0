"""Elementwise operators: arithmetic, comparison, selection, casts, transcendentals.

Each is strict: operands have one shape and dtype. The functions below bring them there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import DTYPE
from ..dtype import DType
from ..lowering import LinalgBuilder, Tensor, lower_elementwise
from ..op import Node, Op, Sample, Value, bind, meta
from ..scalar import ScalarBuilder
from ..types import TensorMeta
from ._common import Number, elementwise, result_type, same_metas, spread


class Elementwise(Op):
    """Base: result element i is a function of the operands' elements i, written in `body`."""

    KINDS: ClassVar[str] = "fiu"  # dtype kinds that it accepts
    ARITY: ClassVar[int] = 1
    DOMAIN: ClassVar[tuple[float, float]] = (-3.0, 3.0)

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        result = same_metas(*metas)
        if result.dtype.kind not in cls.KINDS:
            raise RuntimeError(f"\"{cls.name}\" not implemented for '{_torch_name(result.dtype)}'")
        return result

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        """The scalar computation."""
        raise NotImplementedError(cls.name)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [lower_elementwise(b, node, cls.body)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return elementwise_samples(cls)


class Binary(Elementwise):
    """Base of the operators of two operands."""

    ARITY = 2


class Comparison(Binary):
    """Base of the comparisons: results are bool."""

    KINDS = "fiub"
    PREDICATE: ClassVar[str]

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        return super().infer(*metas).with_dtype(dt.bool_)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.compare(cls.PREDICATE, args[0], args[1])


def _torch_name(dtype: DType) -> str:
    """PyTorch's name of a dtype in its messages."""
    return {"bool": "Bool", "int64": "Long", "int32": "Int", "float32": "Float",
            "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "uint8": "Byte",
            "int8": "Char", "int16": "Short"}[dtype.name]  # fmt: skip


def elementwise_samples(op: type[Elementwise]) -> Iterable[Sample]:
    """Ranks 0 to 3, empty and size-1 dimensions, odd lengths, special values, every dtype."""
    rng = np.random.default_rng(0)
    lo, hi = op.DOMAIN
    kinds = {"f": (np.float32, np.float64), "i": (np.int64, np.int32), "b": (np.bool_,), "u": ()}
    for scalar in (t for k in op.KINDS for t in kinds[k]):
        for shape in ((), (1,), (5,), (0, 3), (2, 1, 3), (37,)):
            args = []
            for _ in range(op.ARITY):
                x = rng.uniform(lo, hi, shape)
                if scalar in (np.int64, np.int32):
                    x = np.where(np.round(x) == 0, 1, np.round(x))
                elif scalar is np.bool_:
                    x = x > 0
                args.append(np.asarray(x, scalar))
            yield Sample(tuple(args))
    if "f" in op.KINDS:
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, 3e38], np.float32)
        pairs = [special] * op.ARITY
        if op.ARITY == 2:
            pairs = [np.repeat(special, 9), np.tile(special, 9)]
        yield Sample(tuple(pairs), grad=False)


class Add(Binary):
    """x + y; or on bools."""

    name = "calque.add"
    KINDS = "fiub"
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


class Sub(Binary):
    """x - y."""

    name = "calque.sub"
    REFERENCE = np.subtract

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.sub(*args)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,) = cotangents
        return g, neg(g) if node.needs[1] else None


class Mul(Binary):
    """x * y; and on bools."""

    name = "calque.mul"
    KINDS = "fiub"
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


class Div(Binary):
    """x / y on floats (`div` casts integers first)."""

    name = "calque.div"
    KINDS = "f"
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


class Exp(Elementwise):
    """e to the x."""

    name = "calque.exp"
    KINDS = "f"
    SAVED = ((), (0,))
    REFERENCE = np.exp

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.math("exp", args[0])

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (mul(cotangents[0], node.results[0]),)


class Neg(Elementwise):
    """-x."""

    name = "calque.neg"
    REFERENCE = np.negative

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.neg(args[0])

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        return (neg(cotangents[0]),)


class Greater(Comparison):
    """x > y."""

    name = "calque.gt"
    PREDICATE = "gt"
    REFERENCE = np.greater


class Select(Elementwise):
    """x where the condition holds, else y."""

    name = "calque.select"
    KINDS = "fiub"
    ARITY = 3
    SAVED = ((0,), ())
    REFERENCE = np.where

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        condition, x, y = metas
        if condition.dtype is not dt.bool_:
            raise RuntimeError(
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
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)
        for sample in elementwise_samples(Mul):
            shape = sample.args[0].shape
            yield Sample((rng.random(shape) > 0.5, *sample.args), grad=sample.grad)


class Cast(Elementwise):
    """x as another dtype: floats truncate toward zero to integers, nonzero is true."""

    name = "calque.cast"
    ATTRS = {"dtype": DTYPE}

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        return metas[0].with_dtype(attrs["dtype"])

    @staticmethod
    def REFERENCE(x: np.ndarray, dtype: DType) -> np.ndarray:
        return x.astype(dtype.numpy)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        dtype: DType = attrs["dtype"]
        return s.cast(args[0], dtype.element, unsigned_to=dtype.kind == "u")

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        source = node.operand_metas[0].dtype
        if not source.is_floating_point or not node.attrs["dtype"].is_floating_point:
            return (None,)
        return (cast(cotangents[0], source),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        scalars = (np.float32, np.float64, np.int64, np.int32, np.bool_)
        values = np.array([-2.7, -1.0, 0.0, 0.3, 1.0, 5.9, 100.0])
        for source in scalars:
            for target in scalars:
                yield Sample((values.astype(source),), {"dtype": dt.from_numpy(target)})


# ---- the functions -------------------------------------------------------------------------


def _function(op: type[Elementwise]) -> Callable[..., Value]:
    def apply(*operands: Value | Number) -> Value:
        return elementwise(op, *operands)

    apply.__name__ = op.name.removeprefix("calque.")
    apply.__doc__ = op.__doc__
    return apply


add = _function(Add)
sub = _function(Sub)
mul = _function(Mul)
neg = _function(Neg)
gt = _function(Greater)


def _floating(*operands: Value | Number) -> DType:
    """The dtype in which a float function computes: integers become float32."""
    dtype = result_type(*operands)
    return dtype if dtype.is_floating_point else dt.float32


def div(x: Value | Number, y: Value | Number) -> Value:
    """x / y; integers give float32 as in PyTorch."""
    return elementwise(Div, x, y, dtype=_floating(x, y))


def exp(x: Value) -> Value:
    """e to the x; integers are cast to float32 first."""
    return elementwise(Exp, x, dtype=_floating(x))


def where(condition: Value, x: Value | Number, y: Value | Number) -> Value:
    """x where condition is true, else y, promoted and broadcast together."""
    return bind(Select, spread((condition, x, y), (dt.bool_, *[result_type(x, y)] * 2)))


def cast(x: Value, dtype: DType) -> Value:
    """x as another dtype; x itself where it already has it."""
    return x if meta(x).dtype is dtype else bind(Cast, (x,), {"dtype": dtype})


OPS: tuple[type[Op], ...] = (Add, Sub, Mul, Div, Exp, Neg, Greater, Select, Cast)
