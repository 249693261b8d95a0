"""Where an operator meets tensors: record it in the current trace, or run it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from ..ir.errors import runtime_error
from ..ir.op import Op
from ..ir.ops.creation import constant
from ..ir.ops.view import broadcast_to
from ..ir.types import Shape, TensorMeta
from .current import current_trace
from .storage import Storage
from .symint import SymInt
from .traced import check_escape


class Stale:
    """What was saved for a rule and written since: an error where the rule reads it.

    A product saves both factors, but reads one where only the other needs a gradient.
    """

    def __init__(self, meta: TensorMeta, name: str, index: int, now: int, then: int) -> None:
        self._meta = meta
        self._text = (
            "one of the variables needed for gradient computation has been modified by an "
            f"inplace operation: [{meta}], which is output {index} of {name}, is at version "
            f"{now}; expected version {then} instead."
        )

    def __calque_meta__(self) -> TensorMeta:
        return self._meta

    @staticmethod
    def __calque_bind__(op: type[Op], operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
        for x in operands:
            if isinstance(x, Stale):
                x.fail()
        return apply(op, operands, attrs)  # it only says what a constant is to be like

    def fail(self) -> NoReturn:
        """Raise what a rule that reads it deserves."""
        raise runtime_error(self._text)


@cache
def _eager() -> ModuleType:
    from . import eager

    return eager


@cache
def _record() -> Callable[..., None]:
    from .autograd import record

    return record


def tensor_of(array: np.ndarray) -> Any:
    """The tensor that an array is among tensors; a compiled function reads it on each call."""
    from .creation import from_numpy, tensor

    if current_trace() is None:
        return tensor(array)
    if not array.flags.c_contiguous:
        raise runtime_error(
            f"a NumPy array of shape {array.shape} with strides {array.strides} is read by a "
            "compiled function: make it contiguous with np.ascontiguousarray() outside of it first"
        )
    return from_numpy(array)


def filled(array: np.ndarray, shape: Shape, like: Any) -> Any:
    """A tensor of the shape that holds one number, which an array without dimensions holds."""
    if current_trace() is None:
        return _eager().filled(array, shape, like._meta.device)
    return broadcast_to(constant(array, like), shape)


def apply(op: type[Op], operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The result of an operator on tensors, a tuple where it has several."""
    for x in operands:
        if type(getattr(x, "_storage", None)) is not Storage:  # all else is seldom
            operands = [_operand(x) for x in operands]
            break
    trace = current_trace()
    if trace is not None:
        if any(isinstance(x, SymInt) for x in operands):
            return SymInt.__calque_bind__(op, operands, attrs)
        return trace.record(op, operands, attrs)
    results = _eager().execute(op, operands, attrs)
    _record()(op, operands, attrs, results)
    return results[0] if len(results) == 1 else tuple(results)


def _operand(x: Any) -> Any:
    """What an operator can be applied to: arrays become tensors."""
    if isinstance(x, np.ndarray):
        return tensor_of(x)
    if current_trace() is None:
        check_escape(x)
        if isinstance(x, Stale):
            x.fail()
    return x
