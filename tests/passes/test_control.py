"""Loops and branches compiled into the host function, against the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import pytest
from xdsl.ir import SSAValue

from calque.frontend.driver import compile_graph
from calque.ir import dtype as dt
from calque.ir import interpreter
from calque.ir.ops import add, exp, gt, lt, matmul, mul, neg, sub, sum, tanh
from calque.ir.ops.control import cond, region, while_loop
from calque.ir.ops.scan import scan
from calque.ir.sym import SymEnv, symbol
from calque.ir.types import TensorMeta
from gradcheck import build, grad

SCALAR, VECTOR = TensorMeta((), dt.float32), TensorMeta((3,), dt.float32)
ROWS, BOOL = TensorMeta((4, 3), dt.float32), TensorMeta((), dt.bool_)
RNG = np.random.default_rng(0)
X, W, XS = (RNG.standard_normal(s).astype(np.float32) for s in ((3,), (3,), (4, 3)))
Values = Sequence[SSAValue]


def check(
    metas: Sequence[TensorMeta],
    body: Callable[..., Values],
    args: Sequence[np.ndarray],
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Native results, of a first and of a second call, are those of the interpreter."""
    with SymEnv(dict(sizes)) if sizes else nullcontext():
        module = build(metas, body)
    wanted = interpreter.run(module, args)
    program = compile_graph(module)
    call = program.prepare([(sizes or {})[s] for s in program.symbols])
    pairs = zip(call.shapes[len(args) :], program.outputs, strict=True)
    outs = [np.empty(shape, meta.dtype.numpy) for shape, meta in pairs]
    for _ in range(2):
        call.run([a.ctypes.data for a in (*args, *outs)])
        for found, want in zip(outs, wanted, strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def choose(p: SSAValue, x: SSAValue, w: SSAValue) -> SSAValue:
    then = region([VECTOR] * 2, lambda a, b: mul(exp(a), b))
    return cond(p, [x, w], then, region([VECTOR] * 2, lambda a, b: mul(mul(a, a), a)))[0]


@pytest.mark.parametrize("truth", [True, False])
def test_cond(truth: bool) -> None:
    def body(p: SSAValue, x: SSAValue, w: SSAValue) -> Values:
        y = choose(p, x, w)
        return [y, *grad(y, x, w)]

    check([BOOL, VECTOR, VECTOR], body, [np.asarray(truth), X, W])


def recurrence(x: SSAValue, xs: SSAValue, w: SSAValue) -> SSAValue:
    def step(h: SSAValue, row: SSAValue, weight: SSAValue) -> Values:
        new = add(mul(weight, exp(neg(mul(h, h)))), row)
        return new, mul(new, new)

    last, squares = scan([x], [xs], [w], region([VECTOR] * 3, step))
    return add(squares, last)


def test_scan_and_two_derivatives() -> None:
    def body(*args: SSAValue) -> Values:
        first = grad(recurrence(*args), *args)
        return [*first, *grad(mul(first[0], first[0]), *args)]

    check([VECTOR, ROWS, VECTOR], body, [X, XS, W])


def test_recurrent_network_of_dynamic_sizes() -> None:
    batch, steps = symbol("B"), symbol("T")
    h = TensorMeta((batch, 3), dt.float32)
    metas = [h, TensorMeta((steps, batch, 3), dt.float32), TensorMeta((3, 3), dt.float32)]

    def body(*args: SSAValue) -> Values:
        def step(h: SSAValue, x: SSAValue, w: SSAValue) -> Values:
            new = tanh(add(matmul(h, w), x))
            return new, new

        _, ys = scan(args[:1], args[1:2], args[2:], region([h, h, metas[2]], step))
        return [ys, *grad(ys, *args)]

    shapes = ((5, 3), (4, 5, 3), (3, 3))
    args = [RNG.standard_normal(s).astype(np.float32) for s in shapes]
    check(metas, body, args, {"T": 4, "B": 5})


def test_carried_tensors_change_places() -> None:
    def body(x: SSAValue, w: SSAValue) -> Values:
        swap = region([VECTOR] * 2, lambda a, b: (b, a))
        fibonacci = region([VECTOR] * 2, lambda a, b: (b, add(a, b)))
        first = scan([x, w], [], [], swap, length=5)
        return [*first, *scan(first, [], [], fibonacci, length=5)]

    check([VECTOR, VECTOR], body, [X, W])


def test_reverse() -> None:
    def body(x: SSAValue, xs: SSAValue) -> Values:
        step = region([VECTOR] * 2, lambda h, row: (add(h, row), mul(h, row)))
        return scan([x], [xs], [], step, reverse=True)

    check([VECTOR, ROWS], body, [X, XS])


def test_while() -> None:
    def body(x: SSAValue, limit: SSAValue) -> Values:
        test = region([SCALAR] * 2, lambda h, top: gt(top, h))
        return while_loop([x], [limit], test, region([SCALAR] * 2, lambda h, _: mul(h, 2)))

    check([SCALAR, SCALAR], body, [np.asarray(v, np.float32) for v in (3, 20)])


def test_cond_in_scan() -> None:
    def step(h: SSAValue, row: SSAValue) -> Values:
        up = region([VECTOR] * 2, lambda a, b: (add(a, b), gt(a, b)))
        down = region([VECTOR] * 2, lambda a, b: (sub(a, mul(b, b)), lt(a, b)))
        return cond(gt(sum(row), 0.0), [h, row], up, down)

    def body(x: SSAValue, xs: SSAValue) -> Values:
        last, signs = scan([x], [xs], [], region([VECTOR] * 2, step))
        return [last, signs, *grad(last, x, xs)]

    check([VECTOR, ROWS], body, [X, XS])


@pytest.mark.parametrize("truth", [True, False])
def test_scan_in_cond(truth: bool) -> None:
    def body(p: SSAValue, x: SSAValue, xs: SSAValue) -> Values:
        def then(a: SSAValue, rows: SSAValue) -> Values:
            step = region([VECTOR] * 2, lambda h, row: (mul(h, exp(row)),))
            return scan([a], [rows], [], step)

        branches = [region([VECTOR, ROWS], f) for f in (then, lambda a, rows: mul(a, a))]
        (y,) = cond(p, [x, xs], *branches)
        return [y, *grad(y, x, xs)]

    check([BOOL, VECTOR, ROWS], body, [np.asarray(truth), X, XS])
