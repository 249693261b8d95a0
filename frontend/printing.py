"""How tensors print: data for concrete ones, dtype, shape and origin for traced ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .tensor import Tensor


def counted(number: int, what: str) -> str:
    """`1 kernel`, `2 kernels`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def tensor_text(tensor: Tensor) -> str:
    """The text of `repr`."""
    name = "Parameter containing:\n" if type(tensor).__name__ == "Parameter" else ""
    if tensor._is_traced:
        from .traced import origin

        dims = ", ".join(map(str, tensor.shape))
        grad = ", requires_grad=True" if tensor._requires_grad else ""
        return f"<traced {tensor.dtype.name}[{dims}] from {origin(tensor)}{grad}>"
    suffix: list[str] = []
    if tensor.device != "cpu":
        suffix.append(f"device='{tensor.device}'")
    if tensor.device == "meta":
        body = "..."
        suffix.append(f"size={tuple(tensor.shape)}")
    else:
        array = tensor._array()
        if tensor.dtype.is_floating_point and array.dtype.kind != "f":  # NumPy prints 1.0 as 1
            array = array.astype(np.float32)
        body = np.array2string(
            array,
            precision=4,
            separator=", ",
            threshold=1000,
            prefix="tensor(",
            floatmode="maxprec",
        )
    if tensor.dtype.name not in ("float32", "int64", "bool"):
        suffix.append(f"dtype={tensor.dtype}")
    if tensor._grad_fn is not None:
        suffix.append(f"grad_fn=<{tensor._grad_fn.name}>")
    elif tensor._requires_grad:
        suffix.append("requires_grad=True")
    return f"{name}tensor({', '.join([body, *suffix])})"
