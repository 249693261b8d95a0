"""Control flow on data: `cond`, `scan` and `while_loop`.

Eagerly they are Python's own `if` and loops. In a trace each function is traced into a region;
what it reads from outside becomes an operand of the operator, so regions stand alone in text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import Region, SSAValue

from ..ir import dtype as dt
from ..ir import ops
from ..ir.dtype import DType
from ..ir.errors import runtime_error, type_error
from ..ir.op import Builder
from ..ir.ops import control, select, stack
from ..ir.ops._common import is_weak, sizes
from ..ir.ops.control import Yield, expect_same
from ..ir.ops.scan import CARRIED, NO_LENGTH, elements_of
from ..ir.ops.scan import scan as emit_scan
from ..ir.sym import same
from ..ir.types import TensorMeta, meta_of, to_type
from .current import current_trace
from .pytree import flatten, unflatten
from .storage import Storage
from .tensor import Tensor
from .trace import Trace
from .traced import concrete_chain


class RegionTrace(Trace):
    """Traces a function into a region of `parent`; outside tensors become block arguments."""

    def __init__(self, parent: Trace) -> None:
        super().__init__(parent.env)
        self.builder = Builder(self.block, location=parent.builder.location)
        self.surroundings = parent.surroundings
        self.parent = parent
        self.outside: list[Tensor] = []
        self._captured: dict[Any, SSAValue] = {}

    def value(self, tensor: Tensor) -> SSAValue:
        """The SSA value of a tensor; one from outside is captured."""
        storage = tensor._storage
        if not isinstance(storage, Storage) and storage.trace is self:
            return super().value(tensor)
        chain = concrete_chain(tensor) if isinstance(storage, Storage) else tensor._chain
        key = (id(storage), tuple((op.name, str(attrs)) for op, attrs in chain))
        found = self._captured.get(key)
        if found is None:
            found = self.block.insert_arg(to_type(tensor._meta), len(self.block.args))
            self._captured[key] = found
            self.outside.append(tensor)
        return found

    def lift_number(self, key: Any, getter: Callable[[], float], name: str) -> Tensor:
        return self.parent.lift_number(key, getter, name)  # inputs are those of the program

    def record(self, op: Any, operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
        inside = [self._inside(x) for x in operands]
        return super().record(op, inside, attrs)

    def _inside(self, x: Any) -> Any:
        """A tensor of this region equal to one from outside."""
        if isinstance(x, Tensor) and (
            isinstance(x._storage, Storage) or x._storage.trace is not self
        ):
            inside = self.wrap(self.value(x), self.tracks(x))
            inside.__calque_weak__ = x.__calque_weak__
            return inside
        return x

    def tracks(self, tensor: Tensor) -> bool:
        if not tensor._requires_grad and isinstance(tensor._storage, Storage):
            return self.parent.tracks(tensor)
        return tensor._requires_grad

    def write(self, tensor: Tensor, new: Tensor) -> None:
        if isinstance(tensor._storage, Storage) or tensor._storage.trace is not self:
            raise runtime_error(
                "a function given to cond, scan or while_loop wrote in place into a tensor from "
                "outside; return the new value instead"
            )
        super().write(tensor, new)


class _Traced:
    """A function traced into a block: its results' structure and what it captured."""

    def __init__(
        self, parent: Trace, function: Callable[..., Any], metas: Sequence[TensorMeta],
        call: Callable[[Callable[..., Any], list[Tensor]], Any], grads: Sequence[bool],
        numbers: Sequence[bool] = (),
    ) -> None:  # fmt: skip
        self.trace = RegionTrace(parent)
        with self.trace:
            args = [self.trace.argument(f"a{i}", m) for i, m in enumerate(metas)]
            for arg, grad in zip(args, grads, strict=True):
                arg._requires_grad = grad
            for arg, number in zip(args, numbers, strict=False):
                arg.__calque_weak__ = number
            out, self.spec = _returned(call(function, args))
            self.results = [self.trace.value(leaf) for leaf in out]
            self.requires_grad = [leaf._requires_grad for leaf in out]
        self.own = len(metas)

    def region(self, captured: Sequence[Tensor]) -> Region:
        """The region, with an argument for each captured tensor of all branches."""
        block = self.trace.block
        mine = {
            id(t): arg for t, arg in zip(self.trace.outside, block.args[self.own :], strict=True)
        }
        for tensor in captured:
            new = block.insert_arg(to_type(tensor._meta), len(block.args))
            old = mine.get(id(tensor))
            if old is not None:
                old.replace_all_uses_with(new)
                self.results = [new if r is old else r for r in self.results]
        for old in list(mine.values()):
            block.erase_arg(old)
        block.add_op(Yield(*self.results))
        return Region(block)


def _returned(out: Any) -> tuple[list[Tensor], Any]:
    """The tensors that a function returned, and their structure."""
    leaves: list[Any] = []
    spec = flatten(out, leaves)
    if not all(isinstance(x, Tensor) for x in leaves):
        raise type_error("a function given to cond, scan or while_loop returns tensors")
    return leaves, spec


def _tensors(tree: Any, number: DType = dt.float32) -> tuple[list[Tensor], Any]:
    """The leaves of a structure as tensors, numbers in the dtype `number`, and the structure."""
    from .creation import as_tensor

    leaves: list[Any] = []
    spec = flatten(tree, leaves)
    return [as_tensor(x, number if _is_number(x) else None) for x in leaves], spec


def _metas(tensors: Sequence[Tensor]) -> list[TensorMeta]:
    return [x._meta for x in tensors]


def _is_number(x: Any) -> bool:
    return isinstance(x, float) or is_weak(x)


def _operands(operands: Any, name: str) -> tuple[Any, ...]:
    """The operands of a function. Raises TypeError where they are not listed."""
    if not isinstance(operands, tuple | list):
        raise type_error(
            f"{name}: expected a tuple or list of operands, got {type(operands).__name__}: write "
            "(x,) for a single one"
        )
    return tuple(operands)


def _predicate(pred: Any) -> Any:
    """A bool, or a tensor of one as a 0-d bool tensor. Raises RuntimeError for others."""
    if not isinstance(pred, Tensor):
        return bool(pred)
    if not same(pred._meta.numel, 1):
        raise runtime_error(
            "Expected pred to be bool or single-element tensor, but got a tensor of shape "
            f"{sizes(pred._meta.shape)}"
        )
    return ops.truth(pred.reshape(()))


def cond(
    pred: Tensor | bool,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """`true_fn(*operands)` where pred holds, else `false_fn(*operands)`.

    Both return the same structure of tensors with the same shapes and dtypes.
    """
    trace = current_trace()
    operands, pred = _operands(operands, "cond"), _predicate(pred)
    if trace is None or not isinstance(pred, Tensor) or not pred._is_traced:
        return true_fn(*operands) if bool(pred) else false_fn(*operands)
    given: list[Any] = []
    flatten(operands, given)
    leaves, spec = _tensors(operands, dt.float64)

    def call(function: Callable[..., Any], args: list[Tensor]) -> Any:
        return function(*unflatten(spec, args))

    metas = [x._meta for x in leaves]
    grads = [x._requires_grad for x in leaves]
    numbers = list(map(_is_number, given))
    branches = [_Traced(trace, f, metas, call, grads, numbers) for f in (true_fn, false_fn)]
    if branches[0].spec != branches[1].spec:
        raise runtime_error("cond: the two functions return different structures")
    captured = _union(branches)
    values = [trace.value(x) for x in (*leaves, *captured)]
    regions = [b.region(captured) for b in branches]
    results = control.cond(trace.value(pred), values, regions[0], regions[1])
    tracked = [any(g) for g in zip(*(b.requires_grad for b in branches), strict=True)]
    out = [trace.wrap(r, g) for r, g in zip(results, tracked, strict=True)]
    return unflatten(branches[0].spec, out)


def _union(branches: Sequence[_Traced]) -> list[Tensor]:
    return list({id(t): t for b in branches for t in b.trace.outside}.values())


def scan(
    combine_fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    *,
    reverse: bool = False,
    length: Any = None,
) -> tuple[Any, Any]:
    """A loop along the first dimension of xs: `carry, y = combine_fn(carry, x)`.

    Returns the last carry and the stacked ys. The carry keeps its structure, shapes and dtypes.
    """
    trace = current_trace()
    inits, carry_spec = _tensors(init)
    items, x_spec = _tensors(xs)
    if trace is None:
        start = unflatten(carry_spec, inits)
        return _scan_eagerly(combine_fn, start, items, x_spec, reverse, length)
    count = len(inits)

    def call(function: Callable[..., Any], args: list[Tensor]) -> Any:
        return function(unflatten(carry_spec, args[:count]), unflatten(x_spec, args[count:]))

    metas = [x._meta for x in inits]
    metas += [x._meta.with_shape(x._meta.shape[1:]) for x in items]
    from .symint import unwrap

    grads = [m.dtype.is_floating_point for m in metas]
    body = _Traced(trace, combine_fn, metas, call, grads)
    captured = body.trace.outside
    results = emit_scan(
        [trace.value(x) for x in inits],
        [trace.value(x) for x in items],
        [trace.value(x) for x in captured],
        body.region(captured),
        length=None if length is None else unwrap(length),
        reverse=reverse,
    )
    carry_out, y_spec = _step(body.spec, carry_spec)
    tracked = any(x._requires_grad for x in (*inits, *items, *captured))
    out = [trace.wrap(r, tracked and meta_of(r).dtype.is_floating_point) for r in results]
    return unflatten(carry_out, out[:count]), unflatten(y_spec, out[count:])


def _step(spec: Any, carry_spec: Any) -> tuple[Any, Any]:
    """The structures of the carry and of y that a step of a scan returned."""
    kind, parts = spec if isinstance(spec, tuple) and len(spec) == 2 else (None, ())
    if kind is not tuple or len(parts) != 2:
        raise type_error("scan: the function has to return two things, the next carry and y")
    if parts[0] != carry_spec:
        raise runtime_error("scan: the carry has another structure after a step than before it")
    return parts


def _scan_eagerly(
    function: Callable[..., Any], carry: Any, items: list[Tensor], spec: Any, reverse: bool,
    length: Any,
) -> tuple[Any, Any]:  # fmt: skip
    if length is None and not items:
        raise runtime_error(NO_LENGTH)
    n = int(items[0].shape[0] if length is None else length)
    elements_of(_metas(items), n)
    carried, carry_spec = _returned(carry)
    metas, stacks, y_spec = _metas(carried), [], None
    for i in reversed(range(n)) if reverse else range(n):
        made = function(carry, unflatten(spec, [select(x, 0, i) for x in items]))
        leaves, step_spec = _returned(made)
        _, y_spec = _step(step_spec, carry_spec)
        expect_same(CARRIED, _metas(leaves[: len(metas)]), metas)
        carry = unflatten(carry_spec, leaves[: len(metas)])
        stacks.append(leaves[len(metas) :])
    if reverse:
        stacks.reverse()
    if not stacks:
        raise runtime_error("scan: there is nothing to loop along")
    return carry, unflatten(y_spec, [stack(list(ys), 0) for ys in zip(*stacks, strict=True)])


def while_loop(
    cond_fn: Callable[..., Tensor], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> Any:
    """Apply `body_fn` to the carried tensors as long as `cond_fn` of them holds."""
    trace = current_trace()
    leaves, spec = _tensors(_operands(carried_inputs, "while_loop"))
    metas = [x._meta for x in leaves]
    if trace is None:
        carried: Any = unflatten(spec, leaves)
        while _predicate(cond_fn(*carried)):
            out, _ = _returned(body_fn(*carried))
            expect_same("while: the body must return what it carries", _metas(out), metas)
            carried = unflatten(spec, out)
        return carried

    def call(function: Callable[..., Any], args: list[Tensor]) -> Any:
        return function(*unflatten(spec, args))

    grads = [False] * len(metas)

    def test_call(function: Callable[..., Any], args: list[Tensor]) -> Any:
        return _predicate(call(function, args))

    test = _Traced(trace, cond_fn, metas, test_call, grads)
    body = _Traced(trace, body_fn, metas, call, grads)
    captured = _union([test, body])
    results = control.while_loop(
        [trace.value(x) for x in leaves],
        [trace.value(x) for x in captured],
        test.region(captured),
        body.region(captured),
    )
    return unflatten(spec, [trace.wrap(r) for r in results])


__all__ = ["cond", "scan", "while_loop"]
