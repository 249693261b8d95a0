"""One compiled structure of a call: does it fit, and how is it run."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

from ..ir.sym import MIN, Expr, evaluate
from ..ir.types import TensorMeta
from ..runtime.executable import Call
from ..runtime.memory import Buffer
from .capture import Captured, Passed, Result, Returned
from .driver import Program, compile_graph
from .eager import contiguous
from .errors import run
from .overlap import NUMBER
from .pytree import unflatten
from .storage import Storage, contiguous_strides, is_contiguous
from .tensor import Tensor

# Of a new result: meta, strides, bytes; None for state, which is written where it is.
_Layout: TypeAlias = tuple[TensorMeta, tuple[int, ...], int] | None


class Entry:
    """A captured program with its native code."""

    def __init__(self, captured: Captured, name: str) -> None:
        self.captured = captured
        self.name = name
        self.program: Program = compile_graph(captured.module())
        self.backward_program: Program | None = None
        inputs = captured.inputs
        self._arguments = len(captured.argument_metas)
        self._state = [(i, e.tensor) for i, e in enumerate(inputs) if e.tensor is not None]
        # Arguments that share memory with captured tensors, without being them.
        self._memory = {id(t._storage) for _, t in self._state}
        self._overlaps = {i for i, _ in captured.trace.overlaps}
        self._metas = [t._meta for _, t in self._state]
        self._numbers = [
            (i, e.getter, ctypes.c_double()) for i, e in enumerate(inputs) if e.getter is not None
        ]
        self._grads = [(i, e.owner) for i, e in enumerate(inputs) if e.owner is not None]
        self._grad_metas = [
            (captured.trace.owner(t), None if g is None else g._meta)
            for t, g in captured.trace.read_grads.values()
        ]
        self._guards = captured.size_guards
        self._symbols = self.program.symbols
        # Where each size symbol is read: (argument, dimension).
        places: dict[str, tuple[int, int]] = {}
        for i, meta in enumerate(captured.argument_metas):
            for d, size in enumerate(meta.shape):
                if isinstance(size, Expr):
                    places.setdefault(str(size), (i, d))
        self._places = places
        self._order = [places[s] for s in self._symbols]
        self._layouts: dict[tuple[int, ...], list[_Layout]] = {}

    def _state_fits(self, leaves: Sequence[Tensor]) -> bool:
        for owner, meta in self._grad_metas:
            grad = _tensor(owner, leaves)._grad
            if (None if grad is None else grad._meta) != meta:
                return False
        return all(
            t._meta is m or t._meta == m for (_, t), m in zip(self._state, self._metas, strict=True)
        )

    def matches(self, leaves: Sequence[Tensor]) -> bool:
        """Whether a call with these tensors can run this program."""
        sizes: dict[str, int] = {}
        for meta, x in zip(self.captured.argument_metas, leaves, strict=True):
            for want, size in zip(meta.shape, x._sizes, strict=True):
                if isinstance(want, int):
                    if want != size:
                        return False
                elif size < MIN or sizes.setdefault(str(want), size) != size:
                    return False
        if not all(guard.holds(sizes) for guard in self._guards):
            return False
        overlaps = {i for i, x in enumerate(leaves) if id(x._storage) in self._memory}
        if overlaps != self._overlaps:
            return False
        if any(leaves[i]._storage is not storage for i, storage in self.captured.trace.shared):
            return False
        return self.captured.guards.hold() and self._state_fits(leaves)

    def run(self, leaves: Sequence[Tensor]) -> Any:
        """Call the native code; returns what the function returned."""
        captured = self.captured
        sizes = tuple([leaves[i]._sizes[d] for i, d in self._order])
        call = self.program.prepare(sizes)
        keep, pointers = self._gather(leaves)
        outputs: list[Any] = []
        for result, layout in zip(captured.results, self._layout(sizes, call), strict=True):
            if layout is None:
                pointers.append(pointers[result.alias])  # type: ignore[index]
                outputs.append(None)
                continue
            meta, strides, nbytes = layout
            buffer = Buffer.empty(nbytes)
            pointers.append(buffer.ptr)
            outputs.append(Tensor._concrete(Storage(buffer), meta, strides))
        run(call, pointers)
        self._commit(leaves, keep, outputs)
        returned = [self._returned(slot, leaves, outputs) for slot in captured.returned]
        if captured.backward is not None:
            from .joint import attach

            attach(self, self._sizes_of(leaves), leaves, outputs)
        return unflatten(captured.out_spec, returned)

    def _layout(self, sizes: tuple[int, ...], call: Call) -> list[_Layout]:
        """What the results look like for values of the symbols; kept after the first time."""
        found = self._layouts.get(sizes)
        if found is None:
            if len(self._layouts) >= _KEPT:
                self._layouts.clear()
            count = len(self.captured.inputs)
            found = self._layouts[sizes] = [
                None if result.role == "state" else _layout(meta, call.shapes[count + k])
                for k, (result, meta) in enumerate(
                    zip(self.captured.results, self.program.outputs, strict=True)
                )
            ]
        return found

    def _sizes_of(self, leaves: Sequence[Tensor]) -> dict[str, int]:
        """The values of all size symbols, those that the program does not need included."""
        return {name: leaves[i]._sizes[d] for name, (i, d) in self._places.items()}

    def _returned(self, slot: Returned, leaves: Sequence[Tensor], outputs: Sequence[Any]) -> Any:
        """What a returned leaf is after a call."""
        if isinstance(slot, Passed):
            leaf = leaves[slot.index]
            return leaf.item() if leaf._chain is NUMBER else leaf
        if isinstance(slot, Expr):
            return evaluate(slot, self._sizes_of(leaves))
        return outputs[slot] if isinstance(slot, int) else slot

    def _gather(self, leaves: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """The argument tensors as they are passed, and a pointer for each input."""
        keep: list[Tensor] = []
        pointers = [0] * len(self.captured.inputs)
        for i in range(self._arguments):
            x = leaves[i]
            if not is_contiguous(x._sizes, x._strides):
                if self.captured.inputs[i].storage.version:
                    raise RuntimeError(
                        f"argument {self.captured.inputs[i].name} is written in place, so it must "
                        "be contiguous"
                    )
                x = contiguous(x)
            keep.append(x)
            pointers[i] = x._storage.pointer  # type: ignore[union-attr]
            if x._offset:
                pointers[i] += x._offset * x._meta.dtype.itemsize
        for i, tensor in self._state:
            pointers[i] = tensor._storage.pointer  # type: ignore[union-attr]
        for i, owner in self._grads:
            grad = _tensor(owner, leaves)._grad
            assert grad is not None
            aligned = grad if is_contiguous(grad._sizes, grad._strides) else contiguous(grad)
            keep.append(aligned)
            pointers[i] = aligned.data_ptr()
        for i, getter, slot in self._numbers:
            slot.value = getter()
            pointers[i] = ctypes.addressof(slot)
        return keep, pointers

    def _commit(
        self, leaves: Sequence[Tensor], arguments: Sequence[Tensor], outputs: Sequence[Any]
    ) -> None:
        """Count the writes and move gradients to where the function left them."""
        captured = self.captured
        for result in captured.results:
            if result.role == "state":
                self._written(result, leaves, arguments)._storage.version += 1
        for owner in captured.cleared:
            _tensor(owner, leaves)._grad = None
        for result, output in zip(captured.results, outputs, strict=True):
            if result.role == "grad":
                assert result.owner is not None
                _tensor(result.owner, leaves)._grad = output

    def _written(
        self, result: Result, leaves: Sequence[Tensor], arguments: Sequence[Tensor]
    ) -> Tensor:
        """The tensor whose memory a state result was written into."""
        assert result.alias is not None
        entry = self.captured.inputs[result.alias]
        if entry.tensor is not None:
            return entry.tensor
        if entry.owner is not None:
            grad = _tensor(entry.owner, leaves)._grad
            assert grad is not None
            return grad
        return arguments[result.alias]


# Layouts that an entry keeps, for different sizes.
_KEPT = 256


def _layout(meta: TensorMeta, shape: tuple[int, ...]) -> _Layout:
    return meta.with_shape(shape), contiguous_strides(shape), meta.dtype.itemsize * prod(shape)


def _tensor(owner: Tensor | int, leaves: Sequence[Tensor]) -> Tensor:
    """A tensor, or the argument of an index."""
    return leaves[owner] if isinstance(owner, int) else owner
