"""Moving elements between strided and contiguous memory, by compiled programs.

One program serves all sizes of a dtype, rank and class of strides: strides of 0 and 1 are part of
the program (they vectorize), others are run-time values, as are sizes and the vector's length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from ..ir.dtype import DType
from ..ir.op import Builder
from ..ir.ops.strided import AsStrided, StridedUpdate
from ..ir.sym import Dim, symbol
from ..ir.types import TensorMeta, to_type
from ..runtime.executable import Call
from .driver import Program, compile_graph
from .storage import Ints, is_contiguous
from .tensor import Tensor

Classes = tuple[int | None, ...]


def read(source: Tensor, into: Tensor) -> None:
    """Copy the elements of `source`, however strided, into contiguous memory."""
    if 0 in source._sizes:
        return
    call = _call(_reader, source.dtype, source._sizes, source._strides)
    call.run([source.data_ptr(), into.data_ptr()])


def write(target: Tensor, new: Tensor) -> None:
    """Copy contiguous elements into the memory of `target`, however strided."""
    if 0 in target._sizes:
        return
    call = _call(_writer, target.dtype, target._sizes, target._strides)
    pointer = target.data_ptr()
    call.run([pointer, new.data_ptr(), pointer])


def contiguous(x: Tensor) -> bool:
    """Whether a tensor's elements can be passed as they lie."""
    return _in_order(x._sizes, x._strides)


_in_order = lru_cache(maxsize=4096)(is_contiguous)


@lru_cache(maxsize=4096)
def _call(
    made: Callable[[DType, Classes], Program], dtype: DType, sizes: Ints, strides: Ints
) -> Call:
    """The program that reads, or writes, memory of given sizes and strides."""
    program = made(dtype, _classes(strides))
    values = {"N": 1 + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))}
    for d, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        values[f"s{d}"], values[f"t{d}"] = size, stride
    return program.prepare([values[s] for s in program.symbols])


def _classes(strides: Ints) -> Classes:
    """0 and 1 for strides that are part of the program, None for others."""
    return tuple(t if t < 2 else None for t in strides)


def _dims(classes: Classes) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    shape = tuple(symbol(f"s{d}") for d in range(len(classes)))
    strides = tuple(symbol(f"t{d}") if c is None else c for d, c in enumerate(classes))
    return shape, strides


def _attrs(role: str, alias: int | None = None) -> DictionaryAttr:
    name = StringAttr({"input": "x", "state": "memory", "output": "out"}[role])
    entries = {"calque.name": name, "calque.role": StringAttr(role)}
    if alias is not None:
        return DictionaryAttr({**entries, "calque.alias": IntegerAttr(alias, i64)})
    return DictionaryAttr(entries)


def _module(block: Block, roles: list[str], out: DictionaryAttr, free: list[str]) -> ModuleOp:
    end = block.last_op
    assert isinstance(end, ReturnOp)
    types = FunctionType.from_lists([a.type for a in block.args], [v.type for v in end.operands])
    func = FuncOp(
        "main",
        types,
        Region(block),
        arg_attrs=ArrayAttr([_attrs(r) for r in roles]),
        res_attrs=ArrayAttr([out]),
    )
    func.attributes["calque.symbols"] = ArrayAttr([StringAttr(s) for s in free])
    return ModuleOp([func])


@cache
def _reader(dtype: DType, classes: Classes) -> Program:
    shape, strides = _dims(classes)
    block = Block(arg_types=[to_type(TensorMeta((symbol("N"),), dtype))])
    attrs = {"shape": shape, "strides": strides, "offset": 0}
    with Builder(block) as builder:
        out = builder.emit(AsStrided, list(block.args), attrs)
        builder.insert(ReturnOp(out.results[0]))
    free = [str(s) for s in (*shape, *strides) if not isinstance(s, int)]
    return compile_graph(_module(block, ["input"], _attrs("output"), free))


@cache
def _writer(dtype: DType, classes: Classes) -> Program:
    shape, strides = _dims(classes)
    metas = [TensorMeta((symbol("N"),), dtype), TensorMeta(shape, dtype)]
    block = Block(arg_types=[to_type(m) for m in metas])
    attrs = {"strides": strides, "offset": 0, "accumulate": False}
    with Builder(block) as builder:
        out = builder.emit(StridedUpdate, list(block.args), attrs)
        builder.insert(ReturnOp(out.results[0]))
    free = [str(s) for s in strides if not isinstance(s, int)]
    return compile_graph(_module(block, ["state", "input"], _attrs("output", 0), free))
