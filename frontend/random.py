"""Random numbers: a counter-based generator whose state is two tensors.

Every draw computes Philox bits of (key, counter) and advances the counter by one. Both are
ordinary state: a compiled function reads them as inputs and returns the advanced counter, so eager
and compiled programs draw the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import dtype as dt
from ..ir import ops
from ..ir.dtype import DType
from ..ir.errors import runtime_error
from ..ir.ops._common import is_weak
from ..ir.sym import Dim
from .creation import from_array
from .current import current_trace, untraced
from .inplace import assign, numpy_assign
from .symint import new_sizes
from .tensor import Tensor


class Generator:
    """A stream of random numbers: `key` is its seed, `counter` how many draws were made."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.key = from_array(np.asarray(0, np.int64))
        self.counter = from_array(np.asarray(0, np.int64))

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of a seed from its beginning."""
        wrapped = (int(seed) + (1 << 63)) % (1 << 64) - (1 << 63)
        self._set(wrapped, 0)
        return self

    def seed(self) -> int:
        """Start a stream of a seed from the system, which is returned."""
        seed = int.from_bytes(os.urandom(6), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return int(self.key.item())

    def get_state(self) -> Tensor:
        """The seed and how many draws were made, as two int64."""
        return from_array(np.asarray([self.key.item(), self.counter.item()], np.int64))

    def set_state(self, new_state: Tensor) -> Generator:
        """Go to where `get_state` was called."""
        key, counter = new_state.tolist()
        self._set(key, counter)
        return self

    def named_tensors(self) -> tuple[tuple[str, Tensor], ...]:
        """The state under the names that captured programs give it."""
        return ("rng.key", self.key), ("rng.counter", self.counter)

    def _set(self, key: int, counter: int) -> None:
        with untraced():
            numpy_assign(self.key, np.asarray(key, np.int64))
            numpy_assign(self.counter, np.asarray(counter, np.int64))

    def _advance(self) -> tuple[Tensor, Tensor]:
        """The key and the counter of a new draw."""
        trace = current_trace()
        if trace is None:
            counter = from_array(self.counter._array())
            numpy_assign(self.counter, self.counter._array() + 1)
        else:
            counter = trace.wrap(trace.value(self.counter))
            assign(self.counter, counter + 1)
        return self.key, counter

    def _advance_numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """The same for draws that NumPy makes, for initialization."""
        with untraced():
            _, counter = self._advance()
        return self.key._array(), counter._array()


def _unseeded() -> Generator:
    generator = Generator()
    generator.seed()
    return generator


default_generator = _unseeded()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, compiled functions included; returns it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the system; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the default generator."""
    default_generator.set_state(new_state)


# ---- draws, in a trace too -------------------------------------------------------------------


def _draw(generator: Generator | None) -> tuple[Tensor, Tensor]:
    return (generator or default_generator)._advance()


def _finish(drawn: Tensor, device: str, requires_grad: bool) -> Tensor:
    drawn = drawn if device == "cpu" else drawn.to(device)
    return drawn.requires_grad_() if requires_grad else drawn


def rand(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None,
    device: str = "cpu", requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Numbers drawn evenly from [0, 1)."""
    drawn = ops.uniform(*_draw(generator), new_sizes(size), dtype or dt.float32)
    return _finish(drawn, device, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None,
    device: str = "cpu", requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normally distributed numbers."""
    drawn = ops.normal(*_draw(generator), new_sizes(size), dtype or dt.float32)
    return _finish(drawn, device, requires_grad)


def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None,
    dtype: DType | None = None, device: str = "cpu",
) -> Tensor:  # fmt: skip
    """Integers drawn from low..high-1; `randint(high, size)` begins at 0."""
    if size is None:
        low, high, size = 0, low, high
    shape = new_sizes(tuple(size))
    drawn = ops.randint(*_draw(generator), int(low), int(high), shape, dtype or dt.int64)
    return _finish(drawn, device, False)


def rand_like(input: Tensor, *, dtype: DType | None = None) -> Tensor:
    """Numbers drawn evenly from [0, 1), in the shape and dtype of `input`."""
    return ops.uniform(*_draw(None), input._meta.shape, dtype or input.dtype)


def randn_like(input: Tensor, *, dtype: DType | None = None) -> Tensor:
    """Normally distributed numbers in the shape and dtype of `input`."""
    return ops.normal(*_draw(None), input._meta.shape, dtype or input.dtype)


def uniform_like(
    input: Tensor, low: float, high: float, generator: Generator | None = None
) -> Tensor:
    """What `Tensor.uniform_` writes."""
    if low > high:
        raise runtime_error(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    shape, dtype = input._meta.shape, input.dtype
    return ops.uniform(*_draw(generator), shape, dtype, float(low), float(high))


_NEGATIVE = "normal expects std >= 0.0, but found std {}"


def normal_like(
    input: Tensor, mean: float, std: float, generator: Generator | None = None
) -> Tensor:
    """What `Tensor.normal_` writes."""
    if std < 0:
        raise runtime_error(_NEGATIVE.format(std))
    shape, dtype = input._meta.shape, input.dtype
    return ops.normal(*_draw(generator), shape, dtype, float(mean), float(std))


def normal(mean: Any, std: Any, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Normally distributed numbers; mean and std are numbers (with `size`) or tensors."""
    if isinstance(std, Tensor):
        if std.is_floating_point() and not is_weak(std):
            std = ops.check_range(std, 0.0, None, "normal expects all elements of std >= 0.0")
    elif std < 0:
        raise runtime_error(_NEGATIVE.format(std))
    if size is not None:
        shape: tuple[Dim, ...] = new_sizes(tuple(size))
    else:
        shape = (mean if isinstance(mean, Tensor) else std)._meta.shape
    drawn = ops.normal(*_draw(generator), shape)
    return drawn * std + mean


def bernoulli_mask(shape: Sequence[Dim], keep: Any, generator: Generator | None = None) -> Tensor:
    """bool: True with probability `keep`, a number or a tensor that broadcasts to `shape`."""
    return ops.bernoulli(*_draw(generator), keep, shape)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element of `input` gives, else 0."""
    p = ops.check_range(input.detach(), 0.0, 1.0, "Expected p_in >= 0 && p_in <= 1 to be true")
    drawn = bernoulli_mask(input._meta.shape, p, generator)
    return ops.cast(drawn, input.dtype)


# ---- draws that need data --------------------------------------------------------------------


def _need_data(name: str) -> None:
    if current_trace() is not None:
        raise runtime_error(
            f"{name} cannot be compiled: call it outside of the compiled function and pass what "
            "it draws as an argument"
        )


def _uniform_numpy(count: int, generator: Generator | None) -> np.ndarray:
    drawn = (generator or default_generator)._advance_numpy()
    return ops.uniform(*drawn, (count,), dt.float64)


def randperm(n: int, *, generator: Generator | None = None, dtype: DType | None = None) -> Tensor:
    """0..n-1 in random order. It cannot be compiled."""
    _need_data("randperm")
    order = np.argsort(_uniform_numpy(n, generator), kind="stable")
    return from_array(order.astype((dtype or dt.int64).numpy))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Indices drawn with the probabilities that each row of `input` gives. Not compilable."""
    _need_data("multinomial")
    weights = np.asarray(input.detach()._array("multinomial"), np.float64)
    if weights.ndim not in (1, 2):
        raise runtime_error("prob_dist must be 1 or 2 dim")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise runtime_error("probability tensor contains either `inf`, `nan` or element < 0")
    rows = np.atleast_2d(weights)
    if (rows.sum(1) <= 0).any():
        raise runtime_error("invalid multinomial distribution (sum of probabilities <= 0)")
    if not replacement and num_samples > rows.shape[1]:
        raise runtime_error(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    if replacement:
        draws = _uniform_numpy(rows.shape[0] * num_samples, generator)
        ends = np.cumsum(rows, 1)
        targets = draws.reshape(rows.shape[0], num_samples) * ends[:, -1:]
        found = [np.searchsorted(e, t, side="right") for e, t in zip(ends, targets, strict=True)]
        chosen = np.minimum(np.stack(found), rows.shape[1] - 1)
    else:
        # The smallest of exponential variables over their weights: drawn without replacement.
        draws = _uniform_numpy(rows.size, generator).reshape(rows.shape)
        with np.errstate(divide="ignore"):
            chosen = np.argsort(-np.log1p(-draws) / rows, 1, kind="stable")[:, :num_samples]
    out = chosen.astype(np.int64)
    return from_array(out if weights.ndim == 2 else out[0])


# ---- initialization --------------------------------------------------------------------------


def fill_uniform(
    target: Tensor, low: float, high: float, generator: Generator | None = None
) -> None:
    """Write evenly drawn numbers into a concrete tensor, at once and by NumPy.

    A model is initialized without compiling anything: each shape would be a program of its own.
    """
    if target.device == "meta":
        return
    drawn = (generator or default_generator)._advance_numpy()
    count = int(target.numel())
    numbers = ops.uniform(*drawn, (count,), target.dtype, float(low), float(high))
    numpy_assign(target, numbers)


def fill_normal(
    target: Tensor, mean: float, std: float, generator: Generator | None = None
) -> None:
    """Write normally distributed numbers into a concrete tensor, at once and by NumPy."""
    if target.device == "meta":
        return
    drawn = (generator or default_generator)._advance_numpy()
    count = int(target.numel())
    numbers = ops.normal(*drawn, (count,), target.dtype, float(mean), float(std))
    numpy_assign(target, numbers)


__all__ = [
    "Generator", "bernoulli", "default_generator", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "rand", "rand_like", "randint", "randn", "randn_like", "randperm",
    "seed", "set_rng_state",
]  # fmt: skip
