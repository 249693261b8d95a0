"""The programs of eager mode: one operator each, which serve all sizes.

A program knows the dtypes of its operands, and which of their dimensions may have any size. Those
of elementwise operators know of each operand only whether it has a dimension or is repeated along
it: what is repeated is read where it lies. Neighboring dimensions that are alike to all operands
are one, those of size 1 are none. So adding a bias of rows is one program, whatever the rank.

Of other operators, sizes other than 0 and 1 are symbols, unified where the operator's rule says
that they are equal. Programs are made once, and kept on disk by the driver's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from ..ir import sym
from ..ir.op import Builder, Op, infer
from ..ir.ops.elementwise import Elementwise
from ..ir.ops.view import BroadcastTo, Transpose
from ..ir.types import TensorMeta, to_type
from ..ir.verify import set_guards
from ..runtime.executable import Call
from .driver import Program, compile_graph

Ints = tuple[int, ...]
Pattern = tuple[tuple[bool, ...], ...]
"""For each dimension, which operands have it."""


@dataclass(frozen=True)
class _Entry:
    """A program, and where the values of its size symbols are: (number of a shape, dimension)."""

    program: Program
    order: tuple[tuple[int, int], ...]
    guarded: bool = False  # it holds for the sizes that it was made with only

    def call(self, shapes: Sequence[Ints]) -> Call:
        """The program for some shapes."""
        return self.program.prepare([shapes[i][d] for i, d in self.order])


# The attribute of operators that make tensors which says how many elements; it may vary too.
_SIZES = {"calque.random_bits": "shape", "calque.iota": "size"}

# Where only programs for single sizes are left to be made, the table starts over when it is full.
_PROGRAMS = 4096
_programs: dict[Any, _Entry] = {}


def prepared(
    op: type[Op],
    operands: Sequence[TensorMeta],
    attrs: dict[str, Any],
    result: TensorMeta,
    turned: tuple[bool, ...] = (),
) -> Call:
    """An operator's program for the sizes of operands that lie in order in memory, or, those that
    are `turned`, with the last two dimensions in the other order.

    Operands of an elementwise operator may have size 1 where the result has another.
    """
    shapes: list[Any] = [m.shape for m in operands]
    pattern: Any
    if issubclass(op, Elementwise):
        full: Any = result.shape
        sizes, pattern = collapse(full, shapes)
        shapes = [sizes]
    else:
        if op.name in _SIZES:
            # Like the sizes of one more operand. Elements are numbered in order: the rank is free.
            name = _SIZES[op.name]
            whole = isinstance(attrs[name], int)
            count = attrs[name] if whole else prod(attrs[name])
            shapes.append((count,))
            attrs = {**attrs, name: count if whole else (count,)}
        pattern = tuple(map(_free, shapes))
    key = (op, tuple([m.dtype for m in operands]), pattern, _attributes(op, attrs), turned)
    exact = (key, tuple(shapes))
    entry = _programs.get(key) or _programs.get(exact)
    if entry is None:
        if issubclass(op, Elementwise):
            entry = _build_elementwise(op, operands, shapes[0], pattern, attrs)
        else:
            entry = _build(op, operands, shapes, attrs, turned or (False,) * len(operands))
        if len(_programs) >= _PROGRAMS:
            _programs.clear()
        entry = _programs.setdefault(exact if entry.guarded else key, entry)
    return entry.call(shapes)


def _free(shape: Ints) -> tuple[int | None, ...]:
    """Sizes 0 and 1 as they are, None for those that may vary."""
    return tuple([d if d < 2 else None for d in shape])


def _attributes(op: type[Op], attrs: dict[str, Any]) -> tuple[Any, ...]:
    """What of an operator's attributes is part of its program."""
    return tuple([(k, v) for k, v in attrs.items() if k != _SIZES.get(op.name)])


def collapse(full: Ints, shapes: Sequence[Ints]) -> tuple[Ints, Pattern]:
    """The sizes of dimensions that differ to operands of the given shapes, which are broadcast to
    `full`, and which operands have them.

    >>> collapse((8, 4, 3), [(8, 4, 3), (3,)])
    ((32, 3), ((True, False), (True, True)))
    """
    if all(shape == full for shape in shapes):
        return (prod(full),), ((True,) * len(shapes),)
    sizes: list[int] = []
    pattern: list[tuple[bool, ...]] = []
    leads = [len(full) - len(shape) for shape in shapes]
    for d, size in enumerate(full):
        if size == 1:
            continue
        pairs = zip(shapes, leads, strict=True)
        has = tuple([d >= lead and shape[d - lead] != 1 for shape, lead in pairs])
        if pattern and pattern[-1] == has:
            sizes[-1] *= size
        else:
            sizes.append(size)
            pattern.append(has)
    return tuple(sizes), tuple(pattern)


def _build_elementwise(
    op: type[Op],
    operands: Sequence[TensorMeta],
    sizes: Ints,
    pattern: Pattern,
    attrs: dict[str, Any],
) -> _Entry:
    """Compile the program for any sizes of the dimensions."""
    names = [f"s{d}" for d in range(len(sizes))]
    full: tuple[sym.Dim, ...] = tuple(map(sym.symbol, names))
    metas = [
        TensorMeta(tuple(n if has[i] else 1 for n, has in zip(full, pattern, strict=True)), m.dtype)
        for i, m in enumerate(operands)
    ]
    block = Block(arg_types=[to_type(m) for m in metas])
    env = sym.SymEnv(dict(zip(names, sizes, strict=True)))
    with env, Builder(block) as builder:
        values = [
            arg if m.shape == full else builder.emit(BroadcastTo, [arg], {"shape": full}).results[0]
            for arg, m in zip(block.args, metas, strict=True)
        ]
        builder.emit(op, values, attrs)
    program = _compile(block, env)
    return _Entry(program, tuple((0, int(s.removeprefix("s"))) for s in program.symbols))


def _build(
    op: type[Op],
    operands: Sequence[TensorMeta],
    shapes: Sequence[Ints],
    attrs: dict[str, Any],
    turned: Sequence[bool],
) -> _Entry:
    """Compile the program for all sizes, or for those that facts were used of."""
    symbolic, examples, order, guarded = _symbols(op, operands, attrs)
    free: list[str] = []
    if op.name in _SIZES and shapes[-1][0] > 1:
        key = _SIZES[op.name]
        free, size = ["n"], sym.symbol("n")
        attrs = {**attrs, key: size if isinstance(attrs[key], int) else (size,)}
        examples["n"] = shapes[-1][0]
        order["n"] = (len(operands), 0)
    swaps = [
        (*range(m.rank - 2), m.rank - 1, m.rank - 2) if turn else tuple(range(m.rank))
        for m, turn in zip(symbolic, turned, strict=True)
    ]
    given = [
        m.with_shape([m.shape[d] for d in swap]) for m, swap in zip(symbolic, swaps, strict=True)
    ]
    block = Block(arg_types=[to_type(m) for m in given])
    env = sym.SymEnv(examples)
    with env, Builder(block) as builder:
        values = [
            builder.emit(Transpose, [arg], {"perm": swap}).results[0] if turn else arg
            for arg, swap, turn in zip(block.args, swaps, turned, strict=True)
        ]
        builder.emit(op, values, attrs)
    program = _compile(block, env, free)
    return _Entry(program, tuple(order[s] for s in program.symbols), guarded)


def _compile(block: Block, env: sym.SymEnv, free: Sequence[str] = ()) -> Program:
    """The program that returns what the last operator of a block makes; `free` are symbols that
    are no sizes of arguments."""
    last = block.last_op
    assert last is not None
    block.add_op(ReturnOp(*last.results))
    type_ = FunctionType.from_lists([a.type for a in block.args], [r.type for r in last.results])
    func = FuncOp("main", type_, Region(block))
    set_guards(func, env.guards)
    if free:
        func.attributes["calque.symbols"] = ArrayAttr([StringAttr(name) for name in free])
    return compile_graph(ModuleOp([func]))


def _symbols(
    op: type[Op], operands: Sequence[TensorMeta], attrs: dict[str, Any]
) -> tuple[list[TensorMeta], dict[str, int], dict[str, tuple[int, int]], bool]:
    """Operand metas with a symbol for each size that may vary, equal ones unified; the symbols'
    examples and places; whether facts about these very sizes were used."""
    examples: dict[str, int] = {}
    places: dict[str, tuple[int, int]] = {}
    metas: list[TensorMeta] = []
    for i, m in enumerate(operands):
        dims: list[sym.Dim] = []
        for d, size in enumerate(m.shape):
            assert isinstance(size, int)
            if size < 2:
                dims.append(size)
                continue
            name = f"s{len(examples)}"
            examples[name], places[name] = size, (i, d)
            dims.append(sym.symbol(name))
        metas.append(TensorMeta(tuple(dims), m.dtype))
    env = sym.SymEnv(examples)
    with env:
        infer(op, metas, attrs)
    unified: dict[str, sym.Dim] = {}
    guarded = False
    for guard in env.guards:
        lhs, rhs = (sym.substitute(s, unified) for s in (guard.lhs, guard.rhs))
        if guard.op == "==" and isinstance(rhs, sym.Expr) and str(rhs) in examples:
            unified = {k: sym.substitute(v, {str(rhs): lhs}) for k, v in unified.items()}
            unified[str(rhs)] = lhs
        elif guard.op == "==" and isinstance(lhs, sym.Expr) and str(lhs) in examples:
            unified = {k: sym.substitute(v, {str(lhs): rhs}) for k, v in unified.items()}
            unified[str(lhs)] = rhs
        else:
            guarded = True
        guarded = guarded or isinstance(lhs, int) or isinstance(rhs, int)
    metas = [m.with_shape([sym.substitute(d, unified) for d in m.shape]) for m in metas]
    order = {name: place for name, place in places.items() if name not in unified}
    return metas, examples, order, guarded
