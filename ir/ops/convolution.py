"""Convolution with PyTorch's arguments, made from the operator `conv`."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import runtime_error
from ..op import Value, bind, meta
from ..sym import floordiv, same, shown
from ..types import Shape
from ._common import sizes
from ._window import extent, int_list
from .conv import Conv, Pairs, mirrored


def conv(
    x: Value,
    w: Value,
    bias: Value | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Value:
    """`conv1d`, `conv2d` or `conv3d`, by the rank of w; x may lack the batch dimension.

    `padding` is a number, one number per spatial dimension, "valid" or "same". Raises RuntimeError
    in PyTorch's words where shapes do not fit.
    """
    rank = meta(w).rank - 2
    strides, dilations = int_list(stride, rank, "stride"), int_list(dilation, rank, "dilation")
    attrs = {
        "stride": strides,
        "padding": _padding(padding, meta(w).shape[2:], strides, dilations),
        "dilation": dilations,
        "input_dilation": (1,) * rank,
        "groups": groups,
    }
    return _batched(x, w, bias, attrs)


def conv_transpose(
    x: Value,
    w: Value,
    bias: Value | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Value:
    """`conv_transpose1d`, `2d` or `3d`: the adjoint of `conv` with respect to its input.

    w is (C, O/groups, *kernel). Raises RuntimeError in PyTorch's words where shapes do not fit.
    """
    kernel = meta(w).shape[2:]
    rank = len(kernel)
    strides, dilations = int_list(stride, rank, "stride"), int_list(dilation, rank, "dilation")
    pads = int_list(padding, rank, "padding")
    extra = int_list(output_padding, rank, "output_padding")
    for e, s, d in zip(extra, strides, dilations, strict=True):
        if e >= max(s, d):
            raise runtime_error(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding={list(extra)}, stride={list(strides)}, dilation={list(dilations)}"
            )
    taps = [extent(k, d) for k, d in zip(kernel, dilations, strict=True)]
    attrs = {
        "stride": (1,) * rank,
        "padding": tuple(
            (t - 1 - p, t - 1 - p + e) for t, p, e in zip(taps, pads, extra, strict=True)
        ),
        "dilation": dilations,
        "input_dilation": strides,
        "groups": groups,
    }
    return _batched(x, mirrored(w, groups), bias, attrs)


def _batched(x: Value, w: Value, bias: Value | None, attrs: dict[str, object]) -> Value:
    """Apply the operator, with a batch dimension added to an unbatched x, and add the bias."""
    from .elementwise import add
    from .view import reshape

    m, mw = meta(x), meta(w)
    unbatched = m.rank == mw.rank - 1
    out = bind(Conv, (reshape(x, (1, *m.shape)) if unbatched else x, w), attrs)
    if bias is not None:
        b = meta(bias)
        if b.rank != 1 or not same(b.shape[0], mw.shape[0]):
            raise runtime_error(
                f"Given weight of size {sizes(mw.shape)}, expected bias to be 1-dimensional with "
                f"{shown(mw.shape[0])} elements, but got bias of size {sizes(b.shape)} instead"
            )
        out = add(out, reshape(bias, (b.shape[0], *(1,) * (mw.rank - 2))))
    return reshape(out, meta(out).shape[1:]) if unbatched else out


def _padding(
    padding: int | str | Sequence[int],
    kernel: Shape,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Pairs:
    if padding == "valid":
        padding = 0
    if padding == "same":
        if any(s != 1 for s in stride):
            raise runtime_error("padding='same' is not supported for strided convolutions")
        spare = [extent(k, d) - 1 for k, d in zip(kernel, dilation, strict=True)]
        return tuple((floordiv(n, 2), n - floordiv(n, 2)) for n in spare)
    if isinstance(padding, str):
        raise runtime_error(f"Invalid padding string: '{padding}'")
    pads = int_list(padding, len(kernel), "padding")
    if any(p < 0 for p in pads):
        raise runtime_error("negative padding is not supported")
    return tuple((p, p) for p in pads)
