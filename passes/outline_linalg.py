"""Programs of the `linalg` stage without groups: each operation of `@main` becomes one.

What `fuse` and `lower-to-linalg` make has nothing but calls in main and passes through. Text that
was written by hand, or that another tool made, may compute in main itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.context import Context
from xdsl.dialects import arith, func, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FunctionType,
    IndexType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
    TensorType,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, Block, Operation, OpResult, Region, SSAValue
from xdsl.passes import ModulePass

from ..ir.sizes import dim_of
from ..ir.sym import Dim, product
from ..ir.types import Shape
from .dims import DIMS, dims_attr
from .host_control import captured
from .outline import HERO, SOURCE
from .schedules.heroes import natural_hero
from .signature import argument_sizes
from .stages import LINALG, require_stage

_NONE = DictionaryAttr({})
# What the host function can do itself, and what is computed again in each kernel that reads it.
_VIEWS = (tensor.CollapseShapeOp, tensor.ExpandShapeOp, tensor.CastOp)
_IN_MEMORY = (func.ReturnOp, scf.ForOp, scf.IfOp, scf.WhileOp, *_VIEWS)
_SHARED = (tensor.EmptyOp, linalg.FillOp, tensor.ExtractSliceOp, arith.ConstantOp)


class OutlineLinalg(ModulePass):
    """Outline each operation on tensors that main holds."""

    name = "outline-linalg"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, LINALG)
        outline_linalg(op)


def outline_linalg(module: ModuleOp) -> None:
    """Move every operation that computes tensors in `@main` into a private function.

    Raises ValueError where the sizes of a result are not known.
    """
    for main in module.ops:
        if isinstance(main, func.FuncOp) and main.sym_name.data == "main":
            if not any(_computes(op) for op in main.body.block.ops):
                return
            outliner = _Outliner(module, main)
            for op in list(main.body.block.ops):
                if _computes(op):
                    outliner.outline(op)
                else:
                    outliner.note(op)
            outliner.finish()
            return


def _computes(op: Operation) -> bool:
    """Whether an operation needs a kernel of its own."""
    if not any(isinstance(r.type, TensorType) for r in op.results):
        return False
    if isinstance(op, (func.CallOp, tensor.EmptyOp, *_VIEWS)):
        return False
    if isinstance(op, scf.ForOp | scf.IfOp | scf.WhileOp):
        # The host runs loops of calls; a loop that computes by itself is one kernel.
        inner = list(op.walk())
        computes = any(isinstance(i, LinalgStructuredOperation | tensor.InsertOp) for i in inner)
        return computes and not any(isinstance(i, func.CallOp) for i in inner)
    if isinstance(op, _SHARED):
        # A slice that a call reads is a view of memory.
        reads = _IN_MEMORY if isinstance(op, tensor.ExtractSliceOp) else (*_IN_MEMORY, func.CallOp)
        return any(isinstance(u.operation, reads) for r in op.results for u in r.uses)
    return True


class _Outliner:
    """Makes the functions, and keeps track of sizes."""

    def __init__(self, module: ModuleOp, main: func.FuncOp) -> None:
        self.module, self.main = module, main
        self.count = 0
        self.shapes: dict[SSAValue, Shape] = {}
        self.sizes: dict[SSAValue, Dim] = {}
        for value, size in argument_sizes(main).items():
            if isinstance(size, tuple):
                self.shapes[value] = size
            else:
                self.sizes[value] = size

    def outline(self, op: Operation) -> None:
        """Replace an operation by a call of a function that holds it."""
        needed = _needed(op)
        tensors = [v for v in needed if isinstance(v.type, TensorType)]
        inputs = tensors + [v for v in needed if not isinstance(v.type, TensorType)]
        block = Block(arg_types=[v.type for v in inputs])
        values: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args, strict=True))
        for old, new in values.items():
            new.name_hint = old.name_hint
        for inner in _recomputed(op):
            block.add_op(inner.clone(values))
        made = op.clone(values)
        block.add_op(made)
        block.add_op(func.ReturnOp(*made.results))
        self.note(op)
        function = self._function(op, block)
        self.module.body.block.add_op(function)
        call = func.CallOp.create(
            operands=inputs,
            result_types=[r.type for r in op.results],
            properties={"callee": SymbolRefAttr(function.sym_name.data)},
            location=op.location,
        )
        holder = op.parent
        assert holder is not None
        holder.insert_op_before(call, op)
        for old, new in zip(op.results, call.results, strict=True):
            new.name_hint = old.name_hint
            self.shapes[new] = self.shapes[old]
            old.replace_all_uses_with(new)
        holder.erase_op(op)

    def _function(self, op: Operation, block: Block) -> func.FuncOp:
        types = [r.type for r in op.results]
        shapes = [self._known(r) for r in op.results]
        attrs = [
            DictionaryAttr({DIMS: dims_attr(s)} if any(not isinstance(d, int) for d in s) else {})
            for s in shapes
        ]
        name = op.name.replace(".", "_")
        function = func.FuncOp(
            f"o{self.count}_{name}",
            FunctionType.from_lists([a.type for a in block.args], types),
            Region(block),
            "private",
            res_attrs=ArrayAttr(attrs) if any(a.data for a in attrs) else None,
        )
        function.attributes[HERO] = StringAttr(_hero(op))
        function.attributes[SOURCE] = ArrayAttr([StringAttr(op.name)])
        function.location = op.location
        self.count += 1
        return function

    def finish(self) -> None:
        """Say the sizes of main's results, and remove what only outlined operations read."""
        last = self.main.body.block.last_op
        assert last is not None
        given = self.main.res_attrs.data if self.main.res_attrs else [_NONE] * len(last.operands)
        attrs = [
            DictionaryAttr({**a.data, DIMS: dims_attr(self.shapes[v])})
            if v in self.shapes and DYNAMIC_INDEX in _shape_of(v.type) and DIMS not in a.data
            else a
            for v, a in zip(last.operands, given, strict=True)
        ]
        self.main.res_attrs = ArrayAttr(attrs) if any(a.data for a in attrs) else None
        for op in reversed(list(self.main.body.block.ops)):
            unused = bool(op.results) and all(r.first_use is None for r in op.results)
            if unused and (not op.regions or isinstance(op, _SHARED)) and not _is_call(op):
                self.main.body.block.erase_op(op)

    # ---- sizes ---------------------------------------------------------------------------------

    def note(self, op: Operation) -> None:
        """Work out the sizes of an operation's results."""
        if isinstance(op, tensor.DimOp):
            axis = dim_of(op.index, self.sizes)
            if op.source in self.shapes and isinstance(axis, int):
                self.sizes[op.result] = self.shapes[op.source][axis]
        for r in op.results:
            if isinstance(r.type, TensorType):
                static = r.type.get_shape()
                shape = static if DYNAMIC_INDEX not in static else self._shape(op, r)
                if shape is not None:
                    self.shapes[r] = shape

    def _known(self, value: SSAValue) -> Shape:
        if value not in self.shapes:
            raise ValueError(f"the sizes of a value of type {value.type} in @main are not known")
        return self.shapes[value]

    def _shape(self, op: Operation, result: OpResult) -> Shape | None:
        """The sizes of a result with dynamic dimensions, None where they are not known."""
        match op:
            case tensor.EmptyOp():
                return self._filled(result.type, op.dynamic_sizes)
            case tensor.ExpandShapeOp():
                return self._filled(result.type, op.dynamic_output_shape)
            case tensor.ExtractSliceOp() if len(op.static_sizes) == len(_shape_of(result.type)):
                return self._mixed(op.static_sizes, op.sizes)
            case tensor.CollapseShapeOp():
                source = self._known(op.src)
                runs = [[i.value.data for i in run] for run in op.reassociation]
                return tuple(product(source[i] for i in run) for run in runs)
            case tensor.CastOp():
                return self.shapes.get(op.source)
            case tensor.PadOp():
                low = self._mixed(op.static_low, op.low)
                high = self._mixed(op.static_high, op.high)
                source = self._known(op.source)
                return tuple(a + b + c for a, b, c in zip(source, low, high, strict=True))
            case tensor.ConcatOp():
                return self._joined([self._known(v) for v in op.inputs], op.dim.value.data)
            case tensor.InsertSliceOp() | tensor.InsertOp():
                return self.shapes.get(op.dest)
            case LinalgStructuredOperation() | scf.ForOp():
                # One destination, or carried value, per result: the last operands.
                return self.shapes.get(
                    op.operands[len(op.operands) - len(op.results) + result.index]
                )
        return None

    def _filled(self, type_: Attribute, dynamic: Sequence[SSAValue]) -> Shape:
        rest = iter(dynamic)
        shape = _shape_of(type_)
        return tuple(dim_of(next(rest), self.sizes) if d == DYNAMIC_INDEX else d for d in shape)

    def _mixed(self, static: DenseArrayBase[Any], dynamic: Sequence[SSAValue]) -> Shape:
        rest = iter(dynamic)
        return tuple(
            dim_of(next(rest), self.sizes) if d == DYNAMIC_INDEX else d for d in static.get_values()
        )

    @staticmethod
    def _joined(shapes: Sequence[Shape], dim: int) -> Shape:
        total: Dim = 0
        for s in shapes:
            total = total + s[dim]
        return (*shapes[0][:dim], total, *shapes[0][dim + 1 :])


def _is_call(op: Operation) -> bool:
    return isinstance(op, func.CallOp)


def _shape_of(type_: Attribute) -> tuple[int, ...]:
    return cast("TensorType[Attribute]", type_).get_shape()


def _reads(op: Operation) -> list[SSAValue]:
    return list(dict.fromkeys((*op.operands, *captured(op))))


def _is_recomputed(value: SSAValue) -> bool:
    """Whether a kernel computes a value of main again rather than taking it as an argument."""
    op = value.owner
    if not isinstance(op, Operation):
        return False
    if isinstance(op, _SHARED):
        return True
    # Scalars are computed from what is in memory; sizes are arguments.
    return not isinstance(value.type, TensorType | IndexType) and not isinstance(op, func.CallOp)


def _recomputed(op: Operation) -> list[Operation]:
    """The operations that a kernel around `op` computes again, in order."""
    found: dict[Operation, None] = {}

    def visit(reader: Operation) -> None:
        for v in _reads(reader):
            if _is_recomputed(v) and isinstance(v.owner, Operation) and v.owner not in found:
                visit(v.owner)
                found[v.owner] = None

    visit(op)
    return list(found)


def _needed(op: Operation) -> list[SSAValue]:
    """The values of main that a kernel around `op` takes as arguments."""
    readers = [*_recomputed(op), op]
    return list(dict.fromkeys(v for r in readers for v in _reads(r) if not _is_recomputed(v)))


def _hero(op: Operation) -> str:
    """The kind of an operation, for the choice of its schedule."""
    if not isinstance(op, LinalgStructuredOperation):
        return "view" if not op.regions else "generic"
    return natural_hero(op)
