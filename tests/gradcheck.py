"""Gradients emitted by reverse mode against central differences, through the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from calque.ir import interpreter, verify
from calque.ir.autodiff import gradients
from calque.ir.op import Builder, Op, Sample, array_meta, bind
from calque.ir.ops.arithmetic import add, mul
from calque.ir.ops.creation import full_like
from calque.ir.text import from_text, to_text
from calque.ir.types import TensorMeta, to_type

Body = Callable[..., Sequence[SSAValue]]


def build(metas: Sequence[TensorMeta], body: Body) -> ModuleOp:
    """A verified module that went through text, whose main computes `body`."""
    block = Block(arg_types=[to_type(m) for m in metas])
    with Builder(block):
        results = body(*block.args)
    block.add_op(ReturnOp(*results))
    types = [a.type for a in block.args], [r.type for r in results]
    module = ModuleOp([FuncOp("main", types, Region(block))])
    verify.verify(module)
    again = from_text(to_text(module))
    verify.verify(again)
    assert to_text(again) == to_text(module)
    return again


def grad(y: SSAValue, *inputs: SSAValue) -> list[SSAValue]:
    """Gradients of the sum of y, zeros where there is none."""
    found = gradients([y], [full_like(y, 1)], inputs)
    return [full_like(x, 0) if g is None else g for g, x in zip(found, inputs, strict=True)]


def numeric(f: Callable[..., float], args: Sequence[np.ndarray], i: int) -> np.ndarray:
    """The gradient of f with respect to argument i by central differences."""
    out = np.zeros_like(args[i])
    for at in np.ndindex(*out.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = [a.copy() for a in args]
            moved[i][at] += step
            ends.append(f(*moved))
        out[at] = (ends[0] - ends[1]) / 2e-6
    return out


def check_gradients(
    metas: Sequence[TensorMeta], body: Callable[..., SSAValue], args: Sequence[np.ndarray]
) -> None:
    """First and second derivatives of the sum of `body` in its float64 arguments."""
    floats = [i for i, m in enumerate(metas) if m.dtype.is_floating_point]

    def first(*xs: SSAValue) -> list[SSAValue]:
        return grad(body(*xs), *[xs[i] for i in floats])

    def second(*xs: SSAValue) -> list[SSAValue]:
        totals: list[SSAValue] = []
        for g in first(*xs):
            # Squares give every first derivative a say in the second ones.
            terms = grad(mul(g, g), *[xs[i] for i in floats])
            totals = [add(t, n) for t, n in zip(totals, terms, strict=True)] if totals else terms
        return totals

    value = build(metas, lambda *xs: [body(*xs)])
    derivative = build(metas, first)
    for i, g in zip(floats, interpreter.run(derivative, args), strict=True):
        want = numeric(lambda *a: float(interpreter.run(value, a)[0].sum()), args, i)
        np.testing.assert_allclose(g, want, rtol=1e-5, atol=1e-7)

    def squares(*a: np.ndarray) -> float:
        return float(sum((g**2).sum() for g in interpreter.run(derivative, a)))

    for i, g in zip(floats, interpreter.run(build(metas, second), args), strict=True):
        np.testing.assert_allclose(g, numeric(squares, args, i), rtol=1e-4, atol=1e-5)


def check_sample(op: type[Op], sample: Sample) -> None:
    """`check_gradients` of a weighted sum of an operator's result on one of its samples."""
    args = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in sample.args]
    metas = [array_meta(a) for a in args]

    def body(*xs: SSAValue) -> SSAValue:
        y = bind(op, xs, sample.attrs)
        return mul(mul(y, y), 0.5)

    check_gradients(metas, body, args)
