"""Tensor types: the light `TensorMeta` that rules compute with, and its form in IR text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    NoneAttr,
    StringAttr,
    TensorType,
    UnitAttr,
)
from xdsl.ir import Attribute, Data, ParametrizedAttribute, SSAValue
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from . import dtype as dt
from .dtype import DType
from .sym import Dim, Expr, floordiv, mod, product, shown, smax, smin, symbol

Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """What is known of a tensor without its data: shape (ints or symbolic), dtype, device."""

    shape: Shape
    dtype: DType
    device: str = "cpu"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> Dim:
        return product(self.shape)

    @property
    def is_dynamic(self) -> bool:
        return any(isinstance(d, Expr) for d in self.shape)

    def with_shape(self, shape: Sequence[Dim]) -> TensorMeta:
        return TensorMeta(tuple(shape), self.dtype, self.device)

    def with_dtype(self, dtype: DType) -> TensorMeta:
        return replace(self, dtype=dtype)

    def __str__(self) -> str:
        return self._text(map(str, self.shape))

    def __format__(self, spec: str) -> str:
        """As part of a message: with the sizes that were met."""
        return format(self._text(map(shown, self.shape)), spec)

    def _text(self, sizes: Iterable[str]) -> str:
        where = "" if self.device == "cpu" else f" {self.device}"
        return f"{self.dtype.mlir}[{'x'.join(sizes)}]{where}"


@irdl_attr_definition
class DimAttr(Data[Dim]):
    """One size as an attribute: `#calque.dim<B*T>`."""

    name = "calque.dim"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Dim:
        with parser.in_angle_brackets():
            return parse_dim(parser)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))


@irdl_attr_definition
class TensorEncoding(ParametrizedAttribute):
    """The encoding of a tensor type: `#calque.t<[B, T, 384], "cuda:0", unsigned>`."""

    name = "calque.t"
    dims: ArrayAttr[DimAttr] = param_def()
    device: StringAttr | NoneAttr = param_def()
    unsigned: UnitAttr | NoneAttr = param_def()

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        device: Attribute = NoneAttr()
        unsigned: Attribute = NoneAttr()
        with parser.in_angle_brackets():
            dims = parse_dims(parser)
            while parser.parse_optional_punctuation(","):
                if parser.parse_optional_keyword("unsigned"):
                    unsigned = UnitAttr()
                else:
                    device = StringAttr(parser.parse_str_literal("a device name"))
        return ArrayAttr([DimAttr(d) for d in dims]), device, unsigned

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(dims_text(d.data for d in self.dims))
            if isinstance(self.device, StringAttr):
                printer.print_string(", ")
                printer.print_string_literal(self.device.data)
            if isinstance(self.unsigned, UnitAttr):
                printer.print_string(", unsigned")


def dims_text(dims: Sequence[Dim] | object) -> str:
    """`[B, T, 384]`."""
    return "[" + ", ".join(str(d) for d in dims) + "]"  # type: ignore[attr-defined]


def parse_dims(parser: AttrParser) -> list[Dim]:
    """Read `[B, B*T + 1, 384]`."""
    return parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: parse_dim(parser), " in a list of sizes"
    )


_CALLS = {"floordiv": floordiv, "mod": mod, "min": smin, "max": smax}


def parse_dim(parser: AttrParser) -> Dim:
    """Read one size: sums of products of symbols, integers and calls."""

    def factor() -> Dim:
        number = parser.parse_optional_integer(allow_boolean=False, allow_negative=False)
        if number is not None:
            return number
        if parser.parse_optional_punctuation("-"):
            return -factor()
        name = parser.parse_identifier(" expected as a size")
        if name in _CALLS and parser.parse_optional_punctuation("("):
            lhs = parse_dim(parser)
            parser.parse_punctuation(",")
            rhs = parse_dim(parser)
            parser.parse_punctuation(")")
            return _CALLS[name](lhs, rhs)
        return symbol(name)

    def term() -> Dim:
        value = factor()
        while parser.parse_optional_punctuation("*"):
            value = value * factor()
        return value

    total = term()
    while True:
        if parser.parse_optional_punctuation("+"):
            total = total + term()
        elif parser.parse_optional_punctuation("-"):
            total = total - term()
        else:
            return total


_types: dict[TensorMeta, TensorType[Attribute]] = {}
# Keyed by identity because hashing an attribute walks it; the type is kept alive by the entry.
_metas: dict[int, tuple[TensorType[Attribute], TensorMeta]] = {}


def to_type(meta: TensorMeta) -> TensorType[Attribute]:
    """The IR type of a meta; equal metas give the same object."""
    found = _types.get(meta)
    if found is not None:
        return found
    dynamic = meta.is_dynamic
    unsigned = meta.dtype.kind == "u"
    encoding: Attribute = NoneAttr()
    if dynamic or unsigned or meta.device != "cpu":
        encoding = TensorEncoding(
            ArrayAttr([DimAttr(d) for d in meta.shape]),
            StringAttr(meta.device) if meta.device != "cpu" else NoneAttr(),
            UnitAttr() if unsigned else NoneAttr(),
        )
    shape = [d if isinstance(d, int) else DYNAMIC_INDEX for d in meta.shape]
    made = TensorType(meta.dtype.element, shape, encoding)
    _types[meta] = made
    _metas[id(made)] = (made, meta)
    return made


def from_type(type_: Attribute) -> TensorMeta:
    """The meta of an IR tensor type. Raises TypeError where sizes lack their names."""
    known = _metas.get(id(type_))
    if known is not None:
        return known[1]
    if not isinstance(type_, TensorType):
        raise TypeError(f"expected a tensor type, got {type_}")
    encoding = type_.encoding
    if isinstance(encoding, TensorEncoding):
        shape: Shape = tuple(d.data for d in encoding.dims)
        device = encoding.device.data if isinstance(encoding.device, StringAttr) else "cpu"
        unsigned = isinstance(encoding.unsigned, UnitAttr)
        given = type_.get_shape()
        agree = len(given) == len(shape) and all(
            g == (s if isinstance(s, int) else DYNAMIC_INDEX)
            for g, s in zip(given, shape, strict=True)
        )
        if not agree:
            raise TypeError(f"the encoding of {type_} does not describe its shape")
    else:
        shape, device, unsigned = type_.get_shape(), "cpu", False
        if DYNAMIC_INDEX in shape:
            raise TypeError(f"the dynamic sizes of {type_} need names: #calque.t<[B, ...]>")
    meta = TensorMeta(shape, dt.from_element(type_.element_type, unsigned=unsigned), device)
    # Types parsed from text are equal to ours but other objects; remember this one too.
    _metas[id(type_)] = (type_, meta)
    return meta


def meta_of(value: SSAValue) -> TensorMeta:
    """The meta of an IR value of tensor type."""
    return from_type(value.type)
