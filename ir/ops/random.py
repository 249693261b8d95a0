"""Random numbers: one pure operator that gives bits, and the distributions made from them.

The bits are those of Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
2011): a function of a key (the seed), a counter (which draw of the program) and the element's
position. The same triple gives the same bits on every machine, at every size, in every fusion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from xdsl.ir import SSAValue

from .. import dtype as dt
from ..attrs import DIMS
from ..dtype import DType
from ..errors import runtime_error
from ..op import Node, Op, Sample, Value, bind
from ..sym import Dim
from ..types import Shape, TensorMeta
from .elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    cast,
    cos,
    log,
    lt,
    mul,
    remainder,
    shift_left,
    sqrt,
    sub,
)
from .view import reshape
from .viewing import narrow

if TYPE_CHECKING:
    from ..lowering import LinalgBuilder
    from ..pointwise import BodyBuilder, Tensor
    from ..scalar import ScalarBuilder

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Words(Protocol):
    """Arithmetic on unsigned 32-bit words, of NumPy arrays or of IR scalars."""

    def wide_mul(self, x: Any, factor: int) -> tuple[Any, Any]:
        """The high and low word of x * factor."""
        ...

    def xor(self, x: Any, y: Any) -> Any: ...

    def add(self, x: Any, step: int) -> Any: ...


def philox(words: Words, counter: Sequence[Any], key: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """Four random words for a counter of four words and a key of two."""
    a, b, c, d = counter
    k0, k1 = key
    for i in range(_ROUNDS):
        if i:
            k0, k1 = words.add(k0, _KEY_STEPS[0]), words.add(k1, _KEY_STEPS[1])
        high0, low0 = words.wide_mul(a, _MULTIPLIERS[0])
        high1, low1 = words.wide_mul(c, _MULTIPLIERS[1])
        a, b = words.xor(words.xor(high1, b), k0), low1
        c, d = words.xor(words.xor(high0, d), k1), low0
    return a, b, c, d


class NumPyWords:
    """Words as uint64 arrays whose high half is zero."""

    def wide_mul(self, x: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
        product = x * np.uint64(factor)
        return product >> np.uint64(32), product & np.uint64(0xFFFFFFFF)

    def xor(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x ^ y

    def add(self, x: np.ndarray, step: int) -> np.ndarray:
        return (x + np.uint64(step)) & np.uint64(0xFFFFFFFF)


class ScalarWords:
    """Words as i32 scalars of a body, which must extend them unsigned."""

    def __init__(self, s: ScalarBuilder) -> None:
        self.s = s

    def halves(self, x: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The low and the high word of an i64."""
        s, word = self.s, dt.int32.element
        return s.cast(x, word), s.cast(s.shr(x, s.like(32, x)), word)

    def wide_mul(self, x: SSAValue, factor: int) -> tuple[SSAValue, SSAValue]:
        wide = self.s.cast(x, dt.int64.element)
        low, high = self.halves(self.s.mul(wide, self.s.like(factor, wide)))
        return high, low

    def xor(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.s.xor(x, y)

    def add(self, x: SSAValue, step: int) -> SSAValue:
        return self.s.add(x, self.s.like(step - (1 << 32), x))


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The low and the high word of 64-bit integers."""
    wide = np.asarray(x).astype(np.uint64)
    return wide & np.uint64(0xFFFFFFFF), wide >> np.uint64(32)


class RandomBits(Op):
    """32 random bits per element, as int32.

    Element i is word i % 4 of Philox with counter (i / 4, counter), each of two words, low first.
    """

    name = "calque.random_bits"
    ATTRS = {"shape": DIMS}

    @classmethod
    def infer(cls, *metas: TensorMeta, shape: Shape) -> TensorMeta:
        for what, m in zip(("key", "counter"), metas, strict=True):
            if m.dtype is not dt.int64 or m.rank:
                raise runtime_error(f"expected the {what} as a 0-d int64 tensor, got {m}")
        return TensorMeta(shape, dt.int32, metas[0].device)

    @classmethod
    def work(cls, node: Node) -> Dim:
        return 20 * node.result_metas[0].numel  # ten rounds of eight, for four words

    @staticmethod
    def REFERENCE(key: np.ndarray, counter: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape)
        block = np.arange(-(-count // 4))
        four = philox(NumPyWords(), (*_halves(block), *_halves(counter)), _halves(key))
        bits = np.stack(np.broadcast_arrays(*four), axis=-1).reshape(-1)[:count]
        return bits.astype(np.uint32).view(np.int32).reshape(shape)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        out = node.result_metas[0]

        def body(s: BodyBuilder, key: SSAValue, counter: SSAValue) -> SSAValue:
            words = ScalarWords(s)
            position = s.constant(0, dt.int64.element)
            for i, d in enumerate(out.shape):
                size = s.cast(s.size(d), dt.int64.element)
                position = s.add(s.mul(position, size), s.cast(s.index(i), dt.int64.element))
            block = s.shr(position, s.like(2, position))
            four = philox(words, (*words.halves(block), *words.halves(counter)), words.halves(key))
            number = s.and_(s.cast(position, dt.int32.element), s.constant(3, dt.int32.element))
            chosen = four[3]
            for i in (2, 1, 0):
                chosen = s.select(s.compare("eq", number, s.like(i, number)), four[i], chosen)
            return chosen

        return [b.pointwise(out, node.operands, [(), ()], body, unsigned=True)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for key, counter, shape in (
            (0, 0, (4,)),
            (1234, 5, (3, 7)),
            (-1, 1 << 40, (2, 1, 5)),
            (7, -3, ()),
            (7, 3, (0, 2)),
        ):
            yield Sample((np.asarray(key), np.asarray(counter)), {"shape": shape})
        error = (RuntimeError, "expected the key as a 0-d int64 tensor")
        yield Sample((np.zeros(2, np.int64), np.asarray(0)), {"shape": (1,)}, error=error)


# ---- the functions ---------------------------------------------------------------------------
#
# `key` and `counter` are 0-d int64 tensors; whoever draws advances the counter by one per draw.


def random_bits(key: Value, counter: Value, shape: Sequence[Dim]) -> Value:
    """32 random bits per element, as int32."""
    return bind(RandomBits, (key, counter), {"shape": tuple(shape)})


# Random bits that a uniform number of each dtype has: as many as its significand holds.
_DIGITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


def uniform(
    key: Value,
    counter: Value,
    shape: Sequence[Dim],
    dtype: DType = dt.float32,
    low: float | Value = 0.0,
    high: float | Value = 1.0,
) -> Value:
    """Numbers in [low, high): multiples of the spacing just below one, all equally likely."""
    digits = _DIGITS[dtype.name]
    if digits > 32:
        unit = _uniform64(key, counter, shape)
    else:
        kept = bitwise_and(random_bits(key, counter, shape), (1 << digits) - 1)
        unit = mul(cast(kept, dtype), 2.0**-digits)
    if (low, high) == (0.0, 1.0):
        return unit
    width = high - low if isinstance(low, float) and isinstance(high, float) else sub(high, low)
    return add(mul(unit, width), low)


def _uniform64(key: Value, counter: Value, shape: Sequence[Dim]) -> Value:
    """53 random bits over 2**53, from two draws per element."""
    first, second = _two(random_bits(key, counter, (2, *shape)), shape)
    top = mul(cast(bitwise_and(first, (1 << 26) - 1), dt.float64), 2.0**-26)
    low = mul(cast(bitwise_and(second, (1 << 27) - 1), dt.float64), 2.0**-53)
    return add(top, low)


def _two(x: Value, shape: Sequence[Dim]) -> tuple[Value, Value]:
    """The two slices of x along its leading dimension of size 2."""
    return reshape(narrow(x, 0, 0, 1), shape), reshape(narrow(x, 0, 1, 1), shape)


def normal(
    key: Value,
    counter: Value,
    shape: Sequence[Dim],
    dtype: DType = dt.float32,
    mean: float | Value = 0.0,
    std: float | Value = 1.0,
) -> Value:
    """Normally distributed numbers, by the transform of Box and Muller."""
    wide = dt.float64 if dtype is dt.float64 else dt.float32
    radial, turn = _two(uniform(key, counter, (2, *shape), wide), shape)
    radius = sqrt(mul(log(sub(1.0, radial)), -2.0))  # 1 - u is never zero
    z = cast(mul(radius, cos(mul(turn, 2 * math.pi))), dtype)
    if isinstance(mean, float) and isinstance(std, float) and (mean, std) == (0.0, 1.0):
        return z
    return add(mul(z, std), mean)


def bernoulli(key: Value, counter: Value, p: float | Value, shape: Sequence[Dim]) -> Value:
    """True with probability p (a number, or a tensor that broadcasts to `shape`), as bool."""
    return lt(uniform(key, counter, shape), p)


def randint(
    key: Value, counter: Value, low: int, high: int, shape: Sequence[Dim], dtype: DType = dt.int64
) -> Value:
    """Integers in [low, high). Raises RuntimeError for an empty range."""
    if high <= low:
        raise runtime_error(f"random_ expects 'from' to be less than 'to', but got {low} >= {high}")
    # 62 bits keep the excess of small remainders below anything measurable.
    parts = _two(random_bits(key, counter, (2, *shape)), shape)
    top, rest = (cast(bitwise_and(b, 0x7FFFFFFF), dt.int64) for b in parts)
    wide = bitwise_or(shift_left(top, 31), rest)
    return cast(add(remainder(wide, high - low), low), dtype)


OPS: tuple[type[Op], ...] = (RandomBits,)
