"""`arith` on vectors, as MLIR has it.

xDSL declares casts, and the results of comparisons, for scalars only: text such as
``arith.sitofp %x : vector<16xi32> to vector<16xf32>`` does not parse, and ops built in memory do
not verify. What is missing is added to xDSL's own classes, so that ops made anywhere agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.arith import floatingPointLike, signlessIntegerLike
from xdsl.dialects.builtin import ContainerType, IndexType, IntegerType, VectorType, i1
from xdsl.ir import Attribute, Operation
from xdsl.irdl import IRDLOperation, RangeOf, base
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

_CASTS: tuple[tuple[type[IRDLOperation], bool, bool], ...] = (
    # op, whether its operand, and whether its result, is floating point
    (arith.ExtSIOp, False, False),
    (arith.ExtUIOp, False, False),
    (arith.TruncIOp, False, False),
    (arith.IndexCastOp, False, False),
    (arith.FPToSIOp, True, False),
    (arith.FPToUIOp, True, False),
    (arith.SIToFPOp, False, True),
    (arith.UIToFPOp, False, True),
)


@cache
def allow_vectors() -> None:
    """Make xDSL's `arith` accept vectors wherever MLIR's does, once per process."""
    integers = RangeOf(signlessIntegerLike).of_length(1)
    floats = RangeOf(floatingPointLike).of_length(1)
    flags = RangeOf(base(IntegerType) | base(VectorType)).of_length(1)
    for op, from_float, to_float in _CASTS:
        definition = op.get_irdl_definition()
        ((_, operand),), ((_, result),) = definition.operands, definition.results
        operand.constr = floats if from_float else integers
        result.constr = floats if to_float else integers
    for op in (arith.CmpiOp, arith.CmpfOp):
        op.get_irdl_definition().results[0][1].constr = flags
        _replace(op, "parse", classmethod(_parse_comparison(op.parse)))
        _replace(op, "verify_", _verify_comparison)
    arith.SelectOp.get_irdl_definition().operands[0][1].constr = flags
    _replace(arith.SelectOp, "parse", classmethod(_parse_select))
    _replace(arith.SelectOp, "print", _print_select)
    _replace(arith.SelectOp, "verify_", _verify_select)
    _replace(arith.ExtSIOp, "verify_", _verify_wider)
    _replace(arith.ExtUIOp, "verify_", _verify_wider)
    _replace(arith.TruncIOp, "verify_", _verify_narrower)
    _replace(arith.IndexCastOp, "verify_", _verify_index_cast)


def _replace(op: type[Operation], name: str, method: object) -> None:
    setattr(op, name, method)


def _flag_like(ty: Attribute) -> Attribute:
    """i1, or a vector of them with the shape of `ty`."""
    return VectorType(i1, ty.shape) if isinstance(ty, VectorType) else i1


def _element(ty: Attribute) -> Attribute:
    return ty.get_element_type() if isinstance(ty, ContainerType) else ty


def _parse_comparison(scalar: Callable[[Parser], Any]) -> Callable[..., Any]:
    """The format names the type of the operands only, from which the result's follows."""

    def parse(cls: type[Any], parser: Parser) -> Any:
        op = scalar(parser)
        if not isinstance(op.lhs.type, VectorType):
            return op
        operands, properties = list(op.operands), dict(op.properties)
        op.erase()
        return cls.create(
            operands=operands,
            result_types=[_flag_like(operands[0].type)],
            properties=properties,
        )

    return parse


def _verify_comparison(op: arith.CmpiOp | arith.CmpfOp) -> None:
    if op.result.type != _flag_like(op.lhs.type) or op.lhs.type != op.rhs.type:
        raise VerifyException("operands must agree, and the result be i1 of the same shape")


def _parse_select(cls: type[arith.SelectOp], parser: Parser) -> arith.SelectOp:
    """``%c, %a, %b : type`` or, for lane-wise choice, ``%c, %a, %b : cond-type, type``."""
    operands = [parser.parse_unresolved_operand()]
    while len(operands) < 3:
        parser.parse_punctuation(",")
        operands.append(parser.parse_unresolved_operand())
    attributes = parser.parse_optional_attr_dict()
    parser.parse_punctuation(":")
    types: list[Attribute] = [i1, parser.parse_type()]
    if parser.parse_optional_punctuation(","):
        types = [types[1], parser.parse_type()]
    types.append(types[1])
    resolved = [parser.resolve_operand(v, ty) for v, ty in zip(operands, types, strict=True)]
    return cls.create(operands=resolved, result_types=[types[1]], attributes=attributes)


def _print_select(op: arith.SelectOp, printer: Printer) -> None:
    printer.print_string(" ")
    printer.print_list(op.operands, printer.print_ssa_value)
    printer.print_op_attributes(op.attributes)
    printer.print_string(" : ")
    if op.cond.type != i1:
        printer.print_attribute(op.cond.type)
        printer.print_string(", ")
    printer.print_attribute(op.result.type)


def _verify_select(op: arith.SelectOp) -> None:
    if op.cond.type not in (i1, _flag_like(op.result.type)):
        raise VerifyException(f"the condition of a choice of {op.result.type} is {op.cond.type}")


def _widths(op: Any) -> tuple[int, int]:
    source, result = _element(op.input.type), _element(op.result.type)
    if not isinstance(source, IntegerType) or not isinstance(result, IntegerType):
        raise VerifyException("operand and result must be integers, or vectors of integers")
    return source.width.data, result.width.data


def _verify_wider(op: arith.ExtSIOp | arith.ExtUIOp) -> None:
    source, result = _widths(op)
    if result <= source:
        raise VerifyException("Destination bit-width must be larger than the input bit-width")


def _verify_narrower(op: arith.TruncIOp) -> None:
    source, result = _widths(op)
    if result >= source:
        raise VerifyException("Destination bit-width must be smaller than the input bit-width")


def _verify_index_cast(op: arith.IndexCastOp) -> None:
    types = _element(op.input.type), _element(op.result.type)
    if sum(isinstance(ty, IndexType) for ty in types) != 1:
        raise VerifyException("an index cast has index on one side, an integer on the other")
