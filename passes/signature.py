"""The arguments of the host function: inputs, outputs, the arena, sizes, scalars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects import func
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DictionaryAttr,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    TensorType,
    i1,
    i8,
)
from xdsl.ir import Attribute, SSAValue

from ..ir import sym
from ..ir.sym import Dim, Expr
from ..ir.types import Shape
from .dims import DIMS, dims_attr, shape_from
from .host_control import STEPS, shapes_of
from .lower_to_linalg import SYMBOL
from .storage import buffer_type

ALIAS = "calque.alias"
ARENA = MemRefType(i8, [DYNAMIC_INDEX])
_INDEX = IndexType()
_NONE = DictionaryAttr({})


def shape_of(type_: Attribute, attrs: DictionaryAttr, name: str = "") -> Shape | None:
    """Symbolic sizes of a tensor: from its attributes or type; unnamed sizes of an input are
    called after it, those of other values are not known."""
    assert isinstance(type_, TensorType)
    given = attrs.data.get(DIMS)
    if isinstance(given, ArrayAttr):
        return shape_from(given)
    static = type_.get_shape()
    if DYNAMIC_INDEX in static and not name:
        return None
    return tuple(
        sym.symbol(f"{name}_{i}") if d == DYNAMIC_INDEX else d for i, d in enumerate(static)
    )


def result_shapes(function: func.FuncOp) -> list[Shape | None]:
    """The symbolic sizes of the results of a group function."""
    types = function.function_type.outputs.data
    attrs = function.res_attrs.data if function.res_attrs else [_NONE] * len(types)
    return [shape_of(t, a) for t, a in zip(types, attrs, strict=True)]


def aliased_results(main: func.FuncOp) -> set[SSAValue]:
    """The values that main returns as the new content of one of its arguments."""
    last = main.body.block.last_op
    if main.res_attrs is None or last is None:
        return set()
    pairs = zip(last.operands, main.res_attrs.data, strict=True)
    return {v for v, attrs in pairs if ALIAS in attrs.data}


def dims_of(host: func.FuncOp, role: str) -> list[Shape]:
    """The symbolic sizes of a host function's arguments of one role."""
    shapes: list[Shape] = []
    attrs = host.arg_attrs.data if host.arg_attrs is not None else ()
    for arg, given in zip(host.body.block.args, attrs, strict=False):
        if isinstance(arg.type, MemRefType) and _text(given, "calque.role") == role:
            dims = given.data.get(DIMS)
            known = shape_from(dims) if isinstance(dims, ArrayAttr) else ()
            shapes.append(known or arg.type.get_shape())
    return shapes


def argument_sizes(main: func.FuncOp) -> dict[SSAValue, Shape | Dim]:
    """The shapes of main's tensors, and the sizes that are arguments themselves."""
    args = main.body.block.args
    given = main.arg_attrs.data if main.arg_attrs else [_NONE] * len(args)
    found: dict[SSAValue, Shape | Dim] = {}
    for i, (arg, attrs) in enumerate(zip(args, given, strict=True)):
        if isinstance(arg.type, TensorType):
            shape = shape_of(arg.type, attrs, _text(attrs, "calque.name") or f"arg{i}")
            assert shape is not None
            found[arg] = shape
        elif isinstance(arg.type, IndexType):
            found[arg] = sym.symbol(_text(attrs, SYMBOL) or f"size{i}")
    return found


@dataclass(frozen=True, slots=True)
class HostArguments:
    """The block arguments of the host function by their meaning."""

    values: Mapping[SSAValue, SSAValue]
    outs: Sequence[SSAValue]
    symbols: Mapping[str, SSAValue]


class HostSignature:
    """Read from main at the `linalg` stage."""

    def __init__(
        self,
        main: func.FuncOp,
        results: Sequence[SSAValue],
        callees: Mapping[str, list[Shape | None]],
    ) -> None:
        args = main.body.block.args
        self.results = results
        self.callees = callees
        self._given = list(main.arg_attrs.data) if main.arg_attrs else [_NONE] * len(args)
        self._results = list(main.res_attrs.data) if main.res_attrs else [_NONE] * len(results)
        self.inputs: list[tuple[SSAValue, DictionaryAttr]] = []
        self.scalars: list[tuple[SSAValue, DictionaryAttr]] = []
        self.indices: dict[str, SSAValue] = {}
        self.symbols: list[str] = []
        self._shapes: dict[SSAValue, Shape] = {}
        for i, (arg, attrs) in enumerate(zip(args, self._given, strict=True)):
            self._argument(arg, attrs, i)
        self.aliases = [_integer(a, ALIAS) for a in self._results]
        self.out_shapes = [
            self._out_shape(v, a) for v, a in zip(results, self._results, strict=True)
        ]

    def _argument(self, arg: SSAValue, attrs: DictionaryAttr, number: int) -> None:
        if isinstance(arg.type, TensorType):
            self.inputs.append((arg, attrs))
            shape = shape_of(arg.type, attrs, _text(attrs, "calque.name") or f"arg{number}")
            assert shape is not None
            self._shapes[arg] = shape
            names = [str(d) for d in shape if isinstance(d, Expr) and str(d) in sym.symbols(d)]
        elif isinstance(arg.type, IndexType):
            names = [_text(attrs, SYMBOL) or f"size{number}"]
            self.indices[names[0]] = arg
        else:
            self.scalars.append((arg, attrs))
            names = []
        self.symbols += [n for n in dict.fromkeys(names) if n not in self.symbols]

    def shape_of(self, value: SSAValue) -> Shape | None:
        """The symbolic sizes of an argument of main or of a call's result."""
        known, owner = self._shapes.get(value), value.owner
        if known is None and isinstance(owner, STEPS):
            number = next(i for i, r in enumerate(owner.results) if r is value)
            if isinstance(owner, func.CallOp):
                return self.callees[owner.callee.string_value()][number]
            return shapes_of(owner)[number]
        return known

    def _out_shape(self, value: SSAValue, attrs: DictionaryAttr) -> Shape:
        shape = shape_of(value.type, attrs)
        if shape is None:
            shape = self.shape_of(value)
        if shape is None:
            raise ValueError(f"a result of @main of type {value.type} needs {DIMS} for its sizes")
        return shape

    def arg_types(self) -> list[Attribute]:
        """The types of the host function's arguments."""
        types: list[Attribute] = [buffer_type(v.type) for v, _ in self.inputs]
        types += [buffer_type(v.type) for v in self.results]
        types.append(ARENA)
        types += [_INDEX] * len(self.symbols)
        return types + [v.type for v, _ in self.scalars]

    def bind(self, args: Sequence[SSAValue]) -> HostArguments:
        """Name the arguments of the host function and tell them apart."""
        values: dict[SSAValue, SSAValue] = {}
        left = iter(args)
        for old, _ in self.inputs:
            values[old] = new = next(left)
            new.name_hint = old.name_hint
        outs = [next(left) for _ in self.results]
        for i, (out, attrs) in enumerate(zip(outs, self._results, strict=True)):
            hint = (_text(attrs, "calque.name") or "").replace(".", "_")
            default = "out" if len(outs) == 1 else f"out{i}"
            out.name_hint = f"{hint}_out" if hint.isidentifier() else default
        next(left).name_hint = "arena"
        symbols = {name: next(left) for name in self.symbols}
        for name, arg in symbols.items():
            arg.name_hint = name
            if name in self.indices:
                values[self.indices[name]] = arg
        for old, _ in self.scalars:
            values[old] = next(left)
        return HostArguments(values, outs, symbols)

    def arg_attrs(self) -> ArrayAttr[DictionaryAttr]:
        """What the types of the host function's arguments do not say."""
        out = [_stored(v.type, a, self._shapes[v]) for v, a in self.inputs]
        for value, attrs, shape in zip(self.results, self._results, self.out_shapes, strict=True):
            made = _stored(value.type, attrs, shape)
            out.append(DictionaryAttr({**made.data, "calque.role": StringAttr("output")}))
        out.append(_NONE)
        out += [DictionaryAttr({SYMBOL: StringAttr(s)}) for s in self.symbols]
        return ArrayAttr(out + [a for _, a in self.scalars])


def _stored(type_: Attribute, attrs: DictionaryAttr, shape: Shape) -> DictionaryAttr:
    """The attributes of an argument, with its element type where memory does not show it."""
    data = dict(attrs.data)
    assert isinstance(type_, TensorType)
    if type_.element_type == i1:
        data["calque.dtype"] = StringAttr("bool")
    elif "calque.unsigned" in data:
        data["calque.dtype"] = StringAttr(f"u{str(type_.element_type)[1:]}")
    if any(isinstance(d, Expr) for d in shape):
        data[DIMS] = dims_attr(shape)
    return DictionaryAttr(data)


def _text(attrs: DictionaryAttr, key: str) -> str | None:
    value = attrs.data.get(key)
    return value.data if isinstance(value, StringAttr) else None


def _integer(attrs: DictionaryAttr, key: str) -> int | None:
    value = attrs.data.get(key)
    return value.value.data if isinstance(value, IntegerAttr) else None
