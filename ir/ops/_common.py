"""What the op families share: promotion, broadcasting, dimension arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache, reduce
from typing import Any, NamedTuple, TypeAlias

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
    return _promoted(tuple([_look(x) for x in adopted(operands)]))


def spread(operands: Sequence[Value | Number], dtypes: Sequence[DType]) -> Sequence[Value]:
    """Operands brought to the given dtypes and one shape, Python numbers made constants."""
    return _brought(_among_tensors(operands), tuple(dtypes))


def elementwise(op: type[Op], *operands: Value | Number, floats: bool = False) -> Value:
    """Apply a strict elementwise operator with promotion and broadcasting; one on `floats` gets
    integers as float32."""
    return bind(op, _brought(_among_tensors(operands), floats))


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
    made: Any = getattr(one, "__calque_array__", lambda x: _makers()[0](x, one))
    return [made(x) if isinstance(x, np.ndarray) else x for x in adopted(operands)]


# What promotion and broadcasting look at: of a number its dtype if it were a tensor, of a tensor
# shape, dtype, device, and whether it stands for a number.
_Look: TypeAlias = DType | tuple[Shape, DType, str, bool]
_WEAK = {kind: dt.weak(kind()) for kind in _NUMBERS}


def _look(x: Value | Number) -> _Look:
    number = _WEAK.get(type(x))
    if number is not None:
        return number
    if is_number(x):
        return dt.weak(x)
    m = meta(x)
    return m.shape, m.dtype, m.device, not m.shape and is_weak(x)


@lru_cache(maxsize=4096)
def _promoted(looks: tuple[_Look, ...]) -> DType:
    ranks: tuple[list[DType], ...] = ([], [], [])  # as they outrank each other
    for look in looks:
        if isinstance(look, DType):
            ranks[2].append(look)
        else:
            shape, dtype, _, weak = look
            ranks[2 if weak else 0 if shape else 1].append(dt.weak(0.0) if weak else dtype)
    found: DType | None = None
    for dtypes in filter(None, ranks):
        dtype = reduce(dt.promote, dtypes)
        if found is None or dt.category(dtype) > dt.category(found):
            found = dtype
    assert found is not None
    return found


class _Plan(NamedTuple):
    """How operands get one shape and the dtypes that are wanted: for each that has to change its
    place, its dtype, and whether it is a number, which is made like the operand `like`."""

    shape: Shape
    like: int
    changes: tuple[tuple[int, DType, bool], ...]


# Programs see few kinds of operands, and one that sees more starts over.
_PLANS = 4096
_plans: dict[Any, _Plan] = {}


def _brought(operands: Sequence[Any], wanted: tuple[DType, ...] | bool) -> Sequence[Value]:
    """Operands of one shape and the dtypes `wanted`, or the promoted one (True: a float)."""
    looks = tuple([_look(x) for x in operands])
    plan = _plans.get((wanted, looks))
    if plan is None:
        plan = _plan(looks, wanted)
        # What is asked of symbolic sizes is a guard of the program that is being made.
        if all(type(d) is int for look in looks if not isinstance(look, DType) for d in look[0]):
            if len(_plans) >= _PLANS:
                _plans.clear()
            _plans[wanted, looks] = plan
    if not plan.changes:
        return operands
    _, full, cast, broadcast_to = _makers()
    out = list(operands)
    for i, dtype, number in plan.changes:
        if number:
            out[i] = full(plan.shape, out[i], dtype, operands[plan.like])
        else:
            out[i] = broadcast_to(cast(out[i], dtype), plan.shape)
    return out


def _plan(looks: tuple[_Look, ...], wanted: tuple[DType, ...] | bool) -> _Plan:
    if isinstance(wanted, bool):
        dtype = _promoted(looks)
        dtype = dt.float32 if wanted and not dtype.is_floating_point else dtype
        wanted = (dtype,) * len(looks)
    metas = {i: TensorMeta(*look[:3]) for i, look in enumerate(looks) if isinstance(look, tuple)}
    # A 0-d CPU tensor goes with tensors of any device, as a number would.
    check_devices([m for m in metas.values() if m.rank or m.device != "cpu"])
    shape = broadcast_shapes(*[m.shape for m in metas.values()])
    changes = [
        (i, dtype, i not in metas)
        for i, dtype in enumerate(wanted)
        if i not in metas or metas[i].dtype is not dtype or metas[i].shape != shape
    ]
    return _Plan(shape, max(metas, key=lambda i: metas[i].rank), tuple(changes))


@cache
def _makers() -> tuple[Callable[..., Value], ...]:
    from .creation import constant, full
    from .elementwise import cast
    from .view import broadcast_to

    return constant, full, cast, broadcast_to


def check_fits(data: Any, dtype: DType) -> None:
    """Raise RuntimeError where Python numbers do not fit an integer dtype.

    As in PyTorch, unsigned ones take negative numbers and wrap them.
    """
    if dtype.kind not in "iu":
        return
    array = np.asarray(data)
    info = np.iinfo(dtype.numpy)
    low = -info.max if dtype.kind == "u" else info.min
    if not ((array >= low) & (array <= info.max)).all():
        raise runtime_error(f"value cannot be converted to type {dtype.name} without overflow")


def normalize_dim(dim: int, rank: int) -> int:
    """A dimension in 0..rank-1. Raises IndexError in PyTorch's words."""
    span = max(rank, 1)
    if not -span <= dim < span:
        raise index_error(
            f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], "
            f"but got {dim})"
        )
    return dim % span


def several(numbers: int | Sequence[int]) -> Sequence[int]:
    """A number, of Python or NumPy, as a sequence of one."""
    return (int(numbers),) if isinstance(numbers, int | np.integer) else tuple(numbers)


def normalize_dims(dims: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted distinct dimensions; None means all. Raises on repetition."""
    if dims is None:
        return tuple(range(rank))
    out = [normalize_dim(d, rank) for d in several(dims)]
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
