"""What a compiled program takes, read from its host function.

Argument attributes of `@main` carry what types cannot say:

- ``calque.name``: the name of an array (default "arg0", ...);
- ``calque.role``: "input" (default), "state" or "output";
- ``calque.alias``: for an output, the index of the argument whose memory it takes over;
- ``calque.dtype``: where it is not that of the storage, such as "bool" for i8;
- ``calque.unsigned``: the integers have no sign;
- ``calque.dims``: the dimensions as integers and expressions over symbols (strings);
- ``calque.symbol``: the name of the size symbol that an index argument carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from xdsl.dialects import func
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DictionaryAttr,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
)
from xdsl.ir import Attribute

from ..runtime.artifact import ParamSpec
from .types import is_strided, static_strides

Signature = tuple[tuple[ParamSpec, ...], tuple[str, ...], tuple[str, ...]]


def signature(main: func.FuncOp) -> Signature:
    """(params, symbols, dtypes of scalars) of a host function; its last memref is the arena."""
    args = main.body.block.args
    attributes = main.arg_attrs.data if main.arg_attrs else [DictionaryAttr({})] * len(args)
    params: list[ParamSpec] = []
    symbols: list[str] = []
    scalars: list[str] = []
    for arg, attrs in zip(args, attributes, strict=True):
        assert isinstance(attrs, DictionaryAttr)
        if isinstance(arg.type, MemRefType):
            params.append(_param(arg.type, attrs.data, len(params)))
        elif isinstance(arg.type, IndexType):
            symbols.append(_string(attrs.data, "symbol") or f"size{len(symbols)}")
        else:
            scalars.append(_string(attrs.data, "dtype") or str(arg.type))
    return tuple(params[:-1]), tuple(symbols), tuple(scalars)


def _param(ty: MemRefType, attrs: Mapping[str, Attribute], number: int) -> ParamSpec:
    name = _string(attrs, "name") or f"arg{number}"
    alias = attrs.get("calque.alias")
    return ParamSpec(
        name=name,
        dtype=_string(attrs, "dtype") or _dtype(ty, attrs),
        dims=_dims(ty, attrs.get("calque.dims"), name),
        role=cast(Literal["input", "state", "output"], _string(attrs, "role") or "input"),
        alias=alias.value.data if isinstance(alias, IntegerAttr) else None,
        strides=static_strides(ty) if is_strided(ty) else None,
    )


def _dtype(ty: MemRefType, attrs: Mapping[str, Attribute]) -> str:
    name = str(ty.element_type)
    return f"u{name[1:]}" if "calque.unsigned" in attrs else name


def _dims(ty: MemRefType, given: Attribute | None, name: str) -> tuple[int | str, ...]:
    """A static dimension is what the type says; a dynamic one without expression is called
    after the array."""
    entries = list(given.data) if isinstance(given, ArrayAttr) else [None] * ty.get_num_dims()
    dims: list[int | str] = []
    for axis, (extent, entry) in enumerate(zip(ty.get_shape(), entries, strict=True)):
        if extent != DYNAMIC_INDEX:
            dims.append(extent)
        else:
            dims.append(entry.data if isinstance(entry, StringAttr) else f"{name}_{axis}")
    return tuple(dims)


def _string(attrs: Mapping[str, Attribute], key: str) -> str | None:
    value = attrs.get(f"calque.{key}")
    return value.data if isinstance(value, StringAttr) else None
