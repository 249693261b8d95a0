"""What the op families share: promotion, broadcasting, dimension arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache, reduce
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
    for x in operands:
        if isinstance(x, _NUMPY):
            if _of_tensors(operands) is None:
                return operands
            return [x.item() if isinstance(x, _NUMPY) and not x.ndim else x for x in operands]
    return operands


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
    operands = tuple(adopted(operands))
    return _promote(operands, _metas(operands))


def spread(operands: Sequence[Value | Number], dtypes: Sequence[DType]) -> list[Value]:
    """Operands brought to the given dtypes and one shape, Python numbers made constants."""
    operands = _among_tensors(operands)
    return _spread(operands, _metas(operands), dtypes)


def elementwise(op: type[Op], *operands: Value | Number, dtype: DType | None = None) -> Value:
    """Apply a strict elementwise operator with promotion and broadcasting."""
    found = _among_tensors(operands)
    metas = _metas(found)
    usual = _usual(found, metas, dtype)
    if usual is not None:
        return bind(op, usual)
    dtype = _promote(found, metas) if dtype is None else dtype
    return bind(op, _spread(found, metas, [dtype] * len(found)))


def _usual(
    operands: Sequence[Value | Number], metas: Sequence[TensorMeta | None], dtype: DType | None
) -> Sequence[Value] | None:
    """What `_spread` makes of tensors that are alike and of numbers that lift nothing; None for
    other operands. Here because most operands are such, and all else takes longer to find out."""
    at = 0 if metas[0] is not None else -1
    first, like = metas[at], operands[at]
    if first is None or not first.shape or (dtype is not None and dtype is not first.dtype):
        return None
    numbers = False
    for x, m in zip(operands, metas, strict=True):
        if m is None:
            if dt.promote_weak(first.dtype, x) is not first.dtype:
                return None
            numbers = True
        elif m is not first and m != first:
            return None
    if not numbers:
        return operands
    full = _makers()[0]
    return [
        full(first.shape, x, first.dtype, like) if m is None else x
        for x, m in zip(operands, metas, strict=True)
    ]


def _among_tensors(operands: Sequence[Any]) -> Sequence[Any]:
    """`adopted` operands whose NumPy arrays are tensors, if tensors are met."""
    for x in operands:
        if isinstance(x, _NUMPY):
            break
    else:
        return operands
    one = _of_tensors(operands)
    if one is None:
        return operands
    made: Any = getattr(one, "__calque_array__", lambda x: _makers()[-1](x, one))
    return [made(x) if isinstance(x, np.ndarray) else x for x in adopted(operands)]


def _metas(operands: Sequence[Value | Number]) -> list[TensorMeta | None]:
    """The metas of tensors, None for numbers."""
    return [None if is_number(x) else meta(x) for x in operands]


def _promote(operands: Sequence[Value | Number], metas: Sequence[TensorMeta | None]) -> DType:
    looks: list[tuple[DType, int]] = []
    for x, m in zip(operands, metas, strict=True):
        if m is None:
            looks.append((dt.weak(x), _NUMBER))
        elif m.shape:
            looks.append((m.dtype, _DIMENSIONED))
        else:
            looks.append((dt.weak(0.0), _NUMBER) if is_weak(x) else (m.dtype, _SCALAR))
    return _promoted(tuple(looks))


_DIMENSIONED, _SCALAR, _NUMBER = range(3)  # as they outrank each other


@lru_cache(maxsize=4096)
def _promoted(operands: tuple[tuple[DType, int], ...]) -> DType:
    found: DType | None = None
    for rank in (_DIMENSIONED, _SCALAR, _NUMBER):
        dtypes = [dtype for dtype, of in operands if of == rank]
        if dtypes:
            dtype = reduce(dt.promote, dtypes)
            if found is None or dt.category(dtype) > dt.category(found):
                found = dtype
    assert found is not None
    return found


def _spread(
    operands: Sequence[Value | Number],
    metas: Sequence[TensorMeta | None],
    dtypes: Sequence[DType],
) -> list[Value]:
    tensors = [(x, m) for x, m in zip(operands, metas, strict=True) if m is not None]
    like, first = tensors[0]
    shape = first.shape
    for _, m in tensors:
        if m is not first and (m.shape != shape or m.device != first.device):
            # A 0-d CPU tensor goes with tensors of any device, as a number would.
            check_devices([m for _, m in tensors if m.rank or m.device != "cpu"])
            shape = broadcast_shapes(*[m.shape for _, m in tensors])
            like, _ = max(tensors, key=lambda pair: pair[1].rank)
            break
    full, cast, broadcast_to, _ = _makers()
    out: list[Value] = []
    for x, m, dtype in zip(operands, metas, dtypes, strict=True):
        if m is None:
            out.append(full(shape, x, dtype, like))
            continue
        if m.dtype is not dtype:
            x = cast(x, dtype)
        out.append(x if m.shape == shape else broadcast_to(x, shape))
    return out


@cache
def _makers() -> tuple[Callable[..., Value], ...]:
    from .creation import constant, full
    from .elementwise import cast
    from .view import broadcast_to

    return full, cast, broadcast_to, constant


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
