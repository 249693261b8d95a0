"""Methods of `Tensor` that write into it; in PyTorch's habit their names end in `_`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import ops
from ..ir.errors import runtime_error
from . import functions as fn
from .inplace import assign, copy_, overwrite
from .methods_base import TensorBase, this

if TYPE_CHECKING:
    from .random import Generator
    from .tensor import Tensor


class InPlace(TensorBase):
    """Each writes what the method without `_` computes and returns this tensor.

    They raise RuntimeError where the result does not have this tensor's shape, or is
    floating-point and this tensor is not, or on a leaf that requires gradients.
    """

    def copy_(self, src: Any, non_blocking: bool = False) -> Tensor:
        """Write the elements of `src`, cast and broadcast."""
        return copy_(this(self), src)

    def fill_(self, value: Any) -> Tensor:
        """Write one value into every element."""
        return fn.fill_(this(self), value)

    def zero_(self) -> Tensor:
        """Write zeros."""
        return fn.fill_(this(self), 0)

    # ---- arithmetic -----------------------------------------------------------------------

    def add_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """x += alpha * other."""
        return assign(this(self), fn.add(self, other, alpha=alpha))

    def sub_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """x -= alpha * other."""
        return assign(this(self), fn.sub(self, other, alpha=alpha))

    def mul_(self, other: Any) -> Tensor:
        """x *= other."""
        return assign(this(self), ops.mul(self, other))

    def div_(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """x /= other."""
        return assign(this(self), fn.div(self, other, rounding_mode=rounding_mode))

    def floor_divide_(self, other: Any) -> Tensor:
        """x //= other."""
        return assign(this(self), ops.floor_divide(self, other))

    def remainder_(self, other: Any) -> Tensor:
        """x %= other."""
        return assign(this(self), ops.remainder(self, other))

    def pow_(self, exponent: Any) -> Tensor:
        """x **= exponent."""
        return assign(this(self), ops.pow(self, exponent))

    def neg_(self) -> Tensor:
        """x = -x."""
        return assign(this(self), ops.neg(self))

    def abs_(self) -> Tensor:
        """x = |x|."""
        return assign(this(self), ops.abs(self))

    def lerp_(self, end: Tensor, weight: Any) -> Tensor:
        """x += weight * (end - x)."""
        return assign(this(self), fn.lerp(self, end, weight))

    def addcmul_(self, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        """x += value * tensor1 * tensor2."""
        return assign(this(self), fn.addcmul(self, tensor1, tensor2, value=value))

    def addcdiv_(self, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        """x += value * tensor1 / tensor2."""
        return assign(this(self), fn.addcdiv(self, tensor1, tensor2, value=value))

    # ---- functions ------------------------------------------------------------------------

    def exp_(self) -> Tensor:
        """x = exp(x)."""
        return assign(this(self), ops.exp(self))

    def log_(self) -> Tensor:
        """x = log(x)."""
        return assign(this(self), ops.log(self))

    def sqrt_(self) -> Tensor:
        """x = sqrt(x)."""
        return assign(this(self), ops.sqrt(self))

    def rsqrt_(self) -> Tensor:
        """x = 1 / sqrt(x)."""
        return assign(this(self), ops.rsqrt(self))

    def reciprocal_(self) -> Tensor:
        """x = 1 / x."""
        return assign(this(self), ops.reciprocal(self))

    def square_(self) -> Tensor:
        """x = x * x."""
        return assign(this(self), ops.square(self))

    def floor_(self) -> Tensor:
        """x = floor(x)."""
        return assign(this(self), ops.floor(self))

    def ceil_(self) -> Tensor:
        """x = ceil(x)."""
        return assign(this(self), ops.ceil(self))

    def round_(self) -> Tensor:
        """x = round(x)."""
        return assign(this(self), ops.round(self))

    def trunc_(self) -> Tensor:
        """x = trunc(x)."""
        return assign(this(self), ops.trunc(self))

    def tanh_(self) -> Tensor:
        """x = tanh(x)."""
        return assign(this(self), ops.tanh(self))

    def sigmoid_(self) -> Tensor:
        """x = sigmoid(x)."""
        return assign(this(self), ops.sigmoid(self))

    def relu_(self) -> Tensor:
        """x = relu(x)."""
        return assign(this(self), ops.relu(self))

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        """x = clamp(x, min, max)."""
        return assign(this(self), ops.clamp(self, min, max))

    clip_ = clamp_

    # ---- parts ----------------------------------------------------------------------------

    def masked_fill_(self, mask: Tensor, value: Any) -> Tensor:
        """Write `value` where the mask holds."""
        return assign(this(self), fn.masked_fill(self, mask, value))

    def tril_(self, diagonal: int = 0) -> Tensor:
        """Write zeros above a diagonal."""
        return assign(this(self), fn.tril(self, diagonal))

    def triu_(self, diagonal: int = 0) -> Tensor:
        """Write zeros below a diagonal."""
        return assign(this(self), fn.triu(self, diagonal))

    def scatter_(self, dim: int, index: Tensor, src: Any) -> Tensor:
        """Replace elements along `dim` at indices."""
        return assign(this(self), fn.scatter(self, dim, index, src))

    def scatter_add_(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """Add elements of `src` along `dim` at indices."""
        return assign(this(self), ops.scatter_add(self, dim, index, src))

    def index_add_(self, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
        """Add slices of `source` along `dim` at indices."""
        return assign(this(self), fn.index_add(self, dim, index, source, alpha=alpha))

    def index_copy_(self, dim: int, index: Tensor, source: Tensor) -> Tensor:
        """Replace slices along `dim` at indices."""
        return assign(this(self), ops.index_copy(self, dim, index, source))

    def index_fill_(self, dim: int, index: Tensor, value: Any) -> Tensor:
        """Fill slices along `dim` at indices with one value."""
        return assign(this(self), fn.index_fill(self, dim, index, value))

    # ---- random ---------------------------------------------------------------------------

    def uniform_(
        self, low: float = 0.0, high: float = 1.0, *, generator: Generator | None = None
    ) -> Tensor:
        """Write numbers drawn evenly from [low, high)."""
        from . import random

        return overwrite(this(self), random.uniform_like(this(self), low, high, generator))

    def normal_(
        self, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
    ) -> Tensor:
        """Write normally distributed numbers."""
        from . import random

        return overwrite(this(self), random.normal_like(this(self), mean, std, generator))

    def bernoulli_(self, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        """Write 1 with probability p, else 0."""
        from . import random

        if isinstance(p, int | float) and not 0 <= p <= 1:
            raise runtime_error(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        drawn = random.bernoulli_mask(self._meta.shape, p, generator)
        return overwrite(this(self), ops.cast(drawn, self.dtype))
