"""Convolution and pooling: gradients of first and second order, sizes, known values."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.ir import SSAValue

from calque.ir import dtype as dt
from calque.ir import interpreter
from calque.ir.op import Op, Sample, array_meta
from calque.ir.ops.conv import Conv
from calque.ir.ops.convolution import conv, conv_transpose
from calque.ir.ops.pool import MaxPool, MaxPoolGrad, SumPool
from calque.ir.ops.pooling import avg_pool, max_pool, max_pool_indices
from calque.ir.sym import SymEnv, symbol
from calque.ir.types import TensorMeta
from gradcheck import build, check_sample, grad

OPS = (Conv, MaxPool, SumPool, MaxPoolGrad)


def samples(*ops: type[Op]) -> list[tuple[type[Op], Sample]]:
    return [(op, s) for op in ops for s in op.samples() if s.error is None and s.grad]


@pytest.mark.parametrize(
    ("op", "sample"),
    [pytest.param(op, s, id=f"{op.name}-{i}") for i, (op, s) in enumerate(samples(*OPS))],
)
def test_gradients(op: type[Op], sample: Sample) -> None:
    small = [slice(0, 1)] if sample.args[0].size > 100 else []
    args = tuple(a[(*small,)] if op is not Conv or i == 0 else a for i, a in enumerate(sample.args))
    if args[0].size + sum(a.size for a in args[1:]) > 200:
        pytest.skip("too large for finite differences")
    check_sample(op, Sample(args, sample.attrs))


def test_conv_transpose_is_the_adjoint_of_conv() -> None:
    rng = np.random.default_rng(0)
    options = {"stride": 2, "padding": 1, "dilation": (1, 2), "groups": 2}
    x, w = rng.standard_normal((2, 4, 7, 10)), rng.standard_normal((6, 2, 3, 2))
    y = conv(x, w, **options)
    g = rng.standard_normal(y.shape)
    back = conv_transpose(g, w, output_padding=(0, 1), **options)
    assert back.shape == (2, 4, 7, 10)
    np.testing.assert_allclose((back * x).sum(), (g * y).sum())


def test_conv_same_padding_bias_and_unbatched() -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((3, 8)), rng.standard_normal((5, 3, 4)), rng.standard_normal(5)
    y = conv(x, w, b, padding="same")
    assert y.shape == (5, 8)
    padded = np.pad(x, ((0, 0), (1, 2)))
    want = [(padded[:, i : i + 4] * w[2]).sum() + b[2] for i in range(8)]
    np.testing.assert_allclose(y[2], want)


def test_symbolic_sizes() -> None:
    n, h = symbol("N"), symbol("H")
    metas = [TensorMeta((n, 4, h, h), dt.float32), TensorMeta((6, 2, 3, 3), dt.float32)]

    def body(x: SSAValue, w: SSAValue) -> list[SSAValue]:
        y = max_pool(conv(x, w, stride=2, padding=1, groups=2), 3, 2, 1, rank=2)
        y = avg_pool(y, 2, 1, 1, count_include_pad=False, rank=2)
        return [y, *grad(y, x, w)]

    with SymEnv({"N": 2, "H": 11}):
        module = build(metas, body)
    rng = np.random.default_rng(0)
    args = [rng.standard_normal(s).astype(np.float32) for s in ((2, 4, 11, 11), (6, 2, 3, 3))]
    fixed = build([array_meta(a) for a in args], body)
    found, want = interpreter.run(module, args), interpreter.run(fixed, args)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_max_pool_routes_to_the_first_maximum() -> None:
    x = np.array([[[1.0, 2.0, 2.0, 0.0]]])
    module = build([array_meta(x)], lambda v: grad(max_pool(v, 4, rank=1), v))
    np.testing.assert_array_equal(interpreter.run(module, [x])[0], [[[0, 1, 0, 0]]])
    module = build([array_meta(x)], lambda v: grad(max_pool(v, 3, 1, rank=1), v))
    np.testing.assert_array_equal(interpreter.run(module, [x])[0], [[[0, 2, 0, 0]]])


def test_max_pool_indices_and_lowest_values() -> None:
    x = np.full((1, 1, 3, 4), -np.inf, np.float32)
    x[0, 0, 2, 3] = 5
    got = max_pool_indices(x, 2, 2, 1, rank=2)
    np.testing.assert_array_equal(got[0, 0], [[0, 1, 3], [4, 5, 11]])
    assert got.dtype == np.int64
    x[0, 0, 1, 1] = np.nan
    assert np.isnan(max_pool(x, 2, 2, 1, rank=2)[0, 0, 1, 1])
    assert max_pool_indices(x, 2, 2, 1, rank=2)[0, 0, 1, 1] == 5


@pytest.mark.parametrize(
    ("size", "ceil_mode", "include", "want"),
    [
        (5, False, True, [1 / 3, 2, 7 / 3]),
        (5, False, False, [1 / 2, 2, 7 / 2]),
        (4, False, True, [1 / 3, 2]),
        (4, True, True, [1 / 3, 2, 3 / 2]),
        (4, True, False, [1 / 2, 2, 3]),
    ],
)
def test_avg_pool_divisors(size: int, ceil_mode: bool, include: bool, want: list[float]) -> None:
    x = np.arange(float(size)).reshape(1, 1, size)
    got = avg_pool(x, 3, 2, 1, ceil_mode, include, rank=1)
    np.testing.assert_allclose(got[0, 0], want)


def test_ceil_mode_starts_no_window_in_the_padding() -> None:
    x = np.arange(1.0, 5.0).reshape(1, 1, 4)
    assert max_pool(x, 2, 3, ceil_mode=True, rank=1).tolist() == [[[2.0, 4.0]]]
    assert max_pool(x, 2, 3, 1, ceil_mode=True, rank=1).tolist() == [[[1.0, 4.0]]]
    assert avg_pool(x, 2, 3, ceil_mode=True, rank=1).tolist() == [[[1.5, 4.0]]]


def test_errors() -> None:
    x, w = np.zeros((1, 3, 8)), np.zeros((2, 3, 3))
    with pytest.raises(RuntimeError, match="not supported for strided"):
        conv(x, w, padding="same", stride=2)
    with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional with 2"):
        conv(x, w, np.zeros(3))
    with pytest.raises(RuntimeError, match=r"Input type \(float\) and weight type \(double\)"):
        conv(x.astype(np.float32), w)
    with pytest.raises(RuntimeError, match="pad should be at most half"):
        max_pool(x, 2, padding=2, rank=1)
    with pytest.raises(RuntimeError, match="output padding must be smaller"):
        conv_transpose(x, np.zeros((3, 2, 3)), output_padding=1)
