"""Philox against the vectors that its authors publish, and the bits of the operator."""

from __future__ import annotations

import numpy as np
import pytest

from calque.ir import dtype as dt
from calque.ir.op import evaluate
from calque.ir.ops.random import (
    NumPyWords,
    RandomBits,
    bernoulli,
    normal,
    philox,
    randint,
    uniform,
)

# (counter, key, result): kat_vectors of Random123, "philox4x32 10".
VECTORS = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    counter_words = [np.uint64(c) for c in counter]
    key_words = [np.uint64(k) for k in key]
    assert tuple(int(w) for w in philox(NumPyWords(), counter_words, key_words)) == expected


def bits(key: int, counter: int, shape: tuple[int, ...]) -> np.ndarray:
    return evaluate(RandomBits, (np.asarray(key), np.asarray(counter)), {"shape": shape})


def test_first_words_are_those_of_philox() -> None:
    assert [int(b) & 0xFFFFFFFF for b in bits(0, 0, (4,))] == list(VECTORS[0][2])


def test_counter_and_key_are_words_low_first() -> None:
    _, key, expected = VECTORS[2]
    joined = key[0] | key[1] << 32
    counter = 0x13198A2E | 0x03707344 << 32
    block = [np.uint64(0), np.uint64(0), np.uint64(0x13198A2E), np.uint64(0x03707344)]
    words = philox(NumPyWords(), block, [np.uint64(k) for k in key])
    signed = np.asarray(joined, np.uint64).astype(np.int64)
    got = bits(int(signed), counter, (4,))
    assert [int(b) & 0xFFFFFFFF for b in got] == [int(w) for w in words]
    assert tuple(int(w) for w in words) != expected


def test_position_alone_decides() -> None:
    long = bits(3, 4, (1000,))
    np.testing.assert_array_equal(bits(3, 4, (10, 7)).reshape(-1), long[:70])
    assert len(np.unique(long)) == 1000
    assert not np.array_equal(bits(3, 5, (1000,)), long)


KEY, COUNTER = np.asarray(7), np.asarray(3)


def test_uniform() -> None:
    for dtype, spacing in ((dt.float32, 2.0**-24), (dt.float64, 2.0**-53), (dt.bfloat16, 2.0**-8)):
        x = uniform(KEY, COUNTER, (100, 200), dtype)
        assert x.dtype == dtype.numpy
        wide = x.astype(np.float64)
        assert wide.min() >= 0 and wide.max() < 1
        assert (wide % spacing == 0).all()
        assert abs(wide.mean() - 0.5) < 0.01 and abs(wide.var() - 1 / 12) < 0.005
    scaled = uniform(KEY, COUNTER, (1000,), low=-2.0, high=6.0)
    np.testing.assert_allclose(scaled, uniform(KEY, COUNTER, (1000,)) * 8 - 2, atol=1e-5)


def test_normal() -> None:
    x = normal(KEY, COUNTER, (100, 200))
    assert x.dtype == np.float32 and np.isfinite(x).all()
    assert abs(x.mean()) < 0.03 and abs(x.var() - 1) < 0.05 and abs((x**4).mean() - 3) < 0.3
    moved = normal(KEY, COUNTER, (100, 200), mean=2.0, std=0.5)
    np.testing.assert_allclose(moved, x * 0.5 + 2, atol=1e-5)


def test_bernoulli_and_randint() -> None:
    mask = bernoulli(KEY, COUNTER, 0.25, (100, 200))
    assert mask.dtype == np.bool_ and abs(mask.mean() - 0.25) < 0.02
    assert not bernoulli(KEY, COUNTER, 0.0, (1000,)).any()
    assert bernoulli(KEY, COUNTER, 1.0, (1000,)).all()
    n = randint(KEY, COUNTER, -3, 4, (10000,))
    assert n.dtype == np.int64 and set(n.tolist()) == set(range(-3, 4))
    with pytest.raises(RuntimeError, match="expects 'from' to be less than 'to'"):
        randint(KEY, COUNTER, 2, 2, (1,))
