"""Base classes of the elementwise operators, and what their functions and samples share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float16Type, f32
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..dtype import DType
from ..errors import runtime_error
from ..lowering import LinalgBuilder, Tensor, lower_elementwise
from ..op import Node, Op, Sample, Value
from ..pointwise import Body
from ..scalar import ScalarBuilder
from ..sym import Dim
from ..types import TensorMeta
from ._common import Number, elementwise, same_metas
from ._fold import fold_uniform


class Elementwise(Op):
    """Base: result element i is a function of the operands' elements i, written in `body`."""

    KINDS: ClassVar[str] = "fiu"  # dtype kinds that it accepts
    ARITY: ClassVar[int] = 1
    DOMAIN: ClassVar[tuple[float, float]] = (-3.0, 3.0)
    # `REFERENCE` and `body` give the same bits, so that constants may be folded.
    EXACT: ClassVar[bool] = False
    REFUSES: ClassVar[str] = "not implemented for"  # part of the error for other dtypes

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        result = same_metas(*metas)
        if result.dtype.kind not in cls.KINDS:
            name = cls.name.removeprefix("calque.")
            raise runtime_error(f"\"{name}\" not implemented for '{torch_name(result.dtype)}'")
        return result

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        """The scalar computation."""
        raise NotImplementedError(cls.name)

    @classmethod
    def work(cls, node: Node) -> Dim:
        return node.result_metas[0].numel

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        metas = (*node.operand_metas, *node.result_metas)
        narrow = any(m.dtype.bits == 16 and m.dtype.kind == "f" for m in metas)
        return [lower_elementwise(b, node, cls._in_single(node) if narrow else cls.body)]

    @classmethod
    def _in_single(cls, node: Node) -> Body:
        """`body` in float32 for 16-bit floats, which are rounded once at the end."""
        element = node.result_metas[0].dtype.element

        def body(s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
            wide = [s.cast(x, f32) if isinstance(x.type, _SHORT) else x for x in args]
            return s.cast(cls.body(s, *wide, **attrs), element)

        return body

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return elementwise_samples(cls)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        """A simpler equal value for `fold`: x + 0 is x."""
        return None

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        found = cls.identity(node)
        if found is None and cls.EXACT:
            found = fold_uniform(node)
        return None if found is None else (found,)


class Function(Elementwise):
    """Base of the float functions of one operand that the `math` dialect has as `MATH`."""

    KINDS = "f"
    MATH: ClassVar[str]

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.math(cls.MATH, *args)


class Binary(Elementwise):
    """Base of the operators of two operands."""

    ARITY = 2


class Comparison(Binary):
    """Base of the comparisons: results are bool."""

    KINDS = "fiub"
    EXACT = True
    PREDICATE: ClassVar[str]

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        return super().infer(*metas).with_dtype(dt.bool_)

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.compare(cls.PREDICATE, args[0], args[1])


def torch_name(dtype: DType) -> str:
    """PyTorch's name of a dtype in its messages."""
    return {"bool": "Bool", "int64": "Long", "int32": "Int", "float32": "Float",
            "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "uint8": "Byte",
            "int8": "Char", "int16": "Short"}[dtype.name]  # fmt: skip


_WIDE = {"f": (np.float32, np.float64), "i": (np.int64, np.int32), "b": (np.bool_,), "u": ()}
_NARROW = {
    "f": (np.float16, ml_dtypes.bfloat16),
    "i": (np.int8, np.int16),
    "b": (),
    "u": (np.uint8,),
}
_SHORT = (BFloat16Type, Float16Type)
_SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, 3e38)


def elementwise_samples(op: type[Elementwise]) -> Iterable[Sample]:
    """Ranks 0 to 3, empty and size-1 dimensions, odd lengths, special values, every dtype."""
    rng = np.random.default_rng(0)
    cases = [
        (scalar, shape)
        for table, shapes in (
            (_WIDE, ((), (1,), (5,), (0, 3), (2, 1, 3), (37,))),
            (_NARROW, ((7,),)),
        )
        for kind in op.KINDS
        for scalar in table[kind]
        for shape in shapes
    ]
    for scalar, shape in cases:
        yield Sample(tuple(random_array(rng, op.DOMAIN, scalar, shape) for _ in range(op.ARITY)))
    if "f" in op.KINDS:
        special = np.array(_SPECIAL, np.float32)
        yield Sample(pairs(special, op.ARITY), grad=False)
    if "i" in op.KINDS:
        info = np.iinfo(np.int32)
        extreme = np.array([0, 1, -1, 2, -3, 33, info.min, info.max], np.int32)
        yield Sample(pairs(extreme, op.ARITY), grad=False)
    refused = next((s for k, s in (("f", np.float32), ("b", np.bool_)) if k not in op.KINDS), None)
    if refused is not None:
        error = (RuntimeError, op.REFUSES)
        yield Sample((np.ones(3, refused),) * op.ARITY, error=error)
    if op.ARITY == 2:
        scalar = np.bool_ if "b" in op.KINDS else np.int64 if "i" in op.KINDS else np.float32
        a, b = np.ones(3, scalar), np.ones(4, scalar)
        yield Sample((a, b), error=(RuntimeError, "The size of tensor a (3) must match"))


def pairs(values: np.ndarray, arity: int) -> tuple[np.ndarray, ...]:
    """Every value, or every combination of two of them."""
    if arity == 2:
        return np.repeat(values, len(values)), np.tile(values, len(values))
    return (values,) * arity


def random_array(
    rng: np.random.Generator, domain: tuple[float, float], scalar: Any, shape: tuple[int, ...]
) -> np.ndarray:
    """Values within a domain, without zeros among integers."""
    x = rng.uniform(*domain, shape)
    if scalar is np.bool_:
        return np.asarray(x > 0)
    if np.issubdtype(scalar, np.integer):
        x = np.where(np.round(x) == 0, 1, np.round(x))
        x = np.abs(x) if np.issubdtype(scalar, np.unsignedinteger) else x
    return np.asarray(x).astype(scalar)


def function(op: type[Elementwise]) -> Callable[..., Value]:
    """The function of an operator: promotes, broadcasts, takes Python numbers."""

    def apply(*operands: Value | Number) -> Value:
        return elementwise(op, *operands)

    return _named(apply, op)


def float_function(op: type[Elementwise]) -> Callable[..., Value]:
    """The same for float operators, whose integer operands become float32 as in PyTorch."""

    def apply(*operands: Value | Number) -> Value:
        return elementwise(op, *operands, floats=True)

    return _named(apply, op)


def _named(apply: Callable[..., Value], op: type[Op]) -> Callable[..., Value]:
    apply.__name__ = apply.__qualname__ = op.name.removeprefix("calque.")
    apply.__doc__ = op.__doc__
    return apply
