"""Group functions as kernels: memrefs in, memrefs out, tensors only inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects import bufferization, func, memref, tensor
from xdsl.dialects.builtin import (
    AffineMapAttr,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FunctionType,
    IntegerAttr,
    TensorType,
    UnitAttr,
    i64,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Block, Operation, OpResult, Region, SSAValue

from .schedules.heroes import hero_of, is_gradual
from .storage import buffer_type, store_bools_as_bytes

KERNEL = "calque.kernel"
INPLACE = "calque.inplace"
RESULTS = "calque.results"
_UNIT = UnitAttr()


def to_kernel(function: func.FuncOp) -> func.FuncOp:
    """The kernel of a group function, which is emptied: tensor arguments become memrefs, results
    are written into memrefs that follow them, index arguments come last.

    `calque.inplace = [results]` on an argument names the results that may be written into the
    argument's own memory; `calque.results` on the kernel counts the results.
    """
    old = function.body.block
    last = old.last_op
    assert isinstance(last, func.ReturnOp)
    tensors = [a for a in old.args if isinstance(a.type, TensorType)]
    others = [a for a in old.args if not isinstance(a.type, TensorType)]
    results = list(last.operands)
    gradual = is_gradual(hero_of(function), list(old.ops))
    reuse = [[] for _ in tensors] if gradual else _reusable(old, tensors, results)
    inputs = [buffer_type(a.type) for a in tensors]
    outputs = [buffer_type(v.type) for v in results]
    block = Block(arg_types=[*inputs, *outputs, *[a.type for a in others]])
    for arg, new in zip((*tensors, *results, *others), block.args, strict=True):
        new.name_hint = arg.name_hint
    for i, new in enumerate(block.args[len(tensors) : len(tensors) + len(results)]):
        new.name_hint = "out" if len(results) == 1 else f"out{i}"
    for arg, new in zip(tensors, block.args, strict=False):
        made = bufferization.ToTensorOp.create(
            operands=(new,), result_types=(arg.type,), properties={"restrict": _UNIT}
        )
        block.add_op(made)
        arg.replace_all_uses_with(made.results[0])
    for arg, new in zip(others, block.args[len(tensors) + len(results) :], strict=True):
        arg.replace_all_uses_with(new)
    results = list(last.operands)
    for op in list(old.ops):
        op.detach()
        if op is not last:
            block.add_op(op)
    last.operands = ()
    for value, out in zip(results, block.args[len(tensors) :], strict=False):
        _write(block, value, out)
    block.add_op(func.ReturnOp())
    store_bools_as_bytes(block)
    return _function(function, block, reuse, len(outputs))


def _write(block: Block, value: SSAValue, out: SSAValue) -> None:
    """Write a result; through a reshape of the destination where the last step is a reshape."""
    source = value.owner
    if isinstance(source, tensor.ExpandShapeOp | tensor.CollapseShapeOp):
        view = _before_reshape(block, source, out) if value.first_use is None else None
        if view is not None:
            value, out = source.operands[0], view
            source.detach()
            source.erase()
    block.add_op(
        bufferization.MaterializeInDestinationOp.create(
            operands=(value, out), properties={"restrict": _UNIT, "writable": _UNIT}
        )
    )


def _before_reshape(block: Block, reshape: Operation, out: SSAValue) -> SSAValue | None:
    """The destination under the shape that the result has before its last reshape."""
    inner = reshape.operands[0]
    if isinstance(inner.owner, bufferization.ToTensorOp):
        return None
    type_ = buffer_type(inner.type)
    reassociation = reshape.properties["reassociation"]
    if isinstance(reshape, tensor.ExpandShapeOp):
        made: Operation = memref.CollapseShapeOp.create(
            operands=(out,), result_types=(type_,), properties={"reassociation": reassociation}
        )
    else:
        sizes = _sizes_of(inner)
        if sizes is None:
            return None
        static = DenseArrayBase.from_list(i64, type_.get_shape())
        made = memref.ExpandShapeOp.create(
            operands=(out, *sizes),
            result_types=(type_,),
            properties={"reassociation": reassociation, "static_output_shape": static},
        )
    block.add_op(made)
    return made.results[0]


def _sizes_of(value: SSAValue) -> Sequence[SSAValue] | None:
    """The dynamic sizes with which a computed tensor was made, None where they are not at hand."""
    empty = value
    while isinstance(empty, OpResult) and isinstance(empty.op, linalg.GenericOp | linalg.FillOp):
        op = empty.op
        empty = op.operands[len(op.operands) - len(op.results) + empty.index]
    owner = empty.owner
    return list(owner.operands) if isinstance(owner, tensor.EmptyOp) else None


def _function(
    function: func.FuncOp, block: Block, reuse: Sequence[Sequence[int]], results: int
) -> func.FuncOp:
    attrs = [
        DictionaryAttr({INPLACE: ArrayAttr([IntegerAttr(r, i64) for r in results])})
        if results
        else DictionaryAttr({})
        for results in reuse
    ]
    symbols = _symbols(function)
    attrs += [DictionaryAttr({})] * (len(block.args) - len(attrs) - len(symbols))
    attrs += symbols
    kernel = func.FuncOp(
        function.sym_name.data,
        FunctionType.from_lists([a.type for a in block.args], []),
        Region(block),
        "private",
        arg_attrs=ArrayAttr(attrs) if any(a.data for a in attrs) else None,
    )
    kernel.attributes.update(function.attributes)
    kernel.attributes[KERNEL] = _UNIT
    kernel.attributes[RESULTS] = IntegerAttr(results, i64)
    kernel.location = function.location
    return kernel


def _symbols(function: func.FuncOp) -> list[DictionaryAttr]:
    """The attributes of the arguments that are no tensors, which stay last."""
    args = function.body.block.args
    given = function.arg_attrs.data if function.arg_attrs else [DictionaryAttr({})] * len(args)
    return [d for a, d in zip(args, given, strict=True) if not isinstance(a.type, TensorType)]


_PLAIN = (linalg.GenericOp, linalg.FillOp, tensor.EmptyOp, func.ReturnOp)


def _reusable(
    block: Block, tensors: Sequence[SSAValue], results: Sequence[SSAValue]
) -> list[list[int]]:
    """Per argument the results that may share its memory.

    All results come from one elementwise loop, the only one that reads the argument, and each
    element is read by the iteration that writes the same element, before that writes it.
    """
    none: list[list[int]] = [[] for _ in tensors]
    last: Any = results[0].owner if results else None
    if not isinstance(last, linalg.GenericOp) or any(r.owner is not last for r in results):
        return none
    if not all(isinstance(op, _PLAIN) or op.name.startswith("arith.") for op in block.ops):
        return none
    if any(str(i.data) != "parallel" for i in last.iterator_types) or any(
        op.name in ("tensor.extract", "cf.assert") for op in block.walk()
    ):
        return none
    maps = [m.data for m in last.indexing_maps if isinstance(m, AffineMapAttr)]
    readers = _readers(last)
    numbers = [r.index for r in results if isinstance(r, OpResult)]
    out: list[list[int]] = []
    for arg in tensors:
        reads = [i for i, v in enumerate(last.operands) if v is arg]
        alone = all(u.operation is last for u in arg.uses)
        if not alone or len(reads) != 1 or maps[reads[0]] != maps[-1]:
            out.append([])
            continue
        used = readers[reads[0]]
        out.append(
            [
                i
                for i, (r, n) in enumerate(zip(results, numbers, strict=True))
                if r.type == arg.type and used and n >= min(used)
            ]
        )
    return out


def _readers(loop: Any) -> list[set[int]]:
    """For each argument of a loop's body, the results that are computed from it."""
    body = loop.body.block
    reached: dict[SSAValue, set[int]] = {a: {i} for i, a in enumerate(body.args)}
    for op in body.ops:
        sources = set().union(*(reached.get(v, set()) for v in op.operands))
        reached.update((r, sources) for r in op.results)
    found: list[set[int]] = [set() for _ in body.args]
    for n, value in enumerate(body.last_op.operands):
        for i in reached.get(value, ()):
            found[i].add(n)
    return found


def can_fail(kernel: func.FuncOp) -> bool:
    """Whether a kernel contains an assertion."""
    return any(op.name == "cf.assert" for op in kernel.body.block.walk())


__all__ = ["INPLACE", "KERNEL", "RESULTS", "can_fail", "to_kernel"]
