"""Codecs between an operator's Python attributes, their form in IR and their text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    BoolAttr,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    NoneAttr,
    StringAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from . import dtype as dt
from .types import DimAttr, TensorMeta, from_type, parse_dim, to_type


@dataclass(frozen=True, slots=True)
class Codec:
    """How one attribute travels: Python value to IR attribute and back, and IR to text and back."""

    encode: Callable[[Any], Attribute]
    decode: Callable[[Any], Any]
    print: Callable[[Any, Printer], None]
    parse: Callable[[AttrParser], Attribute]


def _print_bare(attr: Any, printer: Printer) -> None:
    """Integers and sizes without their types."""
    printer.print_string(str(_undim(attr)))


@lru_cache(maxsize=4096)
def _dim(value: Any) -> Attribute:
    return DimAttr(value) if not isinstance(value, int) else IntegerAttr(value, i64)


def _undim(attr: Any) -> Any:
    return attr.value.data if isinstance(attr, IntegerAttr) else attr.data


def _parse_dim(parser: AttrParser) -> Attribute:
    return _dim(parse_dim(parser))


def _parse_dtype(parser: AttrParser) -> Attribute:
    start = parser.pos
    name = parser.parse_identifier(" as the name of a data type")
    if name not in dt.BY_NAME:
        parser.raise_error(f"no data type is named '{name}'", start)
    return StringAttr(name)


def _print_bool(attr: Any, printer: Printer) -> None:
    printer.print_string("true" if attr.value.data else "false")


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _array(item: Codec) -> Codec:
    """A list of `item`, a tuple in Python."""

    def show(attr: Any, printer: Printer) -> None:
        printer.print_string("[")
        printer.print_list(attr.data, lambda a: item.print(a, printer))
        printer.print_string("]")

    def parse(parser: AttrParser) -> Attribute:
        items = parser.parse_comma_separated_list(
            parser.Delimiter.SQUARE, lambda: item.parse(parser)
        )
        return ArrayAttr(items)

    @lru_cache(maxsize=4096)  # programs have few lists, very often
    def encode(values: tuple[Any, ...]) -> Attribute:
        return ArrayAttr([item.encode(x) for x in values])

    return Codec(
        lambda v: encode(_hashable(v)),
        lambda a: tuple(item.decode(x) for x in a.data),
        show,
        parse,
    )


def optional(item: Codec) -> Codec:
    """A value that may be None, written `none`."""

    def show(attr: Any, printer: Printer) -> None:
        if isinstance(attr, NoneAttr):
            printer.print_string("none")
        else:
            item.print(attr, printer)

    return Codec(
        lambda v: NoneAttr() if v is None else item.encode(v),
        lambda a: None if isinstance(a, NoneAttr) else item.decode(a),
        show,
        lambda p: NoneAttr() if p.parse_optional_keyword("none") else item.parse(p),
    )


def _dense(array: Any) -> Attribute:
    array = np.asarray(array)
    meta = TensorMeta(array.shape, dt.from_numpy(array.dtype))
    flat = array.reshape(-1)
    if meta.dtype.kind == "f":
        values = flat.astype(np.float64)
    else:
        values = flat.astype(np.int64)
    bits = flat.view(np.uint8).reshape(flat.size, flat.itemsize)
    if flat.size > 1 and (bits == bits[0]).all():
        values = values[:1]
    elements: Any = values.tolist()
    return DenseIntOrFPElementsAttr.from_list(cast(Any, to_type(meta)), elements)


def _undense(attr: Any) -> np.ndarray:
    dtype = from_type(attr.type).dtype  # the encoding tells unsigned from signed
    shape = attr.type.get_shape()
    values = np.asarray(list(attr.get_values()))
    values = values != 0 if dtype is dt.bool_ else values.astype(dtype.numpy)
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), shape).copy()
    return values.reshape(shape)


def _print_attr(attr: Any, printer: Printer) -> None:
    printer.print_attribute(attr)


INT = Codec(
    lambda v: IntegerAttr(int(v), i64),
    lambda a: a.value.data,
    _print_bare,
    lambda p: IntegerAttr(p.parse_integer(), i64),
)
DIM = Codec(_dim, _undim, _print_bare, _parse_dim)
FLOAT = Codec(
    lambda v: FloatAttr(float(v), f64),
    lambda a: a.value.data,
    _print_attr,
    lambda p: p.parse_attribute(),
)
BOOL = Codec(
    lambda v: BoolAttr.from_bool(bool(v)),
    lambda a: bool(a.value.data),
    _print_bool,
    lambda p: BoolAttr.from_bool(p.parse_boolean()),
)
STR = Codec(
    lambda v: StringAttr(v),
    lambda a: a.data,
    _print_attr,
    lambda p: StringAttr(p.parse_str_literal()),
)
DTYPE = Codec(
    lambda v: StringAttr(v.name),
    lambda a: dt.BY_NAME[a.data],
    lambda a, p: p.print_string(a.data),
    _parse_dtype,
)
DENSE = Codec(_dense, _undense, _print_attr, lambda p: p.parse_attribute())
INTS = _array(INT)
DIMS = _array(DIM)
PAIRS = _array(DIMS)
