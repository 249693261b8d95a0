"""Errors of code generation: they name the op and the user's line."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    ArrayAttr,
    CallSiteLoc,
    FileLineColLoc,
    FusedLoc,
    NameLoc,
    UnknownLoc,
)
from xdsl.ir import Attribute, Operation


class CodegenError(Exception):
    """The IR cannot be turned into machine code as it stands.

    `op` is the operation that is to blame, where it is known.
    """

    op: Operation | None = None

    @classmethod
    def at(cls, op: Operation, message: str) -> CodegenError:
        """An error about one op, with its name and its location."""
        where = location(op)
        error = cls(f"{op.name}: {message}" + (f" (at {where})" if where else ""))
        error.op = op
        return error

    @classmethod
    def unsupported(cls, op: Operation) -> CodegenError:
        return cls.at(op, "this operation is not supported at the kernel stage")


def location(op: Operation) -> str:
    """ "file:line" of an op or of the nearest op around it; "" when none is known."""
    current: Operation | None = op
    while current is not None:
        text = _describe(current.location)
        if text:
            return text
        current = current.parent_op()
    return ""


def _describe(loc: Attribute) -> str:
    match loc:
        case FileLineColLoc():
            return f"{loc.filename.data}:{loc.line.data}"
        case NameLoc():
            return _describe(loc.location) or loc.desc.data
        case CallSiteLoc():
            return _describe(loc.callee) or _describe(loc.caller)
        case FusedLoc():
            assert isinstance(loc.locations, ArrayAttr)
            parts = (_describe(part) for part in loc.locations)
            return ", ".join(part for part in parts if part)
        case UnknownLoc():
            return ""
        case _:
            return ""
