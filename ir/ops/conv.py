"""Convolution over any number of spatial dimensions.

One operator serves the forward and both gradients, to any order: with the input dilated by the
stride it is the gradient of the input, and with batch and channels exchanged that of the weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .. import dtype as dt
from ..attrs import INT, INTS, PAIRS
from ..errors import runtime_error
from ..op import Node, Op, Sample, Value, bind, meta
from ..sym import Dim, floordiv, less, product, same, shown
from ..types import TensorMeta
from ._common import check_devices, sizes
from ._fold import is_uniform, producer
from ._window import dilated, extent, pad_array, padded, window_items, windows

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import Tensor

Ints: TypeAlias = tuple[int, ...]
Pairs: TypeAlias = tuple[tuple[Dim, Dim], ...]


class Conv(Op):
    """Cross-correlation of x (N, C, *spatial) with w (O, C/groups, *kernel).

    Per spatial dimension: the input is dilated by `input_dilation` (zeros between its elements),
    padded by `padding` (low, high; negative crops), and read at steps of `stride` by a kernel whose
    taps are `dilation` apart.
    """

    name = "calque.conv"
    ATTRS = {
        "stride": INTS,
        "padding": PAIRS,
        "dilation": INTS,
        "input_dilation": INTS,
        "groups": INT,
    }
    SAVED = ((0, 1), ())

    @classmethod
    def infer(
        cls,
        *metas: TensorMeta,
        stride: tuple[int, ...],
        padding: Pairs,
        dilation: tuple[int, ...],
        input_dilation: tuple[int, ...],
        groups: int,
    ) -> TensorMeta:
        x, w = metas
        device = check_devices(metas)
        rank = w.rank - 2
        _check(x, w, rank, stride, dilation, groups)
        for name, given in (("stride", stride), ("padding", padding), ("dilation", dilation)):
            if len(given) != rank:
                raise runtime_error(
                    f"expected {name} to be a single integer value or a list of {rank} values to "
                    f"match the convolution dimensions, but got {name}={list(given)}"
                )
        sizes = x.shape[2:]
        spread = tuple(
            dilated(n, b) + lo + hi
            for n, b, (lo, hi) in zip(sizes, input_dilation, padding, strict=True)
        )
        taps = tuple(extent(k, d) for k, d in zip(w.shape[2:], dilation, strict=True))
        if any(less(p, t) for p, t in zip(spread, taps, strict=True)):
            raise runtime_error(
                f"Calculated padded input size per channel: {_by(spread)}. Kernel size: "
                f"{_by(taps)}. Kernel size can't be greater than actual input size"
            )
        spatial = (floordiv(p - t, s) + 1 for p, t, s in zip(spread, taps, stride, strict=True))
        return TensorMeta((x.shape[0], w.shape[0], *spatial), x.dtype, device)

    @classmethod
    def work(cls, node: Node) -> Dim:
        taps = product(node.operand_metas[1].shape[1:])
        return 2 * taps * node.result_metas[0].numel

    @staticmethod
    def REFERENCE(
        x: np.ndarray,
        w: np.ndarray,
        stride: tuple[int, ...],
        padding: tuple[tuple[int, int], ...],
        dilation: tuple[int, ...],
        input_dilation: tuple[int, ...],
        groups: int,
    ) -> np.ndarray:
        exact = np.float64 if x.dtype.itemsize == 8 else np.float32
        x, w = (a.astype(exact) if a.dtype.kind not in "iu" else a for a in (x, w))
        view = windows(pad_array(x, padding, input_dilation), w.shape[2:], stride, dilation)
        rank = w.ndim - 2
        n, channels = x.shape[:2]
        out = view.shape[2 : 2 + rank]
        view = view.reshape(n, groups, channels // groups, *view.shape[2:])
        kernel = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        space = "xyz"[:rank]
        taps = "uvw"[:rank]
        found = np.einsum(f"ngc{space}{taps},goc{taps}->ngo{space}", view, kernel, optimize=True)
        return found.reshape(n, w.shape[0], *out)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        return [_lower(b, node)]

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        (g,), (x, w) = cotangents, node.operands
        return (
            _input_gradient(node, g, w) if node.needs[0] else None,
            _weight_gradient(node, g, x) if node.needs[1] else None,
        )

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        """Zeros around the input are padding."""
        (x, w), attrs = node.operands, dict(node.attrs)
        border = producer(x, "calque.pad")
        if border is None or not is_uniform(border.operands[1], 0.0):
            return None
        low, high, interior = (border.attrs[a] for a in ("low", "high", "interior"))
        if any(interior) or any((*low[:2], *high[:2])) or set(attrs["input_dilation"]) != {1}:
            return None
        sides = zip(attrs["padding"], low[2:], high[2:], strict=True)
        attrs["padding"] = tuple((a + lo, b + hi) for (a, b), lo, hi in sides)
        return (bind(cls, (border.operands[0], w), attrs),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield from _samples()


def _lower(b: LinalgBuilder, node: Node) -> Tensor:
    """Loops (n, [g,] o, *space) and the reduction (c, *taps); narrow floats add up in float32."""
    a, out = node.attrs, node.result_metas[0]
    x = padded(b, node.operands[0], a["padding"], a["input_dilation"], 0)
    w = node.operands[1]
    groups, rank = a["groups"], out.rank - 2
    dtype = dt.float32 if out.dtype.kind == "f" and out.dtype.bits < 32 else out.dtype
    total = out.with_dtype(dtype)
    lead = 2
    if groups > 1:
        lead = 3
        n, channels, *space = b.meta(x).shape
        x = b.reshape(x, (n, groups, floordiv(channels, groups), *space))
        o, each, *taps = b.meta(w).shape
        w = b.reshape(w, (groups, floordiv(o, groups), each, *taps))
        total = total.with_shape((n, groups, floordiv(o, groups), *out.shape[2:]))
    channel = lead + rank
    loops = channel + 1 + rank
    batch, outer = tuple(range(lead - 1)), tuple(range(1, lead))
    windows_read = window_items(lead, channel + 1, a["stride"], a["dilation"])
    (found,) = b.generic(
        [x, w],
        [(*batch, channel, *windows_read), (*outer, *range(channel, loops))],
        [b.fill(total, 0)],
        [tuple(range(channel))],
        ["parallel"] * channel + ["reduction"] * (loops - channel),
        lambda s, e, k, acc: s.add(acc, s.mul(s.cast(e, dtype.element), s.cast(k, dtype.element))),
    )
    shaped = b.reshape(found, out.shape)
    if dtype is out.dtype:
        return shaped
    return b.pointwise(out, [shaped], body=lambda s, e: s.cast(e, out.dtype.element))


def _input_gradient(node: Node, g: Value, w: Value) -> Value:
    """Each input element meets the kernel's taps in reverse order: a convolution of the cotangent,
    dilated by the stride, with the flipped kernel, its two channel dimensions exchanged."""
    a = node.attrs
    x, kernel = node.operand_metas[0], node.operand_metas[1].shape[2:]
    padding: list[tuple[Dim, Dim]] = []
    for i, k in enumerate(kernel):
        taps = extent(k, a["dilation"][i])
        low = taps - 1 - a["padding"][i][0]
        spread_x = dilated(x.shape[2 + i], a["input_dilation"][i])
        spread_g = dilated(meta(g).shape[2 + i], a["stride"][i])
        padding.append((low, spread_x + taps - 1 - spread_g - low))
    attrs = {
        "stride": a["input_dilation"],
        "padding": tuple(padding),
        "dilation": a["dilation"],
        "input_dilation": a["stride"],
        "groups": a["groups"],
    }
    return bind(Conv, (g, mirrored(w, a["groups"])), attrs)


def _weight_gradient(node: Node, g: Value, x: Value) -> Value:
    """Each tap meets the input at steps of the stride: a convolution of the input with the
    cotangent as kernel, dilated by the stride, which sums over the batch as its channels."""
    from .view import permute, reshape

    a = node.attrs
    groups: int = a["groups"]
    mx, mw, mg = node.operand_metas[0], node.operand_metas[1], meta(g)
    padding: list[tuple[Dim, Dim]] = []
    for i, k in enumerate(mw.shape[2:]):
        low = a["padding"][i][0]
        spread_x = dilated(mx.shape[2 + i], a["input_dilation"][i])
        spread_g = dilated(mg.shape[2 + i], a["stride"][i])
        padding.append((low, spread_g - spread_x + extent(k, a["dilation"][i]) - 1 - low))
    space = tuple(range(2, mx.rank))
    batch, channels = mx.shape[:2]
    if groups == 1:
        x = permute(x, (1, 0, *space))
    else:  # (N, G*C, ...) to (C, G*N, ...): every group's batch stays with its group
        each = floordiv(channels, groups)
        x = reshape(x, (batch, groups, each, *mx.shape[2:]))
        x = permute(x, (2, 1, 0, *(i + 1 for i in space)))
        x = reshape(x, (each, groups * batch, *mx.shape[2:]))
    attrs = {
        "stride": a["dilation"],
        "padding": tuple(padding),
        "dilation": a["stride"],
        "input_dilation": a["input_dilation"],
        "groups": groups,
    }
    found = bind(Conv, (x, permute(g, (1, 0, *space))), attrs)
    return permute(found, (1, 0, *space))


def mirrored(w: Value, groups: int) -> Value:
    """A kernel (O, C/groups, *k) as that of the adjoint convolution, (C, O/groups, *k flipped)."""
    from .slice import flip
    from .view import permute, reshape

    m = meta(w)
    space = tuple(range(2, m.rank))
    w = flip(w, space)
    if groups == 1:
        return permute(w, (1, 0, *space))
    outer, each, kernel = floordiv(m.shape[0], groups), m.shape[1], m.shape[2:]
    w = reshape(w, (groups, outer, each, *kernel))
    w = permute(w, (0, 2, 1, *(i + 1 for i in space)))
    return reshape(w, (groups * each, outer, *kernel))


def _by(sizes: Sequence[Dim]) -> str:
    return f"({' x '.join(map(shown, sizes))})"


_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half",
          "bfloat16": "c10::BFloat16", "int64": "long", "int32": "int", "int16": "short",
          "int8": "signed char", "uint8": "unsigned char", "bool": "bool"}  # fmt: skip


def _check(
    x: TensorMeta,
    w: TensorMeta,
    rank: int,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> None:
    """What PyTorch's `check_shape_forward` checks, in its order and words."""
    if x.dtype is not w.dtype:
        raise runtime_error(
            f"Input type ({_NAMES[x.dtype.name]}) and weight type ({_NAMES[w.dtype.name]}) should "
            "be the same"
        )
    if x.dtype.kind not in "fi":
        raise runtime_error(f"\"conv\" not implemented for '{x.dtype.name.capitalize()}'")
    if rank < 1:
        raise runtime_error(f"weight should have at least three dimensions, got {w.rank}")
    if any(s <= 0 for s in stride):
        raise runtime_error("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise runtime_error("dilation should be greater than zero")
    if groups <= 0:
        raise runtime_error("non-positive groups is not supported")
    if x.rank != w.rank:
        raise runtime_error(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to conv{rank}d, but "
            f"got input of size: {sizes(x.shape)}"
        )
    out = w.shape[0]
    if isinstance(out, int) and 0 < out < groups:
        raise runtime_error(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but "
            f"got weight of size {sizes(w.shape)} instead"
        )
    if isinstance(out, int) and out % groups:
        raise runtime_error(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {sizes(w.shape)} instead"
        )
    if not same(x.shape[1], w.shape[1] * groups):
        raise runtime_error(
            f"Given groups={groups}, weight of size {sizes(w.shape)}, expected input"
            f"{sizes(x.shape)} to have {shown(w.shape[1] * groups)} channels, but got "
            f"{shown(x.shape[1])} channels instead"
        )


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(0)

    def one(x: Ints, w: Ints, s: int, p: int | Pairs, d: int, b: int = 1, groups: int = 1,
            dtype: type = np.float32, **more: object) -> Sample:  # fmt: skip
        rank = len(w) - 2
        attrs: dict[str, object] = {
            "stride": (s,) * rank,
            "padding": ((p, p),) * rank if isinstance(p, int) else p,
            "dilation": (d,) * rank,
            "input_dilation": (b,) * rank,
            "groups": groups,
        }
        arrays = (rng.standard_normal(x).astype(dtype), rng.standard_normal(w).astype(dtype))
        return Sample(arrays, attrs, **more)  # type: ignore[arg-type]

    yield one((2, 3, 8), (4, 3, 3), 1, 1, 1)
    yield one((2, 3, 7, 6), (4, 3, 3, 2), 2, 1, 1)
    yield one((1, 4, 9, 8), (6, 2, 3, 3), 2, ((2, 0), (0, 1)), 2, groups=2)
    yield one((2, 4, 5, 5), (8, 1, 3, 3), 1, 1, 1, groups=4)  # depthwise
    yield one((1, 2, 4, 5, 3), (3, 2, 2, 3, 1), 1, 0, 1, dtype=np.float64)
    yield one((2, 3, 4, 4), (5, 3, 1, 1), 1, 0, 1)  # pointwise
    yield one((2, 3, 4, 5), (2, 3, 3, 3), 1, 2, 1, b=2)
    yield one((1, 1, 6), (1, 1, 2), 3, ((-1, 2),), 1)  # cropped; a remainder is left
    yield one((0, 3, 5, 5), (2, 3, 3, 3), 1, 1, 1)
    yield one((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1)
    error = RuntimeError
    yield one((1, 4, 9), (6, 3, 3), 1, 0, 1, error=(error, "expected input"))
    yield one((1, 3, 2), (6, 3, 5), 1, 0, 1, error=(error, "can't be greater than actual input"))
    yield one((1, 3, 5), (5, 3, 3), 1, 0, 1, groups=2, error=(error, "divisible by 2"))
    yield one((1, 3, 5), (5, 3, 3), 0, 0, 1, error=(error, "non-positive stride"))


OPS: tuple[type[Op], ...] = (Conv,)
