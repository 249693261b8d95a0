"""Where an operator meets tensors: record it in the current trace, or run it at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.op import Op
from .trace import check_escape, current_trace


def apply(op: type[Op], operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The result of an operator on tensors, a tuple where it has several."""
    trace = current_trace()
    if trace is not None:
        return trace.record(op, operands, attrs)
    for x in operands:
        check_escape(x)
    from .autograd import record
    from .eager import execute

    results = execute(op, operands, attrs)
    record(op, operands, attrs, results)
    return results[0] if len(results) == 1 else tuple(results)
