"""Functions that make functions: gradients in the functional style, to any order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..ir import ops
from ..ir.errors import runtime_error, type_error
from .autograd import edge_of
from .autograd import grad as gradients_of
from .current import current_trace
from .gradmode import set_grad_enabled
from .tensor import Tensor


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (value, gradients) of a scalar function of tensors.

    Composes with itself and with `calque.compile`; gradients are with respect to the positional
    arguments `argnums`.
    """
    single = isinstance(argnums, int)
    positions: tuple[int, ...] = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        args_ = list(args)
        for p in positions:
            if not 0 <= p < len(args):
                raise runtime_error(f"Got argnum={p}, but only {len(args)} positional inputs")
        with set_grad_enabled(True):
            for p in positions:
                args_[p] = _fresh(args[p])
            out = function(*args_, **kwargs)
            value, aux = out if has_aux else (out, None)
            if not isinstance(value, Tensor) or value._meta.numel != 1:
                raise runtime_error("grad needs a function that returns one scalar tensor")
            inputs = [args_[p] for p in positions]
            if value._requires_grad:
                grads = gradients_of(value, inputs, create_graph=True, allow_unused=True)
            else:
                grads = (None,) * len(inputs)
            filled = tuple(
                ops.full_like(i, 0) if g is None else g for i, g in zip(inputs, grads, strict=True)
            )
        if current_trace() is None:
            own = {id(i) for i in inputs if i._grad_fn is None}
            value = _released(value, own)
            filled = tuple(_released(g, own) for g in filled)
        result = filled[0] if single else filled
        return ((value, aux) if has_aux else value), result

    return wrapped


def grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradients of a scalar function; `value_and_grad` with less."""
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapped


def _released(x: Tensor, own: set[int]) -> Tensor:
    """x without its history, where that leads to nothing but the leaves `own`."""
    waiting, seen = [edge_of(x)], set[int]()
    while waiting:
        edge = waiting.pop()
        if isinstance(edge, Tensor):
            if id(edge) not in own:
                return x
        elif edge is not None and id(edge[0]) not in seen:
            seen.add(id(edge[0]))
            waiting += edge[0].edges
    return x.detach()


def _fresh(x: Any) -> Tensor:
    """A tensor equal to x that gradients can be asked for apart from other uses of x."""
    from ..ir.ops.view import BroadcastTo
    from .dispatch import apply

    if not isinstance(x, Tensor):
        raise type_error(f"grad differentiates with respect to tensors, got {type(x).__name__}")
    out = apply(BroadcastTo, (x,), {"shape": x._meta.shape})
    out._requires_grad = True
    return out


__all__ = ["grad", "value_and_grad"]
