"""Control flow on data, as operators with regions: `cond`, `scan` and `while`.

    %y = calque.cond %p, %x then {
    ^bb0(%a: tensor<3xf32>):
      %s = calque.sin %a : tensor<3xf32>
      calque.yield %s : tensor<3xf32>
    } else {
    ^bb0(%a: tensor<3xf32>):
      calque.yield %a : tensor<3xf32>
    } : (tensor<i1>, tensor<3xf32>) -> tensor<3xf32>

Regions see only their arguments, so what a branch or a loop body uses is an operand. Derivatives
are operators of the same kind: that of a `cond` chooses between the derivatives of its branches,
that of a `scan` runs backwards over the carried values that the forward scan stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects.utils import AbstractYieldOperation
from xdsl.ir import Attribute, Block, Operation, OpResult, OpTraits, Region, SSAValue, SSAValues
from xdsl.irdl import irdl_op_definition, traits_def
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from .. import dtype as dt
from ..attrs import BOOL, DIM, INT
from ..autodiff import differentiable, gradients
from ..op import Builder, Node, Op, Value, current_builder
from ..sym import Dim
from ..types import TensorMeta, meta_of, to_type
from .creation import full_like

Runner = Callable[..., list[np.ndarray]]


@irdl_op_definition
class Yield(AbstractYieldOperation[Attribute]):
    """Ends a region and gives its results."""

    name = "calque.yield"
    traits = traits_def(IsTerminator())


class Control(Op):
    """Base of the operators with regions, whose result types are those that a region yields."""

    PARTIAL = True
    traits: ClassVar[OpTraits] = OpTraits(lambda: (Pure(), IsolatedFromAbove()))

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        """Run on arrays; one runner per region takes its arguments and gives what it yields."""
        raise NotImplementedError(self.name)

    def check(self) -> None:
        """Raises RuntimeError where operands, regions and results do not fit together."""
        raise NotImplementedError(self.name)

    def verify_(self) -> None:
        for key in self.ATTRS:
            if key not in self.attributes:
                raise VerifyException(f"'{self.name}' lacks the attribute '{key}'")
        IsolatedFromAbove().verify(self)
        if len(self.regions) != len(self.REGIONS):
            raise VerifyException(f"'{self.name}' has {len(self.REGIONS)} regions")
        for region in self.regions:
            if len(region.blocks) != 1 or not isinstance(region.block.last_op, Yield):
                raise VerifyException(f"a region of '{self.name}' is one block that ends in yield")
        try:
            self.check()
        except (RuntimeError, ValueError, TypeError) as error:
            raise VerifyException(f"'{self.name}': {error}") from error


def yielded(region: Region) -> tuple[SSAValue, ...]:
    """The values that a region yields."""
    last = region.block.last_op
    assert isinstance(last, Yield)
    return tuple(last.operands)


def region(
    metas: Sequence[TensorMeta], body: Callable[..., Sequence[SSAValue] | SSAValue]
) -> Region:
    """A region with arguments of these metas that yields what `body(*arguments)` returns."""
    block = Block(arg_types=[to_type(m) for m in metas])
    with Builder(block, location=current_builder().location):
        results = body(*block.args)
    results = (results,) if isinstance(results, SSAValue) else tuple(results)
    block.add_op(Yield(*results))
    return Region(block)


def _emit(
    op: type[Control],
    operands: Sequence[SSAValue],
    attrs: dict[str, Any],
    regions: Sequence[Region],
    results: Sequence[TensorMeta],
) -> tuple[SSAValue, ...]:
    builder = current_builder()
    made = op.create(
        operands=operands,
        result_types=[to_type(m) for m in results],
        attributes={k: op.ATTRS[k].encode(v) for k, v in attrs.items()},
        regions=regions,
        location=builder.location() if builder.location is not None else None,
    )
    made.check()
    builder.insert(made)
    return tuple(made.results)


def _metas(values: Sequence[SSAValue]) -> list[TensorMeta]:
    return [meta_of(v) for v in values]


def _same(what: str, found: Sequence[TensorMeta], wanted: Sequence[TensorMeta]) -> None:
    if list(found) != list(wanted):
        raise RuntimeError(
            f"{what}: expected {', '.join(map(str, wanted)) or 'nothing'}, got "
            f"{', '.join(map(str, found)) or 'nothing'}"
        )


# ---- cond ------------------------------------------------------------------------------------


class Cond(Control):
    """The results of one of two regions on the operands, chosen by a bool."""

    name = "calque.cond"
    REGIONS = ("then", "else")
    SAVED = ((0,), ())

    def check(self) -> None:
        predicate, *rest = _metas(self.operands)
        if predicate.dtype is not dt.bool_ or predicate.rank:
            raise RuntimeError(f"expected the predicate as a 0-d bool tensor, got {predicate}")
        first, second = (_metas(yielded(r)) for r in self.regions)
        for name, r in zip(self.REGIONS, self.regions, strict=True):
            _same(f"the operands of the branch '{name}'", _metas(r.block.args), rest)
        _same("the branches must return the same kinds of tensors", second, first)
        _same("the results", _metas(self.results), first)

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        return runners[0 if operands[0] else 1](*operands[1:])

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        """A cond of the branches' derivatives, each of which computes its branch anew."""
        predicate, *operands = node.operands
        reached = [i for i, g in enumerate(cotangents) if g is not None]
        given = [g for g in cotangents if g is not None]
        wanted = [i for i, v in enumerate(operands) if node.needs[1 + i] and differentiable(v)]
        derived = [_derivative(r, reached, given, wanted) for r in node.regions]
        # What neither branch depends on has no cotangent.
        kept = [k for k in range(len(wanted)) if any(found[k] is not None for _, found in derived)]
        regions = []
        for block, found in derived:
            with Builder(block, location=current_builder().location):
                values = [_or_zeros(found[k], block.args[wanted[k]]) for k in kept]
            block.add_op(Yield(*values))
            regions.append(Region(block))
        used = _prune([r.block for r in regions])
        passed = [v for i, v in enumerate((*operands, *given)) if i in used]
        results = [meta_of(operands[wanted[k]]) for k in kept]
        made = iter(_emit(cls, [predicate, *passed], {}, regions, results) if kept else ())
        out: list[Value | None] = [None] * len(node.operands)
        for k in kept:
            out[1 + wanted[k]] = next(made)
        return out


def _derivative(
    source: Region,
    reached: Sequence[int],
    cotangents: Sequence[SSAValue],
    wanted: Sequence[int],
) -> tuple[Block, list[SSAValue | None]]:
    """A block on the arguments of a region and the cotangents of its results `reached` that
    computes the cotangents of the arguments `wanted`."""
    inner = source.block
    block = Block(arg_types=[*(a.type for a in inner.args), *(g.type for g in cotangents)])
    outputs = _copy(inner, block, block.args[: len(inner.args)])
    given = block.args[len(inner.args) :]
    with Builder(block, location=current_builder().location):
        found = gradients([outputs[i] for i in reached], given, [block.args[i] for i in wanted])
    return block, found


def _copy(source: Block, into: Block, args: Sequence[SSAValue]) -> list[SSAValue]:
    """Append the operations of a block, on other arguments; what it yields there."""
    values: dict[SSAValue, SSAValue] = dict(zip(source.args, args, strict=True))
    last = source.last_op
    assert last is not None
    for op in source.ops:
        if op is not last:
            into.add_op(op.clone(values))
    return [values.get(v, v) for v in last.operands]


def _or_zeros(value: SSAValue | None, like: SSAValue) -> SSAValue:
    return full_like(like, 0) if value is None else value


def _prune(blocks: Sequence[Block], removable: Collection[int] | None = None) -> set[int]:
    """Remove dead operations, then the arguments that no block uses; the positions that stay."""
    for block in blocks:
        op: Operation | None = block.last_op
        while op is not None:
            before = op.prev_op
            if op.results and all(r.first_use is None for r in op.results):
                block.erase_op(op)
            op = before
    stay: set[int] = set()
    for i in reversed(range(len(blocks[0].args))):
        fixed = removable is not None and i not in removable
        if fixed or any(b.args[i].first_use is not None for b in blocks):
            stay.add(i)
        else:
            for b in blocks:
                b.erase_arg(b.args[i])
    return stay


# ---- scan ------------------------------------------------------------------------------------


class Scan(Control):
    """A loop that carries tensors and goes along the leading dimension of others.

    Operands are the carried tensors' first values (`carries` of them), the tensors `xs` to go
    along, and constants; the body takes the carried tensors, one element of each of the xs, and
    the constants. It yields the next carried tensors and what is to be stacked. Results are the
    last carried tensors and the stacks. `reverse` goes from the last element to the first.
    """

    name = "calque.scan"
    ATTRS = {"carries": INT, "xs": INT, "length": DIM, "reverse": BOOL}
    REGIONS = ("body",)

    def check(self) -> None:
        a = self.attrs
        n, m, length = a["carries"], a["xs"], a["length"]
        metas = _metas(self.operands)
        body, out = self.regions[0], _metas(yielded(self.regions[0]))
        elements = []
        for x in metas[n : n + m]:
            if x.rank == 0 or x.shape[0] != length:
                raise RuntimeError(f"scan: expected {length} elements along {x}")
            elements.append(x.with_shape(x.shape[1:]))
        taken = [*metas[:n], *elements, *metas[n + m :]]
        _same("scan: the arguments of the body", _metas(body.block.args), taken)
        _same("scan: the body must return carried tensors as it takes them", out[:n], metas[:n])
        stacks = [y.with_shape((length, *y.shape)) for y in out[n:]]
        _same("scan: the results", _metas(self.results), [*out[:n], *stacks])

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        n, m, length = attrs["carries"], attrs["xs"], attrs["length"]
        carried, xs, consts = list(operands[:n]), operands[n : n + m], operands[n + m :]
        rows: list[list[np.ndarray]] = [[] for _ in self.results[n:]]
        for i in range(length):
            at = length - 1 - i if attrs["reverse"] else i
            out = runners[0](*carried, *(np.asarray(x[at]) for x in xs), *consts)
            carried = out[:n]
            for row, y in zip(rows, out[n:], strict=True):
                row.append(y)
        step = -1 if attrs["reverse"] else 1
        stacks = [
            np.stack(row[::step]) if row else _empty(meta_of(r))
            for row, r in zip(rows, self.results[n:], strict=True)
        ]
        return carried + stacks

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        """A scan the other way whose body is the body's derivative. It carries the cotangents of
        the carried tensors and adds up those of the constants; the carried tensors of each step
        come as stacks that the forward scan is made to give, and the step is computed anew."""
        (forward,) = {r.owner for r in node.results}
        assert isinstance(forward, Scan)
        return _Transposed(forward, node, cotangents).emit()

    def carried_stacks(self, which: Sequence[int]) -> list[SSAValue]:
        """What the chosen carried tensors were at the start of each step: further results of this
        scan, which is extended where it does not give them yet."""
        block, length = self.regions[0].block, self.attrs["length"]
        last, known = block.last_op, self.attrs["carries"]
        assert last is not None
        found: list[SSAValue] = []
        for i in which:
            arg = block.args[i]
            places = [k for k, v in enumerate(last.operands) if v is arg and k >= known]
            if not places:
                m = meta_of(arg)
                last.operands = [*last.operands, arg]
                stack = to_type(m.with_shape((length, *m.shape)))
                made = OpResult(stack, self, len(self.results))
                self.results = SSAValues((*self.results, made))
                places = [len(self.results) - 1]
            found.append(self.results[places[0]])
        return found


def _empty(m: TensorMeta) -> np.ndarray:
    """The stack of no steps."""
    return np.zeros([d if isinstance(d, int) else 0 for d in m.shape], m.dtype.numpy)


class _Transposed:
    """The scan that computes the cotangents of another's operands."""

    def __init__(self, forward: Scan, node: Node, cotangents: Sequence[Value | None]) -> None:
        self.forward, self.node, self.attrs = forward, node, forward.attrs
        self.n, self.m = self.attrs["carries"], self.attrs["xs"]
        body = forward.regions[0].block
        args = list(body.args)
        self.operands = list(forward.operands)
        # Every float that is carried, for what is carried feeds what needs a gradient.
        self.carried = [i for i in range(self.n) if differentiable(args[i])]
        wanted = [i for i in range(self.n, len(args)) if node.needs[i] and differentiable(args[i])]
        self.xs = [i for i in wanted if i < self.n + self.m]
        self.consts = [i for i in wanted if i >= self.n + self.m]
        self.final = [_or_zeros(cotangents[i], node.results[i]) for i in self.carried]
        self.ys = [i for i in range(self.n, len(cotangents)) if cotangents[i] is not None]
        self.stacked: list[SSAValue] = [g for g in cotangents[self.n :] if g is not None]
        self.body = body

    def emit(self) -> list[Value | None]:
        """The cotangents of all operands."""
        block = self._block()
        zeros = [full_like(self.operands[i], 0) for i in self.consts]
        inits = [*self.final, *zeros]
        along = [*range(self.n), *self.operands[self.n : self.n + self.m], *self.stacked]
        consts = self.operands[self.n + self.m :]
        first = len(inits)
        used = _prune([block], range(first, first + len(along) + len(consts)))
        stacks = [i for i in range(self.n) if first + i in used]
        residuals = iter(self.forward.carried_stacks(stacks))
        xs = [
            next(residuals) if isinstance(x, int) else x
            for k, x in enumerate(along)
            if first + k in used
        ]
        kept = [c for k, c in enumerate(consts) if first + len(along) + k in used]
        results = iter(
            _scan(inits, xs, kept, Region(block), self.attrs["length"], not self.attrs["reverse"])
        )
        out: list[Value | None] = [None] * len(self.operands)
        for i in (*self.carried, *self.consts, *self.xs):
            out[i] = next(results)
        return out

    def _block(self) -> Block:
        """The body: (cotangents of carried, sums for constants | carried, elements of xs,
        cotangents of what was stacked | constants) -> (carried, sums | cotangents of xs)."""
        args = self.body.args
        row = [m.with_shape(m.shape[1:]) for m in map(meta_of, self.stacked)]
        groups = [
            [args[i].type for i in self.carried],
            [args[i].type for i in self.consts],
            [a.type for a in args[: self.n + self.m]],
            [to_type(m) for m in row],
            [a.type for a in args[self.n + self.m :]],
        ]
        block = Block(arg_types=[t for group in groups for t in group])
        given = iter(block.args)
        carried, sums, inputs, stacked, consts = ([next(given) for _ in g] for g in groups)
        inputs += consts
        outputs = _copy(self.body, block, inputs)
        with Builder(block, location=current_builder().location):
            from .elementwise import add

            sources = [inputs[i] for i in (*self.carried, *self.consts, *self.xs)]
            reached = [outputs[i] for i in (*self.carried, *self.ys)]
            found = gradients(reached, [*carried, *stacked], sources)
            split = len(carried), len(carried) + len(sums)
            after = [
                _or_zeros(g, v) for g, v in zip(found[: split[0]], sources[: split[0]], strict=True)
            ]
            after += [
                total if g is None else add(total, g)
                for g, total in zip(found[slice(*split)], sums, strict=True)
            ]
            after += [
                _or_zeros(g, v) for g, v in zip(found[split[1] :], sources[split[1] :], strict=True)
            ]
        block.add_op(Yield(*after))
        return block


def _scan(
    inits: Sequence[SSAValue],
    xs: Sequence[SSAValue],
    consts: Sequence[SSAValue],
    body: Region,
    length: Dim,
    reverse: bool,
) -> tuple[SSAValue, ...]:
    out = _metas(yielded(body))
    n = len(inits)
    results = [*out[:n], *(y.with_shape((length, *y.shape)) for y in out[n:])]
    attrs = {"carries": n, "xs": len(xs), "length": length, "reverse": reverse}
    return _emit(Scan, [*inits, *xs, *consts], attrs, [body], results)


# ---- while -----------------------------------------------------------------------------------


class While(Control):
    """Applies a body to carried tensors as long as a test of them holds; no reverse mode."""

    name = "calque.while"
    ATTRS = {"carries": INT}
    REGIONS = ("test", "do")

    def check(self) -> None:
        metas, n = _metas(self.operands), self.attrs["carries"]
        test, body = self.regions
        holds = _metas(yielded(test))
        for r in self.regions:
            _same("while: the arguments of the regions", _metas(r.block.args), metas)
        if len(holds) != 1 or holds[0].dtype is not dt.bool_ or holds[0].rank:
            raise RuntimeError("while: the test must return one 0-d bool tensor")
        _same("while: the body must return what it carries", _metas(yielded(body)), metas[:n])
        _same("while: the results", _metas(self.results), metas[:n])

    def interpret(
        self, runners: Sequence[Runner], operands: Sequence[np.ndarray], attrs: dict[str, Any]
    ) -> list[np.ndarray]:
        carried, consts = list(operands[: attrs["carries"]]), operands[attrs["carries"] :]
        while runners[0](*carried, *consts)[0]:
            carried = runners[1](*carried, *consts)
        return carried

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        raise NotImplementedError


# ---- the functions ---------------------------------------------------------------------------
#
# They emit at the current builder; `region` makes the regions. How Python functions on tensors
# become regions is the caller's business, as is evaluating on data.


def cond(
    predicate: SSAValue, operands: Sequence[SSAValue], then: Region, otherwise: Region
) -> tuple[SSAValue, ...]:
    """What `then` yields on the operands where the 0-d bool holds, else what `otherwise` does.

    Raises RuntimeError where the branches yield different shapes or dtypes.
    """
    results = _metas(yielded(then))
    return _emit(Cond, [predicate, *operands], {}, [then, otherwise], results)


def scan(
    inits: Sequence[SSAValue],
    xs: Sequence[SSAValue],
    consts: Sequence[SSAValue],
    body: Region,
    *,
    length: Dim | None = None,
    reverse: bool = False,
) -> tuple[SSAValue, ...]:
    """The last carried tensors and the stacks of what `body` yields beyond them.

    The body takes (*carried, *one element of each x, *consts). `length` is needed without xs.
    Raises RuntimeError where shapes or dtypes do not fit.
    """
    if length is None:
        if not xs:
            raise RuntimeError("scan: give the length of a loop that goes along no tensor")
        length = meta_of(xs[0]).shape[0]
    return _scan(inits, xs, consts, body, length, reverse)


def while_loop(
    inits: Sequence[SSAValue], consts: Sequence[SSAValue], test: Region, body: Region
) -> tuple[SSAValue, ...]:
    """The carried tensors when `test` no longer holds; both regions take (*carried, *consts)."""
    attrs = {"carries": len(inits)}
    return _emit(While, [*inits, *consts], attrs, [test, body], _metas(inits))


OPS: tuple[type[Op], ...] = (Cond, Scan, While)
