"""The methods of tensors against NumPy, eager and compiled: values, dtypes, shapes, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
from calque import Tensor

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
P = np.abs(X) + 0.1
N = np.array([[3, 1, 2, 0], [0, 0, 3, 1], [2, 2, 2, 2]])
B = X > 0
K = np.array([2, 0])

Case = tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def put(x: np.ndarray, where: Any, value: Any) -> np.ndarray:
    out = x.copy()
    out[where] = value
    return out


def added(x: np.ndarray, index: np.ndarray, source: np.ndarray) -> np.ndarray:
    out = x.copy()
    np.add.at(out, index, source)
    return out


def scattered(x: np.ndarray, index: np.ndarray, source: Any) -> np.ndarray:
    out = x.copy()
    np.put_along_axis(out, index, source, 1)
    return out


CASES: dict[str, Case] = {
    # arithmetic
    "add": (lambda x, y: x.add(y, alpha=2), lambda x, y: x + 2 * y, (X, Y)),
    "sub": (lambda x, y: x.sub(y, alpha=0.5), lambda x, y: x - 0.5 * y, (X, Y)),
    "rsub": (lambda x: 1 - x, lambda x: 1 - x, (X,)),
    "div": (lambda x, y: x.div(y), lambda x, y: x / y, (X, Y)),
    "div floor": (lambda x, y: x.div(y, rounding_mode="floor"), np.floor_divide, (N, K[:1] + 1)),
    "div trunc": (lambda x, y: x.div(y, rounding_mode="trunc"),
                  lambda x, y: np.trunc(x / y).astype(x.dtype), (-N, K[:1] + 1)),
    "int / int": (lambda x: x / 2, lambda x: (x / 2).astype(np.float32), (N,)),
    "remainder": (lambda x: x % 1.5, lambda x: np.remainder(x, np.float32(1.5)), (X,)),
    "pow": (lambda x: x**2.5, lambda x: x**2.5, (P,)),
    "rpow": (lambda x: 2**x, lambda x: (2**x).astype(np.float32), (X,)),
    "matmul": (lambda x, y: x @ y.T, lambda x, y: x @ y.T, (X, Y)),
    "mm": (lambda x, y: x.mm(y.t()), lambda x, y: x @ y.T, (X, Y)),
    "bmm": (lambda x: x.unsqueeze(0).bmm(x.T.unsqueeze(0)), lambda x: (x @ x.T)[None], (X,)),
    "mv": (lambda x: x.mv(x[0]), lambda x: x @ x[0], (X,)),
    "dot": (lambda x: x[0].dot(x[1]), lambda x: x[0] @ x[1], (X,)),
    "outer": (lambda x: x[0].outer(x[1]), lambda x: np.outer(x[0], x[1]), (X,)),
    "lerp": (lambda x, y: x.lerp(y, 0.25), lambda x, y: x + np.float32(0.25) * (y - x), (X, Y)),
    "addcmul": (lambda x, y: x.addcmul(x, y, value=2), lambda x, y: x + 2 * x * y, (X, Y)),
    "addcdiv": (lambda x, y: x.addcdiv(x, y, value=2), lambda x, y: x + 2 * (x / y), (X, Y)),
    # comparison, logic
    "compare": (lambda x, y: (x < y) | (x.ge(1)), lambda x, y: (x < y) | (x >= 1), (X, Y)),
    "xor": (lambda x: x ^ 5, lambda x: x ^ 5, (N,)),
    "shift": (lambda x: (x << 2) >> 1, lambda x: (x << 2) >> 1, (N,)),
    "not": (lambda x: ~x, lambda x: ~x, (B,)),
    "where": (lambda x, m: x.where(m, 0.0), lambda x, m: np.where(m, x, np.float32(0)), (X, B)),
    "masked_fill": (lambda x, m: x.masked_fill(m, 7), lambda x, m: put(x, m, 7), (X, B)),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), lambda x: x.clip(-0.5, 0.5), (X,)),
    # functions
    "exp": (lambda x: x.exp(), np.exp, (X,)),
    "log": (lambda x: x.log(), np.log, (P,)),
    "sqrt": (lambda x: x.sqrt(), np.sqrt, (P,)),
    "rsqrt": (lambda x: x.rsqrt(), lambda x: 1 / np.sqrt(x), (P,)),
    "trigonometry": (lambda x: x.sin() + x.cos().atan(), lambda x: np.sin(x) + np.arctan(np.cos(x)),
                     (X,)),
    "tanh": (lambda x: x.tanh(), np.tanh, (X,)),
    "sigmoid": (lambda x: x.sigmoid(), lambda x: 1 / (1 + np.exp(-x)), (X,)),
    "relu": (lambda x: x.relu(), lambda x: np.maximum(x, 0), (X,)),
    "round": (lambda x: (x * 4).round(), lambda x: np.round(x * 4), (X,)),
    "isnan": (lambda x: (x / 0).isnan() | (x / 0).isinf(), lambda x: np.ones_like(x, bool), (X,)),
    # reductions
    "sum": (lambda x: x.sum(), np.sum, (X,)),
    "sum dim": (lambda x: x.sum(1, keepdim=True), lambda x: x.sum(1, keepdims=True), (X,)),
    "sum dims": (lambda x: x.sum((0, 1)), np.sum, (X,)),
    "sum of bools": (lambda x: x.sum(0), lambda x: x.sum(0), (B,)),
    "mean": (lambda x: x.mean(-1), lambda x: x.mean(-1), (X,)),
    "var": (lambda x: x.var(1), lambda x: x.var(1, ddof=1), (X,)),
    "std": (lambda x: x.std(unbiased=False), lambda x: x.std(), (X,)),
    "norm": (lambda x: x.norm(), lambda x: np.sqrt((x * x).sum()), (X,)),
    "norm 1": (lambda x: x.norm(1, 0), lambda x: np.abs(x).sum(0), (X,)),
    "norm inf": (lambda x: x.norm(float("inf"), 0), lambda x: np.abs(x).max(0), (X,)),
    "max": (lambda x: x.max(), np.max, (X,)),
    "max dim": (lambda x: x.max(1), lambda x: (x.max(1), x.argmax(1)), (X,)),
    "min dim": (lambda x: x.min(0, keepdim=True),
                lambda x: (x.min(0, keepdims=True), x.argmin(0)[None]), (X,)),
    "max other": (lambda x, y: x.max(y), np.maximum, (X, Y)),
    "argmax": (lambda x: x.argmax(), np.argmax, (X,)),
    "any": (lambda x: x.any(0), lambda x: x.any(0), (B,)),
    "all": (lambda x: x.all(), lambda x: x.all(), (B,)),
    "prod": (lambda x: x.prod(1), lambda x: x.prod(1), (X,)),
    "softmax": (lambda x: x.softmax(1), lambda x: softmax(x, 1), (X,)),
    "log_softmax": (lambda x: x.log_softmax(0), lambda x: np.log(softmax(x, 0)), (X,)),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: np.log(np.exp(x).sum(1)), (X,)),
    # shapes
    "reshape": (lambda x: x.reshape(2, -1), lambda x: x.reshape(2, -1), (X,)),
    "view": (lambda x: x.view(12).view_as(x.T.contiguous()), lambda x: x.reshape(4, 3), (X,)),
    "T": (lambda x: x.T, lambda x: x.T, (X,)),
    "permute": (lambda x: x.unsqueeze(1).permute(2, 0, 1), lambda x: x[:, None].transpose(2, 0, 1),
                (X,)),
    "squeeze": (lambda x: x[:1].unsqueeze(-1).squeeze(), lambda x: x[0], (X,)),
    "flatten": (lambda x: x.flatten(), lambda x: x.reshape(-1), (X,)),
    "unflatten": (lambda x: x.unflatten(1, (2, -1)), lambda x: x.reshape(3, 2, 2), (X,)),
    "expand": (lambda x: x[:1].expand(5, -1), lambda x: np.broadcast_to(x[:1], (5, 4)), (X,)),
    "tile": (lambda x: x.tile((2,)), lambda x: np.tile(x, 2), (X,)),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda x: np.tile(x, (2, 1, 3)), (X,)),
    "flip": (lambda x: x.flip(0, 1), lambda x: x[::-1, ::-1], (X,)),
    "chunk": (lambda x: x.chunk(3, 1), lambda x: (x[:, :2], x[:, 2:]), (X,)),
    "split": (lambda x: x.split([1, 3], 1), lambda x: (x[:, :1], x[:, 1:]), (X,)),
    "unbind": (lambda x: x.unbind(0), lambda x: tuple(x), (X,)),
    "narrow": (lambda x: x.narrow(1, 1, 2), lambda x: x[:, 1:3], (X,)),
    "tril": (lambda x: x.tril(-1), lambda x: np.tril(x, -1), (X,)),
    "triu": (lambda x: x.triu(), np.triu, (B,)),
    # indices
    "gather": (lambda x, i: x.gather(1, i), lambda x, i: np.take_along_axis(x, i, 1), (X, N)),
    "index_select": (lambda x, k: x.index_select(0, k), lambda x, k: x[k], (X, K)),
    "index": (lambda x, k: x[k, 1:], lambda x, k: x[k, 1:], (X, K)),
    "negative step": (lambda x: x[1, -3:-1], lambda x: x[1, -3:-1], (X,)),
    "None and ellipsis": (lambda x: x[..., None, 1], lambda x: x[..., None, 1], (X,)),
    "scatter": (lambda x, i: x.scatter(1, i[:2, :1], 9.0),
                lambda x, i: np.concatenate([scattered(x[:2], i[:2, :1], 9), x[2:]]), (X, N)),
    "index_add": (lambda x, k, y: x.index_add(0, k, y[:2], alpha=2),
                  lambda x, k, y: added(x, k, 2 * y[:2]), (X, K, Y)),
    "index_fill": (lambda x, k: x.index_fill(1, k, -1), lambda x, k: put(x, (slice(None), k), -1),
                   (X, K)),
    "index_copy": (lambda x, k, y: x.index_copy(0, k, y[:2]), lambda x, k, y: put(x, k, y[:2]),
                   (X, K, Y)),
    # dtypes
    "double": (lambda x: x.double(), lambda x: x.astype(np.float64), (X,)),
    "long": (lambda x: (x * 10).long(), lambda x: (x * 10).astype(np.int64), (X,)),
    "bool": (lambda x: x.bool(), lambda x: x.astype(bool), (N,)),
    "to": (lambda x: x.to(calque.float64) + 1, lambda x: x.astype(np.float64) + 1, (X,)),
    "type_as": (lambda x, i: i.type_as(x), lambda x, i: i.astype(np.float32), (X, N)),
    # new tensors
    "new": (lambda x: x.new_ones(2) + x.new_full((2,), 3) + x.new_zeros((2,)),
            lambda x: np.full(2, 4, np.float32), (X,)),
    # writes
    "add_": (lambda x, y: x.clone().add_(y).mul_(2), lambda x, y: (x + y) * 2, (X, Y)),
    "fill_": (lambda x: x.clone().fill_(2.5), lambda x: np.full_like(x, 2.5), (X,)),
    "fill_ int": (lambda x: x.clone().fill_(2.5), lambda x: np.full_like(x, 2), (N,)),
    "masked_fill_": (lambda x, m: x.clone().masked_fill_(m, 0), lambda x, m: put(x, m, 0), (X, B)),
    "clamp_": (lambda x: x.clone().clamp_(min=0).sqrt_(), lambda x: np.sqrt(np.maximum(x, 0)),
               (X,)),
    "copy_": (lambda x, i: x.clone().copy_(i[0]),
              lambda x, i: np.broadcast_to(i[0], x.shape).astype(np.float32), (X, N)),
}  # fmt: skip


def leaves(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple | list) else [out]


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", CASES)
def test_method(name: str, wrap: Any) -> None:
    method, reference, data = CASES[name]
    found = wrap(lambda *a: method(*a))(*map(calque.tensor, data))
    with np.errstate(all="ignore"):
        wanted = reference(*data)
    for a, b in zip(leaves(found), leaves(wanted), strict=True):
        assert isinstance(a, Tensor)
        array, expected = a.numpy(), np.asarray(b)
        assert array.dtype == expected.dtype
        assert array.shape == expected.shape
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)


def test_extremes_have_names() -> None:
    found = calque.tensor(X).max(1)
    assert found.values is found[0]
    assert found.indices is found[1]


def test_the_gradient_of_an_extreme_goes_to_the_one_taken() -> None:
    x = calque.tensor([[1.0, 3.0, 3.0]], requires_grad=True)
    x.max(1).values.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0, 0.0]]


def test_view_shares_and_reshape_may_copy() -> None:
    x = calque.tensor(X)
    x.view(12)[0] = 100
    assert x[0, 0].item() == 100
    x.T.reshape(12)[0] = 5
    assert x[0, 0].item() == 100
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.T.view(12)


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile], ids=["eager", "compiled"])
def test_flip_copies(wrap: Any) -> None:
    def f(x: Tensor) -> Tensor:
        y = x.clone()
        y.flip(0).zero_()
        return y

    np.testing.assert_array_equal(wrap(f)(calque.tensor(X)).numpy(), X)


def test_contiguous_is_itself() -> None:
    x = calque.tensor(X)
    assert x.contiguous() is x
    assert not x.T.is_contiguous()
    assert x.T.contiguous().is_contiguous()


def test_detach_shares_memory() -> None:
    x = calque.tensor(X, requires_grad=True)
    y = x.detach()
    assert not y.requires_grad
    y[0, 0] = 5
    assert x[0, 0].item() == 5
    z = x * 2
    z.detach_()
    assert z.grad_fn is None
    assert not z.requires_grad


def test_clone_has_its_own_memory_and_a_gradient() -> None:
    x = calque.tensor(X, requires_grad=True)
    y = x.clone()
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), np.ones_like(X))
    y.detach().zero_()
    np.testing.assert_array_equal(x.detach().numpy(), X)


WRONG: dict[str, tuple[Callable[[Tensor], Any], type[Exception], str]] = {
    "mean of integers": (lambda x: x.long().mean(), RuntimeError, "floating point"),
    "float into int": (lambda x: x.long().add_(0.5), RuntimeError, "result type Float can't be"),
    "larger result": (lambda x: x[0].clone().add_(x), RuntimeError, "doesn't match the broadcast"),
    "mask dtype": (lambda x: x.masked_fill(x, 0), RuntimeError, "boolean masks"),
    "fill with many": (lambda x: x.fill_(x), RuntimeError, "0-dimension value tensor"),
    "t of 3D": (lambda x: x.unsqueeze(0).t(), RuntimeError, "<= 2 dimensions"),
    "mm of vectors": (lambda x: x[0].mm(x), RuntimeError, "must be a matrix"),
    "repeat": (lambda x: x.repeat(2), RuntimeError, "can not be smaller than number of dim"),
    "rounding mode": (lambda x: x.div(2, rounding_mode="up"), RuntimeError, "rounding_mode"),
    "norm": (lambda x: x.norm("nuc"), RuntimeError, "norm of order 'nuc'"),
    "split": (lambda x: x.split([1, 1], 1), RuntimeError, "split"),
    "squeeze dim": (lambda x: x.squeeze(5), IndexError, "Dimension out of range"),
    "size of a dim": (lambda x: x.size(5), IndexError, "Dimension out of range"),
    "index": (lambda x: x[7], IndexError, "out of bounds"),
    "float index": (lambda x: x[1.0], IndexError, "only integers, slices"),
    "no step": (lambda x: calque.arange(0, 3, 0), RuntimeError, "step must be nonzero"),
    "other way": (lambda x: calque.arange(1, 0), RuntimeError, "inconsistent with step sign"),
    "gradient": (lambda x: setattr(x, "grad", x[0]), RuntimeError, "assign a gradient of size"),
    "leaf": (lambda x: x.requires_grad_().add_(1), RuntimeError, "a leaf Variable"),
    "item": (lambda x: x.item(), RuntimeError, "cannot be converted to Scalar"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(name: str) -> None:
    wrong, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        wrong(calque.tensor(X))


def test_comparison_with_none_is_pythons() -> None:
    x: Any = calque.tensor(X)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711


def test_flags_are_filled_with_numbers() -> None:
    flags = calque.tensor([True, True, False])
    assert flags.masked_fill_(flags, 0).tolist() == [False, False, False]
    assert flags.dtype is calque.bool
    filled = flags.masked_fill(~flags, 2)
    assert filled.dtype is calque.bool and filled.tolist() == [True, True, True]


@pytest.mark.parametrize("wrap", [lambda f: f, calque.compile])
def test_operators_leave_what_is_no_tensor_to_python(wrap: Any) -> None:
    x, nothing, text = calque.ones(2), None, "a"
    assert wrap(lambda x: (x == nothing, x != nothing, nothing in [x]))(x) == (False, True, False)
    with pytest.raises(TypeError, match=r"unsupported .* for \+: 'Tensor' and 'str'"):
        wrap(lambda x: x + text)(x)
    with pytest.raises(TypeError, match=r"unsupported .* for -=: 'Tensor' and 'NoneType'"):
        wrap(lambda x: _subtract(x, nothing))(x)
    with pytest.raises(TypeError, match="not supported between instances of 'Tensor' and 'str'"):
        wrap(lambda x: x < text)(x)


def _subtract(x: Any, y: Any) -> Any:
    x -= y
    return x
