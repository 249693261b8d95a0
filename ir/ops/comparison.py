"""Comparisons and tests of values; their results are bool and have no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..op import Node, Value, bind, meta
from ..scalar import ScalarBuilder
from ..types import TensorMeta
from ._common import Number
from ._elementwise import Comparison, Elementwise, function
from .creation import full_like


class Eq(Comparison):
    """x == y."""

    name = "calque.eq"
    PREDICATE = "eq"
    REFERENCE = np.equal


class Ne(Comparison):
    """x != y; true where either is NaN."""

    name = "calque.ne"
    PREDICATE = "ne"
    REFERENCE = np.not_equal


class Lt(Comparison):
    """x < y."""

    name = "calque.lt"
    PREDICATE = "lt"
    REFERENCE = np.less


class Le(Comparison):
    """x <= y."""

    name = "calque.le"
    PREDICATE = "le"
    REFERENCE = np.less_equal


class Gt(Comparison):
    """x > y."""

    name = "calque.gt"
    PREDICATE = "gt"
    REFERENCE = np.greater


class Ge(Comparison):
    """x >= y."""

    name = "calque.ge"
    PREDICATE = "ge"
    REFERENCE = np.greater_equal


class Test(Elementwise):
    """Base of the tests of one float."""

    KINDS = "f"
    EXACT = True
    ANSWER = False  # the answer for all integers

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        return super().infer(*metas).with_dtype(dt.bool_)

    @classmethod
    def identity(cls, node: Node) -> Value | None:
        return None


class Isnan(Test):
    """Whether x is NaN."""

    name = "calque.isnan"
    REFERENCE = np.isnan

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        return s.isnan(args[0])


class Isinf(Test):
    """Whether x is infinite."""

    name = "calque.isinf"
    REFERENCE = np.isinf

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        size = s.math("absf", args[0])
        return s.compare("eq", size, s.infinity(size))


class Isfinite(Test):
    """Whether x is neither infinite nor NaN."""

    name = "calque.isfinite"
    ANSWER = True
    REFERENCE = np.isfinite

    @classmethod
    def body(cls, s: ScalarBuilder, *args: SSAValue, **attrs: Any) -> SSAValue:
        size = s.math("absf", args[0])
        return s.compare("lt", size, s.infinity(size))


eq = function(Eq)
ne = function(Ne)
lt = function(Lt)
le = function(Le)
gt = function(Gt)
ge = function(Ge)


def _test(op: type[Test], x: Value) -> Value:
    if not meta(x).dtype.is_floating_point:
        return full_like(x, op.ANSWER, dt.bool_)
    return bind(op, (x,))


def isnan(x: Value) -> Value:
    """Whether x is NaN, elementwise; false for integers."""
    return _test(Isnan, x)


def isinf(x: Value) -> Value:
    """Whether x is infinite, elementwise; false for integers."""
    return _test(Isinf, x)


def isfinite(x: Value) -> Value:
    """Whether x is neither infinite nor NaN, elementwise; true for integers."""
    return _test(Isfinite, x)


def truth(x: Value) -> Value:
    """x as bool: whether it differs from 0."""
    return x if meta(x).dtype is dt.bool_ else ne(x, zero(x))


def zero(x: Value) -> Number:
    """The Python zero of x's category, so that comparing with it promotes nothing."""
    dtype = meta(x).dtype
    return False if dtype is dt.bool_ else 0.0 if dtype.is_floating_point else 0


OPS = (Eq, Ne, Lt, Le, Gt, Ge, Isnan, Isinf, Isfinite)
