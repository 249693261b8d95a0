"""Attention with several heads."""

from __future__ import annotations

from ...ir import ops
from ...ir.errors import value_error
from ..tensor import Tensor
from . import functional as F
from . import init
from .layers import Linear, new_parameter
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """Attention of queries over keys and values, in `num_heads` parts of the features.

    Inputs are (L, N, E), or (N, L, E) with `batch_first`; one weight projects all three.
    """

    in_proj_weight: Parameter
    in_proj_bias: Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
        batch_first: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.in_proj_weight = new_parameter(3 * embed_dim, embed_dim)
        if bias:
            self.in_proj_bias = new_parameter(3 * embed_dim)
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias)
        init.xavier_uniform_(self.in_proj_weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """(output, weights); masks are True (or -inf added) where attention is not allowed."""
        sides = (query, key, value)
        if query.dim() != 3:
            raise value_error(f"expected batched 3D query, key and value, got {query.dim()}D")
        if not self.batch_first:
            sides = tuple(ops.transpose(x, 0, 1) for x in sides)
        weights = ops.chunk(self.in_proj_weight, 3)
        biases = (None,) * 3 if self.in_proj_bias is None else ops.chunk(self.in_proj_bias, 3)
        q, k, v = (
            self._heads(F.linear(x, w, b)) for x, w, b in zip(sides, weights, biases, strict=True)
        )
        scores = ops.matmul(q * (self.embed_dim // self.num_heads) ** -0.5, k.transpose(-2, -1))
        scores = _masked(scores, attn_mask)
        if key_padding_mask is not None:
            scores = _masked(scores, key_padding_mask.unsqueeze(1).unsqueeze(1))
        attention = F.dropout(ops.softmax(scores, -1), self.dropout, self.training)
        out = ops.flatten(ops.transpose(ops.matmul(attention, v), 1, 2), 2)
        out = self.out_proj(out)
        out = out if self.batch_first else ops.transpose(out, 0, 1)
        if not need_weights:
            return out, None
        return out, ops.mean(attention, 1) if average_attn_weights else attention

    def _heads(self, x: Tensor) -> Tensor:
        """(N, L, E) to (N, heads, L, E / heads)."""
        return ops.transpose(ops.unflatten(x, -1, (self.num_heads, -1)), 1, 2)


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return scores
    if mask.dtype.name == "bool":
        return scores.masked_fill(mask, float("-inf"))
    return scores + mask


__all__ = ["MultiheadAttention"]
