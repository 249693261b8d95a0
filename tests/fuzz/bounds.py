"""How far compiled code may be from the interpreter: forward error analysis of `graph` programs.

Each value carries a bound of what rounding may have done to it. Operators whose arithmetic is
defined to the bit add nothing, so programs made of them must agree exactly; a sum adds its length
times the unit roundoff times the sum of magnitudes; an elementary function adds a few units in the
last place; and what an operand was off by goes through the function itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from calque.ir.interpreter import bind_sizes, lookup, resolve
from calque.ir.op import Op, evaluate
from calque.ir.ops.elementwise import Elementwise

Array = np.ndarray
# Units in the last place that an elementary function may be off, in the interpreter or compiled.
ULPS = 8

Rule = Callable[[type[Op], Sequence[Array], Sequence[Array], dict[str, Any], Array], Array]


def bounds(module: ModuleOp, args: Sequence[Array]) -> list[tuple[Array, Array]]:
    """For each result of `@main`: its value, and a bound of its error (float64)."""
    main = lookup(module, "main")
    sizes = bind_sizes(main, args)
    block = main.body.block
    env: dict[SSAValue, tuple[Array, Array]] = {
        v: (a, np.zeros(a.shape)) for v, a in zip(block.args, args, strict=True)
    }
    for op in block.ops:
        if not isinstance(op, Op):
            break
        operands = [env[v] for v in op.operands]
        attrs = {k: resolve(v, sizes) for k, v in op.attrs.items()}
        values = [v for v, _ in operands]
        errors = [e for _, e in operands]
        results = evaluate(type(op), values, attrs)
        results = results if isinstance(results, tuple) else (results,)
        rule = RULES.get(op.name) or (_elementwise if isinstance(op, Elementwise) else None)
        if rule is None:
            raise NotImplementedError(f"no error bound for '{op.name}'")
        for value, result in zip(op.results, results, strict=True):
            if any(e.any() for e in errors) or op.name not in EXACT:
                with np.errstate(all="ignore"):
                    error = rule(type(op), values, errors, attrs, result)
            else:
                error = np.zeros(result.shape)
            env[value] = (result, np.where(np.isnan(error), np.inf, error))
    return_op = block.last_op
    assert return_op is not None
    return [env[v] for v in return_op.operands]


def roundoff(x: Array) -> float:
    """The unit roundoff of a float dtype, 0 for others."""
    return float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 0.0


def _reference(op: type[Op], operands: Sequence[Array], attrs: dict[str, Any]) -> Array:
    assert op.REFERENCE is not None
    return np.asarray(op.REFERENCE(*operands, **attrs), np.float64)


def _wide(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _elementwise(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    """The function at the ends of the operands' intervals, and its own rounding."""
    error = np.zeros(result.shape)
    if not (issubclass(op, Elementwise) and op.EXACT):
        error += ULPS * roundoff(result) * np.abs(result) + _tiny(result)
    moving = [i for i, e in enumerate(errors) if e.any()]
    if not moving:
        return error
    error += roundoff(result) * np.abs(result)
    middle = _reference(op, [_wide(v) for v in values], attrs)
    for signs in itertools.product((-1, 1), repeat=len(moving)):
        moved = [_wide(v) for v in values]
        for i, sign in zip(moving, signs, strict=True):
            if values[i].dtype.kind == "f":
                moved[i] = moved[i] + sign * errors[i]
            else:  # an integer or truth value that is off may be anything
                error = np.where(errors[i] > 0, np.inf, error)
        error = np.maximum(error, np.abs(_reference(op, moved, attrs) - middle) * 1.01 + error)
    if result.dtype.kind != "f":
        error = np.where(error >= 0.5, np.inf, error)
    return error


def _tiny(result: Array) -> float:
    return float(np.finfo(result.dtype).tiny) if result.dtype.kind == "f" else 0.0


def _moved(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    """Elements are only moved: their errors go with them."""
    parts = list(errors)
    if op.name in _INDEXED:
        parts[1] = values[1]
    return np.maximum(_reference(op, parts, attrs), 0)


_INDEXED = frozenset(
    ("calque.gather", "calque.pick", "calque.take", "calque.scatter", "calque.index_copy")
)


def _sum(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    (x,), (e,) = values, errors
    terms = np.prod(attrs["kernel"]) if "kernel" in attrs else x.size // max(result.size, 1)
    magnitude = _reference(op, [np.abs(_wide(x)) + e], attrs)
    return _reference(op, [e], attrs) + terms * roundoff(result) * magnitude


def _prod(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    (x,), (e,) = values, errors
    terms = max(x.shape) if x.shape else 1
    terms = max(terms, x.size // max(result.size, 1))
    below = _reference(op, [np.abs(_wide(x))], attrs)
    above = _reference(op, [np.abs(_wide(x)) + e], attrs)
    return above - below + terms * roundoff(result) * above


def _extremum(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    return np.max(errors[0], axis=attrs["dims"], keepdims=attrs["keepdim"], initial=0)


def _discontinuous(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    off = any(e.any() for e in errors)
    return np.full(result.shape, np.inf if off else 0.0)


def _bilinear(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    """Matrix products and convolutions."""
    a, b = (np.abs(_wide(v)) for v in values)
    terms = a.shape[-1] if op.name == "calque.matmul" else b[0].size
    magnitude = _reference(op, [a + errors[0], b + errors[1]], attrs)
    exact = _reference(op, [a, b], attrs)
    return magnitude - exact + (terms + 1) * roundoff(result) * magnitude


def _softmax(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    (x,), (e,), dim = values, errors, attrs["dim"]
    peak = np.max(e, axis=dim, keepdims=True, initial=0)
    spread = np.ptp(x, axis=dim, keepdims=True) if x.size else np.zeros_like(peak)
    own = (x.shape[dim] + ULPS + spread) * roundoff(result)
    if op.name == "calque.softmax":
        return np.abs(result) * (2 * peak + own) * 1.1 + _tiny(result)
    return 2 * peak + own + ULPS * roundoff(result) * np.abs(result)


def _accumulated(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    """scatter_add and index_add: base and source are added up, in whatever order."""
    base, index, source = values
    magnitude = _reference(
        op, [np.abs(_wide(base)) + errors[0], index, np.abs(_wide(source)) + errors[2]], attrs
    )
    terms = _reference(op, [np.ones(base.shape), index, np.ones(source.shape)], attrs)
    return _reference(op, [errors[0], index, errors[2]], attrs) + (
        terms * roundoff(result) * magnitude
    )


_MOVING = frozenset(
    (
        "calque.broadcast_to", "calque.reshape", "calque.transpose", "calque.slice", "calque.pad",
        "calque.concatenate", "calque.slice_update", "calque.detach", "calque.check_range",
        "calque.gather", "calque.pick", "calque.take", "calque.scatter", "calque.index_copy",
        "calque.max_pool",
    )
)  # fmt: skip
_DISCRETE = frozenset(
    (
        "calque.any", "calque.all", "calque.argmax", "calque.argmin", "calque.argmax_pool",
        "calque.check_index", "calque.constant", "calque.iota", "calque.size",
        "calque.random_bits",
    )
)  # fmt: skip


def _pool_gradient(
    op: type[Op], values: Sequence[Array], errors: Sequence[Array], attrs: dict[str, Any],
    result: Array,
) -> Array:  # fmt: skip
    (g, tap), terms = values, np.prod(attrs["kernel"])
    magnitude = _reference(op, [np.abs(_wide(g)), tap], attrs)
    return _reference(op, [errors[0], tap], attrs) + terms * roundoff(result) * magnitude


# Operators that add no error of their own: without errors of operands there is nothing to do.
EXACT = _MOVING | _DISCRETE | {"calque.amax", "calque.amin"}

RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVING, _moved),
    **dict.fromkeys(_DISCRETE, _discontinuous),
    "calque.sum": _sum,
    "calque.max_pool_grad": _pool_gradient,
    "calque.prod": _prod,
    "calque.exclusive_prod": _prod,
    "calque.sum_pool": _sum,
    "calque.amax": _extremum,
    "calque.amin": _extremum,
    "calque.matmul": _bilinear,
    "calque.conv": _bilinear,
    "calque.softmax": _softmax,
    "calque.log_softmax": _softmax,
    "calque.scatter_add": _accumulated,
    "calque.index_add": _accumulated,
}
