"""What losses ask of their arguments, in PyTorch's words."""

from __future__ import annotations

import warnings

from ...ir import dtype as dt
from ...ir import ops
from ...ir.errors import runtime_error, value_error
from ...ir.ops._common import sizes
from ...ir.ops._elementwise import torch_name
from ...ir.sym import same, same_shape, shown
from ...ir.types import Shape
from ..tensor import Tensor


def same_sizes(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have one shape; guarded where only examples tell."""
    return same_shape(a._meta.shape, b._meta.shape)


def check_elements(input: Tensor, target: Tensor) -> None:
    """Raise ValueError where a loss by element gets a target of another shape."""
    if not same_sizes(input, target):
        raise value_error(
            f"Target size (calque.Size({sizes(target._meta.shape)})) must be the same as input "
            f"size (calque.Size({sizes(input._meta.shape)}))"
        )


def warn_of_broadcasting(input: Tensor, target: Tensor) -> None:
    """Warn, at the line that called the loss, where shapes differ and are broadcast."""
    if not same_sizes(input, target):
        warnings.warn(
            f"Using a target size (calque.Size({sizes(target._meta.shape)})) that is different to "
            f"the input size (calque.Size({sizes(input._meta.shape)})). This will likely lead to "
            "incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def check_weighted(loss: Tensor, input: Tensor) -> Tensor:
    """`loss`, which weights must not have made larger than the input."""
    if not same_sizes(loss, input):
        raise runtime_error(
            f"output with shape {sizes(input._meta.shape)} doesn't match the broadcast shape "
            f"{sizes(loss._meta.shape)}"
        )
    return loss


def check_smoothing(label_smoothing: float) -> None:
    """Raise RuntimeError unless the share of the uniform distribution is one."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise runtime_error(
            f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}"
        )


def _one_class(target: Tensor) -> Tensor:
    """The class of an input that is one row: a target without dimensions."""
    if target.dim() == 1 and same(target._meta.shape[0], 1):
        return ops.reshape(target, ())
    if target.dim():
        raise value_error(
            "For 1D input, 1D target must have size 1, but got target size: "
            f"{', '.join(map(shown, target._meta.shape))}"
        )
    return target


def checked_targets(input: Tensor, target: Tensor) -> Tensor:
    """The target as int64; it has to hold one class for each row of classes of `input`."""
    target = _one_class(target) if input.dim() == 1 else target
    given, wanted = target._meta.shape, _target_shape(input)
    if not input.dim():
        raise value_error("Expected 1 or more dimensions (got 0)")
    if input.dim() > 1 and not (target.dim() and same(given[0], wanted[0])):
        count = shown(given[0]) if target.dim() else 1
        raise value_error(
            f"Expected input batch_size ({shown(wanted[0])}) to match target batch_size ({count})."
        )
    if input.dim() == 2 and target.dim() != 1:
        raise runtime_error("0D or 1D target tensor expected, multi-target not supported")
    if not same_shape(given, wanted):
        raise runtime_error(f"Expected target size {sizes(wanted)}, got {sizes(given)}")
    if target.dtype.kind not in "iu":
        raise runtime_error(
            f"expected target dtype to be Long or Byte, but got {torch_name(target.dtype)}"
        )
    return ops.cast(target, dt.int64)  # narrow ones have no room for `ignore_index`


def _target_shape(input: Tensor) -> Shape:
    """The input's shape without the classes."""
    shape = input._meta.shape
    return (*shape[:1], *shape[2:]) if len(shape) > 1 else ()


def check_class_weight(input: Tensor, weight: Tensor | None) -> None:
    """Raise RuntimeError unless there is a weight for each class."""
    if weight is None:
        return
    classes = input._meta.shape[0 if input.dim() == 1 else 1]
    if not same_shape(weight._meta.shape, (classes,)):
        raise runtime_error(
            f"weight tensor should be defined either for all {shown(classes)} classes or no "
            f"classes but got weight tensor of shape: {sizes(weight._meta.shape)}"
        )
