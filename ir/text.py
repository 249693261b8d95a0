"""Printing and parsing of whole modules."""

from __future__ import annotations

from io import StringIO
from typing import Any

from xdsl.dialects.builtin import AnyFloat, ModuleOp
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer

from .complete import complete_xdsl
from .dialect import context


def to_text(module: ModuleOp, *, locations: bool = False) -> str:
    """A module as MLIR text; with `locations` every operation ends in its source line."""
    complete_xdsl()
    out = StringIO()
    Printer(out, print_debuginfo=locations).print_op(module)
    return out.getvalue() + "\n"


def from_text(text: str, name: str = "<text>") -> ModuleOp:
    """The module of a text. Raises xDSL's ParseError with line and column."""
    return _Parser(context(), text, name).parse_module()


class _Element(AttrParser._TensorLiteralElement):
    """An element of a `dense` attribute; a hexadecimal one of a float is its bits.

    xDSL prints infinities and NaN as MLIR does, `dense<0x7f800000>`, and reads them as numbers.
    """

    def to_type(self, parser: AttrParser, type: Any) -> Any:
        if isinstance(type, AnyFloat) and self.span.text[:2] in ("0x", "0X"):
            assert isinstance(self.value, int)
            return next(type.iter_unpack(self.value.to_bytes(type.compile_time_size, "little")))
        return super().to_type(parser, type)


class _Parser(Parser):
    def _parse_tensor_literal_element(self) -> _Element:
        element = super()._parse_tensor_literal_element()
        return _Element(element.is_negative, element.value, element.span)
