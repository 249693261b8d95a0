"""Floats that text gives by their bits, as MLIR reads them.

Infinities, NaN and numbers that decimals would round are printed as MLIR prints them,
``dense<0x7f800000> : tensor<f32>``. xDSL reads such an element of a `dense` attribute as an integer
to convert, 2139095040.0. What is missing is added to its own classes, so that every tool reads such
text right, and refuses what MLIR refuses.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from xdsl.dialects.builtin import AnyFloat, FloatAttr
from xdsl.parser import AttrParser

_Element = AttrParser._TensorLiteralElement
# In MLIR's words.
_SIGNED = "hexadecimal float literal should not have a leading minus"
_TOO_WIDE = "hexadecimal float constant out of range for type"


@cache
def allow_float_bits() -> None:
    """Let xDSL read hexadecimal numbers of floating-point types as bits, once per process."""
    convert, parse = _Element.to_type, AttrParser.parse_optional_builtin_int_or_float_attr

    def to_type(self: _Element, parser: AttrParser, type: Any) -> Any:
        if isinstance(type, AnyFloat) and self.span.text.lstrip("-").startswith("0x"):
            return _from_bits(self, parser, type)
        return convert(self, parser, type)

    def parse_scalar(self: AttrParser) -> Any:
        start, source = self.pos, self._current_token.span.input
        try:
            made = parse(self)
        except OverflowError:
            self.raise_error(_TOO_WIDE, start)
        if isinstance(made, FloatAttr):
            text = source.content[start : self.pos].lstrip()
            if text[:1] == "-" and text[1:].lstrip().startswith("0x"):
                self.raise_error(_SIGNED, start)
        return made

    _Element.to_type = to_type
    AttrParser.parse_optional_builtin_int_or_float_attr = parse_scalar


def _from_bits(element: _Element, parser: AttrParser, type: AnyFloat) -> float:
    """The float whose bits an element gives."""
    bits = element.value
    assert isinstance(bits, int)
    if element.is_negative:
        parser.raise_error(_SIGNED, element.span)
    size = type.compile_time_size
    if bits.bit_length() > 8 * size:
        parser.raise_error(_TOO_WIDE, element.span)
    return next(type.iter_unpack(bits.to_bytes(size, "little")))
