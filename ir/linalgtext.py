"""The pretty form of `linalg.generic` with several results, whose types xDSL does not read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.dialects.linalg.attrs import IteratorType, IteratorTypeAttr
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Attribute, SSAValue
from xdsl.parser import Parser


@cache
def allow_several_results() -> None:
    """Let xDSL's `linalg.generic` read what it prints, once per process."""
    GenericOp.parse = classmethod(_parse)  # pyright: ignore[reportAttributeAccessIssue]


def _parse(cls: type[GenericOp], parser: Parser) -> GenericOp:
    attrs = parser.parse_optional_attr_dict()
    maps = _taken(parser, attrs, "indexing_maps")
    iterators = [_iterator(parser, a) for a in _taken(parser, attrs, "iterator_types")]
    ins, outs = _operands(parser, "ins"), _operands(parser, "outs")
    if parser.parse_optional_keyword("attrs"):
        parser.parse_punctuation("=")
        attrs |= parser.parse_optional_attr_dict()
    body = parser.parse_region()
    results: Sequence[Attribute] = ()
    if parser.parse_optional_punctuation("->"):
        results = parser.parse_optional_comma_separated_list(
            Parser.Delimiter.PAREN, parser.parse_type
        ) or [parser.parse_type()]
    doc, call = attrs.pop("doc", None), attrs.pop("library_call", None)
    made = cls(
        ins,
        outs,
        body,
        cast("Any", maps),
        iterators,
        results,
        doc if isinstance(doc, StringAttr) else None,
        call if isinstance(call, StringAttr) else None,
    )
    made.attributes |= attrs
    return made


def _taken(parser: Parser, attrs: dict[str, Attribute], name: str) -> ArrayAttr[Attribute]:
    value = attrs.pop(name, None)
    if not isinstance(value, ArrayAttr):
        parser.raise_error(f"linalg.generic needs {name}")
    return value


def _iterator(parser: Parser, attr: Attribute) -> IteratorTypeAttr:
    if isinstance(attr, IteratorTypeAttr):
        return attr
    if not isinstance(attr, StringAttr):
        parser.raise_error(f"{attr} is no iterator type")
    return IteratorTypeAttr(IteratorType(attr.data))


def _operands(parser: Parser, keyword: str) -> list[SSAValue]:
    """`ins(%a, %b : type, type)`."""
    if not parser.parse_optional_characters(keyword):
        return []
    position = parser.pos
    parser.parse_punctuation("(")
    values = parser.parse_comma_separated_list(
        Parser.Delimiter.NONE, parser.parse_unresolved_operand
    )
    parser.parse_punctuation(":")
    types = parser.parse_comma_separated_list(Parser.Delimiter.NONE, parser.parse_type)
    parser.parse_punctuation(")")
    return list(parser.resolve_operands(values, types, position))
