"""Small programs of the kinds that fusion is made for, each with its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from calque.ir import dtype as dt
from calque.ir import ops
from calque.ir.sym import Dim, symbol
from calque.ir.types import TensorMeta, meta_of
from gradcheck import grad

Values = Sequence[SSAValue]


@dataclass(frozen=True)
class Program:
    """`body` on arguments of these shapes; `heroes` are those of its groups, in their order."""

    shapes: tuple[tuple[Dim, ...], ...]
    body: Callable[..., Values]
    heroes: str
    integers: int = 0  # how many of the last arguments are indices

    @property
    def metas(self) -> list[TensorMeta]:
        count = len(self.shapes) - self.integers
        kinds = [dt.float32] * count + [dt.int64] * self.integers
        return [TensorMeta(s, k) for s, k in zip(self.shapes, kinds, strict=True)]


def normalize(x: SSAValue, weight: SSAValue, bias: SSAValue) -> SSAValue:
    """Layer normalization over the last dimension."""
    centered = ops.sub(x, ops.mean(x, -1, keepdim=True))
    variance = ops.mean(ops.mul(centered, centered), -1, keepdim=True)
    return ops.add(ops.mul(ops.mul(centered, ops.rsqrt(ops.add(variance, 1e-5))), weight), bias)


def _softmax(x: SSAValue) -> Values:
    y = ops.softmax(x, -1)
    return [y, *grad(ops.mul(y, y), x)]


def _layer_norm(x: SSAValue, w: SSAValue, b: SSAValue) -> Values:
    y = normalize(x, w, b)
    return [y, *grad(ops.mul(y, y), x, w, b)]


def _mlp(x: SSAValue, w1: SSAValue, b1: SSAValue, w2: SSAValue) -> Values:
    hidden = ops.gelu(ops.add(ops.matmul(x, ops.transpose(w1, 0, 1)), b1))
    y = ops.add(x, ops.matmul(hidden, w2))
    return [y, *grad(ops.mul(y, y), x, w1, b1, w2)]


def _attention(x: SSAValue, w: SSAValue) -> Values:
    b, t, c = meta_of(x).shape
    h = ops.matmul(x, w)
    parts = [ops.narrow(h, 2, i * c, c) for i in range(3)]
    q, k, v = (ops.transpose(ops.reshape(p, (b, t, 2, c // 2)), 1, 2) for p in parts)
    scores = ops.mul(ops.matmul(q, ops.transpose(k, -2, -1)), 0.5)
    rows = ops.iota(t, dt.int64, x)
    causal = ops.ge(ops.reshape(rows, (t, 1)), ops.reshape(rows, (1, t)))
    weights = ops.softmax(ops.where(causal, scores, float("-inf")), -1)
    y = ops.reshape(ops.transpose(ops.matmul(weights, v), 1, 2), (b, t, c))
    return [y, *grad(ops.mul(y, y), x, w)]


def _cross_entropy(x: SSAValue, target: SSAValue) -> Values:
    n, _ = meta_of(x).shape
    picked = ops.gather(ops.log_softmax(x, 1), 1, ops.reshape(target, (n, 1)))
    loss = ops.neg(ops.mean(picked))
    return [loss, *grad(loss, x)]


def _columns(x: SSAValue, y: SSAValue) -> Values:
    product = ops.mul(x, y)
    return [ops.exp(ops.sum(product, 0)), ops.amax(product, 0, keepdim=True)]


def _batch_norm(x: SSAValue) -> Values:
    mean = ops.mean(x, (0, 2, 3), keepdim=True)
    centered = ops.sub(x, mean)
    variance = ops.mean(ops.mul(centered, centered), (0, 2, 3), keepdim=True)
    y = ops.relu(ops.mul(centered, ops.rsqrt(ops.add(variance, 1e-5))))
    return [y, *grad(ops.mul(y, y), x)]


def _embedding(weight: SSAValue, position: SSAValue, index: SSAValue) -> Values:
    x = ops.add(ops.take(weight, 0, index), position)
    return [x, *grad(ops.mul(x, x), weight, position)]


def _views(x: SSAValue, y: SSAValue) -> Values:
    """Views of views, a mask, a constant, and a value that is read in two orders."""
    a = ops.exp(ops.transpose(x, 0, 1))
    b = ops.add(a, ops.narrow(y, 1, 1, meta_of(a).shape[1]))
    return [ops.transpose(b, 0, 1), ops.sum(b, 1), ops.reshape(b, (meta_of(b).numel,)), x]


def _convolution(x: SSAValue, w: SSAValue, bias: SSAValue) -> Values:
    y = ops.conv(x, w, padding=1)
    y = ops.relu(ops.add(y, ops.reshape(bias, (1, meta_of(bias).shape[0], 1, 1))))
    return [y, *grad(ops.mul(y, y), x, w, bias)]


def _prologue(x: SSAValue, shift: SSAValue, w: SSAValue) -> Values:
    """Operands are computed: one row by row and in two products, one transposed."""
    rows = ops.relu(ops.sub(x, shift))
    y = ops.matmul(rows, ops.transpose(ops.neg(w), 0, 1))
    return [y, ops.matmul(ops.transpose(rows, 0, 1), x)]


def _heads(x: SSAValue, w: SSAValue) -> Values:
    """A batch of products whose operand is split, reordered and joined again."""
    b, t, c = meta_of(x).shape
    parts = ops.transpose(ops.reshape(ops.mul(x, 2.0), (b, t, 4, c // 4)), 1, 2)
    scores = ops.matmul(parts, ops.transpose(parts, -2, -1))
    joined = ops.reshape(ops.transpose(ops.reshape(x, (b, t, 4, c // 4)), 1, 2), (b * t, c))
    return [scores, ops.matmul(joined, w)]


def _long(x: SSAValue, w: SSAValue) -> Values:
    """The sum starts again after blocks of what is computed."""
    return [ops.matmul(ops.tanh(x), w), ops.matmul(x, ops.neg(w))]


def _gate(x: SSAValue, w: SSAValue, v: SSAValue) -> Values:
    """A product read in parts, and their gradients joined."""
    h = ops.matmul(x, w)
    a, b = (ops.narrow(h, 1, i * 20, 20) for i in range(2))
    y = ops.matmul(ops.mul(ops.relu(a), b), v)
    return [y, *grad(ops.mul(y, y), x, w, v)]


def _joined(x: SSAValue, y: SSAValue, w: SSAValue) -> Values:
    """Operands that are joined of tensors, along the sum, along rows and columns."""
    right = ops.concatenate([w, ops.neg(w)], 0)
    rows = ops.concatenate([x, y, x], 0)
    wide = ops.concatenate([x, ops.matmul(y, ops.concatenate([w, w], 1))], 1)
    return [ops.matmul(wide, right), ops.matmul(ops.transpose(w, 0, 1), ops.transpose(rows, 0, 1))]


def _rotary(x: SSAValue, c: SSAValue, s: SSAValue) -> Values:
    """Halves of rows exchanged, one of them negated."""
    half = meta_of(x).shape[-1] // 2
    a, b = (ops.narrow(x, 2, i * half, half) for i in range(2))
    y = ops.add(ops.mul(x, c), ops.mul(ops.concatenate([ops.neg(b), a], 2), s))
    return [y, *grad(ops.mul(y, y), x, c)]


def _borders(x: SSAValue, y: SSAValue) -> Values:
    """Joined and padded tensors, of views and of joined ones, whose rows are normalized and
    summed."""
    scores = ops.relu(ops.concatenate([ops.transpose(x, 0, 1), ops.neg(y)], 1))
    inner = ops.concatenate([ops.concatenate([x, ops.mul(x, x)], 1), x], 1)
    more = ops.concatenate([ops.sum(y, 1), ops.tanh(ops.sum(y, 0))], 0)
    padded = ops.pad(ops.relu(y), (1, 2), (3, 1))
    return [ops.softmax(scores, 1), ops.sum(inner, 1), ops.exp(more), padded, ops.sum(padded, 0)]


def _computed_convolution(x: SSAValue, shift: SSAValue, w: SSAValue) -> Values:
    """What is computed of the input is not computed of its border, which stays 0."""
    c = meta_of(shift).shape[0]
    shifted = ops.add(x, ops.reshape(shift, (1, c, 1, 1)))
    return [ops.conv(shifted, w, stride=2, padding=1), ops.conv(ops.exp(x), w, stride=2)]


N, T = symbol("N"), symbol("T")
PROGRAMS: dict[str, Program] = {
    "softmax": Program(((N, 20),), _softmax, "rowwise"),
    "layer_norm": Program(((N, T, 24), (24,), (24,)), _layer_norm, "rowwise reduce rowwise"),
    "mlp": Program(
        ((N, 16), (40, 16), (40,), (40, 16)),
        _mlp,
        "matmul matmul matmul matmul reduce matmul matmul",
    ),
    "attention": Program(((2, T, 8), (8, 24)), _attention, ""),
    "cross_entropy": Program(
        ((N, 10), (N,)), _cross_entropy, "rowwise rowwise elementwise rowwise", integers=1
    ),
    "columns": Program(((N, 37), (N, 37)), _columns, "elementwise reduce reduce"),
    "batch_norm": Program(((N, 3, 5, 5),), _batch_norm, ""),
    "embedding": Program(
        ((12, 6), (5, 6), (3, 5)), _embedding, "elementwise reduce scatter", integers=1
    ),
    "views": Program(((7, N), (N, 9)), _views, ""),
    "convolution": Program(
        ((2, 3, 6, 6), (4, 3, 3, 3), (4,)), _convolution, "conv reduce conv conv"
    ),
    "prologue": Program(((N, 20), (20,), (40, 20)), _prologue, "matmul matmul"),
    "heads": Program(((2, T, 24), (24, 40)), _heads, "matmul matmul"),
    "long": Program(((N, 900), (900, 40)), _long, "matmul matmul"),
    "gate": Program(((N, 20), (20, 40), (20, 9)), _gate, ""),
    "joined": Program(((N, 18), (N, 18), (18, 9)), _joined, ""),
    "rotary": Program(((2, T, 20), (T, 20), (T, 20)), _rotary, ""),
    "borders": Program(((9, N), (N, 5)), _borders, ""),
    "computed_convolution": Program(
        ((N, 3, 7, 6), (3,), (4, 3, 3, 3)), _computed_convolution, "conv elementwise conv"
    ),
}
