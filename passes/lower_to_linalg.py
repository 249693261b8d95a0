"""From operators to the `linalg` stage: each function by the `lower` rules of its operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.context import Context
from xdsl.dialects import func, tensor
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IndexType,
    ModuleOp,
    StringAttr,
    UnitAttr,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from ..ir import dtype as dt
from ..ir.lowering import LinalgBuilder, Tensor, plain_type
from ..ir.op import Op
from ..ir.ops.control import Control, Yield
from ..ir.sym import Expr, symbols
from ..ir.types import Shape, TensorMeta, from_type
from ..ir.verify import environment
from .dims import DIMS, dims_attr
from .lower_control import lower_control
from .outline import HERO, SOURCE
from .stages import GRAPH, require_stage

SYMBOL = "calque.symbol"
SYMBOLS = "calque.symbols"
_INDEX = IndexType()


class LowerToLinalg(ModulePass):
    """Lower operators to linalg, tensor, arith, math, scf and cf.assert."""

    name = "lower-to-linalg"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, GRAPH)
        lower_module(op)


def lower_module(module: ModuleOp) -> None:
    """Lower every function; callers pass the sizes that a callee needs."""
    functions = [f for f in module.ops if isinstance(f, func.FuncOp) and f.body.blocks]
    needed: dict[str, list[str]] = {}
    # Callees come first, so that callers know which sizes to pass.
    for function in sorted(functions, key=lambda f: f.sym_visibility is None):
        lowered = lower_function(function, needed)
        module.body.block.insert_op_before(lowered, function)
        function.detach()
        function.erase()


def lower_function(function: func.FuncOp, needed: dict[str, list[str]]) -> func.FuncOp:
    """A function of the `linalg` stage; `needed` maps callees to the size symbols they take."""
    old = function.body.block
    metas = [from_type(a.type) for a in old.args]
    block = Block(arg_types=[plain_type(m) for m in metas])
    private = function.sym_visibility is not None
    sizes = _Sizes(block, None if private else metas, _listed(function))
    b = LinalgBuilder(block, sizes)
    values: dict[SSAValue, Tensor] = {}
    for arg, new, meta in zip(old.args, block.args[: len(metas)], metas, strict=True):
        new.name_hint = arg.name_hint
        values[arg] = b.track(new, meta)
    with environment(function):
        results = _body(b, old, values, needed)
    name = function.sym_name.data
    needed[name] = sizes.order
    out_metas = [from_type(t) for t in function.function_type.outputs.data]
    made = func.FuncOp(
        name,
        FunctionType.from_lists([a.type for a in block.args], [v.type for v in results]),
        Region(block),
        function.sym_visibility,
        arg_attrs=_arg_attrs(function, metas, sizes.order),
        res_attrs=_res_attrs(function, out_metas),
    )
    made.attributes.update(function.attributes)
    made.attributes.pop(SYMBOLS, None)
    made.location = function.location
    return made


def _body(
    b: LinalgBuilder,
    block: Block,
    values: dict[SSAValue, Tensor],
    needed: Mapping[str, Sequence[str]],
) -> list[SSAValue]:
    """Lower the operations of a block; the values that it returns or yields."""

    def inner(region: Block, args: Sequence[Tensor]) -> list[SSAValue]:
        return _body(b, region, dict(zip(region.args, args, strict=True)), needed)

    for op in block.ops:
        b.location = op.location
        if isinstance(op, Control):
            _bind(op, values, lower_control(b, op, [values[v] for v in op.operands], inner))
        elif isinstance(op, Op):
            node = op.node()
            node.operands = [values[v] for v in op.operands]
            node.results = ()
            _bind(op, values, type(op).lower(b, node))
        elif isinstance(op, func.CallOp):
            _bind(op, values, _call(b, op, values, needed))
        elif isinstance(op, func.ReturnOp):
            metas = [from_type(v.type) for v in op.operands]
            found = b.values([values[v] for v in op.operands])
            results = [b.retype(v, m) for v, m in zip(found, metas, strict=True)]
            b.insert(func.ReturnOp.create(operands=results))
            return results
        elif isinstance(op, Yield):
            return b.values([values[v] for v in op.operands])
        else:
            raise NotImplementedError(f"'{op.name}' in a graph function")
    raise ValueError("a function must end in func.return")


def _bind(op: Operation, values: dict[SSAValue, Tensor], results: Sequence[Tensor]) -> None:
    for old, new in zip(op.results, results, strict=True):
        values[old] = new
        _name(new, old)


def _call(
    b: LinalgBuilder,
    op: func.CallOp,
    values: Mapping[SSAValue, Tensor],
    needed: Mapping[str, Sequence[str]],
) -> list[SSAValue]:
    operands = b.values([values[v] for v in op.operands])
    operands += [b.size.symbols[s] for s in needed[op.callee.string_value()]]
    metas = [from_type(r.type) for r in op.results]
    call = func.CallOp.create(
        operands=operands,
        result_types=[plain_type(m) for m in metas],
        properties=op.properties,
    )
    return [b.track(r, m) for r, m in zip(b.insert(call), metas, strict=True)]


def _name(new: Tensor, old: SSAValue) -> None:
    if isinstance(new, SSAValue) and new.name_hint is None:
        new.name_hint = old.name_hint


def copy_function(name: str, shape: Shape, element: Attribute) -> func.FuncOp:
    """A private function that copies one tensor, for values that must be in two places."""
    meta = TensorMeta(shape, dt.from_element(element))
    block = Block(arg_types=[plain_type(meta)])
    block.args[0].name_hint = "x"
    sizes = _Sizes(block, None, ())
    b = LinalgBuilder(block, sizes)
    x = b.track(block.args[0], meta)
    (value,) = b.values([b.pointwise(meta, [x], body=lambda s, e: e)])
    b.insert(func.ReturnOp.create(operands=(value,)))
    made = func.FuncOp(
        name,
        FunctionType.from_lists([a.type for a in block.args], [value.type]),
        Region(block),
        "private",
        arg_attrs=ArrayAttr(
            [_described(None, meta), *[DictionaryAttr({SYMBOL: StringAttr(s)}) for s in sizes]]
        ),
        res_attrs=ArrayAttr([_described(None, meta)]),
    )
    made.attributes[HERO] = StringAttr("elementwise")
    made.attributes[SOURCE] = ArrayAttr([StringAttr("copy")])
    return made


class _Sizes(Mapping[str, SSAValue]):
    """The size symbols of a function, made on demand.

    A private function takes an index argument for each symbol that it uses. `main` measures its
    inputs, and takes arguments only for the symbols that are no input's dimension.
    """

    def __init__(
        self, block: Block, inputs: Sequence[TensorMeta] | None, listed: Sequence[str]
    ) -> None:
        self.block = block
        self.order: list[str] = []
        self.known: dict[str, SSAValue] = {}
        for name in listed:
            self._argument(name)
        self.sources: dict[str, tuple[int, int]] = {}
        for i, meta in enumerate(inputs or ()):
            for axis, d in enumerate(meta.shape):
                if isinstance(d, Expr) and str(d) in symbols(d):
                    self.sources.setdefault(str(d), (i, axis))
        self.measures = inputs is not None

    def __getitem__(self, name: str) -> SSAValue:
        found = self.known.get(name)
        if found is not None:
            return found
        if not self.measures:
            return self._argument(name)
        if name not in self.sources:
            raise ValueError(f"size {name} is the dimension of no input, and no argument either")
        i, axis = self.sources[name]
        from ..ir.sizes import SizeBuilder

        at = SizeBuilder(self._insert, {})(axis)
        made = tensor.DimOp.create(
            operands=(self.block.args[i], at),
            result_types=(_INDEX,),
            attributes={SYMBOL: StringAttr(name)},
        )
        self._insert(made)
        made.results[0].name_hint = name
        self.known[name] = made.results[0]
        return made.results[0]

    def _insert(self, op: Operation) -> None:
        self.block.add_op(op)

    def _argument(self, name: str) -> SSAValue:
        arg = self.block.insert_arg(_INDEX, len(self.block.args))
        arg.name_hint = name
        self.known[name] = arg
        self.order.append(name)
        return arg

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


def _listed(function: func.FuncOp) -> list[str]:
    given = function.attributes.get(SYMBOLS)
    return (
        [s.data for s in given if isinstance(s, StringAttr)] if isinstance(given, ArrayAttr) else []
    )


def _described(given: DictionaryAttr | None, meta: TensorMeta) -> DictionaryAttr:
    """The attributes of an argument or result, with what its plain type does not say."""
    data = dict(given.data) if given is not None else {}
    if meta.is_dynamic:
        data[DIMS] = dims_attr(meta.shape)
    if meta.dtype.kind == "u":
        data["calque.unsigned"] = UnitAttr()
    if meta.device != "cpu":
        data["calque.device"] = StringAttr(meta.device)
    return DictionaryAttr(data)


def _arg_attrs(
    function: func.FuncOp, metas: Sequence[TensorMeta], order: Sequence[str]
) -> ArrayAttr[DictionaryAttr] | None:
    given = function.arg_attrs.data if function.arg_attrs is not None else [None] * len(metas)
    out = [_described(g, m) for g, m in zip(given, metas, strict=True)]
    out += [DictionaryAttr({SYMBOL: StringAttr(s)}) for s in order]
    return ArrayAttr(out) if any(d.data for d in out) else None


def _res_attrs(
    function: func.FuncOp, metas: Sequence[TensorMeta]
) -> ArrayAttr[DictionaryAttr] | None:
    given = function.res_attrs.data if function.res_attrs is not None else [None] * len(metas)
    out = [_described(g, m) for g, m in zip(given, metas, strict=True)]
    return ArrayAttr(out) if any(d.data for d in out) else None


__all__ = ["DIMS", "HERO", "SYMBOL", "LowerToLinalg", "copy_function", "dims_attr", "lower_module"]
