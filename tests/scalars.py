"""Runs the scalar code of operator bodies on whole NumPy arrays, strictly.

What MLIR leaves undefined (dividing an integer by zero, shifting by the width, converting a float
that does not fit) fails here, even where a `select` would throw the result away.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from calque.ir import dtype as dt

_COMPARE_FLOAT = {1: np.equal, 2: np.greater, 3: np.greater_equal, 4: np.less, 5: np.less_equal}
_COMPARE_INT = [np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal]


def _numpy(type_: Attribute) -> np.dtype:
    return dt.from_element(type_).numpy


def _unsigned(x: np.ndarray) -> np.ndarray:
    return x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "i" else x


def _divide(function: Callable[..., np.ndarray], signed: bool) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        assert (y != 0).all(), "an integer division by zero"
        if not signed:
            return function(_unsigned(x), _unsigned(y)).view(x.dtype)
        assert not ((x == np.iinfo(x.dtype).min) & (y == -1)).any(), "an integer overflow"
        return function(x, y)

    return run


def _truncated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    uneven = (x % y != 0) & ((x < 0) != (y < 0))
    return (x // y + uneven).astype(x.dtype)


def _shift(function: Callable[..., np.ndarray], signed: bool) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        bits = x.dtype.itemsize * 8
        assert ((_unsigned(y) >= 0) & (_unsigned(y) < bits)).all(), "a shift beyond the width"
        return function(x, y) if signed else function(_unsigned(x), _unsigned(y)).view(x.dtype)

    return run


def _propagate(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda x, y: function(_unsigned(x), _unsigned(y)).view(x.dtype)


def _fma(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    wide = np.longdouble
    if x.dtype == np.float64:
        return (x.astype(wide) * y.astype(wide) + z.astype(wide)).astype(x.dtype)
    return (x.astype(np.float64) * y + z).astype(x.dtype)


_PLAIN: dict[str, Callable[..., Any]] = {
    "arith.addf": np.add, "arith.addi": np.add, "arith.subf": np.subtract,
    "arith.subi": np.subtract, "arith.mulf": np.multiply, "arith.muli": np.multiply,
    "arith.divf": np.divide, "arith.negf": np.negative,
    "arith.divsi": _divide(_truncated, True), "arith.divui": _divide(np.floor_divide, False),
    "arith.remsi": _divide(np.fmod, True), "arith.remui": _divide(np.remainder, False),
    "arith.maximumf": np.maximum, "arith.minimumf": np.minimum,
    "arith.maxsi": np.maximum, "arith.minsi": np.minimum,
    "arith.maxui": _propagate(np.maximum), "arith.minui": _propagate(np.minimum),
    "arith.andi": np.bitwise_and, "arith.ori": np.bitwise_or, "arith.xori": np.bitwise_xor,
    "arith.shli": _shift(np.left_shift, True), "arith.shrsi": _shift(np.right_shift, True),
    "arith.shrui": _shift(np.right_shift, False), "arith.select": np.where,
    "math.absf": np.abs, "math.floor": np.floor, "math.ceil": np.ceil, "math.trunc": np.trunc,
    "math.roundeven": np.round, "math.copysign": np.copysign, "math.fma": _fma,
    "math.exp": np.exp, "math.exp2": np.exp2, "math.expm1": np.expm1, "math.log": np.log,
    "math.log2": np.log2, "math.log10": np.log10, "math.log1p": np.log1p, "math.sqrt": np.sqrt,
    "math.rsqrt": lambda x: 1 / np.sqrt(x), "math.sin": np.sin, "math.cos": np.cos,
    "math.tan": np.tan, "math.tanh": np.tanh, "math.asin": np.arcsin, "math.acos": np.arccos,
    "math.atan": np.arctan, "math.atan2": np.arctan2, "math.sinh": np.sinh, "math.cosh": np.cosh,
    "math.powf": np.power, "math.erf": np.vectorize(erf, otypes=[np.float64]),
}  # fmt: skip


def _convert(op: Operation, x: np.ndarray) -> np.ndarray:
    target = _numpy(op.results[0].type)
    match op.name.removeprefix("arith."):
        case "extui" | "uitofp":
            return _unsigned(x).astype(target)
        case "fptosi" | "fptoui":
            if op.name.endswith("fptoui"):
                target = np.dtype(f"u{target.itemsize}")
            info = np.iinfo(target)
            whole = np.trunc(x.astype(np.float64))
            assert ((whole >= info.min) & (whole < info.max + 1.0)).all(), "a float does not fit"
            return x.astype(target).view(_numpy(op.results[0].type))
        case "bitcast":
            return x.view(target)
    return x.astype(target)


def _step(op: Operation, args: list[np.ndarray]) -> np.ndarray:
    if isinstance(op, arith.ConstantOp):
        value = op.value
        assert isinstance(value, IntegerAttr | FloatAttr)
        return np.asarray(value.value.data).astype(_numpy(op.results[0].type))
    if isinstance(op, arith.CmpfOp):
        code = op.predicate.value.data
        return np.not_equal(*args) if code == 13 else _COMPARE_FLOAT[code](*args)
    if isinstance(op, arith.CmpiOp):
        code = op.predicate.value.data
        if code > 5:
            args, code = [_unsigned(a) for a in args], code - 4
        return _COMPARE_INT[code](*args)
    if op.name in _PLAIN:
        return np.asarray(_PLAIN[op.name](*args)).astype(_numpy(op.results[0].type))
    return _convert(op, args[0])


def run(block: Block, result: SSAValue, arrays: list[np.ndarray]) -> np.ndarray:
    """The result of a block of scalar operations on every element of the arrays.

    Arrays are of the block's argument types, in which integers have no sign.
    """
    values: dict[SSAValue, np.ndarray] = dict(zip(block.args, arrays, strict=True))
    with np.errstate(all="ignore"):
        for op in block.ops:
            values[op.results[0]] = _step(op, [values[v] for v in op.operands])
    return values[result]
