"""Printing and parsing of whole modules."""

from __future__ import annotations

from io import StringIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
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
    return Parser(context(), text, name).parse_module()
