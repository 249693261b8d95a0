"""Operations on concrete tensors: each runs at once, as its own one-operator program.

How an operation is done depends on its operator, its attributes and what its operands look like,
never on what they hold. So it is found out once: the *route* of an operation is a function from
operands to results, with all checks made, the geometry of views known and the program prepared.
Routes are kept in one table, by (operator, attributes, metas and strides of the operands).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ..ir.dtype import from_numpy
from ..ir.op import Op, infer
from ..ir.ops._common import check_devices
from ..ir.ops.casting import Detach
from ..ir.ops.creation import Constant
from ..ir.ops.elementwise import Elementwise
from ..ir.ops.view import BroadcastTo, View
from ..ir.types import Shape, TensorMeta
from ..runtime.memory import Buffer
from . import strided
from .creation import empty_concrete, from_array, layout
from .eager_programs import prepared
from .errors import failure, run
from .gradmode import is_grad_enabled
from .storage import Ints, Storage, is_contiguous, view_geometry
from .tensor import Tensor

Route: TypeAlias = Callable[[Sequence[Tensor], dict[str, Any]], list[Tensor]]
"""What an operation does with its operands; its attributes are passed for views to refer to."""

# Programs see few sizes, and one that sees more starts over. Routes refer to no memory of tensors.
_ROUTES = 4096
_routes: dict[Any, Route] = {}


def execute(op: type[Op], operands: Sequence[Tensor], attrs: dict[str, Any]) -> list[Tensor]:
    """Run an operator on concrete tensors now."""
    if op is Constant:
        return [from_array(attrs["value"], attrs["device"])]
    key = (op, *attrs.items(), *map(_look, operands))
    route = _routes.get(key)
    if route is None:
        route = _route(op, operands, attrs)
        if len(_routes) >= _ROUTES:
            _routes.clear()
        _routes[key] = route
    return route(operands, attrs)


def _look(x: Tensor) -> tuple[Any, ...]:
    """What a tensor looks like. Not its meta, which Python would have to compare."""
    m = x._meta
    return m.shape, m.dtype, m.device, x._strides


def filled(array: np.ndarray, shape: Shape, device: str) -> Tensor:
    """The number that an array without dimensions holds, repeated."""
    if device == "meta":
        buffer = None
    else:
        buffer = Buffer.empty(array.itemsize)
        ctypes.memmove(buffer.ptr, array.tobytes(), array.itemsize)
    out = Tensor._concrete(Storage(buffer), _scalar(array.dtype, device), ())
    return execute(BroadcastTo, (out,), {"shape": shape})[0] if shape else out


@cache
def _scalar(dtype: np.dtype, device: str) -> TensorMeta:
    return TensorMeta((), from_numpy(dtype), device)


def _route(op: type[Op], operands: Sequence[Tensor], attrs: dict[str, Any]) -> Route:
    """The route of an operation. Raises what is wrong with it, each time that it is asked for."""
    metas = [x._meta for x in operands]
    results = infer(op, metas, attrs)
    if issubclass(op, View):
        return _viewing(op, operands[0], attrs, results[0])
    if op is Detach:
        return _alias
    if check_devices([m for m in metas if m.rank] or metas or results) == "meta":
        results = [TensorMeta(m.shape, m.dtype, "meta") for m in results]
        return lambda operands, attrs: [empty_concrete(m) for m in results]
    return _computing(op, operands, attrs, results)


def _alias(operands: Sequence[Tensor], attrs: dict[str, Any]) -> list[Tensor]:
    (x,) = operands
    out = x._again()
    out._base, out._view, out._seen = x._base, x._view, -1
    return [out]


def _viewing(op: type[Op], x: Tensor, attrs: dict[str, Any], meta: TensorMeta) -> Route:
    """The route of a view operator."""
    geometry = view_geometry(op.name, attrs, x._sizes, x._strides, 0)
    if geometry is None:  # a reshape that has to move elements
        return lambda operands, attrs: execute(op, [contiguous(operands[0])], attrs)
    _, strides, first = geometry

    def view(operands: Sequence[Tensor], attrs: dict[str, Any]) -> list[Tensor]:
        (x,) = operands
        storage: Any = x._storage
        out = Tensor._concrete(storage, meta, strides, x._offset + first)
        out._base, out._view = x, (op, attrs)
        out._seen = storage.rebased if is_grad_enabled() else -1
        return [out]

    return view


def _computing(
    op: type[Op], operands: Sequence[Tensor], attrs: dict[str, Any], results: Sequence[TensorMeta]
) -> Route:
    """The route of an operator that has a program."""
    from .nativecall import native_operation  # which knows modules' parameters

    for x in operands:
        x.data_ptr()  # a meta tensor that goes with others, being a number, has no data
    if issubclass(op, Elementwise) and 0 in results[0].shape:
        return lambda operands, attrs: [empty_concrete(m) for m in results]
    shapes = _readable(op, operands, results[0])
    copied = None in shapes
    metas = [
        x._meta if shape is None else x._meta.with_shape(shape)
        for x, shape in zip(operands, shapes, strict=True)
    ]
    call = prepared(op, metas, attrs, results[0])
    widths = [m.dtype.itemsize for m in metas]
    made = [(m, *layout(m)) for m in results]
    native = native_operation([layout(m)[1] for m in metas], widths, made, call)

    def compute(operands: Sequence[Any], attrs: dict[str, Any]) -> list[Tensor]:
        if copied:
            pairs = zip(operands, shapes, strict=True)
            operands = [contiguous(x) if shape is None else x for x, shape in pairs]
        if native is not None:
            found = native(*operands)
            if type(found) is list:
                return found
            if found is not None:
                raise failure(call.failure(found))
        held = [x._storage.buffer for x in operands]  # another thread may replace it meanwhile
        pointers = [
            buffer.ptr + x._offset * width
            for buffer, x, width in zip(held, operands, widths, strict=True)
        ]
        outputs = []
        for meta, strides, nbytes in made:
            buffer = Buffer.empty(nbytes)
            pointers.append(buffer.ptr)
            outputs.append(Tensor._concrete(Storage(buffer), meta, strides))
        run(call, pointers)
        return outputs

    return compute


def _readable(op: type[Op], operands: Sequence[Tensor], result: TensorMeta) -> list[Ints | None]:
    """The shapes under which a program reads operands as they lie; None for those that have to be
    copied into order first.

    Dimensions along which an operand of an elementwise operator repeats its elements (their
    stride is 0) are left out, as ones of size 1.
    """
    if not issubclass(op, Elementwise):
        return [x._sizes if strided.contiguous(x) else None for x in operands]
    shapes: list[Ints | None] = []
    for x in operands:
        pairs = zip(x._sizes, x._strides, strict=True)
        shape = tuple([1 if stride == 0 else size for size, stride in pairs])
        shapes.append(shape if is_contiguous(shape, x._strides) else None)
    for d, size in enumerate(result.shape):
        if size != 1 and all(shape is not None and shape[d] == 1 for shape in shapes):
            shapes[0] = None  # all of them are repeated there: one has to have it
    return shapes


def aligned(x: Tensor) -> Tensor:
    """x itself where compiled code can read it as it lies, else a contiguous copy."""
    return x if strided.contiguous(x) else contiguous(x)


def contiguous(x: Tensor) -> Tensor:
    """A row-major copy, without history."""
    out = empty_concrete(x._meta)
    copy_into(out, x)
    return out


def copy_into(target: Tensor, source: Tensor) -> None:
    """Move elements between memories of one shape and dtype, whatever their strides.

    The source may be a view of the target's own memory.
    """
    meta = target._meta
    if meta.device == "meta" or 0 in meta.shape:
        return
    overlap = target._storage is source._storage
    if overlap or not (strided.contiguous(target) or strided.contiguous(source)):
        source = contiguous(source)
    if not strided.contiguous(target):
        strided.write(target, source)
    elif strided.contiguous(source):
        _, nbytes = layout(meta)
        ctypes.memmove(target.data_ptr(), source.data_ptr(), nbytes)
    else:
        strided.read(source, target)
