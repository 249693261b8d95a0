"""Traced tensors: the memory they stand for, the views that lead to them, where they come from."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import FileLineColLoc
from xdsl.ir import Block, SSAValue

from ..ir.errors import runtime_error
from ..ir.op import Op, infer
from ..ir.ops.casting import Detach
from ..ir.sym import Dim
from ..ir.types import TensorMeta, meta_of
from .storage import Storage, contiguous_strides, view_strides
from .tensor import Tensor

if TYPE_CHECKING:
    from .trace import Trace

ViewStep = tuple[type[Op], dict[str, Any]]


class TracedStorage:
    """Memory in a trace: its current value, and a version that counts writes.

    `tracked` says that the value has a history that gradients follow, so each tensor over this
    memory (`tensors`) has too, except behind a `detach`.
    """

    __slots__ = (
        "__weakref__", "cache", "leaf", "past", "tensors", "trace", "tracked", "value", "version",
    )  # fmt: skip

    def __init__(self, trace: Trace, value: SSAValue) -> None:
        self.trace = trace
        self.value = value
        self.past: list[SSAValue] = []  # the values before each write
        self.leaf: Tensor | None = None  # the tensor whose gradient ends here
        self.version = 0
        self.tracked = False
        self.tensors: list[weakref.ref[Tensor]] = []
        # Views already derived from the current value.
        self.cache: dict[tuple[int, ...], tuple[tuple[ViewStep, ...], SSAValue]] = {}

    def write(self, value: SSAValue, tracked: bool) -> None:
        self.past.append(self.value)
        self.value = value
        self.version += 1
        self.cache.clear()
        if tracked and not self.tracked:
            self.tracked = True
            for ref in self.tensors:
                tensor = ref()
                if tensor is not None and all(op is not Detach for op, _ in tensor._chain):
                    tensor._requires_grad = True


class Input:
    """One argument of the traced program.

    `tensor` is the concrete tensor that was lifted (state), None for arguments of the function.
    `getter` reads a Python number that was lifted (a learning rate). `owner` is the tensor whose
    `.grad` this is, or the index of the argument: it is another one on each call.
    """

    __slots__ = ("getter", "name", "owner", "role", "storage", "tensor")

    def __init__(
        self,
        name: str,
        role: str,
        storage: TracedStorage,
        tensor: Tensor | None = None,
        getter: Callable[[], float] | None = None,
        owner: Tensor | int | None = None,
    ) -> None:
        self.owner = owner
        self.name = name
        self.role = role
        self.storage = storage
        self.tensor = tensor
        self.getter = getter


def traced_base(tensor: Tensor) -> Tensor | None:
    """The leaf whose memory a traced tensor is a view of, if it is one."""
    storage = tensor._storage
    if not isinstance(storage, TracedStorage) or any(op is Detach for op, _ in tensor._chain):
        return None
    return storage.leaf


def strides_of(tensor: Tensor) -> tuple[Dim, ...]:
    """The strides that a tensor has when the program runs; memory itself is row-major."""
    if isinstance(tensor._storage, Storage):
        return tensor._strides
    shape = meta_of(tensor._storage.value).shape
    strides = contiguous_strides(shape)
    for op, attrs in tensor._chain:
        if op is Detach:
            continue
        (meta,) = infer(op, [TensorMeta(shape, tensor.dtype)], attrs)
        found = view_strides(op.name, attrs, shape, strides)
        assert found is not None, "a view shares memory"
        shape, strides = meta.shape, found
    return strides


def shares_memory(op: type[Op], x: Tensor, attrs: dict[str, Any]) -> bool:
    """Whether a view operator gives a view: a reshape may have to move elements."""
    if op.name != "calque.reshape":
        return True
    return view_strides(op.name, attrs, x._meta.shape, strides_of(x)) is not None


def concrete_chain(tensor: Tensor) -> tuple[ViewStep, ...]:
    """The views between a concrete tensor and the tensor that owns its memory."""
    chain: list[ViewStep] = []
    while (base := base_of(tensor)) is not None and tensor._view is not None:
        chain.append(tensor._view)
        tensor = base
    return tuple(reversed(chain))


def base_of(tensor: Tensor) -> Tensor | None:
    """The tensor that a concrete one views, unless that was given other data since."""
    base = tensor._base
    return base if base is not None and base._storage is tensor._storage else None


def root(tensor: Tensor) -> Tensor:
    """The tensor that owns the memory of a concrete one."""
    while (base := base_of(tensor)) is not None:
        tensor = base
    return tensor


def check_escape(x: Any) -> None:
    """Raise where a traced tensor is used after its trace has ended."""
    if isinstance(x, Tensor) and isinstance(x._storage, TracedStorage) and x._storage.trace.closed:
        raise runtime_error(
            f"a tensor {x._meta} that was traced at {origin(x)} is used outside of the function "
            "that was being compiled; return it instead"
        )


def origin(tensor: Tensor) -> str:
    """Where a traced tensor came from: operator and source line, or the input's name."""
    storage = tensor._storage
    assert isinstance(storage, TracedStorage)
    for entry in storage.trace.inputs:
        if entry.storage is storage:
            return f"input {entry.name}"
    op = storage.value.owner
    if isinstance(op, Block):
        return "a region argument"
    name = op.name.removeprefix("calque.")
    if isinstance(op.location, FileLineColLoc):
        return f"{name} at {op.location.filename.data}:{op.location.line.data}"
    return name


def numbers_behind(tensor: Tensor) -> list[str]:
    """The Python floats that a traced value is computed from; none where other data take part."""
    storage = tensor._storage
    assert isinstance(storage, TracedStorage)
    inputs = {entry.storage.value: entry for entry in storage.trace.inputs}
    found: dict[str, None] = {}
    queue, seen = [storage.value], {storage.value}
    while queue:
        value = queue.pop()
        if isinstance(value.owner, Block):
            entry = inputs.get(value)
            if entry is None or not any(
                (t := ref()) is not None and t.__calque_weak__ for ref in entry.storage.tensors
            ):
                return []
            kind = "float argument" if entry.getter is None else "option"
            found[f"the {kind} {entry.name}"] = None
        else:
            queue += [x for x in value.owner.operands if x not in seen]
            seen.update(queue)
    return sorted(found)


def data_dependence(tensor: Tensor, wanted: str) -> Exception:
    """The error for Python code that needs the data of a traced tensor."""
    numbers = numbers_behind(tensor)
    if numbers:
        computed = "" if origin(tensor).startswith("input ") else "what is computed from "
        return runtime_error(
            f"{wanted} of {computed}{' and '.join(numbers)} is asked for, but a compiled function "
            "reads it anew on each call, and while tracing it has no value. Choose by it with "
            "calque.where or calque.cond. To have a program for each value, let the float be "
            "static: not an argument, but a global or a variable of the enclosing function."
        )
    return runtime_error(
        f"{wanted} of a traced tensor {tensor._meta} ({origin(tensor)}) is asked for, but while "
        "tracing it has no data. Branch on data with calque.where or calque.cond, loop with "
        "calque.scan or calque.while_loop, or move this out of the compiled function."
    )
