"""Reverse mode on a block of `graph` IR: the one routine behind `backward`, `grad` and the pass.

The derivative is emitted at the current builder, after the operations that it differentiates, from
the same `vjp` rules that eager execution applies to its tape. What it emits is ordinary IR, so a
derivative can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from xdsl.dialects.builtin import FileLineColLoc, LocationAttr
from xdsl.ir import Block, Operation, SSAValue

from .errors import runtime_error
from .inline import inline_calls
from .op import Builder, Op, current_builder
from .types import meta_of


def gradients(
    outputs: Sequence[SSAValue],
    cotangents: Sequence[SSAValue | None],
    inputs: Sequence[SSAValue],
    *,
    stop: Collection[SSAValue] = (),
) -> list[SSAValue | None]:
    """Cotangents of `inputs`, given those of `outputs` (None where an output has none).

    Walks the current builder's block backwards through the operations that lead from `inputs` to
    `outputs`; nothing flows beyond the values in `stop`, as if they were detached. An input that
    no output depends on gets None. Cotangents of one value are added in reverse order of creation
    of its uses, as on a tape. Calls of functions are inlined first.

    Raises RuntimeError, naming the operator and its line, where one on the way has no derivative.
    """
    builder = current_builder()
    replaced = inline_calls(builder.block)
    outputs = [replaced.get(v, v) for v in outputs]
    inputs = [replaced.get(v, v) for v in inputs]
    stop = {replaced.get(v, v) for v in stop}
    path, active = _path(builder.block, outputs, inputs, stop)
    grads: dict[SSAValue, SSAValue] = {}
    for value, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None and value in active:
            _accumulate(grads, value, cotangent)
    for op in path:
        with located(builder, op):
            _step(op, grads, active, stop)
    return [grads.get(v) for v in inputs]


def differentiable(value: SSAValue) -> bool:
    """Whether a value can have a cotangent: floats do, integers and bools do not."""
    return meta_of(value).dtype.is_floating_point


@contextmanager
def located(builder: Builder, op: Operation) -> Iterator[None]:
    """What is emitted inside gets the line of `op`."""
    before, location = builder.location, op.location
    builder.location = lambda: location
    try:
        yield
    finally:
        builder.location = before


def describe(op: Operation) -> str:
    """An operator and its source line, for messages."""
    return f"'{op.name}'{_line(op.location)}"


def _line(location: LocationAttr) -> str:
    if isinstance(location, FileLineColLoc):
        return f" ({location.filename.data}:{location.line.data})"
    return ""


def _path(
    block: Block,
    outputs: Iterable[SSAValue],
    inputs: Iterable[SSAValue],
    stop: Collection[SSAValue],
) -> tuple[list[Op], set[SSAValue]]:
    """The operations between inputs and outputs, last first, and what depends on inputs."""
    active = {v for v in inputs if differentiable(v)}
    dependent: list[Op] = []
    for op in block.ops:
        if isinstance(op, Op) and any(v in active for v in op.operands):
            made = [r for r in op.results if r not in stop and differentiable(r)]
            if made:
                active.update(made)
                dependent.append(op)
    wanted = set(outputs)
    path: list[Op] = []
    for op in reversed(dependent):
        if any(r in wanted for r in op.results):
            path.append(op)
            wanted.update(op.operands)
    return path, active


def _step(
    op: Op,
    grads: dict[SSAValue, SSAValue],
    active: Collection[SSAValue],
    stop: Collection[SSAValue],
) -> None:
    """Apply one operator's rule and add up what it gives."""
    incoming = [None if r in stop else grads.get(r) for r in op.results]
    if not any(incoming):
        return
    cotangents = [
        _zeros(r) if g is None and not op.PARTIAL and differentiable(r) else g
        for r, g in zip(op.results, incoming, strict=True)
    ]
    needs = [v in active for v in op.operands]
    try:
        found = type(op).vjp(op.node(needs), *cotangents)
    except NotImplementedError as error:
        raise runtime_error(
            f"the derivative for {describe(op)} is not implemented; detach the value if its "
            "gradient is not wanted"
        ) from error
    for value, need, cotangent in zip(op.operands, needs, found, strict=True):
        if need and cotangent is not None:
            _accumulate(grads, value, cotangent)


def _zeros(value: SSAValue) -> SSAValue:
    from .ops.creation import full_like

    return full_like(value, 0)


def _accumulate(grads: dict[SSAValue, SSAValue], value: SSAValue, cotangent: SSAValue) -> None:
    from .ops.elementwise import add

    known = grads.get(value)
    grads[value] = cotangent if known is None else add(known, cotangent)
