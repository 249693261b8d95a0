"""Sizes in the words of an artifact: integers, symbol names, and expressions over symbols.

Expressions are written with `+ - *`, parentheses and `floordiv(a, b)`, `mod(a, b)`, `min(a, b)`,
`max(a, b)`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_CALLS: dict[str, Callable[[int, int], int]] = {
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": min,
    "max": max,
}


def evaluate(dim: int | str, symbols: Mapping[str, int]) -> int:
    """The value of a size. ValueError for what is not an expression, KeyError for a symbol
    without a value, ZeroDivisionError."""
    if isinstance(dim, int):
        return dim
    if dim in symbols:
        return symbols[dim]
    try:
        return _evaluate(ast.parse(dim, mode="eval").body, symbols)
    except SyntaxError as error:
        raise ValueError(f"'{dim}' is not a size") from error


def _evaluate(node: ast.expr, symbols: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return symbols[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, symbols)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_evaluate(left, symbols), _evaluate(right, symbols))
        case ast.Call(func=ast.Name(id=name), args=[left, right]) if name in _CALLS:
            return _CALLS[name](_evaluate(left, symbols), _evaluate(right, symbols))
    raise ValueError(f"'{ast.unparse(node)}' is not a size")


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a contiguous array."""
    strides: list[int] = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))
