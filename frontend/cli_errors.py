"""What users can mend, said in one line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class CommandError(Exception):
    """Ends a command with one line on stderr and exit status 2."""


class Parser(argparse.ArgumentParser):
    """Of a command's arguments; what is wrong with them is a `CommandError`."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message}; `{self.prog} --help` tells what there is")


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def reported(name: str = "") -> Iterator[None]:
    """Turns the errors of parsing, verifying, passes and files into `CommandError`."""
    from xdsl.utils.exceptions import (
        ArgSpecParseError,
        DiagnosticException,
        ParseError,
    )

    from ..codegen import CodegenError

    prefix = f"{name}: " if name else ""
    try:
        yield
    except ParseError as error:
        raise CommandError(_parse_error(error)) from error
    except ArgSpecParseError as error:
        raise CommandError(f"the pass pipeline does not parse: {_caret(error)}") from error
    except OSError as error:
        where = error.filename or name
        raise CommandError(f"{where}: {error.strerror or error}") from error
    except DiagnosticException as error:
        raise CommandError(prefix + _diagnostic(error)) from error
    except MemoryError as error:
        raise CommandError(f"{prefix}{one_line(error)}") from error
    except (ValueError, RuntimeError, KeyError, CodegenError, NotImplementedError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise CommandError(f"{prefix}{message}") from error


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Around parsing and verifying: what text makes them stumble over is told as malformed."""
    try:
        yield
    except (AssertionError, AttributeError, LookupError, OverflowError, TypeError) as error:
        raise CommandError(f"{name}: the text is malformed: {one_line(error)}") from error


def _parse_error(error: Any) -> str:
    """`file:line:column: message`."""
    span = error.span
    before = span.input.content[: span.start]
    before = before.decode(errors="replace") if isinstance(before, bytes) else before
    line = before.count("\n") + 1 + getattr(span, "line_offset", 0)
    column = len(before) - before.rfind("\n")
    return f"{span.input.name}:{line}:{column}: {error.msg}"


def _caret(error: BaseException) -> str:
    """The last line of a message that shows its source with a caret."""
    lines = [line.strip(" ^") for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _diagnostic(error: BaseException) -> str:
    """The statement of an error that shows the operation it is about."""
    text = str(error)
    marked = [line.split("^^^")[-1].strip(" ^|") for line in text.splitlines() if "^" in line]
    found = [line for line in marked if line]
    if found:
        return found[-1]
    tail = text.strip().splitlines()
    return tail[-1].strip() if "Underlying verification failure" in text else text
