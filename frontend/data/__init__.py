"""Data that the package ships, to try things out on; users import it as `calque.data`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...ir.errors import value_error


class Digits(NamedTuple):
    """Images (N, 1, 8, 8) in float32 from 0 to 1 and labels (N,) in int64, in two parts."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def digits(test: int = 360) -> Digits:
    """1797 handwritten digits of 8x8 pixels, `test` of them kept apart for testing.

    The parts are always the same: the images are shuffled once with a fixed seed. Source:
    Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, UCI Machine
    Learning Repository (https://doi.org/10.24432/C50P49), the part that scikit-learn
    distributes; licence CC BY 4.0.
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    if not 0 < test < len(images):
        raise value_error(f"the test part has 1 to {len(images) - 1} images, not {test}")
    order = np.random.default_rng(0).permutation(len(images))
    x = (images[order, None].astype(np.float32) / 16).astype(np.float32)
    y = labels[order].astype(np.int64)
    return Digits(x[:-test], y[:-test], x[-test:], y[-test:])


__all__ = ["Digits", "digits"]
