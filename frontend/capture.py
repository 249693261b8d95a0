"""From a Python function to a `Captured` program: its graph, and what to do around a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, SSAValue

from ..ir.autodiff import gradients
from ..ir.op import Builder
from ..ir.sym import Expr, Guard, SymEnv
from ..ir.types import TensorMeta, meta_of, to_type
from .buildmodule import build_module
from .checks import unused_checks
from .guards import Guards
from .overlap import Pattern, refuse_written
from .pytree import LEAF, flatten, unflatten
from .random import default_generator
from .replay import Replay
from .symint import SymInt
from .tensor import Tensor
from .trace import Trace
from .traced import Input, ViewStep


@dataclass
class Result:
    """One result of the program and where it goes after a call.

    `role` is "output" (a leaf of what the function returned), "state" (the input `alias` holds
    it), "grad" (the `.grad` of `owner`), "residual" (kept for the backward program), or "check"
    (indices that are read for nothing: that they are in range is all that is wanted).
    """

    value: SSAValue
    role: str
    name: str
    alias: int | None = None
    owner: Tensor | int | None = None


@dataclass(frozen=True)
class Passed:
    """A returned leaf that is an argument of the call."""

    index: int


@dataclass(frozen=True)
class Viewed:
    """A returned leaf that is a view of an input's memory, of an argument or a captured tensor."""

    index: int
    chain: tuple[ViewStep, ...]


@dataclass(frozen=True)
class Number:
    """A returned leaf that is a Python number, computed from lifted ones: a result's index."""

    index: int


# A returned leaf: the index of its result, an argument, a size, or what it is on every call.
Returned = int | Number | Passed | Viewed | Expr | float | Tensor


@dataclass
class Captured:
    """A traced program. `fixed` are returned tensors that were concrete already."""

    trace: Trace
    results: list[Result]
    returned: list[Returned]
    out_spec: Any
    guards: Guards
    argument_shapes: list[tuple[int, ...]]
    argument_metas: list[TensorMeta]
    cleared: list[Tensor | int] = field(default_factory=list)  # whose .grad becomes None
    differentiable: list[int] = field(default_factory=list)  # results that carry gradients
    backward: Backward | None = None

    @property
    def inputs(self) -> list[Input]:
        return self.trace.inputs

    def values(self) -> dict[str, np.ndarray]:
        """The present state by name, lifted numbers included."""
        found: dict[str, np.ndarray] = {}
        for entry in self.inputs:
            if entry.tensor is not None:
                found[entry.name] = entry.tensor._array("its values")
            elif entry.getter is not None:
                found[entry.name] = np.asarray(entry.getter(), np.float64)
        return found

    @property
    def size_guards(self) -> list[Guard]:
        return self.trace.env.guards

    @cached_property
    def graph(self) -> ModuleOp:
        """A module with the program as `@main`, of which the trace's block becomes a part."""
        return build_module(
            self.trace.block,
            [(i.name, "state" if i.storage.version else "input", None) for i in self.inputs],
            [(r.name, "output", r.alias) for r in self.results],
            [r.value for r in self.results],
            self.size_guards,
        )

    def module(self) -> ModuleOp:
        """A copy of the graph, to be worked on."""
        return self.graph.clone()


@dataclass
class Backward:
    """The other half of a program whose outputs are differentiated outside of it.

    Arguments of `block` are the residuals, then a cotangent per differentiable output; `grads`
    belong to `leaves`.
    """

    block: Block
    grads: list[SSAValue]
    leaves: list[Tensor | int]  # a captured tensor, or the index of an argument
    guards: list[Guard]
    # Where each residual is found after the forward call: an input, or a result of it.
    residuals: list[tuple[str, int]]
    replay: Replay | None = None  # how it is differentiated, made at the first call

    @cached_property
    def graph(self) -> ModuleOp:
        """A module with the program as `@main`, of which the block becomes a part."""
        names = [(f"residual_{i}", "input", None) for i in range(len(self.residuals))]
        names += [
            (f"cotangent_{i}", "input", None)
            for i in range(len(self.block.args) - len(self.residuals))
        ]
        outs: list[tuple[str, str, int | None]] = [
            (f"grad_{i}", "output", None) for i in range(len(self.grads))
        ]
        return build_module(self.block, names, outs, self.grads, self.guards)

    def module(self) -> ModuleOp:
        """A copy of the graph, to be worked on."""
        return self.graph.clone()


def capture(
    function: Callable[..., Any],
    spec: Any,
    metas: Sequence[TensorMeta],
    leaves: Sequence[Tensor],
    env: SymEnv,
    split: bool = True,
    aliases: Pattern | None = None,
) -> Captured:
    """Trace a call of `function` whose tensor arguments have the given metas.

    Where outputs require gradients, `split` makes a backward program too. `aliases` says which
    arguments share memory.
    """
    trace = Trace(env)
    trace.outermost = capture.__code__
    trace.surroundings.survey(function)
    trace.naming = lambda: named_tensors(trace.surroundings.named)
    names = _argument_names(function, spec, len(leaves))
    with trace:
        arguments = [trace.argument(name, meta) for name, meta in zip(names, metas, strict=True)]
        for i, leaf in enumerate(leaves):
            first, equal = aliases[i] if aliases is not None else (i, False)
            if equal:
                arguments[i] = arguments[first]
            else:
                trace.bind_argument(arguments[i], i, leaf)
        args, kwargs = unflatten(spec, arguments)
        out = function(*args, **kwargs)
        returned: list[Any] = []
        out_spec = flatten(out, returned)
        captured = _collect(trace, arguments, returned, out_spec, views=split)
        _check_overlaps(trace, aliases)
        if split:
            _split_backward(captured, arguments, returned)
        for value in unused_checks(trace.block, [r.value for r in captured.results]):
            captured.results.append(Result(value, "check", f"check_{len(captured.results)}"))
    captured.argument_shapes = [tuple(x._sizes) for x in leaves]
    captured.argument_metas = list(metas)
    captured.guards = trace.surroundings.guards()
    return captured


def _check_overlaps(trace: Trace, aliases: Pattern | None) -> None:
    """Raise where memory is written that two inputs share without being the same tensor."""
    inputs = trace.inputs
    pairs = [(inputs[i], inputs[j]) for i, j in trace.overlaps]
    for i, (first, equal) in enumerate(aliases or ()):
        if first != i and not equal:
            pairs.append((inputs[i], inputs[first]))
    for a, b in pairs:
        if a.storage.version or b.storage.version:
            raise refuse_written(a.name, b.name)


def _collect(
    trace: Trace, arguments: Sequence[Tensor], leaves: Sequence[Any], out_spec: Any, views: bool
) -> Captured:
    """Outputs, changed state and gradients, as results of the program. With `views`, views of
    inputs are no results: they are made after a call, of the memory that they view."""
    results: list[Result] = []
    returned: list[Returned] = []
    for leaf in leaves:
        if isinstance(leaf, SymInt):
            returned.append(leaf.expr)
            continue
        if not isinstance(leaf, Tensor):
            returned.append(leaf)  # a number that Python computed from guarded values
            continue
        if not leaf._is_traced and not trace.knows(leaf):
            returned.append(leaf)
            continue
        if not leaf._is_traced and leaf._base is None:
            returned.append(leaf)  # a parameter itself: its (new) value is in its own memory
            continue
        position = next((i for i, a in enumerate(arguments) if a is leaf), None)
        if position is not None:
            returned.append(Passed(position))
            continue
        place = next((k for k, other in enumerate(leaves[: len(returned)]) if other is leaf), None)
        if place is not None:
            returned.append(returned[place])
            continue
        viewed = _viewed(trace, leaf) if views else None
        if viewed is not None:
            returned.append(viewed)
            continue
        returned.append(Number(len(results)) if leaf.__calque_weak__ else len(results))
        results.append(Result(trace.value(leaf), "output", f"out_{len(results)}"))
    for index, entry in enumerate(trace.inputs):
        if entry.storage.version:
            name = f"{entry.name}.new"
            results.append(Result(entry.storage.value, "state", name, index))
    cleared: list[Tensor | int] = []
    for tensor, grad in trace.grads.values():
        owner = trace.owner(tensor)
        if isinstance(owner, Tensor) and owner._is_traced:
            continue  # a leaf that the program made
        if grad is None:
            cleared.append(owner)
        elif grad._is_traced:
            name = f"{trace.leaf_name(tensor)}.grad"
            results.append(Result(trace.value(grad), "grad", name, None, owner))
    return Captured(trace, results, returned, out_spec, Guards(), [], [], cleared)


def _viewed(trace: Trace, leaf: Tensor) -> Viewed | Tensor | None:
    """A tensor as a view of an input, None if it is none, or if gradients follow it."""
    if leaf._requires_grad:
        return None
    if not leaf._is_traced:
        return leaf
    if not leaf._chain:
        return None
    for index, entry in enumerate(trace.inputs):
        if entry.storage is leaf._storage:
            return Viewed(index, leaf._chain) if entry.owner is None else None
    return None


def _split_backward(
    captured: Captured, arguments: Sequence[Tensor], returned: Sequence[Any]
) -> None:
    """Where outputs require gradients: differentiate now, and cut the program in two.

    The forward program returns the values that the backward one reads (residuals).
    """
    trace = captured.trace
    outputs = [
        (slot, leaf)
        for slot, leaf in zip(captured.returned, returned, strict=True)
        if isinstance(slot, int) and leaf._requires_grad
    ]
    if not outputs or trace.freed:
        return
    forward_end = trace.block.last_op
    leaves: list[Tensor | int] = [t for t in trace.leaves() if not t._is_traced]
    values = [trace.value(t) for t in leaves if isinstance(t, Tensor)]
    for i, argument in enumerate(arguments):
        if argument._requires_grad:
            leaves.append(i)
            values.append(trace.inputs[i].storage.value)
    block = Block(arg_types=[to_type(meta_of(captured.results[s].value)) for s, _ in outputs])
    with Builder(trace.block, location=trace.builder.location):
        placeholders = [trace.block.insert_arg(a.type, len(trace.block.args)) for a in block.args]
        grads = gradients([captured.results[s].value for s, _ in outputs], placeholders, values)
    kept = [(leaf, g) for leaf, g in zip(leaves, grads, strict=True) if g is not None]
    first = trace.block.first_op if forward_end is None else forward_end.next_op
    residuals = _cut(trace.block, first, block, placeholders, [g for _, g in kept])
    if not kept:  # gradients were asked for inside, of nothing that lives outside
        return
    captured.differentiable = [s for s, _ in outputs]
    last = block.last_op
    assert last is not None
    block_grads = list(last.operands)
    block.erase_op(last)
    sources: list[tuple[str, int]] = []
    for i, value in enumerate(residuals):
        if value in trace.block.args:
            sources.append(("input", trace.block.args.index(value)))
        else:
            sources.append(("result", len(captured.results)))
            captured.results.append(Result(value, "residual", f"residual_{i}"))
    captured.backward = Backward(
        block, block_grads, [leaf for leaf, _ in kept], captured.size_guards, sources
    )


def _cut(
    source: Block, first: Any, target: Block, placeholders: Sequence[SSAValue],
    outputs: Sequence[SSAValue],
) -> list[SSAValue]:  # fmt: skip
    """Move the operations from `first` on into `target`; the forward values they read."""
    mapping: dict[SSAValue, SSAValue] = dict(zip(placeholders, target.args, strict=True))
    moved = []
    op = first
    while op is not None:
        moved.append(op)
        op = op.next_op
    inside = {r for op in moved for r in op.results}
    # Regions read nothing from outside of them: operands are all that an operation needs.
    used = [v for op in moved for v in op.operands] + list(outputs)
    residuals = list(
        dict.fromkeys(v for v in used if v not in inside and v not in set(placeholders))
    )
    for position, value in enumerate(residuals):
        mapping[value] = target.insert_arg(value.type, position)
    for op in moved:
        target.add_op(op.clone(mapping))
    target.add_op(ReturnOp(*[mapping[v] for v in outputs]))
    for op in reversed(moved):
        source.erase_op(op)
    for placeholder in reversed(placeholders):
        source.erase_arg(placeholder)  # type: ignore[arg-type]
    return residuals


def named_tensors(named: Sequence[tuple[str, Any]]) -> dict[int, str]:
    """The paths of the tensors that modules and optimizers own, by id of the tensor."""
    modules = [obj for _, obj in named if hasattr(obj, "named_parameters")]
    out: dict[int, str] = {}
    for name, obj in named:
        lister = getattr(obj, "_named_tensors", None)
        if lister is None:
            continue
        prefix = "" if obj in modules and len(modules) == 1 else f"{name}."
        for path, tensor in lister(out):
            out.setdefault(id(tensor), prefix + path)
    for name, tensor in default_generator.named_tensors():
        out[id(tensor)] = name
    return out


def _argument_names(function: Callable[..., Any], spec: Any, count: int) -> list[str]:
    """Names for the tensor arguments: the parameter's, with a path inside of structures."""
    import inspect

    # A module is called through `__call__(*args)`; its `forward` has the names.
    function = getattr(getattr(function, "__self__", None), "forward", function)
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    _, ((_, args), (_, kwargs)) = spec
    names: list[str] = []

    def walk(name: str, part: Any) -> None:
        if part is LEAF:
            names.append(name)
        elif isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], type):
            kind, inner = part
            if issubclass(kind, dict):
                for k, v in inner:
                    walk(f"{name}.{k}", v)
            elif issubclass(kind, list | tuple):
                for i, v in enumerate(inner):
                    walk(f"{name}.{i}", v)

    for i, part in enumerate(args):
        walk(parameters[i] if i < len(parameters) else f"arg_{i}", part)
    for key, part in kwargs:
        walk(str(key), part)
    assert len(names) == count
    return names
