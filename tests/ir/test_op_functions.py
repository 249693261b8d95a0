"""The functions around the operators: promotion, broadcasting, compositions, views, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import erf
from typing import Any

import numpy as np
import pytest
from xdsl.ir import Block, SSAValue

import oneop
from calque.ir import dtype as dt
from calque.ir import ops
from calque.ir.autodiff import gradients
from calque.ir.lowering import Lazy, LinalgBuilder
from calque.ir.op import Node, array_meta, bind, evaluate, infer
from calque.ir.ops.casting import Cast
from calque.ir.ops.matmul import Matmul
from calque.ir.ops.slice import Slice
from calque.ir.ops.view import BroadcastTo, Reshape, Transpose, View
from calque.ir.sym import SymEnv, UndecidedError, symbol
from calque.ir.types import TensorMeta, meta_of
from derivatives import backward, check, weighted

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
B, T = symbol("B"), symbol("T")


def f32(*shape: Any) -> TensorMeta:
    return TensorMeta(shape, dt.float32)


def shape_of(body: Callable[..., SSAValue], *metas: TensorMeta) -> tuple[Any, ...]:
    """The shape of what a function makes of operands with symbolic sizes."""
    found: list[TensorMeta] = []

    def record(*args: SSAValue) -> Sequence[SSAValue]:
        result = body(*args)
        found.append(meta_of(result))
        return [result]

    oneop.build(metas, record)
    return found[0].shape


# ---- promotion -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (np.int32, np.float32, np.float32), (np.int8, np.uint8, np.int16),
        (np.bool_, np.uint8, np.uint8), (np.int64, np.float16, np.float16),
        (np.int32, 2, np.int32), (np.int32, 2.5, np.float32), (np.bool_, 1, np.int64),
        (np.float16, 1e3, np.float16), (np.uint8, True, np.uint8),
    ],
)  # fmt: skip
def test_promotion(a: type, b: Any, wanted: type) -> None:
    y = np.ones((2,), b) if isinstance(b, type) else b
    assert ops.add(np.ones((2,), a), y).dtype == wanted
    assert ops.add(y, np.ones((2,), a)).dtype == wanted


def test_zero_dimensional_tensors_promote_weakly() -> None:
    zero = np.asarray(1.5, np.float64)
    assert ops.mul(np.ones(2, np.float32), zero).dtype == np.float32
    assert ops.mul(np.ones(2, np.int32), zero).dtype == np.float64


def test_true_division_and_float_functions_of_integers() -> None:
    three = np.array([3, 4])
    np.testing.assert_array_equal(ops.div(three, 2), np.array([1.5, 2.0], np.float32))
    assert ops.exp(three).dtype == np.float32
    assert ops.floor(three) is three


def test_broadcasting_error() -> None:
    with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match .* tensor b \(2\)"):
        ops.add(np.ones((3,), np.float32), np.ones((2,), np.float32))


# ---- compositions against their formulas -----------------------------------------------------

D = X.astype(np.float64)
ERF = np.vectorize(erf, otypes=[np.float64])
FORMULAS: dict[str, tuple[Callable[..., Any], Callable[[np.ndarray], Any]]] = {
    "square": (ops.square, lambda x: x * x),
    "reciprocal": (ops.reciprocal, lambda x: 1 / x),
    "relu": (ops.relu, lambda x: np.maximum(x, 0)),
    "silu": (ops.silu, lambda x: x / (1 + np.exp(-x))),
    "gelu": (ops.gelu, lambda x: x * (1 + ERF(x / np.sqrt(2))) / 2),
    "gelu_tanh": (
        lambda x: ops.gelu(x, "tanh"),
        lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    "softplus": (ops.softplus, lambda x: np.log(1 + np.exp(x))),
    "softplus_beta": (lambda x: ops.softplus(x, 3.0), lambda x: np.log(1 + np.exp(3 * x)) / 3),
    "clamp": (lambda x: ops.clamp(x, -0.5, 0.7), lambda x: np.clip(x, -0.5, 0.7)),
    "clamp_low": (lambda x: ops.clamp(x, 0.1), lambda x: np.maximum(x, 0.1)),
    "mean": (ops.mean, np.mean),
    "mean_dim": (lambda x: ops.mean(x, 1, True), lambda x: np.mean(x, 1, keepdims=True)),
    "var": (lambda x: ops.var(x, 0), lambda x: np.var(x, 0, ddof=1)),
    "var_population": (lambda x: ops.var(x, correction=0), np.var),
    "std": (lambda x: ops.std(x, -1), lambda x: np.std(x, -1, ddof=1)),
    "logsumexp": (lambda x: ops.logsumexp(x, 1), lambda x: np.log(np.sum(np.exp(x), 1))),
    "softmax": (lambda x: ops.softmax(x, -1), lambda x: np.exp(x) / np.exp(x).sum(1)[:, None]),
    "log_softmax": (
        lambda x: ops.log_softmax(x, 0),
        lambda x: x - np.log(np.sum(np.exp(x), 0, keepdims=True)),
    ),
    "prod": (lambda x: ops.prod(x, 1), lambda x: np.prod(x, 1)),
    "pow": (lambda x: ops.pow(ops.abs(x), 2.5), lambda x: np.abs(x) ** 2.5),
    "pow_base": (lambda x: ops.pow(2.0, x), lambda x: 2.0**x),
    "outer": (lambda x: ops.outer(ops.select(x, 0, 0), ops.select(x, 0, 1)),
              lambda x: np.outer(x[0], x[1])),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_composition(name: str) -> None:
    function, formula = FORMULAS[name]
    np.testing.assert_allclose(function(X), formula(D), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
def test_derivatives_of_compositions(name: str, symbolic: bool) -> None:
    meta = TensorMeta((B, T) if symbolic else D.shape, dt.float64)
    examples = {"B": 3, "T": 4} if symbolic else {}
    program = weighted([meta], lambda x: [FORMULAS[name][0](x)], [D], examples)
    check(program)
    check(backward(program))


@pytest.mark.parametrize("y", [0, 1, 2, 3, 5, -1, -2, 0.5, -0.5, 2.5])
def test_power_by_a_number(y: float) -> None:
    x = np.abs(X) + np.float32(0.5)
    np.testing.assert_allclose(ops.pow(x, y), np.power(x.astype(np.float64), y), rtol=1e-5)


def test_integer_powers() -> None:
    x = np.array([-3, 0, 2, 7], np.int32)
    for y in (0, 1, 2, 5, 13):
        np.testing.assert_array_equal(ops.pow(x, y), x**y)
    with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed"):
        ops.pow(x, -1)


def test_numerics_at_the_ends() -> None:
    far = np.array([-1e4, -100, 0, 100, 1e4], np.float32)
    np.testing.assert_array_equal(ops.sigmoid(far)[[0, 2, 4]], [0, 0.5, 1])
    np.testing.assert_array_equal(ops.softplus(far)[[0, 3, 4]], [0, 100, 1e4])
    np.testing.assert_allclose(ops.logsumexp(far, 0), 1e4)
    np.testing.assert_array_equal(ops.logsumexp(np.full(3, -np.inf, np.float32), 0), -np.inf)
    np.testing.assert_array_equal(ops.logsumexp(np.array([np.inf, 0], np.float32), 0), np.inf)
    nan = np.array([np.nan], np.float32)
    for function in (ops.relu, lambda x: ops.clamp(x, 0, 1), ops.softplus, ops.sigmoid):
        assert np.isnan(function(nan)).all()


def test_half_precision_sums_in_single() -> None:
    many = np.full(70000, 1, np.float16)
    assert ops.mean(many) == 1 and ops.mean(many).dtype == np.float16
    assert ops.var(many) == 0


def test_sums_of_integers_are_wide() -> None:
    assert ops.sum(np.ones((2, 2), np.bool_)).dtype == np.int64
    assert ops.prod(np.full(3, 100, np.int8)) == 1000000
    assert ops.any(np.array([0, 3], np.uint8)).dtype == np.uint8
    with pytest.raises(RuntimeError, match=r"mean\(\): could not infer output dtype.*Got: Long"):
        ops.mean(np.ones(3, np.int64))


def test_arg_reductions_of_everything() -> None:
    assert ops.argmax(X) == X.argmax() and ops.argmax(X).shape == ()
    assert ops.argmin(X, keepdim=True).shape == (1, 1)
    assert ops.argmax(np.float32(3)) == 0
    np.testing.assert_array_equal(ops.argmin(X, -1), X.argmin(1))


# ---- matmul ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)),
        ((0, 3), (3, 2)), ((2, 2, 2, 3), (3, 4)),
    ],
)  # fmt: skip
def test_matmul_of_any_rank(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = RNG.standard_normal(a), RNG.standard_normal(b)
    np.testing.assert_allclose(ops.matmul(x, y), np.matmul(x, y), rtol=1e-12)
    program = weighted([array_meta(x), array_meta(y)], lambda x, y: [ops.matmul(x, y)], [x, y])
    check(program)
    check(backward(program))


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((64, 128), (64, 10), r"mat1 and mat2 shapes cannot be multiplied \(64x128 and 64x10\)"),
        ((2, 3, 4), (5, 6), r"mat1 and mat2 shapes cannot be multiplied \(6x4 and 5x6\)"),
        ((3,), (4,), "inconsistent tensor size, expected tensor"),
        ((2, 3), (4,), r"size mismatch, got input \(2\), mat \(2x3\), vec \(4\)"),
        ((), (4,), "both arguments to matmul need to be at least 1D, but they are 0D and 1D"),
        ((7, 2, 3), (7, 4, 3), r"batch2 tensor to be: \[7, 3\] but got: \[7, 4\]"),
    ],
)
def test_matmul_errors(a: tuple[int, ...], b: tuple[int, ...], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        ops.matmul(np.zeros(a, np.float32), np.zeros(b, np.float32))


def test_matmul_of_symbolic_sizes() -> None:
    assert shape_of(ops.matmul, f32(B, T, 8), f32(8, 3)) == (B, T, 3)
    assert shape_of(ops.matmul, f32(B, 4, T, 8), f32(8, T)) == (B, 4, T, T)
    with pytest.raises(UndecidedError):
        shape_of(ops.matmul, f32(2, B), f32(T, 3))


# ---- views -----------------------------------------------------------------------------------

V = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (ops.flatten(V), V.reshape(24)),
        (ops.flatten(V, 1), V.reshape(2, 12)),
        (ops.flatten(np.float32(1)), np.ones(1)),
        (ops.unflatten(V, -1, (2, -1)), V.reshape(2, 3, 2, 2)),
        (ops.reshape(V, (-1, 6)), V.reshape(4, 6)),
        (ops.squeeze(V[:1, :, :1]), V[0, :, 0]),
        (ops.squeeze(V[:1], 0), V[0]),
        (ops.squeeze(V, 0), V),
        (ops.unsqueeze(V, -1), V[..., None]),
        (ops.transpose(V, 0, -1), V.swapaxes(0, 2)),
        (ops.permute(V, (2, 0, -2)), V.transpose(2, 0, 1)),
        (ops.movedim(V, 0, 2), np.moveaxis(V, 0, 2)),
        (ops.flip(V, (0, -1)), V[::-1, :, ::-1]),
        (ops.expand(V[:, :1], (5, -1, 3, -1)), np.broadcast_to(V[:, :1], (5, 2, 3, 4))),
        (ops.narrow(V, 1, 1, 2), V[:, 1:3]),
        (ops.narrow(V, 1, -2, 1), V[:, 1:2]),
        (ops.slice(V, 2, 1, None, 2), V[:, :, 1::2]),
        (ops.slice(V, 2, -3, 100), V[:, :, -3:100]),
        (ops.slice(V, 2, 3, 1), V[:, :, 3:1]),
        (ops.select(V, 1, -1), V[:, -1]),
        (ops.stack([V, V], 1), np.stack([V, V], 1)),
        (ops.concatenate([V, V[:, :1]], -2), np.concatenate([V, V[:, :1]], 1)),
        (ops.concatenate([np.zeros(0, np.float32), V], 0), V),
        (ops.pad(V, (0, 1, -1), (1, 0, 0), value=7.0),
         np.pad(V[:, :, 1:], ((0, 1), (1, 0), (0, 0)), constant_values=7)),
    ],
)  # fmt: skip
def test_view(made: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_array_equal(made, wanted)


def test_parts() -> None:
    sizes = [p.shape[2] for p in ops.split(V, 3, 2)]
    assert sizes == [3, 1]
    assert [p.shape[2] for p in ops.split(V, [1, 0, 3], -1)] == [1, 0, 3]
    assert [p.shape[2] for p in ops.chunk(V, 3, 2)] == [2, 2]
    np.testing.assert_array_equal(np.stack(ops.unbind(V, 1)), V.swapaxes(0, 1))
    q, k, v = ops.chunk(np.zeros((2, 12)), 3, 1)
    assert q.shape == k.shape == v.shape == (2, 4)


def test_views_of_symbolic_sizes() -> None:
    assert shape_of(lambda x: ops.flatten(x, 1), f32(B, T, 8)) == (B, 8 * T)
    assert shape_of(lambda x: ops.reshape(x, (-1, 4)), f32(B, T, 8)) == (2 * B * T, 4)
    assert shape_of(lambda x: ops.chunk(x, 3, 2)[1], f32(B, T, 24)) == (B, T, 8)
    assert shape_of(lambda x: ops.chunk(x, 3, 0)[2], f32(3 * B)) == (B,)
    assert shape_of(lambda x: ops.slice(x, 0, 1), f32(B)) == (B - 1,)
    assert shape_of(lambda x: ops.slice(x, 0, None, -1), f32(B)) == (B - 1,)
    assert shape_of(lambda x: ops.flip(x, 0), f32(B, 2)) == (B, 2)
    assert shape_of(lambda x: ops.concatenate([x, x]), f32(B, 2)) == (2 * B, 2)
    assert shape_of(lambda x: ops.squeeze(ops.unsqueeze(x, 0)), f32(B, T)) == (B, T)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ops.reshape(V, (5, -1)), RuntimeError, r"shape '\[5, -1\]' is invalid for input"),
        (lambda: ops.reshape(V, (-1, -1)), RuntimeError, "only one dimension can be inferred"),
        (lambda: ops.reshape(V[:0], (-1, 0)), RuntimeError, "is ambiguous"),
        (lambda: ops.transpose(V, 0, 3), IndexError, r"expected to be in range of \[-3, 2\]"),
        (lambda: ops.select(V, 1, 3), IndexError, r"select\(\): index 3 out of range"),
        (lambda: ops.narrow(V, 1, 2, 2), RuntimeError, r"start \(2\) \+ length \(2\) exceeds"),
        (lambda: ops.split(V, [1, 1], 1), RuntimeError, "split_sizes to sum exactly to 3"),
        (lambda: ops.expand(V, (-1, 2, 3, 4)), RuntimeError, "isn't allowed in a leading"),
        (lambda: ops.stack([V, V[0]]), RuntimeError, "stack expects each tensor to be equal size"),
        (lambda: ops.flatten(V, 2, 1), RuntimeError, "start_dim cannot come after end_dim"),
        (lambda: ops.sum(V, (0, 0)), RuntimeError, "dim 0 appears multiple times"),
        (lambda: ops.clamp(V), RuntimeError, "At least one of 'min' or 'max' must not be None"),
        (lambda: ops.gelu(V, "erf"), RuntimeError, "approximate argument must be either none or"),
        (lambda: ops.neg(V > 0), RuntimeError, "Negation, the `-` operator, on a bool tensor"),
        (lambda: ops.bitwise_and(V, 1), RuntimeError, "not implemented for 'Float'"),
        (lambda: ops.amax(V[:0], 0), IndexError, "Expected reduction dim 0 to have non-zero size"),
    ],
)  # fmt: skip
def test_errors(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        (Reshape, {"shape": (6, 4)}),
        (Transpose, {"perm": (2, 0, 1)}),
        (Slice, {"starts": (0, 1, 3), "limits": (2, 3, -1), "strides": (1, 1, -2)}),
        (Slice, {"starts": (1, 0, 0), "limits": (2, 3, 4), "strides": (1, 2, 3)}),
        (Slice, {"starts": (1, 0, 0), "limits": (1, 3, 4), "strides": (1, 2, 3)}),
        (BroadcastTo, {"shape": (1, 2, 3, 4)}),
    ],
)
def test_unview_writes_through(op: type[View], attrs: dict[str, Any]) -> None:
    seen = evaluate(op, [V], attrs)
    new = -1 - np.arange(seen.size, dtype=np.float32).reshape(seen.shape)
    base = op.unview(V, new, attrs)
    np.testing.assert_array_equal(evaluate(op, [base], attrs), new)
    # What the view does not show stays.
    marks = op.unview(np.zeros_like(V), np.ones_like(new), attrs)
    np.testing.assert_array_equal(base[marks == 0], V[marks == 0])
    assert marks.sum() == new.size


def test_writing_into_an_expanded_tensor_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        BroadcastTo.unview(V, np.zeros((2, 2, 3, 4), np.float32), {"shape": (2, 2, 3, 4)})


# ---- what the generated tests do not reach ----------------------------------------------------


def test_prod_of_zeros_has_second_derivatives() -> None:
    for x in ([0.0, 2, 3], [0.0, 0, 3], [0.0, 0, 0], [1.0, 2, 3]):
        array = np.array([x, [1.0, 2, 3]])
        program = weighted([array_meta(array)], lambda x: [ops.prod(x, (0, 1))], [array])
        check(program)
        check(backward(program))


def test_extremes_share_their_gradient() -> None:
    x = np.array([2.0, 1, 2, 0])

    def slope(x: SSAValue) -> Sequence[SSAValue]:
        top = ops.amax(x)
        return [g for g in gradients([top], [ops.full_like(top, 1)], [x]) if g is not None]

    (got,) = oneop.run(oneop.build([array_meta(x)], slope), [x])
    np.testing.assert_array_equal(got, [0.5, 0, 0.5, 0])


def test_a_cast_takes_its_gradient_back() -> None:
    attrs = {"dtype": dt.float16}
    metas = array_meta(X), array_meta(X.astype(np.float16))
    node = Node(Cast, (None,), (None,), attrs, metas[:1], metas[1:], (True,))
    (back,) = Cast.vjp(node, X.astype(np.float16))
    assert back is not None and back.dtype == np.float32
    assert bind(Cast, (X,), attrs).dtype == np.float16


def test_devices_do_not_mix() -> None:
    cpu, cuda = f32(2), TensorMeta((2,), dt.float32, "cuda:0")
    words = "Expected all tensors to be on the same device, but found at least two devices, cpu and"
    with pytest.raises(RuntimeError, match=words):
        oneop.build([cpu, cuda], lambda x, y: [ops.add(x, y)])


def test_zeros_of_both_signs_are_not_one_constant() -> None:
    block = Block()
    b = LinalgBuilder(block, {})
    for data, repeated in (([0.0, -0.0], False), ([-0.0, -0.0], True), ([np.nan, np.nan], True)):
        made = b.dense(np.array(data, np.float32), f32(2))
        assert isinstance(made, Lazy) is repeated


def test_errors_name_sizes_that_were_met_and_symbols_of_others() -> None:
    metas = f32(B, 5), f32(4, 3)
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(Bx5 and 4x3\)"):
        infer(Matmul, metas, {})
    message = r"cannot be multiplied \(7x5 and 4x3\)"
    with SymEnv({"B": 7}), pytest.raises(RuntimeError, match=message):
        infer(Matmul, metas, {})
    assert str(metas[0]) == "f32[Bx5]"


def test_a_size_that_nothing_tells_is_ambiguous_only_without_elements() -> None:
    with pytest.raises(RuntimeError, match=r"into shape \[-1, 0\] because"):
        ops.reshape(np.zeros(0), (-1, 0))
    with pytest.raises(RuntimeError, match=r"shape '\[-1, 0\]' is invalid for input of size 2"):
        ops.reshape(np.zeros(2), (-1, 0))
