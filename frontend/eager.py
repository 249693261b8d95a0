"""Operations on concrete tensors: each runs at once, as its own one-operator program.

A program serves all sizes: dimensions other than 1 are symbols, unified where the operator's rule
says that they are equal. It is found by (operator, attributes, dtypes, dimension pattern), made
once, and kept on disk by the driver's cache.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from ..ir import sym
from ..ir.op import Builder, Op, infer
from ..ir.ops._common import check_devices
from ..ir.ops.elementwise import Elementwise
from ..ir.ops.view import View
from ..ir.types import TensorMeta, to_type
from ..ir.verify import set_guards
from ..runtime.executable import Call
from . import eager_elementwise as elementwise
from . import strided
from .creation import empty_concrete, from_array
from .driver import Program, compile_graph
from .errors import run
from .gradmode import is_grad_enabled
from .storage import is_contiguous, view_geometry
from .tensor import Tensor


@dataclass(frozen=True)
class _Entry:
    """A program, and where the values of its size symbols are: (number of a shape, dimension)."""

    program: Program
    order: tuple[tuple[int, int], ...]

    def call(self, shapes: Sequence[Sequence[int]]) -> Call:
        """The program for some shapes."""
        return self.program.prepare(tuple([shapes[i][d] for i, d in self.order]))


# The attribute of operators that make tensors which says how many elements; it may vary too.
_SIZES = {"calque.random_bits": "shape", "calque.iota": "size"}

_programs: dict[Any, _Entry] = {}
_lock = threading.Lock()


def execute(op: type[Op], operands: Sequence[Any], attrs: dict[str, Any]) -> list[Tensor]:
    """Run an operator on concrete tensors now."""
    if not operands and op.name == "calque.constant":
        return [from_array(attrs["value"], attrs["device"])]
    metas = [x._meta for x in operands]
    results = infer(op, metas, attrs)
    if issubclass(op, View):
        return [_view(op, operands[0], attrs, results[0])]
    if op.name == "calque.detach":
        return [_alias(operands[0])]
    if check_devices([m for m in metas if m.rank] or metas or results) == "meta":
        return [empty_concrete(_on(m, "meta")) for m in results]
    if issubclass(op, Elementwise):
        return [_run_elementwise(op, operands, attrs, results[0])]
    return _run(op, [aligned(x) for x in operands], attrs, results)


def _on(meta: TensorMeta, device: str) -> TensorMeta:
    return TensorMeta(meta.shape, meta.dtype, device)


def _alias(x: Tensor) -> Tensor:
    out = x._again()
    out._base, out._view, out._seen = x._base, x._view, -1
    return out


def _view(op: type[Op], x: Tensor, attrs: dict[str, Any], meta: TensorMeta) -> Tensor:
    geometry = view_geometry(op.name, attrs, x._sizes, x._strides, x._offset)
    if geometry is None:  # a reshape that has to move elements
        return _view(op, contiguous(x), attrs, meta)
    _, strides, offset = geometry
    out = Tensor._concrete(x._storage, meta, strides, offset)  # type: ignore[arg-type]
    out._base, out._view = x, (op, attrs)
    out._seen = x._storage.rebased if is_grad_enabled() else -1  # type: ignore[union-attr]
    return out


def aligned(x: Tensor) -> Tensor:
    """x itself where compiled code can read it as it lies, else a contiguous copy."""
    return x if strided.contiguous(x) else contiguous(x)


def _source(x: Tensor) -> Tensor:
    """The same for an operand of an elementwise operator: dimensions along which it repeats its
    elements (their stride is 0) are left out, as ones of size 1."""
    if 0 not in x._strides:
        return aligned(x)
    pairs = zip(x._sizes, x._strides, strict=True)
    shape = tuple([1 if stride == 0 else size for size, stride in pairs])
    if not is_contiguous(shape, x._strides):
        return aligned(x)
    return x._again(x._meta.with_shape(shape))


def contiguous(x: Tensor) -> Tensor:
    """A row-major copy, without history."""
    out = empty_concrete(x._meta)
    copy_into(out, x)
    return out


def copy_into(target: Tensor, source: Tensor) -> None:
    """Move elements between memories of one shape and dtype, whatever their strides.

    The source may be a view of the target's own memory.
    """
    if target.device == "meta" or 0 in target._sizes:
        return
    overlap = target._storage is source._storage
    if strided.contiguous(target) and not overlap:
        if strided.contiguous(source):
            nbytes = prod(source._sizes) * source.dtype.itemsize
            ctypes.memmove(target.data_ptr(), source.data_ptr(), nbytes)
        else:
            strided.read(source, target)
        return
    if overlap or not strided.contiguous(source):
        source = contiguous(source)
    if strided.contiguous(target):
        copy_into(target, source)
    else:
        strided.write(target, source)


def _run_elementwise(
    op: type[Op], operands: Sequence[Tensor], attrs: dict[str, Any], result: TensorMeta
) -> Tensor:
    out = empty_concrete(result)
    full: Any = result.shape
    if 0 in full:
        return out
    sources = [_source(x) for x in operands]
    sizes, pattern = elementwise.collapse(full, [x._sizes for x in sources])
    if not all(map(any, pattern)):  # all of them are repeated there: one has to have it
        sources[0] = aligned(operands[0])
        sizes, pattern = elementwise.collapse(full, [x._sizes for x in sources])
    key = (op, pattern, tuple([x._meta.dtype for x in sources]), _attributes(op, attrs))
    entry = _programs.get(key)
    if entry is None:
        block, env = elementwise.build(op, sources, sizes, pattern, attrs)
        program = _compile(block, env)
        order = tuple((0, int(s.removeprefix("s"))) for s in program.symbols)
        with _lock:
            entry = _programs.setdefault(key, _Entry(program, order))
    run(entry.call([sizes]), [x.data_ptr() for x in (*sources, out)])
    return out


def _run(
    op: type[Op], operands: list[Tensor], attrs: dict[str, Any], results: Sequence[TensorMeta]
) -> list[Tensor]:
    shapes = [x._sizes for x in operands]
    if op.name in _SIZES:
        # Like the sizes of one more operand. Elements are numbered in order: the rank is free.
        key = _SIZES[op.name]
        count = attrs[key] if isinstance(attrs[key], int) else prod(attrs[key])
        shapes.append((count,))
        attrs = {**attrs, key: count if isinstance(attrs[key], int) else (count,)}
    entry = _lookup(op, operands, shapes, attrs)
    outputs = [empty_concrete(m) for m in results]
    run(entry.call(shapes), [x.data_ptr() for x in (*operands, *outputs)])
    return outputs


def _pattern(shape: Sequence[int]) -> tuple[int | None, ...]:
    """Sizes 0 and 1 as they are, None for those that may vary."""
    return tuple(d if d < 2 else None for d in shape)


def _lookup(
    op: type[Op], operands: list[Tensor], shapes: list[tuple[int, ...]], attrs: dict[str, Any]
) -> _Entry:
    key = (
        op.name,
        tuple(x.dtype.name for x in operands),
        tuple(map(_pattern, shapes)),
        _attributes(op, attrs),
    )
    found = _programs.get(key)
    if found is None:
        entry, guarded = _build(op, operands, shapes, attrs)
        if guarded:  # facts about these very sizes were used: only for these sizes
            key = (key, tuple(shapes))
            found = _programs.get(key)
        if found is None:
            with _lock:
                found = _programs.setdefault(key, entry)
    return found


def _attributes(op: type[Op], attrs: dict[str, Any]) -> tuple[Any, ...]:
    """What of an operator's attributes is part of its program."""
    return tuple((k, _key(v)) for k, v in attrs.items() if k != _SIZES.get(op.name))


def _key(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else value


def _build(
    op: type[Op], operands: list[Tensor], shapes: list[tuple[int, ...]], attrs: dict[str, Any]
) -> tuple[_Entry, bool]:
    """Compile the one-operator program; whether it holds for these sizes only."""
    symbolic, examples, order, guarded = _symbols(op, operands, shapes, attrs)
    free: list[str] = []
    if op.name in _SIZES and shapes[-1][0] > 1:
        key = _SIZES[op.name]
        free, size = ["n"], sym.symbol("n")
        attrs = {**attrs, key: size if isinstance(attrs[key], int) else (size,)}
        examples["n"] = shapes[-1][0]
        order.append(("n", (len(operands), 0)))
    block = Block(arg_types=[to_type(m) for m in symbolic])
    env = sym.SymEnv(examples)
    with env, Builder(block) as builder:
        builder.emit(op, list(block.args), attrs)
    program = _compile(block, env, free)
    by_name = dict(order)
    return _Entry(program, tuple(by_name[s] for s in program.symbols)), guarded


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
    op: type[Op], operands: list[Tensor], shapes: list[tuple[int, ...]], attrs: dict[str, Any]
) -> tuple[list[TensorMeta], dict[str, int], list[tuple[str, tuple[int, int]]], bool]:
    """Operand metas with a symbol for each size that may vary, equal ones unified."""
    examples: dict[str, int] = {}
    places: dict[str, tuple[int, int]] = {}
    metas: list[TensorMeta] = []
    for i, (x, shape) in enumerate(zip(operands, shapes, strict=False)):
        dims: list[sym.Dim] = []
        for d, size in enumerate(shape):
            if size < 2:
                dims.append(size)
                continue
            name = f"s{len(examples)}"
            examples[name], places[name] = size, (i, d)
            dims.append(sym.symbol(name))
        metas.append(TensorMeta(tuple(dims), x.dtype))
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
    order = [(name, place) for name, place in places.items() if name not in unified]
    return metas, examples, order, guarded
