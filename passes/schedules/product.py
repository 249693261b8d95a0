"""Products of matrices: what is multiplied, over which loops, in what blocks.

A kernel is a product if its results depend on one reduction whose body is a sum of products
``a * b``. The loops of the result fall into those that only `a` depends on (rows), those that
only `b` depends on (columns) and those that both depend on (batches).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, Float32Type, Float64Type
from xdsl.ir import Attribute, SSAValue

from ...ir.target import Target
from .access import Access
from .blocks import IN_ORDER, K_WHOLE, TRANSPOSED, Blocks, Sizes, choose
from .emit import is_row
from .expr import Apply, Choose, Expr, IndexOf, Load, Memory, Reduce, Result, Rows, walk
from .generic import is_plain
from .index import ONE, ZERO, Atom, Ix, coefficient
from .options import Blocking
from .plan import Store, build, choose_loops, score


@dataclass(slots=True)
class View:
    """A matrix that lies in memory: element (i, j) is at `offset + i * rows + j * columns`."""

    memory: Memory
    offset: Ix
    rows: Ix
    columns: Ix


@dataclass(slots=True)
class Product:
    """``sum over k of a[m, k] * b[k, n]``, and what becomes of it.

    `rows` and `columns` are the loops m and n (m may be missing), `outer` all other loops. `a`
    and `b` are views if they can be read where they are, else None. `out` is the result as a
    matrix of the accumulators' type if the sums may be kept there. `kept` is one of `outer` that
    stands inside of a task, because a packed A serves all its iterations. Where the factors have
    changed places (`transposed`) it is the rows along which the result is contiguous. A `thin` one
    has very few rows, and a transposed B. The factors are also given as rows along k, where they do
    not lie along k as a whole.
    """

    result: Result
    stores: list[Store]
    left: Expr
    right: Expr
    rows: Atom | None
    columns: Atom
    k: Atom
    outer: list[Atom]
    element: Attribute
    a: View | None = None
    b: View | None = None
    out: View | None = None
    kept: Atom | None = None
    transposed: bool = False
    thin: bool = False
    left_rows: Rows | None = None
    right_rows: Rows | None = None
    tile: Blocks = field(default_factory=lambda: Blocks(1, 1, 1, 1, 1, 1))

    @property
    def m(self) -> Ix:
        return ONE if self.rows is None else self.rows.extent

    @property
    def n(self) -> Ix:
        return self.columns.extent


def find_product(
    access: Access,
    target: Target,
    blocking: Blocking,
    shape: tuple[Ix, ...],
    results: Sequence[tuple[SSAValue, Memory]],
) -> Product | None:
    """The product that results of one shape are computed from, None if they are none."""
    loops, stores, runs = choose_loops(access, shape, results)
    product = _product(loops, stores)
    if product is None:
        return None
    wider = _merged(product, loops, runs, target)
    if wider is not None:
        merged = _product(*build(access, shape, results, wider))
        product = merged if merged is not None and _is_joined(merged) else product
    product = _cheaper(product, target, blocking)
    _keep(product, target)
    return product


def _cheaper(p: Product, target: Target, blocking: Blocking) -> Product:
    """The product with its blocks, its factors in these or in changed places.

    A B whose columns are contiguous is transposed while it is packed. With few rows it is cheaper
    to read its columns in place as the rows of A, and to transpose the result.
    """
    _look(p)
    cost, p.tile = _blocks(p, target, blocking)
    p.thin = _is_thin(p)
    if p.rows is None or p.out is None or p.thin or target.kind != "cpu":
        return p
    other = replace(
        p, left=p.right, right=p.left, rows=p.columns, columns=p.rows, transposed=True,
        left_rows=p.right_rows, right_rows=p.left_rows,
    )  # fmt: skip
    _look(other)
    if other.a is None or other.a.columns != ONE or other.out is None:
        return p
    other_cost, other.tile = _blocks(other, target, blocking)
    return other if other_cost < cost else p


THIN = 4
"""At most so many rows are computed without packing a transposed B."""


def _is_thin(p: Product) -> bool:
    m, width = p.m.constant, p.tile.width
    if m is None or m > THIN or p.n.constant is None or p.k.extent.constant is None:
        return False
    return score(p.columns, width, p.right) < score(p.k, width, p.right)


def _look(p: Product) -> None:
    """Find what can be read and written where it is."""
    p.a = _view(p.left, p.rows, p.k, p.element)
    p.b = _view(p.right, p.k, p.columns, p.element)
    if p.b is not None and p.b.columns != ONE:
        p.b = None
    first = p.stores[0]
    p.out = None
    if first.memory.element == p.element:
        p.out = _matrix(first.memory, first.indices, p.rows, p.columns)
        if p.out is not None and (p.out.rows if p.transposed else p.out.columns) != ONE:
            p.out = None


def _product(loops: Sequence[Atom], stores: list[Store]) -> Product | None:
    """The product that is stored, None if there is none."""
    found = [x for x in walk(*[s.value for s in stores]) if isinstance(x, Result)]
    if len(found) != 1:
        return None
    (result,) = found
    r = result.reduce
    if r.order != "dot" or r.product is None or len(r.loops) != 1:
        return None
    if not isinstance(result.type, Float32Type | Float64Type):
        return None
    if any(x.extent.constant == 0 for x in (*loops, *r.loops)):
        return None
    return _classify(result, r, loops, stores)


FEW_COLUMNS = 4
"""With fewer vectors of columns, columns of several dimensions become one loop."""


def _merged(
    p: Product, loops: Sequence[Atom], runs: Sequence[Sequence[int]], target: Target
) -> list[list[int]] | None:
    """The dimensions of loops where the few columns are one with the loops before them, None
    where that cannot be."""
    few = FEW_COLUMNS * target.width(p.element.bitwidth)  # pyright: ignore[reportAttributeAccessIssue]
    n = p.columns.extent.constant
    last = loops.index(p.columns)
    if n is None or n >= few:
        return None
    first = last
    while first and loops[first - 1] is not p.rows and loops[first - 1] in p.outer:
        before = loops[first - 1]
        if before.deps & p.left.deps or not before.deps & p.right.deps:
            break
        first -= 1
    if first == last:
        return None
    joined = [d for run in runs[first : last + 1] for d in run]
    if joined != list(range(joined[0], joined[-1] + 1)):
        return None
    return [*map(list, runs[:first]), joined, *map(list, runs[last + 1 :])]


def _is_joined(p: Product) -> bool:
    """Whether what is stored, apart from the product itself, does not tell columns apart."""
    steps = [i for s in p.stores for i in s.indices]
    for x in walk(*[s.value for s in p.stores], reductions=False):
        if isinstance(x, Load | Choose | IndexOf) and not is_plain([x], p.columns.deps):
            return False
    return not any(
        a.deps & p.columns.deps and a.kind != "loop" for i in steps for m, _ in i.terms for a in m
    )


def _classify(
    result: Result, r: Reduce, loops: Sequence[Atom], stores: list[Store]
) -> Product | None:
    """Sort the loops. The loop along which the result is contiguous becomes the columns, factors
    changing places if need be."""
    assert r.product is not None
    left, right = r.product
    left_rows, right_rows = r.rows
    rows = [x for x in loops if left.deps & x.deps and not right.deps & x.deps]
    columns = [x for x in loops if right.deps & x.deps and not left.deps & x.deps]
    both = [x for x in loops if left.deps & right.deps & x.deps]
    if len(rows) + len(columns) + len(both) < len(loops):
        return None
    first = stores[0]
    along = [x for x in loops if is_row(first.memory, [coefficient(i, x) for i in first.indices])]
    if along and along[0] in both:
        return None
    if (along and along[0] in rows) or not columns:
        left, right, rows, columns = right, left, columns, rows
        left_rows, right_rows = right_rows, left_rows
    if not columns:
        return None
    n = along[0] if along and along[0] in columns else columns[-1]
    m = max(rows, key=lambda x: x.extent.constant or 1 << 30, default=None)
    others = [x for x in loops if x is not n and x is not m]
    return Product(
        result, stores, left, right, m, n, r.loops[0], others, result.type,
        left_rows=left_rows, right_rows=right_rows,
    )  # fmt: skip


def _view(e: Expr, rows: Atom | None, columns: Atom | None, element: Attribute) -> View | None:
    """A factor that is an element of memory, perhaps widened, as a matrix."""
    if isinstance(e, Apply) and isinstance(e.op, arith.ExtFOp):
        (e,) = e.args
        if not isinstance(element, Float32Type):
            return None
    elif e.type != element:
        return None
    if not isinstance(e, Load) or e.guards or not isinstance(e.type, AnyFloat):
        return None
    return _matrix(e.memory, e.indices, rows, columns)


def _matrix(
    memory: Memory, indices: Sequence[Ix], rows: Atom | None, columns: Atom | None
) -> View | None:
    offset = ZERO
    for index, stride in zip(indices, memory.strides, strict=True):
        offset = offset + index * stride
    strides = []
    for loop in (rows, columns):
        if loop is None:
            strides.append(ZERO)
            continue
        step = coefficient(offset, loop)
        if step is None:
            return None
        strides.append(step)
        offset = offset - step * Ix.of(loop)
    bits = (rows.deps if rows else 0) | (columns.deps if columns else 0)
    if (offset.deps | strides[0].deps | strides[1].deps) & bits:
        return None
    return View(memory, offset, *strides)


FEW_ROWS = 4
"""With fewer register tiles of rows, a B that can be read in place is not copied."""


def _blocks(p: Product, target: Target, blocking: Blocking) -> tuple[float, Blocks]:
    """What the product costs, and its blocks, from the sizes that are known; decides whether A
    and B are copied."""
    m, n, k = p.m.constant, p.n.constant, p.k.extent.constant
    bits: int = p.element.bitwidth  # pyright: ignore[reportAttributeAccessIssue]
    width = target.width(bits)
    if p.a is not None and p.a.columns != ONE:
        p.a = None  # a column of each tile: every element would come from another line
    many = m is None or m >= FEW_ROWS * target.tile_shape[0]
    if p.b is not None and many and not _is_small(n, k, bits, target):
        p.b = None
    across = score(p.columns, width, p.right) >= along_k(p, width, p.right, p.right_rows)
    outer = 1
    for loop in p.outer:
        outer *= loop.extent.constant or 1
    sizes = Sizes(
        m, n, k, outer, bits // 8,
        a=0 if p.a is not None else IN_ORDER + _work(p.left),
        b=0 if p.b is not None else _work(p.right) + (IN_ORDER if across else TRANSPOSED),
        scratch=p.out is None,
        transposed=p.transposed,
    )  # fmt: skip
    return choose(sizes, target, blocking)


SMALL = 4
"""A B of at most so many times the nearest cache is not copied either."""


def _is_small(n: int | None, k: int | None, bits: int, target: Target) -> bool:
    return n is not None and k is not None and n * k * bits // 8 <= SMALL * target.l1


def along_k(p: Product, width: int, factor: Expr, rows: Rows | None) -> int:
    """How well the elements of a factor along k suit as vectors."""
    if rows is None:
        return score(p.k, width, factor)
    return score(rows.inner, width, rows.value)


MATH = 16
"""About how many instructions a function like exp is."""


def _work(factor: Expr) -> int:
    """Instructions that compute a vector of a factor."""
    operations = [x.op for x in walk(factor) if isinstance(x, Apply)]
    return sum(MATH if op.dialect_name() == "math" else 1 for op in operations)


def _kept_loops(p: Product) -> list[Atom]:
    """The loops that A does not depend on, where one of them may stand inside of a task."""
    k = p.k.extent.constant
    if p.out is None and (k is None or k > K_WHOLE):
        return []
    return [x for x in p.outer if not x.deps & p.left.deps and x.extent.constant != 1]


def _keep(p: Product, target: Target) -> None:
    """Choose a loop that A does not depend on, to pack A once for many of its iterations."""
    free = _kept_loops(p)
    if p.a is not None or not free:
        return
    p.kept = max(free, key=lambda x: x.extent.constant or 1 << 30)
    tasks = 1
    for loop in p.outer:
        tasks *= 1 if loop is p.kept else loop.extent.constant or 1
    count = p.kept.extent.constant
    pieces = -(-4 * target.threads // tasks)
    p.tile.kept = 8 if count is None else max(1, -(-count // pieces))
