"""How operators of the `calque` dialect read in text: one printer and parser for all of them.

    %3 = calque.add %1, %2 : tensor<8x128xf32>
    %4 = calque.sum %3 {dims = [1], keepdim = true} : (tensor<8x128xf32>) -> tensor<8x1xf32>

The short form of the signature, a single type, stands where all operands and the one result have
the same type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects.builtin import FunctionType
from xdsl.ir import Attribute

if TYPE_CHECKING:
    from xdsl.parser import Parser
    from xdsl.printer import Printer

    from .op import Op


def print_op(op: Op, printer: Printer) -> None:
    """Print everything after the operator's name."""
    printer.print_string(" " if op.operands else "")
    printer.print_list(op.operands, printer.print_ssa_value)
    if op.attributes:
        printer.print_string(" {")
        for i, (key, value) in enumerate(op.attributes.items()):
            printer.print_string(f"{', ' if i else ''}{key} = ")
            codec = op.ATTRS.get(key)
            if codec is None:
                printer.print_attribute(value)
            else:
                codec.print(value, printer)
        printer.print_string("}")
    for keyword, region in zip(op.REGIONS, op.regions, strict=True):
        printer.print_string(f" {keyword} ")
        printer.print_region(region)
    printer.print_string(" : ")
    types = [*op.operand_types, *op.result_types]
    if len(op.results) == 1 and all(t == types[0] for t in types):
        printer.print_attribute(types[0])
    else:
        printer.print_function_type(op.operand_types, op.result_types)


def parse_op(cls: type[Op], parser: Parser) -> Op:
    """Parse everything after the operator's name."""
    start = parser.pos
    operands = parser.parse_optional_undelimited_comma_separated_list(
        parser.parse_optional_unresolved_operand, parser.parse_unresolved_operand
    )
    attributes: dict[str, Attribute] = {}

    def entry() -> None:
        key = parser.parse_identifier(" expected as an attribute name")
        parser.parse_punctuation("=")
        codec = cls.ATTRS.get(key)
        attributes[key] = parser.parse_attribute() if codec is None else codec.parse(parser)

    parser.parse_optional_comma_separated_list(parser.Delimiter.BRACES, entry)
    regions = []
    for keyword in cls.REGIONS:
        parser.parse_keyword(keyword)
        regions.append(parser.parse_region())
    parser.parse_punctuation(":")
    type_ = parser.parse_type()
    operands = operands or []
    if isinstance(type_, FunctionType):
        inputs, outputs = type_.inputs.data, type_.outputs.data
    else:
        inputs, outputs = (type_,) * len(operands), (type_,)
    return cls.create(
        operands=parser.resolve_operands(operands, inputs, start),
        result_types=outputs,
        attributes=attributes,
        regions=regions,
    )
