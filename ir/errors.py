"""Errors that name the user's line: mistakes are told where the user can mend them.

A traceback goes on into calque, so the line that it ends with says nothing to its reader. What
`runtime_error` and the others make has the user's own line as a note, which is shown last. They
are the exceptions that Python knows; nothing is paid where there is no error.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TypeVar

from .location import is_command, is_library

E = TypeVar("E", bound=BaseException)

_AT = "  at "


def runtime_error(message: str) -> RuntimeError:
    """A tensor, or a state of things, is not what an operation needs."""
    return located(RuntimeError(message))


def value_error(message: str) -> ValueError:
    """An argument of the right type has a value that it may not have."""
    return located(ValueError(message))


def type_error(message: str) -> TypeError:
    """An argument has a type that it may not have."""
    return located(TypeError(message))


def index_error(message: str) -> IndexError:
    """An index or a dimension is out of range."""
    return located(IndexError(message))


def key_error(message: str) -> KeyError:
    """A name is not there, or may not be."""
    return located(KeyError(message))


def attribute_error(message: str) -> AttributeError:
    """An object has no such attribute, or not yet."""
    return located(AttributeError(message))


def not_implemented(message: str) -> NotImplementedError:
    """What was asked for is not there."""
    return located(NotImplementedError(message))


def located(error: E) -> E:
    """The error itself, with the user's line as its note, once: `raise located(ValueError(...))`.

    The line is that of the innermost frame of the user's program: where the error is raised, or
    passed through if it was raised by others. There is no note where no frame is the user's.
    """
    if user_line(error):
        return error
    for frame, line in _frames(error):
        code = frame.f_code
        if not is_library(code.co_filename):
            text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
            said = f"{_AT}{code.co_filename}:{line}, in {code.co_name}"
            error.add_note(f"{said}: {text}" if text else said)
            break
    return error


def user_line(error: BaseException) -> str:
    """`file:line` of the user's program, from the note of a located error; empty without one."""
    notes: list[str] = getattr(error, "__notes__", [])
    found = next((note for note in notes if note.startswith(_AT)), "")
    return found.removeprefix(_AT).partition(", in ")[0]


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames and lines that an error went through, or those that run now; innermost first."""
    trace = error.__traceback__
    passed: list[tuple[FrameType, int]] = []
    while trace is not None:
        passed.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    yield from reversed(passed)
    frame: FrameType | None = passed[0][0].f_back if passed else sys._getframe(2)
    while frame is not None and not is_command(frame.f_code.co_filename):
        yield frame, frame.f_lineno
        frame = frame.f_back
