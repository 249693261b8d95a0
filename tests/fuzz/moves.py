"""The kinds of steps that a random program takes, with their weights."""

from __future__ import annotations

from collections.abc import Callable

from calque.ir import dtype as dt
from calque.ir.sym import Dim, Expr
from calque.ir.types import TensorMeta

from . import functions as fn
from .generate import FLOATS, INTS, Generator

Move = Callable[[Generator], int | None]


def _unary(g: Generator) -> int | None:
    name = g.rng.choice(list(fn.UNARY))
    x = g.pick("f", exact=fn.UNARY[name].jumps)
    return None if x is None else g.apply(name, x)


def _binary(g: Generator) -> int | None:
    name = g.rng.choice(["add", "sub", "mul", "add", "mul", *fn.BINARY])
    return _pair(g, name, "f", fn.BINARY[name].jumps)


def _compare(g: Generator) -> int | None:
    return _pair(g, g.rng.choice(list(fn.COMPARE)), g.rng.choice("fi"), True)


def _integer(g: Generator) -> int | None:
    if g.rng.random() < 0.4:
        x = g.pick("i")
        return None if x is None else g.apply(g.rng.choice(list(fn.INTEGER_UNARY)), x)
    return _pair(g, g.rng.choice(list(fn.INTEGER_BINARY)), "i", False)


def _bool(g: Generator) -> int | None:
    x = g.pick("b")
    if x is None:
        return None
    if g.rng.random() < 0.3:
        return g.apply("logical_not", x)
    return _pair(g, g.rng.choice(list(fn.BOOL_BINARY)), "b", False)


def _pair(g: Generator, name: str, kind: str, exact: bool) -> int | None:
    """A function of two values that broadcast against each other."""
    x = g.pick(kind, exact=exact)
    if x is None:
        return None
    y = g.fitting(_partner(g, g.meta(x)), exact=exact)
    return g.apply(name, *((x, y) if g.rng.random() < 0.5 else (y, x)))


def _partner(g: Generator, meta: TensorMeta) -> TensorMeta:
    """Of the same shape, or one that broadcasts to it."""
    if g.rng.random() < 0.55:
        return meta
    shape = meta.shape[g.rng.randint(0, meta.rank) :]
    return meta.with_shape([1 if g.rng.random() < 0.3 else d for d in shape])


def _where(g: Generator) -> int | None:
    condition, x = g.pick("b", exact=True), g.pick("fi")
    if condition is None or x is None:
        return None
    y = g.fitting(_partner(g, g.meta(x)))
    return g.apply("where", condition, x, y)


def _cast(g: Generator) -> int | None:
    x = g.pick("fib")
    if x is None:
        return None
    if g.meta(x).dtype.kind == "f" and g.rng.random() < 0.4:
        x = g.pick("f", exact=True)
        return None if x is None else g.apply("truncate", x, dtype=g.rng.choice(INTS))
    dtype = g.rng.choice(FLOATS if g.meta(x).dtype.kind == "f" else (*FLOATS, *INTS))
    if dtype is g.meta(x).dtype:
        return None
    return g.apply("cast", x, dtype=dtype)


def _view(g: Generator, meta: TensorMeta) -> tuple[object, ...]:
    """One view of a tensor."""
    shape = meta.shape
    kind = g.rng.choice(("slice", "slice", "transpose", "reshape"))
    if kind == "slice":
        parts = [_range(g, d) for d in shape]
        return ("slice", *(tuple(p[i] for p in parts) for i in range(3)))
    if kind == "transpose":
        return ("transpose", tuple(g.rng.sample(range(len(shape)), len(shape))))
    return ("reshape", _reshaped(g, shape))


def _range(g: Generator, size: Dim) -> tuple[Dim, Dim, int]:
    """Start, limit and stride within a dimension; every symbol is at least two."""
    if g.rng.random() < 0.4:
        return 0, size, 1
    least = 2 if isinstance(size, Expr) else size
    if least < 2:
        return 0, size, 1
    match g.rng.choice(("from", "to", "one", "last", "strided", "down", "inner")):
        case "from":
            return 1, size, 1
        case "to":
            return 0, size - 1, 1
        case "one":
            return 1, 2, 1
        case "last":
            return size - 1, size, 1
        case "strided":
            return g.rng.randint(0, 1), size, g.rng.choice((2, 3))
        case "down":
            return size - 1, -1, -g.rng.choice((1, 1, 2))
        case _:
            return (1, size - 1, 1) if isinstance(size, int) and size > 3 else (0, 1, 1)


def _reshaped(g: Generator, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The same elements: dimensions merged, split, added or taken away."""
    out = list(shape)
    choice = g.rng.choice(("merge", "merge", "split", "one", "squeeze", "flat"))
    if choice == "merge" and len(out) > 1:
        i = g.rng.randrange(len(out) - 1)
        out[i : i + 2] = [out[i] * out[i + 1]]
    elif choice == "split":
        at = [i for i, d in enumerate(out) if isinstance(d, int) and d in (4, 8, 16, 40)]
        if at:
            i = g.rng.choice(at)
            out[i : i + 1] = [out[i] // 2, 2]
    elif choice == "one":
        out.insert(g.rng.randint(0, len(out)), 1)
    elif choice == "squeeze" and 1 in out:
        out.remove(1)
    elif choice == "flat":
        whole: Dim = 1
        for d in out:
            whole = whole * d
        out = [whole]
    return tuple(out)


def _views(g: Generator) -> int | None:
    x = g.pick("fib", rank=1)
    if x is None:
        return None
    chain, _ = _chain(g, x)
    return g.apply("views", x, views=chain)


def _chain(g: Generator, x: int) -> tuple[tuple[tuple[object, ...], ...], TensorMeta]:
    """One to three views, and what they show."""
    from calque.ir.types import meta_of

    value, chain = g.values[x], []
    for _ in range(g.rng.choice((1, 1, 2, 3))):
        view = _view(g, meta_of(value))
        value = fn.FUNCTIONS["views"].apply(value, views=(view,))
        chain.append(view)
    return tuple(chain), meta_of(value)


def _write(g: Generator) -> int | None:
    x = g.pick("fib", rank=1)
    if x is None:
        return None
    chain, seen = _chain(g, x)
    if g.rng.random() < 0.5 and seen.dtype.kind == "f":  # x[...] = f(x[...])
        shown = g.apply("views", x, views=chain)
        new = g.apply(g.rng.choice(("neg", "tanh", "half", "exp")), shown)
    else:
        new = g.fitting(seen)
    return g.apply("write", x, new, views=chain)


def _expand(g: Generator) -> int | None:
    x = g.pick("fib")
    if x is None:
        return None
    shape = tuple(g.dim() if d == 1 and g.rng.random() < 0.7 else d for d in g.meta(x).shape)
    lead = tuple(g.dim() for _ in range(g.rng.randint(0, 1)))
    return None if len(shape) > 3 else g.apply("expand", x, shape=(*lead, *shape))


def _pad(g: Generator) -> int | None:
    x = g.pick("fi", rank=1)
    if x is None:
        return None
    rank = g.meta(x).rank
    low, high = ([g.rng.choice((0, 0, 1, 2)) for _ in range(rank)] for _ in range(2))
    interior = [g.rng.choice((0, 0, 0, 1)) for _ in range(rank)]
    return g.apply(
        "pad", x, low=tuple(low), high=tuple(high), interior=tuple(interior),
        value=g.rng.choice((0, 1)),
    )  # fmt: skip


def _join(g: Generator) -> int | None:
    x = g.pick("fib", rank=1)
    if x is None:
        return None
    meta = g.meta(x)
    dim = g.rng.randrange(meta.rank)
    if g.rng.random() < 0.3:
        return g.apply("stack", x, g.fitting(meta), dim=dim)
    other = list(meta.shape)
    other[dim] = g.dim()
    parts = [x, g.fitting(meta.with_shape(other))]
    if g.rng.random() < 0.3:
        parts.append(g.rng.choice(parts))
    g.rng.shuffle(parts)
    return g.apply("concatenate", *parts, dim=dim)


def _reduce(g: Generator) -> int | None:
    kind = g.rng.choice("ffffib")
    x = g.pick(kind, rank=1)
    if x is None:
        return None
    rank = g.meta(x).rank
    dims = tuple(sorted(g.rng.sample(range(rank), g.rng.randint(1, rank))))
    keep = g.rng.random() < 0.4
    names = {
        "f": ("sum", "sum", "mean", "prod", "amax", "amin", "var", "logsumexp"),
        "i": ("isum", "amax", "amin"),
        "b": ("isum", "any", "all"),
    }[kind]
    return g.apply(g.rng.choice(names), x, dims=dims, keepdim=keep)


def _argument(g: Generator) -> int | None:
    x = g.pick("fi", rank=1, exact=True)
    if x is None:
        return None
    dim = g.rng.randrange(g.meta(x).rank)
    return g.apply(
        g.rng.choice(("argmax", "argmin")), x, dim=dim, keepdim=g.rng.random() < 0.4
    )  # fmt: skip


def _softmax(g: Generator) -> int | None:
    x = g.pick("f", rank=1)
    if x is None:
        return None
    dim = g.rng.choice((g.meta(x).rank - 1, g.rng.randrange(g.meta(x).rank)))
    return g.apply(g.rng.choice(("softmax", "log_softmax")), x, dim=dim)


def _matmul(g: Generator) -> int | None:
    x = g.pick("ffffffi"[g.rng.randrange(7)], rank=1)
    if x is None:
        return None
    meta = g.meta(x)
    k, n = meta.shape[-1], g.dim()
    batch = meta.shape[:-2] if meta.rank > 2 and g.rng.random() < 0.5 else ()
    y = g.fitting(meta.with_shape((*batch, k, n) if g.rng.random() < 0.85 else (k,)))
    return g.apply("matmul" if meta.dtype.kind == "f" else "imatmul", x, y)


def _conv(g: Generator) -> int | None:
    rank = g.rng.choice((1, 2))
    batch, channels = g.dim(), g.rng.choice((1, 2, 3))
    spatial = [g.rng.choice((5, 8, g.dim())) for _ in range(rank)]
    x = g.fitting(TensorMeta((batch, channels, *spatial), g.rng.choice(FLOATS)))
    dtype = g.meta(x).dtype
    if g.rng.random() < 0.3:
        return g.apply(
            g.rng.choice(("max_pool", "avg_pool")), x, kernel=2, stride=g.rng.choice((1, 2)),
            padding=g.rng.randint(0, 1),
        )  # fmt: skip
    groups = channels if g.rng.random() < 0.2 else 1
    weight = (g.rng.choice((1, 2, 5)) * groups, channels // groups, *(g.rng.choice((1, 2, 3))
              for _ in range(rank)))  # fmt: skip
    w = g.fitting(TensorMeta(weight, dtype))
    return g.apply(
        "conv", x, w, stride=g.rng.choice((1, 1, 2)), padding=g.rng.randint(0, 2),
        dilation=g.rng.choice((1, 1, 2)), groups=groups,
    )  # fmt: skip


def _indexed(g: Generator) -> int | None:
    x = g.pick("fi", rank=1)
    if x is None:
        return None
    meta = g.meta(x)
    dim = g.rng.randrange(meta.rank)
    size = meta.shape[dim]
    if size == 0:
        return None
    dtype = g.rng.choice(INTS)
    name = g.rng.choice(("gather", "take", "take", "scatter_add", "scatter", "index_add",
                         "index_copy"))  # fmt: skip
    if name in ("gather", "scatter_add", "scatter"):
        shape: tuple[Dim, ...] = (*meta.shape[:dim], g.dim(), *meta.shape[dim + 1 :])
        seen = shape
    else:
        shape = tuple(g.dim() for _ in range(g.rng.choice((0, 1, 1, 2)) if name == "take" else 1))
        seen = (*meta.shape[:dim], *shape, *meta.shape[dim + 1 :])
    index = g.fitting(TensorMeta(shape, dtype), below=size)
    if name in ("gather", "take"):
        return g.apply(name, x, index, dim=dim)
    return g.apply(name, x, index, g.fitting(meta.with_shape(seen)), dim=dim)


def _create(g: Generator) -> int | None:
    x = g.pick("fi")
    if x is None:
        return None
    match g.rng.choice(("iota", "full", "random", "size")):
        case "iota":
            return g.apply("iota", x, size=g.dim(), dtype=g.rng.choice((dt.float32, *INTS)))
        case "full":
            return g.apply("full", x, shape=g.shape(), value=g.rng.choice((0, 1, 2)))
        case "random":
            scalar = TensorMeta((), dt.int64)
            return g.apply("random", g.input(scalar), g.fitting(scalar), shape=g.shape())
        case _:
            return g.apply("size", x, size=g.dim())


MOVES: dict[str, tuple[float, Move]] = {
    "unary": (6, _unary),
    "binary": (7, _binary),
    "compare": (1.5, _compare),
    "integer": (2, _integer),
    "bool": (1, _bool),
    "where": (1.5, _where),
    "cast": (1.5, _cast),
    "views": (4, _views),
    "write": (3, _write),
    "expand": (1, _expand),
    "pad": (1, _pad),
    "join": (1.5, _join),
    "reduce": (4, _reduce),
    "argument": (0.7, _argument),
    "softmax": (1.5, _softmax),
    "matmul": (2, _matmul),
    "conv": (0.7, _conv),
    "indexed": (2, _indexed),
    "create": (1, _create),
}
