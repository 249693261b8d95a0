"""Random numbers: streams, distributions, eager and compiled alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import calque
import calque.nn.functional as F
from calque import Tensor


@pytest.fixture(autouse=True)
def seeded() -> None:
    calque.manual_seed(0)


DRAWS: dict[str, Any] = {
    "rand": lambda: calque.rand(50, 3),
    "rand double": lambda: calque.rand(7, dtype=calque.float64),
    "randn": lambda: calque.randn((50, 3)),
    "randint": lambda: calque.randint(-3, 9, (40,)),
    "rand_like": lambda: calque.rand_like(calque.zeros(2, 3)),
    "randn_like": lambda: calque.randn_like(calque.zeros(5)),
    "normal": lambda: calque.normal(2.0, 0.5, (10,)),
    "bernoulli": lambda: calque.bernoulli(calque.full((100,), 0.3)),
    "uniform_": lambda: calque.zeros(4, 5).uniform_(-1, 2),
    "normal_": lambda: calque.zeros(4, 5).normal_(1, 3),
    "bernoulli_": lambda: calque.zeros(50).bernoulli_(0.2),
    "dropout": lambda: F.dropout(calque.ones(100), 0.4),
}


@pytest.mark.parametrize("name", DRAWS)
def test_eager_and_compiled_draw_the_same(name: str) -> None:
    draw = DRAWS[name]
    eager = [draw().numpy().copy() for _ in range(3)]
    assert not np.array_equal(eager[0], eager[1])
    calque.manual_seed(0)
    compiled = calque.compile(lambda: draw())
    for expected in eager:
        np.testing.assert_array_equal(compiled().numpy(), expected)
    assert compiled.compiles == 1
    calque.manual_seed(0)
    np.testing.assert_array_equal(compiled().numpy(), eager[0])  # the seed is an input


def test_distributions() -> None:
    u = calque.rand(20000).numpy()
    assert 0 <= u.min() < 0.001
    assert 0.999 < u.max() < 1
    np.testing.assert_allclose(np.quantile(u, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.02)
    n = calque.randn(20000).numpy()
    np.testing.assert_allclose([n.mean(), n.std(), (n**4).mean()], [0, 1, 3], atol=0.15)
    i = calque.randint(2, 7, (20000,)).numpy()
    np.testing.assert_allclose(np.bincount(i)[2:] / 20000, 0.2, atol=0.02)
    assert i.dtype == np.int64


def test_randperm() -> None:
    first, second = calque.randperm(100).numpy(), calque.randperm(100).numpy()
    assert sorted(first) == list(range(100))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(100))


def test_multinomial() -> None:
    weights = calque.tensor([[0.0, 3.0, 1.0], [1.0, 0.0, 0.0]])
    drawn = calque.multinomial(weights, 4000, replacement=True).numpy()
    assert drawn.shape == (2, 4000)
    np.testing.assert_allclose(
        np.bincount(drawn[0], minlength=3) / 4000, [0, 0.75, 0.25], atol=0.03
    )
    assert (drawn[1] == 0).all()
    first = [calque.multinomial(weights[0], 2).tolist() for _ in range(400)]
    assert all(sorted(f) == [1, 2] for f in first)
    assert 0.65 < np.mean([f[0] == 1 for f in first]) < 0.85
    with pytest.raises(RuntimeError, match="without replacement"):
        calque.multinomial(weights[0], 4)
    with pytest.raises(RuntimeError, match="element < 0"):
        calque.multinomial(-weights, 1)


def test_generators_are_streams_of_their_own() -> None:
    generator = calque.Generator().manual_seed(5)
    first = calque.rand(4, generator=generator).tolist()
    default = calque.rand(4).tolist()
    calque.manual_seed(0)
    assert calque.rand(4).tolist() == default  # untouched by the other stream
    assert generator.manual_seed(5).initial_seed() == 5
    assert calque.rand(4, generator=generator).tolist() == first
    state = generator.get_state()
    second = calque.randn(4, generator=generator).tolist()
    generator.set_state(state)
    assert calque.randn(4, generator=generator).tolist() == second


def test_a_generator_advances_in_compiled_code() -> None:
    generator = calque.Generator().manual_seed(5)
    draw = calque.compile(lambda: calque.rand(3, generator=generator))
    first, second = draw().tolist(), draw().tolist()
    generator.manual_seed(5)
    assert calque.rand(3, generator=generator).tolist() == first
    assert calque.rand(3, generator=generator).tolist() == second
    assert draw.compiles == 1


def test_state_of_the_default_generator() -> None:
    calque.rand(3)
    state = calque.get_rng_state()
    first = calque.rand(3).tolist()
    calque.set_rng_state(state)
    assert calque.rand(3).tolist() == first
    assert calque.manual_seed(-1).initial_seed() == -1
    assert calque.initial_seed() == -1


def test_what_needs_data_cannot_be_compiled() -> None:
    for draw in (lambda: calque.randperm(3), lambda: calque.multinomial(calque.ones(3), 1)):
        with pytest.raises(RuntimeError, match="cannot be compiled: call it outside"):
            calque.compile(draw)()


def test_mistakes() -> None:
    with pytest.raises(RuntimeError, match="from=2"):
        calque.zeros(3).uniform_(2, 1)
    with pytest.raises(RuntimeError, match="std >= 0"):
        calque.zeros(3).normal_(0, -1)
    with pytest.raises(RuntimeError, match="'from' to be less than 'to'"):
        calque.randint(3, 3, (2,))


def test_dropout() -> None:
    x: Tensor = calque.ones(4000, requires_grad=True)
    out = F.dropout(x, 0.25)
    kept = out.detach().numpy() != 0
    np.testing.assert_allclose(out.detach().numpy()[kept], 1 / 0.75, rtol=1e-6)
    assert 0.7 < kept.mean() < 0.8
    out.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy() != 0, kept)
    assert F.dropout(x, 0.5, training=False) is x
    assert (F.dropout(x, 1.0).detach().numpy() == 0).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        F.dropout(x, 1.5)


def test_eager_draws_of_all_sizes_are_one_program() -> None:
    from calque.frontend import eager_programs

    for shape in ((5,), (3, 4)):
        calque.rand(*shape)
    known = len(eager_programs._programs)
    for shape in ((6,), (77,), (2, 9), (5, 5)):
        calque.rand(*shape)
    assert len(eager_programs._programs) == known
