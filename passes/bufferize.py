"""From tensors to memory: `@main` becomes the host function, group functions become kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, func, memref, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    FunctionType,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, OpResult, Region, SSAValue
from xdsl.passes import ModulePass

from ..ir.sizes import SizeBuilder
from ..ir.sym import Dim, product
from ..ir.types import Shape
from .commit import Step, schedule
from .host_control import (
    CONTROL,
    STEPS,
    VIEWS,
    calls_in,
    captured,
    element,
    emit_control,
    slice_buffer,
)
from .kernels import INPLACE, can_fail, to_kernel
from .lower_to_linalg import SYMBOL, copy_function
from .signature import HostSignature, result_shapes
from .stages import LINALG, require_stage
from .storage import buffer_type


class Bufferize(ModulePass):
    """Make main the host function over memrefs and each group function a kernel."""

    name = "bufferize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, LINALG)
        bufferize(op)


def bufferize(module: ModuleOp) -> None:
    """Rewrite all functions of a `linalg`-stage module. Raises ValueError where main computes
    other than by calls, free views and arithmetic on sizes."""
    functions = {f.sym_name.data: f for f in module.ops if isinstance(f, func.FuncOp)}
    main = functions.pop("main", None)
    kernels: dict[str, _Kernel] = {}
    for name, function in functions.items():
        if function.body.blocks:
            shapes = result_shapes(function)
            kernels[name] = _Kernel(to_kernel(function), shapes)
            _replace(module, function, kernels[name].function)
    if main is not None:
        _replace(module, main, Host(module, main, kernels).build())


def _replace(module: ModuleOp, old: func.FuncOp, new: func.FuncOp) -> None:
    module.body.block.insert_op_before(new, old)
    old.detach()
    old.erase(safe_erase=False)


@dataclass(eq=False)
class _Kernel:
    """A kernel, with what callers must know of it."""

    function: func.FuncOp
    shapes: list[Shape | None]

    def __post_init__(self) -> None:
        self.can_fail = can_fail(self.function)
        attrs = self.function.arg_attrs
        given = [a.data.get(SYMBOL) for a in attrs.data] if attrs is not None else []
        self.symbols = [name.data for name in given if isinstance(name, StringAttr)]

    def may_reuse(self, argument: int, result: int) -> bool:
        """Whether a result may be written into the memory of an argument."""
        attrs = self.function.arg_attrs
        given = attrs.data[argument].data.get(INPLACE) if attrs is not None else None
        return isinstance(given, ArrayAttr) and any(r.value.data == result for r in given)


@dataclass(eq=False, slots=True)
class _Work(Step):
    """A call of main, or a loop or branch around calls."""

    op: Operation = field(kw_only=True)


class Host:
    """The host function under construction. Values of main that are no calls, such as free views
    and sizes, are made when something first needs them."""

    def __init__(self, module: ModuleOp, main: func.FuncOp, kernels: dict[str, _Kernel]) -> None:
        self.module, self.main, self.kernels = module, main, kernels
        last = main.body.block.last_op
        assert isinstance(last, func.ReturnOp)
        self.results = list(last.operands)
        self.signature = HostSignature(main, self.results, kernels_shapes(kernels))
        self.block = Block(arg_types=self.signature.arg_types())
        self.args = self.signature.bind(self.block.args)
        self.size = SizeBuilder(self.block.add_op, self.args.symbols)
        self.values: dict[SSAValue, SSAValue] = dict(self.args.values)
        self.number = {v: i for i, (v, _) in enumerate(self.signature.inputs)}
        # The output whose memory a call's result takes.
        self.dest: dict[SSAValue, int] = {}
        self.copies: dict[tuple[Shape, Attribute], _Kernel] = {}

    def build(self) -> func.FuncOp:
        """The host function, in place of main."""
        late = self._claim_outputs()
        steps, copied = schedule(self._steps())
        for root in [r for r, k in self.dest.items() if k in copied]:
            late.append(self.dest.pop(root))
        late = self._copy_early(sorted(late))
        for step in steps:
            assert isinstance(step, _Work)
            if isinstance(step.op, func.CallOp):
                self.call(step.op)
            else:
                emit_control(self, step.op)
        for k, source in late:
            self._copy(source if source is not None else self.value(self.results[k]), k)
        self.block.add_op(func.ReturnOp())
        types = [a.type for a in self.block.args]
        made = func.FuncOp(
            "main",
            FunctionType.from_lists(types, []),
            Region(self.block),
            arg_attrs=self.signature.arg_attrs(),
        )
        made.attributes.update(self.main.attributes)
        made.location = self.main.location
        return made

    # ---- where results go ----------------------------------------------------------------------

    def _claim_outputs(self) -> list[int]:
        """Let results of calls be computed in the memory of outputs; the outputs that need a copy
        instead."""
        late: list[int] = []
        for k, value in enumerate(self.results):
            root = root_of(value)
            alias = self.signature.aliases[k]
            if alias is not None and self.number.get(value) == alias:
                continue  # state that keeps its value
            owner = root.owner
            # A loop may have written part of its results when something fails: no state there.
            direct = isinstance(owner, func.CallOp) or (
                alias is None and isinstance(owner, CONTROL)
            )
            if direct and root not in self.dest:
                self.dest[root] = k
            else:
                late.append(k)
        return late

    def _steps(self) -> list[_Work]:
        made: dict[Operation, _Work] = {}
        for op in self.main.body.block.ops:
            if not isinstance(op, STEPS):
                continue
            fails = any(self._kernel(call).can_fail for call in calls_in(op))
            step = _Work(len(made), can_fail=fails, op=op)
            roots = [root_of(v) for v in (*op.operands, *captured(op))]
            owners = [r.owner for r in roots]
            step.after = [made[o] for o in owners if isinstance(o, STEPS)]
            step.states = {self.number[r] for r in roots if r in self.number}
            made[op] = step
            if isinstance(op, func.CallOp):
                self._commits(step, op, roots)
        return list(made.values())

    def _kernel(self, call: func.CallOp) -> _Kernel:
        return self.kernels[call.callee.string_value()]

    def _commits(self, step: _Work, op: func.CallOp, roots: list[SSAValue]) -> None:
        """The state that a call can write in place; other state gets memory of its own."""
        for i, result in enumerate(op.results):
            k = self.dest.get(result)
            alias = None if k is None else self.signature.aliases[k]
            if k is None or alias is None:
                continue
            places = [j for j, r in enumerate(roots) if self.number.get(r) == alias]
            safe = not places or (len(places) == 1 and self._kernel(op).may_reuse(places[0], i))
            step.commits.append((alias, k))
            step.is_safe &= safe and not step.can_fail

    def _copy_early(self, late: list[int]) -> list[tuple[int, SSAValue | None]]:
        """Save what is copied from arguments that will be overwritten, before any call.

        Returns the outputs to copy at the end, with the saved value where there is one.
        """
        overwritten = {a for a in self.signature.aliases if a is not None}
        left: list[tuple[int, SSAValue | None]] = []
        for k in late:
            source = self.number.get(root_of(self.results[k]))
            if source is None or source not in overwritten:
                left.append((k, None))
            elif self.signature.aliases[k] is None:
                self._copy(self.value(self.results[k]), k)
            else:
                shape = self.signature.out_shapes[k]
                saved = self.alloc(shape, cast("MemRefType", self.args.outs[k].type))
                self._copy_to(self.value(self.results[k]), saved, shape)
                left.append((k, saved))
        return left

    # ---- operations ------------------------------------------------------------------------------

    def call(self, op: func.CallOp) -> None:
        """Add a call of a kernel to the current block, with memory for its results."""
        operands, kernel = [self.value(v) for v in op.operands], self._kernel(op)
        tensors = [v for v in operands if isinstance(v.type, MemRefType)]
        others = [v for v in operands if not isinstance(v.type, MemRefType)]
        results: list[SSAValue] = []
        for result, shape in zip(op.results, kernel.shapes, strict=True):
            type_ = buffer_type(result.type)
            if shape is None:
                name = op.callee.string_value()
                raise ValueError(f"a result of @{name} of type {result.type} needs calque.dims")
            k = self.dest.get(result)
            made = self.alloc(shape, type_) if k is None else self.within(k, shape, type_)
            made.name_hint = made.name_hint or result.name_hint
            self.values[result] = made
            results.append(made)
        self._emit_call(kernel, [*tensors, *results, *others], op)

    def _emit_call(self, kernel: _Kernel, operands: list[SSAValue], like: Operation) -> None:
        name = kernel.function.sym_name.data
        self.block.add_op(
            func.CallOp.create(
                operands=operands,
                properties={"callee": SymbolRefAttr(name)},
                location=like.location,
            )
        )

    def add(self, op: Operation, like: Operation | None = None) -> Sequence[SSAValue]:
        """Add an operation to the current block, with the location of another."""
        if like is not None:
            op.location = like.location
        self.block.add_op(op)
        return op.results

    @contextmanager
    def into(self, block: Block) -> Iterator[None]:
        """Add to another block for a while."""
        before, self.block = self.block, block
        try:
            yield
        finally:
            self.block = before

    def alloc(self, shape: Shape, type_: MemRefType) -> SSAValue:
        # The type may leave a size open that the shape knows.
        pairs = zip(shape, type_.get_shape(), strict=True)
        sizes = [self.size(d) for d, n in pairs if n == DYNAMIC_INDEX]
        made = memref.AllocOp.create(
            operands=sizes,
            result_types=(type_,),
            properties={"operandSegmentSizes": DenseArrayBase.from_list(i32, [len(sizes), 0])},
        )
        self.block.add_op(made)
        return made.results[0]

    def _dynamic(self, dims: Shape) -> list[SSAValue]:
        return [self.size(d) for d in dims if not isinstance(d, int)]

    def within(self, k: int, shape: Shape, type_: MemRefType) -> SSAValue:
        """The memory of an output as a buffer of another shape of as many elements."""
        out = self.args.outs[k]
        if out.type == type_:
            return out
        strides: list[Dim] = [product(shape[i + 1 :]) for i in range(len(shape))]
        made = memref.ReinterpretCastOp.create(
            operands=(out, *self._dynamic(shape), *self._dynamic(tuple(strides))),
            result_types=(type_,),
            properties={
                "static_offsets": DenseArrayBase.from_list(i64, [0]),
                "static_sizes": _static(shape),
                "static_strides": _static(tuple(strides)),
                "operandSegmentSizes": DenseArrayBase.from_list(
                    i32, [1, 0, len(self._dynamic(shape)), len(self._dynamic(tuple(strides)))]
                ),
            },
        )
        self.block.add_op(made)
        return made.results[0]

    def _copy(self, source: SSAValue, k: int) -> None:
        self._copy_to(source, self.args.outs[k], self.signature.out_shapes[k])

    def _copy_to(self, source: SSAValue, out: SSAValue, shape: Shape) -> None:
        element = cast("MemRefType", out.type).element_type
        kernel = self.copies.get((shape, element))
        if kernel is None:
            function = copy_function(f"copy{len(self.copies)}", shape, element)
            kernel = _Kernel(to_kernel(function), [shape])
            self.module.body.block.add_op(kernel.function)
            self.copies[shape, element] = kernel
        sizes = [self.args.symbols[name] for name in kernel.symbols]
        self._emit_call(kernel, [source, out, *sizes], self.main)

    # ---- values on demand ----------------------------------------------------------------------

    def value(self, v: SSAValue) -> SSAValue:
        """The buffer, or the scalar, of a value of main."""
        found = self.values.get(v)
        if found is None:
            assert isinstance(v, OpResult)
            found = self.values[v] = self._make(v.op)
            found.name_hint = found.name_hint or v.name_hint
        return found

    def _make(self, op: Operation) -> SSAValue:
        if isinstance(op, tensor.DimOp):
            return self._dim(op)
        if isinstance(op, VIEWS):
            return self._view(op)
        if isinstance(op, tensor.EmptyOp) and 0 in op.tensor.type.get_shape():
            # What a reshape of no elements is.
            type_ = buffer_type(op.tensor.type)
            return self.alloc(type_.get_shape(), type_)
        if isinstance(op, tensor.ExtractSliceOp):
            return slice_buffer(self, op)
        if isinstance(op, tensor.ExtractOp):
            return element(self, op)
        if any(isinstance(v.type, TensorType) for v in (*op.operands, *op.results)):
            raise ValueError(f"'{op.name}' in @main: the host function only calls kernels")
        made = op.clone({v: self.value(v) for v in op.operands})
        self.block.add_op(made)
        return made.results[0]

    def _dim(self, op: tensor.DimOp) -> SSAValue:
        shape = self.signature.shape_of(op.source)
        axis = op.index.owner
        if shape is None or not isinstance(axis, arith.ConstantOp):
            raise ValueError(f"the sizes of {op.source.type} in @main are not known")
        assert isinstance(axis.value, IntegerAttr)
        return self.size(shape[axis.value.value.data])

    def _view(self, op: Operation) -> SSAValue:
        source, type_ = self.value(op.operands[0]), buffer_type(op.results[0].type)
        if isinstance(op, tensor.CastOp):
            made: Operation = memref.CastOp.create(operands=(source,), result_types=(type_,))
        elif isinstance(op, tensor.CollapseShapeOp):
            made = memref.CollapseShapeOp.create(
                operands=(source,), result_types=(type_,), properties=op.properties
            )
        else:
            sizes = [self.value(v) for v in op.operands[1:]]
            made = memref.ExpandShapeOp.create(
                operands=(source, *sizes), result_types=(type_,), properties=op.properties
            )
        made.location = op.location
        self.block.add_op(made)
        return made.results[0]


def kernels_shapes(kernels: dict[str, _Kernel]) -> dict[str, list[Shape | None]]:
    """The shapes of the results of each kernel."""
    return {name: kernel.shapes for name, kernel in kernels.items()}


def _static(dims: Shape) -> DenseArrayBase:
    return DenseArrayBase.from_list(i64, [d if isinstance(d, int) else DYNAMIC_INDEX for d in dims])


def root_of(value: SSAValue) -> SSAValue:
    """The value whose memory a value of main shares or is read from."""
    while isinstance(value.owner, (*VIEWS, tensor.ExtractOp, tensor.ExtractSliceOp)):
        value = value.owner.operands[0]
    return value


__all__ = ["Bufferize", "bufferize"]
