"""Helpers for training: clipping gradients, parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from ...ir import ops
from ...ir.errors import runtime_error
from ..functions_reduce import norm
from ..gradmode import no_grad
from ..inplace import assign
from ..tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [g for g in (p.grad for p in given) if g is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:  # fmt: skip
    """Scale all gradients so that their norm as one vector is at most `max_norm`.

    Returns the norm before. `error_if_nonfinite` needs its value, so it cannot be compiled.
    """
    grads = _gradients(parameters)
    with no_grad():
        if not grads:
            from ..creation import zeros

            return zeros(())
        norms = [norm(g, norm_type) for g in grads]
        total = norms[0] if len(norms) == 1 else norm(ops.stack(norms), norm_type)
        if error_if_nonfinite and not bool(ops.isfinite(total)):
            raise runtime_error(
                f"The total norm of order {norm_type} for gradients from `parameters` is "
                "non-finite, so it cannot be clipped. To disable this error and scale the "
                "gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
            )
        scale = ops.clamp(max_norm / (total + 1e-6), None, 1.0)
        for grad in grads:
            assign(grad, grad * scale)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring all elements of all gradients into [-clip_value, clip_value]."""
    with no_grad():
        for grad in _gradients(parameters):
            assign(grad, ops.clamp(grad, -clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters as one vector."""
    return ops.concatenate([ops.flatten(p) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the parts of one vector into the parameters."""
    start = 0
    with no_grad():
        for p in parameters:
            count = p.numel()
            assign(p, ops.reshape(ops.narrow(vec, 0, start, count), p._meta.shape))
            start = start + count


__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters",
]  # fmt: skip
