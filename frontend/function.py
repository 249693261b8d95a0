"""`autograd.Function`: operations that bring their own derivative.

Eagerly `apply` runs `forward` and leaves a node on the tape that runs `backward`. In a trace both
are traced, into the two regions of a `custom` operator, whose rule is the backward region.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from xdsl.ir import Region, SSAValue

from ..ir import ops
from ..ir.errors import not_implemented, runtime_error, type_error
from ..ir.ops.control import Yield
from ..ir.ops.custom import custom
from ..ir.sym import same
from ..ir.types import TensorMeta
from .autograd import _sequence, edge_of
from .control import RegionTrace
from .creation import zeros
from .current import current_trace
from .gradmode import is_grad_enabled, no_grad
from .inplace import assign
from .tensor import Tensor
from .trace import Trace

F = TypeVar("F", bound=Callable[..., Any])


class FunctionContext:
    """What `forward` leaves for `backward`; other attributes may be set freely."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.materialize_grads = True
        self._saved: tuple[Tensor | None, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._plain: set[int] = set()
        self._dirty: set[int] = set()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or intermediate tensors for `backward`."""
        self._saved = tensors
        self._versions = tuple(0 if t is None else t._storage.version for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors that were kept. Raises RuntimeError where one was written since."""
        for tensor, version in zip(self._saved, self._versions, strict=True):
            if tensor is not None and not tensor._is_traced and tensor._storage.version != version:
                raise runtime_error(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [{tensor._meta}] is at version {tensor._storage.version}; "
                    f"expected version {version} instead."
                )
        return self._saved

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that outputs carry no gradient."""
        self._plain |= {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that inputs were written in place and are returned."""
        self._dirty |= {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` sees zeros (True) or None for outputs without a gradient."""
        self.materialize_grads = value


class Function:
    """Base of operations with their own derivative.

    Subclasses define static methods `forward(ctx, *args)` and `backward(ctx, *grads)`, which
    returns a gradient, or None, per argument of forward; or `forward(*args)` together with
    `setup_context(ctx, inputs, output)`. Call them by `apply(*args)`.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The computation."""
        raise not_implemented(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what `backward` needs, where `forward` does not take a context."""
        raise not_implemented("setup_context is not implemented.")

    @staticmethod
    def backward(*args: Any, **kwargs: Any) -> Any:
        """Gradients of the arguments of forward, of a context and the gradients of its results."""
        raise not_implemented(
            "You must implement either the backward method for your custom autograd.Function to "
            "use it with backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward`; gradients go through `backward`."""
        tensors = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        needs = tuple(isinstance(a, Tensor) and a._requires_grad for a in args)
        ctx = FunctionContext(needs)
        trace = current_trace()
        tracked = is_grad_enabled() and any(needs)
        if trace is not None and tracked:
            return _Tracing(cls, ctx, trace, args, tensors).outputs()
        with no_grad():
            out = _forward(cls, ctx, args)
        return _attach(cls, ctx, args, tensors, out) if tracked else out


def _forward(cls: type[Function], ctx: FunctionContext, args: Sequence[Any]) -> Any:
    if cls.setup_context is Function.setup_context:
        return cls.forward(ctx, *args)
    out = cls.forward(*args)
    cls.setup_context(ctx, tuple(args), out)
    return out


def _leaves(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple | list) else [out]


def _metas(args: Sequence[Any]) -> list[TensorMeta | None]:
    """The metas of the tensors among arguments, None for others."""
    return [a._meta if isinstance(a, Tensor) else None for a in args]


def _aligned(
    cls: type[Function], found: Any, metas: Sequence[TensorMeta | None]
) -> list[Tensor | None]:
    """What backward returned, one for each argument. Raises RuntimeError where it does not fit."""
    grads = list(found) if isinstance(found, tuple | list) else [found]
    while len(grads) > len(metas) and grads[-1] is None:
        grads.pop()
    if len(grads) != len(metas):
        raise runtime_error(
            f"function {cls.__name__}Backward returned an incorrect number of gradients (expected "
            f"{len(metas)}, got {len(grads)})"
        )
    return [_fitting(cls, i, g, m) for i, (g, m) in enumerate(zip(grads, metas, strict=True))]


def _fitting(
    cls: type[Function], i: int, grad: Tensor | None, meta: TensorMeta | None
) -> Tensor | None:
    if grad is None:
        return None
    if meta is None:
        raise runtime_error(
            f"function {cls.__name__}Backward returned a gradient different from None at position "
            f"{i + 1}, but the corresponding forward input was not a Variable"
        )
    shape, wanted = grad._meta.shape, meta.shape
    if len(shape) == len(wanted) and all(map(same, shape, wanted)):
        return ops.cast(grad, meta.dtype)
    raise runtime_error(
        f"Function {cls.__name__}Backward returned an invalid gradient at index {i} - got "
        f"{list(shape)} but expected shape compatible with {list(wanted)}"
    )


# ---- eagerly ---------------------------------------------------------------------------------


class FunctionNode:
    """The node of the tape for one call of a Function."""

    foreign = True  # what its rule returns may be held by others

    def __init__(
        self, cls: type[Function], ctx: FunctionContext, args: Sequence[Any],
        tensors: Sequence[int], outputs: Sequence[Tensor], every: Sequence[Any],
    ) -> None:  # fmt: skip
        self.cls = cls
        self.ctx = ctx
        self.number = next(_sequence)
        self.edges = [edge_of(args[i]) for i in tensors]
        self.released = False
        self.result_metas = [o._meta for o in outputs]
        self._slots = [next((k for k, t in enumerate(outputs) if t is o), None) for o in every]
        self._outputs = [o._meta if isinstance(o, Tensor) else None for o in every]
        self._metas = _metas(args)
        self._tensors = list(tensors)

    @property
    def name(self) -> str:
        """The name that tensors print as their grad_fn."""
        return f"{self.cls.__name__}Backward"

    def apply(self, cotangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Gradients of the tensor arguments."""
        if self.released:
            raise runtime_error(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Specify retain_graph=True if you "
                "need to backward through the graph a second time."
            )
        given = [None if k is None else cotangents[k] for k in self._slots]
        if self.ctx.materialize_grads:
            given = [
                _no_gradient(m) if c is None and m is not None else c
                for c, m in zip(given, self._outputs, strict=True)
            ]
        once = getattr(self.cls.backward, "_once_differentiable", False)
        found = _aligned(self.cls, self.cls.backward(self.ctx, *given), self._metas)
        grads = [found[i] for i in self._tensors]
        if once and is_grad_enabled():
            _seal(grads, [*map(edge_of, (g for g in given if g is not None)), *self.edges])
        return grads

    def release(self) -> None:
        """Forget what was saved."""
        self.ctx._saved = ()
        self.ctx._versions = ()
        self.released = True

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that made the arguments."""
        return tuple(e if isinstance(e, tuple) else (e, 0) for e in self.edges)


def _no_gradient(meta: TensorMeta) -> Tensor:
    """Zeros for a result that no gradient arrived at."""
    return zeros(meta.shape, dtype=meta.dtype, device=meta.device)


class _SealedNode:
    """Stands where a gradient cannot be differentiated again."""

    name = "DelayedError"

    def __init__(self, edges: Sequence[Any], meta: TensorMeta) -> None:
        self.number = next(_sequence)
        self.edges = edges
        self.result_metas = [meta]

    def apply(self, cotangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Raises RuntimeError."""
        raise runtime_error(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )

    def release(self) -> None:
        """Nothing is held."""


def _seal(grads: Sequence[Tensor | None], edges: Sequence[Any]) -> None:
    """Make gradients that raise where they are differentiated with respect to what is behind."""
    for grad in grads:
        if grad is not None:
            grad._grad_fn, grad._output = _SealedNode(edges, grad._meta), 0  # type: ignore[assignment]
            grad._requires_grad = True


def _attach(
    cls: type[Function], ctx: FunctionContext, args: Sequence[Any], tensors: Sequence[int], out: Any
) -> Any:
    """What forward returned, connected to the tape; inputs returned as they came are aliased."""
    inputs = {id(args[i]) for i in tensors} - ctx._dirty
    outputs = [o._again() if id(o) in inputs else o for o in _leaves(out)]
    through = [
        new for old, new in zip(_leaves(out), outputs, strict=True)
        if isinstance(new, Tensor) and new.is_floating_point() and id(old) not in ctx._plain
    ]  # fmt: skip
    node = FunctionNode(cls, ctx, args, tensors, through, outputs)
    for i, output in enumerate(through):
        output._grad_fn, output._output, output._requires_grad = node, i, True  # type: ignore[assignment]
    return type(out)(outputs) if isinstance(out, tuple | list) else outputs[0]


# ---- in a trace ------------------------------------------------------------------------------


class _Tracing:
    """Traces forward and backward of one call into the regions of a `custom` operator."""

    def __init__(
        self, cls: type[Function], ctx: FunctionContext, trace: Trace, args: Sequence[Any],
        tensors: Sequence[int],
    ) -> None:  # fmt: skip
        self.cls, self.ctx, self.trace = cls, ctx, trace
        self.args, self.tensors = args, tensors
        self.forward = RegionTrace(trace)
        with self.forward:
            self.inside = inside = list(args)
            for i in tensors:
                inside[i] = self.forward.argument(f"a{i}", args[i]._meta)
            with no_grad():
                self.out = _forward(cls, ctx, inside)
            self.results = _leaves(self.out)
            for r in self.results:
                if not isinstance(r, Tensor):
                    raise type_error(f"{cls.__name__}.forward must return tensors in a trace")
            self.through = [
                i for i, r in enumerate(self.results)
                if r.is_floating_point() and id(r) not in ctx._plain
            ]  # fmt: skip
            yielded = [self.forward.value(r) for r in self.results]
            self.wrt, backward = self._backward()
            # What backward reads of the forward region, or from outside, are residuals.
            yielded += [self.forward.value(t) for t in self.kept]
        self.regions = [_close(self.forward, yielded), backward]

    def _backward(self) -> tuple[list[int], Region]:
        """The backward region, and the positions of the operands whose gradients it yields."""
        trace = RegionTrace(self.trace)
        with trace:
            given = [
                trace.argument(f"g{i}", r._meta) if i in self.through else _no_gradient(r._meta)
                for i, r in enumerate(self.results)
            ]
            found = _aligned(self.cls, self.cls.backward(self.ctx, *given), _metas(self.args))
            wrt: list[int] = []
            values: list[SSAValue] = []
            for position, i in enumerate(self.tensors):
                grad = found[i]
                if grad is not None and self.ctx.needs_input_grad[i]:
                    wrt.append(position)
                    values.append(trace.value(grad))
        self.kept = trace.outside
        return wrt, _close(trace, values)

    def outputs(self) -> Any:
        """Emit the operator; what `forward` returned, as tensors of the trace."""
        operands = [self.args[i] for i in self.tensors] + self.forward.outside
        once = bool(getattr(self.cls.backward, "_once_differentiable", False))
        attrs = {
            "outputs": len(self.results), "through": tuple(self.through), "wrt": tuple(self.wrt),
            "once": once,
        }  # fmt: skip
        values = [self.trace.value(x) for x in operands]
        made = custom(values, self.regions[0], self.regions[1], attrs)
        out = [
            self.trace.wrap(v, i in self.through) for i, v in enumerate(made[: len(self.results)])
        ]
        for i, r in enumerate(self.results):
            if id(r) in self.ctx._dirty:
                target = next(a for a, x in zip(self.args, self.inside, strict=True) if x is r)
                out[i] = assign(target, out[i])
        if not isinstance(self.out, tuple | list):
            return out[0]
        return type(self.out)(out)


def _close(trace: RegionTrace, values: Sequence[SSAValue]) -> Region:
    trace.block.add_op(Yield(*values))
    return Region(trace.block)


def once_differentiable(function: F) -> F:
    """Decorates a `backward` whose result cannot be differentiated again."""

    @functools.wraps(function)
    def wrapped(ctx: Any, *args: Any) -> Any:
        with no_grad():
            return function(ctx, *args)

    wrapped._once_differentiable = True  # type: ignore[attr-defined]
    return wrapped  # type: ignore[return-value]


__all__ = ["Function", "FunctionContext", "once_differentiable"]
