"""Elementwise operations on concrete tensors: repeated operands, one program for many shapes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import calque
from calque.frontend import eager_programs
from calque.frontend.eager_programs import collapse

SHAPES = [
    (), (1,), (5,), (4, 5), (1, 5), (4, 1), (3, 4, 5), (3, 1, 5), (1, 4, 1), (3, 1, 1),
    (2, 1, 4, 1), (1, 1, 1), (0, 5), (4, 0),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pair_of_shapes_as_numpy(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(shape).astype(np.float32)
    for other in SHAPES:
        b = rng.standard_normal(other).astype(np.float32)
        try:
            expected = a * b
        except ValueError:
            continue
        got = (calque.tensor(a) * calque.tensor(b)).numpy()
        assert got.shape == np.shape(expected)
        np.testing.assert_array_equal(got, expected)


def test_operands_that_are_views_of_what_is_repeated() -> None:
    x = calque.arange(12.0).reshape(3, 4)
    row, column = x[1], x[:, 2:3]
    wanted = x.numpy() + x.numpy()[1] * x.numpy()[:, 2:3]
    np.testing.assert_array_equal((x + row * column).numpy(), wanted)
    repeated = row.expand(3, 4)
    row[0] = 100.0  # the memory that is repeated
    assert (repeated + 0.0)[:, 0].tolist() == [100.0] * 3
    np.testing.assert_array_equal((repeated.t() + repeated.t()).numpy(), 2 * repeated.numpy().T)


def test_dimensions_that_are_alike_are_one() -> None:
    assert collapse((8, 4, 3), [(8, 4, 3), (3,)]) == ((32, 3), ((True, False), (True, True)))
    assert collapse((8, 4, 3), [(8, 4, 3), ()]) == ((96,), ((True, False),))
    assert collapse((8, 1, 3), [(8, 1, 1), (3,)]) == ((8, 3), ((True, False), (False, True)))
    assert collapse((1, 1), [(1, 1), (1,)]) == ((), ())


def test_one_program_for_all_ranks_and_sizes() -> None:
    def add(shape: tuple[int, ...]) -> None:
        assert (calque.ones(*shape) + calque.ones(shape[-1])).sum().item() == 2 * np.prod(shape)

    add((3, 5))
    before = len(eager_programs._programs)
    for shape in itertools.product((2, 7), (3, 4), (6, 9)):
        add(shape)
        add(shape[1:])
    assert len(eager_programs._programs) <= before + 1  # the sum over more dimensions
