"""Devices: `cpu`, `cuda` and the shape-only `meta`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..ir import ops
from ..ir.dtype import DType
from ..ir.errors import not_implemented, runtime_error, type_error

if TYPE_CHECKING:
    from .tensor import Tensor

_DEVICE = re.compile(r"(cpu|meta|cuda)(:\d+)?$")


def check_device(device: str) -> str:
    """The normal name of a device. Raises RuntimeError for unknown and unavailable ones."""
    match = _DEVICE.match(device)
    if not match:
        raise runtime_error(
            f"Expected one of cpu, cuda, meta device type at start of device string: {device}"
        )
    if match[1] == "cuda":
        raise runtime_error("cuda is not available: tensors live on cpu and meta")
    return match[1]


def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`: a dtype, a device, both, or another tensor to be like."""
    from .creation import empty_concrete
    from .tensor import Tensor

    dtype: DType | None = kwargs.pop("dtype", None)
    device: str | None = kwargs.pop("device", None)
    copy: bool = kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None)
    if kwargs:
        raise type_error(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for arg in args:
        if isinstance(arg, DType):
            dtype = arg
        elif isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, str):
            device = arg
        elif arg is not None:
            raise type_error(f"to() received an invalid argument of type {type(arg).__name__}")
    out = tensor if dtype is None else ops.cast(tensor, dtype)
    if device is not None and check_device(device) != out.device:
        if check_device(device) != "meta":
            raise not_implemented("Cannot copy out of meta tensor; no data!")
        from dataclasses import replace

        out = empty_concrete(replace(out._meta, device="meta"))
    return out.clone() if copy and out is tensor else out
