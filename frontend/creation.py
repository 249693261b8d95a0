"""Making tensors: from data, filled, ranges."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import dtype as dt
from ..ir import ops
from ..ir.dtype import DType
from ..ir.errors import runtime_error, value_error
from ..ir.ops._common import check_fits
from ..ir.types import TensorMeta
from ..runtime.memory import ALIGNMENT, Buffer
from .current import current_trace
from .devices import check_device
from .lifted import plain
from .storage import Ints, Storage, contiguous_strides
from .symint import new_sizes
from .tensor import Tensor

if TYPE_CHECKING:
    from ..ir.sym import Dim


def from_array(array: np.ndarray, device: str = "cpu") -> Tensor:
    """A concrete tensor that owns a copy of the data of an array."""
    meta = TensorMeta(array.shape, dt.from_numpy(array.dtype), check_device(device))
    out = empty_concrete(meta)
    if meta.device == "meta":
        return out
    if array.nbytes <= ALIGNMENT:  # a number is moved before NumPy has looked at two arrays
        ctypes.memmove(out.data_ptr(), array.tobytes(), array.nbytes)
    else:
        np.copyto(out._array(), array)
    return out


def empty_concrete(meta: TensorMeta) -> Tensor:
    """A concrete tensor with uninitialized memory."""
    strides, nbytes = layout(meta)
    buffer = None if meta.device == "meta" else Buffer.empty(nbytes)
    return Tensor._concrete(Storage(buffer), meta, strides)


@lru_cache(maxsize=4096)  # programs make tensors of few sizes, very often
def layout(meta: TensorMeta) -> tuple[Ints, int]:
    """Strides and number of bytes of a tensor that lies in order."""
    shape: Any = meta.shape
    return contiguous_strides(shape), prod(shape) * meta.dtype.itemsize


def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor that copies `data`: numbers, nested lists, NumPy arrays.

    Python floats become float32, ints int64, bools bool; NumPy arrays keep their dtype.
    """
    if isinstance(data, Tensor) and data.__calque_weak__:
        out = ops.cast(plain(data), dtype or dt.float32)  # as of the float that it stands for
    elif isinstance(data, Tensor):
        out = data.detach().clone()
        out = out if dtype is None else ops.cast(out, dtype)
    else:
        out = _materialize(_to_array(data, dtype), device)
    return out.requires_grad_() if requires_grad else out


def _to_array(data: Any, dtype: DType | None) -> np.ndarray:
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
    else:
        try:
            array = np.asarray(_plain(data))
        except ValueError:
            raise value_error("expected a tensor of numbers: rows must have one length") from None
        if array.dtype.kind not in "fiub":
            raise value_error("expected a tensor of numbers that fit one of the dtypes")
        if dtype is not None:
            check_fits(array, dtype)
        elif array.dtype == np.float64:
            dtype = dt.float32
    with np.errstate(over="ignore"):  # what is too large is infinite
        return array if dtype is None else array.astype(dtype.numpy)


def _plain(data: Any) -> Any:
    """Nested sequences with 0-d tensors replaced by their numbers."""
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, list | tuple):
        return [_plain(x) for x in data]
    return data


def _materialize(array: np.ndarray, device: str) -> Tensor:
    """Data as a constant of the current trace, or as memory outside of one."""
    trace = current_trace()
    if trace is None:
        return from_array(array, device)
    from ..ir.ops.creation import Constant

    return trace.record(Constant, (), {"value": array, "device": check_device(device)})


def as_tensor(data: Any, dtype: DType | None = None, device: str = "cpu") -> Tensor:
    """`data` itself where it is a tensor of that dtype, else `tensor(data)`."""
    if isinstance(data, Tensor) and not data.__calque_weak__:
        return data if dtype is None else ops.cast(data, dtype)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the memory of an array."""
    if any(s < 0 for s in array.strides):
        raise value_error(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array with array.copy().)"
        )
    meta = TensorMeta(tuple(array.shape), dt.from_numpy(array.dtype))
    strides = tuple(s // array.itemsize for s in array.strides)
    return Tensor._concrete(Storage(Buffer.wrap(array)), meta, strides)


def full(
    *size: Any,
    fill_value: Any = None,
    dtype: DType | None = None,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """`full(size, fill_value)`: a tensor filled with one value."""
    if fill_value is None:
        *size_, fill_value = size
        size = tuple(size_)
    shape = new_sizes(size)
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    dtype = dtype or dt.weak(value)
    out = _filled(shape, value, dtype, device)
    return out.requires_grad_() if requires_grad else out


def _filled(shape: tuple[Dim, ...], value: Any, dtype: DType, device: str) -> Tensor:
    trace = current_trace()
    check_fits(value, dtype)
    if trace is not None:
        scalar = _materialize(np.asarray(value).astype(dtype.numpy), device)
        return trace.wrap(trace.value(ops.broadcast_to(scalar, shape)))
    out = empty_concrete(TensorMeta(shape, dtype, check_device(device)))
    if out.device != "meta":
        out._array().fill(np.asarray(value).astype(dtype.numpy))
    return out


def zeros(
    *size: Any, dtype: DType | None = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros."""
    out = _filled(new_sizes(size), 0, dtype or dt.float32, device)
    return out.requires_grad_() if requires_grad else out


def ones(
    *size: Any, dtype: DType | None = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A tensor of ones."""
    out = _filled(new_sizes(size), 1, dtype or dt.float32, device)
    return out.requires_grad_() if requires_grad else out


def empty(
    *size: Any, dtype: DType | None = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A tensor of unspecified content; zeros while tracing."""
    shape = new_sizes(size)
    if current_trace() is not None:
        return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)
    out = empty_concrete(TensorMeta(shape, dtype or dt.float32, check_device(device)))
    return out.requires_grad_() if requires_grad else out


def zeros_like(input: Tensor, *, dtype: DType | None = None) -> Tensor:
    """Zeros with the shape, dtype and device of `input`."""
    return _filled(input._meta.shape, 0, dtype or input.dtype, input.device)


def ones_like(input: Tensor, *, dtype: DType | None = None) -> Tensor:
    """Ones with the shape, dtype and device of `input`."""
    return _filled(input._meta.shape, 1, dtype or input.dtype, input.device)


def full_like(input: Tensor, fill_value: Any, *, dtype: DType | None = None) -> Tensor:
    """One value with the shape, dtype and device of `input`."""
    return _filled(input._meta.shape, fill_value, dtype or input.dtype, input.device)


def empty_like(input: Tensor, *, dtype: DType | None = None) -> Tensor:
    """Unspecified content with the shape, dtype and device of `input`."""
    return empty(*input.shape, dtype=dtype or input.dtype, device=input.device)


def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: DType | None = None, device: str = "cpu"
) -> Tensor:
    """start, start+step, … below end; `arange(end)` counts from 0."""
    from ..ir.ops.creation import Iota
    from .symint import SymInt, unwrap

    if end is None:
        start, end = 0, start
    if dtype is None:
        is_float = any(isinstance(v, float) for v in (start, end, step))
        dtype = dt.float32 if is_float else dt.int64
    _check_step(start, end, step)
    trace = current_trace()
    plain = not any(isinstance(v, SymInt) or hasattr(v, "_meta") for v in (start, end, step))
    if plain and step == 0:
        raise runtime_error("step must be nonzero")
    if plain and (end - start) * step < 0:
        raise runtime_error("upper bound and lower bound inconsistent with step sign")
    if trace is None:
        return from_array(np.arange(start, end, step).astype(dtype.numpy), device)
    if any(isinstance(v, SymInt) for v in (start, end)):
        count: Any = -((unwrap(start) - unwrap(end)) // unwrap(step))
    else:
        count = max(0, int(np.ceil((end - start) / step)))
    attrs = {"size": count, "dtype": dtype, "device": check_device(device)}
    out = trace.record(Iota, (), attrs)
    if step != 1:
        out = ops.cast(ops.mul(out, step), dtype)
    first = unwrap(start) if isinstance(start, SymInt) else start
    return out if first == 0 else ops.cast(ops.add(out, start), dtype)


def _check_step(start: Any, end: Any, step: Any) -> None:
    """Raise RuntimeError where steps from `start` never come to `end`."""
    if step == 0:
        raise runtime_error("step must be nonzero")
    if (step > 0 and start > end) or (step < 0 and start < end):
        raise runtime_error("upper bound and lower bound inconsistent with step sign")


def eye(n: int, m: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Ones on the diagonal."""
    for name, count in (("n", n), ("m", n if m is None else m)):
        if count < 0:
            raise runtime_error(f"{name} must be greater or equal to 0, got {count}")
    rows, columns = arange(n), arange(n if m is None else m)
    same = ops.eq(ops.unsqueeze(rows, 1), ops.unsqueeze(columns, 0))
    return ops.cast(same, dtype or dt.float32)


def linspace(start: float, end: float, steps: int, *, dtype: DType | None = None) -> Tensor:
    """`steps` values evenly spaced from start to end."""
    return _materialize(np.linspace(start, end, steps).astype((dtype or dt.float32).numpy), "cpu")


__all__ = [
    "arange", "as_tensor", "empty", "empty_like", "eye", "from_numpy", "full", "full_like",
    "linspace", "ones", "ones_like", "tensor", "zeros", "zeros_like",
]  # fmt: skip
