"""Reverse mode on blocks: values, higher orders, what flows where, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from calque.ir import dtype as dt
from calque.ir import interpreter, verify
from calque.ir.autodiff import gradients
from calque.ir.op import Builder, Node, Op, Value, bind, file_location
from calque.ir.ops.creation import full_like
from calque.ir.ops.elementwise import cast, exp, mul
from calque.ir.text import from_text, to_text
from calque.ir.types import TensorMeta, to_type

F32 = TensorMeta((3,), dt.float32)


def build(metas: Sequence[TensorMeta], body: Callable[..., Sequence[SSAValue]]) -> ModuleOp:
    """A module whose main computes `body`."""
    types = [to_type(m) for m in metas]
    block = Block(arg_types=types)
    with Builder(block):
        results = body(*block.args)
    block.add_op(ReturnOp(*results))
    func = FuncOp("main", (types, [r.type for r in results]), Region(block))
    module = ModuleOp([func])
    verify.verify(module)
    return module


def grad(y: SSAValue, *inputs: SSAValue, stop: Sequence[SSAValue] = ()) -> list[SSAValue]:
    """The gradients of the sum of y; all of them exist."""
    found = gradients([y], [full_like(y, 1)], inputs, stop=stop)
    assert None not in found
    return [g for g in found if g is not None]


def test_third_derivative_of_a_power() -> None:
    def body(x: SSAValue) -> Sequence[SSAValue]:
        y = x
        for _ in range(4):
            y = mul(y, x)
        for _ in range(3):
            (y,) = grad(y, x)
        return [y]

    x = np.array([1.0, 2.0, -3.0], np.float32)
    module = build([F32], body)
    (got,) = interpreter.run(from_text(to_text(module)), [x])
    np.testing.assert_allclose(got, 60 * x**2, rtol=1e-6)


def test_intermediate_inputs_and_stop() -> None:
    def body(x: SSAValue) -> Sequence[SSAValue]:
        h = mul(x, x)
        y = mul(h, x)
        gh, gx = grad(y, h, x)
        (direct,) = grad(y, x, stop=[h])
        return [gh, gx, direct]

    x = np.array([1.0, 2.0, -3.0], np.float32)
    gh, gx, direct = interpreter.run(build([F32], body), [x])
    np.testing.assert_allclose(gh, x)
    np.testing.assert_allclose(gx, 3 * x**2)
    np.testing.assert_allclose(direct, x**2)


def test_unreached_and_integer_inputs_get_none() -> None:
    def body(x: SSAValue, n: SSAValue, z: SSAValue) -> Sequence[SSAValue]:
        y = mul(x, cast(n, dt.float32))
        gx, gn, gz = gradients([y, z], [full_like(y, 1), None], [x, n, z])
        assert gx is not None and gn is None and gz is None
        return [gx]

    build([F32, F32.with_dtype(dt.int64), F32], body)


def test_backward_has_the_forward_location() -> None:
    block = Block(arg_types=[to_type(F32)])
    builder = Builder(block, location=lambda: file_location("model.py", 7))
    with builder:
        y = exp(block.args[0])
        builder.location = lambda: file_location("train.py", 9)
        (g,) = grad(y, block.args[0])
        after = exp(y)
    assert [str(op.location) for op in (g.owner, after.owner) if isinstance(op, Op)] == [
        'loc("model.py":7:0)',
        'loc("train.py":9:0)',
    ]


class Opaque(Op):
    name = "calque.opaque"

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: object) -> TensorMeta:
        return metas[0]

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        raise NotImplementedError


def test_missing_derivative_names_operator_and_line() -> None:
    block = Block(arg_types=[to_type(F32)])
    with Builder(block, location=lambda: file_location("model.py", 7)):
        y = bind(Opaque, (block.args[0],))
        with pytest.raises(RuntimeError, match=r"'calque.opaque' \(model.py:7\) is not implem"):
            grad(y, block.args[0])


def test_calls_are_inlined() -> None:
    module = from_text("""
func.func private @square(%x: tensor<3xf32>) -> tensor<3xf32> {
  %y = calque.mul %x, %x : tensor<3xf32>
  func.return %y : tensor<3xf32>
}
func.func private @quartic(%x: tensor<3xf32>) -> tensor<3xf32> {
  %y = func.call @square(%x) : (tensor<3xf32>) -> tensor<3xf32>
  %z = func.call @square(%y) : (tensor<3xf32>) -> tensor<3xf32>
  func.return %z : tensor<3xf32>
}
func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
  %y = func.call @quartic(%x) : (tensor<3xf32>) -> tensor<3xf32>
  func.return %y : tensor<3xf32>
}""")
    main = interpreter.lookup(module, "main")
    block = main.body.block
    last = block.last_op
    assert last is not None
    with Builder(block, before=last):
        (g,) = grad(last.operands[0], block.args[0])
    last.operands = [g]
    verify.verify(module)
    x = np.array([1.0, 2.0, -3.0], np.float32)
    np.testing.assert_allclose(interpreter.run(module, [x])[0], 4 * x**3)
