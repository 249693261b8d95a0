"""What the fuzzer's programs are made of: op functions, with their domains kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from calque.ir import ops
from calque.ir.op import Value, meta
from calque.ir.ops.slice import Slice
from calque.ir.ops.view import Reshape, Transpose


@dataclass(frozen=True)
class Function:
    """`grows` maps the operands' largest magnitudes to the result's; `exact` functions give the
    same bits everywhere; `jumps` where operands have to be exact for the result to be near."""

    apply: Callable[..., Value]
    grows: Callable[..., float] = lambda *x: max(x)
    exact: bool = True
    jumps: bool = False


def _inexact(apply: Callable[..., Value], limit: float) -> Function:
    """A smooth function with values below `limit`."""
    return Function(apply, lambda *_: limit, exact=False)


def _near(x: Value, bound: float) -> Value:
    """x kept within -bound … bound."""
    return ops.clamp(x, -bound, bound)


def _away(x: Value) -> Value:
    """x kept away from 0, positive."""
    return ops.add(ops.abs(x), 0.5)


def _nonzero(x: Value) -> Value:
    """An integer kept from 0, positive."""
    return ops.add(ops.abs(x), 1)


# Functions of one float operand, of the same shape and dtype as it.
UNARY = {
    "neg": Function(ops.neg),
    "abs": Function(ops.abs),
    "relu": Function(ops.relu),
    "clamp": Function(lambda x: ops.clamp(x, -0.75, 1.5)),
    "half": Function(lambda x: ops.mul(x, 0.5)),
    "square": Function(lambda x: ops.square(_near(x, 30.0)), lambda x: 900.0),
    "sqrt": Function(lambda x: ops.sqrt(_away(x))),
    "reciprocal": Function(lambda x: ops.reciprocal(_away(x)), lambda x: 2.0),
    "rsqrt": _inexact(lambda x: ops.rsqrt(_away(x)), 2),
    "exp": _inexact(lambda x: ops.exp(_near(x, 4.0)), 55),
    "exp2": _inexact(lambda x: ops.exp2(_near(x, 4.0)), 16),
    "expm1": _inexact(lambda x: ops.expm1(_near(x, 4.0)), 55),
    "log": _inexact(lambda x: ops.log(_away(x)), 20),
    "log2": _inexact(lambda x: ops.log2(_away(x)), 30),
    "log10": _inexact(lambda x: ops.log10(_away(x)), 10),
    "log1p": _inexact(lambda x: ops.log1p(ops.abs(x)), 20),
    "tanh": _inexact(ops.tanh, 1),
    "sigmoid": _inexact(ops.sigmoid, 1),
    "erf": _inexact(ops.erf, 1),
    "sin": _inexact(lambda x: ops.sin(_near(x, 50.0)), 1),
    "cos": _inexact(lambda x: ops.cos(_near(x, 50.0)), 1),
    "atan": _inexact(ops.atan, 2),
    "gelu": Function(ops.gelu, exact=False),
    "gelu_tanh": Function(
        lambda x: ops.gelu(_near(x, 20.0), approximate="tanh"), lambda x: 20, exact=False
    ),
    "silu": Function(ops.silu, exact=False),
    "softplus": Function(ops.softplus, lambda x: x + 1, exact=False),
    "pow": _inexact(lambda x: ops.pow(_away(_near(x, 8.0)), 1.7), 50),
    "floor": Function(ops.floor, lambda x: x + 1, jumps=True),
    "ceil": Function(ops.ceil, lambda x: x + 1, jumps=True),
    "round": Function(ops.round, lambda x: x + 1, jumps=True),
    "trunc": Function(ops.trunc, jumps=True),
    "sign": Function(ops.sign, lambda x: 1, jumps=True),
    "detach": Function(ops.detach),
}

# Of two float operands.
BINARY = {
    "add": Function(ops.add, lambda x, y: x + y),
    "sub": Function(ops.sub, lambda x, y: x + y),
    "mul": Function(ops.mul, lambda x, y: x * y),
    "div": Function(lambda x, y: ops.div(x, _away(y)), lambda x, y: 2 * x),
    "maximum": Function(ops.maximum),
    "minimum": Function(ops.minimum),
    "atan2": Function(ops.atan2, lambda x, y: 4, exact=False, jumps=True),
    "pow2": Function(
        lambda x, y: ops.pow(_away(_near(x, 4.0)), _near(y, 3.0)), lambda x, y: 100, exact=False
    ),
    "remainder": Function(lambda x, y: ops.remainder(x, _away(y)), lambda x, y: y + 1, jumps=True),
    "floor_divide": Function(
        lambda x, y: ops.floor_divide(x, _away(y)), lambda x, y: 2 * x + 1, jumps=True
    ),
}

COMPARE = {
    name: Function(getattr(ops, name), lambda x, y: 1, jumps=True)
    for name in ("eq", "ne", "lt", "le", "gt", "ge")
}

INTEGER_UNARY = {
    "ineg": Function(ops.neg),
    "iabs": Function(ops.abs),
    "imod": Function(lambda x: ops.remainder(x, 7), lambda x: 7),
    "inot": Function(ops.bitwise_not, lambda x: x + 1),
    "shift_left": Function(lambda x: ops.shift_left(x, 2), lambda x: 4 * x),
    "shift_right": Function(lambda x: ops.shift_right(x, 1)),
}

INTEGER_BINARY = {
    "iadd": Function(ops.add, lambda x, y: x + y),
    "isub": Function(ops.sub, lambda x, y: x + y),
    "imul": Function(ops.mul, lambda x, y: x * y),
    "imaximum": Function(ops.maximum),
    "iminimum": Function(ops.minimum),
    "iremainder": Function(lambda x, y: ops.remainder(x, _nonzero(y)), lambda x, y: y + 1),
    "ifloor_divide": Function(lambda x, y: ops.floor_divide(x, _nonzero(y)), lambda x, y: x + 1),
    "bitwise_and": Function(ops.bitwise_and, lambda x, y: 2 * max(x, y)),
    "bitwise_or": Function(ops.bitwise_or, lambda x, y: 2 * max(x, y)),
    "bitwise_xor": Function(ops.bitwise_xor, lambda x, y: 2 * max(x, y)),
}

BOOL_UNARY = {"logical_not": Function(ops.logical_not)}
BOOL_BINARY = {
    name: Function(getattr(ops, name)) for name in ("logical_and", "logical_or", "logical_xor")
}


# One view: ("slice", starts, limits, strides), ("transpose", perm) or ("reshape", shape).
View: TypeAlias = tuple[Any, ...]


def _view(x: Value, view: View) -> Value:
    kind, *args = view
    return {"slice": ops.slice_, "transpose": ops.permute, "reshape": ops.reshape}[kind](x, *args)


def _views(x: Value, views: tuple[View, ...]) -> Value:
    """x through a chain of views."""
    for view in views:
        x = _view(x, view)
    return x


def _write(base: Value, new: Value, views: tuple[View, ...]) -> Value:
    """base with what a chain of views shows of it replaced by `new`."""
    bases = [base]
    for view in views[:-1]:
        bases.append(_view(bases[-1], view))
    for (kind, *args), inner in zip(reversed(views), reversed(bases), strict=True):
        if kind == "slice":
            starts, limits, strides = args
            attrs = {"starts": starts, "limits": limits, "strides": strides}
            new = Slice.unview(inner, new, attrs)
        elif kind == "transpose":
            new = Transpose.unview(inner, new, {"perm": args[0]})
        else:
            new = Reshape.unview(inner, new, {"shape": args[0]})
    return new


def _random(key: Value, counter: Value, shape: tuple[Any, ...]) -> Value:
    return ops.bitwise_and(ops.random_bits(key, counter, shape), 15)


def _fractions(x: Value) -> Value:
    """Factors near 1, so that products stay finite."""
    return ops.add(ops.mul(_near(x, 4.0), 0.0625), 1.0)


SHAPED = {
    "where": Function(ops.where, lambda c, x, y: max(x, y)),
    "cast": Function(ops.cast),
    "truncate": Function(lambda x, dtype: ops.cast(_near(x, 1e6), dtype), jumps=True),
    "views": Function(_views),
    "write": Function(_write),
    "expand": Function(lambda x, shape: ops.broadcast_to(x, shape)),
    "pad": Function(lambda x, low, high, interior, value: ops.pad(x, low, high, interior, value)),
    "concatenate": Function(lambda *x, dim: ops.concatenate(x, dim)),
    "stack": Function(lambda *x, dim: ops.stack(x, dim)),
    "sum": Function(ops.sum, lambda x: 100 * x, exact=False),
    "isum": Function(ops.sum, lambda x: 100 * x),
    "mean": Function(ops.mean, exact=False),
    "prod": Function(lambda x, **a: ops.prod(_fractions(x), **a), lambda x: 1e6, exact=False),
    "amax": Function(ops.amax),
    "amin": Function(ops.amin),
    "var": Function(lambda x, **a: ops.var(x, correction=0, **a), lambda x: x * x, exact=False),
    "argmax": Function(ops.argmax, lambda x: 100, jumps=True),
    "argmin": Function(ops.argmin, lambda x: 100, jumps=True),
    "any": Function(ops.any),
    "all": Function(ops.all),
    "softmax": Function(ops.softmax, lambda x: 1, exact=False),
    "log_softmax": Function(ops.log_softmax, lambda x: 2 * x + 10, exact=False),
    "logsumexp": Function(ops.logsumexp, lambda x: x + 10, exact=False),
    "matmul": Function(ops.matmul, lambda x, y: 50 * x * y, exact=False),
    "imatmul": Function(ops.matmul, lambda x, y: 50 * x * y),
    "conv": Function(
        lambda x, w, **a: ops.conv(x, w, None, **a), lambda x, y: 50 * x * y, exact=False
    ),
    "max_pool": Function(ops.max_pool),
    "avg_pool": Function(ops.avg_pool, exact=False),
    "gather": Function(lambda x, i, dim: ops.gather(x, dim, i), lambda x, i: x),
    "take": Function(lambda x, i, dim: ops.take(x, dim, i), lambda x, i: x),
    "scatter_add": Function(
        lambda x, i, s, dim: ops.scatter_add(x, dim, i, s), lambda x, i, s: x + 10 * s, exact=False
    ),
    "scatter": Function(lambda x, i, s, dim: ops.scatter(x, dim, i, s), lambda x, i, s: max(x, s)),
    "index_add": Function(
        lambda x, i, s, dim: ops.index_add(x, dim, i, s), lambda x, i, s: x + 10 * s, exact=False
    ),
    "index_copy": Function(
        lambda x, i, s, dim: ops.index_copy(x, dim, i, s), lambda x, i, s: max(x, s)
    ),
    "random": Function(_random, lambda k, c: 16),
    "iota": Function(lambda x, size, dtype: ops.iota(size, dtype, x), lambda x: 200),
    "full": Function(lambda x, shape, value: ops.full(shape, value, meta(x).dtype, x), lambda x: 3),
    "size": Function(
        lambda x, size: ops.mul(x, ops.cast(_size(size, x), meta(x).dtype)), lambda x: 200 * x
    ),
}


def _size(value: Any, like: Value) -> Value:
    found = ops.size(value, like)
    return ops.constant(np.asarray(found), like) if isinstance(found, int) else found


FUNCTIONS: dict[str, Function] = {
    **UNARY,
    **BINARY,
    **COMPARE,
    **INTEGER_UNARY,
    **INTEGER_BINARY,
    **BOOL_UNARY,
    **BOOL_BINARY,
    **SHAPED,
}
