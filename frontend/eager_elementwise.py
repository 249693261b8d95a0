"""Elementwise operations on concrete tensors, whose operands may be repeated along dimensions.

What is repeated is read where it lies: a program knows of each operand only whether it has a
dimension or is repeated along it. Neighboring dimensions that are alike to all operands are one,
those of size 1 are none. So adding a bias of rows is one program, whatever the rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Block

from ..ir import sym
from ..ir.op import Builder, Op
from ..ir.ops.view import BroadcastTo
from ..ir.types import TensorMeta, to_type
from .tensor import Tensor

Ints = tuple[int, ...]
Pattern = tuple[tuple[bool, ...], ...]
"""For each dimension, which operands have it."""


def collapse(full: Ints, shapes: Sequence[Ints]) -> tuple[Ints, Pattern]:
    """The sizes of dimensions that differ to operands of the given shapes, which are broadcast to
    `full`, and which operands have them.

    >>> collapse((8, 4, 3), [(8, 4, 3), (3,)])
    ((32, 3), ((True, False), (True, True)))
    """
    sizes: list[int] = []
    pattern: list[tuple[bool, ...]] = []
    rank = len(full)
    if all(shape == full for shape in shapes):
        total = 1
        for size in full:
            total *= size
        return (total,), ((True,) * len(shapes),)
    leads = [rank - len(shape) for shape in shapes]
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


def build(
    op: type[Op], operands: Sequence[Tensor], sizes: Ints, pattern: Pattern, attrs: dict[str, Any]
) -> tuple[Block, sym.SymEnv]:
    """The one-operator program; all sizes are symbols."""
    names = [f"s{d}" for d in range(len(sizes))]
    full: tuple[sym.Dim, ...] = tuple(map(sym.symbol, names))
    metas = [
        TensorMeta(tuple(n if has[i] else 1 for n, has in zip(full, pattern, strict=True)), x.dtype)
        for i, x in enumerate(operands)
    ]
    block = Block(arg_types=[to_type(m) for m in metas])
    env = sym.SymEnv(dict(zip(names, sizes, strict=True)))
    with env, Builder(block) as builder:
        values = [
            arg if m.shape == full else builder.emit(BroadcastTo, [arg], {"shape": full}).results[0]
            for arg, m in zip(block.args, metas, strict=True)
        ]
        builder.emit(op, values, attrs)
    return block, env
