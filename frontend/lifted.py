"""Operators on tensors that may stand for Python numbers.

A float argument of a compiled function and an optimizer's learning rate are traced as 0-d float64
tensors whose value is read anew on each call. They promote as the floats that they are eagerly
(`__calque_weak__`), and so does what Python's operators make of them and other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.dtype import float64
from ..ir.ops._common import adopted, is_number, is_weak
from .current import current_trace
from .symint import SymInt

if TYPE_CHECKING:
    from .tensor import Tensor

_PLAIN = (bool, int, float, np.ndarray, np.generic)


def operate(function: Callable[..., Any], *operands: Any) -> Any:
    """`function` for a Python operator; NotImplemented for what no tensor can be combined with."""
    weak = False
    for x in operands:
        stands = getattr(x, "__calque_weak__", None)  # all tensors say whether for a number
        if stands:
            weak = True
        elif stands is None and not (isinstance(x, _PLAIN) or hasattr(x, "__calque_meta__")):
            return NotImplemented
    if weak:
        operands = tuple(adopted(operands))
        if all(is_weak(x) or is_number(x) or isinstance(x, SymInt) for x in operands):
            return _number(function, operands)
    return function(*operands)


def _number(function: Callable[..., Any], operands: tuple[Any, ...]) -> Tensor:
    """What Python would compute, in its precision: a number again unless it is a truth value."""
    made = function(*(plain(x) if is_weak(x) else x for x in operands))
    made.__calque_weak__ = made.dtype is float64
    return made


def plain(x: Tensor) -> Tensor:
    """The 0-d float64 tensor itself."""
    trace = current_trace()
    assert trace is not None, "only traces lift numbers"
    return trace.wrap(trace.value(x))
