"""Loops over sequences: `scan`, and its derivative, which is a scan the other way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Block, OpResult, Region, SSAValue, SSAValues

from ..attrs import BOOL, DIM, INT
from ..autodiff import differentiable, gradients
from ..errors import runtime_error
from ..op import Builder, Node, Op, Value, current_builder
from ..sym import Dim, shown
from ..types import TensorMeta, meta_of, to_type
from .control import (
    Control,
    Runner,
    Yield,
    copy_into,
    emit,
    expect_same,
    metas_of,
    or_zeros,
    prune,
    yielded,
)
from .creation import full_like

NO_LENGTH = "scan: give the length of a loop that goes along no tensor"
CARRIED = "scan: the body must return carried tensors as it takes them"


def elements_of(xs: Sequence[TensorMeta], length: Dim) -> list[TensorMeta]:
    """What a step takes of each of the xs. Raises RuntimeError where one has another length."""
    for x in xs:
        if x.rank == 0 or x.shape[0] != length:
            raise runtime_error(f"scan: expected {shown(length)} elements along {x}")
    return [x.with_shape(x.shape[1:]) for x in xs]


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
        metas = metas_of(self.operands)
        body, out = self.regions[0], metas_of(yielded(self.regions[0]))
        elements = elements_of(metas[n : n + m], length)
        taken = [*metas[:n], *elements, *metas[n + m :]]
        expect_same("scan: the arguments of the body", metas_of(body.block.args), taken)
        expect_same(CARRIED, out[:n], metas[:n])
        stacks = [y.with_shape((length, *y.shape)) for y in out[n:]]
        expect_same("scan: the results", metas_of(self.results), [*out[:n], *stacks])

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
    def fold(cls, node: Node) -> Sequence[Value] | None:
        """The same loop without stacks that nobody reads, and without what only they needed."""
        a = node.attrs
        n, m = a["carries"], a["xs"]
        live = [i for i, r in enumerate(node.results) if i < n or r.first_use is not None]
        source = node.regions[0].block
        unread = [v for v in source.args[n:] if v.first_use is None]
        if len(live) == len(node.results) and not unread:
            return None
        block = Block(arg_types=[v.type for v in source.args])
        outputs = copy_into(source, block, block.args)
        block.add_op(Yield(*(outputs[i] for i in live)))
        used = prune([block], range(n, len(source.args)))
        kept = [v for i, v in enumerate(node.operands) if i in used]
        xs = sum(1 for i in used if n <= i < n + m)
        made = _scan(kept[:n], kept[n : n + xs], kept[n + xs :], Region(block), a["length"],
                     a["reverse"])  # fmt: skip
        places = dict(zip(live, made, strict=True))
        return [places.get(i, kept[0] if kept else made[0]) for i in range(len(node.results))]

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
        self.final = [or_zeros(cotangents[i], node.results[i]) for i in self.carried]
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
        used = prune([block], range(first, first + len(along) + len(consts)))
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
        outputs = copy_into(self.body, block, inputs)
        with Builder(block, location=current_builder().location):
            from .elementwise import add

            sources = [inputs[i] for i in (*self.carried, *self.consts, *self.xs)]
            reached = [outputs[i] for i in (*self.carried, *self.ys)]
            found = gradients(reached, [*carried, *stacked], sources)
            split = len(carried), len(carried) + len(sums)
            after = [
                or_zeros(g, v) for g, v in zip(found[: split[0]], sources[: split[0]], strict=True)
            ]
            after += [
                total if g is None else add(total, g)
                for g, total in zip(found[slice(*split)], sums, strict=True)
            ]
            after += [
                or_zeros(g, v) for g, v in zip(found[split[1] :], sources[split[1] :], strict=True)
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
    out = metas_of(yielded(body))
    n = len(inits)
    results = [*out[:n], *(y.with_shape((length, *y.shape)) for y in out[n:])]
    attrs = {"carries": n, "xs": len(xs), "length": length, "reverse": reverse}
    return emit(Scan, [*inits, *xs, *consts], attrs, [body], results)


# ---- the function ----------------------------------------------------------------------------


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
            raise runtime_error(NO_LENGTH)
        length = meta_of(xs[0]).shape[0]
    return _scan(inits, xs, consts, body, length, reverse)


OPS: tuple[type[Op], ...] = (Scan,)
