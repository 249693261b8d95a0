"""Operators with regions: text, verification, values, gradients against finite differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from xdsl.ir import Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from calque.ir import dtype as dt
from calque.ir import interpreter
from calque.ir.op import Builder
from calque.ir.ops.control import cond, region, while_loop
from calque.ir.ops.creation import constant
from calque.ir.ops.elementwise import add, exp, gt, mul, neg
from calque.ir.ops.scan import Scan, scan
from calque.ir.sym import SymEnv, symbol
from calque.ir.text import from_text
from calque.ir.types import TensorMeta, to_type
from calque.passes.canonicalize import canonicalize
from gradcheck import Body, build, check_gradients, grad

VECTOR = TensorMeta((3,), dt.float64)
ROWS = TensorMeta((4, 3), dt.float64)
BOOL = TensorMeta((), dt.bool_)


def run(metas: Sequence[TensorMeta], body: Body, *args: np.ndarray) -> list[np.ndarray]:
    return interpreter.run(build(metas, body), args)


X = np.array([0.3, -0.7, 1.1])
W = np.array([0.5, 0.2, -0.4])
XS = np.linspace(-1, 1, 12).reshape(4, 3)


def choose(p: SSAValue, x: SSAValue, w: SSAValue) -> SSAValue:
    metas = [VECTOR, VECTOR]
    then = region(metas, lambda a, b: mul(exp(a), b))
    otherwise = region(metas, lambda a, b: mul(mul(a, a), a))
    return cond(p, [x, w], then, otherwise)[0]


@pytest.mark.parametrize("truth", [True, False])
def test_cond(truth: bool) -> None:
    metas, p = [BOOL, VECTOR, VECTOR], np.asarray(truth)
    (got,) = run(metas, lambda *a: [choose(*a)], p, X, W)
    np.testing.assert_allclose(got, np.exp(X) * W if truth else X**3)
    check_gradients(metas, choose, [p, X, W])


def test_cond_of_a_known_bool_folds() -> None:
    module = build([VECTOR, VECTOR], lambda x, w: [choose(constant(np.asarray(False), x), x, w)])
    main = interpreter.lookup(module, "main")
    canonicalize(main)
    names = [op.name for op in main.body.block.ops]
    assert names == ["calque.mul", "calque.mul", "func.return"]
    np.testing.assert_allclose(interpreter.run(module, [X, W])[0], X**3)


def recurrence(x: SSAValue, xs: SSAValue, w: SSAValue) -> SSAValue:
    """h = w * exp(-h*h) + x_t, with h and h*h stacked; the sum of all of it, by columns."""

    def step(h: SSAValue, row: SSAValue, weight: SSAValue) -> Sequence[SSAValue]:
        new = add(mul(weight, exp(neg(mul(h, h)))), row)
        return new, mul(new, new)

    last, squares = scan([x], [xs], [w], region([VECTOR, VECTOR, VECTOR], step))
    return add(squares, last)


def test_scan() -> None:
    def both(x: SSAValue, xs: SSAValue, w: SSAValue) -> Sequence[SSAValue]:
        return [recurrence(x, xs, w)]

    h, squares = X, []
    for row in XS:
        h = W * np.exp(-h * h) + row
        squares.append(h * h)
    (got,) = run([VECTOR, ROWS, VECTOR], both, X, XS, W)
    np.testing.assert_allclose(got, np.stack(squares) + h)
    check_gradients([VECTOR, ROWS, VECTOR], recurrence, [X, XS, W])


def test_scan_reverse_without_xs_and_integer_carry() -> None:
    def body(x: SSAValue) -> SSAValue:
        def step(n: SSAValue, h: SSAValue) -> Sequence[SSAValue]:
            return add(n, 1), add(mul(h, 0.5), n), n

        metas = [TensorMeta((), dt.int64), VECTOR]
        zero = constant(np.int64(0), x)
        return scan([zero, x], [], [], region(metas, step), length=3, reverse=True)[1]

    (got,) = run([VECTOR], lambda x: [body(x)], X)
    np.testing.assert_allclose(got, ((X / 2 + 0) / 2 + 1) / 2 + 2)
    check_gradients([VECTOR], body, [X])


def test_scan_stacks_in_order_when_reversed() -> None:
    def body(x: SSAValue, xs: SSAValue) -> Sequence[SSAValue]:
        step = region([VECTOR, VECTOR], lambda h, row: (add(h, row), add(h, row)))
        return scan([x], [xs], [], step, reverse=True)

    last, sums = run([VECTOR, ROWS], body, X, XS)
    np.testing.assert_allclose(sums, X + np.cumsum(XS[::-1], axis=0)[::-1])
    np.testing.assert_allclose(last, sums[0])


def test_backward_scan_reads_only_what_it_needs() -> None:
    def body(x: SSAValue, xs: SSAValue) -> Sequence[SSAValue]:
        step = region([VECTOR, VECTOR], lambda h, row: (add(h, row),))
        (last,) = scan([x], [xs], [], step)
        return grad(last, xs)

    module = build([VECTOR, ROWS], body)
    scans = [op for op in interpreter.lookup(module, "main").body.block.ops if type(op) is Scan]
    assert [len(op.results) for op in scans] == [1, 2]
    assert [len(op.operands) for op in scans] == [2, 1]
    np.testing.assert_allclose(interpreter.run(module, [X, XS])[0], np.ones((4, 3)))


def test_scan_folds_away_what_nobody_reads() -> None:
    def body(x: SSAValue, xs: SSAValue, w: SSAValue) -> Sequence[SSAValue]:
        def step(h: SSAValue, row: SSAValue, weight: SSAValue) -> Sequence[SSAValue]:
            return exp(h), mul(row, weight), neg(h)

        last, _, kept = scan([x], [xs], [w], region([VECTOR] * 3, step))
        return [last, kept]

    module = build([VECTOR, ROWS, VECTOR], body)
    main = interpreter.lookup(module, "main")
    wanted = interpreter.run(module, [X, XS, W])
    canonicalize(main)
    (loop,) = [op for op in main.body.block.ops if isinstance(op, Scan)]
    assert len(loop.operands) == 1 and len(loop.results) == 2 and loop.attrs["xs"] == 0
    assert [op.name for op in loop.regions[0].block.ops][:2] == ["calque.exp", "calque.neg"]
    for found, want in zip(interpreter.run(module, [X, XS, W]), wanted, strict=True):
        np.testing.assert_array_equal(found, want)


def test_nested_scan_in_cond() -> None:
    def body(p: SSAValue, x: SSAValue, xs: SSAValue) -> SSAValue:
        def then(a: SSAValue, rows: SSAValue) -> SSAValue:
            step = region([VECTOR, VECTOR], lambda h, row: (mul(h, exp(row)),))
            return scan([a], [rows], [], step)[0]

        metas = [VECTOR, ROWS]
        otherwise = region(metas, lambda a, rows: mul(a, a))
        return cond(p, [x, xs], region(metas, then), otherwise)[0]

    metas = [BOOL, VECTOR, ROWS]
    check_gradients(metas, body, [np.asarray(True), X, XS])
    check_gradients(metas, body, [np.asarray(False), X, XS])


def test_symbolic_length() -> None:
    metas = [VECTOR, TensorMeta((symbol("T"), 3), dt.float64), VECTOR]
    with SymEnv({"T": 4}):
        module = build(metas, lambda *a: grad(recurrence(*a), *a))
    want = run([VECTOR, ROWS, VECTOR], lambda *a: grad(recurrence(*a), *a), X, XS, W)
    for g, w in zip(interpreter.run(module, [X, XS, W]), want, strict=True):
        np.testing.assert_allclose(g, w)


def test_while() -> None:
    def body(x: SSAValue, w: SSAValue) -> Sequence[SSAValue]:
        metas = [TensorMeta((), dt.float64)] * 2
        test = region(metas, lambda h, limit: gt(limit, h))
        step = region(metas, lambda h, limit: mul(h, 2))
        return while_loop([x], [w], test, step)

    scalar = TensorMeta((), dt.float64)
    (got,) = run([scalar, scalar], body, np.asarray(3.0), np.asarray(20.0))
    assert got == 24.0
    with pytest.raises(RuntimeError, match=r"derivative for 'calque.while' is not implemented"):
        build([scalar, scalar], lambda x, w: grad(body(x, w)[0], x))


def test_errors() -> None:
    block = Block(arg_types=[to_type(m) for m in (BOOL, VECTOR, ROWS)])
    p, x, xs = block.args
    with Builder(block):
        then = region([VECTOR], lambda a: a)
        with pytest.raises(RuntimeError, match="branches must return the same kinds"):
            cond(p, [x], then, region([VECTOR], lambda a: gt(a, a)))
        with pytest.raises(RuntimeError, match="0-d bool"):
            cond(x, [x], region([VECTOR], lambda a: a), region([VECTOR], lambda a: a))
        with pytest.raises(RuntimeError, match="must return carried tensors as it takes them"):
            scan([x], [xs], [], region([VECTOR, VECTOR], lambda h, row: gt(h, row)))
        with pytest.raises(RuntimeError, match="give the length"):
            scan([x], [], [], region([VECTOR], lambda h: h))


def test_regions_are_isolated() -> None:
    text = """
func.func @main(%p: tensor<i1>, %x: tensor<3xf32>) -> tensor<3xf32> {
  %y = calque.cond %p, %x then {
  ^bb0(%a: tensor<3xf32>):
    %s = calque.mul %x, %a : tensor<3xf32>
    calque.yield %s : tensor<3xf32>
  } else {
  ^bb0(%a: tensor<3xf32>):
    calque.yield %a : tensor<3xf32>
  } : (tensor<i1>, tensor<3xf32>) -> tensor<3xf32>
  func.return %y : tensor<3xf32>
}"""
    with pytest.raises(VerifyException, match="IsolatedFromAbove"):
        from_text(text).verify()
