"""Pooling over spatial windows: sums, maxima, and where the maxima are.

Average pooling is a window sum divided by the window's size; its gradient is a window sum of the
cotangent, dilated by the stride. The gradient of max pooling reads, for each input element, the
windows that hold it, and so needs no scatter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import DIMS, INTS, PAIRS
from ..errors import runtime_error
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, less, same
from ..types import Shape, TensorMeta
from ._common import by, sizes
from ._poolparts import (
    adjoint_padding,
    flat_positions,
    from_blocks,
    interleave,
    repeat,
    spread_out,
    tiles,
)
from ._window import (
    extent,
    pad_array,
    padded,
    window_count,
    window_items,
    windows,
)

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import Body, BodyBuilder, Tensor

Ints: TypeAlias = tuple[int, ...]
Pairs: TypeAlias = tuple[tuple[Dim, Dim], ...]


class Pool(Op):
    """Base: one result element per window of x (N, C, *spatial).

    `padding` (low, high; negative crops) adds elements that do not count; kernel taps are
    `dilation` apart.
    """

    ATTRS = {"kernel": INTS, "stride": INTS, "padding": PAIRS, "dilation": INTS}

    @classmethod
    def infer(
        cls, *metas: TensorMeta, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
    ) -> TensorMeta:
        x = metas[0]
        rank = len(kernel)
        if x.dtype.kind == "b":
            raise runtime_error(f"\"{cls.name}\" not implemented for 'Bool'")
        if x.rank != rank + 2:
            raise runtime_error(
                f"non-empty {rank + 1}D or {rank + 2}D (batch mode) tensor expected for input, but "
                f"got size {sizes(x.shape)}"
            )
        spatial: list[Dim] = []
        for n, k, s, (lo, hi), d in zip(
            x.shape[2:], kernel, stride, padding, dilation, strict=True
        ):
            if min(k, s, d) <= 0:
                raise runtime_error("kernel size, stride and dilation should be greater than zero")
            if less(n + lo + hi, extent(k, d)):
                raise runtime_error(
                    f"Given input size: ({by(x.shape[1:])}) and kernel size {k}. "
                    "Calculated output size is too small"
                )
            spatial.append(window_count(n + lo + hi, extent(k, d), s))
        return x.with_shape((*x.shape[:2], *spatial))

    @classmethod
    def work(cls, node: Node) -> Dim:
        return math.prod(node.attrs["kernel"]) * node.result_metas[0].numel

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(0)

        def one(shape: Ints, k: Ints, s: Ints, padding: Pairs, d: int = 1, **more: Any) -> Sample:
            attrs = {"kernel": k, "stride": s, "padding": padding, "dilation": (d,) * len(k)}
            # Distinct values, so that each window has one maximum.
            x = rng.permutation(math.prod(shape)).reshape(shape).astype(np.float32) / 8
            return Sample((x,), attrs, **more)

        yield one((2, 3, 8), (2,), (2,), ((0, 0),))
        yield one((2, 3, 7, 9), (3, 2), (2, 3), ((1, 1), (0, 1)))
        yield one((1, 2, 9, 8), (3, 3), (1, 2), ((1, 1), (1, 0)), 2)
        yield one((1, 2, 4, 6, 4), (2, 3, 2), (2, 3, 2), ((0, 0),) * 3)
        yield one((1, 1, 7), (2,), (3,), ((0, -1),))
        yield one((0, 2, 4, 4), (2, 2), (2, 2), ((0, 0),) * 2)
        yield one((1, 1, 1, 1), (1, 1), (1, 1), ((0, 0),) * 2)
        yield one((2, 1, 5), (5,), (1,), ((0, 0),))
        bad = (RuntimeError, "output size is too small")
        yield one((1, 1, 2), (3,), (1,), ((0, 0),), error=bad)


def _view(x: np.ndarray, value: float, attrs: dict[str, Any]) -> np.ndarray:
    """(N, C, *out, window): the windows with their taps flattened, padded with `value`."""
    view = windows(
        pad_array(x, attrs["padding"], value=value),
        attrs["kernel"], attrs["stride"], attrs["dilation"],
    )  # fmt: skip
    return view.reshape(*view.shape[: x.ndim], math.prod(attrs["kernel"]))


def _lowest(dtype: np.dtype) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _lower(
    b: LinalgBuilder,
    x: Sequence[Tensor],
    attrs: dict[str, Any],
    outs: Sequence[TensorMeta],
    initial: Sequence[float],
    body: Body,
    *,
    unsigned: bool = False,
) -> list[Any]:
    """Loops over windows (n, c, *space) that reduce their taps, of tensors padded already.

    The last input gives the taps their extents; its elements are not read.
    """
    rank = len(attrs["kernel"])
    lead = 2 + rank
    taps = b.empty(b.meta(x[0]).with_shape(attrs["kernel"]))
    read = (0, 1, *window_items(2, lead, attrs["stride"], attrs["dilation"]))
    return b.generic(
        [*x, taps],
        [*[read] * len(x), tuple(range(lead, lead + rank))],
        [b.fill(m, v) for m, v in zip(outs, initial, strict=True)],
        [tuple(range(lead))] * len(outs),
        ["parallel"] * lead + ["reduction"] * rank,
        body,
        unsigned=unsigned,
    )


def _fold_single(node: Node) -> Sequence[Value] | None:
    """Windows of one element, at every element, are the input."""
    a = node.attrs
    single = all(k == s == 1 for k, s in zip(a["kernel"], a["stride"], strict=True))
    return node.operands[:1] if single and not any(map(any, a["padding"])) else None


class MaxPool(Pool):
    """The largest element of each window; NaN where the window has one."""

    name = "calque.max_pool"
    SAVED = ((0,), ())

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        return _fold_single(node)

    @staticmethod
    def REFERENCE(x: np.ndarray, **attrs: Any) -> np.ndarray:
        return _view(x, _lowest(x.dtype), attrs).max(axis=-1)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        attrs, out = dict(node.attrs), node.result_metas[0]
        lowest = _lowest(out.dtype.numpy)
        x = padded(b, node.operands[0], attrs["padding"], (1,) * (out.rank - 2), lowest)
        unsigned = out.dtype.kind == "u"
        return _lower(
            b, [x], attrs, [out], [lowest], lambda s, e, _, acc: s.maximum(acc, e),
            unsigned=unsigned,
        )  # fmt: skip

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        tap = bind(ArgmaxPool, (node.operands[0],), dict(node.attrs))
        return (_route(cotangents[0], tap, node.operand_metas[0], dict(node.attrs)),)


class ArgmaxPool(Pool):
    """Which tap of each window holds its maximum, counted in row-major order, as int32.

    Of equal maxima the first is taken, of NaNs the last, as PyTorch does.
    """

    name = "calque.argmax_pool"

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta:
        return super().infer(*metas, **attrs).with_dtype(dt.int32)

    @staticmethod
    def REFERENCE(x: np.ndarray, **attrs: Any) -> np.ndarray:
        lowest = _lowest(x.dtype)
        view = _view(x, lowest, attrs)
        # Padding never wins, even over elements that are themselves the lowest value.
        real = _view(np.ones_like(x, np.bool_), False, attrs)
        best = view.max(axis=-1, keepdims=True)
        first = np.argmax((view == best) & real, axis=-1)
        nan = np.isnan(view) if x.dtype.kind not in "iu" else np.zeros(view.shape, np.bool_)
        last = view.shape[-1] - 1 - np.argmax(nan[..., ::-1], axis=-1)
        return np.where(nan.any(axis=-1), last, first)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        attrs, out, x = dict(node.attrs), node.result_metas[0], node.operand_metas[0]
        lowest = _lowest(x.dtype.numpy)
        read = padded(b, node.operands[0], attrs["padding"], (1,) * (out.rank - 2), lowest)

        def body(s: BodyBuilder, *args: SSAValue) -> Sequence[SSAValue]:
            element, _, best, where = args
            none = s.compare("lt", where, s.like(0, where))
            better = s.or_(s.compare("gt", element, best), s.and_(none, _inside(s, x, attrs)))
            if x.dtype.kind == "f":
                better = s.or_(better, s.isnan(element))
            here = s.cast(_tap_number(s, attrs["kernel"]), dt.int32.element)
            return s.select(better, element, best), s.select(better, here, where)

        metas = [x.with_shape(out.shape), out]
        found = _lower(b, [read], attrs, metas, [lowest, -1], body, unsigned=x.dtype.kind == "u")
        return [found[1]]


class SumPool(Pool):
    """The sum of each window."""

    name = "calque.sum_pool"

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        return _fold_single(node)

    @staticmethod
    def REFERENCE(x: np.ndarray, **attrs: Any) -> np.ndarray:
        return _view(x, 0, attrs).sum(axis=-1, dtype=x.dtype)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        attrs, out = dict(node.attrs), node.result_metas[0]
        x = padded(b, node.operands[0], attrs["padding"], (1,) * (out.rank - 2), 0)
        return _sum(b, [x], attrs, out, lambda s, e: e)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), x, attrs = cotangents, node.operand_metas[0], dict(node.attrs)
        if tiles(x.shape[2:], attrs):
            return (from_blocks(repeat(g, attrs["kernel"]), x),)
        low, high = adjoint_padding(x.shape[2:], meta(g).shape[2:], attrs)
        attrs |= {"stride": (1,) * len(low), "padding": ((0, 0),) * len(low)}
        return (bind(SumPool, (spread_out(g, low, high, node.attrs["stride"], 0),), attrs),)


class MaxPoolGrad(Op):
    """The gradient of max pooling: each element of g goes to the tap that `tap` names.

    g and tap are per window; `size` is the spatial shape of the result.
    """

    name = "calque.max_pool_grad"
    ATTRS = {**Pool.ATTRS, "size": DIMS}
    SAVED = ((1,), ())

    @classmethod
    def infer(cls, *metas: TensorMeta, size: Shape, **attrs: Any) -> TensorMeta:
        g, tap = metas
        if tap.dtype is not dt.int32 or g.rank != tap.rank:
            raise runtime_error(f"expected taps of dtype int32 for {g}, got {tap}")
        if len(size) != g.rank - 2 or not all(map(same, g.shape, tap.shape)):
            raise runtime_error(f"expected operands of one shape, got {g} and {tap}")
        return g.with_shape((*g.shape[:2], *size))

    @classmethod
    def work(cls, node: Node) -> Dim:
        return node.operand_metas[0].numel

    @staticmethod
    def REFERENCE(g: np.ndarray, tap: np.ndarray, size: Ints, **attrs: Any) -> np.ndarray:
        out = np.zeros((*g.shape[:2], *size), g.dtype)
        kernel = attrs["kernel"]
        where = np.unravel_index(tap, kernel)
        lead = np.indices(g.shape, sparse=True)
        spatial = [
            start * s - lo + t * d
            for start, s, (lo, _), t, d in zip(
                lead[2:], attrs["stride"], attrs["padding"], where, attrs["dilation"], strict=True
            )
        ]
        np.add.at(out, (*lead[:2], *spatial), g)
        return out

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        """Each input element reads the windows that hold it, the taps in reverse order: windows
        over g and tap, spread by the stride, whose tap is the one that is met."""
        attrs, out = dict(node.attrs), node.result_metas[0]
        low, high = adjoint_padding(attrs["size"], node.operand_metas[0].shape[2:], attrs)
        padding = tuple(zip(low, high, strict=True))
        g = padded(b, node.operands[0], padding, attrs["stride"], 0)
        tap = padded(b, node.operands[1], padding, attrs["stride"], -1)
        last = math.prod(attrs["kernel"]) - 1

        def body(s: BodyBuilder, value: SSAValue, named: SSAValue) -> SSAValue:
            number = s.cast(_tap_number(s, attrs["kernel"]), dt.int32.element)
            met = s.sub(s.like(last, number), number)
            return s.select(s.compare("eq", named, met), value, s.like(0, value))

        attrs["stride"] = (1,) * len(low)
        return _sum(b, [g, tap], attrs, out, body)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        """Reads the cotangent where each window's maximum is: a gather along flat positions."""
        from .index import gather
        from .view import reshape

        (c,), tap, g = cotangents, node.operands[1], node.operand_metas[0]
        shape = node.attrs["size"]
        flat = flat_positions(tap, shape, dict(node.attrs))
        lead = meta(c).shape[:2]
        numel = meta(c).with_shape(shape).numel
        count = g.with_shape(g.shape[2:]).numel
        found = gather(reshape(c, (*lead, numel)), 2, reshape(flat, (*lead, count)))
        return reshape(found, g.shape), None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        rng = np.random.default_rng(1)
        for sample in MaxPool.samples():
            if sample.error is None:
                (x,) = sample.args
                tap = np.asarray(ArgmaxPool.REFERENCE(x, **sample.attrs), np.int32)
                g = rng.standard_normal(tap.shape).astype(np.float32)
                yield Sample((g, tap), {**sample.attrs, "size": x.shape[2:]})


# ---- parts of the lowerings ------------------------------------------------------------------


def _sum(
    b: LinalgBuilder, x: Sequence[Tensor], attrs: dict[str, Any], out: TensorMeta, term: Body
) -> list[Tensor]:
    """Sums over windows of what `term` makes of the elements; narrow floats add up in float32."""
    dtype = dt.float32 if out.dtype.kind == "f" and out.dtype.bits < 32 else out.dtype

    def body(s: BodyBuilder, *args: SSAValue) -> SSAValue:
        *elements, _, acc = args
        made = term(s, *elements)
        assert isinstance(made, SSAValue)
        return s.add(acc, s.cast(made, dtype.element))

    (found,) = _lower(b, x, attrs, [out.with_dtype(dtype)], [0], body)
    if dtype is out.dtype:
        return [found]
    return [b.pointwise(out, [found], body=lambda s, e: s.cast(e, out.dtype.element))]


def _tap_number(s: BodyBuilder, kernel: Ints) -> SSAValue:
    """Which tap of the window the body is at, in row-major order."""
    first = 2 + len(kernel)
    number = s.index(first)
    for i, k in enumerate(kernel[1:], 1):
        number = s.add(s.mul(number, s.like(k, number)), s.index(first + i))
    return number


def _inside(s: BodyBuilder, x: TensorMeta, attrs: dict[str, Any]) -> SSAValue:
    """Whether the tap that the body is at lies in x, not in the padding."""
    rank = len(attrs["kernel"])
    inside = s.constant(True, dt.bool_.element)
    for i, (lo, hi) in enumerate(attrs["padding"]):
        if (lo, hi) == (0, 0):
            continue
        window, tap = s.index(2 + i), s.index(2 + rank + i)
        at = s.add(
            s.mul(window, s.like(attrs["stride"][i], window)),
            s.mul(tap, s.like(attrs["dilation"][i], tap)),
        )
        at = s.sub(at, s.size(lo))
        inside = s.and_(inside, s.compare("ge", at, s.like(0, at)))
        inside = s.and_(inside, s.compare("lt", at, s.size(x.shape[2 + i])))
    return inside


# ---- the gradient of the maximum ------------------------------------------------------------


def _route(g: Value, tap: Value, x: TensorMeta, attrs: dict[str, Any]) -> Value:
    """`MaxPoolGrad`, or where windows tile the input a comparison per element."""
    from .creation import iota
    from .elementwise import eq, where
    from .view import reshape

    if not tiles(x.shape[2:], attrs):
        return bind(MaxPoolGrad, (g, tap), {**attrs, "size": x.shape[2:]})
    kernel = attrs["kernel"]
    taps = iota(math.prod(kernel), dt.int32, tap)
    taps = reshape(taps, tuple(n for k in kernel for n in (1, k)))
    blocks = where(eq(interleave(tap), taps), interleave(g), 0)
    return from_blocks(blocks, x)


OPS: tuple[type[Op], ...] = (MaxPool, ArgmaxPool, SumPool, MaxPoolGrad)
