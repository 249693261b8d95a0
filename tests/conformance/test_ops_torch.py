"""The operators' references and functions against PyTorch: values, dtypes, gradients, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needs
from calque.ir import dtype as dt
from calque.ir import ops
from calque.ir.dialect import BY_NAME
from calque.ir.op import Node, Op, Sample, array_meta, evaluate
from oneop import samples

torch = needs.torch()
pytestmark = pytest.mark.conformance

UNARY = [
    "neg", "abs", "sign", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt",
    "sin", "cos", "tan", "tanh", "asin", "acos", "atan", "sinh", "cosh", "erf", "sigmoid", "floor",
    "ceil", "round", "trunc", "isnan", "isinf", "isfinite", "bitwise_not", "relu",
]  # fmt: skip
BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "floor_divide": "floor_divide",
    "remainder": "remainder", "pow": "pow", "maximum": "maximum", "minimum": "minimum",
    "atan2": "atan2", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge",
    "bitwise_and": "bitwise_and", "bitwise_or": "bitwise_or", "bitwise_xor": "bitwise_xor",
    "shift_left": "bitwise_left_shift", "shift_right": "bitwise_right_shift", "select": "where",
}  # fmt: skip


def to_torch(x: np.ndarray) -> Any:
    if dt.from_numpy(x.dtype) is dt.bfloat16:
        return torch.from_numpy(x.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(x))


def from_torch(x: Any) -> np.ndarray:
    if x.dtype is torch.bfloat16:
        return x.view(torch.int16).numpy().view(dt.bfloat16.numpy)
    return x.numpy()


def compare(got: np.ndarray, wanted: np.ndarray) -> None:
    """Equal dtypes and shapes; floats to some units in the last place."""
    assert array_meta(got) == array_meta(wanted)
    if got.dtype.kind in "iub":
        np.testing.assert_array_equal(got, wanted)
        return
    close = {8: 1e-13, 4: 1e-6, 2: 1e-2}[got.dtype.itemsize]
    np.testing.assert_allclose(
        got.astype(np.float64), wanted.astype(np.float64), rtol=close, atol=1e-37
    )


def defined(op: type[Op], sample: Sample) -> bool:
    """Whether PyTorch defines the result: it raises for integer division by zero."""
    if op.name in ("calque.floor_divide", "calque.remainder"):
        x, y = sample.args
        if x.dtype.kind in "iu":
            overflow = x.dtype.kind == "i" and ((x == np.iinfo(x.dtype).min) & (y == -1)).any()
            return bool((y != 0).all()) and not overflow
    if op.name == "calque.remainder" and sample.args[0].dtype.kind not in "iub":
        x, y = (a.astype(np.float64) for a in sample.args)
        with np.errstate(all="ignore"):
            return not (np.abs(x / y)[np.isfinite(x) & (y != 0)] > 1e20).any()
    return True


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_values(name: str) -> None:
    op, function = BY_NAME[f"calque.{name}"], getattr(torch, BINARY.get(name, name))
    for sample in samples(op):
        if not defined(op, sample):
            continue
        wanted = from_torch(function(*map(to_torch, sample.args)))
        compare(evaluate(op, sample.args, sample.attrs), wanted)


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_gradients(name: str) -> None:
    op, function = BY_NAME[f"calque.{name}"], getattr(torch, BINARY.get(name, name))
    for sample in samples(op):
        floats = [
            i for i, a in enumerate(sample.args) if a.dtype.kind == "f" and a.dtype.itemsize > 2
        ]
        if not floats or not sample.grad or name == "floor_divide":
            continue
        out = evaluate(op, sample.args, sample.attrs)
        if out.dtype.kind in "iub":
            continue
        operands = [to_torch(a) for a in sample.args]
        for i in floats:
            operands[i].requires_grad_()
        function(*operands).sum().backward()
        metas = [array_meta(a) for a in sample.args]
        node = Node(op, sample.args, (out,), sample.attrs, metas, [array_meta(out)], (True,) * 3)
        found = op.vjp(node, np.ones_like(out))
        for i in floats:
            wanted = operands[i].grad.numpy()
            got = found[i] if found[i] is not None else np.zeros_like(wanted)
            np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-5, atol=1e-6)


REDUCTIONS = ["sum", "prod", "amax", "amin", "any", "all"]


@pytest.mark.parametrize("name", [*REDUCTIONS, "argmax", "argmin", "softmax", "log_softmax"])
def test_reductions(name: str) -> None:
    op, function = BY_NAME[f"calque.{name}"], getattr(torch, name)
    for sample in samples(op):
        x, attrs = to_torch(sample.args[0]), sample.attrs
        if "dim" in attrs:
            if x.dtype is torch.bool:  # which PyTorch's argmax refuses
                continue
            wanted = function(x, **attrs)
        elif not attrs["dims"]:
            continue
        elif name == "prod":
            if len(attrs["dims"]) > 1:
                continue
            wanted = function(x, attrs["dims"][0], attrs["keepdim"], dtype=x.dtype)
        elif name == "sum":
            wanted = function(x, attrs["dims"], attrs["keepdim"], dtype=x.dtype)
        else:
            wanted = function(x, attrs["dims"], attrs["keepdim"])
        got = evaluate(op, sample.args, attrs)
        if got.dtype.kind in "iub":
            compare(got, from_torch(wanted))
        else:
            close = {8: 1e-12, 4: 1e-5, 2: 1e-2}[got.dtype.itemsize]
            np.testing.assert_allclose(
                got.astype(np.float64), from_torch(wanted).astype(np.float64), close, 1e-6
            )


@pytest.mark.parametrize("a", dt.ALL, ids=str)
@pytest.mark.parametrize("b", [*dt.ALL, True, 3, 2.5], ids=str)
@pytest.mark.parametrize("ranks", [(1, 1), (1, 0), (0, 1), (0, 0)], ids=str)
def test_promotion(a: dt.DType, b: Any, ranks: tuple[int, int]) -> None:
    x = np.ones((2,) * ranks[0], a.numpy)
    y = np.ones((2,) * ranks[1], b.numpy) if isinstance(b, dt.DType) else b
    ours = ops.mul(x, y)
    theirs = to_torch(x) * (to_torch(y) if isinstance(y, np.ndarray) else y)
    assert array_meta(ours).dtype.name == str(theirs.dtype).removeprefix("torch.")


X = np.random.default_rng(3).standard_normal((3, 4, 5)).astype(np.float32)
F = torch.nn.functional
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "mean": (lambda x: ops.mean(x, (0, 2)), lambda x: x.mean((0, 2))),
    "var": (lambda x: ops.var(x, 1, 2), lambda x: x.var(1, correction=2)),
    "std": (lambda x: ops.std(x), lambda x: x.std()),
    "logsumexp": (lambda x: ops.logsumexp(x, (0, 1)), lambda x: x.logsumexp((0, 1))),
    "softmax": (lambda x: ops.softmax(x, 1), lambda x: x.softmax(1)),
    "gelu": (ops.gelu, F.gelu),
    "gelu_tanh": (lambda x: ops.gelu(x, "tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "silu": (ops.silu, F.silu),
    "softplus": (lambda x: ops.softplus(x, 2, 1), lambda x: F.softplus(x, 2, 1)),
    "clamp": (lambda x: ops.clamp(x, -0.3, 0.4), lambda x: x.clamp(-0.3, 0.4)),
    "clamp_crossed": (lambda x: ops.clamp(x, 0.5, -0.5), lambda x: x.clamp(0.5, -0.5)),
    "pow": (lambda x: ops.pow(x, 3), lambda x: x**3),
    "rpow": (lambda x: ops.pow(2, x), lambda x: 2**x),
    "prod": (lambda x: ops.prod(x, 1), lambda x: x.prod(1)),
    "matmul": (lambda x: ops.matmul(x, x[0].T), lambda x: x @ x[0].T),
    "flip": (lambda x: ops.flip(x, (0, 2)), lambda x: x.flip(0, 2)),
    "movedim": (lambda x: ops.movedim(x, 0, -1), lambda x: x.movedim(0, -1)),
    "pad": (lambda x: ops.pad(x, (0, -1, 2), (0, 2, 1)), lambda x: F.pad(x, (2, 1, -1, 2))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    ours, theirs = FUNCTIONS[name]
    got, wanted = ours(X), theirs(to_torch(X)).numpy()
    assert got.dtype == wanted.dtype and got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-6)


ERRORS: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda x: ops.matmul(x[0], x[0]), lambda x: x[0] @ x[0]),
    (lambda x: ops.matmul(x, x[0]), lambda x: x @ x[0]),
    (lambda x: ops.matmul(x[0, 0], x[0, :, 0]), lambda x: x[0, 0] @ x[0, :, 0]),
    (lambda x: ops.add(x, x[:2, :2]), lambda x: x + x[:2, :2]),
    (lambda x: ops.reshape(x, (7, -1)), lambda x: x.reshape(7, -1)),
    (lambda x: ops.sum(x, 3), lambda x: x.sum(3)),
    (lambda x: ops.sum(x, (0, 0)), lambda x: x.sum((0, 0))),
    (lambda x: ops.neg(x > 0), lambda x: -(x > 0)),
    (lambda x: ops.sub(x > 0, x > 0), lambda x: (x > 0) - (x > 0)),
    (lambda x: ops.mean(ops.cast(x, dt.int64)), lambda x: x.long().mean()),
    (lambda x: ops.amax(x[:, :0], 1), lambda x: x[:, :0].amax(1)),
    (lambda x: ops.expand(x, (3, 4, 6)), lambda x: x.expand(3, 4, 6)),
    (lambda x: ops.permute(x, (0, 1, 1)), lambda x: x.permute(0, 1, 1)),
    (lambda x: ops.select(x, 1, 4), lambda x: x.select(1, 4)),
    (lambda x: ops.narrow(x, 1, 2, 3), lambda x: x.narrow(1, 2, 3)),
    (lambda x: ops.split(x, [1, 2], 1), lambda x: x.split([1, 2], 1)),
    (lambda x: ops.stack([x, x[0]]), lambda x: torch.stack([x, x[0]])),
    (lambda x: ops.concatenate([x, x[:, :, :2]]), lambda x: torch.cat([x, x[:, :, :2]])),
    (lambda x: ops.concatenate([x, x[0]]), lambda x: torch.cat([x, x[0]])),
    (lambda x: ops.pow(ops.cast(x, dt.int64), -1), lambda x: x.long() ** -1),
    (lambda x: ops.outer(x, x), lambda x: torch.outer(x, x)),
    (lambda x: ops.flatten(x, 2, 1), lambda x: x.flatten(2, 1)),
    (lambda x: ops.squeeze(x, 5), lambda x: x.squeeze(5)),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(case: int) -> None:
    ours, theirs = ERRORS[case]
    with pytest.raises((RuntimeError, IndexError)) as wanted:
        theirs(to_torch(X))
    with pytest.raises((RuntimeError, IndexError)) as got:
        ours(X)
    assert str(got.value).rstrip(".") in str(wanted.value), str(wanted.value)
    assert type(got.value) is wanted.type
