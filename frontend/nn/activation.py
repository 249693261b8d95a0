"""Activations as modules."""

from __future__ import annotations

from ...ir import ops
from ..inplace import assign
from ..tensor import Tensor
from . import functional as F
from .module import Module


class _InPlace(Module):
    """Base of the activations that may overwrite their input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def _put(self, input: Tensor, out: Tensor) -> Tensor:
        return assign(input, out) if self.inplace else out

    def extra_repr(self) -> str:
        """The option."""
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """x where positive, else 0."""

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return self._put(input, F.relu(input))


class ReLU6(_InPlace):
    """x within [0, 6]."""

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return self._put(input, F.relu6(input))


class SiLU(_InPlace):
    """x * sigmoid(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return self._put(input, F.silu(input))


class LeakyReLU(_InPlace):
    """x where positive, else x * negative_slope."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return self._put(input, F.leaky_relu(input, self.negative_slope))

    def extra_repr(self) -> str:
        """The slope."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(_InPlace):
    """x where positive, else alpha * (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return self._put(input, F.elu(input, self.alpha))

    def extra_repr(self) -> str:
        """The scale."""
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class GELU(Module):
    """x times the probability that a normal variable is below x."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """The option."""
        return f"approximate={self.approximate!r}"


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return ops.tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return ops.sigmoid(input)


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta, x itself where beta * x is above the threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """By element."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """The options."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """exp(x) / sum(exp(x)) along a dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """In the input's shape."""
        return ops.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) along a dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """In the input's shape."""
        return ops.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


__all__ = [
    "ELU", "GELU", "LeakyReLU", "LogSoftmax", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Tanh",
]  # fmt: skip
