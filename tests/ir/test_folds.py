"""Local simplifications: what folds to what, what must not, and that no fold changes a bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import SSAValue

import oneop
from calque.ir import dtype as dt
from calque.ir import ops
from calque.ir.dialect import ALL_OPS
from calque.ir.op import Op, array_meta, current_builder
from calque.ir.ops._fold import holds_exactly
from calque.ir.ops.creation import Constant
from calque.ir.types import TensorMeta
from calque.passes.canonicalize import canonicalize
from oneop import about, apply, build, samples

X = TensorMeta((2, 3), dt.float32)
I = TensorMeta((2, 3), dt.int32)  # noqa: E741
P = TensorMeta((2, 3), dt.bool_)
C = TensorMeta((2, 3, 4), dt.float32)


def folded(module: ModuleOp) -> list[str]:
    """The operators that are left after canonicalization."""
    (func,) = (op for op in module.ops if isinstance(op, FuncOp))
    canonicalize(func)
    return [op.name.removeprefix("calque.") for op in func.body.block.ops
            if not isinstance(op, ReturnOp)]  # fmt: skip


def left(meta: TensorMeta, body: Callable[[SSAValue], SSAValue]) -> list[str]:
    return folded(build([meta], lambda x: [body(x)]))


@pytest.mark.parametrize(
    ("meta", "body"),
    [
        (X, lambda x: ops.add(x, -0.0)),
        (X, lambda x: ops.add(-0.0, x)),
        (X, lambda x: ops.sub(x, 0.0)),
        (X, lambda x: ops.mul(x, 1.0)),
        (X, lambda x: ops.div(x, 1.0)),
        (X, lambda x: ops.neg(ops.neg(x))),
        (X, lambda x: ops.maximum(x, x)),
        (I, lambda x: ops.add(x, 0)),
        (I, lambda x: ops.bitwise_not(ops.bitwise_not(x))),
        (I, lambda x: ops.bitwise_xor(x, 0)),
        (I, lambda x: ops.bitwise_and(x, x)),
        (P, lambda p: ops.where(p, p, p)),
        (X, lambda x: ops.where(ops.full_like(x, True, dt.bool_), x, 0.0)),
        (X, lambda x: ops.cast(ops.cast(x, dt.float64), dt.float32)),
        (I, lambda x: ops.cast(ops.cast(x, dt.float64), dt.int32)),
        (X, lambda x: ops.bitcast(ops.bitcast(x, dt.int32), dt.float32)),
        (X, lambda x: ops.permute(ops.permute(x, (1, 0)), (1, 0))),
        (X, lambda x: ops.reshape(ops.reshape(x, (6,)), (2, 3))),
        (X, lambda x: ops.slice_(x, (0, 0), (2, 3))),
        (X, lambda x: ops.pad(x, (0, 0), (0, 0))),
    ],
)
def test_nothing_is_left(meta: TensorMeta, body: Callable[[SSAValue], SSAValue]) -> None:
    assert left(meta, body) == []


@pytest.mark.parametrize(
    ("meta", "body", "names"),
    [
        # -0.0 + 0.0 is 0.0, and 0.0 - (-0.0) as well.
        (X, lambda x: ops.add(x, 0.0), ["constant", "broadcast_to", "add"]),
        (X, lambda x: ops.sub(x, -0.0), ["constant", "broadcast_to", "sub"]),
        # inf * 0 is NaN.
        (X, lambda x: ops.mul(x, 0.0), ["constant", "broadcast_to", "mul"]),
        (I, lambda x: ops.mul(x, 0), ["constant", "broadcast_to"]),
        (X, lambda x: ops.mul(x, -1.0), ["neg"]),
        (X, lambda x: ops.div(x, 4.0), ["constant", "broadcast_to", "mul"]),
        (X, lambda x: ops.div(x, 3.0), ["constant", "broadcast_to", "div"]),
        (X, lambda x: ops.abs(ops.neg(x)), ["abs"]),
        (X, lambda x: ops.floor(ops.round(x)), ["round"]),
        (X, lambda x: ops.cast(ops.cast(x, dt.float16), dt.float32), ["cast", "cast"]),
        (I, lambda x: ops.cast(ops.cast(x, dt.float64), dt.uint8), ["cast", "cast"]),
        (I, lambda x: ops.cast(ops.cast(x, dt.int64), dt.int8), ["cast"]),
        (X, lambda x: ops.detach(x), ["detach"]),
        (X, lambda x: ops.detach(ops.detach(x)), ["detach"]),
        # No transcendental: NumPy's last bits are not ours.
        (X, lambda x: ops.add(x, ops.exp(ops.full_like(x, 0.3))),
         ["constant", "broadcast_to", "exp", "add"]),
        (X, lambda x: ops.add(x, ops.mul(ops.full_like(x, 3.0), 0.5)),
         ["constant", "broadcast_to", "add"]),
        (X, lambda x: ops.reshape(ops.reshape(x, (6,)), (3, 2)), ["reshape"]),
        (X, lambda x: ops.add(x, ops.permute(ops.full((3, 2), 2, dt.float32, x), (1, 0))),
         ["constant", "broadcast_to", "add"]),
        (X, lambda x: ops.slice_(ops.slice_(x, (0, 1), (2, 3)), (1, 0), (2, 2)), ["slice"]),
        (X, lambda x: ops.slice_(ops.slice_(x, (0, 0), (2, 3), (1, 2)), (0, 1), (2, 2)), ["slice"]),
        # Zeros around the input of a convolution are padding, ones are not.
        (C, lambda x: ops.conv(ops.pad(x, (0, 0, 1), (0, 0, 2)), x), ["conv"]),
        (C, lambda x: ops.conv(ops.pad(x, (0, 0, 1), (0, 0, 2), value=1), x),
         ["constant", "pad", "conv"]),
        (C, lambda x: ops.conv(ops.pad(x, (1, 0, 0), (0, 0, 0)), x), ["constant", "pad", "conv"]),
        # Read and added to at 0, 1 …
        (X, lambda x: ops.take(x, 1, ops.iota(2, dt.int64, x)), ["slice"]),
        (X, lambda x: ops.take(x, 1, ops.check_index(ops.iota(3, dt.int64, x), 3, 1)), []),
        (X, lambda x: ops.take(x, 1, ops.iota(4, dt.int64, x)), ["iota", "take"]),
        (X, lambda x: ops.index_add(x, 0, ops.iota(1, dt.int64, x), ops.narrow(x, 0, 0, 1)),
         ["slice", "constant", "pad", "add"]),
        (X, lambda x: ops.index_add(x, 0, ops.iota(2, dt.int64, x), x), ["add"]),
    ],
)  # fmt: skip
def test_what_is_left(
    meta: TensorMeta, body: Callable[[SSAValue], SSAValue], names: Sequence[str]
) -> None:
    assert left(meta, body) == names


def _constants(op: type[Op], attrs: dict[str, Any], args: list[np.ndarray]) -> Sequence[SSAValue]:
    """An operator of uniform constants."""
    block = current_builder()
    operands = []
    for a in args:
        made = block.emit(Constant, (), {"value": np.asarray(a.reshape(-1)[0]), "device": "cpu"})
        operands.append(ops.broadcast_to(made.results[0], a.shape))
    return apply(op, attrs)(*operands)


FOLDING = [op for op in ALL_OPS if op.fold.__func__ is not Op.fold.__func__]


@pytest.mark.parametrize("op", FOLDING, ids=lambda op: op.name.removeprefix("calque."))
def test_constants_fold_to_what_they_compute(op: type[Op]) -> None:
    chosen = {(repr([a.dtype for a in s.args]), repr(s.attrs)): s for s in samples(op)
              if s.args and all(a.size for a in s.args)}  # fmt: skip
    for sample in chosen.values():
        with about(op, sample):
            args = [np.broadcast_to(a.reshape(-1)[:1].reshape(()), a.shape) for a in sample.args]

            module = build([], partial(_constants, op, sample.attrs, args))
            wanted = oneop.run(module, [])
            folded(module)
            for a, b in zip(oneop.run(module, []), wanted, strict=True):
                assert array_meta(a) == array_meta(b) and a.tobytes() == b.tobytes()


def test_which_dtype_holds_which() -> None:
    pairs = {(a.name, b.name) for a in dt.ALL for b in dt.ALL if a is not b and holds_exactly(a, b)}
    assert ("bool", "float16") in pairs and ("uint8", "bfloat16") in pairs
    assert ("int32", "float64") in pairs and ("int16", "float32") in pairs
    assert ("int32", "float32") not in pairs and ("int64", "float64") not in pairs
    assert ("float16", "bfloat16") not in pairs and ("bfloat16", "float16") not in pairs
    assert ("int8", "uint8") not in pairs and ("uint8", "int8") not in pairs
    for a, b in pairs:
        if dt.BY_NAME[a].kind in "iu":
            info = np.iinfo(dt.BY_NAME[a].numpy)
            ends = np.array([info.min, info.max, info.max - 1], info.dtype)
            np.testing.assert_array_equal(ends.astype(dt.BY_NAME[b].numpy).astype(info.dtype), ends)
