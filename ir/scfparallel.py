"""The pretty form of `scf.parallel`, which xDSL knows in the generic form only:

scf.parallel (%i, %j) = (%a, %b) to (%c, %d) step (%e, %f) { ... } {attributes}
"""

from __future__ import annotations

from functools import cache
from typing import Any

from xdsl.dialects.builtin import DenseArrayBase, IndexType, i32
from xdsl.dialects.scf import ParallelOp, ReduceOp
from xdsl.ir import Attribute, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer

_INDEX = IndexType()
_SEGMENTS = "operandSegmentSizes"


@cache
def allow_pretty_parallel() -> None:
    """Give xDSL's `scf.parallel` MLIR's syntax, once per process; the generic form still
    parses."""
    for name, method in (("print", _print), ("parse", classmethod(_parse))):
        setattr(ParallelOp, name, method)


def _print(op: ParallelOp, printer: Printer) -> None:
    groups = ((" ", op.body.block.args), (" = ", op.lowerBound), (" to ", op.upperBound))
    for text, values in (*groups, (" step ", op.step)):
        printer.print_string(text)
        _print_values(printer, list(values))
    if op.initVals:
        printer.print_string(" init ")
        _print_values(printer, list(op.initVals))
        printer.print_string(" -> ")
        types = [value.type for value in op.initVals]
        if len(types) == 1:
            printer.print_attribute(types[0])
        else:
            with printer.in_parens():
                printer.print_list(types, printer.print_attribute)
    printer.print_string(" ")
    printer.print_region(op.body, print_entry_block_args=False)
    printer.print_op_attributes(op.attributes)


def _print_values(printer: Printer, values: list[SSAValue]) -> None:
    with printer.in_parens():
        printer.print_list(values, printer.print_ssa_value)


def _parse(cls: type[ParallelOp], parser: Parser) -> ParallelOp:
    paren = Parser.Delimiter.PAREN
    names = parser.parse_comma_separated_list(
        paren, lambda: parser.parse_argument(expect_type=False)
    )
    operands: list[SSAValue] = []
    segments: list[int] = []
    for keyword in ("=", "to", "step"):
        if keyword == "=":
            parser.parse_punctuation("=")
        else:
            parser.parse_keyword(keyword)
        values = parser.parse_comma_separated_list(paren, lambda: parser.parse_operand(_INDEX))
        if len(values) != len(names):
            parser.raise_error(f"expected {len(names)} values, got {len(values)}")
        operands += values
        segments.append(len(values))
    initial = _parse_initial(parser)
    body = parser.parse_region([name.resolve(_INDEX) for name in names])
    if not isinstance(body.block.last_op, ReduceOp):
        body.block.add_op(ReduceOp())
    return cls.create(
        operands=[*operands, *initial],
        result_types=[value.type for value in initial],
        properties={_SEGMENTS: DenseArrayBase.from_list(i32, [*segments, len(initial)])},
        attributes=parser.parse_optional_attr_dict(),
        regions=[body],
    )


def _parse_initial(parser: Parser) -> list[SSAValue]:
    """``init (%x, %y) -> (f32, f32)``, if there."""
    if not parser.parse_optional_keyword("init"):
        return []
    paren = Parser.Delimiter.PAREN
    names: list[Any] = parser.parse_comma_separated_list(paren, parser.parse_unresolved_operand)
    parser.parse_punctuation("->")
    types: list[Attribute] | None = parser.parse_optional_comma_separated_list(
        paren, parser.parse_type
    )
    return list(parser.resolve_operands(names, types or [parser.parse_type()], parser.pos))
