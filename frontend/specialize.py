"""One compiled structure of a call: does it fit, and how is it run.

An `Entry` is a program, for all sizes that its symbols can take; a `Route` is one with the sizes
filled in. Most calls are like the one before: its route recognizes them, without the general way
that flattens arguments, makes a key of them, and looks at every size.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, TypeAlias

from ..ir.errors import runtime_error
from ..ir.interpreter import resolve
from ..ir.sym import MIN, Expr, evaluate
from ..ir.types import TensorMeta
from ..runtime.memory import Buffer
from .capture import Captured, Number, Passed, Result, Returned, Viewed
from .creation import layout
from .current import current_trace
from .dispatch import apply
from .driver import Program, compile_graph
from .eager import contiguous
from .errors import failure, run
from .gradmode import is_grad_enabled, no_grad
from .guards import Epoch
from .nativecall import native_call
from .overlap import refuse_written
from .pytree import LEAF, unflatten
from .storage import Storage, contiguous_strides, is_contiguous
from .tensor import Tensor
from .traced import root

# Of a new result: meta, strides, bytes; of state, which is written where it is: its input's index.
_Layout: TypeAlias = tuple[TensorMeta, tuple[int, ...], int] | int

# Routes that an entry keeps, for different sizes.
_ROUTES = 256


class Entry:
    """A captured program with its native code. `plain` says that its calls have tensors as their
    arguments and nothing else, none of which share memory."""

    def __init__(self, captured: Captured, name: str, plain: bool) -> None:
        self.captured = captured
        self.name = name
        self.program: Program = compile_graph(captured.graph, name=name, keep=True)
        self.backward_program: Program | None = None
        inputs, trace = captured.inputs, captured.trace
        self.more = len(inputs) > len(captured.argument_metas)  # inputs that are no arguments
        self._state = [(i, e.tensor) for i, e in enumerate(inputs) if e.tensor is not None]
        self._looks = [_look(t) for _, t in self._state]
        self._views = list(trace.views.values())
        for _, tensor in self._state:
            tensor._captured = True
        # Found anew when something changed since this epoch: the memory of captured tensors, by
        # id, and whether they still look as they did.
        self._epoch = Epoch.value
        self._memory = self._find_memory()
        self._state_fits = True
        # Arguments that share memory with captured tensors, without being them.
        self._overlaps = {i for i, _ in trace.overlaps}
        self.plain = plain and not self._overlaps and not trace.shared
        self._numbers = [
            (i, e.getter, ctypes.c_double()) for i, e in enumerate(inputs) if e.getter is not None
        ]
        self._grads = [(i, e.owner) for i, e in enumerate(inputs) if e.owner is not None]
        self._grad_metas = [
            (trace.owner(t), None if g is None else g._meta) for t, g in trace.read_grads.values()
        ]
        written = [r for r in captured.results if r.role == "state"]
        owned = [(r, inputs[r.alias].tensor) for r in written if r.alias is not None]
        self._written_state = [tensor for _, tensor in owned if tensor is not None]
        self._written_others = [result for result, tensor in owned if tensor is None]
        new = [(k, r.owner) for k, r in enumerate(captured.results) if r.role == "grad"]
        self._new_grads = [(k, owner) for k, owner in new if isinstance(owner, Tensor)]
        self._new_argument_grads = [(k, owner) for k, owner in new if isinstance(owner, int)]
        self.commits = bool(written or new or captured.cleared)
        self._single = captured.returned[0] if captured.out_spec is LEAF else None
        # Whether a call is done when there are results, of which there is one.
        done = not self.commits and captured.backward is None and type(self._single) is int
        self.single = done and len(captured.results) == 1
        self.reads_gradients = bool(self._grads)
        self.looks_closer = bool(captured.guards.data or self._grad_metas)
        self._guards = captured.size_guards
        # Where each size symbol is read: (argument, dimension).
        places: dict[str, tuple[int, int]] = {}
        for i, meta in enumerate(captured.argument_metas):
            for d, size in enumerate(meta.shape):
                if isinstance(size, Expr):
                    places.setdefault(str(size), (i, d))
        self._places = places
        self._order = [places[s] for s in self.program.symbols]
        self._routes: dict[tuple[int, ...], Route] = {}

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
        self._look_at_state()
        overlaps = {i for i, x in enumerate(leaves) if id(x._storage) in self._memory}
        if overlaps != self._overlaps:
            return False
        if any(leaves[i]._storage is not storage for i, storage in self.captured.trace.shared):
            return False
        return self.holds(leaves)

    def fits(self, leaves: Sequence[Tensor], memory: set[int]) -> bool:
        """Whether that is so for arguments of known sizes, in storages of these ids."""
        self._look_at_state()
        return memory.isdisjoint(self._memory) and self.holds(leaves)

    def holds(self, leaves: Sequence[Tensor]) -> bool:
        """Whether all that the program depends on besides its arguments is as it was."""
        if not self._state_fits or not self.captured.guards.hold():
            return False
        for owner, meta in self._grad_metas:
            grad = _tensor(owner, leaves)._grad
            if (None if grad is None else grad._meta) != meta:
                return False
        return True

    @property
    def others(self) -> list[Any]:
        """The inputs that are no arguments: captured tensors, and what gives a number."""
        rest = self.captured.inputs[len(self.captured.argument_metas) :]
        return [e.getter if e.tensor is None else e.tensor for e in rest]

    @property
    def epoch(self) -> int:
        """The epoch in which all that is looked at only once in each was as it has to be; -1 if
        it was not, or nobody looked."""
        epoch, guards = self._epoch, self.captured.guards
        return epoch if self._state_fits and guards.unchanged(epoch) else -1

    def _look_at_state(self) -> None:
        epoch = Epoch.value
        if self._epoch != epoch:
            self._memory = self._find_memory()
            pairs = zip(self._state, self._looks, strict=True)
            fits = all(_look(t) == look and not t._offset for (_, t), look in pairs)
            self._state_fits = fits and all(root(t) is whole for t, whole in self._views)
            self._epoch = epoch  # last, since other threads believe it

    def _find_memory(self) -> set[int]:
        return {id(t._storage) for _, t in self._state}

    def route(self, leaves: Sequence[Tensor]) -> Route:
        """The program for the sizes of these tensors; kept after the first time."""
        sizes = tuple([leaves[i]._sizes[d] for i, d in self._order])
        found = self._routes.get(sizes)
        if found is None:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            found = self._routes[sizes] = Route(self, sizes, leaves)
        return found

    def arguments(self, leaves: Sequence[Tensor], held: list[Buffer]) -> tuple[Any, list[int]]:
        """The argument tensors as they are passed, and their addresses. `held` receives what keeps
        the memory alive, whatever becomes of the tensors."""
        passed: list[Tensor] = []
        pointers: list[int] = []
        for x, given in zip(leaves, self.captured.inputs, strict=False):
            if not is_contiguous(x._sizes, x._strides):
                if given.storage.version:
                    raise runtime_error(
                        f"argument {given.name} is written in place, so it must be contiguous"
                    )
                x = contiguous(x)
            passed.append(x)
            pointers.append(_hold(x, held))
        return passed, pointers

    def gather(self, leaves: Sequence[Tensor], held: list[Buffer], pointers: list[int]) -> None:
        """Add the addresses of all other inputs to those of the arguments."""
        pointers += [0] * (len(self.captured.inputs) - len(pointers))
        for i, tensor in self._state:
            pointers[i] = _hold(tensor, held)
        for i, owner in self._grads:
            grad = _tensor(owner, leaves)._grad
            assert grad is not None
            self._check_gradient(i, grad, leaves)
            aligned = grad if is_contiguous(grad._sizes, grad._strides) else contiguous(grad)
            pointers[i] = _hold(aligned, held)
        for i, getter, slot in self._numbers:
            slot.value = getter()
            pointers[i] = ctypes.addressof(slot)

    def _check_gradient(self, index: int, grad: Tensor, leaves: Sequence[Tensor]) -> None:
        """Raise for a gradient that is written, or whose memory is that of a written argument,
        where the program would not see what eager code sees."""
        inputs = self.captured.inputs
        written = bool(inputs[index].storage.version)
        if written and not is_contiguous(grad._sizes, grad._strides):
            raise runtime_error(
                f"{inputs[index].name} is written in place, so it must be contiguous"
            )
        for leaf, given in zip(leaves, inputs, strict=False):
            if leaf._storage is grad._storage and (written or given.storage.version):
                raise refuse_written(given.name, inputs[index].name)

    def commit(
        self, leaves: Sequence[Tensor], arguments: Sequence[Tensor], outputs: Sequence[Any]
    ) -> None:
        """Count the writes and move gradients to where the function left them."""
        for tensor in self._written_state:
            tensor._storage.version += 1
        for result in self._written_others:
            self._written(result, leaves, arguments)._storage.version += 1
        for owner in self.captured.cleared:
            _tensor(owner, leaves)._grad = None
        for k, tensor in self._new_grads:
            tensor._grad = outputs[k]
        for k, index in self._new_argument_grads:
            leaves[index]._grad = outputs[k]

    def _written(
        self, result: Result, leaves: Sequence[Tensor], arguments: Sequence[Tensor]
    ) -> Tensor:
        """The tensor, not a captured one, whose memory a state result was written into."""
        assert result.alias is not None
        owner = self.captured.inputs[result.alias].owner
        if owner is None:
            return arguments[result.alias]
        grad = _tensor(owner, leaves)._grad
        assert grad is not None
        return grad

    def returned(self, leaves: Sequence[Tensor], outputs: Sequence[Any]) -> Any:
        """What the function returns, after a call."""
        if type(self._single) is int:
            return outputs[self._single]
        slots = self.captured.returned
        return unflatten(self.captured.out_spec, [self._leaf(s, leaves, outputs) for s in slots])

    def sizes_of(self, leaves: Sequence[Tensor]) -> dict[str, int]:
        """The values of all size symbols, those that the program does not need included."""
        return {name: leaves[i]._sizes[d] for name, (i, d) in self._places.items()}

    def _leaf(self, slot: Returned, leaves: Sequence[Tensor], outputs: Sequence[Any]) -> Any:
        """What a returned leaf is after a call."""
        if isinstance(slot, Passed):
            leaf = leaves[slot.index]
            return leaf.item() if leaf.__calque_weak__ else leaf
        if isinstance(slot, Viewed):
            return self._view(slot, leaves)
        if isinstance(slot, Number):
            return outputs[slot.index].item()
        if isinstance(slot, Expr):
            return evaluate(slot, self.sizes_of(leaves))
        return outputs[slot] if isinstance(slot, int) else slot

    def _view(self, slot: Viewed, leaves: Sequence[Tensor]) -> Tensor:
        """A view of an argument or of a captured tensor, through the operators that made it."""
        found = self.captured.inputs[slot.index].tensor
        view = leaves[slot.index] if found is None else found
        sizes = self.sizes_of(leaves)
        with no_grad():
            for op, attrs in slot.chain:
                view = apply(op, (view,), {k: resolve(v, sizes) for k, v in attrs.items()})
        return view


class Route:
    """A program with its sizes filled in: what a call with such sizes does.

    `native`, called with the tuple of arguments, does what `recognize` and `run` do, and leaves
    `finish` to be called where it gives neither a tensor nor None, which says that Python has to
    look. It is None where Python has to do all of it.
    """

    __slots__ = ("_native", "call", "entry", "grad_mode", "layouts", "looks", "native")

    def __init__(self, entry: Entry, sizes: tuple[int, ...], leaves: Sequence[Tensor]) -> None:
        self.entry = entry
        # What `recognize` compares.
        self.looks = [(x._meta, contiguous_strides(x._sizes), x._requires_grad) for x in leaves]
        self.grad_mode = is_grad_enabled()
        self.call = entry.program.prepare(sizes)
        shapes = self.call.shapes[len(entry.captured.inputs) :]
        results = zip(entry.captured.results, entry.program.outputs, shapes, strict=True)
        self.layouts = [
            _new(meta.with_shape(shape)) if result.alias is None else result.alias
            for result, meta, shape in results
        ]
        self._native = native_call(self)
        self.native = None if self._native is None else self._native.function

    def recognize(self, args: Sequence[Any]) -> list[Buffer] | None:
        """The memory of the arguments of a call, none of them by name, that goes the same way as
        the one that the route was made for. Where there is none, the general way may still lead
        here."""
        entry = self.entry
        if (
            not entry.plain
            or len(args) != len(self.looks)
            or self.grad_mode is not is_grad_enabled()
            or current_trace() is not None
        ):
            return None
        buffers: list[Buffer] = []
        memory = set()
        for x, (meta, strides, tracked) in zip(args, self.looks, strict=True):
            if not isinstance(x, Tensor) or not isinstance(storage := x._storage, Storage):
                return None
            if (
                (x._meta is not meta and x._meta != meta)
                or x._strides != strides
                or x._offset
                or x._requires_grad is not tracked
                or (buffer := storage.buffer) is None
            ):
                return None
            buffers.append(buffer)
            memory.add(id(storage))
        return buffers if len(memory) == len(args) and entry.fits(args, memory) else None

    def run(self, leaves: Sequence[Any], held: list[Buffer] | None = None) -> Any:
        """Call the native code; returns what the function returned. `held` is the memory of the
        arguments, where these may be passed as they are."""
        entry = self.entry
        if self._native is not None:
            self._native.believe(entry.epoch)  # the call was found to fit
        if held is None:
            held = []
            arguments, pointers = entry.arguments(leaves, held)
        else:
            arguments, pointers = leaves, [buffer.ptr for buffer in held]
        if entry.more:
            entry.gather(leaves, held, pointers)
        outputs: list[Any] = []
        for wanted in self.layouts:
            if isinstance(wanted, int):
                pointers.append(pointers[wanted])
                outputs.append(None)
                continue
            meta, strides, nbytes = wanted
            buffer = Buffer.empty(nbytes)
            pointers.append(buffer.ptr)
            outputs.append(Tensor._concrete(Storage(buffer), meta, strides))
        ran: list[int] = []
        try:
            run(self.call, pointers, ran)
            return self.finish(leaves, arguments, outputs)
        except BaseException:
            if ran == [0]:  # a signal came later: what was begun is brought to its end
                entry.commit(leaves, arguments, outputs)
            raise

    def step(self, args: Any) -> list[Any]:
        """As `native` and `finish`, for a program that changes state: also where a signal comes
        in between. Returns what the function returned, in a list, or nothing where Python has to
        look."""
        native = self.native
        assert native is not None
        landed: list[Any] = []
        try:
            # One call from C to C: a signal is handled before it, or when the results are kept.
            landed.extend(map(native, (args,)))
            return [] if landed[0] is None else [self.finish(args, args, landed[0])]
        except BaseException:
            if landed and isinstance(landed[0], list):
                self.entry.commit(args, args, landed[0])
            raise

    def finish(self, leaves: Sequence[Any], arguments: Sequence[Any], outputs: Any) -> Any:
        """What follows the native code: state, gradients, and what the function returned.
        `outputs` is the status where it is not 0."""
        entry = self.entry
        if isinstance(outputs, int):
            raise failure(self.call.failure(outputs))
        if entry.commits:
            entry.commit(leaves, arguments, outputs)
        out = entry.returned(leaves, outputs)
        if entry.captured.backward is not None:
            from .joint import attach

            attach(entry, entry.sizes_of(leaves), leaves, outputs)
        return out


def _look(x: Tensor) -> tuple[TensorMeta, tuple[int, ...], bool]:
    """What a program depends on of a tensor besides its data."""
    return x._meta, x._strides, x._requires_grad


def _new(meta: TensorMeta) -> _Layout:
    return meta, *layout(meta)


def _hold(x: Tensor, held: list[Buffer]) -> int:
    """The address of a tensor's first element, in memory that is held from now on."""
    memory = x._concrete_storage("data_ptr()").memory
    held.append(memory)
    return memory.ptr + x._offset * x._meta.dtype.itemsize


def _tensor(owner: Tensor | int, leaves: Sequence[Tensor]) -> Tensor:
    """A tensor, or the argument of an index."""
    return leaves[owner] if isinstance(owner, int) else owner
