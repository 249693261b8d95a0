"""Gradients of convolutions: sums over pixels, whose rows are read as vectors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import calque
import calque.nn.functional as F

# Batch, channels, height, width, channels of the result, kernel, stride, padding: rows of fewer and
# of more pixels than lanes, one channel, blocks of sums that end within a row.
SIZES = [
    (3, 2, 5, 5, 3, 3, 1, 1), (2, 1, 28, 28, 8, 3, 1, 1), (4, 3, 7, 16, 5, 3, 1, 0),
    (2, 4, 14, 14, 20, 3, 1, 1), (2, 3, 9, 37, 6, 5, 2, 2), (1, 2, 1, 1, 2, 1, 1, 0),
    (9, 17, 10, 10, 3, 1, 1, 0),
]  # fmt: skip


def gradients(
    x: np.ndarray, w: np.ndarray, g: np.ndarray, stride: int, padding: int
) -> list[np.ndarray]:
    """Of the sum of the convolution times g, for x and w."""
    pad = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    k = w.shape[2]
    wide = np.pad(x, pad).astype("f8")
    windows = sliding_window_view(wide, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    of_w = np.einsum("nchwij,nohw->ocij", windows, g)
    of_x = np.zeros_like(wide)
    for i in range(k):
        for j in range(k):
            rows = slice(i, i + stride * g.shape[2], stride)
            columns = slice(j, j + stride * g.shape[3], stride)
            part = np.einsum("nohw,oc->nchw", g, w[:, :, i, j])
            target = of_x[:, :, rows, columns]
            target += part[:, :, : target.shape[2], : target.shape[3]]
    inner = slice(padding, -padding or None)
    return [of_x[:, :, inner, inner], of_w]


@pytest.mark.parametrize("size", SIZES)
def test_gradients(size: tuple[int, ...]) -> None:
    """Exact, since sums of small integers are; static, and with an open batch."""
    b, c, h, w, o, k, stride, padding = size
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (2 * b, c, h, w)).astype("f4")
    weight = rng.integers(-2, 3, (o, c, k, k)).astype("f4")
    out = [(n + 2 * padding - k) // stride + 1 for n in (h, w)]
    g = rng.integers(-2, 3, (2 * b, o, *out)).astype("f4")

    @calque.compile
    def both(x: calque.Tensor, w: calque.Tensor, g: calque.Tensor) -> tuple[calque.Tensor, ...]:
        def total(x: calque.Tensor, w: calque.Tensor) -> calque.Tensor:
            return (F.conv2d(x, w, stride=stride, padding=padding) * g).sum()

        return calque.grad(total, argnums=(0, 1))(x, w)

    for n in (2 * b, b):  # the second size makes the batch an open one
        given = [calque.tensor(a) for a in (x[:n], weight, g[:n])]
        for got, wanted in zip(
            both(*given), gradients(x[:n], weight, g[:n], stride, padding), strict=True
        ):
            np.testing.assert_array_equal(got.numpy(), wanted)
