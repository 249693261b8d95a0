"""Capture: runs Python once with tensors that hold SSA values, and functionalizes what it does.

A `Trace` owns the program being built. Concrete tensors that an operation meets are lifted to
named inputs. A `TracedStorage` holds the current value of a piece of memory: a write makes a new
value through the `unview` of the view it goes through, and views are re-derived when they are
read after a write. What changed of the lifted memory comes back as results that alias their
inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from xdsl.dialects.builtin import FileLineColLoc
from xdsl.ir import Block, SSAValue

from ..ir.errors import located, runtime_error
from ..ir.location import user_frame
from ..ir.op import Builder, Op, bind, file_location, infer
from ..ir.ops.casting import Detach, WithData
from ..ir.ops.creation import Constant
from ..ir.ops.view import View
from ..ir.sym import SymEnv
from ..ir.types import TensorMeta, meta_of, to_type
from .current import enter, leave
from .gradmode import is_grad_enabled
from .guards import Surroundings
from .overlap import interchangeable
from .storage import Storage, is_contiguous
from .tensor import Tensor
from .traced import (
    Input,
    TracedStorage,
    check_escape,
    concrete_chain,
    data_dependence,
    root,
    shares_memory,
)


class Trace:
    """A program being built. `with trace:` makes it current for this thread."""

    def __init__(self, env: SymEnv | None = None) -> None:
        self.block = Block()
        self.env = env or SymEnv()
        self.builder = Builder(self.block, location=self._location)
        self.inputs: list[Input] = []
        self.naming: Callable[[], dict[int, str]] = dict  # ids of concrete tensors to their paths
        self._names: dict[int, str] = {}
        self.surroundings = Surroundings()
        self.outermost: CodeType | None = None  # the function below which the user's frames are
        self.grads: dict[int, tuple[Tensor, Tensor | None]] = {}
        # Gradients that were read before they were written: None, or an input.
        self.read_grads: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.lifted: dict[int, TracedStorage] = {}  # id of a Storage -> its traced form
        self.views: dict[int, tuple[Tensor, Tensor]] = {}  # captured views by id, and their roots
        self.numbers: dict[Any, Tensor] = {}
        self.closed = False
        self.freed = False  # a backward() without retain_graph ran: outputs carry no gradient
        self._traced_leaves: list[Tensor] = []
        self._arguments: dict[int, Tensor] = {}  # by index
        self._leaves: dict[int, tuple[int, Tensor]] = {}  # by id: their index, and the caller's
        self._memory: dict[int, list[tuple[int, Tensor]]] = {}  # arguments by id of their Storage
        self._same: dict[int, Tensor] = {}  # captured tensors that are arguments too, by id
        self.shared: list[tuple[int, Any]] = []  # arguments, and the captured memory that they are
        self.overlaps: list[tuple[int, int]] = []  # inputs that share memory and are not the same
        self._keep: list[Any] = []  # what the ids above refer to
        self._detached: dict[SSAValue, SSAValue] = {}
        self._constants: dict[Any, SSAValue] = {}

    def __enter__(self) -> Trace:
        enter(self)
        self.env.__enter__()
        self.builder.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if isinstance(exc[1], Exception):
            located(exc[1])
        self.builder.__exit__(*exc)
        self.env.__exit__(*exc)
        leave()
        self.closed = True

    # ---- inputs ---------------------------------------------------------------------------

    def argument(self, name: str, meta: TensorMeta, role: str = "input") -> Tensor:
        """A new input of the program."""
        return Tensor._traced(self._input(name, role, meta), meta)

    def bind_argument(self, argument: Tensor, index: int, leaf: Tensor) -> None:
        """Say which tensor of the caller an argument is; gradients of leaves go there."""
        self._arguments[index] = argument
        argument.__calque_weak__ = leaf.__calque_weak__
        self._memory.setdefault(id(leaf._storage), []).append((index, leaf))
        if leaf._requires_grad:
            argument.requires_grad_()
            if leaf.is_leaf:
                self._leaves[id(argument)] = (index, leaf)

    def owner(self, tensor: Tensor) -> Tensor | int:
        """What `.grad` belongs to after a call: a tensor, or the argument of this index."""
        return self._leaves[id(tensor)][0] if id(tensor) in self._leaves else tensor

    def _input(self, name: str, role: str, meta: TensorMeta, **extra: Any) -> TracedStorage:
        value = self.block.insert_arg(to_type(meta), len(self.block.args))
        storage = TracedStorage(self, value)
        self.inputs.append(Input(name, role, storage, **extra))
        return storage

    def lift_number(self, key: Any, getter: Callable[[], float], name: str) -> Tensor:
        """A Python float that is read anew on each call, as a 0-d float64 input."""
        from ..ir import dtype as dt

        found = self.numbers.get(key)
        if found is None:
            meta = TensorMeta((), dt.float64)
            found = Tensor._traced(self._input(name, "scalar", meta, getter=getter), meta)
            found.__calque_weak__ = True
            self.numbers[key] = found
        return found

    def lift(self, tensor: Tensor) -> TracedStorage:
        """The traced form of a concrete tensor's memory; a new input at its first use."""
        storage = tensor._storage
        assert isinstance(storage, Storage)
        found = self.lifted.get(id(storage))
        if tensor._base is not None:
            self.views[id(tensor)] = (tensor, root(tensor))
        if found is None:
            whole = root(tensor)
            passed = self._passed(whole)
            if passed is not None:
                return passed
            if not is_contiguous(whole._sizes, whole._strides) or whole._offset:
                raise runtime_error(
                    f"a tensor of shape {list(whole._sizes)} is captured that is a part of other "
                    f"memory (strides {list(whole._strides)}, offset {whole._offset}): pass it as "
                    "an argument, or capture a clone() of it"
                )
            name = self.name_of(whole)
            found = self._input(name, "state", whole._meta, tensor=whole)
            self.lifted[id(storage)] = found
            found.leaf = whole if whole._requires_grad else None
            self._keep += [storage, whole]
        return found

    def _passed(self, whole: Tensor) -> TracedStorage | None:
        """The memory of an argument that is a captured tensor too."""
        for index, leaf in self._memory.get(id(whole._storage), ()):
            found = self.inputs[index].storage
            if interchangeable(whole, leaf) and meta_of(found.value) == whole._meta:
                self.lifted[id(whole._storage)] = found
                self.shared.append((index, whole._storage))
                self._same[id(whole)] = self._arguments[index]
                self._keep.append(whole)
                return found
        for index, _ in self._memory.get(id(whole._storage), ()):
            self.overlaps.append((index, len(self.inputs)))
        return None

    def knows(self, tensor: Tensor) -> bool:
        """Whether a concrete tensor's memory was lifted."""
        return id(tensor._storage) in self.lifted

    def read_data(self, tensor: Tensor, wanted: str) -> None:
        """Say that Python looks at data: those of a captured tensor, which are guarded then.

        Raises RuntimeError where the program has written them, and it has not run yet.
        """
        if not isinstance(tensor._storage, Storage):
            return
        found = self.lifted.get(id(tensor._storage))
        if found is not None and found.version:
            raise data_dependence(Tensor._traced(found, tensor._meta), wanted)
        self.surroundings.data.append((tensor, tensor._storage, tensor._storage.version))

    def same_memory(self, a: Tensor, b: Tensor) -> bool:
        """Whether two tensors are the same elements of the same memory."""
        (memory_a, chain_a), (memory_b, chain_b) = map(self._place, (a, b))
        return memory_a is memory_b and chain_a == chain_b

    def _place(self, x: Tensor) -> tuple[Any, list[Any]]:
        if isinstance(x._storage, Storage):
            memory, chain = self.lifted.get(id(x._storage), x._storage), concrete_chain(x)
        else:
            memory, chain = x._storage, x._chain
        return memory, [step for step in chain if step[0] is not Detach]

    def name_of(self, tensor: Tensor) -> str:
        """The path of a concrete tensor: `layers.0.weight`."""
        if id(tensor) not in self._names:
            self._names = self.naming()  # optimizers make their state while they are traced
        return self._names.get(id(tensor)) or f"captured_{len(self.inputs)}"

    def _location(self) -> FileLineColLoc | None:
        """The user's line. All functions that are running there are what the program depends on."""
        innermost = frame = user_frame(self.outermost)
        if frame is None:  # the function has returned: the line that called it
            innermost = user_frame()
        ran = self.surroundings.ran
        while frame is not None and (code := frame.f_code) is not self.outermost:
            if id(code) not in ran:
                ran[id(code)] = (code, frame.f_globals)
            frame = frame.f_back
        if innermost is None:
            return None
        return file_location(innermost.f_code.co_filename, innermost.f_lineno)

    def track_leaf(self, tensor: Tensor) -> None:
        """Remember a traced tensor that `requires_grad_()` made a leaf."""
        self._traced_leaves.append(tensor)
        if not tensor._chain:
            tensor._storage.leaf = tensor  # type: ignore[union-attr]

    def is_leaf(self, tensor: Tensor) -> bool:
        """Whether no operation on tensors that require gradients made a traced tensor."""
        return not tensor._requires_grad or any(t is tensor for t in self._traced_leaves)

    # ---- values ---------------------------------------------------------------------------

    def value(self, tensor: Tensor) -> SSAValue:
        """The SSA value that a tensor stands for now."""
        if isinstance(tensor._storage, Storage):
            storage, chain = self.lift(tensor), concrete_chain(tensor)
        else:
            check_escape(tensor)
            storage, chain = tensor._storage, tensor._chain
        value = storage.value
        # A step is told by its identity, which its tensor and the cache keep: two views that are
        # alike are two operations, as on the eager tape, so that gradients add up in one order.
        for i, (op, attrs) in enumerate(chain):
            steps = chain[: i + 1]
            key = tuple(map(id, steps))
            found = storage.cache.get(key)
            if found is None:
                made = self.builder.emit(op, [value], attrs).results[0]
                found = storage.cache[key] = (steps, made)
            value = found[1]
        return value

    def versions(self, tensor: Tensor) -> list[SSAValue]:
        """The values a tensor stood for, the present one first: a leaf may have been written."""
        value = self.value(tensor)
        tensor = self._same.get(id(tensor), tensor)
        storage = tensor._storage
        storage = self.lifted[id(storage)] if isinstance(storage, Storage) else storage
        return [value, *reversed(storage.past)] if storage.leaf is tensor else [value]

    def tracks(self, tensor: Tensor) -> bool:
        """Whether a tensor has a history that gradients follow, or wants a gradient itself."""
        if tensor._requires_grad or not isinstance(tensor._storage, Storage):
            return tensor._requires_grad
        found = self.lifted.get(id(tensor._storage))
        return found is not None and found.tracked and tensor.dtype.is_floating_point

    def record(self, op: type[Op], operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """Emit an operator; a view shares the memory of its operand."""
        tracked = any(isinstance(x, Tensor) and self.tracks(x) for x in operands)
        if op is Detach or (issubclass(op, View) and shares_memory(op, operands[0], attrs)):
            return self._view(op, operands[0], attrs, tracked)
        if op is Constant:
            return self.constant(attrs)
        values = [self.value(x) for x in operands]
        if tracked and not is_grad_enabled():
            values = [
                self.detached(v) if self.tracks(x) else v
                for v, x in zip(values, operands, strict=True)
            ]
        results = self.builder.emit(op, values, attrs).results
        out = [self.wrap(r, tracked and is_grad_enabled()) for r in results]
        return out[0] if len(out) == 1 else tuple(out)

    def _view(self, op: type[Op], x: Tensor, attrs: dict[str, Any], tracked: bool) -> Tensor:
        """The same memory, seen through one more operator."""
        (meta,) = infer(op, [x._meta], attrs)
        storage = self.lift(x) if isinstance(x._storage, Storage) else x._storage
        chain = concrete_chain(x) if isinstance(x._storage, Storage) else x._chain
        chain = (*chain, (op, attrs))
        if tracked and op is not Detach and not is_grad_enabled():
            chain = (*chain, (Detach, {}))
        out = Tensor._traced(storage, meta, chain)
        out._requires_grad = tracked and op is not Detach and is_grad_enabled()
        self.value(out)  # emitted here, so that errors and locations are the user's line
        return out

    def constant(self, attrs: dict[str, Any]) -> Tensor:
        """A constant; equal ones are one value."""
        array = attrs["value"]
        key = (array.tobytes(), array.dtype, array.shape, attrs["device"])
        found = self._constants.get(key)
        if found is None:
            found = self._constants[key] = self.builder.emit(Constant, [], attrs).results[0]
        return self.wrap(found)

    def detached(self, value: SSAValue) -> SSAValue:
        """`value` through an explicit `detach`, so that the text says where gradients stop."""
        found = self._detached.get(value)
        if found is None:
            found = self.builder.emit(Detach, [value], {}).results[0]
            self._detached[value] = found
        return found

    def wrap(self, value: SSAValue, requires_grad: bool = False) -> Tensor:
        """A tensor over a new value."""
        out = Tensor._traced(TracedStorage(self, value), meta_of(value))
        if requires_grad and out.dtype.is_floating_point:
            out._requires_grad = out._storage.tracked = True  # type: ignore[union-attr]
        return out

    def write(self, tensor: Tensor, new: Tensor) -> None:
        """Make a tensor stand for `new`, through the views between it and its memory.

        A write under `no_grad`, or through `detach`, changes the data alone: what had a history
        goes on having it.
        """
        if isinstance(tensor._storage, Storage):
            storage, chain = self.lift(tensor), concrete_chain(tensor)
        else:
            storage, chain = tensor._storage, tensor._chain
        value, tracked = self.value(new), self.tracks(new)
        detached = any(op is Detach for op, _ in chain)
        if tracked and detached and is_grad_enabled():
            raise runtime_error(
                "a value that requires grad is written through detach() or .data, behind which it "
                "has no gradient: detach the value, or write into a clone()"
            )
        data_only = detached or not is_grad_enabled()
        leaf = storage.leaf is not None
        bases = [self.detached(storage.value) if leaf else storage.value]
        for op, attrs in chain[:-1]:
            bases.append(self.builder.emit(op, [bases[-1]], attrs).results[0])
        for (op, attrs), base in reversed(list(zip(chain, bases, strict=False))):
            if op is not Detach:
                assert issubclass(op, View)
                value = op.unview(base, value, attrs)
        if data_only and storage.tracked:
            value = bind(WithData, (storage.value, value))
        elif data_only and tracked:
            value = self.detached(value)
        storage.write(value, tracked and not data_only)

    # ---- gradients ------------------------------------------------------------------------

    def get_grad(self, tensor: Tensor) -> Tensor | None:
        """`.grad` as the program so far leaves it."""
        tensor = self._same.get(id(tensor), tensor)
        found = self.grads.get(id(tensor))
        if found is not None:
            return found[1]
        if id(tensor) not in self.read_grads:
            self.read_grads[id(tensor)] = (tensor, self._lift_grad(tensor))
        return self.read_grads[id(tensor)][1]

    def _lift_grad(self, tensor: Tensor) -> Tensor | None:
        """The `.grad` that a tensor has when the program is called, as an input."""
        _, source = self._leaves.get(id(tensor), (0, tensor))
        grad = source._grad
        if grad is None or source._is_traced:
            return grad
        name, owner = f"{self.leaf_name(tensor)}.grad", self.owner(tensor)
        return Tensor._traced(self._input(name, "state", grad._meta, owner=owner), grad._meta)

    def leaf_name(self, tensor: Tensor) -> str:
        """The name of an argument, or the path of a concrete tensor."""
        owner = self.owner(tensor)
        return self.inputs[owner].name if isinstance(owner, int) else self.name_of(owner)

    def set_grad(self, tensor: Tensor, grad: Tensor | None) -> None:
        tensor = self._same.get(id(tensor), tensor)
        self.grads[id(tensor)] = (tensor, grad)

    def leaves(self) -> list[Tensor]:
        """Inputs that require gradients, in the order of their first use."""
        lifted = [i.tensor for i in self.inputs if i.tensor is not None]
        return [t for t in lifted if t._requires_grad] + self._traced_leaves
