"""What `fold` rules ask of IR values: their producers and constants."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from .. import dtype as dt
from ..op import Node, Op, Value, evaluate
from ..types import meta_of

# Operators that repeat or rearrange elements, through which a uniform constant stays itself.
_UNIFORM = {"calque.broadcast_to", "calque.reshape", "calque.transpose", "calque.slice"}


def producer(value: Value, name: str) -> Op | None:
    """The operation behind an IR value if it is the operator called `name`."""
    owner = value.owner if isinstance(value, SSAValue) else None
    return owner if isinstance(owner, Op) and owner.name == name else None


def uniform(value: Value) -> np.ndarray | None:
    """The 0-d constant that every element of an IR value is known to be, or None."""
    owner: Any = value.owner
    while isinstance(owner, Operation) and owner.name in _UNIFORM:
        owner = owner.operands[0].owner
    if not isinstance(owner, Op) or owner.name != "calque.constant":
        return None
    array: np.ndarray = owner.attrs["value"]
    if array.size == 0:
        return None
    first = array.reshape(-1)[:1]
    if array.size > 1 and array.tobytes() != first.tobytes() * array.size:
        return None
    return first.reshape(())


def is_uniform(value: Value, number: float) -> bool:
    """Whether every element is known to be `number`; -0.0 and 0.0 differ."""
    known = uniform(value)
    if known is None or known != number:
        return False
    return bool(np.signbit(float(known)) == np.signbit(float(number)))


def is_neutral_zero(value: Value, *, negative: bool) -> bool:
    """Whether adding (`negative`) or subtracting this constant changes nothing.

    x + -0.0 and x - 0.0 are x for every x, while -0.0 + 0.0 is 0.0. Integers have one zero.
    """
    zero = -0.0 if negative and meta_of(value).dtype.kind == "f" else 0.0
    return is_uniform(value, zero)


def fold_uniform(node: Node) -> Value | None:
    """An operator of uniform constants as a constant, computed by the reference."""
    from .creation import constant
    from .view import broadcast_to

    known = [uniform(v) for v in node.operands]
    arrays = [a for a in known if a is not None]
    if len(arrays) != len(known):
        return None
    result = evaluate(node.op, arrays, node.attrs)
    return broadcast_to(constant(result, node.operands[0]), node.result_metas[0].shape)


def holds_exactly(source: dt.DType, target: dt.DType) -> bool:
    """Whether every value of `source` is a value of `target`."""
    if source is target or source.kind == "b":
        return True
    if target.kind == "b":
        return False
    if source.kind == "f":
        return target.kind == "f" and target.bits > source.bits
    bits = source.bits - (source.kind == "i")
    if target.kind == "f":
        return bits <= _MANTISSA[target.name]
    if target.kind == "u":
        return source.kind == "u" and target.bits >= source.bits
    return bits <= target.bits - 1


_MANTISSA = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
