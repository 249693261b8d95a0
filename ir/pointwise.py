"""Tensors that are not computed yet, and how they end up in the body of one `linalg.generic`.

While operators are lowered, an elementwise result stays a `Lazy`: its body is written into each
operation that consumes it, with indexing maps composed, so broadcasts, transposes, casts and
chains of arithmetic take neither memory nor loops of their own. `Core.value` computes
one on its own where a consumer needs a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    IndexType,
    IntegerAttr,
    LocationAttr,
    TensorType,
    i32,
    i64,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.attrs import IteratorType, IteratorTypeAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
)

from . import dtype as dt
from . import maps
from .maps import IndexMap
from .scalar import ScalarBuilder
from .sym import Dim
from .types import TensorMeta

if TYPE_CHECKING:
    from .linalgcore import Core

Body: TypeAlias = Callable[..., SSAValue | Sequence[SSAValue]]

_INDEX = IndexType()
_ITERATORS = {
    "parallel": IteratorTypeAttr(IteratorType.PARALLEL),
    "reduction": IteratorTypeAttr(IteratorType.REDUCTION),
}
_iterators: dict[tuple[str, ...], ArrayAttr[Attribute]] = {}
_segments: dict[tuple[int, int], DenseArrayBase] = {}


@dataclass(slots=True, eq=False)
class Pointwise:
    """Tensors of one shape whose element at an index depends on the inputs' elements at mapped
    indices. Without `body` it is a view of its one input; `make` then builds it as an operation.
    """

    outs: Sequence[TensorMeta]
    inputs: Sequence[Tensor]
    maps: Sequence[IndexMap]
    body: Body | None
    unsigned: bool
    block: Block
    location: LocationAttr | None
    make: Callable[[], SSAValue] | None = None
    values: list[SSAValue | None] = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        """Whether it reads no memory: constants, indices and what is computed from them."""
        return all(
            isinstance(x, Lazy) and x.node.values[x.index] is None and x.node.is_free
            for x in self.inputs
        )


@dataclass(slots=True, eq=False)
class Lazy:
    """One result of a `Pointwise`."""

    node: Pointwise
    index: int

    @property
    def meta(self) -> TensorMeta:
        return self.node.outs[self.index]


Tensor: TypeAlias = SSAValue | Lazy


class BodyBuilder(ScalarBuilder):
    """The scalar builder inside of a body; it also knows where it is and can read tensors."""

    def __init__(self, owner: Core, block: Block, items: IndexMap, unsigned: bool) -> None:
        super().__init__(self._add, unsigned=unsigned)
        self._owner = owner
        self._items = items
        self._block = block

    def _add(self, op: Operation) -> None:
        if self._owner.location is not None:
            op.location = self._owner.location
        self._block.add_op(op)

    def index(self, dim: int) -> SSAValue:
        """The index along a dimension of the iteration space that the body was written for."""
        return self._resolve(maps.expression(self._items[dim]))

    def _resolve(self, expr: AffineExpr) -> SSAValue:
        match expr:
            case AffineConstantExpr():
                return self.constant(expr.value, _INDEX)
            case AffineDimExpr():
                dim = IntegerAttr(expr.position, i64)
                return self.emit(linalg.IndexOp, (), _INDEX, {"dim": dim})
            case AffineBinaryOpExpr(kind=AffineBinaryOpKind.Add):
                return self.add(self._resolve(expr.lhs), self._resolve(expr.rhs))
            case AffineBinaryOpExpr(kind=AffineBinaryOpKind.Mul):
                return self.mul(self._resolve(expr.lhs), self._resolve(expr.rhs))
        raise AssertionError(f"views make sums and products, not {expr}")

    def size(self, dim: Dim) -> SSAValue:
        """A size as an index."""
        return self._owner.size(dim)

    def extract(self, tensor: Tensor, indices: Sequence[SSAValue]) -> SSAValue:
        """One element of a tensor; the indices must be in range."""
        return self._owner.extract_into(self, tensor, indices)

    def check(self, condition: SSAValue, message: str) -> None:
        """Fail with `message` where the condition is false; what follows must be safe anyway."""
        self._owner.check_into(self, condition, message)


@dataclass(slots=True, eq=False)
class _Term:
    """What a scalar of the body is: an argument (leaf), or a node's body on other terms."""

    leaf: int
    node: Pointwise | None = None
    items: IndexMap = ()
    operands: list[tuple[_Term, int]] = field(default_factory=list)


class Generic:
    """One `linalg.generic` under construction: first its inputs are pulled in, then `emit`."""

    def __init__(self, owner: Core, extents: Sequence[Dim | None]) -> None:
        self.owner = owner
        self.extents = extents
        self.leaves: dict[tuple[SSAValue, IndexMap], int] = {}
        self._sliced: dict[tuple[SSAValue, IndexMap], int] = {}
        self._terms: dict[tuple[int, IndexMap], _Term] = {}
        self._scalars: dict[int, Sequence[SSAValue]] = {}

    def pull(self, x: Tensor, items: IndexMap) -> tuple[_Term, int]:
        """The term for x read through a map. What this iteration space would compute more than
        once per element is computed on its own first, unless it takes no memory."""
        while isinstance(x, Lazy):
            node = x.node
            known = node.values[x.index]
            if known is not None:
                x = known
            elif node.body is None:
                x, items = node.inputs[0], maps.compose(node.maps[0], items)
            elif maps.covers(items, len(self.extents)) or node.is_free:
                return self._node(node, items), x.index
            else:
                x = self.owner.value(x)
        return self._leaf(x, items), 0

    def _node(self, node: Pointwise, items: IndexMap) -> _Term:
        key = (id(node), items)
        term = self._terms.get(key)
        if term is None:
            pairs = zip(node.inputs, node.maps, strict=True)
            operands = [self.pull(x, maps.compose(m, items)) for x, m in pairs]
            term = self._terms[key] = _Term(-1, node, items, operands)
        return term

    def _leaf(self, x: SSAValue, items: IndexMap) -> _Term:
        key = (x, items)
        leaf = self._sliced.get(key)
        if leaf is None:
            source = self.owner.sliced(x, items, self.extents)
            leaf = self._sliced[key] = self.leaves.setdefault(source, len(self.leaves))
        return _Term(leaf)

    def scalar(self, term: tuple[_Term, int], block: Block) -> SSAValue:
        """The scalar of a term inside of the body."""
        what, result = term
        if what.node is None:
            return block.args[what.leaf]
        known = self._scalars.get(id(what))
        if known is None:
            node = what.node
            operands = [self.scalar(t, block) for t in what.operands]
            s = BodyBuilder(self.owner, block, what.items, node.unsigned)
            with self.owner.at(node.location):
                assert node.body is not None
                made = node.body(s, *operands)
            known = (made,) if isinstance(made, SSAValue) else tuple(made)
            self._scalars[id(what)] = known
        return known[result]

    def emit(
        self,
        inits: Sequence[SSAValue],
        out_maps: Sequence[IndexMap],
        iterators: tuple[str, ...],
        body: Callable[[Block, int], Sequence[SSAValue]],
    ) -> Sequence[SSAValue]:
        """Create the operation; `body(block, first accumulator)` gives the yielded scalars."""
        inputs = [*self.leaves, *self._shape_only(out_maps)]
        operands = [x for x, _ in inputs] + list(inits)
        block = Block(arg_types=[cast("TensorType[Any]", x.type).element_type for x in operands])
        results = body(block, len(inputs))
        block.add_op(linalg.YieldOp.create(operands=results))
        loops = len(self.extents)
        made = linalg.GenericOp.create(
            operands=operands,
            result_types=[x.type for x in inits],
            properties={
                "indexing_maps": ArrayAttr(
                    [maps.attribute(loops, m) for m in (*(m for _, m in inputs), *out_maps)]
                ),
                "iterator_types": iterator_types(iterators),
                "operandSegmentSizes": _segment_sizes(len(inputs), len(inits)),
            },
            regions=[Region(block)],
        )
        self.owner.insert(made)
        return made.results

    def _shape_only(self, out_maps: Sequence[IndexMap]) -> list[tuple[SSAValue, IndexMap]]:
        """An input that nothing reads, for the loops whose length no other operand tells."""
        told = {i for m in (*(m for _, m in self.leaves), *out_maps) for i in m}
        missing = tuple(i for i in range(len(self.extents)) if i not in told)
        if not missing:
            return []
        shape = [self.extents[i] for i in missing]
        known = [d for d in shape if d is not None]
        assert len(known) == len(shape)
        return [(self.owner.empty(TensorMeta(tuple(known), dt.bool_)), missing)]


def iterator_types(iterators: tuple[str, ...]) -> ArrayAttr[Attribute]:
    """The attribute of `("parallel", "reduction", …)`."""
    found = _iterators.get(iterators)
    if found is None:
        found = _iterators[iterators] = ArrayAttr([_ITERATORS[i] for i in iterators])
    return found


def _segment_sizes(inputs: int, outputs: int) -> DenseArrayBase:
    found = _segments.get((inputs, outputs))
    if found is None:
        found = _segments[inputs, outputs] = DenseArrayBase.from_list(i32, [inputs, outputs])
    return found
