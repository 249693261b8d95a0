"""What the op families share: promotion, broadcasting, dimension arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import dtype as dt
from ..dtype import DType
from ..errors import index_error, runtime_error, type_error
from ..op import Op, Value, bind, meta
from ..sym import Dim, Expr, same, shown
from ..types import Shape, TensorMeta

Number: TypeAlias = bool | int | float
_NUMBERS = (bool, int, float)
_NUMPY = (np.ndarray, np.generic)


def is_number(x: Any) -> bool:
    """Whether x is a plain Python number, which promotes weakly."""
    return isinstance(x, _NUMBERS) and not isinstance(x, np.generic)


def is_weak(x: Any) -> bool:
    """Whether x is a tensor that stands for a Python float, and promotes as one."""
    return getattr(x, "__calque_weak__", False)


def adopted(operands: Sequence[Any]) -> Sequence[Any]:
    """Operands whose NumPy scalars are the Python numbers that they stand for, if tensors are met.

    So are arrays without dimensions. Where all are NumPy's or numbers they stay as they are:
    references compute with them.
    """
    if not any(isinstance(x, _NUMPY) for x in operands) or _of_tensors(operands) is None:
        return operands
    return [x.item() if isinstance(x, _NUMPY) and not x.ndim else x for x in operands]


def _of_tensors(operands: Sequence[Any]) -> Any:
    """One of the operands that is neither NumPy's nor a number, None without one."""
    return next((x for x in operands if not isinstance(x, (*_NUMPY, *_NUMBERS))), None)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The common shape. Raises RuntimeError in PyTorch's words where there is none."""
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = [1] * rank
    for shape in shapes:
        # From the last dimension, which PyTorch names first where several differ.
        for i in reversed(range(rank - len(shape), rank)):
            d = shape[i - rank]
            if isinstance(d, int) and d == 1:
                continue
            if isinstance(out[i], int) and out[i] == 1:
                out[i] = d
            elif same(out[i], d):
                if isinstance(d, int):
                    out[i] = d  # a known size says more than a symbol that is guarded equal
            elif same(out[i], 1):
                out[i] = d
            elif not same(d, 1):
                raise runtime_error(
                    f"The size of tensor a ({shown(out[i])}) must match the size of tensor b "
                    f"({shown(d)}) at non-singleton dimension {i}"
                )
    return tuple(out)


def check_devices(metas: Iterable[TensorMeta]) -> str:
    """The one device of all operands. Raises RuntimeError in PyTorch's words."""
    found: list[str] = []
    for m in metas:
        if m.device not in found:
            found.append(m.device)
    if len(found) > 1:
        raise runtime_error(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{found[0]} and {found[1]}!"
        )
    return found[0] if found else "cpu"


def same_metas(*metas: TensorMeta) -> TensorMeta:
    """The meta that operands of a strict elementwise operator share; raises where they differ."""
    device = check_devices(metas)
    first = metas[0]
    for m in metas[1:]:
        if m.dtype is not first.dtype:
            raise runtime_error(f"expected operands of one dtype, got {first.dtype} and {m.dtype}")
        if m.rank != first.rank:
            raise runtime_error(f"expected operands of one shape, got {first} and {m}")
    if all(m.shape == first.shape for m in metas):
        return TensorMeta(first.shape, first.dtype, device)
    shape = broadcast_shapes(*(m.shape for m in metas))
    for m in metas:
        if not all(same(a, b) for a, b in zip(m.shape, shape, strict=True)):
            raise runtime_error(f"expected operands of one shape, got {first} and {m}")
    return TensorMeta(shape, first.dtype, device)


def result_type(*operands: Value | Number) -> DType:
    """The promoted dtype of tensors and Python numbers (`torch.result_type`).

    Dimensioned tensors outrank 0-d tensors, and those outrank numbers, within a category.
    A tensor that stands for a number is one.
    """
    dims: DType | None = None
    zeros: DType | None = None
    numbers: list[Number] = []
    for x in adopted(operands):
        if is_number(x):
            numbers.append(x)
            continue
        if is_weak(x):
            numbers.append(0.0)
            continue
        m = meta(x)
        if m.rank:
            dims = m.dtype if dims is None else dt.promote(dims, m.dtype)
        else:
            zeros = m.dtype if zeros is None else dt.promote(zeros, m.dtype)
    if dims is not None and zeros is not None:
        result = dims if dt.category(dims) >= dt.category(zeros) else dt.promote(dims, zeros)
    else:
        result = dims if dims is not None else zeros
    for n in numbers:
        result = dt.weak(n) if result is None else dt.promote_weak(result, n)
    assert result is not None
    return result


def spread(operands: Sequence[Value | Number], dtypes: Sequence[DType]) -> list[Value]:
    """Operands brought to the given dtypes and one shape, Python numbers made constants."""
    from .creation import constant
    from .elementwise import cast
    from .view import broadcast_to

    operands = adopted(operands)
    if (
        any(isinstance(x, np.ndarray) for x in operands)
        and (one := _of_tensors(operands)) is not None
    ):
        made: Any = getattr(one, "__calque_array__", lambda x: constant(x, one))
        operands = [made(x) if isinstance(x, np.ndarray) else x for x in operands]
    tensors = [x for x in operands if not is_number(x)]
    metas = [meta(x) for x in tensors]
    first = metas[0]
    if len(tensors) == len(operands) and all(
        m is first or (m.shape == first.shape and m.device == first.device) for m in metas
    ):
        return [cast(x, dtype) for x, dtype in zip(tensors, dtypes, strict=True)]
    # A 0-d CPU tensor goes with tensors of any device, as a number would.
    check_devices([m for m in metas if m.rank or m.device != "cpu"])
    shape = broadcast_shapes(*(m.shape for m in metas))
    like = max(tensors, key=lambda x: meta(x).rank)
    out: list[Value] = []
    for x, dtype in zip(operands, dtypes, strict=True):
        made = constant(np.asarray(x, dtype.numpy), like) if is_number(x) else cast(x, dtype)
        out.append(broadcast_to(made, shape))
    return out


def elementwise(op: type[Op], *operands: Value | Number, dtype: DType | None = None) -> Value:
    """Apply a strict elementwise operator with promotion and broadcasting."""
    dtype = result_type(*operands) if dtype is None else dtype
    return bind(op, spread(operands, [dtype] * len(operands)))


def normalize_dim(dim: int, rank: int) -> int:
    """A dimension in 0..rank-1. Raises IndexError in PyTorch's words."""
    span = max(rank, 1)
    if not -span <= dim < span:
        raise index_error(
            f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], "
            f"but got {dim})"
        )
    return dim % span


def normalize_dims(dims: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted distinct dimensions; None means all. Raises on repetition."""
    if dims is None:
        return tuple(range(rank))
    given = (dims,) if isinstance(dims, int) else tuple(dims)
    out = [normalize_dim(d, rank) for d in given]
    for d in out:
        if out.count(d) > 1:
            raise runtime_error(f"dim {d} appears multiple times in the list of dims")
    return tuple(sorted(out)) if rank else ()


def static(shape: Shape) -> tuple[int, ...]:
    """A shape known to be all ints. Raises TypeError for a symbolic size."""
    for d in shape:
        if isinstance(d, Expr):
            raise type_error(f"size {d} must be known here")
    return shape  # type: ignore[return-value]


def sizes(shape: Sequence[Dim]) -> str:
    """A shape as messages show it."""
    return f"[{', '.join(map(shown, shape))}]"


def by(shape: Sequence[Dim]) -> str:
    """A shape as messages about matrices show it."""
    return "x".join(map(shown, shape))
