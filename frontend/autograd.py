"""Reverse mode on tensors: the eager tape, `backward` and `grad`.

Eagerly, each operation on tensors that require gradients leaves a `GradNode`; `backward` walks
the nodes newest first and applies the operators' `vjp` rules to tensors. In a trace there is no
tape: `backward` and `grad` apply the IR transform (`ir.autodiff`) to the program so far, with the
same rules.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Any

from ..ir.autodiff import gradients
from ..ir.errors import runtime_error
from ..ir.op import Node, Op
from ..ir.ops._common import sizes
from ..ir.ops.casting import Detach
from ..ir.ops.creation import full_like
from ..ir.ops.elementwise import add
from .current import current_trace
from .dispatch import Stale
from .gradmode import is_grad_enabled, set_grad_enabled
from .storage import Storage
from .tensor import Tensor
from .trace import Trace

_sequence = itertools.count()


class GradNode:
    """One recorded operation: what its rule needs, and where its operands came from.

    `edges[i]` is (node, output index) of operand i, a leaf Tensor, or None.
    """

    __slots__ = (
        "attrs", "edges", "number", "op", "operand_metas", "released", "result_metas", "saved",
        "versions",
    )  # fmt: skip

    def __init__(
        self,
        op: type[Op],
        operands: Sequence[Tensor],
        attrs: dict[str, Any],
        results: Sequence[Tensor],
    ) -> None:
        self.op = op
        self.attrs = attrs
        self.number = next(_sequence)
        self.edges = [edge_of(x) for x in operands]
        self.released = False
        self.operand_metas = [x._meta for x in operands]
        self.result_metas = [r._meta for r in results]
        # Whether it is an operand, its place, the tensor; results without their history, which
        # would be a cycle.
        self.saved: list[tuple[bool, int, Tensor]] = []
        saved_operands, saved_results = op.SAVED
        for i in saved_operands:
            self.saved.append((True, i, operands[i]))
        for i in saved_results:
            self.saved.append((False, i, results[i]._again()))
        self.versions = [t._storage.version for _, _, t in self.saved]

    def apply(self, cotangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Cotangents of the operands."""
        if self.released:
            raise runtime_error(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if "
                "you need to access saved tensors after calling backward."
            )
        operands: list[Any] = [None] * len(self.operand_metas)
        results: list[Any] = [None] * len(self.result_metas)
        for (is_operand, i, tensor), version in zip(self.saved, self.versions, strict=True):
            now = tensor._storage.version
            kept: Any = tensor if is_operand else connected(tensor, self, i)
            if now != version:
                kept = Stale(tensor._meta, self.name, i, now, version)
            (operands if is_operand else results)[i] = kept
        needs = [edge is not None for edge in self.edges]
        view = Node(
            self.op, operands, results, self.attrs, self.operand_metas, self.result_metas, needs
        )
        return self.op.vjp(view, *self._filled(cotangents))

    def _filled(self, cotangents: Sequence[Tensor | None]) -> list[Any]:
        """A zero where no cotangent arrived, so that rules see one for each result."""
        if len(cotangents) == 1:
            return list(cotangents)
        like = next(c for c in cotangents if c is not None)
        from .creation import zeros

        return [
            c if c is not None else zeros(m.shape, dtype=m.dtype, device=like.device)
            for c, m in zip(cotangents, self.result_metas, strict=True)
        ]

    def keep(self, storage: Storage) -> None:
        """Copy what is saved of memory that is about to be written: x of `x.mul_(y)`."""
        from .eager import contiguous

        for i, (is_operand, position, tensor) in enumerate(self.saved):
            if tensor._storage is storage and storage.version == self.versions[i]:
                copy = contiguous(tensor)
                copy._grad_fn, copy._output = tensor._grad_fn, tensor._output
                copy._requires_grad = tensor._requires_grad
                self.saved[i] = (is_operand, position, copy)
                self.versions[i] = copy._storage.version

    def release(self) -> None:
        self.released = bool(self.saved)  # a rule that needs nothing may run again
        self.saved = []
        self.versions = []

    @property
    def name(self) -> str:
        """PyTorch's name of the node: AddBackward, …"""
        short = self.op.name.removeprefix("calque.")
        return "".join(w.capitalize() for w in short.split("_")) + "Backward0"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that made the operands."""
        return tuple(
            e if isinstance(e, tuple) else (AccumulateGrad(e) if e is not None else None, 0)
            for e in self.edges
        )

    def __repr__(self) -> str:
        return f"<{self.name} object at {id(self):#x}>"


class AccumulateGrad:
    """The end of the tape: adds into a leaf's `.grad`."""

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


Edge = tuple[Any, int] | Tensor | None


def refresh(x: Tensor) -> None:
    """Give a view the history that writes into its memory have left since it was made."""
    storage, base = x._storage, x._base
    if base is None or x._seen < 0 or not isinstance(storage, Storage):
        return
    if x._seen == storage.rebased:
        return
    refresh(base)
    x._seen = storage.rebased
    x._grad_fn, x._requires_grad = None, False
    if base._requires_grad and x._view is not None:
        op, attrs = x._view
        x._grad_fn, x._output, x._requires_grad = GradNode(op, (base,), attrs, (x,)), 0, True


def edge_of(x: Tensor) -> Edge:
    """Where gradients of x go."""
    if x._base is not None:
        refresh(x)
    if not x._requires_grad:
        return None
    return x if x._grad_fn is None else (x._grad_fn, x._output)


def connected(x: Tensor, node: Any, output: int) -> Tensor:
    """An alias of a result that is again the result of `node`."""
    made = x._again()
    made._grad_fn, made._output, made._requires_grad = node, output, True
    return made


def record(
    op: type[Op], operands: Sequence[Tensor], attrs: dict[str, Any], results: Sequence[Tensor]
) -> None:
    """Leave a node on the tape where a gradient can flow."""
    if not is_grad_enabled():
        return
    tracked = False
    for x in operands:
        if x._base is not None:
            refresh(x)
        tracked = tracked or x._requires_grad
    if not tracked or op is Detach or not any(r.dtype.is_floating_point for r in results):
        return
    node = GradNode(op, operands, attrs, results)
    for i, result in enumerate(results):
        if result.dtype.is_floating_point:
            result._grad_fn, result._output, result._requires_grad = node, i, True


def _cotangent(output: Tensor, given: Tensor | None) -> Tensor:
    if given is not None:
        if given._meta.shape != output._meta.shape:
            raise runtime_error(
                "Mismatch in shape: grad_output[0] has a shape of "
                f"calque.Size({sizes(given._meta.shape)}) and output[0] has a shape of "
                f"calque.Size({sizes(output._meta.shape)})."
            )
        return given
    if output._meta.numel != 1:
        raise runtime_error("grad can be implicitly created only for scalar outputs")
    return full_like(output, 1)


def _check_differentiable(outputs: Sequence[Tensor]) -> None:
    for i, output in enumerate(outputs):
        if not output.requires_grad:
            raise runtime_error(
                f"element {i} of tensors does not require grad and does not have a grad_fn"
            )


def backward(
    tensor: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Accumulate gradients of `tensor` into the `.grad` of the leaves (or of `inputs`)."""
    _check_differentiable([tensor])
    trace = current_trace()
    with set_grad_enabled(create_graph):
        seed = _cotangent(tensor, gradient)
    if trace is not None:
        leaves = trace.leaves() if inputs is None else list(inputs)
        grads = _traced_gradients(trace, [tensor], [seed], leaves, create_graph)
        trace.freed = trace.freed or not (create_graph if retain_graph is None else retain_graph)
        found = list(zip(leaves, grads, strict=True))
    else:
        keep = create_graph if retain_graph is None else retain_graph
        shared = {id(seed._storage)}
        accumulated = _run_tape([tensor], [seed], keep, create_graph, shared=shared)
        wanted = None if inputs is None else {id(t) for t in inputs}
        with set_grad_enabled(create_graph):
            found = [
                (t, None if g is None else _own(g, shared))
                for t, g in accumulated.values()
                if wanted is None or id(t) in wanted
            ]
    with set_grad_enabled(create_graph):
        for leaf, grad in found:
            if grad is not None:
                previous = leaf.grad
                leaf.grad = grad if previous is None else add(previous, grad)


def _own(grad: Tensor, shared: set[int]) -> Tensor:
    """A gradient in memory of its own: what a leaf keeps may be written in place.

    The two operands of a sum get one tensor, the operand of a total one number for all elements.
    """
    from .functions import clone
    from .inplace import repeats

    if id(grad._storage) in shared or repeats(grad):
        grad = clone(grad)
    shared.add(id(grad._storage))
    return grad


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients of the sum of `outputs` (weighted by `grad_outputs`) with respect to `inputs`."""
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs
    given = list(given) if given is not None else [None] * len(outputs)
    _check_differentiable(outputs)
    for i in inputs:
        if not i.requires_grad:
            raise runtime_error("One of the differentiated Tensors does not require grad")
    trace = current_trace()
    with set_grad_enabled(create_graph):
        seeds = [_cotangent(o, g) for o, g in zip(outputs, given, strict=True)]
    if trace is not None:
        results = _traced_gradients(trace, outputs, seeds, inputs, create_graph)
    else:
        keep = create_graph if retain_graph is None else retain_graph
        by_edge = _run_tape(outputs, seeds, keep, create_graph, targets=inputs)
        results = [by_edge.get(_target_key(t), (t, None))[1] for t in inputs]
    unused = next((i for i, r in enumerate(results) if r is None), None)
    if unused is not None and not allow_unused:
        raise runtime_error(
            f"The differentiated Tensor at index {unused} appears to not have been used in the "
            "graph. Set allow_unused=True if this is the desired behavior."
        )
    return tuple(results)


def _traced_gradients(
    trace: Trace,
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    inputs: Sequence[Tensor],
    create_graph: bool,
) -> list[Tensor | None]:
    targets = [trace.versions(i) for i in inputs]
    values = gradients(
        [trace.value(o) for o in outputs],
        [trace.value(s) for s in seeds],
        [v for versions in targets for v in versions],
    )
    parts = iter([None if v is None else trace.wrap(v, create_graph) for v in values])
    with set_grad_enabled(create_graph):
        return [_total([next(parts) for _ in versions]) for versions in targets]


def _total(parts: Sequence[Tensor | None]) -> Tensor | None:
    total: Tensor | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else add(total, part)
    return total


def _target_key(t: Tensor) -> Any:
    return id(t) if t._grad_fn is None else (id(t._grad_fn), t._output)


def _run_tape(
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor],
    keep: bool,
    create_graph: bool,
    targets: Sequence[Tensor] = (),
    shared: set[int] | None = None,
) -> dict[Any, tuple[Tensor, Tensor | None]]:
    """Walk the tape newest first. Leaves (and `targets`) with their gradients, by key.

    `shared` gets the memory of what the rules of users gave, who may hold it.
    """
    found: dict[Any, tuple[Tensor, Tensor | None]] = {}
    wanted = {_target_key(t): t for t in targets}
    pending: dict[int, list[Tensor | None]] = {}
    heap: list[tuple[int, Any]] = []

    def send(edge: Edge, cotangent: Tensor) -> None:
        if isinstance(edge, Tensor):
            _, previous = found.get(id(edge), (edge, None))
            total = cotangent if previous is None else add(previous, cotangent)
            found[id(edge)] = (edge, total)
        elif edge is not None:
            node, output = edge
            slots = pending.get(id(node))
            if slots is None:
                slots = pending[id(node)] = [None] * len(node.result_metas)
                heapq.heappush(heap, (-node.number, node))
            previous = slots[output]
            slots[output] = cotangent if previous is None else add(previous, cotangent)

    with set_grad_enabled(create_graph):
        for output, seed in zip(outputs, seeds, strict=True):
            send(edge_of(output), seed)
        while heap:
            _, node = heapq.heappop(heap)
            slots = pending.pop(id(node))
            for i, slot in enumerate(slots):
                if (id(node), i) in wanted:
                    found[id(node), i] = (wanted[id(node), i], slot)
            given = node.apply(slots)
            if shared is not None and getattr(node, "foreign", False):
                shared.update(id(c._storage) for c in given if c is not None)
            for edge, cotangent in zip(node.edges, given, strict=True):
                if cotangent is not None and edge is not None:
                    send(edge, cotangent)
            if not keep:
                node.release()
    return found


__all__ = ["backward", "grad"]
